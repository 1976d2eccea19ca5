//! Streams of the standard library and of tokio, whose calls somebody may be told of.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::net::TcpStream as TokioStream;

use crate::calls::{CallObserver, Calls};

/// A stream that tells an observer of each write and read call, where there is an observer.
///
/// All else goes to the stream itself.
#[derive(Debug)]
pub struct Observed<S> {
    stream: S,
    calls: Option<Box<Calls>>,
}

impl<S: AsFd> Observed<S> {
    /// Takes over a connected stream, before its first call.
    pub fn new(stream: S, observer: Option<&Arc<dyn CallObserver>>) -> Self {
        let calls = observer.map(|observer| Box::new(Calls::new(Arc::clone(observer), &stream)));
        Self { stream, calls }
    }
}

impl<S> Deref for Observed<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.stream
    }
}

impl<S> Observed<S> {
    fn reading(&self, room: usize, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        match &self.calls {
            None => call(),
            Some(calls) => calls.read(room, call),
        }
    }

    fn writing(
        &self,
        length: usize,
        call: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        match &self.calls {
            None => call(),
            Some(calls) => calls.write(length, call),
        }
    }
}

impl Read for &Observed<TcpStream> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reading(buffer.len(), || (&self.stream).read(buffer))
    }
}

impl Write for &Observed<TcpStream> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writing(bytes.len(), || (&self.stream).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Observed<TcpStream> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Observed<TcpStream> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Observed<TokioStream> {
    /// As [`TcpStream::try_read`](TokioStream::try_read).
    ///
    /// # Errors
    /// The connection broke, or there is nothing to read now.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // Inside, tokio makes no call where it knows that there is nothing: such a one is told as well.
        self.reading(buffer.len(), || self.stream.try_read(buffer))
    }

    /// As [`TcpStream::try_write`](TokioStream::try_write).
    ///
    /// # Errors
    /// The connection broke, or there is no room now.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.writing(bytes.len(), || self.stream.try_write(bytes))
    }

    /// Reads some bytes; 0 at the end. Safe to cancel.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Fills the buffer.
    ///
    /// # Errors
    /// The connection broke or ended before.
    pub async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => buffer = buffer.get_mut(read..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// As [`TcpStream::into_std`](TokioStream::into_std): offsets go on. The socket stays non-blocking.
    ///
    /// # Errors
    /// The runtime does not let go of it.
    pub fn into_std(self) -> io::Result<Observed<TcpStream>> {
        let Self { stream, calls } = self;
        let stream = stream.into_std()?;
        Ok(Observed { stream, calls })
    }
}

impl Observed<TcpStream> {
    /// As [`TcpStream::from_std`](TokioStream::from_std): offsets go on.
    ///
    /// # Errors
    /// The runtime has no room for it.
    pub fn into_tokio(self) -> io::Result<Observed<TokioStream>> {
        let Self { stream, calls } = self;
        let stream = TokioStream::from_std(stream)?;
        Ok(Observed { stream, calls })
    }
}
