//! A server: sockets that wait, connections that run, and what bounds them.

use std::sync::Arc;
use std::time::Duration;

use packhorse_endpoint::Bound;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use crate::accept;
use crate::connection::Framing;
use crate::event::Event;
use crate::handler::Handler;
use crate::house::{House, Observer};
use crate::sessions;

/// What bounds a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections and sessions at a time. Further connections wait in the kernel's queue.
    pub connections: usize,
    /// Connections and sessions at a time of one IP address. Further ones are closed at once. An IPv4
    /// address counts the same whether it comes through an IPv4 socket or an IPv6 one.
    pub per_address: usize,
    /// How long a connection may be without a byte in either direction. `None`: for ever; a session
    /// over datagrams, whose end nobody tells, then has [`SESSION_IDLE`].
    pub idle: Option<Duration>,
    /// How long a message may take from its first byte to its last.
    pub message: Option<Duration>,
    /// How long connections may take to finish when the server ends.
    pub drain: Duration,
}

/// How long a session over datagrams may be silent where nothing else is said.
pub const SESSION_IDLE: Duration = Duration::from_secs(60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: 20_000,
            idle: None,
            message: None,
            drain: Duration::from_secs(5),
        }
    }
}

/// What a server is about, as its sockets' tasks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes whoever comes.
    Serve,
    /// It lets those that are there finish.
    Drain,
    /// It waits no longer.
    Cut,
}

/// Waits for the tasks of connections, and drops those that are left when the server waits no longer:
/// their records say that they were cut off.
pub(crate) async fn finish<T: Send + 'static>(
    running: &mut JoinSet<T>,
    phases: &mut signal::Receiver<Phase>,
) {
    let finished = tokio::select! {
        () = async { while running.join_next().await.is_some() {} } => true,
        _ = phases.wait_for(|phase| *phase == Phase::Cut) => false,
    };
    if !finished {
        running.shutdown().await;
    }
}

/// Sockets that wait for peers, and how these are served.
pub struct Server {
    bound: Vec<Bound>,
    framing: Framing,
    limits: Limits,
    observer: Observer,
}

/// What a server did in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Connections and sessions that ended.
    pub connections: u64,
    /// Of those, the ones that were cut off at the end.
    pub cut_off: u64,
}

impl Server {
    /// A server for what waits at `bound`, of any kinds.
    #[must_use]
    pub fn new(bound: Vec<Bound>) -> Self {
        Self {
            bound,
            framing: Framing::default(),
            limits: Limits::default(),
            observer: Box::new(|_| {}),
        }
    }

    /// How messages travel. Default: as they come.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// What bounds it.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who is told what happens. Called from many tasks: it must not block.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Serves until `stop` ends, then lets connections finish for as long as
    /// [`drain`](Limits::drain) allows, and cuts off those that are left.
    pub async fn serve<H: Handler>(self, handler: H, stop: impl Future<Output = ()>) -> Served {
        let (phase, phases) = signal::channel(Phase::Serve);
        let house = House::new(self.framing, self.limits, self.observer, handler);
        let mut waiting = JoinSet::new();
        for bound in self.bound {
            house.tell(Event::Listening {
                kind: bound.kind,
                address: bound.local.clone(),
                pin: bound.tls.as_ref().map(packhorse_endpoint::TlsServer::pin),
            });
            let (house, phases) = (Arc::clone(&house), phases.clone());
            match bound.kind.is_connected() {
                true => _ = waiting.spawn(accept::run(house, bound, phases)),
                false => _ = waiting.spawn(sessions::run(house, bound, phases)),
            }
        }
        let watchman = tokio::spawn(Arc::clone(&house).keep_watch());
        stop.await;
        phase.send_replace(Phase::Drain);
        house.tell(Event::Draining {
            connections: house.connections(),
        });
        house.drain();
        let patience = tokio::time::sleep(house.limits.drain);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                ended = waiting.join_next() => if ended.is_none() { break },
                () = &mut patience, if *phase.borrow() == Phase::Drain => {
                    phase.send_replace(Phase::Cut);
                }
            }
        }
        watchman.abort();
        house.served()
    }
}
