//! The receiver's side of a session.

mod lanes;
mod receiving;

use std::collections::VecDeque;
use std::time::Duration;

use self::lanes::Lanes;
use self::receiving::{Manifest, Receiving};
use crate::control::{Control, Violation};
use crate::entry::{Entry, EntryNumber, Metadata};
use crate::extent::{ContentTree, Hash};
use crate::limits::Limits;
use crate::manifest::Order;
use crate::message::{
    AbortCode, Assurance, Counters, Failure, MAX_HELD, MAX_ITEMS, Message, SessionId, SourceId,
    Text, Times, Totals, WindowSize,
};
use crate::path::RelativePath;
use crate::window::{Content, Finished, Outcome, Window};

/// Whether a session proves a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Shares and tags are exchanged.
    Code,
    /// Nothing is proved.
    None,
}

/// The receiver's side of a session. Does no IO and reads no clock.
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
pub struct Receiver {
    control: Control,
    authentication: Authentication,
    state: State,
    events: VecDeque<ReceiverEvent>,
    /// Settled entries that the peer does not know of yet.
    settled: Vec<EntryNumber>,
    /// Files that are there from an earlier session, and those of which nothing is, that the peer does not know of yet.
    held: Vec<(EntryNumber, Hash)>,
    missing: Vec<EntryNumber>,
    lanes: Lanes,
    /// Directories whose metadata could not be set.
    flawed: u64,
    /// Bytes that were there from an earlier session.
    resumed: u64,
}

/// What a receiver waits for.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one exists for each session")]
enum State {
    /// The first message.
    AwaitHello,
    /// The caller's answer to it.
    AwaitWelcome,
    /// The peer's tag.
    AwaitConfirm,
    /// The caller says that the peer's tag is right.
    AwaitVerdict,
    /// The caller accepts.
    AwaitAccept,
    /// What the peer wants.
    AwaitOffer(WindowSize),
    /// Entries come, outcomes go.
    Receiving(Receiving),
    /// The caller's receipt for what is complete.
    AwaitReceipt(Closing),
    /// The peer's last word.
    AwaitBye,
    /// Nothing.
    Closed,
}

#[derive(Debug)]
struct Closing {
    root: Hash,
    totals: Totals,
    sender: Times,
}

/// Something that a receiver's caller has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// Somebody is there. Answer with [`Receiver::welcome`].
    Hello {
        /// Cipher suites by number, the preferred one first.
        suites: Vec<u8>,
        /// The PAKE share.
        share: Option<[u8; 32]>,
        /// The peer's name for itself.
        name: Text,
    },
    /// The peer's tag came. Where it is right, answer with [`Receiver::authenticated`].
    Confirm {
        /// The tag.
        tag: [u8; 64],
    },
    /// What the peer wants.
    Offered {
        /// Where it wants to send to.
        subdirectory: Option<RelativePath>,
        /// What it says of its sources: the same for the same command again.
        source: Option<SourceId>,
        /// What it wants to be seen to before the receipt.
        wanted: Assurance,
    },
    /// The next entry of the manifest. Answer, sooner or later, with [`Receiver::stored`],
    /// [`Receiver::kept`] or [`Receiver::failed`].
    Entry {
        /// Its number.
        number: EntryNumber,
        /// The entry.
        entry: Entry,
    },
    /// A file comes anew: what was received of earlier attempts is void.
    Revised {
        /// Its number.
        number: EntryNumber,
        /// The attempt that counts from now on.
        attempt: u8,
        /// Its size.
        size: Option<u64>,
        /// Its metadata.
        metadata: Metadata,
    },
    /// A file will not come whole. It has its outcome already.
    Withdrawn {
        /// Its number.
        number: EntryNumber,
    },
    /// The sender sends nothing more on this lane. Close it, and when all that came on it is dealt with, answer with
    /// [`Receiver::lane_closed`].
    LaneLost {
        /// Its number. It may not have come.
        lane: u16,
    },
    /// All entries are listed.
    ManifestEnded,
    /// An entry is done with. In the manifest's order.
    Finished(Finished),
    /// How far the sender is.
    PeerProgress(Counters),
    /// Everything is settled and both sides agree on it: answer with [`Receiver::receipt`].
    Complete,
    /// The peer has the receipt: the connection may close.
    Goodbye,
    /// The peer ended the session.
    Aborted {
        /// Why.
        code: AbortCode,
        /// Why, in the peer's words.
        text: Text,
    },
}

/// What a receiver hands over at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// The manifest's root.
    pub root: Hash,
    /// What was stored.
    pub totals: Totals,
    /// The sender's times.
    pub sender: Times,
}

