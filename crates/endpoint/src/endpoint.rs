//! The one notation for sockets that are spoken to.

use std::fmt;
use std::str::FromStr;

use crate::address::{UnixName, UnixNameError};
use crate::authority::{self, AuthorityError};
use crate::host::{Host, shortened};
use crate::options::{OptionError, Options};
use crate::percent;
use crate::socket::Type;

/// What stands before the colon, and what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `tcp://HOST:PORT`
    Tcp,
    /// `tls://HOST:PORT`: TLS 1.2 or 1.3 over TCP.
    Tls,
    /// `udp://HOST:PORT`
    Udp,
    /// `unix:NAME`: a Unix stream.
    Unix,
    /// `unixgram:NAME`: Unix datagrams.
    UnixGram,
    /// `seqpacket:NAME`: a Unix connection with message boundaries.
    SeqPacket,
    /// `icmp://HOST`: echo requests and their answers.
    Icmp,
    /// `raw://HOST/PROTOCOL`: packets of an IP protocol, by number or name.
    Raw,
    /// `rdm://HOST:PORT`: reliable datagrams, where the kernel has them.
    Rdm,
}

/// Every kind, as the notation writes it.
const SCHEMES: [(&str, Kind); 9] = [
    ("tcp", Kind::Tcp),
    ("tls", Kind::Tls),
    ("udp", Kind::Udp),
    ("unix", Kind::Unix),
    ("unixgram", Kind::UnixGram),
    ("seqpacket", Kind::SeqPacket),
    ("icmp", Kind::Icmp),
    ("raw", Kind::Raw),
    ("rdm", Kind::Rdm),
];

/// IP protocols that `raw://` knows by name (IANA's protocol numbers).
const PROTOCOLS: [(&str, u8); 6] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("icmpv6", 58),
    ("raw", 255),
];

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A machine. `None` is every address of this one, and only for waiting.
    Inet {
        /// The machine.
        host: Option<Host>,
        /// The port; 0 where the kind has none, or where the kernel shall choose one.
        port: u16,
        /// The IP protocol of a raw socket; else 0.
        protocol: u8,
    },
    /// A Unix socket of this machine.
    Unix(UnixName),
}

/// A socket to connect to, or to wait at: what it is, where, and with which options.
///
/// ```
/// use packhorse_endpoint::{Endpoint, Kind};
///
/// let there: Endpoint = "tcp://[::1]:9090?nodelay&sndbuf=1M".parse()?;
/// assert_eq!(there.kind, Kind::Tcp);
/// assert_eq!(there.options.sndbuf, Some(1 << 20));
/// assert_eq!(there.to_string(), "tcp://[::1]:9090?nodelay&sndbuf=1M");
/// # Ok::<(), packhorse_endpoint::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// What its socket is asked for.
    pub options: Options,
}

