//! Why a socket is not open, and whose fault that is.

use std::io;
use std::time::Duration;

use crate::address::Address;
use crate::apply::ApplyError;
use crate::endpoint::Kind;
use crate::listen::ListenError;
use crate::options::OptionError;
use crate::resolve::ResolveError;
use crate::tls::TlsError;

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
    #[error("cannot connect to {endpoint}: {}", told(.attempts))]
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

/// Connection attempts that failed, in one line.
fn told(attempts: &[(Address, io::Error)]) -> String {
    let told: Vec<String> = attempts
        .iter()
        .map(|(address, error)| match attempts {
            [_] => error.to_string(),
            _ => format!("{address}: {error}"),
        })
        .collect();
    told.join("; ")
}

impl OpenError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Option(_) | Self::Nowhere(_) | Self::NotForListening { .. } => Fault::Usage,
            Self::Resolve(_) | Self::Connect { .. } | Self::Timeout { .. } => Fault::Network,
            Self::Tls(TlsError::Untrusted(_) | TlsError::WrongPin(_)) => Fault::Untrusted,
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
