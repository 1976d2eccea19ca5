//! A sender's lanes: their connections and threads.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use packhorse_endpoint::{
    self as endpoint, CallObserver, Observed, TcpInfo, TcpInfoError, TcpInfoReader,
};
use packhorse_proto::lane::LaneHello;
use packhorse_proto::message::SessionId;
use packhorse_trust::{Sealer, SessionKeys, Suite};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lane::{LaneControl, LaneOut};
use super::on_thread;
use super::outbox::{LaneReport, Outbox};
use super::pulse::{Pulse, Signs};
use super::tail::Progress;
use crate::error::Error;

/// The lanes of a session.
pub(super) struct Lanes {
    peer: SocketAddr,
    patience: Duration,
    calls: Option<Arc<dyn CallObserver>>,
    outbox: Arc<Outbox>,
    reports: UnboundedSender<LaneReport>,
    /// A connection for the first lane, made while the code is proved.
    first: Option<oneshot::Receiver<io::Result<Observed<TcpStream>>>>,
    /// The number of the next lane.
    next: u16,
    running: usize,
    /// Of them, those that are not connected yet.
    opening: usize,
    /// How many took files at the same time, at most.
    most: u16,
    sockets: Arc<Sockets>,
    /// Those whose threads run.
    threads: BTreeMap<u16, Arc<LaneControl>>,
    /// What was seen of each.
    pulses: BTreeMap<u16, Pulse>,
}

/// The lanes' sockets, to end threads that wait in them.
#[derive(Default)]
struct Sockets(Mutex<Open>);

#[derive(Default)]
struct Open {
    sockets: BTreeMap<u16, TcpStream>,
    /// The session is over.
    over: bool,
}

/// What a lane proves that it belongs to the session with.
pub(super) struct Proof<'a> {
    pub(super) session: SessionId,
    /// `None` in an insecure session.
    pub(super) keys: Option<(&'a mut SessionKeys, Suite)>,
}

impl Lanes {
    /// Begins to connect the first.
    pub(super) fn new(
        peer: SocketAddr,
        patience: Duration,
        calls: Option<Arc<dyn CallObserver>>,
        outbox: Arc<Outbox>,
        reports: UnboundedSender<LaneReport>,
    ) -> Result<Self, Error> {
        let observed = calls.clone();
        let first = on_thread("connect", move || {
            connect(peer, patience, observed.as_ref())
        })?;
        Ok(Self {
            peer,
            patience,
            calls,
            outbox,
            reports,
            first: Some(first),
            next: 0,
            running: 0,
            most: 0,
            opening: 0,
            sockets: Arc::default(),
            threads: BTreeMap::new(),
            pulses: BTreeMap::new(),
        })
    }