/// Why a text is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No kind before a colon.
    #[error(
        "{0:?} does not say what it is: write it as tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, …"
    )]
    NoKind(String),
    /// A kind that there is not.
    #[error("there is no kind {0:?}: there are {known}", known = kinds())]
    UnknownKind(String),
    /// A network's kind without its slashes.
    #[error("after {0}: come two slashes: {0}://HOST:PORT")]
    Slashes(&'static str),
    /// The host or the port is none.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The kind needs a port.
    #[error("a port is missing: {0}://HOST:PORT")]
    NoPort(&'static str),
    /// The kind has no ports.
    #[error("{0} has no ports")]
    Port(&'static str),
    /// A path where the kind has none.
    #[error("{0:?}: nothing follows the port but options after '?'")]
    Path(String),
    /// A raw socket without its protocol.
    #[error(
        "{0:?} is not an IP protocol: a number from 1 to 255, or {known}",
        known = protocols()
    )]
    Protocol(String),
    /// Not the name of a Unix socket.
    #[error(transparent)]
    Unix(#[from] UnixNameError),
    /// A `%` without two hexadecimal digits after it.
    #[error("{0:?} holds a '%' without two hexadecimal digits after it: a '%' itself is %25")]
    Escape(String),
    /// An option is not one, or not one of this kind's.
    #[error(transparent)]
    Option(#[from] OptionError),
}

fn kinds() -> String {
    SCHEMES.map(|(name, _)| name).join(", ")
}

fn protocols() -> String {
    PROTOCOLS.map(|(name, _)| name).join(", ")
}

impl Kind {
    /// As the notation writes it.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        let found = SCHEMES.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }

    /// Whether it is the name of a Unix socket that says where it is.
    #[must_use]
    pub fn is_unix(self) -> bool {
        matches!(self, Self::Unix | Self::UnixGram | Self::SeqPacket)
    }

    /// Whether it is TCP, alone or below TLS.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether two ends are connected, so that one can wait for the others.
    #[must_use]
    pub fn is_connected(self) -> bool {
        self.is_tcp() || matches!(self, Self::Unix | Self::SeqPacket)
    }

    /// The type of its socket.
    #[must_use]
    pub fn socket_type(self) -> Type {
        match self {
            Self::Tcp | Self::Tls | Self::Unix => Type::Stream,
            // A ping socket (icmp(7)). Where that is denied, it is a raw one.
            Self::Udp | Self::UnixGram | Self::Icmp => Type::Datagram,
            Self::SeqPacket => Type::SequencedPacket,
            Self::Raw => Type::Raw,
            Self::Rdm => Type::ReliableDatagram,
        }
    }

    /// Whether its addresses have ports.
    #[must_use]
    pub fn has_port(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::Udp | Self::Rdm)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| EndpointError::NoKind(shortened(text)))?;
        let named = |(name, _): &&(&str, Kind)| name.eq_ignore_ascii_case(scheme);
        let Some((_, kind)) = SCHEMES.iter().find(named) else {
            // `localhost:80` and `::1` lack a kind; `http://…` has one that there is not.
            let with_slashes = rest.starts_with("//");
            return Err(match with_slashes {
                true => EndpointError::UnknownKind(shortened(scheme)),
                false => EndpointError::NoKind(shortened(text)),
            });
        };
        let kind = *kind;
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        Ok(Self {
            kind,
            place: Place::parse(kind, place)?,
            options: query.map_or(Ok(Options::default()), |query| Options::parse(kind, query))?,
        })
    }
}

impl Place {
    fn parse(kind: Kind, text: &str) -> Result<Self, EndpointError> {
        if kind.is_unix() {
            let name =
                percent::decode(text).ok_or_else(|| EndpointError::Escape(shortened(text)))?;
            return Ok(Self::Unix(UnixName::parse(&name)?));
        }
        let scheme = kind.scheme();
        let rest = text
            .strip_prefix("//")
            .ok_or(EndpointError::Slashes(scheme))?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (host, port) = parse_host(authority)?;
        let protocol = match (kind, path) {
            (Kind::Raw, path) => parse_protocol(path.unwrap_or_default())?,
            (_, None | Some("")) => 0,
            (_, Some(path)) => return Err(EndpointError::Path(shortened(path))),
        };
        let port = match (kind.has_port(), port) {
            (true, Some(port)) => port,
            (true, None) => return Err(EndpointError::NoPort(scheme)),
            (false, Some(_)) => return Err(EndpointError::Port(scheme)),
            (false, None) => 0,
        };
        Ok(Self::Inet {
            host,
            port,
            protocol,
        })
    }
}

/// No host at all is every address of this machine.
fn parse_host(authority: &str) -> Result<(Option<Host>, Option<u16>), EndpointError> {
    if authority.is_empty() {
        return Ok((None, None));
    }
    if let Some(port) = authority.strip_prefix(':')
        && !port.contains(':')
    {
        return Ok((None, Some(authority::parse_port(port)?)));
    }
    let (host, port) = authority::parse_in_uri(authority)?;
    Ok((Some(host), port))
}