impl Receiver {
    /// Waits for a hello.
    #[must_use]
    pub fn new(limits: Limits, authentication: Authentication, now: Duration) -> Self {
        let control = Control::new(limits, now);
        Self {
            control,
            authentication,
            state: State::AwaitHello,
            events: VecDeque::new(),
            settled: Vec::new(),
            held: Vec::new(),
            missing: Vec::new(),
            lanes: Lanes::default(),
            flawed: 0,
            resumed: 0,
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

    /// Ends the session for a rule that the peer broke on a lane.
    pub fn violated(&mut self, violation: &Violation) {
        self.control
            .abort(violation.abort_code(), &violation.to_string());
    }

    fn note_violation(&mut self, outcome: Result<(), Violation>) -> Result<(), Violation> {
        if let Err(violation) = &outcome {
            self.violated(violation);
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
        let unexpected = Err(Violation::Unexpected("the receiver did not wait for it"));
        match (&mut self.state, message) {
            (_, Message::Abort { code, text }) => {
                self.control.end();
                self.events.push_back(ReceiverEvent::Aborted { code, text });
            }
            (
                State::AwaitHello,
                Message::Hello {
                    suites,
                    share,
                    name,
                },
            ) => {
                if share.is_some() != (self.authentication == Authentication::Code) {
                    return Err(Violation::Unexpected("a hello for another kind of session"));
                }
                self.state = State::AwaitWelcome;
                self.events.push_back(ReceiverEvent::Hello {
                    suites,
                    share,
                    name,
                });
            }
            (State::AwaitConfirm, Message::Confirm { tag }) => {
                self.state = State::AwaitVerdict;
                self.events.push_back(ReceiverEvent::Confirm { tag });
            }
            (
                State::AwaitOffer(window),
                Message::Offer {
                    subdirectory,
                    source,
                    wanted,
                },
            ) => {
                self.control.authenticated(now);
                let (window, order) = (Window::new(*window), Order::default());
                self.state = State::Receiving(Receiving {
                    window,
                    order,
                    manifest: Manifest::Open,
                });
                self.events.push_back(ReceiverEvent::Offered {
                    subdirectory,
                    source,
                    wanted,
                });
            }
            (
                State::AwaitAccept | State::AwaitOffer(_) | State::Receiving(_),
                Message::Progress(counters),
            ) => {
                self.events.push_back(ReceiverEvent::PeerProgress(counters));
            }
            (
                State::Receiving(_),
                Message::Close {
                    root,
                    unlisted,
                    times,
                },
            ) => {
                return self.handle_close(root, unlisted, times);
            }
            (State::Receiving(_), Message::LaneLost { lane }) => {
                self.lanes.handle_lost(lane, &mut self.events)?;
            }
            (State::Receiving(receiving), message) => {
                receiving.handle_message(message, &self.control.limits, &mut self.events)?;
                self.collect();
            }
            (State::AwaitReceipt(_) | State::AwaitBye, Message::Progress(_)) => {}
            (State::AwaitBye, Message::Bye) => {
                self.state = State::Closed;
                self.control.end();
                self.events.push_back(ReceiverEvent::Goodbye);
            }
            _ => return unexpected,
        }
        Ok(())
    }

    fn handle_close(&mut self, root: Hash, unlisted: u64, sender: Times) -> Result<(), Violation> {
        let State::Receiving(receiving) = &self.state else {
            return Ok(());
        };
        if receiving.manifest != Manifest::Ended || !receiving.window.is_empty() {
            return Err(Violation::Unexpected(
                "a close before everything is settled",
            ));
        }
        if receiving.window.root() != root {
            return Err(Violation::Disagreement("the manifest's root"));
        }
        let mut totals = receiving.window.totals();
        totals.failed = totals.failed.saturating_add(unlisted);
        self.state = State::AwaitReceipt(Closing {
            root,
            totals,
            sender,
        });
        self.events.push_back(ReceiverEvent::Complete);
        Ok(())
    }

    /// Answers [`ReceiverEvent::Hello`]; `share` in a session with a code.
    pub fn welcome(&mut self, suite: u8, share: Option<[u8; 32]>, name: &str) {
        if matches!(self.state, State::AwaitWelcome) {
            self.control.send(&Message::Welcome {
                suite,
                share,
                name: Text::new(name),
            });
            self.state = match self.authentication {
                Authentication::Code => State::AwaitConfirm,
                Authentication::None => State::AwaitAccept,
            };
        }
    }

    /// Says that the tag of [`ReceiverEvent::Confirm`] was right, and sends this side's.
    pub fn authenticated(&mut self, tag: [u8; 64], now: Duration) {
        if matches!(self.state, State::AwaitVerdict) {
            self.control.authenticated(now);
            self.control.send(&Message::Confirm { tag });
            self.state = State::AwaitAccept;
        }
    }

    /// Accepts whatever the peer is going to offer: after [`authenticated`](Self::authenticated), and without a code
    /// after [`welcome`](Self::welcome). That it does not wait for the offer spares a round trip.
    ///
    /// Where it `resumes`, it says of each file whose size is known and not 0 what it has of it: [`held`](Self::held),
    /// [`partial`](Self::partial) or [`missing`](Self::missing), unless the file has an outcome at once.
    pub fn accept(&mut self, session: SessionId, resumes: bool) {
        if !matches!(self.state, State::AwaitAccept) {
            return;
        }
        let limits = &self.control.limits;
        let cut = |own: usize| u32::try_from(own).unwrap_or(u32::MAX);
        let window = WindowSize {
            entries: cut(limits.window_entries),
            bytes: cut(limits.window_bytes),
        };
        let lanes = limits.lanes;
        self.control.send(&Message::Accept {
            session,
            window,
            lanes,
            resumes,
        });
        self.state = State::AwaitOffer(window);
    }

    /// A file is there whole from an earlier session. It is settled besides, with [`stored`](Self::stored).
    pub fn held(&mut self, number: EntryNumber, content: Content) {
        self.resumed = self.resumed.saturating_add(content.size);
        self.held.push((number, content.hash));
    }

    /// What `tree` holds of a file is there from an earlier session: at most [`MAX_HELD`] subtrees.
    pub fn partial(&mut self, number: EntryNumber, tree: &ContentTree) {
        self.resumed = self.resumed.saturating_add(tree.covered());
        let subtrees = tree.subtrees().collect();
        self.control.send(&Message::Partial { number, subtrees });
    }

    /// Nothing is there of a file.
    pub fn missing(&mut self, number: EntryNumber) {
        self.missing.push(number);
    }

    fn settle(&mut self, number: EntryNumber, outcome: Outcome) -> bool {
        let State::Receiving(receiving) = &mut self.state else {
            return false;
        };
        // A withdrawal may have come before the outcome of what was there.
        receiving.window.is_unsettled(number) && receiving.window.settle(number, outcome).is_ok()
    }

    /// An entry is at its final place and verified; `content` where it is a file.
    pub fn stored(&mut self, number: EntryNumber, content: Option<Content>) {
        if let (State::Receiving(receiving), Some(content)) = (&mut self.state, content) {
            // An entry that is not listed cannot have been stored by the caller.
            let _ = receiving.window.content(number, content);
        }
        if self.settle(number, Outcome::Stored) {
            self.settled.push(number);
        }
        self.collect();
    }

    /// The file that was there is kept.
    pub fn kept(&mut self, number: EntryNumber) {
        if self.settle(number, Outcome::Kept) {
            self.flush_remains();
            self.control.send(&Message::Kept { number });
        }
        self.collect();
    }

    /// An entry could not be stored.
    pub fn failed(&mut self, number: EntryNumber, failure: Failure) {
        if self.settle(number, Outcome::Failed(failure.clone())) {
            self.flush_remains();
            self.control.send(&Message::Failed { number, failure });
        }
        self.collect();
    }

    /// A directory that was stored could not be given its metadata, in the end.
    ///
    /// To be called before [`receipt`](Self::receipt), which counts it as failed.
    pub fn flawed(&mut self, path: RelativePath, failure: Failure) {
        self.flawed += 1;
        self.control.send(&Message::Flawed { path, failure });
    }

    fn collect(&mut self) {
        let State::Receiving(receiving) = &mut self.state else {
            return;
        };
        while let Some(finished) = receiving.window.pop_finished() {
            self.events.push_back(ReceiverEvent::Finished(finished));
        }
    }

    /// Whether the caller's receipt is waited for: see [`receipt`](Self::receipt).
    #[must_use]
    pub fn awaits_receipt(&self) -> bool {
        matches!(self.state, State::AwaitReceipt(_))
    }

    /// Answers [`ReceiverEvent::Complete`] with this side's times, the session's length in nanoseconds and what was
    /// seen to, and says what was handed over; `None` where nothing is complete.
    pub fn receipt(&mut self, elapsed: u64, receiver: Times, given: Assurance) -> Option<Handover> {
        let State::AwaitReceipt(Closing {
            root,
            mut totals,
            sender,
        }) = self.state
        else {
            return None;
        };
        totals.failed = totals.failed.saturating_add(self.flawed);
        totals.resumed = self.resumed;
        self.control.send(&Message::Receipt {
            root,
            totals,
            elapsed,
            sender,
            receiver,
            given,
        });
        self.state = State::AwaitBye;
        Some(Handover {
            root,
            totals,
            sender,
        })
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
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }

    /// Appends the bytes to be written; `false` where there are none.
    #[must_use]
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        self.flush_remains();
        self.flush_settled();
        self.control.poll_transmit(out)
    }

    /// What is there of a file is told before its outcome.
    fn flush_remains(&mut self) {
        let held = std::mem::take(&mut self.held);
        for files in held.chunks(MAX_HELD) {
            let files = files.to_vec();
            self.control.send(&Message::Held { files });
        }
        let runs = into_runs(&mut self.missing);
        for runs in runs.chunks(MAX_ITEMS / 2) {
            let runs = runs.to_vec();
            self.control.send(&Message::Missing { runs });
        }
    }

    fn flush_settled(&mut self) {
        let runs = into_runs(&mut self.settled);
        for runs in runs.chunks(MAX_ITEMS / 2) {
            self.control.send(&Message::Settled {
                runs: runs.to_vec(),
            });
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.control.poll_timeout()
    }
}

/// Numbers as runs, ascending: the first of each, and how many.
fn into_runs(numbers: &mut Vec<EntryNumber>) -> Vec<(EntryNumber, u64)> {
    numbers.sort_unstable();
    let mut runs: Vec<(EntryNumber, u64)> = Vec::new();
    for number in numbers.drain(..) {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => runs.push((number, 1)),
        }
    }
    runs
}
