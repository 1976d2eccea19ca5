//! The control task of a sender: the protocol's machine between the wire, the walk and the lanes.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use packhorse_endpoint::{self as endpoint, CallObserver, Observed};
use packhorse_proto::entry::Kind;
use packhorse_proto::lane::LaneHello;
use packhorse_proto::message::{AbortCode, Counters, SessionId};
use packhorse_proto::path::RelativePath;
use packhorse_proto::sender::{Sender, SenderConfig, SenderEvent};
use packhorse_tree::WalkError;
use packhorse_trust::{Initiator, InitiatorAwaitsTag, Sealer, SessionKeys, Suite};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::lane::{Job, JobSource, LaneOut, LaneReport, Outbox};
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
    report_to: UnboundedSender<LaneReport>,
    /// A connection for the first lane, made while the code is proved.
    lane: Option<oneshot::Receiver<io::Result<Observed<StdTcpStream>>>>,
    /// What the walk found and the window has no room for yet.
    found: VecDeque<Result<Item, WalkError>>,
    known: Counters,
    walked: bool,
    /// What the walk could not list, or the manifest not hold.
    unlisted: u64,
    /// Whether entries may go.
    accepted: bool,
    lanes_running: usize,
    /// The lanes' sockets, to end threads that wait in them.
    lane_sockets: Vec<StdTcpStream>,
    /// Why a lane broke; the control connection may yet say what is behind it.
    lane_failure: Option<(Error, Instant)>,
    receipt: Option<Receipt>,
    peer_progress: Counters,
}

