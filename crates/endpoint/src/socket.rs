//! A socket of any family and type, with the calls that Python's socket object has.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SendAncillaryBuffer, SocketFlags, SocketType};
pub use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;

use crate::address::Address;
use crate::calls::{CallObserver, Calls};
use crate::unix_file::UnixFile;

/// A family of addresses: what Python calls `AF_…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`
    Ipv6,
    /// `AF_UNIX`
    Unix,
}

impl Family {
    /// As C and Python call it.
    #[must_use]
    pub fn constant(self) -> &'static str {
        match self {
            Self::Ipv4 => "AF_INET",
            Self::Ipv6 => "AF_INET6",
            Self::Unix => "AF_UNIX",
        }
    }
}

/// A type of socket: what Python calls `SOCK_…` (socket(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// A byte stream: connected, in order, nothing lost.
    Stream,
    /// Datagrams, each whole or not at all.
    Datagram,
    /// Packets of a protocol below the transport, ICMP and IGMP among them.
    Raw,
    /// Reliable datagrams. Linux has it for few families, and for none of these.
    ReliableDatagram,
    /// Connected, in order, nothing lost, with message boundaries.
    SequencedPacket,
}

impl Type {
    fn raw(self) -> SocketType {
        match self {
            Self::Stream => SocketType::STREAM,
            Self::Datagram => SocketType::DGRAM,
            Self::Raw => SocketType::RAW,
            Self::ReliableDatagram => SocketType::RDM,
            Self::SequencedPacket => SocketType::SEQPACKET,
        }
    }

    /// As C and Python call it.
    #[must_use]
    pub fn constant(self) -> &'static str {
        match self {
            Self::Stream => "SOCK_STREAM",
            Self::Datagram => "SOCK_DGRAM",
            Self::Raw => "SOCK_RAW",
            Self::ReliableDatagram => "SOCK_RDM",
            Self::SequencedPacket => "SOCK_SEQPACKET",
        }
    }

    /// Whether what is sent in one call is received in one call.
    #[must_use]
    pub fn keeps_boundaries(self) -> bool {
        self != Self::Stream
    }
}

/// Whether calls wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blocking {
    /// They wait until they can be done.
    Yes,
    /// They fail with `WouldBlock` where they would have to wait.
    No,
}

/// Which directions of a connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Nothing more is received.
    Receive,
    /// Nothing more is sent: the peer reads to the end and may go on sending.
    Send,
    /// Neither.
    Both,
}

/// What [`Socket::receive_from`] got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Bytes now at the front of the buffer.
    pub length: usize,
    /// Bytes of the whole datagram. More than `length`: the rest did not fit and is lost.
    pub whole: usize,
    /// Who sent it.
    pub from: Address,
}

impl Received {
    /// Whether the buffer was too small for the datagram.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.whole > self.length
    }
}

/// A socket of any family and type. It closes when it is dropped: what was sent is still delivered,
/// what was not received is lost. With TCP the peer learns of the latter by a reset, which may cut off
/// what was on its way to it: read to the end before closing.
///
/// ```
/// use packhorse_endpoint::{Address, Family, RecvFlags, SendFlags, Socket, Type};
///
/// let server = Socket::new(Family::Ipv4, Type::Stream, 0)?;
/// server.bind(&Address::Inet("127.0.0.1:0".parse().unwrap()))?;
/// server.listen(5)?;
///
/// let client = Socket::new(Family::Ipv4, Type::Stream, 0)?;
/// client.connect(&server.local_name()?)?;
/// let (connection, peer) = server.accept()?;
/// assert_eq!(peer, client.local_name()?);
///
/// connection.send_all("我接受到了".as_bytes())?;
/// let mut buffer = [0; 1024];
/// let length = client.receive(&mut buffer, RecvFlags::empty())?;
/// assert_eq!(&buffer[..length], "我接受到了".as_bytes());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    kind: Type,
    /// The file that it is bound to, where it was bound through an endpoint: it goes with the socket.
    file: Option<UnixFile>,
    /// Who is told of its calls. A socket that nobody observes pays for looking whether this is there.
    calls: Option<Box<Calls>>,
}

impl Socket {
    /// A new socket. `protocol` 0 is the type's usual one; raw sockets name theirs (1: ICMP).
    ///
    /// # Errors
    /// The kernel has no such socket, or not for this user.
    pub fn new(family: Family, kind: Type, protocol: u32) -> io::Result<Self> {
        let family = match family {
            Family::Ipv4 => AddressFamily::INET,
            Family::Ipv6 => AddressFamily::INET6,
            Family::Unix => AddressFamily::UNIX,
        };
        let protocol = std::num::NonZeroU32::new(protocol).map(net::Protocol::from_raw);
        let fd = net::socket_with(family, kind.raw(), SocketFlags::CLOEXEC, protocol)?;
        Ok(Self::of(fd, kind))
    }

