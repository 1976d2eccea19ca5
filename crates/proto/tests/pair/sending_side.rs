//! What drives a [`Sender`] in these tests: a walk and a reader of files, by chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use packhorse_proto::entry::{Entry, EntryNumber, Kind};
use packhorse_proto::extent::{Hash, empty_hash};
use packhorse_proto::message::{AbortCode, Counters, Failure, FailureClass, Text, Times, Totals};
use packhorse_proto::path::RelativePath;
use packhorse_proto::record::Attempt;
use packhorse_proto::sender::{Sender, SenderConfig, SenderEvent, has_content};
use packhorse_proto::window::{Content, Finished};

use crate::dice::Dice;
use crate::link::{Carried, Lane};
use crate::tree::{SIZES, metadata};

pub(crate) const SENDER_TAG: [u8; 64] = [0x5e; 64];
pub(crate) const RECEIVER_TAG: [u8; 64] = [0xec; 64];
pub(crate) const TIMES: Times = Times {
    processor: 7,
    read: 1,
    hash: 2,
    encrypt: 3,
    network: 4,
    write: 5,
    idle: u64::MAX,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    NotAccepted,
    Running,
    Ended,
    AllSent,
}

/// A file whose content has not gone out whole.
#[derive(Debug, Clone)]
struct Unsent {
    entry: Entry,
    attempt: u8,
}

#[derive(Debug)]
pub(crate) struct SendingSide {
    pub(crate) machine: Sender,
    walk: Walk,
    unlisted: u64,
    tree: VecDeque<Entry>,
    unsent: BTreeMap<EntryNumber, Unsent>,
    /// What each lane carried to its end, and lanes of which the receiver has not said what it took.
    sent: BTreeMap<u16, Vec<(EntryNumber, Unsent)>>,
    lost: BTreeSet<u16>,
    answered: BTreeSet<u16>,
    unwanted: BTreeSet<EntryNumber>,
    /// How many files were sent once more.
    pub(crate) again: u64,
    /// Files of which the receiver has not said what it has; `None` where it says nothing of any.
    waiting: Option<BTreeMap<EntryNumber, Entry>>,
    /// Bytes that it said it has.
    pub(crate) resumed: u64,
    pub(crate) finished: Vec<Finished>,
    pub(crate) withdrawn: Vec<EntryNumber>,
    pub(crate) flawed: Vec<RelativePath>,
    pub(crate) receipt: Option<(Hash, Totals, Times)>,
    pub(crate) aborted: Option<(AbortCode, Text)>,
    pub(crate) peer_progress: Vec<Counters>,
}

impl SendingSide {
    pub(crate) fn new(config: SenderConfig, tree: Vec<Entry>, unlisted: u64) -> Self {
        Self {
            machine: Sender::new(config, Duration::ZERO),
            walk: Walk::NotAccepted,
            unlisted,
            tree: tree.into(),
            unsent: BTreeMap::new(),
            sent: BTreeMap::new(),
            lost: BTreeSet::new(),
            answered: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            again: 0,
            waiting: None,
            resumed: 0,
            finished: Vec::new(),
            withdrawn: Vec::new(),
            flawed: Vec::new(),
            receipt: None,
            aborted: None,
            peer_progress: Vec::new(),
        }
    }

