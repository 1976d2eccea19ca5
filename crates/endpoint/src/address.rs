//! The name of a socket: where it is bound, or who its peer is.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use crate::percent::Encoded;

/// The longest name of a Unix socket, without the NUL at its end (unix(7), `sun_path`).
pub const MAX_UNIX_NAME: usize = 107;

/// Where a socket is bound, or who its peer is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IPv4 or IPv6. The port is 0 where the protocol has none (ICMP, raw IP).
    Inet(SocketAddr),
    /// A Unix socket.
    Unix(UnixName),
    /// Of a family that has no notation here, by its number (`AF_…`).
    Other(u16),
}

/// The name of a Unix socket (unix(7)).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnixName {
    /// A file, never empty and without NUL.
    Path(PathBuf),
    /// A name without a file, which Linux keeps apart. Shown with an `@`.
    Abstract(Vec<u8>),
    /// None: a client that did not bind.
    Unnamed,
}

/// Why a text is not the name of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnixNameError {
    /// Nothing where the name belongs.
    #[error("the name of a Unix socket is missing: a path, or @ and a name without a file")]
    Empty,
    /// Longer than the kernel can hold.
    #[error("the name has {0} bytes; a Unix socket's has at most {MAX_UNIX_NAME}")]
    TooLong(usize),
    /// A byte that ends names.
    #[error("the name holds a NUL, which no path can")]
    Nul,
}

impl UnixName {
    /// A path, or `@` and an abstract name.
    ///
    /// # Errors
    /// The bytes name nothing, or more than a socket's name can hold.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnixNameError> {
        let name = match bytes {
            [] | [b'@'] => return Err(UnixNameError::Empty),
            [b'@', name @ ..] => Self::Abstract(name.to_vec()),
            path if path.contains(&0) => return Err(UnixNameError::Nul),
            path => Self::Path(OsStr::from_bytes(path).into()),
        };
        match bytes.len() {
            0..=MAX_UNIX_NAME => Ok(name),
            length => Err(UnixNameError::TooLong(length)),
        }
    }

    /// The file, where it has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Abstract(_) | Self::Unnamed => None,
        }
    }
}

impl Address {
    /// IPv4 or IPv6, where it is.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) | Self::Other(_) => None,
        }
    }

    /// As system calls take it.
    pub(crate) fn to_any(&self) -> io::Result<SocketAddrAny> {
        Ok(match self {
            Self::Inet(address) => (*address).into(),
            Self::Unix(UnixName::Path(path)) => SocketAddrUnix::new(path)?.into(),
            Self::Unix(UnixName::Abstract(name)) => SocketAddrUnix::new_abstract_name(name)?.into(),
            Self::Unix(UnixName::Unnamed) => SocketAddrUnix::new_unnamed().into(),
            Self::Other(_) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// As system calls give it; `None` stands for a name that the kernel left empty.
    pub(crate) fn from_any(any: Option<SocketAddrAny>) -> Self {
        let Some(any) = any else {
            return Self::Unix(UnixName::Unnamed);
        };
        let family = any.address_family();
        if let Ok(address) = SocketAddr::try_from(any.clone()) {
            return Self::Inet(address);
        }
        match SocketAddrUnix::try_from(any) {
            Ok(unix) => Self::Unix(unix_name(&unix)),
            Err(_) => Self::Other(family.as_raw()),
        }
    }
}

fn unix_name(unix: &SocketAddrUnix) -> UnixName {
    if let Some(path) = unix.path_bytes() {
        // The kernel counts the NUL at the end, and gives no byte behind it.
        let end = path.iter().position(|&byte| byte == 0);
        return UnixName::Path(OsStr::from_bytes(&path[..end.unwrap_or(path.len())]).into());
    }
    match unix.abstract_name() {
        // The kernel writes no name at all and a name of no bytes in the same way.
        None | Some([]) => UnixName::Unnamed,
        Some(name) => UnixName::Abstract(name.to_vec()),
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

/// `IP:PORT`, the path or `@NAME` percent-encoded, or `unnamed`: safe for a terminal.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Dual-stack sockets see IPv4 peers as mapped addresses, which nobody types.
            Self::Inet(address) => {
                let ip = address.ip().to_canonical();
                match (ip.is_ipv4(), address.is_ipv6()) {
                    (true, true) => SocketAddr::new(ip, address.port()).fmt(f),
                    _ => address.fmt(f),
                }
            }
            Self::Unix(name) => name.fmt(f),
            Self::Other(family) => write!(f, "(address family {family})"),
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => Encoded(path.as_os_str().as_bytes()).fmt(f),
            Self::Abstract(name) => write!(f, "@{}", Encoded(name)),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_names_are_paths_or_abstract() {
        let path = UnixName::parse(b"/run/x y.sock").unwrap();
        assert_eq!(path.path(), Some(Path::new("/run/x y.sock")));
        assert_eq!(path.to_string(), "/run/x%20y.sock");
        let name = UnixName::parse(b"@chat\0room").unwrap();
        assert_eq!(name.to_string(), "@chat%00room");
        assert_eq!(UnixName::parse(b"@"), Err(UnixNameError::Empty));
        assert_eq!(UnixName::parse(b"a\0b"), Err(UnixNameError::Nul));
        let long = UnixName::parse(&[b'a'; MAX_UNIX_NAME + 1]);
        assert_eq!(long, Err(UnixNameError::TooLong(MAX_UNIX_NAME + 1)));
    }

    #[test]
    fn names_survive_the_kernel_s_form() {
        for address in [
            Address::Inet("192.0.2.1:9".parse().unwrap()),
            Address::Inet("[2001:db8::1]:9".parse().unwrap()),
            Address::Unix(UnixName::parse(b"/a/b").unwrap()),
            Address::Unix(UnixName::parse(b"@a\0b").unwrap()),
            Address::Unix(UnixName::Unnamed),
        ] {
            let any = address.to_any().unwrap();
            assert_eq!(Address::from_any(Some(any)), address);
        }
    }

    #[test]
    fn mapped_ipv4_peers_are_shown_as_ipv4() {
        let mapped = Address::Inet("[::ffff:192.0.2.1]:9".parse().unwrap());
        assert_eq!(mapped.to_string(), "192.0.2.1:9");
    }
}
