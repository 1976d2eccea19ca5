//! Making the sockets that an endpoint asks for, before they are bound or connected.

use std::io;
use std::net::SocketAddr;

use crate::address::{Address, UnixName};
use crate::endpoint::{Endpoint, Kind, Place};
use crate::open_error::OpenError;
use crate::socket::{Family, Socket, Type};
use crate::unix_file::UnixFile;

/// A socket for `address`, with no name and no options yet.
pub(crate) fn socket_for(
    endpoint: &Endpoint,
    address: &Address,
) -> Result<(Socket, Family), OpenError> {
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
    let socket = match Socket::new(family, kind.socket_type(), protocol) {
        // Ping sockets are for the groups in net.ipv4.ping_group_range; raw ones for CAP_NET_RAW. Who may
        // have neither hears of the former, which is less to ask for.
        Err(denied) if kind == Kind::Icmp && denied.kind() == io::ErrorKind::PermissionDenied => {
            Socket::new(family, Type::Raw, protocol).map_err(|_| denied)
        }
        result => result,
    };
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
pub(crate) fn name_client(endpoint: &Endpoint, socket: &mut Socket) -> io::Result<()> {
    match &endpoint.options.bind {
        Some(Address::Unix(name)) => UnixFile::bind(socket, name),
        Some(address) => socket.bind(address),
        None if endpoint.kind == Kind::UnixGram => socket.bind(&Address::Unix(UnixName::Unnamed)),
        None => Ok(()),
    }
}
