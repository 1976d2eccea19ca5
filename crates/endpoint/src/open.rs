//! From an endpoint to an open socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::address::Address;
use crate::apply::{self, ApplyError, BACKLOG, Setting, Subject, Unmet};
use crate::async_socket::AsyncSocket;
use crate::calls::CallObserver;
use crate::echo::Echo;
use crate::endpoint::{Endpoint, Kind, Place};
use crate::eyeballs::{self, CONNECT_TIMEOUT};
use crate::host::Host;
use crate::listen::{ListenError, reuse_address, take_families};
use crate::make::{other, socket_for};
use crate::open_error::OpenError;
use crate::options::Role;
use crate::resolve::{self, ResolveError};
use crate::socket::{Family, Socket, Type};
use crate::tls::{self, Tls, TlsError};
use crate::unix_file::UnixFile;

/// What an open socket carries.
#[derive(Debug)]
pub enum Io {
    /// Bytes, or messages where the kind keeps their boundaries.
    Plain(AsyncSocket),
    /// Bytes inside TLS.
    Tls(Box<Tls>),
}

impl Io {
    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket.socket(),
            Self::Tls(tls) => tls.get_ref().0.socket(),
        }
    }
}

/// A socket that reaches a peer.
#[derive(Debug)]
pub struct Connected {
    /// The socket.
    pub io: Io,
    /// What it is.
    pub kind: Kind,
    /// Its own name.
    pub local: Address,
    /// Who the peer is.
    pub peer: Address,
    /// For `icmp://`, what makes a message a request and finds it in the reply.
    pub echo: Option<Echo>,
    /// Options that are not in force. Empty, unless it was opened by [`connect_anyway`].
    pub unmet: Vec<ApplyError>,
    family: Family,
}

/// A socket that waits for peers.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub socket: AsyncSocket,
    /// What it is.
    pub kind: Kind,
    /// Where it waits; the port that the kernel chose, where it was asked to.
    pub local: Address,
    /// For `tls://`, what handshakes need.
    pub tls: Option<tls::Server>,
    /// Who is told of the calls of those who come; see [`Bound::observe`].
    pub observer: Option<Arc<dyn CallObserver>>,
    /// Options that are not in force. Empty, unless it was opened by [`bind_anyway`].
    pub unmet: Vec<ApplyError>,
    family: Family,
}

impl Connected {
    /// Every option of the socket: what was asked for, and what is in force.
    #[must_use]
    pub fn settings(&self, endpoint: &Endpoint) -> Vec<Setting> {
        let (kind, family) = (self.kind, self.family);
        let socket = self.io.socket();
        let subject = Subject {
            socket,
            kind,
            family,
        };
        apply::settings(subject, Role::Connect, &endpoint.options, &self.unmet)
    }
}

impl Bound {
    /// Every option of the socket: what was asked for, and what is in force.
    #[must_use]
    pub fn settings(&self, endpoint: &Endpoint) -> Vec<Setting> {
        let (kind, family) = (self.kind, self.family);
        let socket = self.socket.socket();
        let subject = Subject {
            socket,
            kind,
            family,
        };
        apply::settings(subject, Role::Listen, &endpoint.options, &self.unmet)
    }

    /// Tells `observer` of each write and read call: of those who come, and of the socket itself where many send to
    /// it.
    pub fn observe(&mut self, observer: &Arc<dyn CallObserver>) {
        if !self.kind.is_connected() {
            self.socket.observe(observer);
        }
        self.observer = Some(Arc::clone(observer));
    }

    /// Makes of an accepted socket what it carries: for `tls://` after the handshake.
    ///
    /// # Errors
    /// The handshake failed, or the runtime has no room for the socket.
    pub async fn establish(tls: Option<&tls::Server>, socket: Socket) -> Result<Io, TlsError> {
        let socket = AsyncSocket::new(socket).map_err(TlsError::Handshake)?;
        match tls {
            None => Ok(Io::Plain(socket)),
            Some(server) => Ok(Io::Tls(Box::new(server.handshake(socket).await?))),
        }
    }
}

/// Connects to the endpoint: to each of its host's addresses, until one answers (RFC 8305). For
/// datagrams this only says who the peer is.
///
/// # Errors
/// What kept it from being open, and whose fault that is.
pub async fn connect(endpoint: &Endpoint) -> Result<Connected, OpenError> {
    connect_in_time(endpoint, Unmet::Refuse, None).await
}

/// As [`connect`]; `observer` is told of each write and read call, those of a TLS handshake among them.
///
/// # Errors
/// As for [`connect`].
pub async fn connect_observed(
    endpoint: &Endpoint,
    observer: Option<&Arc<dyn CallObserver>>,
) -> Result<Connected, OpenError> {
    connect_in_time(endpoint, Unmet::Refuse, observer).await
}

