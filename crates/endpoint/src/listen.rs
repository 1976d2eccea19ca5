//! Waiting for peers.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use crate::address::Address;
use crate::destination::DEFAULT_PORT;
use crate::socket::{Blocking, Family, Socket, Type};

/// Connections the kernel completes before they are accepted. Few: the receivers that wait here bound
/// how many strangers they talk to.
const BACKLOG: u32 = 128;

/// Why nothing listens at an address.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program listens there.
    #[error("port {} is in use at {}", .0.port(), .0.ip())]
    PortInUse(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{} is not an address of this machine", .0.ip())]
    AddressNotAvailable(SocketAddr),
    /// The system does not let this user listen there.
    #[error("not allowed to listen on {0}")]
    Denied(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ListenError {
    pub(crate) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse(address),
            io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable(address),
            io::ErrorKind::PermissionDenied => Self::Denied(address),
            _ => Self::Other { address, source },
        }
    }

    /// What to do next.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::PortInUse(address) => format!(
                "see who has it with `ss -ltnp 'sport = :{}'`, or choose another port (0 takes any free one)",
                address.port()
            ),
            Self::AddressNotAvailable(_) => {
                "see this machine's addresses with `ip -brief address`, or leave the address out"
                    .into()
            }
            Self::Denied(address) if (1..1024).contains(&address.port()) => {
                "ports below 1024 are for privileged users: choose a higher one".into()
            }
            Self::Denied(_) => "choose another port, or ask who runs this machine".into(),
            Self::Other { .. } => "choose another address or port".into(),
        }
    }
}

/// Listens at `address`, or where it is `None` at every address of this machine, IPv6 and IPv4, at
/// [`DEFAULT_PORT`].
///
/// The wildcard `[::]` takes IPv4 peers as well, and becomes `0.0.0.0` where IPv6 is missing. The listener is non-blocking. Port 0 lets the kernel
/// choose: the listener's `local_addr` tells.
///
/// # Errors
/// What keeps the system from listening there, by what the caller can do about it.
pub fn listen(address: Option<SocketAddr>) -> Result<TcpListener, ListenError> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT));
    let address = address.unwrap_or(everywhere);
    match bind(address) {
        Err(error) if address.ip() == everywhere.ip() && lacks_ipv6(&error) => {
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            bind(ipv4).map_err(|error| ListenError::new(ipv4, error))
        }
        result => result.map_err(|error| ListenError::new(address, error)),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => Family::Ipv4,
        SocketAddr::V6(_) => Family::Ipv6,
    };
    let socket = Socket::new(family, Type::Stream, 0)?;
    take_families(&socket, address)?;
    reuse_address(&socket)?;
    socket.bind(&Address::Inet(address))?;
    socket.listen(BACKLOG)?;
    socket.set_blocking(Blocking::No)?;
    Ok(OwnedFd::from(socket).into())
}

/// Says which peers come to `address`: to the wildcard of IPv6 those of IPv4 as well. It is said either
/// way, for the default is a sysctl's.
pub(crate) fn take_families(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let SocketAddr::V6(address) = address else {
        return Ok(());
    };
    let takes_ipv4 = address.ip().is_unspecified() || address.ip().to_ipv4_mapped().is_some();
    socket.options().set_only_v6(!takes_ipv4)
}

/// A port whose last connections are in TIME_WAIT can be had at once.
pub(crate) fn reuse_address(socket: &Socket) -> io::Result<()> {
    socket.options().set_reuse_address(true)
}

/// No IPv6 in the kernel, or none on any interface (`disable_ipv6`).
fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable
    ) || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// "Address family not supported by protocol" (errno(3)), which `io::ErrorKind` has no name for.
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    #[test]
    fn port_0_is_a_free_port_and_the_listener_does_not_block() {
        let listener = listen(Some(loopback(0))).unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), 0);
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_ipv6_wildcard_takes_ipv4_peers() {
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let Ok(listener) = listen(Some(everywhere)) else {
            return; // a machine without IPv6
        };
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect(loopback(port)).is_ok());
    }

    #[test]
    fn a_port_in_use_is_named() {
        let first = listen(Some(loopback(0))).unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(Some(address)).unwrap_err();
        assert!(matches!(error, ListenError::PortInUse(a) if a == address));
        assert!(error.advice().contains(&address.port().to_string()));
    }

    #[test]
    fn an_address_of_another_machine_is_told_apart() {
        let elsewhere: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let error = listen(Some(elsewhere)).unwrap_err();
        assert!(matches!(error, ListenError::AddressNotAvailable(_)));
        assert_eq!(
            error.to_string(),
            "192.0.2.1 is not an address of this machine"
        );
    }
}
