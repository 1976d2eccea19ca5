//! Lanes that were lost, until what they carried is accounted for and others are in their place.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::again::Again;
use super::sent::SentList;

/// Lanes that are replaced in one session at most: beyond, it is the network that has to be waited for.
const MOST: u16 = 1024;

/// How long the receiver may take to say what it took of a lane, beyond the time for which its lanes wait for entries.
const ANSWER: Duration = Duration::from_secs(30);

/// A lane whose receiver has not said yet what it took of it.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) sent: SentList,
    pub(super) error: io::Error,
    by: Instant,
}

/// What became of a try to open a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// There is another, in a while.
    Later,
    /// There were enough.
    Never,
}

/// Lanes that were lost.
#[derive(Debug)]
pub(super) struct Losses {
    retry_for: Duration,
    silence: Duration,
    unanswered: BTreeMap<u16, Unanswered>,
    /// What the receiver took of lanes whose threads have not ended.
    closed: BTreeMap<u16, u64>,
    /// What was sent on lanes that came to their end, which the receiver may not have seen.
    ended: BTreeMap<u16, SentList>,
    /// How many came to their end, and could have gone on.
    could_go_on: usize,
    /// Lanes that nobody is in the place of.
    vacant: Vec<u16>,
    /// Lanes that are being opened, and in whose place.
    opening: BTreeMap<u16, u16>,
    again: Option<Again>,
    next_try: Option<Instant>,
    replaced: u16,
}

impl Losses {
    pub(super) fn new(retry_for: Duration, silence: Duration) -> Self {
        Self {
            retry_for,
            silence,
            unanswered: BTreeMap::new(),
            closed: BTreeMap::new(),
            ended: BTreeMap::new(),
            could_go_on: 0,
            vacant: Vec::new(),
            opening: BTreeMap::new(),
            again: None,
            next_try: None,
            replaced: 0,
        }
    }

    /// A lane came to its end.
    pub(super) fn keep(&mut self, lane: u16, sent: SentList) {
        self.could_go_on += 1;
        if !sent.is_empty() {
            self.ended.insert(lane, sent);
        }
    }

    /// Forgets of those what has arrived: entries below `finished`.
    pub(super) fn forget(&mut self, finished: u64) {
        self.ended.retain(|_, sent| {
            sent.forget(finished);
            !sent.is_empty()
        });
    }

    /// Whether a lane came to its end before it was known that there is more to do: one may be opened in its place, once.
    pub(super) fn take_place_of_ended(&mut self) -> bool {
        let is_there = self.could_go_on > 0;
        self.could_go_on = self.could_go_on.saturating_sub(1);
        is_there
    }

    /// What was sent on a lane that came to its end.
    pub(super) fn take_ended(&mut self, lane: u16) -> Option<SentList> {
        self.ended.remove(&lane)
    }

    /// Waits for what the receiver says of a lane.
    pub(super) fn wait_for_answer(&mut self, lane: u16, sent: SentList, error: io::Error) {
        let by = Instant::now() + self.silence + ANSWER;
        let unanswered = Unanswered { sent, error, by };
        self.unanswered.insert(lane, unanswered);
    }

    pub(super) fn take_unanswered(&mut self, lane: u16) -> Option<Unanswered> {
        self.unanswered.remove(&lane)
    }

    /// Notes what the receiver took, until the lane's thread has ended.
    pub(super) fn note_closed(&mut self, lane: u16, taken: u64) {
        self.closed.insert(lane, taken);
    }

    pub(super) fn take_closed(&mut self, lane: u16) -> Option<u64> {
        self.closed.remove(&lane)
    }

    /// Another is to be opened in the place of this one. One that had brought something begins the tries anew.
    pub(super) fn vacate(&mut self, lane: u16, brought: bool) -> Next {
        if brought {
            self.again = None;
        }
        self.vacant.push(lane);
        self.plan()
    }

    fn plan(&mut self) -> Next {
        let now = Instant::now();
        let retry_for = self.retry_for;
        let again = self.again.get_or_insert_with(|| Again::new(now, retry_for));
        match again.next(now).filter(|_| self.replaced < MOST) {
            Some((wait, _)) => {
                self.next_try.get_or_insert(now + wait);
                Next::Later
            }
            None => {
                self.vacant.clear();
                self.next_try = None;
                Next::Never
            }
        }
    }

    /// When [`overdue`](Self::overdue) or [`take_vacant`](Self::take_vacant) have something to say.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let answers = self.unanswered.values().map(|waiting| waiting.by);
        answers.chain(self.next_try).min()
    }

    /// Whether the receiver has not said in time what it took of a lane: then why that was lost.
    pub(super) fn overdue(&mut self) -> Option<io::Error> {
        let now = Instant::now();
        let late = |(&lane, waiting): (&u16, &Unanswered)| (waiting.by <= now).then_some(lane);
        let lane = self.unanswered.iter().find_map(late)?;
        Some(self.unanswered.remove(&lane)?.error)
    }

    /// Lanes that others are to be opened in the place of, where it is time.
    pub(super) fn take_vacant(&mut self) -> Vec<u16> {
        if self.next_try.is_none_or(|at| at > Instant::now()) {
            return Vec::new();
        }
        self.next_try = None;
        std::mem::take(&mut self.vacant)
    }

    /// `lane` is being opened in the place of `lost`.
    pub(super) fn opening(&mut self, lane: u16, lost: u16) {
        self.replaced += 1;
        self.opening.insert(lane, lost);
    }

    /// In whose place this one is opened; that is over now.
    pub(super) fn take_opening(&mut self, lane: u16) -> Option<u16> {
        self.opening.remove(&lane)
    }

    /// Whether a lane is to be opened sooner or later.
    pub(super) fn has_vacant(&self) -> bool {
        !self.vacant.is_empty()
    }
}
