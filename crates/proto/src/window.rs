//! The part of a manifest that is not settled yet: all that either side holds of it.

use std::collections::VecDeque;

use crate::entry::{Entry, EntryNumber, Kind, Metadata};
use crate::extent::Hash;
use crate::manifest::ManifestRoot;
use crate::message::{Failure, Totals, WindowSize, entry_length};

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is at its final place, and its content agreed.
    Stored,
    /// The file that was there was kept, as the receiver's user asked.
    Kept,
    /// It did not arrive.
    Failed(Failure),
}

/// A file's content, as whoever read or wrote it found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: u64,
    /// Their BLAKE3 hash.
    pub hash: Hash,
}

/// An entry that is done with, given out in the manifest's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its number.
    pub number: EntryNumber,
    /// The entry as it was last revised, with its size known.
    pub entry: Entry,
    /// The hash of its content, where it is a file that was stored.
    pub hash: Option<Hash>,
    /// What became of it.
    pub outcome: Outcome,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    attempt: u8,
    content: Option<Content>,
    outcome: Option<Outcome>,
}

impl Slot {
    fn is_finished(&self) -> bool {
        let needs_content = matches!(self.entry.kind, Kind::File { .. });
        match self.outcome {
            Some(Outcome::Stored) => self.content.is_some() || !needs_content,
            Some(_) => true,
            None => false,
        }
    }
}

/// What an empty file holds, which nobody has to read or send.
fn known_content(kind: &Kind) -> Option<Content> {
    matches!(kind, Kind::File { size: Some(0) }).then(|| Content {
        size: 0,
        hash: crate::extent::empty_hash(),
    })
}

/// Entries in order, from the first that is not finished.
///
/// Entries finish in any order and are given out, and added to the root and the totals, in theirs.
#[derive(Debug)]
pub(crate) struct Window {
    size: WindowSize,
    /// The number of the first slot.
    first: EntryNumber,
    slots: VecDeque<Slot>,
    /// Bytes of the entries that have no outcome yet, as [`entry_length`] counts them.
    unsettled: u64,
    root: ManifestRoot,
    totals: Totals,
}

/// An outcome or a revision that does not go with the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// For an entry that was never listed.
    #[error("entry {0} was never listed")]
    NotListed(EntryNumber),
    /// For an entry that has an outcome.
    #[error("entry {0} was settled before")]
    SettledBefore(EntryNumber),
    /// Of something that is no file, or not the next attempt.
    #[error("a revision of entry {0} that does not follow the one before")]
    BadRevision(EntryNumber),
    /// More entries than the window holds.
    #[error("more entries than the window holds")]
    Full,
}

impl Window {
    pub(crate) fn new(size: WindowSize) -> Self {
        Self {
            size,
            first: 0,
            slots: VecDeque::new(),
            unsettled: 0,
            root: ManifestRoot::new(),
            totals: Totals::default(),
        }
    }

    /// The number that the next entry gets.
    pub(crate) fn next(&self) -> EntryNumber {
        self.first + self.slots.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether there is room for one more entry, however long.
    ///
    /// What is settled but waits behind an unfinished entry counts too: it is in memory.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < self.size.entries as usize && self.unsettled < u64::from(self.size.bytes)
    }

    pub(crate) fn push(&mut self, entry: Entry) -> Result<EntryNumber, WindowError> {
        if !self.has_room() {
            return Err(WindowError::Full);
        }
        let number = self.next();
        self.unsettled += entry_length(&entry) as u64;
        let content = known_content(&entry.kind);
        self.slots.push_back(Slot {
            entry,
            attempt: 0,
            content,
            outcome: None,
        });
        Ok(number)
    }

    /// The slot of an entry; `None` for one that is finished and gone.
    fn slot(&mut self, number: EntryNumber) -> Result<Option<&mut Slot>, WindowError> {
        if number >= self.next() {
            return Err(WindowError::NotListed(number));
        }
        let index = number
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        Ok(index.and_then(|index| self.slots.get_mut(index)))
    }

    /// Whether the entry is a directory that is still in the window.
    pub(crate) fn is_directory(&mut self, number: EntryNumber) -> bool {
        matches!(self.slot(number), Ok(Some(slot)) if slot.entry.kind == Kind::Directory)
    }