    pub(crate) fn drain(&mut self, now: Duration) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                SenderEvent::Welcomed { share, .. } => {
                    if share.is_some() {
                        self.machine.confirm(SENDER_TAG);
                    }
                }
                SenderEvent::Confirmed { tag } => {
                    if tag == RECEIVER_TAG {
                        self.machine.authenticated(now);
                    } else {
                        self.machine.abort(AbortCode::WrongCode, "");
                    }
                }
                SenderEvent::Accepted { resumes, .. } => {
                    self.walk = Walk::Running;
                    self.waiting = resumes.then(BTreeMap::new);
                }
                SenderEvent::Held { number, size } => {
                    self.resumed = self.resumed.saturating_add(size);
                    self.waiting().remove(&number);
                }
                SenderEvent::Partial { number, tree } => {
                    self.resumed = self.resumed.saturating_add(tree.covered());
                    self.send_waiting(number);
                }
                SenderEvent::Missing { first, count } => {
                    let numbers = self.waiting().range(first..first + count);
                    let numbers: Vec<EntryNumber> = numbers.map(|(&number, _)| number).collect();
                    numbers
                        .into_iter()
                        .for_each(|number| self.send_waiting(number));
                }
                SenderEvent::Unwanted(number) => {
                    self.unsent.remove(&number);
                    self.unwanted.insert(number);
                    if let Some(waiting) = &mut self.waiting {
                        waiting.remove(&number);
                    }
                }
                SenderEvent::LaneClosed { lane, taken } => self.send_again(lane, taken),
                SenderEvent::Finished(finished) => self.finished.push(finished),
                SenderEvent::Flawed { path, .. } => self.flawed.push(path),
                SenderEvent::PeerProgress(counters) => self.peer_progress.push(counters),
                SenderEvent::Drained => self.machine.close(self.unlisted, TIMES),
                SenderEvent::Receipt {
                    root,
                    totals,
                    sender,
                    ..
                } => {
                    self.receipt = Some((root, totals, sender));
                }
                SenderEvent::Aborted { code, text } => self.aborted = Some((code, text)),
            }
        }
    }

    /// This lane is lost; the receiver may know that before.
    pub(crate) fn lose_lane(&mut self, lane: u16) {
        if self.lost.insert(lane) {
            self.machine.lane_lost(lane);
        }
    }

    /// What a lost lane did not bring is sent once more, in the same attempt.
    fn send_again(&mut self, lane: u16, taken: u64) {
        self.answered.insert(lane);
        let mut sent = self.sent.remove(&lane).unwrap_or_default();
        self.machine.lane_carried(sent.len() as u64, taken).unwrap();
        for (number, unsent) in sent.split_off(usize::try_from(taken).unwrap()) {
            if !self.unwanted.contains(&number) && !self.withdrawn.contains(&number) {
                assert!(self.unsent.insert(number, unsent).is_none());
                self.again += 1;
            }
        }
    }

    fn waiting(&mut self) -> &mut BTreeMap<EntryNumber, Entry> {
        self.waiting
            .as_mut()
            .expect("the receiver says what it has")
    }

    fn send_waiting(&mut self, number: EntryNumber) {
        // A hostile peer says it twice.
        if let Some(entry) = self.waiting().remove(&number) {
            self.unsent.insert(number, Unsent { entry, attempt: 0 });
        }
    }

    /// One step of a walk or a reader.
    pub(crate) fn act(&mut self, dice: &mut Dice, lanes: &mut [Lane]) {
        if self.walk == Walk::Running && dice.percent(50) {
            self.walk_on();
        }
        let Some(&number) = self
            .unsent
            .keys()
            .nth(dice.within(0..self.unsent.len().max(1)))
        else {
            return self.all_sent();
        };
        let lane = dice.within(0..lanes.len());
        let lane = &mut lanes[lane];
        match dice.within(0..10) {
            0 | 1 => lane.carried.push_back(Carried::Part(self.attempt(number))),
            2 => self.revise(number, dice),
            3 => self.withdraw(number),
            _ => self.send_last(number, dice, lane),
        }
    }

    fn walk_on(&mut self) {
        let Some(entry) = self.tree.front() else {
            self.walk = Walk::Ended;
            return self.machine.end_of_entries();
        };
        if let Some(number) = self.machine.offer(entry.clone()) {
            let entry = self.tree.pop_front().unwrap();
            match &mut self.waiting {
                Some(waiting) if size_of(&entry) > 0 => {
                    waiting.insert(number, entry);
                }
                _ if has_content(&entry) => {
                    self.unsent.insert(number, Unsent { entry, attempt: 0 });
                }
                _ => {}
            }
        }
    }

    fn all_sent(&mut self) {
        let waits = self
            .waiting
            .as_ref()
            .is_some_and(|waiting| !waiting.is_empty());
        let answered = self.lost.is_subset(&self.answered);
        if self.walk == Walk::Ended && !waits && answered {
            self.walk = Walk::AllSent;
            // An error ends the session, and a session that should go well then does not.
            let _ = self.machine.all_content_sent();
        }
    }

    fn attempt(&self, number: EntryNumber) -> Attempt {
        Attempt {
            entry: number,
            attempt: self.unsent[&number].attempt,
        }
    }

    fn send_last(&mut self, number: EntryNumber, dice: &mut Dice, lane: &mut Lane) {
        let of = self.attempt(number);
        let unsent = self.unsent.remove(&number).unwrap();
        let Kind::File { size } = unsent.entry.kind else {
            panic!("only files have content")
        };
        let sent = self.sent.entry(lane.number).or_default();
        sent.push((number, unsent));
        let size = size.unwrap_or_else(|| *dice.pick(&[0, 7, 1 << 40]));
        let content = content_of(of, size);
        self.machine.content(number, content);
        lane.carried.push_back(Carried::Last(of, content));
    }

    fn revise(&mut self, number: EntryNumber, dice: &mut Dice) {
        let unsent = self.unsent.get_mut(&number).unwrap();
        let size = *dice.pick(&SIZES);
        unsent.attempt += 1;
        unsent.entry.kind = Kind::File { size };
        unsent.entry.metadata = metadata(dice);
        let (attempt, metadata) = (unsent.attempt, unsent.entry.metadata);
        if !has_content(&unsent.entry) {
            self.unsent.remove(&number);
        }
        self.machine.revise(number, attempt, size, metadata);
    }

    fn withdraw(&mut self, number: EntryNumber) {
        self.unsent.remove(&number);
        self.withdrawn.push(number);
        let failure = Failure::new(FailureClass::Unreadable, "gone");
        self.machine.withdraw(number, failure);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.receipt.is_some()
    }
}

/// Bytes of a file as it was listed.
pub(crate) fn size_of(entry: &Entry) -> u64 {
    match entry.kind {
        Kind::File { size } => size.unwrap_or(0),
        _ => 0,
    }
}

/// What an attempt's content is pretended to be.
pub(crate) fn content_of(of: Attempt, size: u64) -> Content {
    let hash = match size {
        0 => empty_hash(),
        _ => *blake3::hash(format!("{of:?}").as_bytes()).as_bytes(),
    };
    Content { size, hash }
}
