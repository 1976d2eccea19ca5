//! What an endpoint's notation asks of its socket: `?nodelay&sndbuf=1M`.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::endpoint::Kind;
use crate::host::shortened;
use crate::option_value::Given;
use crate::percent::Encoded;
use crate::pin::Pin;

/// What a socket is used for. Some options mean something on one side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// To reach a peer.
    Connect,
    /// To wait for peers.
    Listen,
}

/// What a socket is asked for. `None`: nothing is said, and the system's default stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Send small segments at once (TCP_NODELAY): no waiting for the acknowledgement of the last.
    pub nodelay: Option<bool>,
    /// Bytes of the send buffer (SO_SNDBUF). Linux doubles it, for what it keeps beside the data.
    pub sndbuf: Option<u32>,
    /// Bytes of the receive buffer (SO_RCVBUF).
    pub rcvbuf: Option<u32>,
    /// Bind an address whose last connections are in TIME_WAIT (SO_REUSEADDR). On for listening TCP
    /// unless it is switched off.
    pub reuseaddr: Option<bool>,
    /// Share the address with other sockets that say so as well (SO_REUSEPORT).
    pub reuseport: Option<bool>,
    /// Connections that the kernel completes before they are accepted.
    pub backlog: Option<u32>,
    /// Hops that a packet may take (IP_TTL, IPV6_UNICAST_HOPS).
    pub ttl: Option<u8>,
    /// Type of service, or traffic class (IP_TOS, IPV6_TCLASS).
    pub tos: Option<u8>,
    /// Firewall mark (SO_MARK); needs CAP_NET_ADMIN or CAP_NET_RAW.
    pub mark: Option<u32>,
    /// Address of one's own, when connecting.
    pub bind: Option<Address>,
    /// Congestion control by its name in the kernel (TCP_CONGESTION).
    pub congestion: Option<String>,
    /// Silence after which the kernel asks whether the peer is still there (TCP_KEEPIDLE), in whole
    /// seconds.
    pub keepalive: Option<Duration>,
    /// How long connecting may take, all addresses and a TLS handshake together.
    pub timeout: Option<Duration>,
    /// Do not take IPv4 peers on an IPv6 wildcard (IPV6_V6ONLY).
    pub v6only: Option<bool>,
    /// The IP header is part of what is sent (IP_HDRINCL).
    pub hdrincl: Option<bool>,
    /// Certificates of the authorities that count instead of the system's, as a PEM file.
    pub ca: Option<PathBuf>,
    /// The hash of the one public key that counts.
    pub pin: Option<Pin>,
    /// A server's certificate chain, as a PEM file.
    pub cert: Option<PathBuf>,
    /// The private key of the certificate, as a PEM file.
    pub key: Option<PathBuf>,
}

/// An option by name; the order is that of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the fields of `Options` tell what each is")]
pub enum OptionName {
    NoDelay,
    SndBuf,
    RcvBuf,
    ReuseAddr,
    ReusePort,
    Backlog,
    Ttl,
    Tos,
    Mark,
    Bind,
    Congestion,
    KeepAlive,
    Timeout,
    V6Only,
    HdrIncl,
    Ca,
    Pin,
    Cert,
    Key,
}

use OptionName as Name;

const NAMES: [(&str, Name); 19] = [
    ("nodelay", Name::NoDelay),
    ("sndbuf", Name::SndBuf),
    ("rcvbuf", Name::RcvBuf),
    ("reuseaddr", Name::ReuseAddr),
    ("reuseport", Name::ReusePort),
    ("backlog", Name::Backlog),
    ("ttl", Name::Ttl),
    ("tos", Name::Tos),
    ("mark", Name::Mark),
    ("bind", Name::Bind),
    ("congestion", Name::Congestion),
    ("keepalive", Name::KeepAlive),
    ("timeout", Name::Timeout),
    ("v6only", Name::V6Only),
    ("hdrincl", Name::HdrIncl),
    ("ca", Name::Ca),
    ("pin", Name::Pin),
    ("cert", Name::Cert),
    ("key", Name::Key),
];