    /// A socket that was opened elsewhere.
    ///
    /// # Errors
    /// The descriptor is not a socket's, or of a type that is not one of [`Type`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let raw = net::sockopt::socket_type(&fd)?;
        let kinds = [
            Type::Stream,
            Type::Datagram,
            Type::Raw,
            Type::ReliableDatagram,
            Type::SequencedPacket,
        ];
        let kind = kinds.into_iter().find(|kind| kind.raw() == raw);
        let kind = kind.ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self::of(fd, kind))
    }

    fn of(fd: OwnedFd, kind: Type) -> Self {
        Self {
            fd,
            kind,
            file: None,
            calls: None,
        }
    }

    /// Tells `observer` of each write and read call from now on: of a connected socket before its first call, so
    /// that offsets are those of the stream. What is received with [`RecvFlags::PEEK`] is not told.
    pub fn observe(&mut self, observer: &Arc<dyn CallObserver>) {
        self.calls = Some(Box::new(Calls::new(Arc::clone(observer), &self.fd)));
    }

    pub(crate) fn calls(&self) -> Option<&Calls> {
        self.calls.as_deref()
    }

    /// The type it was made with.
    #[must_use]
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// Gives the socket its name: who sends to `address` reaches it.
    ///
    /// # Errors
    /// The address is taken, not this machine's, or not for this user.
    pub fn bind(&self, address: &Address) -> io::Result<()> {
        Ok(net::bind(&self.fd, &address.to_any()?)?)
    }

    /// Waits for connections; the kernel completes up to `backlog` before they are accepted.
    ///
    /// # Errors
    /// The socket's type has no connections, or another socket listens there.
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        Ok(net::listen(
            &self.fd,
            i32::try_from(backlog).unwrap_or(i32::MAX),
        )?)
    }

    /// The next connection, and who it comes from.
    ///
    /// # Errors
    /// The process or the system is out of descriptors, or the socket does not listen.
    pub fn accept(&self) -> io::Result<(Self, Address)> {
        let (fd, peer) = net::acceptfrom_with(&self.fd, SocketFlags::CLOEXEC)?;
        Ok((Self::of(fd, self.kind), Address::from_any(peer)))
    }

    /// Connects to `address`; for datagrams this only says who the peer is.
    ///
    /// # Errors
    /// Nobody is there, or nobody answers.
    pub fn connect(&self, address: &Address) -> io::Result<()> {
        Ok(net::connect(&self.fd, &address.to_any()?)?)
    }

    /// As [`connect`](Self::connect), with the kernel's error number instead of an error; 0 where it
    /// worked. 115 (EINPROGRESS) means that a non-blocking socket is on its way.
    #[must_use]
    pub fn connect_ex(&self, address: &Address) -> i32 {
        match self.connect(address) {
            Ok(()) => 0,
            // Errors without a number are made here, of names that fit no socket: EINVAL.
            Err(error) => error.raw_os_error().unwrap_or(22),
        }
    }

    /// Bytes that arrived, into the front of `buffer`; 0 at the end of a stream, or for an empty
    /// datagram. With [`RecvFlags::PEEK`] they stay to be received again.
    ///
    /// # Errors
    /// The connection broke, or nothing came in time.
    pub fn receive(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        let room = buffer.len();
        let call = || Ok(net::recv(&self.fd, buffer, flags)?.0);
        match self.calls() {
            Some(calls) if !flags.contains(RecvFlags::PEEK) => calls.read(room, call),
            _ => call(),
        }
    }

    /// As [`receive`](Self::receive), with the sender and the length of the whole datagram.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub fn receive_from(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Received> {
        // On a TCP socket MSG_TRUNC means something else: it throws the bytes away (tcp(7)).
        let flags = match self.kind {
            Type::Stream => flags,
            _ => flags | RecvFlags::TRUNC,
        };
        let room = buffer.len();
        let call = || {
            let (length, whole, from) = net::recvfrom(&self.fd, buffer, flags)?;
            let from = Address::from_any(from);
            Ok(Received {
                length,
                whole,
                from,
            })
        };
        match self.calls() {
            Some(calls) if !flags.contains(RecvFlags::PEEK) => {
                calls.read_from(room, call, |received| {
                    (received.length, Some(&received.from))
                })
            }
            _ => call(),
        }
    }

    /// Hands bytes to the kernel, and says how many it took: a stream may take a part.
    ///
    /// # Errors
    /// The connection broke, or there was no room in time. Never a signal: SIGPIPE is switched off.
    pub fn send(&self, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
        let call = || Ok(net::send(&self.fd, bytes, flags | SendFlags::NOSIGNAL)?);
        match self.calls() {
            None => call(),
            Some(calls) => calls.write(bytes.len(), call),
        }
    }

    /// As [`send`](Self::send), several pieces in one call.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let call = || {
            let mut none = SendAncillaryBuffer::default();
            Ok(net::sendmsg(
                &self.fd,
                pieces,
                &mut none,
                SendFlags::NOSIGNAL,
            )?)
        };
        match self.calls() {
            None => call(),
            Some(calls) => calls.write(pieces.iter().map(|piece| piece.len()).sum(), call),
        }
    }

    /// Hands all bytes to the kernel, however many calls it takes.
    ///
    /// # Errors
    /// As for [`send`](Self::send). How much was taken before is not known.
    pub fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.send(bytes, SendFlags::empty()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends one datagram to `address`.
    ///
    /// # Errors
    /// It is too long, there is no room for it, or no way there.
    pub fn send_to(&self, bytes: &[u8], flags: SendFlags, address: &Address) -> io::Result<usize> {
        let to = address.to_any()?;
        let call = || {
            Ok(net::sendto(
                &self.fd,
                bytes,
                flags | SendFlags::NOSIGNAL,
                &to,
            )?)
        };
        match self.calls() {
            None => call(),
            Some(calls) => calls.write_to(bytes.len(), address, call),
        }
    }

    /// Whether calls on this socket wait.
    ///
    /// # Errors
    /// None that a good socket gives.
    pub fn set_blocking(&self, blocking: Blocking) -> io::Result<()> {
        SockRef::from(&self.fd).set_nonblocking(blocking == Blocking::No)
    }

    /// How long receiving and sending wait before they fail with `WouldBlock`; `None`: for ever.
    ///
    /// # Errors
    /// A time of zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout.is_some_and(|time| time.is_zero()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let socket = SockRef::from(&self.fd);
        socket.set_read_timeout(timeout)?;
        socket.set_write_timeout(timeout)
    }

    /// Who the socket is connected to.
    ///
    /// # Errors
    /// Nobody.
    pub fn peer_name(&self) -> io::Result<Address> {
        Ok(Address::from_any(net::getpeername(&self.fd)?))
    }

    /// Where the socket is bound.
    ///
    /// # Errors
    /// None that a good socket gives.
    pub fn local_name(&self) -> io::Result<Address> {
        Ok(Address::from_any(Some(net::getsockname(&self.fd)?)))
    }

    /// Ends a direction of the connection, or both.
    ///
    /// # Errors
    /// There is no connection.
    pub fn shut_down(&self, direction: Direction) -> io::Result<()> {
        Ok(net::shutdown(
            &self.fd,
            match direction {
                Direction::Receive => net::Shutdown::Read,
                Direction::Send => net::Shutdown::Write,
                Direction::Both => net::Shutdown::Both,
            },
        )?)
    }

    /// The error that the kernel keeps for the socket, and forgets by telling it.
    ///
    /// # Errors
    /// None that a good socket gives.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(&self.fd).take_error()
    }

    /// Bytes in the largest packet on the way to the peer (IP_MTU, IPV6_MTU), as far as the kernel knows.
    ///
    /// # Errors
    /// The socket is not connected, or sends no packets.
    pub fn path_mtu(&self) -> io::Result<u32> {
        Ok(match self.local_name()?.inet() {
            None => return Err(io::ErrorKind::Unsupported.into()),
            // A dual-stack socket that speaks IPv4 has a path of IPv4 all the same.
            Some(local) if local.is_ipv4() => net::sockopt::ip_mtu(&self.fd)?,
            Some(_) => net::sockopt::ipv6_mtu(&self.fd)?,
        })
    }

    /// Bytes of data in a TCP segment that it sends (TCP_MAXSEG).
    ///
    /// # Errors
    /// The socket is not TCP's.
    pub fn segment_size(&self) -> io::Result<u32> {
        self.options().tcp_mss()
    }

    /// Removes the file when the socket closes.
    pub(crate) fn own(&mut self, file: UnixFile) {
        self.file = Some(file);
    }

    pub(crate) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.fd)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}
