//! One call.

use std::net::SocketAddr;

use super::Kernel;
use crate::Timestamp;

/// A write or read call on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Just before it.
    pub time: Timestamp,
    /// From just before it to just after it, in nanoseconds.
    pub duration: u64,
    /// The number of the process (getpid(2)).
    pub process: u32,
    /// The number of the connection among those of the process, from 1: ports are used again.
    pub connection: u64,
    /// Which call it is.
    pub kind: Kind,
    /// Whose call it is, and with whom; `None` where the socket's addresses are not IP's.
    pub endpoints: Option<Endpoints>,
    /// Bytes that were written, or read, before it on this connection. They are counted at the socket: with TLS
    /// they are what TLS made of what was said.
    pub offset: u64,
    /// Bytes that it was asked to write, or had room for.
    pub asked: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// What the kernel knew of the connection just after it. `None` where it is not TCP, or could not be asked.
    pub kernel: Option<Kernel>,
}

/// Which call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes were handed to the kernel.
    Write,
    /// Bytes were taken from the kernel.
    Read,
}

/// The two ends of a connection, as the process that made the call sees them. IPv4 addresses that IPv6 sockets
/// have (`::ffff:192.0.2.7`) are IPv4 addresses here, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// This process's.
    pub local: SocketAddr,
    /// The other one.
    pub peer: SocketAddr,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// So many bytes were taken or given. A read of none is the end of a stream.
    Done(u64),
    /// The number of the error (errno(3)): 11 (EAGAIN) where the call would have had to wait.
    Failed(i32),
}

impl Call {
    /// Bytes that it moved.
    #[must_use]
    pub fn done(&self) -> u64 {
        match self.outcome {
            Outcome::Done(bytes) => bytes,
            Outcome::Failed(_) => 0,
        }
    }

    /// Where what it moved ends in the stream.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.done())
    }

    /// Just after it.
    #[must_use]
    pub fn ended(&self) -> Timestamp {
        let duration = i64::try_from(self.duration).unwrap_or(i64::MAX);
        Timestamp(self.time.0.saturating_add(duration))
    }
}

impl Endpoints {
    /// With addresses as they are on the wire.
    #[must_use]
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self {
            local: canonical(local),
            peer: canonical(peer),
        }
    }
}
