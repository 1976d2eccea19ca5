//! One session of the receiver: a control task, a placing thread and lane threads.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering as Atomic;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use packhorse_proto::entry::Kind;
use packhorse_proto::message::{Assurance, Counters, Failure, SourceId};
use packhorse_proto::path::RelativePath;
use packhorse_proto::receiver::{Receiver, ReceiverEvent};
use packhorse_proto::window::Outcome;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::inbox::Inbox;
use super::keeper::Keeper;
use super::lanes::Lanes;
use super::placer::{self, Order};
use super::reception::{ActiveSession, Authenticated, BUSY, LaneArrival};
use super::report::Report;
use super::setting::Setting;
use super::{syncer, trouble};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, Observer, PROGRESS_EVERY, Progress, tell_failed, tell_finished};
use crate::faults::reach;
use crate::handshake::protection;
use crate::receipt::Receipt;
use crate::stages::nanoseconds;
use crate::units;
use crate::wire::{LAST_WORDS, Turn, Wire};

struct Session {
    setting: Setting,
    wire: Wire,
    plaintext: Vec<u8>,
    proto: Receiver,
    started: Instant,
    authenticated_at: Instant,
    inbox: Arc<Inbox>,
    arrivals: UnboundedReceiver<LaneArrival>,
    /// Gone once the manifest is complete.
    orders: Option<Sender<Vec<Order>>>,
    /// What the placing thread is not told of yet.
    pending: Vec<Order>,
    threads: Vec<JoinHandle<()>>,
    lanes: Lanes,
    /// What the sender says it knows of, which is ahead of what it has listed.
    known: Counters,
    /// What it has listed.
    listed: Counters,
    /// Whether entries may come.
    accepted: bool,
    walked: bool,
    /// A file came whose size nobody knows: the sender cannot read it again.
    streamed: bool,
    /// What did not fit, where the storage is full.
    full: Option<String>,
    files_done: u64,
    /// The most bytes that were told.
    told: u64,
    current: Option<RelativePath>,
    /// Directories whose metadata is not set yet.
    unfinished_directories: u64,
    /// Directories whose metadata could not be set, to be told.
    flaws: Vec<(RelativePath, Failure)>,
    /// The sender has nothing more to say.
    complete: bool,
    /// Whether what was stored is on stable storage, where that was asked for.
    durable: Option<Durable>,
    /// Something was not stored as it is: the same command again may bring it, once it can be read, is let alone, has room,
    /// or what was in its way has gone. What was stored is not to be sent again then.
    lacking: bool,
    receipt: Option<Receipt>,
    farewell: Option<Farewell>,
}

/// How a session ended in which everything was stored and the receipt given.
#[derive(Debug)]
pub(crate) enum Farewell {
    /// The sender has the receipt.
    Heard,
    /// The connection broke before it said so.
    Missed(Error),
}

/// How far everything is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    Asked,
    Yes,
}

/// Serves a session to its end. That it is done is for the caller to tell.
pub(crate) async fn run(
    setting: Setting,
    authenticated: Authenticated,
    observer: &mut Observer,
    cancel: &Cancel,
) -> Result<(Receipt, Farewell), Error> {
    let Authenticated {
        wire,
        plaintext,
        proto,
        started,
        peer,
        name,
        suite,
        keys,
    } = authenticated;
    observer(&Event::Connected {
        peer,
        name,
        protection: protection(suite).to_owned(),
    });
    let (lanes, arrivals) = mpsc::unbounded_channel();
    let limits = &setting.reception.limits;
    let inbox = Arc::new(Inbox::new(
        setting.existing,
        Keeper::new(Arc::clone(&setting.destination)),
        (limits.open_files, limits.silence),
        setting.reception.stages.clone(),
    ));
    let mut session = Session {
        setting,
        wire,
        plaintext,
        proto,
        started,
        authenticated_at: Instant::now(),
        inbox,
        arrivals,
        orders: None,
        pending: Vec::new(),
        threads: Vec::new(),
        lanes: Lanes::default(),
        known: Counters::default(),
        listed: Counters::default(),
        accepted: false,
        streamed: false,
        full: None,
        walked: false,
        files_done: 0,
        told: 0,
        current: None,
        unfinished_directories: 0,
        flaws: Vec::new(),
        complete: false,
        durable: None,
        lacking: false,
        receipt: None,
        farewell: None,
    };
    let mut id = [0; 16];
    let opened = draw(&mut id).map(|()| {
        let active = ActiveSession {
            id,
            keys,
            suite,
            lanes,
            lanes_opened: BTreeSet::new(),
            lanes_open: Arc::default(),
        };
        session.setting.reception.begin(active)
    });
    let outcome = match opened {
        Ok(true) => session.run(id, observer, cancel).await,
        Ok(false) => {
            session.proto.abort(BUSY.0, BUSY.1);
            Err(Error::Refused(packhorse_proto::preface::Refusal::Busy))
        }
        Err(error) => Err(error),
    };
    session.end(outcome).await
}

