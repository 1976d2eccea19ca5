//! Connections that come to a listening socket.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use packhorse_endpoint::{Address, Bound, Io, Kind, Socket, TlsServer};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch as signal};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::event::{Event, Refusal};
use crate::handler::Handler;
use crate::peer::Peer;
use crate::server::{self, Entry, House, Phase, Wake};
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
            _ = phases.wait_for(|phase| *phase != Phase::Serve) => break,
        };
        match accepted {
            Ok((socket, address, permit)) => {
                pause = FIRST_PAUSE;
                admit(&house, &bound, &mut running, (socket, address, permit));
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
        while running.try_join_next().is_some() {}
    }
    // Closed before the wait: new peers are refused by the kernel, not left in its queue.
    drop(bound);
    server::finish(&mut running, &mut phases).await;
}

type Accepted = (Socket, Address, OwnedSemaphorePermit);

/// First room, then a connection: those that come meanwhile wait in the kernel.
async fn next<H: Handler>(house: &House<H>, bound: &Bound) -> io::Result<Accepted> {
    let permit = Arc::clone(&house.room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (socket, address) = bound.socket.accept().await?;
    Ok((socket, address, permit))
}

fn admit<H: Handler>(
    house: &Arc<House<H>>,
    bound: &Bound,
    running: &mut JoinSet<()>,
    (socket, address, permit): Accepted,
) {
    let peer = Peer {
        number: house.next_number(),
        kind: bound.kind,
        local: socket.local_name().unwrap_or_else(|_| bound.local.clone()),
        address,
    };
    if let Err(count) = house.admit(peer.ip()) {
        let reason = Refusal::TooManyFromAddress(count);
        house.tell(Event::Refused {
            address: peer.address,
            reason,
        });
        return;
    }
    let (house, tls) = (Arc::clone(house), bound.tls.clone());
    running.spawn(async move {
        let ip = peer.ip();
        serve(&house, tls.as_ref(), socket, peer).await;
        house.dismiss(ip);
        drop(permit);
    });
}

async fn serve<H: Handler>(house: &House<H>, tls: Option<&TlsServer>, socket: Socket, peer: Peer) {
    let io = match Bound::establish(tls, socket).await {
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
    let watch = Watch::new(&house.clock);
    let is_tls = matches!(io, Io::Tls(_)) || peer.kind == Kind::Tls;
    let connection = Connection::over(io, peer, &house.framing, Some(Arc::clone(&watch)));
    let wake = match connection.sender.shared_socket() {
        Some(socket) if !is_tls => Wake::Stream(socket),
        _ => Wake::Notify(Arc::new(Notify::new())),
    };
    let idle = house.limits.idle;
    let entry = Entry { watch, idle, wake };
    house
        .run(connection, entry, Arc::new(AtomicU64::new(0)))
        .await;
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM (accept(2)): it will pass, and trying at once would only spin.
fn is_scarcity(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}
