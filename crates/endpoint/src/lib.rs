//! Where a peer is, and the sockets to reach it or wait for it.

mod address;
mod apply;
mod async_socket;
mod authority;
mod calls;
mod descriptors;
mod destination;
mod echo;
mod endpoint;
mod eyeballs;
mod host;
mod interfaces;
mod listen;
mod make;
mod observed;
mod open;
mod open_error;
mod option_value;
mod options;
mod packet;
mod percent;
mod pin;
mod resolve;
mod socket;
mod tcp_info;
mod tls;
mod tune;
mod unix_file;

pub use address::{Address, MAX_UNIX_NAME, UnixName, UnixNameError};
pub use apply::{ApplyError, BACKLOG, Setting, Verdict};
pub use async_socket::{AsyncSocket, Readable};
pub use authority::AuthorityError;
pub use calls::{Call, CallKind, CallObserver, Calls};
pub use descriptors::raise_descriptor_limit;
pub use destination::{DEFAULT_PORT, Destination, DestinationError};
pub use echo::Echo;
pub use endpoint::{Endpoint, EndpointError, Kind, Place};
pub use eyeballs::CONNECT_TIMEOUT;
pub use host::{Host, HostError};
pub use interfaces::local_addresses;
pub use listen::{ListenError, listen};
pub use observed::Observed;
pub use open::{
    Bound, Connected, Io, bind, bind_anyway, connect, connect_anyway, connect_observed,
};
pub use open_error::{Fault, OpenError};
pub use option_value::parse_size;
pub use options::{OptionError, OptionName, Options, Role};
pub use packet::Packet;
pub use pin::{Pin, PinError};
pub use resolve::{ResolveError, resolve};
pub use socket::{Blocking, Direction, Family, Received, RecvFlags, SendFlags, Socket, Type};
pub use tcp_info::{TcpInfo, TcpInfoError, TcpInfoReader, TcpState};
pub use tls::{Server as TlsServer, Tls, TlsError};
pub use tune::{KEEPALIVE, largest_send_buffer, minds_loss, send_soon, tune};

/// The examples of docs/from-python.md compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-python.md")]
mod from_python {}
