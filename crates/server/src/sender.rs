//! The sending half of a connection.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use packhorse_endpoint::{Address, AsyncSocket, Direction, Echo, Tls};
use packhorse_frame::{Encoder, Frame};
use tokio::io::{AsyncWriteExt as _, WriteHalf};

use crate::connection::{ConnectionError, FirstToFinish, Framing, Moved, Side};
use crate::watch::Watch;

/// Where bytes go.
#[derive(Debug)]
pub(crate) enum Sink {
    Stream(Arc<AsyncSocket>),
    Tls(WriteHalf<Tls>),
    /// Connected, with message boundaries.
    Packets(Arc<AsyncSocket>),
    /// As the data of echo requests.
    Echo(Arc<AsyncSocket>, Echo),
    /// To one peer of a socket that many send to.
    Session(Arc<AsyncSocket>, Address),
}

/// Frames up to this size wait for others to go out in one call. A larger one is not worth the copy:
/// it goes out from where it lies.
const SMALL: usize = 4 * 1024;

/// As much as goes out in one call.
const ENOUGH: usize = 64 * 1024;

/// The sending half of a [`Connection`](crate::Connection).
#[derive(Debug)]
pub struct Sender {
    sink: Sink,
    encoder: Encoder,
    /// Small frames that go out together.
    output: BytesMut,
    moved: Moved,
    watch: Option<Arc<Watch>>,
    first: FirstToFinish,
}

impl Sender {
    pub(crate) fn new(
        sink: Sink,
        framing: &Framing,
        watch: Option<Arc<Watch>>,
        first: FirstToFinish,
    ) -> Self {
        Self {
            sink,
            encoder: framing.spec.encoder(framing.limits),
            output: BytesMut::new(),
            moved: Moved::default(),
            watch,
            first,
        }
    }

    /// How much was sent.
    #[must_use]
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// Takes a message to be sent with others; see [`Connection::feed`](crate::Connection::feed).
    ///
    /// # Errors
    /// The connection broke, or the message does not fit into a frame.
    pub async fn feed(&mut self, payload: Bytes) -> Result<(), ConnectionError> {
        match &self.sink {
            Sink::Packets(_) | Sink::Echo(..) | Sink::Session(..) => {
                let frame = self.encoder.encode(payload)?;
                self.send_datagram(frame).await?;
            }
            Sink::Stream(_) | Sink::Tls(_) if payload.len() <= SMALL => {
                self.encoder.encode_into(&payload, &mut self.output)?;
                if self.output.len() >= ENOUGH {
                    self.flush().await?;
                }
            }
            Sink::Stream(_) | Sink::Tls(_) => {
                let frame = self.encoder.encode(payload)?;
                self.send_behind_output(frame).await?;
            }
        }
        self.moved.messages += 1;
        Ok(())
    }

    /// Sends all that was fed.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        while !self.output.is_empty() {
            let taken = match &mut self.sink {
                Sink::Stream(socket) => socket.send(&self.output).await?,
                Sink::Tls(tls) => tls.write(&self.output).await?,
                Sink::Packets(_) | Sink::Echo(..) | Sink::Session(..) => break,
            };
            self.took(taken)?;
            self.output.advance(taken);
        }
        // A connection that waits holds no buffer.
        self.output = BytesMut::new();
        if let Sink::Tls(tls) = &mut self.sink {
            tls.flush().await?;
        }
        Ok(())
    }

    /// Sends a message now.
    ///
    /// # Errors
    /// As for [`feed`](Self::feed).
    pub async fn send(&mut self, payload: Bytes) -> Result<(), ConnectionError> {
        self.feed(payload).await?;
        self.flush().await
    }

    /// Sends all that was fed, and tells the peer that no more will come.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn finish(&mut self) -> Result<(), ConnectionError> {
        self.flush().await?;
        self.first.note(Side::Here);
        match &mut self.sink {
            Sink::Stream(socket) | Sink::Packets(socket) | Sink::Echo(socket, _) => {
                // A peer that is gone already is no reason to complain.
                let _ = socket.socket().shut_down(Direction::Send);
            }
            Sink::Tls(tls) => tls.shutdown().await?,
            Sink::Session(..) => {}
        }
        Ok(())
    }

    fn took(&mut self, bytes: usize) -> Result<(), ConnectionError> {
        if bytes == 0 {
            return Err(ConnectionError::Io(io::ErrorKind::WriteZero.into()));
        }
        self.count(bytes);
        Ok(())
    }

    fn count(&mut self, bytes: usize) {
        self.moved.bytes += bytes as u64;
        if let Some(watch) = &self.watch {
            watch.moved();
        }
    }

    /// Sends what waits and a large frame in as few calls as the socket lets it be.
    async fn send_behind_output(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        let mut all = std::mem::take(&mut self.output).freeze().chain(frame);
        while all.has_remaining() {
            let taken = {
                let mut pieces = [IoSlice::new(&[]); 4];
                let count = all.chunks_vectored(&mut pieces);
                match &mut self.sink {
                    Sink::Stream(socket) => socket.send_vectored(&pieces[..count]).await?,
                    Sink::Tls(tls) => tls.write_vectored(&pieces[..count]).await?,
                    Sink::Packets(_) | Sink::Echo(..) | Sink::Session(..) => 0,
                }
            };
            self.took(taken)?;
            all.advance(taken);
        }
        Ok(())
    }

    async fn send_datagram(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        let mut pieces = [IoSlice::new(&[]); 3];
        let count = frame.chunks_vectored(&mut pieces);
        let length = frame.len();
        let sent = match &mut self.sink {
            Sink::Echo(socket, echo) => {
                let mut data = BytesMut::with_capacity(length);
                frame.put_into(&mut data);
                socket.send(&echo.request(&data)).await
            }
            Sink::Packets(socket) => socket.send_vectored(&pieces[..count]).await,
            Sink::Session(socket, address) => {
                let mut whole = BytesMut::with_capacity(length);
                frame.put_into(&mut whole);
                socket.send_to(&whole, address).await
            }
            Sink::Stream(_) | Sink::Tls(_) => Ok(length),
        };
        /// "Message too long" (errno(3)).
        const EMSGSIZE: i32 = 90;
        match sent {
            Ok(_) => self.count(length),
            Err(error) if error.raw_os_error() == Some(EMSGSIZE) => {
                return Err(ConnectionError::TooLong(length));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
