//! What drives a [`Receiver`] in these tests: storage and lanes, by chance.

use std::collections::BTreeMap;
use std::time::Duration;

use packhorse_proto::entry::{Entry, EntryNumber, Kind};
use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentValue};
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{
    AbortCode, Assurance, Counters, ENTRY_OVERHEAD, Failure, FailureClass, Text,
};
use packhorse_proto::path::RelativePath;
use packhorse_proto::receiver::{Authentication, Handover, Receiver, ReceiverEvent};
use packhorse_proto::record::Attempt;
use packhorse_proto::sender::has_content;
use packhorse_proto::window::{Content, Finished, Outcome};

use crate::dice::Dice;
use crate::link::{Carried, Lane};
use crate::sending_side::{RECEIVER_TAG, SENDER_TAG, TIMES, content_of, size_of};

pub(crate) const SESSION: [u8; 16] = [0x1d; 16];

/// An entry that the receiver has given no outcome to.
#[derive(Debug)]
struct Unsettled {
    entry: Entry,
    attempt: u8,
    arrived: Option<Content>,
}

/// An answer that the caller gives when it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Accept,
    Receipt,
}

#[derive(Debug)]
pub(crate) struct ReceivingSide {
    pub(crate) machine: Receiver,
    limits: Limits,
    due: Option<Due>,
    /// Whether it has something of an earlier session.
    resumes: bool,
    pub(crate) resumed: u64,
    listed: u64,
    unsettled: BTreeMap<EntryNumber, Unsettled>,
    /// How many files each lane brought, and lanes of which the sender is to be told.
    taken: BTreeMap<u16, u64>,
    lost: Vec<u16>,
    pub(crate) flawed: Vec<RelativePath>,
    pub(crate) finished: Vec<Finished>,
    pub(crate) manifest_ended: bool,
    pub(crate) handover: Option<Handover>,
    pub(crate) goodbye: bool,
    pub(crate) aborted: Option<(AbortCode, Text)>,
    pub(crate) peer_progress: Vec<Counters>,
}

impl ReceivingSide {
    pub(crate) fn new(limits: Limits, authentication: Authentication, resumes: bool) -> Self {
        Self {
            machine: Receiver::new(limits.clone(), authentication, Duration::ZERO),
            limits,
            due: None,
            resumes,
            resumed: 0,
            listed: 0,
            unsettled: BTreeMap::new(),
            taken: BTreeMap::new(),
            lost: Vec::new(),
            flawed: Vec::new(),
            finished: Vec::new(),
            manifest_ended: false,
            handover: None,
            goodbye: false,
            aborted: None,
            peer_progress: Vec::new(),
        }
    }