    /// Opens the first, once its connection is there.
    pub(super) async fn open_first(&mut self, proof: Proof<'_>) -> Result<u16, Error> {
        let stream = match self.first.take() {
            Some(connecting) => connecting.await.map_err(io::Error::other),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let stream = stream.and_then(|stream| stream).map_err(Error::Lost)?;
        self.open(proof, move || Ok(stream))
    }

    /// Opens one more, whose thread connects it; answers with its number.
    pub(super) fn open_another(&mut self, proof: Proof<'_>) -> Result<u16, Error> {
        let (peer, patience, calls) = (self.peer, self.patience, self.calls.clone());
        self.open(proof, move || connect(peer, patience, calls.as_ref()))
    }

    fn open(
        &mut self,
        proof: Proof<'_>,
        connect: impl FnOnce() -> io::Result<Observed<TcpStream>> + Send + 'static,
    ) -> Result<u16, Error> {
        let (lane, session) = (self.next, proof.session);
        let next = lane.checked_add(1).ok_or(io::ErrorKind::QuotaExceeded);
        let next = next.map_err(|kind| Error::Lost(kind.into()))?;
        let (mut tag, mut sealer) = ([0; 32], None);
        if let Some((keys, suite)) = proof.keys {
            tag = keys.lane_tag(&session, lane);
            let keys = keys
                .open_lane(lane)
                .map_err(|error| Error::Lost(io::Error::other(error)))?;
            sealer = Some(Sealer::new(suite, keys.sender_to_receiver));
        }
        let hello = LaneHello { session, lane, tag };
        let (outbox, reports) = (Arc::clone(&self.outbox), self.reports.clone());
        let sockets = Arc::clone(&self.sockets);
        let control = Arc::<LaneControl>::default();
        self.threads.insert(lane, Arc::clone(&control));
        let run = move || {
            let opened = connect().and_then(|stream| {
                sockets.add(lane, stream.try_clone()?);
                let shared = (outbox, control);
                LaneOut::open(stream, &hello, sealer, shared, reports.clone())
            });
            let ended = match opened {
                Err(error) => LaneReport::NotOpened(lane, error),
                Ok(opened) => {
                    let _ = reports.send(LaneReport::Opened(lane));
                    let (outcome, sent) = opened.run();
                    LaneReport::Ended {
                        lane,
                        outcome,
                        sent: Box::new(sent),
                    }
                }
            };
            sockets.remove(lane);
            // Nobody waits for it where the session has ended meanwhile.
            let _ = reports.send(ended);
        };
        let spawned = thread::Builder::new()
            .name(format!("lane {lane}"))
            .spawn(run);
        spawned.map_err(|error| Error::Resources {
            what: "threads",
            error,
        })?;
        self.next = next;
        self.running += 1;
        self.opening += 1;
        Ok(lane)
    }

    /// How many more can be opened, where the peer takes so many at a time: each has a number of its own, once.
    pub(super) fn room(&self, most: u16) -> u16 {
        let running = u16::try_from(self.running).unwrap_or(u16::MAX);
        most.saturating_sub(running).min(u16::MAX - self.next)
    }

    /// How many took files at the same time, at most.
    pub(super) fn most(&self) -> u16 {
        self.most
    }

    /// One of them takes files now.
    pub(super) fn one_opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
        let open = self.running.saturating_sub(self.opening);
        self.most = self.most.max(u16::try_from(open).unwrap_or(u16::MAX));
    }

    /// Whether one is on its way to be opened, and may yet fail.
    pub(super) fn is_opening(&self) -> bool {
        self.opening > 0
    }

    /// One of them has ended.
    pub(super) fn one_ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Whether there is one that has not ended.
    pub(super) fn has_running(&self) -> bool {
        self.running > 0
    }

    /// One that had ended is lost after all: it counts until that is dealt with.
    pub(super) fn one_returned(&mut self) {
        self.running += 1;
    }

    /// Ends the connection of one that is of no use any more: its thread says so soon.
    pub(super) fn give_up(&self, lane: u16) {
        if let Some(control) = self.threads.get(&lane) {
            control.give_up();
            self.sockets.shut(lane);
            self.outbox.queue.nudge();
        }
    }

    /// How many take files, or will.
    pub(super) fn taking(&self) -> u16 {
        let taking = self
            .threads
            .values()
            .filter(|control| !control.takes_no_more());
        u16::try_from(taking.count()).unwrap_or(u16::MAX)
    }

    /// One is to begin with nothing more: it ends when it has done what it is at.
    pub(super) fn retire(&self, lane: u16) {
        if let Some(control) = self.threads.get(&lane) {
            control.retire();
            self.outbox.queue.nudge();
        }
    }

    /// The same of so many, the last ones first, as long as there is one left.
    pub(super) fn retire_some(&self, less: u16) {
        let less = less.min(self.taking().saturating_sub(1));
        let lanes = self.threads.iter().rev();
        let taking = lanes.filter(|(_, control)| !control.takes_no_more());
        for (&lane, _) in taking.take(usize::from(less)) {
            self.retire(lane);
        }
    }

