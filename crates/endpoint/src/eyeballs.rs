//! Connecting to a host with several addresses (RFC 8305, "Happy Eyeballs").

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::address::Address;
use crate::apply::{ApplyError, Subject, Unmet};
use crate::async_socket::AsyncSocket;
use crate::endpoint::{Endpoint, Kind};
use crate::make::{name_client, other, socket_for};
use crate::open_error::OpenError;
use crate::socket::{Blocking, Family, Socket};

/// How long connecting may take where the endpoint does not say.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an address may keep the next one waiting (RFC 8305 §8, Connection Attempt Delay).
const HEAD_START: Duration = Duration::from_millis(250);

/// The socket of the first address that answers. Each has a head start before the next.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    addresses: Vec<Address>,
    unmet: Unmet,
) -> Result<Reached, OpenError> {
    let mut waiting = interleaved(addresses).into_iter();
    let mut running: JoinSet<Attempt> = JoinSet::new();
    let mut attempts = Vec::new();
    loop {
        let Some(address) = waiting.next() else {
            match running.join_next().await {
                Some(ended) => {
                    if let Some(socket) = settle(ended, &mut attempts)? {
                        return Ok(socket);
                    }
                    continue;
                }
                None => break,
            }
        };
        let endpoint = endpoint.clone();
        running.spawn(async move {
            let outcome = attempt(&endpoint, &address, unmet).await;
            Attempt { address, outcome }
        });
        // Whoever fails makes room for the next at once.
        if let Ok(Some(ended)) = timeout(HEAD_START, running.join_next()).await
            && let Some(socket) = settle(ended, &mut attempts)?
        {
            return Ok(socket);
        }
    }
    let endpoint = endpoint.to_string();
    Err(OpenError::Connect { endpoint, attempts })
}

/// A socket that reaches the peer.
pub(crate) struct Reached {
    pub(crate) socket: AsyncSocket,
    pub(crate) address: Address,
    pub(crate) family: Family,
    /// Options that are not in force.
    pub(crate) unmet: Vec<ApplyError>,
}

struct Attempt {
    address: Address,
    outcome: Result<Reached, Failure>,
}

enum Failure {
    /// This address does not answer; another may.
    Unreachable(io::Error),
    /// No address will do better.
    Final(OpenError),
}

fn settle(
    ended: Result<Attempt, tokio::task::JoinError>,
    attempts: &mut Vec<(Address, io::Error)>,
) -> Result<Option<Reached>, OpenError> {
    let Ok(Attempt { address, outcome }) = ended else {
        return Ok(None);
    };
    match outcome {
        Ok(socket) => Ok(Some(socket)),
        Err(Failure::Final(error)) => Err(error),
        Err(Failure::Unreachable(error)) => {
            attempts.push((address, error));
            Ok(None)
        }
    }
}

async fn attempt(endpoint: &Endpoint, address: &Address, unmet: Unmet) -> Result<Reached, Failure> {
    let (mut socket, family) = socket_for(endpoint, address).map_err(|error| match error {
        // A machine without IPv6 may well have IPv4.
        OpenError::NoSuchSocket { source, .. } if endpoint.kind != Kind::Rdm => {
            Failure::Unreachable(source)
        }
        error => Failure::Final(error),
    })?;
    let kind = endpoint.kind;
    let subject = Subject {
        socket: &socket,
        kind,
        family,
    };
    let unmet = subject
        .apply(&endpoint.options, unmet)
        .map_err(|error| Failure::Final(error.into()))?;
    name_client(endpoint, &mut socket).map_err(|source| match &endpoint.options.bind {
        Some(bind) if bind.inet().map(|a| a.is_ipv4()) != address.inet().map(|a| a.is_ipv4()) => {
            Failure::Unreachable(io::Error::other("of another family than 'bind'"))
        }
        Some(bind) => Failure::Final(OpenError::Bind {
            address: bind.clone(),
            source,
        }),
        None => Failure::Final(other(endpoint, source)),
    })?;
    let connected = match address {
        Address::Unix(_) => {
            let patience = endpoint.options.timeout.unwrap_or(CONNECT_TIMEOUT);
            connect_unix(socket, address.clone(), patience).await
        }
        _ => connect_inet(socket, address).await,
    };
    let socket = connected.map_err(Failure::Unreachable)?;
    Ok(Reached {
        socket,
        address: address.clone(),
        family,
        unmet,
    })
}

async fn connect_inet(socket: Socket, address: &Address) -> io::Result<AsyncSocket> {
    const EINPROGRESS: i32 = 115;
    socket.set_blocking(Blocking::No)?;
    match socket.connect_ex(address) {
        0 => AsyncSocket::new(socket),
        EINPROGRESS => {
            let socket = AsyncSocket::new(socket)?;
            socket.connected().await?;
            Ok(socket)
        }
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// A non-blocking Unix socket cannot wait for room in the other's backlog (connect(2), EAGAIN).
async fn connect_unix(
    socket: Socket,
    address: Address,
    patience: Duration,
) -> io::Result<AsyncSocket> {
    let connecting = tokio::task::spawn_blocking(move || {
        socket.set_timeout(Some(patience))?;
        socket.connect(&address)?;
        socket.set_timeout(None)?;
        Ok::<_, io::Error>(socket)
    });
    AsyncSocket::new(connecting.await.map_err(io::Error::other)??)
}

/// Families in turn, each in the resolver's order, the first address's family first (RFC 8305 §4).
fn interleaved(addresses: Vec<Address>) -> Vec<Address> {
    let is_ipv6 = |address: &Address| address.inet().is_some_and(|a: SocketAddr| a.is_ipv6());
    let first = addresses.first().is_some_and(is_ipv6);
    let (mut one, mut two): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| is_ipv6(address) == first);
    one.reverse();
    two.reverse();
    let mut mixed = Vec::with_capacity(one.len() + two.len());
    while !one.is_empty() || !two.is_empty() {
        mixed.extend(one.pop());
        mixed.extend(two.pop());
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| -> Vec<Address> {
            texts
                .iter()
                .map(|text| Address::Inet(text.parse().unwrap()))
                .collect()
        };
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let mixed = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleaved(given), mixed);
    }
}
