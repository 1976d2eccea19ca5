//! Sockets whose calls may be watched (`packhorse_endpoint::observe`).

use std::io::{self, Read, Write};
use std::net::TcpStream as StdTcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use packhorse_endpoint::{CallKind, observed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket, whose reads and writes are made through here.
pub(crate) struct Observed<'a, T>(pub(crate) &'a T);

impl Read for Observed<'_, StdTcpStream> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.0;
        observed(stream, CallKind::Read, buffer.len(), || stream.read(buffer))
    }
}

impl Write for Observed<'_, StdTcpStream> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.0;
        observed(stream, CallKind::Write, bytes.len(), || stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Observed<'_, TcpStream> {
    /// Reads what there is without waiting.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        observed(self.0, CallKind::Read, buffer.len(), || {
            self.0.try_read(buffer)
        })
    }

    /// Writes what there is room for without waiting.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        observed(self.0, CallKind::Write, bytes.len(), || {
            self.0.try_write(bytes)
        })
    }
}

impl AsyncRead for Observed<'_, TcpStream> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    buffer.advance(read?);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Observed<'_, TcpStream> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nobody shuts down through a borrowed socket.
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
