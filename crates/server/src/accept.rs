//! Connections that come to a listening socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use packhorse_endpoint::{Address, Bound, Socket, TlsServer};
use tokio::sync::{OwnedSemaphorePermit, watch as signal};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::event::{Event, Refusal};
use crate::handler::Handler;
use crate::house::{Arrival, House, Place};
use crate::peer::Peer;
use crate::phase::{self, Phase};
use crate::watch::Watch;

/// The first pause when the process or the system has no descriptor left, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until told to stop, then waits for those that run.
pub(crate) async fn run<H: Handler>(
    house: Arc<House<H>>,
    bound: Bound,
    mut phases: signal::Receiver<Phase>,
) {
    let mut running = JoinSet::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = next(&house, &bound) => accepted,
            // What ended gives back its memory at once.
            Some(_) = running.join_next() => continue,
            _ = phases.wait_for(|phase| *phase != Phase::Serve) => break,
        };
        match accepted {
            Ok(accepted) => {
                pause = FIRST_PAUSE;
                admit(&house, &bound, &mut running, accepted);
            }
            Err(error) if is_scarcity(&error) => {
                house.tell(Event::OutOfDescriptors { error, pause });
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = phases.wait_for(|phase| *phase != Phase::Serve) => break,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            // The peer was gone before it was accepted (accept(2)): the next may be there.
            Err(_) => {}
        }
    }
    // Closed before the wait: new peers are refused by the kernel, not left in its queue.
    drop(bound);
    phase::finish(&mut running, &mut phases).await;
}

type Accepted = (Socket, Address, OwnedSemaphorePermit);

/// A connection that waits, then room for it, then the connection: those that find no room wait in the
/// kernel, and a socket to which nobody comes keeps no room from the others.
async fn next<H: Handler>(house: &House<H>, bound: &Bound) -> io::Result<Accepted> {
    loop {
        let _ = bound.socket.readable().await?;
        let room = Arc::clone(&house.room)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        // Nobody there after all: another process that shares the socket was faster, or the peer left.
        if let Some(accepted) = now(bound.socket.accept()).await {
            let (socket, address) = accepted?;
            return Ok((socket, address, room));
        }
    }
}

/// What a future has to give without waiting.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

fn admit<H: Handler>(
    house: &Arc<House<H>>,
    bound: &Bound,
    running: &mut JoinSet<()>,
    (mut socket, address, room): Accepted,
) {
    if let Some(observer) = &bound.observer {
        socket.observe(observer);
    }
    let peer = Peer {
        number: house.next_number(),
        kind: bound.kind,
        local: socket.local_name().unwrap_or_else(|_| bound.local.clone()),
        address,
    };
    let place = match house.admit(peer.ip(), room) {
        Ok(place) => place,
        Err(count) => {
            house.tell(Event::Refused {
                address: peer.address,
                reason: Refusal::TooManyFromAddress(count),
            });
            return;
        }
    };
    let (house, tls) = (Arc::clone(house), bound.tls.clone());
    running.spawn(async move {
        serve(&house, tls.as_ref(), socket, (peer, place)).await;
    });
}

async fn serve<H: Handler>(
    house: &House<H>,
    tls: Option<&TlsServer>,
    socket: Socket,
    (peer, place): (Peer, Place<H>),
) {
    // What a handshake needs is much more than what comes after it, and does not stay in the task.
    let established = Box::pin(Bound::establish(tls, socket)).await;
    let io = match established {
        Ok(io) => io,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let reason = Refusal::Handshake(cause.unwrap_or_else(|| error.to_string()));
            house.tell(Event::Refused {
                address: peer.address,
                reason,
            });
            return;
        }
    };
    let watch = Watch::new();
    let connection = Connection::over(io, peer, &house.framing, Some(Arc::clone(&watch)));
    house
        .run(Arrival {
            connection,
            watch,
            idle: house.limits.idle,
            dropped: Arc::default(),
            place,
        })
        .await;
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM (accept(2)): it will pass, and trying at once would only spin.
fn is_scarcity(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}