/// Fills `bytes` with randomness.
fn draw(bytes: &mut [u8; 16]) -> Result<(), Error> {
    use rustix::rand::{GetRandomFlags, getrandom};
    let failed = |error: rustix::io::Errno| Error::Resources {
        what: "randomness",
        error: error.into(),
    };
    // The kernel gives up to 256 bytes whole (getrandom(2)).
    rustix::io::retry_on_intr(|| getrandom(&mut bytes[..], GetRandomFlags::empty()))
        .map_err(failed)?;
    Ok(())
}

impl Session {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn run(
        &mut self,
        id: [u8; 16],
        observer: &mut Observer,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.proto.accept(id, self.inbox.keeper.resumes());
        self.handle_plaintext()?;
        loop {
            while let Some(event) = self.proto.poll_event() {
                self.handle_event(event, observer)?;
            }
            self.send_orders();
            for (path, failure) in self.flaws.drain(..) {
                tell_failed(&path, &failure, observer);
            }
            if let Some(text) = self.full.take() {
                return Err(Error::Full(self.with_what_is_missing(&text)));
            }
            self.complete();
            self.transmit()?;
            if self.receipt.is_some() && self.farewell.is_some() {
                return Ok(());
            }
            let timeout_at = self.started + self.proto.poll_timeout().unwrap_or(LAST_WORDS);
            tokio::select! {
                turn = self.wire.turn(&mut self.plaintext) => self.handle_turn(turn)?,
                reports = self.inbox.reports.hear() => {
                    // They go into the same message.
                    for report in reports {
                        self.handle_report(report)?;
                    }
                }
                Some(arrival) = self.arrivals.recv() => {
                    self.lanes.open(arrival, &self.inbox, &mut self.proto)?;
                }
                _ = ticks.tick() => {
                    if self.wire.is_stalled(self.setting.reception.limits.silence) {
                        return Err(Error::NotReading);
                    }
                    self.tell_progress(observer);
                    // Whoever lets go of a directory last may be somebody who flushes nothing.
                    self.inbox.reports.flush();
                    self.inbox.keeper.flush();
                    self.tell_trouble(observer);
                }
                () = sleep_until(timeout_at) => self.proto.handle_timeout(self.started.elapsed())?,
                () = cancel.cancelled() => return Err(Error::Interrupted),
            }
        }
    }

    fn transmit(&mut self) -> Result<(), Error> {
        let mut out = Vec::new();
        if self.proto.poll_transmit(&mut out) {
            self.wire.queue(&out)?;
        }
        Ok(())
    }

    fn handle_plaintext(&mut self) -> Result<(), Error> {
        if !self.plaintext.is_empty() {
            let now = self.now();
            let outcome = self.proto.handle_bytes(&self.plaintext, now);
            self.plaintext.clear();
            outcome?;
        }
        Ok(())
    }