/// As [`connect`], for looking at a socket: an option that is not to be had does not keep it from being
/// open, and stands in [`Connected::unmet`].
///
/// # Errors
/// As for [`connect`].
pub async fn connect_anyway(endpoint: &Endpoint) -> Result<Connected, OpenError> {
    connect_in_time(endpoint, Unmet::Tell, None).await
}

async fn connect_in_time(
    endpoint: &Endpoint,
    unmet: Unmet,
    observer: Option<&Arc<dyn CallObserver>>,
) -> Result<Connected, OpenError> {
    endpoint.options.check(Role::Connect)?;
    let after = endpoint.options.timeout.unwrap_or(CONNECT_TIMEOUT);
    match tokio::time::timeout(after, connect_unhurried(endpoint, unmet, observer)).await {
        Ok(result) => result,
        Err(_) => Err(OpenError::Timeout {
            endpoint: endpoint.to_string(),
            after,
        }),
    }
}

async fn connect_unhurried(
    endpoint: &Endpoint,
    unmet: Unmet,
    observer: Option<&Arc<dyn CallObserver>>,
) -> Result<Connected, OpenError> {
    let kind = endpoint.kind;
    let tls = match &endpoint.place {
        Place::Inet {
            host: Some(host), ..
        } if kind == Kind::Tls => Some(tls::Client::new(host, &endpoint.options)?),
        _ => None,
    };
    let addresses = peers(endpoint).await?;
    let reached = eyeballs::connect(endpoint, addresses, unmet).await?;
    let (mut socket, family) = (reached.socket, reached.family);
    if let Some(observer) = observer {
        socket.observe(observer);
    }
    let other = |source| other(endpoint, source);
    let local = socket.socket().local_name().map_err(other)?;
    let peer = match socket.socket().peer_name() {
        // Linux tells the peer by its port, and these have none.
        Err(_) if matches!(kind, Kind::Icmp | Kind::Raw) => Ok(reached.address),
        name => name.map_err(other),
    }?;
    let echo = match kind {
        Kind::Icmp => Some(echo(socket.socket(), family, &local).map_err(other)?),
        _ => None,
    };
    let io = match tls {
        None => Io::Plain(socket),
        Some(client) => Io::Tls(Box::new(client.handshake(socket).await?)),
    };
    Ok(Connected {
        io,
        kind,
        local,
        peer,
        echo,
        unmet: reached.unmet,
        family,
    })
}

fn echo(socket: &Socket, family: Family, local: &Address) -> io::Result<Echo> {
    let identifier = match (socket.kind(), local.inet()) {
        // The kernel writes its port into each request, whatever stands there.
        (Type::Datagram, Some(local)) => local.port(),
        _ => {
            let mut number = [0; 2];
            aws_lc_rs::rand::fill(&mut number)
                .map_err(|_| io::Error::other("no random numbers"))?;
            u16::from_ne_bytes(number)
        }
    };
    Ok(Echo::new(family, socket.kind(), identifier))
}

/// Waits at the endpoint: at every address of its host that this machine has, at least at one.
///
/// # Errors
/// What kept it from being open, and whose fault that is.
pub async fn bind(endpoint: &Endpoint) -> Result<Vec<Bound>, OpenError> {
    bind_everywhere(endpoint, Unmet::Refuse).await
}

/// As [`bind`], for looking at a socket: an option that is not to be had does not keep it from being
/// open, and stands in [`Bound::unmet`].
///
/// # Errors
/// As for [`bind`].
pub async fn bind_anyway(endpoint: &Endpoint) -> Result<Vec<Bound>, OpenError> {
    bind_everywhere(endpoint, Unmet::Tell).await
}

async fn bind_everywhere(endpoint: &Endpoint, unmet: Unmet) -> Result<Vec<Bound>, OpenError> {
    /// Ports that are tried until one is free in both families.
    const TRIES: u32 = 16;
    endpoint.options.check(Role::Listen)?;
    if endpoint.kind == Kind::Icmp {
        return Err(OpenError::NotForListening {
            kind: endpoint.kind,
        });
    }
    let tls = match endpoint.kind {
        Kind::Tls => Some(tls::Server::new(&endpoint.options)?),
        _ => None,
    };
    let places = places(endpoint).await?;
    let chosen_by_kernel = matches!(endpoint.place, Place::Inet { port: 0, .. });
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_all(endpoint, &places, tls.as_ref(), unmet) {
            // The port that was free in one family is taken in the other.
            Err(OpenError::Listen(ListenError::PortInUse(_)))
                if chosen_by_kernel && places.len() > 1 && tries < TRIES => {}
            result => return result,
        }
    }
}

