//! From an endpoint to an open socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::address::{Address, UnixName};
use crate::apply::{ApplyError, Setting, Subject};
use crate::async_socket::AsyncSocket;
use crate::endpoint::{Endpoint, Kind, Place};
use crate::eyeballs;
use crate::listen::ListenError;
use crate::options::{OptionError, Role};
use crate::resolve::{self, ResolveError};
use crate::socket::{Family, Socket};
use crate::tls::{self, Tls, TlsError};
use crate::unix_file::UnixFile;

/// How long connecting may take where the endpoint does not say.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that the kernel completes before they are accepted, where the endpoint does not say.
/// The kernel's own bound is the sysctl net.core.somaxconn.
pub const BACKLOG: u32 = 4096;

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
    family: Family,
    _file: Option<UnixFile>,
}

/// Whose fault it is that a socket is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What was asked for makes no sense.
    Usage,
    /// The network or the peer.
    Network,
    /// This machine: a port in use, no privilege, no such socket.
    Local,
    /// The peer is not who it should be.
    Untrusted,
}

/// Why a socket is not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option means something else.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// An option is not to be had.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The host has no address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Connecting needs to know where to.
    #[error("{0} says not where to connect to: a host and a port other than 0 are needed")]
    Nowhere(String),
    /// Nobody can wait there.
    #[error("{kind} sockets cannot wait for peers")]
    NotForListening {
        /// What was to wait.
        kind: Kind,
    },
    /// The kernel has no such socket.
    #[error("this kernel has no {what}")]
    NoSuchSocket {
        /// In the words of socket(2).
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// This user may not have such a socket.
    #[error("not allowed to open a {what} socket")]
    Denied {
        /// Which.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Nothing can wait at an address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Nothing can wait under a name.
    #[error("cannot bind {address}")]
    Bind {
        /// The name.
        address: Address,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// None of the peer's addresses answers.
    #[error("cannot connect to {endpoint}: {}", eyeballs::told(.attempts))]
    Connect {
        /// What was to be reached.
        endpoint: String,
        /// Each address that was tried, and what came of it.
        attempts: Vec<(Address, io::Error)>,
    },
    /// Nothing answered in time.
    #[error("no answer from {endpoint} within {}", humantime::format_duration(*.after))]
    Timeout {
        /// What was to be reached.
        endpoint: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Anything else.
    #[error("cannot open {endpoint}")]
    Other {
        /// What was to be opened.
        endpoint: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Option(_) | Self::Nowhere(_) | Self::NotForListening { .. } => Fault::Usage,
            Self::Resolve(_) | Self::Connect { .. } | Self::Timeout { .. } => Fault::Network,
            Self::Tls(TlsError::Handshake(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Fault::Untrusted
            }
            Self::Tls(TlsError::Handshake(_) | TlsError::Timeout) => Fault::Network,
            Self::Tls(TlsError::HalfAnIdentity) => Fault::Usage,
            _ => Fault::Local,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Apply(error) => Some(error.advice()),
            Self::Resolve(error) => Some(error.advice()),
            Self::Listen(error) => Some(error.advice()),
            Self::Tls(error) => error.advice(),
            Self::Denied { what: "ping", .. } => Some(
                "let this group ping: sysctl net.ipv4.ping_group_range=\"0 2147483647\", or run it as root"
                    .into(),
            ),
            Self::Denied { .. } => Some("run it as root, or grant CAP_NET_RAW: setcap cap_net_raw+ep FILE".into()),
            Self::Connect { .. } => Some("see whether something listens there, and no firewall is between".into()),
            Self::Timeout { .. } => Some("see whether the machine is up, or wait longer: ?timeout=2m".into()),
            Self::NotForListening { kind: Kind::Icmp } => {
                Some("to see what arrives, use raw://HOST/icmp".into())
            }
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("see who has it with `ss -xlp`".into())
            }
            _ => None,
        }
    }
}

impl Connected {
    /// Every option of the socket: what was asked for, and what is in force.
    #[must_use]
    pub fn settings(&self, endpoint: &Endpoint) -> Vec<Setting> {
        let (kind, family) = (self.kind, self.family);
        let socket = self.io.socket();
        Subject {
            socket,
            kind,
            family,
        }
        .settings(&endpoint.options)
    }
}

impl Bound {
    /// Every option of the socket: what was asked for, and what is in force.
    #[must_use]
    pub fn settings(&self, endpoint: &Endpoint) -> Vec<Setting> {
        let (kind, family) = (self.kind, self.family);
        let socket = self.socket.socket();
        Subject {
            socket,
            kind,
            family,
        }
        .settings(&endpoint.options)
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
    endpoint.options.check(Role::Connect)?;
    let after = endpoint.options.timeout.unwrap_or(CONNECT_TIMEOUT);
    match tokio::time::timeout(after, connect_unhurried(endpoint)).await {
        Ok(result) => result,
        Err(_) => Err(OpenError::Timeout {
            endpoint: endpoint.to_string(),
            after,
        }),
    }
}

async fn connect_unhurried(endpoint: &Endpoint) -> Result<Connected, OpenError> {
    let kind = endpoint.kind;
    let tls = match &endpoint.place {
        Place::Inet {
            host: Some(host), ..
        } if kind == Kind::Tls => Some(tls::Client::new(host, &endpoint.options)?),
        _ => None,
    };
    let addresses = peers(endpoint).await?;
    let (socket, family) = eyeballs::connect(endpoint, addresses).await?;
    let other = |source| other(endpoint, source);
    let local = socket.socket().local_name().map_err(other)?;
    let peer = socket.socket().peer_name().map_err(other)?;
    let io = match tls {
        None => Io::Plain(socket),
        Some(client) => Io::Tls(Box::new(client.handshake(socket).await?)),
    };
    Ok(Connected {
        io,
        kind,
        local,
        peer,
        family,
    })
}

/// Waits at the endpoint: at every address that its host has, at least at one.
///
/// # Errors
/// What kept it from being open, and whose fault that is.
pub async fn bind(endpoint: &Endpoint) -> Result<Vec<Bound>, OpenError> {
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
    let mut bound: Vec<Bound> = Vec::new();
    let mut failed = None;
    for mut address in places(endpoint).await? {
        // Several addresses and a port that the kernel chooses: the same one everywhere.
        if let (Address::Inet(address), Some(first)) = (&mut address, bound.first())
            && address.port() == 0
            && let Some(first) = first.local.inet()
        {
            address.set_port(first.port());
        }
        match bind_one(endpoint, &address, tls.clone()) {
            Ok(one) => bound.push(one),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

fn bind_one(
    endpoint: &Endpoint,
    address: &Address,
    tls: Option<tls::Server>,
) -> Result<Bound, OpenError> {
    let kind = endpoint.kind;
    let other = |source| other(endpoint, source);
    let (socket, family) = open(endpoint, address)?;
    prepare_to_bind(endpoint, &socket, address).map_err(other)?;
    let subject = Subject {
        socket: &socket,
        kind,
        family,
    };
    subject.apply(&endpoint.options)?;
    let file = match address {
        Address::Unix(name) => UnixFile::bind(&socket, name).map_err(|source| OpenError::Bind {
            address: address.clone(),
            source,
        })?,
        Address::Inet(inet) => {
            let failed = |source| ListenError::new(*inet, source);
            socket.bind(address).map_err(failed)?;
            None
        }
        Address::Other(_) => None,
    };
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
        tls,
        family,
        _file: file,
    })
}

/// Defaults that are not the kernel's.
fn prepare_to_bind(endpoint: &Endpoint, socket: &Socket, address: &Address) -> io::Result<()> {
    if endpoint.kind.is_tcp() && endpoint.options.reuseaddr.is_none() {
        // A port whose last connections are in TIME_WAIT can be had at once.
        socket.options().set_reuse_address(true)?;
    }
    if let Address::Inet(SocketAddr::V6(address)) = address
        && endpoint.options.v6only.is_none()
        && endpoint.kind != Kind::Raw
    {
        // Said either way: the default is a sysctl's. The wildcard takes IPv4 peers as well.
        let takes_ipv4 = address.ip().is_unspecified() || address.ip().to_ipv4_mapped().is_some();
        socket.options().set_only_v6(!takes_ipv4)?;
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
    let has_ipv6 = || Socket::new(Family::Ipv6, crate::socket::Type::Datagram, 0).is_ok();
    let ip: IpAddr = match kind != Kind::Raw && has_ipv6() {
        true => Ipv6Addr::UNSPECIFIED.into(),
        // A raw socket of IPv6 never sees IPv4.
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    Address::Inet(SocketAddr::new(ip, port))
}

async fn look_up(host: crate::host::Host, port: u16) -> Result<Vec<Address>, OpenError> {
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

/// A socket for `address`, with no name and no options yet.
pub(crate) fn open(endpoint: &Endpoint, address: &Address) -> Result<(Socket, Family), OpenError> {
    let family = match address {
        Address::Inet(SocketAddr::V4(_)) => Family::Ipv4,
        Address::Inet(SocketAddr::V6(_)) => Family::Ipv6,
        Address::Unix(_) => Family::Unix,
        Address::Other(_) => return Err(other(endpoint, io::ErrorKind::Unsupported.into())),
    };
    let kind = endpoint.kind;
    let protocol = match (&endpoint.place, kind, family) {
        (_, Kind::Icmp, Family::Ipv6) => 58,
        (_, Kind::Icmp, _) => 1,
        (Place::Inet { protocol, .. }, Kind::Raw, _) => u32::from(*protocol),
        _ => 0,
    };
    let socket = Socket::new(family, kind.socket_type(), protocol);
    let socket = socket.map_err(|source| refused(endpoint, family, source))?;
    Ok((socket, family))
}

fn refused(endpoint: &Endpoint, family: Family, source: io::Error) -> OpenError {
    const EPROTONOSUPPORT: i32 = 93;
    const ESOCKTNOSUPPORT: i32 = 94;
    const EAFNOSUPPORT: i32 = 97;
    let what = match endpoint.kind {
        Kind::Icmp => "ping",
        Kind::Raw => "raw",
        _ => endpoint.kind.scheme(),
    };
    match source.raw_os_error() {
        Some(EPROTONOSUPPORT | ESOCKTNOSUPPORT | EAFNOSUPPORT) => {
            let kind = endpoint.kind.socket_type();
            let what = format!("{} for {}", kind.constant(), family.constant());
            OpenError::NoSuchSocket { what, source }
        }
        _ if source.kind() == io::ErrorKind::PermissionDenied => OpenError::Denied { what, source },
        _ => other(endpoint, source),
    }
}

pub(crate) fn other(endpoint: &Endpoint, source: io::Error) -> OpenError {
    let endpoint = endpoint.to_string();
    OpenError::Other { endpoint, source }
}

/// A client of Unix datagrams needs a name, or nobody can answer it: the kernel makes one.
pub(crate) fn name_client(endpoint: &Endpoint, socket: &Socket) -> io::Result<()> {
    match &endpoint.options.bind {
        Some(address) => socket.bind(address),
        None if endpoint.kind == Kind::UnixGram => socket.bind(&Address::Unix(UnixName::Unnamed)),
        None => Ok(()),
    }
}