/// Why an option cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No option has this name.
    #[error("there is no option '{0}': there are {known}", known = names())]
    Unknown(String),
    /// Named more than once.
    #[error("the option '{0}' stands twice")]
    Twice(Name),
    /// The kind of socket has no such thing, or the kernel would take it and do nothing.
    #[error("'{option}' does nothing for {kind}: {why}")]
    NotForKind {
        /// The option.
        option: Name,
        /// The kind of socket.
        kind: Kind,
        /// What is the case instead.
        why: &'static str,
    },
    /// It means nothing beside the second option.
    #[error("'{0}' does nothing beside '{1}': leave one of them out")]
    Useless(Name, Name),
    /// It means something on the other side only.
    #[error("'{0}' is for {side} only", side = match .1 {
        Role::Connect => "connecting",
        Role::Listen => "waiting for peers",
    })]
    NotForRole(Name, Role),
    /// What stands behind the `=` is not what the option takes.
    #[error("'{option}' takes {expected}, not {given:?}")]
    Value {
        /// The option.
        option: Name,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        given: String,
    },
}

fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

impl Name {
    /// As the notation writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = NAMES.iter().find(|(_, name)| *name == self);
        found.map_or("", |(text, _)| text)
    }

    /// Why the option has no effect on sockets of `kind`, where that is so.
    pub(crate) fn useless_for(self, kind: Kind) -> Option<&'static str> {
        let only_tcp = (!kind.is_tcp()).then_some("only TCP has it");
        let only_inet = kind.is_unix().then_some("Unix sockets send no packets");
        match self {
            Self::NoDelay | Self::Congestion | Self::KeepAlive => only_tcp,
            Self::Ttl | Self::Tos | Self::Mark | Self::V6Only => only_inet,
            Self::RcvBuf => kind.is_unix().then_some(
                "the kernel takes it and ignores it; on Unix sockets the sender's sndbuf counts (unix(7))",
            ),
            Self::ReuseAddr | Self::ReusePort => match kind {
                Kind::Unix | Kind::UnixGram | Kind::SeqPacket => {
                    Some("a Unix socket's name has one owner")
                }
                Kind::Raw | Kind::Icmp => Some("it has no ports, and any number of sockets an address"),
                _ => None,
            },
            Self::Backlog => (!kind.is_connected()).then_some("it has no connections"),
            Self::HdrIncl => (kind != Kind::Raw).then_some("only raw sockets have it"),
            Self::Ca | Self::Pin | Self::Cert | Self::Key => {
                (kind != Kind::Tls).then_some("only tls:// has certificates")
            }
            Self::SndBuf | Self::Bind | Self::Timeout => None,
        }
    }

    /// Every option, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(_, name)| *name)
    }

    /// The one side on which it means something.
    fn side(self) -> Option<Role> {
        match self {
            Self::Bind | Self::Timeout | Self::Ca | Self::Pin => Some(Role::Connect),
            Self::Backlog | Self::V6Only | Self::Cert | Self::Key => Some(Role::Listen),
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Options {
    /// What stands behind the `?`.
    pub(crate) fn parse(kind: Kind, query: &str) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (part, None),
            };
            let named = NAMES.iter().find(|(known, _)| *known == name);
            let Some(&(_, name)) = named else {
                return Err(OptionError::Unknown(shortened(name)));
            };
            if options.value(name).is_some() {
                return Err(OptionError::Twice(name));
            }
            if let Some(why) = name.useless_for(kind) {
                let option = name;
                return Err(OptionError::NotForKind { option, kind, why });
            }
            options.set(&Given { name, kind, value })?;
        }
        options.check_together()?;
        Ok(options)
    }

    /// Refuses options of which one makes the other do nothing.
    fn check_together(&self) -> Result<(), OptionError> {
        if self.pin.is_some() && self.ca.is_some() {
            return Err(OptionError::Useless(Name::Ca, Name::Pin));
        }
        if self.hdrincl != Some(true) {
            return Ok(());
        }
        // The kernel leaves these fields of a header that it is given as they are (raw(7)).
        let useless = [Name::Ttl, Name::Tos];
        let useless = useless.into_iter().find(|&name| self.value(name).is_some());
        useless.map_or(Ok(()), |name| {
            Err(OptionError::Useless(name, Name::HdrIncl))
        })
    }

    /// Refuses what means something on the other side only.
    ///
    /// # Errors
    /// [`OptionError::NotForRole`], naming the first such option.
    pub fn check(&self, role: Role) -> Result<(), OptionError> {
        let wrong = self.given().find_map(|(name, _)| {
            name.side()
                .filter(|side| *side != role)
                .map(|side| (name, side))
        });
        wrong.map_or(Ok(()), |(name, side)| {
            Err(OptionError::NotForRole(name, side))
        })
    }

    /// The options that are asked for, and their values as the notation writes them.
    pub fn given(&self) -> impl Iterator<Item = (OptionName, String)> {
        NAMES
            .iter()
            .filter_map(|&(_, name)| Some((name, self.value(name)?)))
    }

    fn set(&mut self, given: &Given<'_>) -> Result<(), OptionError> {
        match given.name {
            Name::NoDelay => self.nodelay = Some(given.switch()?),
            Name::SndBuf => self.sndbuf = Some(given.size()?),
            Name::RcvBuf => self.rcvbuf = Some(given.size()?),
            Name::ReuseAddr => self.reuseaddr = Some(given.switch()?),
            Name::ReusePort => self.reuseport = Some(given.switch()?),
            Name::Backlog => self.backlog = Some(given.number("a number of connections")?),
            Name::Ttl => self.ttl = Some(given.hops()?),
            Name::Tos => self.tos = Some(given.number("a number from 0 to 255")?),
            Name::Mark => self.mark = Some(given.number("a number")?),
            Name::Bind => self.bind = Some(given.address()?),
            Name::Congestion => self.congestion = Some(given.congestion()?),
            Name::KeepAlive => self.keepalive = Some(given.whole_seconds()?),
            Name::Timeout => self.timeout = Some(given.duration()?),
            Name::V6Only => self.v6only = Some(given.switch()?),
            Name::HdrIncl => self.hdrincl = Some(given.switch()?),
            Name::Ca => self.ca = Some(given.path()?),
            Name::Pin => self.pin = Some(given.pin()?),
            Name::Cert => self.cert = Some(given.path()?),
            Name::Key => self.key = Some(given.path()?),
        }
        Ok(())
    }

    pub(crate) fn value(&self, name: Name) -> Option<String> {
        let switch = |value: Option<bool>| value.map(|on| if on { "on" } else { "off" }.to_owned());
        let path = |path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            Some(Encoded(path.as_os_str().as_bytes()).to_string())
        };
        let time = |time: Option<Duration>| {
            time.map(|time| {
                humantime::format_duration(time)
                    .to_string()
                    .replace(' ', "")
            })
        };
        match name {
            Name::NoDelay => switch(self.nodelay),
            Name::SndBuf => self.sndbuf.map(show_size),
            Name::RcvBuf => self.rcvbuf.map(show_size),
            Name::ReuseAddr => switch(self.reuseaddr),
            Name::ReusePort => switch(self.reuseport),
            Name::Backlog => self.backlog.map(|number| number.to_string()),
            Name::Ttl => self.ttl.map(|number| number.to_string()),
            Name::Tos => self.tos.map(|number| number.to_string()),
            Name::Mark => self.mark.map(|number| number.to_string()),
            Name::Bind => self.bind.as_ref().map(show_bind),
            Name::Congestion => self.congestion.clone(),
            Name::KeepAlive => time(self.keepalive),
            Name::Timeout => time(self.timeout),
            Name::V6Only => switch(self.v6only),
            Name::HdrIncl => switch(self.hdrincl),
            Name::Ca => path(&self.ca),
            Name::Pin => self.pin.as_ref().map(ToString::to_string),
            Name::Cert => path(&self.cert),
            Name::Key => path(&self.key),
        }
    }
}