    fn handle_turn(&mut self, turn: Result<Turn, Error>) -> Result<(), Error> {
        self.handle_plaintext()?;
        match turn {
            Ok(Turn::Open) => Ok(()),
            Ok(Turn::Closed) if self.farewell.is_some() => Ok(()),
            // What came last may have been the reason: events first.
            Ok(Turn::Closed) if self.proto.poll_timeout().is_none() => Ok(()),
            Ok(Turn::Closed) => Err(Error::Lost(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(error),
        }
    }

    fn handle_event(&mut self, event: ReceiverEvent, observer: &mut Observer) -> Result<(), Error> {
        match event {
            ReceiverEvent::Offered {
                subdirectory,
                source,
                wanted,
            } => self.begin(subdirectory, (source, wanted), observer)?,
            ReceiverEvent::Entry { number, entry } => {
                if let Kind::File { size } = entry.kind {
                    self.listed.files_known += 1;
                    self.streamed |= size.is_none();
                    let size = size.unwrap_or(0);
                    self.listed.bytes_known = self.listed.bytes_known.saturating_add(size);
                }
                self.order(Order::Entry { number, entry });
            }
            ReceiverEvent::Revised {
                number,
                attempt,
                size,
                metadata,
            } => {
                self.order(Order::Revised {
                    number,
                    attempt,
                    size,
                    metadata,
                });
            }
            ReceiverEvent::Withdrawn { number } => self.order(Order::Withdrawn { number }),
            ReceiverEvent::LaneLost { lane } => {
                let reception = &self.setting.reception;
                self.lanes.give_up(lane, reception, &mut self.proto);
            }
            ReceiverEvent::ManifestEnded => {
                self.walked = true;
                self.order(Order::End);
            }
            ReceiverEvent::Finished(finished) => {
                if matches!(finished.entry.kind, Kind::File { .. }) {
                    self.files_done += 1;
                    if finished.outcome == Outcome::Stored {
                        self.current = Some(finished.entry.path.clone());
                    }
                }
                self.lacking |= matches!(finished.outcome, Outcome::Failed(_));
                tell_finished(finished, observer);
            }
            ReceiverEvent::PeerProgress(counters) => self.known = counters,
            ReceiverEvent::Complete => self.complete = true,
            ReceiverEvent::Goodbye => {
                self.farewell = Some(Farewell::Heard);
                // It has the receipt, and will not ask for any of this again.
                if !self.lacking {
                    reach("forget.before");
                    self.inbox.keeper.forget();
                    reach("forget.after");
                }
            }
            ReceiverEvent::Aborted { code, text } => return Err(Error::PeerAborted { code, text }),
            ReceiverEvent::Hello { .. } | ReceiverEvent::Confirm { .. } => {}
        }
        Ok(())
    }

    fn order(&mut self, order: Order) {
        self.pending.push(order);
    }

    fn send_orders(&mut self) {
        if let Some(orders) = &self.orders
            && !self.pending.is_empty()
        {
            // The placing thread ends only when this sender is dropped.
            let _ = orders.send(std::mem::take(&mut self.pending));
        }
    }

    fn begin(
        &mut self,
        subdirectory: Option<RelativePath>,
        (source, wanted): (Option<SourceId>, Assurance),
        observer: &mut Observer,
    ) -> Result<(), Error> {
        self.inbox
            .syncer
            .promise(self.setting.assurance.and(wanted));
        self.inbox.keeper.offered(subdirectory.clone(), source);
        self.setting.find_destination()?;
        let destination = match &subdirectory {
            None => Arc::clone(&self.setting.destination),
            Some(path) => Arc::new(self.setting.open_subdirectory(path)?),
        };
        self.accepted = true;
        observer(&Event::Offered { subdirectory });
        self.inbox.syncer.note_directory(&destination);
        let no_threads = |error| Error::Resources {
            what: "threads",
            error,
        };
        let syncer = syncer::spawn(Arc::clone(&self.inbox)).map_err(no_threads)?;
        self.threads.push(syncer);
        let placer = placer::spawn(destination, Arc::clone(&self.inbox));
        let (orders, thread) = placer.map_err(no_threads)?;
        self.orders = Some(orders);
        self.threads.push(thread);
        Ok(())
    }

    fn handle_report(&mut self, report: Report) -> Result<(), Error> {
        match report {
            Report::Stored(number, content) => self.proto.stored(number, content),
            Report::Held(number, content) => {
                self.proto.held(number, content);
                self.proto.stored(number, Some(content));
            }
            Report::Partial(number, tree) => self.proto.partial(number, &tree),
            Report::Missing(number) => self.proto.missing(number),
            Report::DirectoryMade(number) => {
                self.unfinished_directories += 1;
                self.proto.stored(number, None);
            }
            Report::DirectoryDone => self.unfinished_directories -= 1,
            Report::DirectoryFlawed(path, failure) => {
                self.unfinished_directories -= 1;
                self.lacking = true;
                self.flaws.push((path.clone(), failure.clone()));
                self.proto.flawed(path, failure);
            }
            Report::Kept(number) => self.proto.kept(number),
            Report::Failed(number, failure) => {
                self.setting.check_destination()?;
                self.proto.failed(number, failure);
            }
            Report::Durable(Ok(())) => self.durable = Some(Durable::Yes),
            Report::Durable(Err(error)) => {
                return Err(Error::Destination {
                    directory: self.setting.shown(),
                    error,
                });
            }
            // What was stored before it counts.
            Report::Full(text) => {
                self.full.get_or_insert(text);
            }
            Report::Violation(violation) => {
                self.proto.violated(&violation);
                return Err(violation.into());
            }
            Report::LaneEnded {
                lane,
                taken,
                outcome,
            } => self
                .lanes
                .ended(lane, taken, outcome.is_ok(), &mut self.proto),
        }
        Ok(())
    }

    /// What fitted into a full destination, and what did not.
    fn with_what_is_missing(&self, text: &str) -> String {
        let how = trouble::full(&self.setting.destination);
        if self.streamed {
            return format!("{how}: {text}; nothing is kept of it");
        }
        let there = self.inbox.bytes.load(Atomic::Relaxed);
        let known = self.known.bytes_known.max(self.listed.bytes_known);
        format!(
            "{how}: {text}; {} files are complete, {} of {}{} are there",
            self.files_done,
            units::bytes(there),
            if self.walked { "" } else { "at least " },
            units::bytes(known.max(there)),
        )
    }

    /// Hands over the receipt once the sender is done and every directory has its metadata.
    fn complete(&mut self) {
        if !self.complete || self.unfinished_directories > 0 || !self.proto.awaits_receipt() {
            return;
        }
        let given = self.inbox.syncer.assurance();
        if given.durable && self.durable != Some(Durable::Yes) {
            if self.durable.is_none() {
                self.durable = Some(Durable::Asked);
                self.inbox.syncer.finish();
            }
            return;
        }
        let elapsed = self.authenticated_at.elapsed();
        let times = self.inbox.stages.times();
        if let Some(handover) = self.proto.receipt(nanoseconds(elapsed), times, given) {
            let packhorse_proto::receiver::Handover {
                root,
                totals,
                sender,
            } = handover;
            let session = (elapsed, self.lanes.most());
            self.receipt = Some(Receipt::new(
                (root, totals, given),
                session,
                (sender, times),
            ));
        }
    }

    fn tell_trouble(&self, observer: &mut Observer) {
        if let Some(error) = self.inbox.keeper.take_trouble() {
            let message = error.to_string();
            observer(&Event::NothingNoted { message });
        }
    }

    fn tell_progress(&mut self, observer: &mut Observer) {
        if !self.accepted {
            return;
        }
        // What was lost with its lane is not told as less: it comes again.
        let bytes = self.inbox.bytes.load(Atomic::Relaxed).max(self.told);
        self.told = bytes;
        let files = self.files_done;
        self.proto.set_counters(Counters {
            bytes,
            files,
            ..Counters::default()
        });
        observer(&Event::Progress(Progress {
            bytes,
            bytes_known: self
                .known
                .bytes_known
                .max(self.listed.bytes_known)
                .max(bytes),
            files,
            files_known: self.known.files_known.max(self.listed.files_known),
            walked: self.walked,
            current: self.current.clone(),
            elapsed: self.authenticated_at.elapsed(),
        }));
    }

    /// Tells the peer how it ended, lets go of everything unfinished, and closes in order.
    async fn end(mut self, outcome: Result<(), Error>) -> Result<(Receipt, Farewell), Error> {
        self.setting.reception.end();
        let outcome = match (outcome, self.receipt.take(), self.farewell.take()) {
            (_, Some(receipt), Some(farewell)) => Ok((receipt, farewell)),
            (Err(error), Some(receipt), None) if error.may_pass() => {
                Ok((receipt, Farewell::Missed(error)))
            }
            (Err(error), ..) => Err(error),
            // Nothing else ends it without an error.
            (Ok(()), ..) => Err(Error::Lost(io::ErrorKind::UnexpectedEof.into())),
        };
        if let Err(error) = &outcome {
            self.proto.abort(error.abort_code(), &error.to_string());
        }
        if self.transmit().is_ok() {
            let _ = timeout(LAST_WORDS, self.wire.close()).await;
        }
        let lanes = self.lanes.end();
        self.orders = None;
        let left = self.inbox.end();
        for thread in self.threads.into_iter().chain(lanes) {
            // They hold unfinished files.
            let _ = thread.join();
        }
        self.inbox.keeper.end(left);
        match outcome {
            Err(error) if !self.accepted => Err(error.early()),
            Err(error) if self.streamed => Err(Error::Stream(Box::new(error))),
            outcome => outcome,
        }
    }
}
