//! What a lane has sent and its receiver may not have: what is sent again where the lane is lost.

use std::collections::HashSet;
use std::sync::Arc;

use packhorse_proto::entry::EntryNumber;
use packhorse_proto::extent::Hash;

use super::file::Tries;
use super::outbox::FileJob;
use super::shared::SharedFile;

/// Values that are remembered at most. What was sent before so many full extents (4 GiB) has left both kernels' buffers
/// of any connection, which are at most 3 GiB together.
const MOST: usize = 4096;

/// Directories and files that are kept open by it at most, and how often that is looked at.
const MOST_OPEN: usize = 512;
const LOOK_EVERY: usize = 256;

/// What one lane sent, from the first value that its receiver may not have.
#[derive(Debug, Default)]
pub(crate) struct SentList {
    parts: Vec<Part>,
    /// Values and ends that were sent on the lane.
    sent: u64,
    /// What was sent up to this one is not remembered, though it may not have arrived.
    forgotten: u64,
    /// What the last part keeps open, and how often that changed since the list was last looked through.
    opened: usize,
    changes: usize,
    /// The length at which it is looked through.
    full_at: usize,
}

/// A part of the content.
#[derive(Debug)]
struct Part {
    what: What,
    /// How many values and ends were sent with its last one; `None` while it is in hand.
    complete_with: Option<u64>,
    /// Bytes of it that were sent.
    bytes: u64,
}

/// What a part is of.
#[derive(Debug)]
pub(crate) enum What {
    /// All of a file that is one extent.
    File { job: Arc<FileJob>, tries: Tries },
    /// An extent of a file that lanes share, with its value once that is known.
    Extent {
        file: Arc<SharedFile>,
        start: u64,
        value: Option<Hash>,
    },
    /// All of standard input.
    Stdin(EntryNumber),
}

/// A part that did not arrive.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) what: What,
    pub(crate) bytes: u64,
    /// It was sent whole.
    pub(crate) complete: bool,
}

impl What {
    fn number(&self) -> EntryNumber {
        match self {
            Self::File { job, .. } => job.number,
            Self::Extent { file, .. } => file.number(),
            Self::Stdin(number) => *number,
        }
    }

    /// What it keeps open, told apart by where that is in memory.
    fn opened(&self) -> usize {
        match self {
            Self::File { job, .. } => Arc::as_ptr(job.at.parent()).addr(),
            Self::Extent { file, .. } => Arc::as_ptr(file).addr(),
            Self::Stdin(_) => 0,
        }
    }
}

impl SentList {
    /// A part is begun with. Entries below `finished` have arrived.
    pub(super) fn begin(&mut self, what: What, finished: EntryNumber) {
        let opened = what.opened();
        self.changes += usize::from(opened != self.opened);
        self.opened = opened;
        if self.parts.len() >= self.full_at.max(LOOK_EVERY) || self.changes >= LOOK_EVERY {
            self.forget(finished);
        }
        self.parts.push(Part {
            what,
            complete_with: None,
            bytes: 0,
        });
    }

    /// The one in hand is not sent after all, or not by this lane. Answers how many bytes of it were.
    pub(super) fn take_back(&mut self) -> u64 {
        match self.in_hand().map(|part| part.bytes) {
            Some(bytes) => {
                self.parts.pop();
                bytes
            }
            None => 0,
        }
    }

    fn in_hand(&mut self) -> Option<&mut Part> {
        let last = self.parts.last_mut();
        last.filter(|part| part.complete_with.is_none())
    }

    /// So many bytes of the one in hand are sent.
    pub(super) fn add_bytes(&mut self, bytes: u64) {
        if let Some(part) = self.in_hand() {
            part.bytes += bytes;
        }
    }

    /// The value of the extent in hand is known.
    pub(super) fn know(&mut self, known: Hash) {
        if let Some(Part {
            what: What::Extent { value, .. },
            ..
        }) = self.in_hand()
        {
            *value = Some(known);
        }
    }

