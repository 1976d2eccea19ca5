//! A sender's session between acceptance and close.

use std::collections::VecDeque;

use super::SenderEvent;
use crate::control::Violation;
use crate::entry::{Entry, EntryNumber};
use crate::extent::ContentTree;
use crate::message::Message;
use crate::window::{Content, Outcome, Window};

/// The manifest while it goes out and its outcomes come in.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) window: Window,
    /// Entries that are not in a message yet, the first of them with this number.
    pub(super) unsent: (EntryNumber, Vec<Entry>),
    pub(super) unsent_bytes: usize,
    pub(super) walk: Walk,
    /// Whether the receiver says of each file what it has of it.
    pub(super) resumes: bool,
}

/// How far the offering is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// More entries may come.
    Running,
    /// All entries are offered.
    Ended,
    /// They are settled, too, and the caller knows.
    Drained,
}

impl Sending {
    pub(super) fn handle_outcome(
        &mut self,
        message: Message,
        events: &mut VecDeque<SenderEvent>,
    ) -> Result<(), Violation> {
        match message {
            Message::Settled { runs } => {
                for (first, count) in runs {
                    self.handle_settled(first, count)?;
                }
            }
            Message::Kept { number } if self.window.is_directory(number) => {
                return Err(Violation::Unexpected("a directory that is kept"));
            }
            Message::Kept { number } => self.settle_early(number, Outcome::Kept, events)?,
            Message::Failed { number, failure } => {
                self.settle_early(number, Outcome::Failed(failure), events)?;
            }
            message if self.resumes => return self.handle_remains(message, events),
            _ => return Err(Violation::Unexpected("the sender waited for outcomes")),
        }
        Ok(())
    }

    /// What the receiver has of files from an earlier session.
    fn handle_remains(
        &mut self,
        message: Message,
        events: &mut VecDeque<SenderEvent>,
    ) -> Result<(), Violation> {
        let unexpected = Violation::Unexpected("remains of a file that does not wait for them");
        match message {
            Message::Held { files } => {
                for (number, hash) in files {
                    let size = self.window.awaited(number).ok_or(unexpected.clone())?;
                    self.window.content(number, Content { size, hash })?;
                    events.push_back(SenderEvent::Held { number, size });
                }
            }
            Message::Partial { number, subtrees } => {
                let size = self.window.awaited(number).ok_or(unexpected)?;
                let rule = "remains that do not fit their file";
                let tree = ContentTree::from_subtrees(size, subtrees)
                    .map_err(|_| Violation::Unexpected(rule))?;
                events.push_back(SenderEvent::Partial { number, tree });
            }
            Message::Missing { runs } => {
                for (first, count) in runs {
                    let end = first.checked_add(count);
                    if end.is_none_or(|end| end > self.window.next()) {
                        return Err(unexpected);
                    }
                    events.push_back(SenderEvent::Missing { first, count });
                }
            }
            _ => return Err(Violation::Unexpected("the sender waited for outcomes")),
        }
        Ok(())
    }

    fn handle_settled(&mut self, first: EntryNumber, count: u64) -> Result<(), Violation> {
        // Held against the window before anything loops over it.
        let end = first
            .checked_add(count)
            .filter(|end| *end <= self.window.next());
        let end = end.ok_or(Violation::Unexpected(
            "a settlement of entries that were never listed",
        ))?;
        for number in first..end {
            self.window.settle(number, Outcome::Stored)?;
        }
        Ok(())
    }

    /// An outcome that may have crossed a withdrawal on its way: then it is too late, and no matter.
    fn settle_early(
        &mut self,
        number: EntryNumber,
        outcome: Outcome,
        events: &mut VecDeque<SenderEvent>,
    ) -> Result<(), Violation> {
        if number >= self.window.next() {
            return Err(Violation::Unexpected(
                "an outcome of an entry that was never listed",
            ));
        }
        if self.window.is_unsettled(number) {
            self.window.settle(number, outcome)?;
            events.push_back(SenderEvent::Unwanted(number));
        }
        Ok(())
    }

    pub(super) fn collect(&mut self, events: &mut VecDeque<SenderEvent>) {
        while let Some(finished) = self.window.pop_finished() {
            events.push_back(SenderEvent::Finished(finished));
        }
        if self.walk == Walk::Ended && self.window.is_empty() {
            self.walk = Walk::Drained;
            events.push_back(SenderEvent::Drained);
        }
    }
}
