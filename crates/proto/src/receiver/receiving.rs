//! What a receiver takes of a manifest, between the offer and the end.

use std::collections::VecDeque;

use super::ReceiverEvent;
use crate::control::Violation;
use crate::entry::{Entry, Kind};
use crate::limits::Limits;
use crate::manifest::Order;
use crate::message::Message;
use crate::window::{Outcome, Window};

/// The manifest while it comes in and its outcomes go out.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) window: Window,
    pub(super) order: Order,
    pub(super) manifest: Manifest,
}

/// How far the manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manifest {
    /// More entries may come.
    Open,
    /// All entries are listed.
    Ended,
}

impl Receiving {
    pub(super) fn handle_message(
        &mut self,
        message: Message,
        limits: &Limits,
        events: &mut VecDeque<ReceiverEvent>,
    ) -> Result<(), Violation> {
        match message {
            Message::Entries { first, entries } => {
                if self.manifest != Manifest::Open || first != self.window.next() {
                    return Err(Violation::Unexpected(
                        "entries that do not follow the ones before",
                    ));
                }
                for entry in entries {
                    self.handle_entry(entry, limits, events)?;
                }
            }
            Message::EntriesEnd { count } => {
                if self.manifest != Manifest::Open || count != self.window.next() {
                    return Err(Violation::Disagreement("the number of entries"));
                }
                self.manifest = Manifest::Ended;
                events.push_back(ReceiverEvent::ManifestEnded);
            }
            Message::Revise {
                number,
                attempt,
                size,
                metadata,
            } => {
                if size.is_some_and(|size| size > limits.file_size) {
                    return Err(Violation::Unexpected("a revision to a size over the limit"));
                }
                if self.window.revise(number, attempt, size, metadata)? {
                    events.push_back(ReceiverEvent::Revised {
                        number,
                        attempt,
                        size,
                        metadata,
                    });
                }
            }
            Message::Withdraw { number, failure } => {
                if number >= self.window.next() {
                    return Err(Violation::Unexpected(
                        "a withdrawal of an entry that was never listed",
                    ));
                }
                // It may have an outcome already, which crossed the withdrawal on its way.
                if self.window.is_unsettled(number) {
                    self.window.settle(number, Outcome::Failed(failure))?;
                    events.push_back(ReceiverEvent::Withdrawn { number });
                }
            }
            _ => return Err(Violation::Unexpected("the receiver waited for entries")),
        }
        Ok(())
    }

    fn handle_entry(
        &mut self,
        entry: Entry,
        limits: &Limits,
        events: &mut VecDeque<ReceiverEvent>,
    ) -> Result<(), Violation> {
        let path = || entry.path.to_string();
        self.order.check(&entry).map_err(|error| Violation::Order {
            path: path(),
            error,
        })?;
        if matches!(entry.kind, Kind::File { size: Some(size) } if size > limits.file_size) {
            return Err(Violation::Entry {
                path: path(),
                rule: "larger than this receiver takes",
            });
        }
        if self.window.next() >= limits.entries {
            return Err(Violation::Entry {
                path: path(),
                rule: "more entries than this receiver takes",
            });
        }
        let number = self.window.push(entry.clone())?;
        events.push_back(ReceiverEvent::Entry { number, entry });
        Ok(())
    }
}