    pub(crate) fn drain(&mut self, now: Duration) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                ReceiverEvent::Hello { suites, share, .. } => {
                    let suite = suites.first().copied().unwrap_or(0);
                    self.machine
                        .welcome(suite, share.map(|_| [7; 32]), "stable");
                    if share.is_none() {
                        self.due = Some(Due::Accept);
                    }
                }
                ReceiverEvent::Confirm { tag } => {
                    if tag == SENDER_TAG {
                        self.machine.authenticated(RECEIVER_TAG, now);
                        self.due = Some(Due::Accept);
                    } else {
                        self.machine.abort(AbortCode::WrongCode, "");
                    }
                }
                ReceiverEvent::Offered { .. } => {}
                ReceiverEvent::Complete => self.due = Some(Due::Receipt),
                ReceiverEvent::ManifestEnded => self.manifest_ended = true,
                ReceiverEvent::Finished(finished) => self.finished.push(finished),
                ReceiverEvent::PeerProgress(counters) => self.peer_progress.push(counters),
                ReceiverEvent::Goodbye => self.goodbye = true,
                ReceiverEvent::Aborted { code, text } => self.aborted = Some((code, text)),
                event => self.handle_entry(event),
            }
        }
    }

    fn handle_entry(&mut self, event: ReceiverEvent) {
        match event {
            ReceiverEvent::Entry { number, entry } => self.list(number, entry),
            ReceiverEvent::Revised {
                number,
                attempt,
                size,
                metadata,
            } => {
                let unsettled = self.unsettled.get_mut(&number).unwrap();
                unsettled.attempt = attempt;
                unsettled.entry.kind = Kind::File { size };
                unsettled.entry.metadata = metadata;
                unsettled.arrived = None;
            }
            ReceiverEvent::LaneLost { lane } => self.lost.push(lane),
            ReceiverEvent::Withdrawn { number } => {
                self.unsettled.remove(&number).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    /// The window is counted here once more, from what is known outside of the machine.
    fn list(&mut self, number: EntryNumber, entry: Entry) {
        assert_eq!(number, self.listed, "entries come in order");
        let unfinished = usize::try_from(self.listed).unwrap() - self.finished.len();
        assert!(unfinished < self.limits.window_entries);
        let bytes: usize = self.unsettled.values().map(|u| length(&u.entry)).sum();
        assert!(bytes < self.limits.window_bytes);
        self.listed += 1;
        let mut unsettled = Unsettled {
            entry,
            attempt: 0,
            arrived: None,
        };
        if self.resumes && size_of(&unsettled.entry) > 0 {
            self.find(number, &mut unsettled);
        }
        self.unsettled.insert(number, unsettled);
    }

    /// Says what is there of a file: by its number, so that a session is the same whenever it is played.
    fn find(&mut self, number: EntryNumber, unsettled: &mut Unsettled) {
        let size = size_of(&unsettled.entry);
        match number % 4 {
            0 => {
                let of = Attempt {
                    entry: number,
                    attempt: 0,
                };
                let content = content_of(of, size);
                unsettled.arrived = Some(content);
                self.resumed = self.resumed.saturating_add(size);
                self.machine.held(number, content);
            }
            1 if size > 2 * EXTENT_SIZE => {
                let mut tree = ContentTree::new();
                let second = ExtentValue::known(EXTENT_SIZE, size, [7; 32]).unwrap();
                tree.insert(&second).unwrap();
                self.resumed = self.resumed.saturating_add(tree.covered());
                self.machine.partial(number, &tree);
            }
            _ => self.machine.missing(number),
        }
    }

    /// This lane ended without its end.
    pub(crate) fn lose_lane(&mut self, lane: u16) {
        self.lost.push(lane);
    }

    /// One step of storage.
    pub(crate) fn act(&mut self, dice: &mut Dice) {
        if let Some(lane) = self.lost.pop_if(|_| dice.percent(20)) {
            let taken = self.taken.get(&lane).copied().unwrap_or(0);
            self.machine.lane_closed(lane, taken);
        }
        match self.due.filter(|_| dice.percent(10)) {
            Some(Due::Accept) => self.machine.accept(SESSION, self.resumes),
            Some(Due::Receipt) => {
                self.flaw_directories(dice);
                self.handover = self.machine.receipt(9, TIMES, Assurance::default());
            }
            None => return self.settle_one(dice),
        }
        self.due = None;
    }

    /// Times of directories are set last, and some cannot be.
    fn flaw_directories(&mut self, dice: &mut Dice) {
        let stored = |f: &&Finished| f.outcome == Outcome::Stored;
        for directory in self.finished.iter().filter(stored) {
            if directory.entry.kind == Kind::Directory && dice.percent(20) {
                let failure = Failure::new(FailureClass::Denied, "read-only");
                let path = directory.entry.path.clone();
                self.machine.flawed(path.clone(), failure);
                self.flawed.push(path);
            }
        }
    }

    fn settle_one(&mut self, dice: &mut Dice) {
        let index = dice.within(0..self.unsettled.len().max(1));
        let Some((&number, unsettled)) = self.unsettled.iter().nth(index) else {
            return;
        };
        let is_file = matches!(unsettled.entry.kind, Kind::File { .. });
        let (complete, arrived) = (
            unsettled.arrived.is_some() || !has_content(&unsettled.entry),
            unsettled.arrived,
        );
        match dice.within(0..12) {
            0 => {
                let failure = Failure::new(FailureClass::Denied, "not here");
                self.machine.failed(number, failure);
            }
            1 if is_file => self.machine.kept(number),
            2..12 if complete => self.machine.stored(number, arrived),
            _ => return,
        }
        self.unsettled.remove(&number);
    }

    /// Takes the next item of a lane, unless it has to wait for the control connection.
    pub(crate) fn handle_lane(&mut self, lane: &mut Lane) {
        let Some(&carried) = lane.carried.front() else {
            return;
        };
        let of = carried.of();
        if of.entry >= self.listed {
            return;
        }
        if let Some(unsettled) = self.unsettled.get_mut(&of.entry) {
            if of.attempt > unsettled.attempt {
                return;
            }
            if let (true, Carried::Last(_, content)) = (of.attempt == unsettled.attempt, carried) {
                unsettled.arrived = Some(content);
            }
        }
        let last = matches!(carried, Carried::Last(..));
        *self.taken.entry(lane.number).or_default() += u64::from(last);
        lane.carried.pop_front();
    }

    pub(crate) fn is_done(&self) -> bool {
        self.goodbye
    }

    /// How many entries had `outcome`.
    pub(crate) fn count(&self, outcome: impl Fn(&Outcome) -> bool) -> u64 {
        let finished = self.finished.iter();
        finished.filter(|entry| outcome(&entry.outcome)).count() as u64
    }
}

fn length(entry: &Entry) -> usize {
    let target = match &entry.kind {
        Kind::Symlink { target } => target.as_bytes().len(),
        _ => 0,
    };
    ENTRY_OVERHEAD + entry.path.as_bytes().len() + target
}
