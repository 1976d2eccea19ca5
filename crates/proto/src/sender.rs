//! The sender's side of a session.

mod event;
mod lanes;
mod sending;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::event::SenderEvent;
use self::lanes::Lanes;
use self::sending::{Sending, Walk};
use crate::control::{Control, Violation};
use crate::entry::{Entry, EntryNumber, Kind, Metadata};
use crate::extent::Hash;
use crate::limits::Limits;
use crate::message::{
    AbortCode, Assurance, Counters, Failure, MAX_ITEMS, Message, SessionId, SourceId, Text, Times,
    Totals, WindowSize, entry_length,
};
use crate::path::RelativePath;
use crate::window::{Content, Outcome, Window};

/// Bytes of entries that one message carries at most: small enough for every peer's limit, since the
/// last entry may overshoot it.
const ENTRIES_MESSAGE: usize = 32 << 10;

/// What a sender says of itself.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// What it takes from its peer.
    pub limits: Limits,
    /// Cipher suites by their numbers, the preferred one first; none in an insecure session.
    pub suites: Vec<u8>,
    /// Its PAKE share; `None` in an insecure session.
    pub share: Option<[u8; 32]>,
    /// Its name for itself.
    pub name: String,
    /// The directory beneath the destination to send into.
    pub subdirectory: Option<RelativePath>,
    /// What it says of its sources.
    pub source: Option<SourceId>,
    /// What the receiver is to see to before its receipt.
    pub wanted: Assurance,
}

/// The sender's side of a session. Does no IO and reads no clock.
///
/// Call `handle_*` when bytes or time arrive, and the commands when there is something to say; then
/// drain, in this order:
/// 1. [`poll_event`](Self::poll_event): what happened
/// 2. [`poll_transmit`](Self::poll_transmit): bytes to write
/// 3. [`poll_timeout`](Self::poll_timeout): when to call [`handle_timeout`](Self::handle_timeout)
///
/// `now` is the time since some moment of the caller's choice; it never goes backwards between calls.
/// After an error the session is over: what [`poll_transmit`](Self::poll_transmit) then gives tells the
/// peer why.
#[derive(Debug)]
pub struct Sender {
    control: Control,
    state: State,
    config: SenderConfig,
    events: VecDeque<SenderEvent>,
    lanes: Lanes,
}

/// What a sender waits for.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one exists for each session")]
enum State {
    /// The peer's hello has an answer to come.
    AwaitWelcome,
    /// The caller's tag, or the peer's.
    AwaitConfirm,
    /// The caller says that the peer's tag is right. What the peer accepts may be here by then.
    AwaitVerdict(Option<Acceptance>),
    /// What the peer accepts.
    AwaitAccept,
    /// Entries go, outcomes come.
    Sending(Sending),
    /// Everything of `listed` entries is settled; the receipt is to come.
    AwaitReceipt {
        root: Hash,
        listed: u64,
        stored: Totals,
    },
    /// Nothing.
    Closed,
}

/// What the peer accepts, once it has been checked.
#[derive(Debug)]
struct Acceptance {
    session: SessionId,
    window: WindowSize,
    lanes: u16,
    resumes: bool,
}

impl Acceptance {
    fn check(
        session: SessionId,
        window: WindowSize,
        lanes: u16,
        resumes: bool,
    ) -> Result<Self, Violation> {
        if lanes == 0 || window.entries == 0 || window.bytes == 0 {
            return Err(Violation::Unexpected(
                "an acceptance without room for anything",
            ));
        }
        Ok(Self {
            session,
            window,
            lanes,
            resumes,
        })
    }
}

impl Sender {
    /// Says hello.
    #[must_use]
    pub fn new(config: SenderConfig, now: Duration) -> Self {
        let mut control = Control::new(config.limits.clone(), now);
        control.send(&Message::Hello {
            suites: config.suites.clone(),
            share: config.share,
            name: Text::new(&config.name),
        });
        Self {
            control,
            state: State::AwaitWelcome,
            config,
            events: VecDeque::new(),
            lanes: Lanes::default(),
        }
    }