impl Session {
    pub(super) fn start(
        introduction: Introduction,
        peer: SocketAddr,
        options: SendOptions,
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
        let calls = options.calls;
        let config = SenderConfig {
            limits: options.limits,
            suites,
            share,
            name,
            subdirectory,
        };
        let started = Instant::now();
        let (report_to, reports) = mpsc::unbounded_channel();
        let lane = super::on_thread("connect", move || {
            connect_lane(peer, patience, calls.as_ref())
        })?;
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
            outbox: Arc::new(Outbox::new(QUEUED_FILES)),
            reports,
            report_to,
            lane: Some(lane),
            found: VecDeque::new(),
            known: Counters::default(),
            walked: false,
            unlisted: 0,
            accepted: false,
            lanes_running: 0,
            lane_sockets: Vec::new(),
            lane_failure: None,
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
                self.handle_event(event, observer).await?;
            }
            if let Some(receipt) = self.receipt.take() {
                self.transmit()?;
                return Ok(receipt);
            }
            self.transmit()?;
            let timeout_at =
                self.started + self.proto.poll_timeout().unwrap_or(self.limits_silence);
            let lane_deadline = self.lane_failure.as_ref().map(|(_, at)| *at);
            let offering = self.proto.can_offer();
            tokio::select! {
                turn = self.wire.turn(&mut self.plaintext) => self.handle_turn(turn?)?,
                Some(report) = self.reports.recv() => self.handle_report(report)?,
                batch = walk.recv(), if offering && self.found.is_empty() && !self.walked => {
                    self.handle_batch(batch);
                }
                () = self.outbox.queue.room(), if offering && !self.found.is_empty() => {}
                _ = ticks.tick() => {
                    if self.wire.is_stalled(self.limits_silence) {
                        return Err(Error::NotReading);
                    }
                    self.tell_progress(observer);
                }
                () = sleep_until(timeout_at) => self.proto.handle_timeout(self.started.elapsed())?,
                () = sleep_until(lane_deadline.unwrap_or(timeout_at)), if lane_deadline.is_some() => {
                    return Err(self.lane_failure.take().map_or(Error::Interrupted, |(error, _)| error));
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
        while self.proto.can_offer() && self.outbox.queue.has_room() {
            let Some(found) = self.found.pop_front() else {
                if self.walked {
                    self.proto.end_of_entries();
                    self.outbox.queue.close();
                }
                return;
            };
            match found {
                Ok(item) => self.offer(item),
                Err(WalkError { path, problem }) => {
                    self.unlisted += 1;
                    observer(&Event::Failed {
                        path,
                        message: problem.to_string(),
                    });
                }
            }
        }
    }

    fn offer(&mut self, item: Item) {
        let path = item.entry.path.clone();
        let Some(number) = self.proto.offer(item.entry) else {
            return;
        };
        let source = match item.content {
            Some(Origin::File(at)) => JobSource::File(at),
            Some(Origin::Stdin) => JobSource::Stdin,
            None => return,
        };
        self.outbox.queue.push(Job {
            number,
            path,
            source,
        });
    }

    fn handle_report(&mut self, report: LaneReport) -> Result<(), Error> {
        match report {
            LaneReport::Contents(contents) => {
                for (number, content) in contents {
                    self.proto.content(number, content);
                }
            }
            LaneReport::Revised {
                number,
                attempt,
                size,
                metadata,
            } => {
                self.proto.revise(number, attempt, Some(size), metadata);
            }
            LaneReport::Withdrawn { number, failure } => self.proto.withdraw(number, failure),
            LaneReport::Ended(Ok(())) => {
                self.lanes_running = self.lanes_running.saturating_sub(1);
                if self.lanes_running == 0 {
                    self.proto.all_content_sent()?;
                }
            }
            LaneReport::Ended(Err(error)) => {
                let at = Instant::now() + LAST_WORDS;
                self.lane_failure.get_or_insert((Error::Lost(error), at));
            }
        }
        Ok(())
    }

    async fn handle_event(
        &mut self,
        event: SenderEvent,
        observer: &mut Observer,
    ) -> Result<(), Error> {
        match event {
            SenderEvent::Welcomed { suite, share, name } => {
                self.peer_name = name.as_str().to_owned();
                self.suite = Suite::from_id(suite);
                self.handle_welcome(share, observer)?;
            }
            SenderEvent::Confirmed { tag } => self.handle_confirmation(&tag, observer)?,
            SenderEvent::Accepted { session, .. } => {
                self.accepted = true;
                self.open_lane(session).await?;
            }
            SenderEvent::Unwanted(number) => self.outbox.add_unwanted(number),
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
            } => {
                let elapsed = Duration::from_nanos(elapsed);
                let receipt = Receipt::new(root, totals, elapsed, (sender, receiver));
                self.tell_progress(observer);
                observer(&Event::Done(receipt.clone()));
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

    async fn open_lane(&mut self, session: SessionId) -> Result<(), Error> {
        let Some(connecting) = self.lane.take() else {
            return Ok(());
        };
        let stream = connecting
            .await
            .map_err(io::Error::other)
            .and_then(|stream| stream);
        let stream = stream.map_err(Error::Lost)?;
        self.lane_sockets
            .push(stream.try_clone().map_err(Error::Lost)?);
        let lane = 0;
        let (mut tag, mut sealer) = ([0; 32], None);
        if let (Some(keys), Some(suite)) = (&mut self.keys, self.suite) {
            tag = keys.lane_tag(&session, lane);
            let keys = keys
                .open_lane(lane)
                .map_err(|error| Error::Lost(io::Error::other(error)))?;
            sealer = Some(Sealer::new(suite, keys.sender_to_receiver));
        }
        let hello = LaneHello { session, lane, tag };
        let (outbox, reports) = (Arc::clone(&self.outbox), self.report_to.clone());
        let run = move || {
            let opened = LaneOut::open(stream, &hello, sealer, outbox, reports.clone());
            let _ = reports.send(LaneReport::Ended(opened.and_then(LaneOut::run)));
        };
        let spawned = thread::Builder::new()
            .name(format!("lane {lane}"))
            .spawn(run);
        spawned.map_err(|error| Error::Resources {
            what: "threads",
            error,
        })?;
        self.lanes_running += 1;
        Ok(())
    }

    fn tell_progress(&mut self, observer: &mut Observer) {
        if !self.accepted {
            return;
        }
        self.known.bytes = self.outbox.bytes.load(Ordering::Relaxed);
        self.known.files = self.outbox.files.load(Ordering::Relaxed);
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
        for socket in &self.lane_sockets {
            // A lane that is done is closed already.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
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
            outcome => outcome,
        }
    }
}

/// The lane's connection, made by a thread so that it can wait for the session to be accepted.
fn connect_lane(
    peer: SocketAddr,
    patience: Duration,
    calls: Option<&Arc<dyn CallObserver>>,
) -> io::Result<Observed<StdTcpStream>> {
    let stream = StdTcpStream::connect_timeout(&peer, patience)?;
    endpoint::tune(&stream)?;
    Ok(Observed::new(stream, calls))
}
