//! A server: sockets that wait, connections that run, and what bounds them.

use std::sync::Arc;

use packhorse_endpoint::Bound;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use crate::accept;
use crate::connection::Framing;
use crate::event::Event;
use crate::handler::Handler;
use crate::house::{House, Observer, Served};
use crate::limits::Limits;
use crate::phase::Phase;
use crate::sessions;

/// Sockets that wait for peers, and how these are served.
pub struct Server {
    bound: Vec<Bound>,
    framing: Framing,
    limits: Limits,
    observer: Observer,
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
