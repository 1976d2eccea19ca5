//! A socket for tokio's runtime.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::address::Address;
use crate::calls::CallObserver;
use crate::packet::Packet;
use crate::socket::{Blocking, Direction, Received, RecvFlags, SendFlags, Socket, Type};

/// A [`Socket`] of any kind, non-blocking, whose calls wait without a thread.
///
/// All calls take `&self`: one task may receive while another sends.
#[derive(Debug)]
pub struct AsyncSocket(AsyncFd<Socket>);

impl AsyncSocket {
    /// Takes the socket over. Needs a tokio runtime.
    ///
    /// # Errors
    /// The runtime's epoll has no room for it.
    pub fn new(socket: Socket) -> io::Result<Self> {
        socket.set_blocking(Blocking::No)?;
        socket.tell_packets_from_the_end()?;
        #[allow(
            deprecated,
            reason = "what the replacement asks for as unsafe holds by type here: a `Socket` owns one \
                      descriptor, names no other, and stays inside until the `AsyncFd` is dropped"
        )]
        AsyncFd::new(socket).map(Self)
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.0.get_ref()
    }

    /// Tells `observer` of each write and read call from now on; see [`Socket::observe`].
    pub fn observe(&mut self, observer: &Arc<dyn CallObserver>) {
        self.0.get_mut().observe(observer);
    }

    /// Waits until there may be something to receive. Holds no buffer meanwhile.
    ///
    /// # Errors
    /// The runtime is ending.
    pub async fn readable(&self) -> io::Result<Readable<'_>> {
        // An error that waits (nobody listened for a datagram, say) makes a datagram socket ready for
        // nothing but errors: receiving tells it.
        let interest = Interest::READABLE | Interest::ERROR;
        self.0.ready(interest).await.map(Readable)
    }

    /// Receives bytes; 0 at the end of a stream.
    ///
    /// # Errors
    /// The socket's.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(received) = self.readable().await?.receive(buffer) {
                return received;
            }
        }
    }

    /// Receives one datagram.
    ///
    /// # Errors
    /// The socket's.
    pub async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.0
            .async_io(Interest::READABLE, |socket| {
                socket.receive_from(buffer, RecvFlags::empty())
            })
            .await
    }

    /// Sends bytes, of a stream maybe a part.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .async_io(Interest::WRITABLE, |socket| {
                socket.send(bytes, SendFlags::empty())
            })
            .await
    }

    /// Sends several pieces in one call, of a stream maybe a part; for datagrams they make one.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0
            .async_io(Interest::WRITABLE, |socket| socket.send_vectored(pieces))
            .await
    }

    /// Sends one datagram to `address`.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send_to(&self, bytes: &[u8], address: &Address) -> io::Result<usize> {
        self.0
            .async_io(Interest::WRITABLE, |socket| {
                socket.send_to(bytes, SendFlags::empty(), address)
            })
            .await
    }

    /// The next connection.
    ///
    /// # Errors
    /// The socket's; see [`Socket::accept`].
    pub async fn accept(&self) -> io::Result<(Socket, Address)> {
        self.0.async_io(Interest::READABLE, Socket::accept).await
    }

    /// Waits until a connection that is on its way is there.
    ///
    /// # Errors
    /// It did not come about.
    pub async fn connected(&self) -> io::Result<()> {
        self.0.writable().await?.retain_ready();
        self.socket().take_error()?.map_or(Ok(()), Err)
    }
}

/// A socket that may have something to receive.
#[derive(Debug)]
pub struct Readable<'a>(AsyncFdReadyGuard<'a, Socket>);

impl Readable<'_> {
    /// Receives without waiting; `None` where there was nothing after all.
    ///
    /// epoll tells changes only. A stream that gave less than there was room for is empty, and is waited
    /// for without the call that would say so once more. What arrives in between counts: this readiness
    /// is from before the call.
    #[must_use]
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let room = buffer.len();
        let received = self
            .0
            .try_io(|fd| fd.get_ref().receive(buffer, RecvFlags::empty()));
        let received = received.ok()?;
        let is_stream = self.0.get_inner().kind() == Type::Stream;
        if is_stream && matches!(received, Ok(length) if length > 0 && length < room) {
            self.0.clear_ready();
        }
        Some(received)
    }

    /// Receives one datagram without waiting; `None` where there was none after all.
    #[must_use]
    pub fn receive_packet(&mut self, buffer: &mut [u8]) -> Option<io::Result<Packet>> {
        let received = self.0.try_io(|fd| fd.get_ref().receive_packet(buffer));
        received.ok()
    }
}

impl AsyncRead for AsyncSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            let received = guard.try_io(|fd| fd.get_ref().receive(room, RecvFlags::empty()));
            if let Ok(result) = received {
                buffer.advance(result?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for AsyncSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(sent) = guard.try_io(|fd| fd.get_ref().send_vectored(pieces)) {
                return Poll::Ready(sent);
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.socket().shut_down(Direction::Send) {
            // The peer is gone already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}