    /// A value or an end is sent.
    pub(super) fn count(&mut self) {
        self.sent += 1;
    }

    /// All of the one in hand is sent.
    pub(super) fn complete(&mut self) {
        let sent = self.sent;
        if let Some(part) = self.in_hand() {
            part.complete_with = Some(sent);
        }
    }

    /// Values and ends that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Forgets what has arrived, and the oldest of what may be too much.
    pub(super) fn forget(&mut self, finished: EntryNumber) {
        self.parts
            .retain(|part| part.complete_with.is_none() || part.what.number() >= finished);
        let mut open = HashSet::new();
        let mut keep = self.parts.iter().rev().take(MOST);
        let kept = keep
            .position(|part| {
                open.insert(part.what.opened());
                open.len() > MOST_OPEN
            })
            .unwrap_or(self.parts.len().min(MOST));
        let least = usize::from(self.in_hand().is_some());
        let beyond = self.parts.len() - kept.max(least);
        for part in self.parts.drain(..beyond) {
            self.forgotten = self.forgotten.max(part.complete_with.unwrap_or(0));
        }
        self.full_at = 2 * self.parts.len();
        self.changes = 0;
    }

    /// Whether there is nothing that may have to be sent again.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.forgotten == 0
    }

    /// What did not arrive, where the receiver took so many values and ends; `None` where that is not remembered.
    pub(super) fn lost(self, taken: u64) -> Option<Vec<Lost>> {
        if taken < self.forgotten {
            return None;
        }
        let lost = self.parts.into_iter().filter_map(|part| {
            let complete = part.complete_with.is_some();
            (part.complete_with.is_none_or(|with| with > taken)).then_some(Lost {
                what: part.what,
                bytes: part.bytes,
                complete,
            })
        });
        Some(lost.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many streams, each with a value.
    fn streams(numbers: impl IntoIterator<Item = u64>) -> SentList {
        let mut list = SentList::default();
        for number in numbers {
            list.begin(What::Stdin(number), 0);
            list.add_bytes(10);
            list.count();
            list.complete();
        }
        list
    }

    fn numbers(lost: &[Lost]) -> Vec<u64> {
        lost.iter().map(|lost| lost.what.number()).collect()
    }

    #[test]
    fn what_follows_the_last_value_that_was_taken_is_lost_and_so_is_what_is_in_hand() {
        let mut list = streams(0..4);
        list.begin(What::Stdin(4), 0);
        list.add_bytes(3);
        let lost = list.lost(2).unwrap();
        assert_eq!(numbers(&lost), [2, 3, 4]);
        assert_eq!((lost[1].complete, lost[1].bytes), (true, 10));
        assert_eq!((lost[2].complete, lost[2].bytes), (false, 3));
        assert!(streams(0..4).lost(4).unwrap().is_empty());
    }

    #[test]
    fn what_is_finished_is_forgotten_and_what_is_in_hand_is_not() {
        let mut list = streams(0..4);
        list.begin(What::Stdin(4), 0);
        list.forget(3);
        assert!(!list.is_empty());
        // Who took less than what is finished says nothing of it: it has arrived.
        assert_eq!(numbers(&list.lost(0).unwrap()), [3, 4]);
        let mut list = streams(0..4);
        list.forget(4);
        assert!(list.is_empty());
    }

    #[test]
    fn a_part_that_is_taken_back_is_not_lost() {
        let mut list = streams(0..1);
        list.begin(What::Stdin(1), 0);
        list.take_back();
        list.take_back();
        assert_eq!(numbers(&list.lost(0).unwrap()), [0]);
    }

    #[test]
    fn a_list_has_its_bound_and_says_when_it_does_not_remember() {
        let many = 3 * MOST as u64;
        let list = streams(0..many);
        assert!(list.parts.len() <= 2 * MOST + 1, "{}", list.parts.len());
        let list = streams(0..many);
        assert_eq!(numbers(&list.lost(many - 2).unwrap()), [many - 2, many - 1]);
        assert!(streams(0..many).lost(1).is_none());
    }
}