    /// Takes bytes from the peer.
    ///
    /// # Errors
    /// The rule that the peer broke; the session is over.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Duration) -> Result<(), Violation> {
        self.control.handle_bytes(bytes, now);
        let outcome = self.handle_messages(now);
        self.note_violation(outcome)
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The deadline that the peer missed; the session is over.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Violation> {
        let outcome = self.control.handle_timeout(now);
        self.note_violation(outcome)
    }

    fn note_violation(&mut self, outcome: Result<(), Violation>) -> Result<(), Violation> {
        if let Err(violation) = &outcome {
            self.control
                .abort(violation.abort_code(), &violation.to_string());
        }
        outcome
    }

    fn handle_messages(&mut self, now: Duration) -> Result<(), Violation> {
        while let Some(message) = self.control.next_message()? {
            self.handle_message(message, now)?;
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message, now: Duration) -> Result<(), Violation> {
        match (&mut self.state, message) {
            (_, Message::Abort { code, text }) => {
                self.control.end();
                self.events.push_back(SenderEvent::Aborted { code, text });
            }
            (State::AwaitWelcome, Message::Welcome { suite, share, name }) => {
                self.handle_welcome(suite, share, name, now)?;
            }
            (State::AwaitConfirm, Message::Confirm { tag }) => {
                self.state = State::AwaitVerdict(None);
                self.events.push_back(SenderEvent::Confirmed { tag });
            }
            (
                State::AwaitVerdict(early @ None),
                Message::Accept {
                    session,
                    window,
                    lanes,
                    resumes,
                },
            ) => {
                *early = Some(Acceptance::check(session, window, lanes, resumes)?);
            }
            (
                State::AwaitAccept,
                Message::Accept {
                    session,
                    window,
                    lanes,
                    resumes,
                },
            ) => {
                self.begin(&Acceptance::check(session, window, lanes, resumes)?);
            }
            // The receiver counts seconds from its own confirmation, or without one from the offer.
            (
                State::AwaitVerdict(_)
                | State::AwaitAccept
                | State::Sending(_)
                | State::AwaitReceipt { .. },
                Message::Progress(counters),
            ) => {
                self.events.push_back(SenderEvent::PeerProgress(counters));
            }
            (State::Sending(_) | State::AwaitReceipt { .. }, Message::Flawed { path, failure }) => {
                self.events.push_back(SenderEvent::Flawed { path, failure });
            }
            // What is settled by then needs no answer, but the answer may be on its way.
            (
                State::Sending(_) | State::AwaitReceipt { .. },
                Message::LaneClosed { lane, taken },
            ) => {
                self.lanes.handle_closed(lane, taken, &mut self.events)?;
            }
            (State::Sending(sending), message) => {
                sending.handle_outcome(message, &mut self.events)?;
                sending.collect(&mut self.events);
            }
            // It crossed the withdrawal of one of the last entries on its way.
            (
                State::AwaitReceipt { listed, .. },
                Message::Kept { number } | Message::Failed { number, .. },
            ) if number < *listed => {}
            (
                State::AwaitReceipt {
                    root: own, stored, ..
                },
                Message::Receipt {
                    root,
                    totals,
                    elapsed,
                    sender,
                    receiver,
                    given,
                },
            ) => {
                if *own != root {
                    return Err(Violation::Disagreement("the manifest's root"));
                }
                if !stored.stores_as_much_as(&totals) {
                    return Err(Violation::Disagreement("what was stored"));
                }
                if !given.covers(self.config.wanted) {
                    let what = "what was to be seen to before the receipt";
                    return Err(Violation::Disagreement(what));
                }
                self.state = State::Closed;
                self.control.send(&Message::Bye);
                self.control.end();
                self.events.push_back(SenderEvent::Receipt {
                    root,
                    totals,
                    elapsed,
                    sender,
                    receiver,
                    given,
                });
            }
            _ => return Err(Violation::Unexpected("the sender did not wait for it")),
        }
        Ok(())
    }

    fn handle_welcome(
        &mut self,
        suite: u8,
        share: Option<[u8; 32]>,
        name: Text,
        now: Duration,
    ) -> Result<(), Violation> {
        if share.is_some() != self.config.share.is_some() {
            return Err(Violation::Unexpected(
                "a welcome for another kind of session",
            ));
        }
        let offered =
            self.config.suites.contains(&suite) || (self.config.suites.is_empty() && suite == 0);
        if !offered {
            return Err(Violation::Unexpected("a cipher suite that was not offered"));
        }
        self.state = State::AwaitConfirm;
        self.events
            .push_back(SenderEvent::Welcomed { suite, share, name });
        if share.is_none() {
            self.open(now);
        }
        Ok(())
    }

    /// Offers, and sends from now on.
    fn begin(&mut self, acceptance: &Acceptance) {
        let &Acceptance {
            session,
            window,
            lanes,
            resumes,
        } = acceptance;
        // A peer may allow more than this side wants to hold.
        let clamp = |own: usize, peer: u32| u32::try_from(own).unwrap_or(u32::MAX).min(peer);
        let window = WindowSize {
            entries: clamp(self.config.limits.window_entries, window.entries),
            bytes: clamp(self.config.limits.window_bytes, window.bytes),
        };
        self.control.send(&Message::Offer {
            subdirectory: self.config.subdirectory.clone(),
            source: self.config.source,
            wanted: self.config.wanted,
        });
        let (window, unsent) = (Window::new(window), (0, Vec::new()));
        self.state = State::Sending(Sending {
            window,
            unsent,
            unsent_bytes: 0,
            walk: Walk::Running,
            resumes,
        });
        self.events.push_back(SenderEvent::Accepted {
            session,
            lanes,
            resumes,
        });
    }

    /// Sends this side's tag, which answers [`SenderEvent::Welcomed`].
    pub fn confirm(&mut self, tag: [u8; 64]) {
        self.control.send(&Message::Confirm { tag });
    }

    /// Says that the tag of [`SenderEvent::Confirmed`] was right: once the receiver accepts, it hears what is offered.
    pub fn authenticated(&mut self, now: Duration) {
        if let State::AwaitVerdict(early) = &mut self.state {
            let early = early.take();
            self.open(now);
            if let Some(acceptance) = early {
                self.begin(&acceptance);
            }
        }
    }

    fn open(&mut self, now: Duration) {
        self.control.authenticated(now);
        self.state = State::AwaitAccept;
    }

    fn sending(&mut self) -> Option<&mut Sending> {
        match &mut self.state {
            State::Sending(sending) if !self.control.is_over() => Some(sending),
            _ => None,
        }
    }

    /// Whether [`offer`](Self::offer) would take an entry now.
    #[must_use]
    pub fn can_offer(&self) -> bool {
        match &self.state {
            State::Sending(sending) => {
                !self.control.is_over()
                    && sending.walk == Walk::Running
                    && sending.window.has_room()
            }
            _ => false,
        }
    }

    /// Adds the next entry to the manifest; `None`, taking nothing, where there is no room for it.
    pub fn offer(&mut self, entry: Entry) -> Option<EntryNumber> {
        if !self.can_offer() {
            return None;
        }
        let sending = self.sending()?;
        let number = sending.window.push(entry.clone()).ok()?;
        sending.unsent_bytes += entry_length(&entry);
        if sending.unsent.1.is_empty() {
            sending.unsent.0 = number;
        }
        sending.unsent.1.push(entry);
        if sending.unsent_bytes >= ENTRIES_MESSAGE || sending.unsent.1.len() == MAX_ITEMS {
            self.flush_entries();
        }
        Some(number)
    }

    fn flush_entries(&mut self) {
        let Some(sending) = self.sending() else {
            return;
        };
        let (first, entries) = (sending.unsent.0, std::mem::take(&mut sending.unsent.1));
        sending.unsent_bytes = 0;
        if !entries.is_empty() {
            self.control.send(&Message::Entries { first, entries });
        }
    }

    /// Says that a file is sent anew, as attempt `attempt`, with this size and metadata.
    ///
    /// Only before the last extent's value of the attempt before was sent, and not for a file that is
    /// listed as empty: the receiver may have stored those.
    pub fn revise(
        &mut self,
        number: EntryNumber,
        attempt: u8,
        size: Option<u64>,
        metadata: Metadata,
    ) {
        self.flush_entries();
        let Some(sending) = self.sending() else {
            return;
        };
        if sending.window.revise(number, attempt, size, metadata) == Ok(true) {
            self.control.send(&Message::Revise {
                number,
                attempt,
                size,
                metadata,
            });
        }
    }

    /// Says that a file's content will not be sent, or not whole.
    ///
    /// Only before the last extent's value was sent, and not for entries without content: the receiver
    /// may have stored those.
    pub fn withdraw(&mut self, number: EntryNumber, failure: Failure) {
        self.flush_entries();
        let Some(sending) = self.sending() else {
            return;
        };
        if sending.window.is_unsettled(number) {
            let outcome = Outcome::Failed(failure.clone());
            if sending.window.settle(number, outcome).is_ok() {
                self.control.send(&Message::Withdraw { number, failure });
            }
        }
        self.collect();
    }

    /// Notes the hash of a file's content. To be called before the last of it is sent.
    pub fn content(&mut self, number: EntryNumber, content: Content) {
        if let Some(sending) = self.sending() {
            // An entry that is not listed cannot have been sent by the caller.
            let _ = sending.window.content(number, content);
        }
        self.collect();
    }

    /// Says that there are no more entries.
    pub fn end_of_entries(&mut self) {
        self.flush_entries();
        let Some(sending) = self.sending() else {
            return;
        };
        if sending.walk == Walk::Running {
            sending.walk = Walk::Ended;
            let count = sending.window.next();
            self.control.send(&Message::EntriesEnd { count });
        }
        self.collect();
    }

    /// Says that no content is left to be sent, so that outcomes for content that was never sent show.
    ///
    /// # Errors
    /// The receiver says that it stored a file that was never sent whole.
    pub fn all_content_sent(&mut self) -> Result<(), Violation> {
        let stored = self
            .sending()
            .and_then(|sending| sending.window.stored_without_content());
        let outcome = match stored {
            Some(_) => Err(Violation::Disagreement("which files were sent")),
            None => Ok(()),
        };
        self.note_violation(outcome)
    }

    fn collect(&mut self) {
        if let State::Sending(sending) = &mut self.state {
            sending.collect(&mut self.events);
        }
    }

    /// Ends a session in which everything is settled; answers [`SenderEvent::Drained`].
    ///
    /// `unlisted` counts what the walk could not even list.
    pub fn close(&mut self, unlisted: u64, times: Times) {
        let Some(sending) = self.sending() else {
            return;
        };
        if sending.walk == Walk::Drained {
            let (root, listed) = (sending.window.root(), sending.window.next());
            let stored = sending.window.totals();
            self.control.send(&Message::Close {
                root,
                unlisted,
                times,
            });
            self.state = State::AwaitReceipt {
                root,
                listed,
                stored,
            };
        }
    }

    /// Ends the session at once.
    pub fn abort(&mut self, code: AbortCode, text: &str) {
        self.control.abort(code, text);
    }

    /// What to tell the peer at the next occasion.
    pub fn set_counters(&mut self, counters: Counters) {
        self.control.set_counters(counters);
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    /// Appends the bytes to be written; `false` where there are none.
    #[must_use]
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        self.flush_entries();
        self.control.poll_transmit(out)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.control.poll_timeout()
    }
}

/// Whether content of this entry travels on lanes.
#[must_use]
pub fn has_content(entry: &Entry) -> bool {
    !matches!(
        entry.kind,
        Kind::Directory | Kind::Symlink { .. } | Kind::File { size: Some(0) }
    )
}
