//! A connection with message boundaries, over whatever carries it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use packhorse_endpoint::{Connected, Io, Type};
use packhorse_frame::{EncodeError, FrameError, FrameSpec, Limits};

use crate::peer::Peer;
use crate::receiver::{Receiver, Source};
use crate::sender::{Sender, Sink};
use crate::watch::{Cause, Watch};

/// How long a peer is heard out that has been told that no more comes to it.
const LINGER: Duration = Duration::from_secs(2);

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it says, without its frame.
    pub payload: Bytes,
    /// Where its frame began: bytes received before it, by datagrams or by the stream.
    pub offset: u64,
    /// Bytes of a datagram that did not fit into the buffer, and are lost. 0 for streams.
    pub lost: u64,
}

/// How much was moved in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes, frames included.
    pub bytes: u64,
    /// Whole messages.
    pub messages: u64,
}

/// Which side said first that no more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This one.
    Here,
    /// The peer.
    Peer,
}

/// What both halves of a connection know of its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstToFinish(Arc<AtomicU8>);

impl FirstToFinish {
    pub(crate) fn note(&self, side: Side) {
        let side = match side {
            Side::Here => 1,
            Side::Peer => 2,
        };
        // Only the first counts.
        let _ = self
            .0
            .compare_exchange(0, side, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn get(&self) -> Option<Side> {
        match self.0.load(Ordering::Acquire) {
            1 => Some(Side::Here),
            2 => Some(Side::Peer),
            _ => None,
        }
    }
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer reset the connection: what was on its way is lost.
    #[error("the peer reset the connection")]
    Reset,
    /// The peer's bytes are not the frames that were agreed on.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message of ours does not fit into a frame.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The datagram is larger than the socket can send.
    #[error("a datagram of {0} bytes is too long to be sent")]
    TooLong(usize),
    /// The server's deadline for a silent peer passed.
    #[error("nothing moved for too long")]
    Idle,
    /// The server's deadline for a message that has begun passed.
    #[error("a message began and did not get whole in time")]
    Slow,
    /// The socket's own error.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Io(error),
        }
    }
}

impl From<Cause> for ConnectionError {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Idle => Self::Idle,
            Cause::Slow => Self::Slow,
            // Draining ends a connection in order; what is cut by it is the handler's own doing.
            Cause::Drain => Self::Io(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// A connection to one peer, or a session with one peer over datagrams.
///
/// Streams carry frames; sockets that keep message boundaries carry each frame in a datagram of its own.
/// With [`FrameSpec::default`] there is no frame: bytes come as they arrive, datagrams as they are.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
}

/// How messages travel on a connection.
#[derive(Debug, Clone, Default)]
pub struct Framing {
    /// The frame.
    pub spec: FrameSpec,
    /// What a peer may claim.
    pub limits: Limits,
}

impl Connection {
    /// A client's connection.
    #[must_use]
    pub fn of_client(connected: Connected, framing: &Framing) -> Self {
        let peer = Peer {
            number: 1,
            kind: connected.kind,
            address: connected.peer,
            local: connected.local,
        };
        match (connected.io, connected.echo) {
            (Io::Plain(socket), Some(echo)) => {
                let socket = Arc::new(socket);
                let source = Source::Echo(Arc::clone(&socket), echo.clone());
                Self::new(source, Sink::Echo(socket, echo), peer, framing, None)
            }
            (io, _) => Self::over(io, peer, framing, None),
        }
    }

    pub(crate) fn over(io: Io, peer: Peer, framing: &Framing, watch: Option<Arc<Watch>>) -> Self {
        let (source, sink) = match io {
            Io::Tls(tls) => {
                let (read, write) = tokio::io::split(*tls);
                (Source::Tls(read), Sink::Tls(write))
            }
            Io::Plain(socket) => {
                let socket = Arc::new(socket);
                match socket.socket().kind() {
                    Type::Stream => (Source::Stream(Arc::clone(&socket)), Sink::Stream(socket)),
                    _ => (Source::Packets(Arc::clone(&socket)), Sink::Packets(socket)),
                }
            }
        };
        Self::new(source, sink, peer, framing, watch)
    }

    pub(crate) fn new(
        source: Source,
        sink: Sink,
        peer: Peer,
        framing: &Framing,
        watch: Option<Arc<Watch>>,
    ) -> Self {
        let first = FirstToFinish::default();
        Self {
            peer,
            receiver: Receiver::new(source, framing, watch.clone(), first.clone()),
            sender: Sender::new(sink, framing, watch, first),
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether something marks where a message ends: a frame, or the kind of socket.
    #[must_use]
    pub fn has_boundaries(&self) -> bool {
        self.receiver.has_boundaries()
    }

    /// The next message; `None`: the peer sends no more.
    ///
    /// Before it waits it sends what was [fed](Self::feed). May be dropped while it waits, and called
    /// again: nothing is lost.
    ///
    /// # Errors
    /// The connection broke, or the peer's bytes are no frames.
    pub async fn receive(&mut self) -> Result<Option<Message>, ConnectionError> {
        if let Some(message) = self.receiver.next_ready()? {
            return Ok(Some(message));
        }
        self.sender.flush().await?;
        self.receiver.receive().await
    }

    /// Takes a message to be sent with others: at the next [`flush`](Self::flush), or before
    /// [`receive`](Self::receive) waits, or at once when enough has come together.
    ///
    /// # Errors
    /// The connection broke, or the message does not fit into a frame.
    pub async fn feed(&mut self, payload: Bytes) -> Result<(), ConnectionError> {
        self.sender.feed(payload).await
    }

    /// Sends all that was fed.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        self.sender.flush().await
    }

    /// Sends a message now.
    ///
    /// # Errors
    /// As for [`feed`](Self::feed).
    pub async fn send(&mut self, payload: Bytes) -> Result<(), ConnectionError> {
        self.sender.send(payload).await
    }

    /// Sends all that was fed, and tells the peer that no more will come. It may go on sending.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn finish(&mut self) -> Result<(), ConnectionError> {
        self.sender.finish().await
    }

    /// Ends the connection so that all that was sent arrives: finishes, then hears the peer out for a
    /// while. The kernel answers what comes after the last close, or was not received before it, with a
    /// reset, and a reset takes with it what is still on its way to the peer (RFC 9293 §3.10.7.1,
    /// RFC 2525 §2.17).
    ///
    /// # Errors
    /// The connection broke.
    pub async fn close(&mut self) -> Result<(), ConnectionError> {
        self.finish().await?;
        self.hear_out().await;
        Ok(())
    }

    /// The second half of closing.
    pub(crate) async fn hear_out(&mut self) {
        self.receiver.hear_out(LINGER).await;
    }

    /// Both directions, for a handler that receives and sends at the same time.
    pub fn split_mut(&mut self) -> (&mut Receiver, &mut Sender) {
        (&mut self.receiver, &mut self.sender)
    }

    /// Which side said first that no more comes; `None`: neither has.
    #[must_use]
    pub fn first_to_finish(&self) -> Option<Side> {
        self.receiver.first.get()
    }

    /// How much was received.
    #[must_use]
    pub fn received(&self) -> Moved {
        self.receiver.moved()
    }

    /// How much was sent.
    #[must_use]
    pub fn sent(&self) -> Moved {
        self.sender.moved()
    }
}