    /// How far those are that take files.
    pub(super) fn progress(&self) -> BTreeMap<u16, Progress> {
        let mut queues = self.sockets.acknowledged();
        queues.retain(|lane, progress| match self.threads.get(lane) {
            Some(control) if !control.takes_no_more() => {
                progress.backlog += control.in_hand();
                true
            }
            _ => false,
        });
        queues
    }

    /// Whether its thread has not said how it ended.
    pub(super) fn has_thread(&self, lane: u16) -> bool {
        self.threads.contains_key(&lane)
    }

    /// Its thread has said how it ended.
    pub(super) fn thread_ended(&mut self, lane: u16) {
        self.threads.remove(&lane);
    }

    /// Looks whether something comes back on each; answers with those that stand still.
    pub(super) fn standing_still(&mut self, now: Instant) -> Vec<u16> {
        let mut signs = self.sockets.signs();
        signs.retain(|lane, _| {
            let control = self.threads.get(lane);
            control.is_some_and(|control| !control.is_given_up())
        });
        self.pulses.retain(|lane, _| signs.contains_key(lane));
        let still = signs.into_iter().filter(|&(lane, signs)| {
            let pulse = self.pulses.entry(lane);
            pulse
                .or_insert_with(|| Pulse::new(signs, now))
                .look(signs, now)
        });
        still.map(|(lane, _)| lane).collect()
    }

    /// Bytes that were handed to the kernel and have not arrived.
    pub(super) fn queued(&self) -> u64 {
        self.sockets.queued()
    }

    /// Ends those that are not done.
    pub(super) fn end(&self) {
        self.sockets.end();
    }
}

impl Sockets {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock, and what is in it is whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, lane: u16, socket: TcpStream) {
        let open = &mut *self.lock();
        if open.over {
            let _ = socket.shutdown(Shutdown::Both);
        }
        open.sockets.insert(lane, socket);
    }

    fn remove(&self, lane: u16) {
        self.lock().sockets.remove(&lane);
    }

    /// One that is not there yet shows itself later.
    fn shut(&self, lane: u16) {
        if let Some(socket) = self.lock().sockets.get(&lane) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn queued(&self) -> u64 {
        let open = &*self.lock();
        // Of lanes that are closed the kernel knows nothing.
        let queue = |socket: &TcpStream| ask(socket).map_or(0, |info| info.send_queue);
        let queues = open.sockets.values().map(queue);
        queues.map(u64::from).sum()
    }

    /// What the kernel knows of how far each is.
    fn acknowledged(&self) -> BTreeMap<u16, Progress> {
        let open = &*self.lock();
        let progress = |socket| {
            let info = ask(socket).ok()?;
            Some(Progress {
                acked: info.bytes_acked?,
                backlog: u64::from(info.send_queue),
            })
        };
        let sockets = open.sockets.iter();
        sockets
            .filter_map(|(&lane, socket)| Some((lane, progress(socket)?)))
            .collect()
    }

    fn signs(&self) -> BTreeMap<u16, Signs> {
        let open = &*self.lock();
        let sockets = open.sockets.iter();
        let signs = sockets.map(|(&lane, socket)| (lane, Signs::new(ask(socket))));
        signs
            .filter_map(|(lane, signs)| Some((lane, signs?)))
            .collect()
    }

    fn end(&self) {
        let open = &mut *self.lock();
        open.over = true;
        for socket in open.sockets.values() {
            // A lane that is done is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn ask(socket: &TcpStream) -> Result<TcpInfo, TcpInfoError> {
    TcpInfoReader::new(socket)?.read()
}

fn connect(
    peer: SocketAddr,
    patience: Duration,
    calls: Option<&Arc<dyn CallObserver>>,
) -> io::Result<Observed<TcpStream>> {
    let stream = TcpStream::connect_timeout(&peer, patience)?;
    endpoint::tune(&stream)?;
    endpoint::send_soon(&stream)?;
    Ok(Observed::new(stream, calls))
}
