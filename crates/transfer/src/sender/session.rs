//! The control task of a sender: the protocol's machine between the wire, the walk and the lanes.

mod lanes;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use packhorse_proto::entry::{EntryNumber, Kind};
use packhorse_proto::message::{AbortCode, Counters, SessionId};
use packhorse_proto::path::RelativePath;
use packhorse_proto::sender::{Sender, SenderConfig, SenderEvent};
use packhorse_tree::WalkError;
use packhorse_trust::{Initiator, InitiatorAwaitsTag, SessionKeys, Suite};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::growth::Growth;
use super::lanes::{Lanes, Proof};
use super::losses::Losses;
use super::outbox::{FileJob, LaneReport, Outbox, Task};
use super::tail::Tail;
use super::waiting::Waiting;
use super::walker::{self, Batch, Item, Origin};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, Observer, PROGRESS_EVERY, Progress, tell_failed, tell_finished};
use crate::handshake::{self, Introduction, SENDER_ROLE, associated_data, host_name, protection};
use crate::options::{SendOptions, SendSecurity};
use crate::receipt::Receipt;
use crate::wire::{LAST_WORDS, Turn, Wire};

/// Files that wait for a lane. Each keeps its directory open.
const QUEUED_FILES: usize = 256;

/// Where the code's proof stands.
enum Pairing {
    /// No code, or the proof is done.
    Done,
    Started(Initiator),
    AwaitsTag(InitiatorAwaitsTag),
}

/// A sender's session, from the first message on.
pub(super) struct Session {
    wire: Wire,
    /// Plaintext that is not handled yet.
    plaintext: Vec<u8>,
    proto: Sender,
    started: Instant,
    authenticated_at: Instant,
    peer: SocketAddr,
    limits_silence: Duration,
    pairing: Pairing,
    keys: Option<SessionKeys>,
    suite: Option<Suite>,
    peer_name: String,
    outbox: Arc<Outbox>,
    reports: UnboundedReceiver<LaneReport>,
    lanes: Lanes,
    session: SessionId,
    /// Lanes that the peer takes at a time.
    most_lanes: u16,
    /// How long the peer took to answer the first message.
    round_trip: Duration,
    /// Decides how many lanes there are, once there is one.
    growth: Option<Growth>,
    /// Looks to it that all lanes end at about the same time.
    tail: Option<Tail>,
    /// What the walk found and the window has no room for yet.
    found: VecDeque<Result<Item, WalkError>>,
    known: Counters,
    walked: bool,
    /// What the walk could not list, or the manifest not hold.
    unlisted: u64,
    /// Whether entries may go.
    accepted: bool,
    /// The receiver told what became of an entry, or what it has of one.
    answered: bool,
    /// Files of which the receiver has not said yet what it has; `None` where it has nothing of any.
    waiting: Option<Waiting>,
    /// All entries are offered.
    offered: bool,
    /// Lanes that broke, or stood still.
    losses: Losses,
    /// When the control connection was heard last, and when lanes are looked at next.
    heard_at: Instant,
    next_pulse: Instant,
    receipt: Option<Receipt>,
    peer_progress: Counters,
}