/// `?NAME&NAME=VALUE`, or nothing. A switch that is on is its name alone.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mark = '?';
        for (name, value) in self.given() {
            write!(f, "{mark}{name}")?;
            if value != "on" {
                write!(f, "={value}")?;
            }
            mark = '&';
        }
        Ok(())
    }
}

fn show_size(size: u32) -> String {
    match size {
        size if size.is_multiple_of(1 << 30) => format!("{}G", size >> 30),
        size if size.is_multiple_of(1 << 20) => format!("{}M", size >> 20),
        size if size.is_multiple_of(1 << 10) => format!("{}K", size >> 10),
        size => size.to_string(),
    }
}

fn show_bind(address: &Address) -> String {
    match address {
        Address::Inet(address) if address.port() == 0 && address.is_ipv4() => {
            address.ip().to_string()
        }
        Address::Inet(address) => address.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, query: &str) -> Result<Options, OptionError> {
        Options::parse(kind, query)
    }

    #[test]
    fn reads_every_option_and_shows_it_again() {
        let query = "nodelay&sndbuf=1M&rcvbuf=1000&reuseaddr=off&reuseport&backlog=128&ttl=5&tos=16\
                     &mark=7&bind=192.0.2.1&congestion=bbr&keepalive=30s&timeout=5s&v6only";
        let options = parse(Kind::Tcp, query).unwrap();
        assert_eq!(options.reuseaddr, Some(false));
        assert_eq!(options.rcvbuf, Some(1000));
        assert_eq!(options.keepalive, Some(Duration::from_secs(30)));
        assert_eq!(options.to_string(), format!("?{query}"));
        let pin = "pin=sha256:".to_owned() + &"0f".repeat(32);
        for query in [&pin, "ca=/etc/x%20y.pem", "cert=a&key=b"] {
            assert_eq!(
                parse(Kind::Tls, query).unwrap().to_string(),
                format!("?{query}")
            );
        }
        let bound = parse(Kind::SeqPacket, "bind=@me").unwrap().bind;
        assert_eq!(
            bound,
            Some(Address::Unix(crate::UnixName::Abstract(b"me".into())))
        );
    }

    #[test]
    fn unknown_repeated_and_useless_options_are_refused() {
        for (kind, query, said) in [
            (Kind::Tcp, "x", "there is no option 'x': there are nodelay"),
            (Kind::Tcp, "NODELAY", "there is no option"),
            (Kind::Tcp, "ttl=1&ttl=2", "stands twice"),
            (Kind::Udp, "nodelay", "only TCP has it"),
            (Kind::Unix, "rcvbuf=1M", "ignores it"),
            (Kind::Unix, "reuseaddr", "has one owner"),
            (Kind::Unix, "ttl=3", "send no packets"),
            (Kind::Udp, "backlog=3", "no connections"),
            (Kind::Tcp, "hdrincl", "only raw sockets"),
            (Kind::Tcp, "pin=x", "only tls://"),
        ] {
            let error = parse(kind, query).unwrap_err().to_string();
            assert!(error.contains(said), "{query}: {error}");
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for query in [
            "nodelay=1",
            "sndbuf",
            "sndbuf=",
            "sndbuf=0",
            "sndbuf=2G",
            "sndbuf=-1",
            "sndbuf=1T",
            "sndbuf=99999999999999999999G",
            "backlog=x",
            "backlog=+1",
            "ttl=0",
            "ttl=256",
            "tos=256",
            "mark=4294967296",
            "bind=nas",
            "bind=",
            "congestion=",
            "congestion=a/b",
            "congestion=sixteen-letters-",
            "keepalive=0s",
            "keepalive=1500ms",
            "keepalive=9h10m",
            "timeout=5",
            "timeout=0s",
            "timeout=2y",
        ] {
            let error = parse(Kind::Tcp, query).unwrap_err();
            assert!(
                matches!(error, OptionError::Value { .. }),
                "{query}: {error}"
            );
        }
    }

    #[test]
    fn options_of_which_one_does_nothing_exclude_each_other() {
        let pin = format!("pin=sha256:{}", "0".repeat(64));
        let both = parse(Kind::Tls, &format!("{pin}&ca=/x")).unwrap_err();
        assert_eq!(both, OptionError::Useless(Name::Ca, Name::Pin));
        let both = parse(Kind::Raw, "tos=1&hdrincl").unwrap_err();
        assert_eq!(both, OptionError::Useless(Name::Tos, Name::HdrIncl));
        assert!(parse(Kind::Raw, "tos=1&hdrincl=off").is_ok());
        assert!(parse(Kind::Icmp, "bind=127.0.0.1:80").is_err());
    }

    #[test]
    fn sides_are_kept_apart() {
        let connecting = parse(Kind::Tcp, "bind=::1&timeout=1s").unwrap();
        assert_eq!(connecting.check(Role::Connect), Ok(()));
        let error = connecting.check(Role::Listen).unwrap_err();
        assert_eq!(error.to_string(), "'bind' is for connecting only");
        let waiting = parse(Kind::Tcp, "backlog=1").unwrap();
        let error = waiting.check(Role::Connect).unwrap_err();
        assert_eq!(error.to_string(), "'backlog' is for waiting for peers only");
    }
}