    /// Whether the entry is listed and has no outcome yet.
    pub(crate) fn is_unsettled(&mut self, number: EntryNumber) -> bool {
        matches!(self.slot(number), Ok(Some(slot)) if slot.outcome.is_none())
    }

    /// The size of a file as it was listed, where it has neither content nor an outcome yet.
    pub(crate) fn awaited(&mut self, number: EntryNumber) -> Option<u64> {
        match self.slot(number) {
            Ok(Some(Slot {
                entry:
                    Entry {
                        kind: Kind::File { size },
                        ..
                    },
                attempt: 0,
                content: None,
                outcome: None,
            })) => *size,
            _ => None,
        }
    }

    /// Replaces what was said of a file. `Ok(false)` where it is settled, and the revision too late.
    pub(crate) fn revise(
        &mut self,
        number: EntryNumber,
        attempt: u8,
        size: Option<u64>,
        metadata: Metadata,
    ) -> Result<bool, WindowError> {
        let Some(slot) = self.slot(number)? else {
            return Ok(false);
        };
        if !matches!(slot.entry.kind, Kind::File { .. }) {
            return Err(WindowError::BadRevision(number));
        }
        if slot.outcome.is_some() {
            return Ok(false);
        }
        if attempt <= slot.attempt {
            return Err(WindowError::BadRevision(number));
        }
        slot.attempt = attempt;
        slot.entry.kind = Kind::File { size };
        slot.entry.metadata = metadata;
        slot.content = known_content(&slot.entry.kind);
        Ok(true)
    }

    /// Notes what a file's content turned out to be.
    pub(crate) fn content(
        &mut self,
        number: EntryNumber,
        content: Content,
    ) -> Result<(), WindowError> {
        if let Some(slot) = self.slot(number)? {
            slot.content = Some(content);
        }
        Ok(())
    }

    /// Notes an entry's outcome.
    pub(crate) fn settle(
        &mut self,
        number: EntryNumber,
        outcome: Outcome,
    ) -> Result<(), WindowError> {
        let Some(slot) = self.slot(number)?.filter(|slot| slot.outcome.is_none()) else {
            return Err(WindowError::SettledBefore(number));
        };
        slot.outcome = Some(outcome);
        let length = entry_length(&slot.entry) as u64;
        self.unsettled -= length;
        Ok(())
    }

    /// The next entry in order that is done with.
    pub(crate) fn pop_finished(&mut self) -> Option<Finished> {
        if !self.slots.front()?.is_finished() {
            return None;
        }
        let Slot {
            mut entry,
            content,
            outcome,
            ..
        } = self.slots.pop_front()?;
        let (number, outcome) = (self.first, outcome?);
        self.first += 1;
        // What was read of a file that did not arrive says nothing about what is there.
        let content = content.filter(|_| outcome == Outcome::Stored);
        if let (Kind::File { size }, Some(content)) = (&mut entry.kind, content) {
            *size = Some(content.size);
        }
        let hash = content.map(|content| content.hash);
        self.count(&entry, hash.as_ref(), &outcome);
        Some(Finished {
            number,
            entry,
            hash,
            outcome,
        })
    }

    fn count(&mut self, entry: &Entry, hash: Option<&Hash>, outcome: &Outcome) {
        let totals = &mut self.totals;
        match outcome {
            Outcome::Kept => totals.kept += 1,
            Outcome::Failed(_) => totals.failed += 1,
            Outcome::Stored => {
                self.root.add(entry, hash);
                match entry.kind {
                    Kind::Directory => totals.directories += 1,
                    Kind::Symlink { .. } => totals.symlinks += 1,
                    Kind::File { size } => {
                        totals.files += 1;
                        totals.bytes = totals.bytes.saturating_add(size.unwrap_or(0));
                    }
                }
            }
        }
    }

    /// The first entry that was settled as stored although its content is not known here.
    pub(crate) fn stored_without_content(&self) -> Option<EntryNumber> {
        let slot = |slot: &Slot| slot.outcome.is_some() && !slot.is_finished();
        let index = self.slots.iter().position(slot)?;
        Some(self.first + index as u64)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn root(&self) -> Hash {
        self.root.finish()
    }
}