impl Session {
    pub(super) fn start(
        introduction: Introduction,
        peer: SocketAddr,
        options: &SendOptions,
        subdirectory: Option<RelativePath>,
    ) -> Result<Self, Error> {
        let Introduction { wire, early } = introduction;
        let name = host_name();
        let (pairing, share) = match (&options.security, wire.channel()) {
            (SendSecurity::Code(code), Some(channel)) => {
                let data = associated_data(SENDER_ROLE, &name);
                let (initiator, share) = Initiator::start(code, &channel.binding()?, &data)?;
                (Pairing::Started(initiator), Some(share))
            }
            _ => (Pairing::Done, None),
        };
        let suites = match share {
            Some(_) => Suite::preferred().iter().map(|suite| suite.id()).collect(),
            None => Vec::new(),
        };
        let limits_silence = options.limits.silence;
        let patience = options.limits.authentication;
        let calls = options.calls.clone();
        let config = SenderConfig {
            limits: options.limits.clone(),
            suites,
            share,
            name,
            subdirectory,
            source: Some(walker::source_id(&options.sources)),
            wanted: options.assurance,
        };
        let started = Instant::now();
        let (report_to, reports) = mpsc::unbounded_channel();
        let outbox = Arc::new(Outbox::new(QUEUED_FILES, options.stages.clone()));
        let lanes = Lanes::new(peer, patience, calls, Arc::clone(&outbox), report_to)?;
        Ok(Self {
            wire,
            plaintext: early,
            proto: Sender::new(config, Duration::ZERO),
            started,
            authenticated_at: started,
            peer,
            limits_silence,
            pairing,
            keys: None,
            suite: None,
            peer_name: String::new(),
            outbox,
            reports,
            lanes,
            session: SessionId::default(),
            most_lanes: 0,
            round_trip: Duration::ZERO,
            growth: None,
            tail: None,
            found: VecDeque::new(),
            known: Counters::default(),
            walked: false,
            unlisted: 0,
            accepted: false,
            answered: false,
            waiting: None,
            offered: false,
            losses: Losses::new(options.retry_for, limits_silence),
            heard_at: started,
            next_pulse: started,
            receipt: None,
            peer_progress: Counters::default(),
        })
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) async fn run(
        &mut self,
        sources: walker::Sources,
        observer: &mut Observer,
        cancel: &Cancel,
    ) -> Result<Receipt, Error> {
        let mut walk = walker::spawn(sources).map_err(|error| Error::Resources {
            what: "threads",
            error,
        })?;
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.offer_found(observer);
            while let Some(event) = self.proto.poll_event() {
                use SenderEvent::{Finished, Held, Partial};
                self.answered |= matches!(event, Held { .. } | Partial { .. } | Finished(_));
                self.handle_event(event, observer).await?;
            }
            if let Some(receipt) = self.receipt.take() {
                self.transmit()?;
                return Ok(receipt);
            }
            self.transmit()?;
            let timeout_at =
                self.started + self.proto.poll_timeout().unwrap_or(self.limits_silence);
            let losses_at = self.losses.next_look();
            let offering = self.proto.can_offer();
            let look_at = self.growth.as_ref().map(Growth::next_look);
            let tail_at = self.tail.as_ref().map(Tail::next_look);
            tokio::select! {
                turn = self.wire.turn(&mut self.plaintext) => self.handle_turn(turn?)?,
                Some(report) = self.reports.recv() => self.handle_report(report, observer)?,
                batch = walk.recv(), if offering && self.found.is_empty() && !self.walked => {
                    self.handle_batch(batch);
                }
                () = self.outbox.queue.half_empty(),
                    if offering && !self.found.is_empty() && self.waits_for_less() => {}
                _ = ticks.tick() => {
                    if self.wire.is_stalled(self.limits_silence) {
                        return Err(Error::NotReading);
                    }
                    self.tell_progress(observer);
                    self.look_for_standing_still();
                }
                () = sleep_until(look_at.unwrap_or(timeout_at)), if look_at.is_some() => {
                    self.look_at_lanes(observer)?;
                }
                () = sleep_until(tail_at.unwrap_or(timeout_at)), if tail_at.is_some() => {
                    self.look_at_tail();
                }
                () = sleep_until(timeout_at) => self.proto.handle_timeout(self.started.elapsed())?,
                () = sleep_until(losses_at.unwrap_or(timeout_at)), if losses_at.is_some() => {
                    self.look_at_losses()?;
                }
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

    fn handle_turn(&mut self, turn: Turn) -> Result<(), Error> {
        let now = self.now();
        if !self.plaintext.is_empty() {
            self.heard_at = Instant::now();
            let outcome = self.proto.handle_bytes(&self.plaintext, now);
            self.plaintext.clear();
            outcome?;
        }
        // What came last may have been the reason: events first.
        if turn == Turn::Closed && self.proto.poll_timeout().is_some() {
            return Err(Error::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn handle_batch(&mut self, batch: Option<Batch>) {
        match batch {
            Some(batch) => {
                for item in batch.iter().flatten() {
                    if let Kind::File { size } = item.entry.kind {
                        self.known.files_known += 1;
                        self.known.bytes_known =
                            self.known.bytes_known.saturating_add(size.unwrap_or(0));
                    }
                }
                self.found.extend(batch);
            }
            None => self.walked = true,
        }
    }

    /// Offers what was found, as far as window and queue have room.
    fn offer_found(&mut self, observer: &mut Observer) {
        let mut jobs = Vec::new();
        let room = self.outbox.queue.room();
        while self.proto.can_offer() && jobs.len() < room && self.waits_for_less() {
            match self.found.pop_front() {
                Some(Ok(item)) => jobs.extend(self.offer(item)),
                Some(Err(WalkError { path, problem })) => {
                    self.unlisted += 1;
                    observer(&Event::Failed {
                        path,
                        message: problem.to_string(),
                    });
                }
                None => {
                    if self.walked {
                        self.proto.end_of_entries();
                        self.offered = true;
                    }
                    break;
                }
            }
        }
        self.outbox.queue.push(jobs);
        if self.offered && self.waiting.as_ref().is_none_or(Waiting::is_empty) {
            self.outbox.queue.close();
        }
    }

    /// Whether one more file may wait for what the receiver says of it.
    fn waits_for_less(&self) -> bool {
        self.waiting.as_ref().is_none_or(Waiting::has_room)
    }

    /// Offers one, and answers what lanes have to do for it.
    fn offer(&mut self, item: Item) -> Option<Task> {
        let path = item.entry.path.clone();
        let number = self.proto.offer(item.entry)?;
        let at = match item.content? {
            Origin::File(at) => at,
            Origin::Stdin => return Some(Task::Stdin(number)),
        };
        let job = FileJob {
            number,
            path,
            at,
            held: None,
        };
        match &mut self.waiting {
            Some(waiting) => {
                waiting.add(job);
                None
            }
            None => Some(Task::File(job)),
        }
    }

    async fn handle_event(
        &mut self,
        event: SenderEvent,
        observer: &mut Observer,
    ) -> Result<(), Error> {
        match event {
            SenderEvent::Welcomed { suite, share, name } => {
                // At least: the peer has computed as well.
                self.round_trip = self.now();
                self.peer_name = name.as_str().to_owned();
                self.suite = Suite::from_id(suite);
                self.handle_welcome(share, observer)?;
            }
            SenderEvent::Confirmed { tag } => self.handle_confirmation(&tag, observer)?,
            SenderEvent::Accepted {
                session,
                lanes,
                resumes,
            } => {
                self.accepted = true;
                self.waiting = resumes.then(Waiting::default);
                let first = proof(&mut self.keys, self.suite, session);
                let first = self.lanes.open_first(first).await?;
                self.proto.lane_opened(first);
                let now = Instant::now();
                self.session = session;
                self.most_lanes = lanes;
                self.growth = Some(Growth::new(self.bounds(lanes), now));
                self.tail = Some(Tail::new(self.round_trip, now));
            }
            SenderEvent::Held { number, size } => self.held(number, size),
            SenderEvent::Partial { number, tree } => {
                let waiting = self.waiting.as_mut();
                if let Some(mut job) = waiting.and_then(|waiting| waiting.take(number)) {
                    let covered = tree.covered();
                    self.outbox.bytes.fetch_add(covered, Ordering::Relaxed);
                    job.held = Some(tree);
                    self.outbox.queue.share(Task::File(job));
                }
            }
            SenderEvent::Missing { first, count } => {
                let waiting = self.waiting.as_mut();
                let jobs = waiting.map(|waiting| waiting.take_run(first, count));
                let tasks = jobs.unwrap_or_default().into_iter().map(Task::File);
                self.outbox.queue.push(tasks);
            }
            SenderEvent::LaneClosed { lane, taken } => self.handle_closed(lane, taken, observer)?,
            SenderEvent::Unwanted(number) => {
                let waiting = self.waiting.as_mut();
                if waiting.and_then(|waiting| waiting.take(number)).is_none() {
                    self.outbox.add_unwanted(number);
                }
            }
            SenderEvent::Finished(finished) => {
                self.outbox.forget(finished.number);
                tell_finished(finished, observer);
            }
            SenderEvent::Flawed { path, failure } => tell_failed(&path, &failure, observer),
            SenderEvent::PeerProgress(counters) => self.peer_progress = counters,
            SenderEvent::Drained => self.proto.close(self.unlisted, self.outbox.stages.times()),
            SenderEvent::Receipt {
                root,
                totals,
                elapsed,
                sender,
                receiver,
                given,
            } => {
                let elapsed = Duration::from_nanos(elapsed);
                let mut receipt = Receipt::new(
                    (root, totals, given),
                    (elapsed, self.lanes.most()),
                    (sender, receiver),
                );
                receipt.network = Some(self.outbox.network());
                self.tell_progress(observer);
                observer(&Event::Done(Box::new(receipt.clone())));
                self.receipt = Some(receipt);
            }
            SenderEvent::Aborted {
                code: AbortCode::WrongCode,
                ..
            } => return Err(Error::WrongCode),
            SenderEvent::Aborted { code, text } => return Err(Error::PeerAborted { code, text }),
        }
        Ok(())
    }

    /// The receiver has this file: nobody reads or sends it.
    fn held(&mut self, number: EntryNumber, size: u64) {
        let waiting = self.waiting.as_mut();
        if waiting.and_then(|waiting| waiting.take(number)).is_some() {
            self.outbox.bytes.fetch_add(size, Ordering::Relaxed);
            self.outbox.one_file_done();
        }
    }

    fn handle_welcome(
        &mut self,
        share: Option<[u8; 32]>,
        observer: &mut Observer,
    ) -> Result<(), Error> {
        match (std::mem::replace(&mut self.pairing, Pairing::Done), share) {
            (Pairing::Started(initiator), Some(share)) => {
                let data = associated_data(handshake::RECEIVER_ROLE, &self.peer_name);
                let (awaits, tag) = initiator.finish(&share, &data)?;
                self.pairing = Pairing::AwaitsTag(awaits);
                self.proto.confirm(tag);
            }
            _ => self.tell_connected(observer),
        }
        Ok(())
    }

    fn handle_confirmation(
        &mut self,
        tag: &[u8; 64],
        observer: &mut Observer,
    ) -> Result<(), Error> {
        let Pairing::AwaitsTag(awaits) = std::mem::replace(&mut self.pairing, Pairing::Done) else {
            return Ok(());
        };
        let key = awaits.verify(tag)?;
        if let Some(channel) = self.wire.channel() {
            self.keys = Some(SessionKeys::new(&channel.session_exporter()?, &key));
        }
        let now = self.now();
        self.proto.authenticated(now);
        self.tell_connected(observer);
        Ok(())
    }

    fn tell_connected(&mut self, observer: &mut Observer) {
        self.authenticated_at = Instant::now();
        let (peer, name) = (self.peer, self.peer_name.clone());
        observer(&Event::Connected {
            peer,
            name,
            protection: protection(self.suite).to_owned(),
        });
    }

    fn tell_progress(&mut self, observer: &mut Observer) {
        if !self.accepted {
            return;
        }
        // What was lost with its lane is not told as less: it is sent again.
        let (bytes, files) = (&self.outbox.bytes, &self.outbox.files);
        self.known.bytes = self.known.bytes.max(bytes.load(Ordering::Relaxed));
        self.known.files = self.known.files.max(files.load(Ordering::Relaxed));
        self.proto.set_counters(self.known);
        let current = self
            .outbox
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        observer(&Event::Progress(Progress {
            bytes: self.known.bytes,
            bytes_known: self.known.bytes_known,
            files: self.known.files,
            files_known: self.known.files_known,
            walked: self.walked,
            current,
            elapsed: self.authenticated_at.elapsed(),
        }));
    }

    /// Tells the peer how it ended, and closes in order.
    pub(super) async fn end(mut self, outcome: Result<Receipt, Error>) -> Result<Receipt, Error> {
        self.outbox.queue.cancel();
        self.lanes.end();
        if let Err(error) = &outcome {
            self.proto.abort(error.abort_code(), &error.to_string());
        }
        let told = self.transmit();
        // The peer may be gone: that changes nothing about the outcome.
        if told.is_ok() {
            let _ = timeout(LAST_WORDS, self.wire.close()).await;
        }
        match outcome {
            Err(error) if !self.accepted => Err(error.early()),
            // It accepts before it knows what is wanted, and may have been able to store nothing at all.
            Err(
                error @ Error::PeerAborted {
                    code: AbortCode::Storage,
                    ..
                },
            ) if !self.answered => Err(Error::Unanswered(Box::new(error))),
            outcome => outcome,
        }
    }
}

/// What a lane proves with that it belongs to this session.
fn proof(keys: &mut Option<SessionKeys>, suite: Option<Suite>, session: SessionId) -> Proof<'_> {
    Proof {
        session,
        keys: keys.as_mut().zip(suite),
    }
}