fn parse_protocol(text: &str) -> Result<u8, EndpointError> {
    let named = PROTOCOLS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    let number = match named {
        Some((_, number)) => Some(*number),
        None => text.parse().ok().filter(|&number| number > 0),
    };
    number.ok_or_else(|| EndpointError::Protocol(shortened(text)))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind)?;
        match &self.place {
            Place::Unix(name) => name.fmt(f)?,
            Place::Inet {
                host,
                port,
                protocol,
            } => {
                f.write_str("//")?;
                match host {
                    Some(host) if host.is_ipv6() => write!(f, "[{host}]")?,
                    Some(host) => host.fmt(f)?,
                    None => {}
                }
                if self.kind.has_port() {
                    write!(f, ":{port}")?;
                }
                if self.kind == Kind::Raw {
                    write!(f, "/{protocol}")?;
                }
            }
        }
        self.options.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        text.parse()
    }

    #[test]
    fn reads_every_kind_and_shows_it_again() {
        for (text, shown) in [
            ("tcp://127.0.0.1:9090", "tcp://127.0.0.1:9090"),
            ("TCP://localhost:80/", "tcp://localhost:80"),
            ("tcp://:0", "tcp://:0"),
            ("tcp://[::1]:80?nodelay", "tcp://[::1]:80?nodelay"),
            ("tcp://[fe80::1%25eth0]:80", "tcp://[fe80::1%eth0]:80"),
            ("tcp://[fe80::1%eth0]:80", "tcp://[fe80::1%eth0]:80"),
            ("udp://0.0.0.0:8081", "udp://0.0.0.0:8081"),
            ("tls://example.org:443", "tls://example.org:443"),
            ("unix:/run/a b%3f.sock", "unix:/run/a%20b%3F.sock"),
            ("unix:@room", "unix:@room"),
            ("unixgram:/run/x", "unixgram:/run/x"),
            ("seqpacket:./x?sndbuf=4K", "seqpacket:./x?sndbuf=4K"),
            ("icmp://::1", "icmp://[::1]"),
            ("raw://127.0.0.1/icmp", "raw://127.0.0.1/1"),
            ("raw://127.0.0.1/253?hdrincl", "raw://127.0.0.1/253?hdrincl"),
            ("rdm://localhost:9", "rdm://localhost:9"),
        ] {
            let endpoint = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(parse(shown), Ok(endpoint), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, said) in [
            ("", "does not say what it is"),
            ("localhost:80", "does not say what it is"),
            ("::1", "does not say what it is"),
            ("http://x", "there is no kind \"http\": there are tcp, tls"),
            ("tcp:x:80", "two slashes"),
            ("tcp://x", "a port is missing"),
            ("tcp://x:y", "is not a port"),
            ("tcp://x:70000", "is not a port"),
            ("tcp://x:80/y", "nothing follows the port"),
            ("tcp://a b:80", "cannot be part of a host name"),
            ("tcp://[::1:80", "[ADDRESS]:PORT"),
            ("icmp://x:80", "icmp has no ports"),
            ("raw://x", "is not an IP protocol"),
            ("raw://x/0", "is not an IP protocol"),
            ("raw://x/256", "is not an IP protocol"),
            ("unix:", "name of a Unix socket is missing"),
            ("unix:@", "name of a Unix socket is missing"),
            ("unix:a%00b", "holds a NUL"),
            ("unix:a%0", "two hexadecimal digits"),
            ("tcp://x:1?nodaley", "there is no option 'nodaley'"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let long = format!("unix:/{}", "x".repeat(200));
        assert!(matches!(
            parse(&long),
            Err(EndpointError::Unix(UnixNameError::TooLong(201)))
        ));
    }

    proptest! {
        #[test]
        fn never_panics_and_shows_what_reads_back(
            text in "(tcp|udp|unix|raw|icmp|seqpacket|x)?:?(//)?[a-z0-9:%/.@\\[\\]?&=]{0,30}|\\PC{0,20}"
        ) {
            if let Ok(endpoint) = parse(&text) {
                prop_assert_eq!(parse(&endpoint.to_string()), Ok(endpoint));
            }
        }
    }
}
