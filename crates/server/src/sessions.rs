//! Peers of a socket without connections: one session each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packhorse_endpoint::{Address, AsyncSocket, Bound, Kind, Packet};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, watch as signal};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::event::{Event, Refusal};
use crate::handler::Handler;
use crate::house::{Arrival, House};
use crate::limits::SESSION_IDLE;
use crate::peer::Peer;
use crate::phase::{self, Phase};
use crate::receiver::{Datagram, Source};
use crate::room;
use crate::sender::Sink;
use crate::watch::Watch;

/// Datagrams that wait for a handler that is behind. Further ones are dropped and counted, as the
/// kernel does with a full receive buffer.
const QUEUE: usize = 64;

/// Bytes of datagrams that wait for all handlers of a socket.
const QUEUES: usize = 64 << 20;

struct Session {
    number: u64,
    datagrams: mpsc::Sender<Datagram>,
    dropped: Arc<AtomicU64>,
}

/// The table of peers, and what their tasks tell it.
struct Table<H> {
    house: Arc<House<H>>,
    socket: Arc<AsyncSocket>,
    kind: Kind,
    local: Address,
    sessions: HashMap<Address, Session>,
    running: JoinSet<()>,
    /// Room for datagrams that wait.
    waiting: Arc<Semaphore>,
    gone: mpsc::UnboundedSender<(Address, u64)>,
}

/// Hands datagrams to the sessions of their senders until told to stop, then lets these finish.
pub(crate) async fn run<H: Handler>(
    house: Arc<House<H>>,
    bound: Bound,
    mut phases: signal::Receiver<Phase>,
) {
    let (gone, mut ended) = mpsc::unbounded_channel();
    let Bound {
        socket,
        kind,
        local,
        ..
    } = bound;
    let mut table = Table {
        house,
        socket: Arc::new(socket),
        kind,
        local,
        sessions: HashMap::new(),
        running: JoinSet::new(),
        waiting: Arc::new(Semaphore::new(QUEUES)),
        gone,
    };
    let socket = Arc::clone(&table.socket);
    loop {
        tokio::select! {
            received = receive(&socket) => {
                if let Some((from, datagram)) = received {
                    table.deliver(from, datagram);
                }
            }
            Some((address, number)) = ended.recv() => table.forget(&address, number),
            Some(_) = table.running.join_next() => {}
            _ = phases.wait_for(|phase| *phase != Phase::Serve) => break,
        }
    }
    table.sessions.clear();
    phase::finish(&mut table.running, &mut phases).await;
}

/// The next datagram and who sent it. An error of an earlier one of ours (ICMP, say) is not this
/// peer's: the next datagram may be good.
async fn receive(socket: &AsyncSocket) -> Option<(Address, Datagram)> {
    let mut readable = socket.readable().await.ok()?;
    room::with_packet_room(|room| match readable.receive_packet(room)? {
        Ok(Packet::Datagram(received)) => {
            let datagram = Datagram::of(&received, room);
            Some((received.from, datagram))
        }
        Ok(Packet::End) | Err(_) => None,
    })
}

impl<H: Handler> Table<H> {
    fn deliver(&mut self, from: Address, mut datagram: Datagram) {
        // An empty one takes room as well.
        let length = u32::try_from(datagram.payload.len().max(1)).unwrap_or(u32::MAX);
        datagram.room = Arc::clone(&self.waiting)
            .try_acquire_many_owned(length)
            .ok();
        let datagram = match self.sessions.get(&from) {
            None => datagram,
            Some(session) if datagram.room.is_none() => {
                session.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Some(session) => match session.datagrams.try_send(datagram) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => {
                    session.dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                // The handler is done, and its task is about to say so: this peer starts anew.
                Err(TrySendError::Closed(datagram)) => datagram,
            },
        };
        if let Some(session) = self.start(&from) {
            let _ = session.datagrams.try_send(datagram);
            self.sessions.insert(from, session);
        }
    }

    fn start(&mut self, from: &Address) -> Option<Session> {
        let house = Arc::clone(&self.house);
        let peer = Peer {
            number: house.next_number(),
            kind: self.kind,
            address: from.clone(),
            local: self.local.clone(),
        };
        let refuse = |reason| {
            house.tell(Event::Refused {
                address: from.clone(),
                reason,
            });
            None
        };
        let Ok(room) = Arc::clone(&house.room).try_acquire_owned() else {
            return refuse(Refusal::TooManySessions(house.limits.connections));
        };
        let place = match house.admit(peer.ip(), room) {
            Ok(place) => place,
            Err(count) => return refuse(Refusal::TooManyFromAddress(count)),
        };
        let (datagrams, source) = mpsc::channel(QUEUE);
        let watch = Watch::new();
        let number = peer.number;
        let dropped = Arc::new(AtomicU64::new(0));
        let connection = Connection::new(
            Source::Session(source),
            Sink::Session(Arc::clone(&self.socket), from.clone()),
            peer,
            &house.framing,
            Some(Arc::clone(&watch)),
        );
        let arrival = Arrival {
            connection,
            watch,
            idle: Some(house.limits.idle.unwrap_or(SESSION_IDLE)),
            dropped: Arc::clone(&dropped),
            place,
        };
        let gone = Gone(self.gone.clone(), Some((from.clone(), number)));
        self.running.spawn(async move {
            house.run(arrival).await;
            drop(gone);
        });
        Some(Session {
            number,
            datagrams,
            dropped,
        })
    }

    /// The handler is done. A new session of the same peer stays.
    fn forget(&mut self, address: &Address, number: u64) {
        if self
            .sessions
            .get(address)
            .is_some_and(|session| session.number == number)
        {
            self.sessions.remove(address);
        }
    }
}

/// Tells the table that a session is over, however its task ended.
struct Gone(
    mpsc::UnboundedSender<(Address, u64)>,
    Option<(Address, u64)>,
);

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(session) = self.1.take() {
            // A table that is gone itself needs no telling.
            let _ = self.0.send(session);
        }
    }
}
