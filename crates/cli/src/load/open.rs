//! Opening the connections of a run, and what this machine has too little of.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use packhorse_endpoint::{Address, Connected, Endpoint, Kind, OpenError, Place, connect};
use packhorse_server::{Connection, Framing};
use rustix::process::{Resource, getrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::report::{Exit, Failure};
use crate::units;

/// Connections that are being opened at the same time.
const AT_A_TIME: usize = 256;

/// Descriptors that a run needs beside its connections.
const BESIDE: u64 = 64;

/// EMFILE and ENFILE; EADDRINUSE and EADDRNOTAVAIL (errno(3)).
const NO_DESCRIPTORS: [i32; 2] = [24, 23];
const NO_PORTS: [i32; 2] = [98, 99];

/// Before anything is opened: are there descriptors for all?
pub(crate) fn check_descriptors(connections: u32) -> Result<(), Failure> {
    let needed = u64::from(connections) + BESIDE;
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(Failure {
            exit: Exit::Local,
            what: format!(
                "{} need {} descriptors, and this process may have {}",
                units::counted(connections.into(), "connection", "connections"),
                units::count(needed),
                units::count(allowed),
            ),
            consequence: Some("nothing was sent".into()),
            hint: Some(format!(
                "ulimit -n {needed} (as root, or with a higher limit in /etc/security/limits.conf)"
            )),
        }),
        _ => Ok(()),
    }
}

/// Opens all connections, or says what keeps them from being open. `opened` hears how many there are.
pub(crate) async fn open_all(
    endpoint: &Endpoint,
    framing: &Framing,
    connections: u32,
    opened: impl Fn(u32),
) -> Result<Vec<Connection>, Failure> {
    let sources = Sources::new(endpoint, connections);
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    let mut opening = JoinSet::new();
    let mut all = Vec::new();
    for number in 0..connections {
        // Room first: a task that waits for it would cost memory for nothing.
        let Ok(room) = Arc::clone(&room).acquire_owned().await else {
            break;
        };
        let endpoint = sources.endpoint(number);
        opening.spawn(async move {
            let connected = connect(&endpoint).await;
            drop(room);
            connected
        });
        while let Some(ended) = opening.try_join_next() {
            all.push(opened_one(ended, endpoint_text(&sources), all.len())?);
        }
        opened(u32::try_from(all.len()).unwrap_or(u32::MAX));
    }
    while let Some(ended) = opening.join_next().await {
        all.push(opened_one(ended, endpoint_text(&sources), all.len())?);
        opened(u32::try_from(all.len()).unwrap_or(u32::MAX));
    }
    Ok(all
        .into_iter()
        .map(|connected| Connection::of_client(connected, framing))
        .collect())
}

fn endpoint_text(sources: &Sources) -> &Endpoint {
    &sources.endpoint
}

fn opened_one(
    ended: Result<Result<Connected, OpenError>, tokio::task::JoinError>,
    endpoint: &Endpoint,
    before: usize,
) -> Result<Connected, Failure> {
    let error = match ended {
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(error)) => error,
        Err(error) => return Err(Failure::local("cannot connect", &error)),
    };
    let after = units::counted(before as u64, "connection", "connections");
    let number = os_error(&error);
    if number.is_some_and(|number| NO_DESCRIPTORS.contains(&number)) {
        return Err(Failure {
            exit: Exit::Local,
            what: format!("out of descriptors after {after}"),
            consequence: Some("nothing was sent".into()),
            hint: Some("raise `ulimit -n`, or ask for fewer --connections".into()),
        });
    }
    if !endpoint.kind.is_unix() && number.is_some_and(|number| NO_PORTS.contains(&number)) {
        return Err(Failure {
            exit: Exit::Local,
            what: format!("out of ports after {after}: each needs one of this machine's own"),
            consequence: Some("nothing was sent".into()),
            hint: Some(
                "sysctl net.ipv4.ip_local_port_range=\"1024 65535\", or use a second address of this \
                 machine in a second run: ?bind=ADDRESS:0"
                    .into(),
            ),
        });
    }
    let mut failure = Failure::from(error);
    failure.what = format!("after {after}: {}", failure.what);
    Err(failure)
}

fn os_error(error: &OpenError) -> Option<i32> {
    match error {
        OpenError::Connect { attempts, .. } => {
            attempts.iter().find_map(|(_, error)| error.raw_os_error())
        }
        OpenError::Bind { source, .. } | OpenError::Other { source, .. } => source.raw_os_error(),
        OpenError::Apply(_) => None,
        error => std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<io::Error>())
            .and_then(io::Error::raw_os_error),
    }
}

/// Where connections come from.
struct Sources {
    endpoint: Endpoint,
    /// Addresses of loopback to take in turns; 0: the kernel chooses.
    addresses: u32,
}

impl Sources {
    /// All of 127.0.0.0/8 is this machine: where one address has too few ports, more are taken.
    fn new(endpoint: &Endpoint, connections: u32) -> Self {
        let mut endpoint = endpoint.clone();
        if matches!(endpoint.kind, Kind::Tcp | Kind::Tls) {
            // A message that is due must not wait for the acknowledgement of another.
            endpoint.options.nodelay.get_or_insert(true);
        }
        let ports = local_ports().unwrap_or(u32::MAX);
        let addresses = match is_loopback(&endpoint) && endpoint.options.bind.is_none() {
            // Not to the last port: some are in use, or in TIME_WAIT.
            true if connections > ports / 5 * 4 => connections.div_ceil((ports / 5 * 4).max(1)),
            _ => 0,
        };
        Self {
            endpoint,
            addresses,
        }
    }

    fn endpoint(&self, number: u32) -> Endpoint {
        let mut endpoint = self.endpoint.clone();
        if self.addresses > 0 {
            // From 127.0.0.2 on: 127.0.0.1 is everybody's.
            let host = u32::from(Ipv4Addr::new(127, 0, 0, 2)) + number % self.addresses;
            let address = SocketAddr::new(Ipv4Addr::from(host).into(), 0);
            endpoint.options.bind = Some(Address::Inet(address));
        }
        endpoint
    }
}

fn is_loopback(endpoint: &Endpoint) -> bool {
    match &endpoint.place {
        Place::Inet {
            host: Some(host), ..
        } => matches!(host.address(), Some(IpAddr::V4(ip)) if ip.is_loopback()),
        _ => false,
    }
}

/// How many ports the kernel has to give.
fn local_ports() -> Option<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = range.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    Some(last.checked_sub(first)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_more_addresses_than_one() {
        let endpoint = "tcp://127.0.0.1:9".parse().unwrap();
        let few = Sources::new(&endpoint, 10);
        assert_eq!(few.endpoint(3).options.bind, None);
        assert_eq!(few.endpoint(3).options.nodelay, Some(true));
        let sources = Sources {
            endpoint,
            addresses: 2,
        };
        let bind = |number| sources.endpoint(number).options.bind.unwrap().to_string();
        assert_eq!(
            (bind(0), bind(1)),
            ("127.0.0.2:0".into(), "127.0.0.3:0".into())
        );
        assert_eq!(bind(2), bind(0));
    }
}