fn bind_all(
    endpoint: &Endpoint,
    places: &[Address],
    tls: Option<&tls::Server>,
    unmet: Unmet,
) -> Result<Vec<Bound>, OpenError> {
    let mut bound: Vec<Bound> = Vec::new();
    let mut missing = None;
    for address in places {
        let mut address = address.clone();
        // Several addresses and a port that the kernel chooses: the same one everywhere.
        if let (Address::Inet(address), Some(first)) = (&mut address, bound.first())
            && address.port() == 0
            && let Some(first) = first.local.inet()
        {
            address.set_port(first.port());
        }
        match bind_one(endpoint, &address, tls, unmet) {
            Ok(one) => bound.push(one),
            // A name may have addresses of a family that this machine does not speak.
            Err(
                error @ (OpenError::NoSuchSocket { .. }
                | OpenError::Listen(ListenError::AddressNotAvailable(_))),
            ) => missing = missing.or(Some(error)),
            // Somebody else there would get half of the peers.
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

fn bind_one(
    endpoint: &Endpoint,
    address: &Address,
    tls: Option<&tls::Server>,
    unmet: Unmet,
) -> Result<Bound, OpenError> {
    let kind = endpoint.kind;
    let other = |source| other(endpoint, source);
    let (mut socket, family) = socket_for(endpoint, address)?;
    prepare_to_bind(endpoint, &socket, address).map_err(other)?;
    let subject = Subject {
        socket: &socket,
        kind,
        family,
    };
    let mut missed = subject.apply(&endpoint.options, unmet)?;
    missed.extend(apply::clipped_backlog(&endpoint.options, unmet)?);
    match address {
        Address::Unix(name) => {
            UnixFile::bind(&mut socket, name).map_err(|source| OpenError::Bind {
                address: address.clone(),
                source,
            })?;
        }
        Address::Inet(inet) => {
            let failed = |source| ListenError::new(*inet, source);
            socket.bind(address).map_err(failed)?;
        }
        Address::Other(_) => {}
    }
    if kind.is_connected() {
        socket
            .listen(endpoint.options.backlog.unwrap_or(BACKLOG))
            .map_err(|source| match address.inet() {
                Some(inet) => OpenError::Listen(ListenError::new(inet, source)),
                None => other(source),
            })?;
    }
    let local = socket.local_name().map_err(other)?;
    let socket = AsyncSocket::new(socket).map_err(other)?;
    Ok(Bound {
        socket,
        kind,
        local,
        tls: tls.cloned(),
        observer: None,
        unmet: missed,
        family,
    })
}

/// Defaults that are not the kernel's, where the endpoint says nothing.
fn prepare_to_bind(endpoint: &Endpoint, socket: &Socket, address: &Address) -> io::Result<()> {
    let Address::Inet(address) = address else {
        return Ok(());
    };
    let options = &endpoint.options;
    if endpoint.kind.is_tcp() && options.reuseaddr.is_none() {
        reuse_address(socket)?;
    }
    if endpoint.kind != Kind::Raw && options.v6only.is_none() {
        take_families(socket, *address)?;
    }
    Ok(())
}

/// The addresses to try, when connecting.
async fn peers(endpoint: &Endpoint) -> Result<Vec<Address>, OpenError> {
    match &endpoint.place {
        Place::Unix(name) => Ok(vec![Address::Unix(name.clone())]),
        Place::Inet { host: None, .. } => Err(OpenError::Nowhere(endpoint.to_string())),
        Place::Inet { port: 0, .. } if endpoint.kind.has_port() => {
            Err(OpenError::Nowhere(endpoint.to_string()))
        }
        Place::Inet {
            host: Some(host),
            port,
            ..
        } => look_up(host.clone(), *port).await,
    }
}

/// The addresses to wait at.
async fn places(endpoint: &Endpoint) -> Result<Vec<Address>, OpenError> {
    match &endpoint.place {
        Place::Unix(name) => Ok(vec![Address::Unix(name.clone())]),
        Place::Inet {
            host: None, port, ..
        } => Ok(vec![everywhere(endpoint.kind, *port)]),
        Place::Inet {
            host: Some(host),
            port,
            ..
        } => look_up(host.clone(), *port).await,
    }
}

/// The IPv6 wildcard takes IPv4 peers as well; where the kernel has no IPv6, IPv4's.
fn everywhere(kind: Kind, port: u16) -> Address {
    let has_ipv6 = || Socket::new(Family::Ipv6, Type::Datagram, 0).is_ok();
    let ip: IpAddr = match kind != Kind::Raw && has_ipv6() {
        true => Ipv6Addr::UNSPECIFIED.into(),
        // A raw socket of IPv6 never sees IPv4.
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    Address::Inet(SocketAddr::new(ip, port))
}

async fn look_up(host: Host, port: u16) -> Result<Vec<Address>, OpenError> {
    let name = host.to_string();
    let looked_up = tokio::task::spawn_blocking(move || resolve::resolve(&host, port)).await;
    let found = looked_up.unwrap_or_else(|error| {
        Err(ResolveError {
            host: name,
            source: io::Error::other(error),
        })
    })?;
    Ok(found.into_iter().map(Address::Inet).collect())
}
