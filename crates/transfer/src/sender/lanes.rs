//! A sender's lanes: their connections and threads.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use packhorse_endpoint::{self as endpoint, CallObserver, Observed, TcpInfoReader};
use packhorse_proto::lane::LaneHello;
use packhorse_proto::message::SessionId;
use packhorse_trust::{Sealer, SessionKeys, Suite};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::lane::LaneOut;
use super::on_thread;
use super::outbox::{LaneReport, Outbox};
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
}

/// The lanes' sockets, to end threads that wait in them.
#[derive(Default)]
struct Sockets(Mutex<(Vec<TcpStream>, bool)>);

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
        })
    }

    /// Opens the first, once its connection is there.
    pub(super) async fn open_first(&mut self, proof: Proof<'_>) -> Result<(), Error> {
        let Some(connecting) = self.first.take() else {
            return Ok(());
        };
        let stream = connecting.await.map_err(io::Error::other);
        let stream = stream.and_then(|stream| stream).map_err(Error::Lost)?;
        self.open(proof, move || Ok(stream))
    }

    /// Opens one more, whose thread connects it.
    pub(super) fn open_another(&mut self, proof: Proof<'_>) -> Result<(), Error> {
        let (peer, patience, calls) = (self.peer, self.patience, self.calls.clone());
        self.open(proof, move || connect(peer, patience, calls.as_ref()))
    }

    fn open(
        &mut self,
        proof: Proof<'_>,
        connect: impl FnOnce() -> io::Result<Observed<TcpStream>> + Send + 'static,
    ) -> Result<(), Error> {
        let (lane, session) = (self.next, proof.session);
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
        let run = move || {
            let opened = connect().and_then(|stream| {
                sockets.add(stream.try_clone()?);
                LaneOut::open(stream, &hello, sealer, outbox, reports.clone())
            });
            // What happens to a lane that was never in use loses nothing.
            let _ = reports.send(match opened {
                Err(_) if lane > 0 => LaneReport::NotOpened,
                opened => {
                    let _ = reports.send(LaneReport::Opened);
                    LaneReport::Ended(opened.and_then(LaneOut::run))
                }
            });
        };
        let spawned = thread::Builder::new()
            .name(format!("lane {lane}"))
            .spawn(run);
        spawned.map_err(|error| Error::Resources {
            what: "threads",
            error,
        })?;
        self.next += 1;
        self.running += 1;
        self.opening += 1;
        Ok(())
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

    /// One of them has ended. Whether it was the last.
    pub(super) fn one_ended(&mut self) -> bool {
        self.running = self.running.saturating_sub(1);
        self.running == 0
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
    fn lock(&self) -> MutexGuard<'_, (Vec<TcpStream>, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, socket: TcpStream) {
        let (sockets, over) = &mut *self.lock();
        if *over {
            let _ = socket.shutdown(Shutdown::Both);
        }
        sockets.push(socket);
    }

    fn queued(&self) -> u64 {
        let (sockets, _) = &*self.lock();
        let queue = |socket: &TcpStream| {
            TcpInfoReader::new(socket)?
                .read()
                .map(|info| info.send_queue)
        };
        // Of lanes that are closed the kernel knows nothing.
        let queues = sockets.iter().map(|socket| queue(socket).unwrap_or(0));
        queues.map(u64::from).sum()
    }

    fn end(&self) {
        let (sockets, over) = &mut *self.lock();
        *over = true;
        for socket in sockets {
            // A lane that is done is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
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
