//! The bytes of a control connection: the socket, and TLS around it where there is any.

use std::io;
use std::time::Duration;

use packhorse_endpoint::Observed;
use packhorse_trust::Channel;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::Error;
use crate::faults::Dialogue;

/// How long to wait for a word from the peer that explains why its lane or its connection broke.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

/// What may wait for a peer that reads slowly: more than a window's worth of anything it can cause.
const MAX_QUEUED: usize = 8 << 20;

/// What is read from the socket at once.
const READ_SIZE: usize = 64 << 10;

/// A control connection behind its prefaces.
///
/// Reading and writing go on side by side, so that two peers that both have much to say cannot wait for
/// each other: what is queued is bounded by the protocol's window.
pub(crate) struct Wire {
    stream: Observed<TcpStream>,
    channel: Option<Channel>,
    scratch: Box<[u8]>,
    /// Bytes for the socket.
    outgoing: Vec<u8>,
    /// When the last of them went, or when the first came to wait.
    moved: Instant,
    dialogue: Dialogue,
}

/// What a turn at the wire brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Perhaps bytes; the connection is open.
    Open,
    /// The peer closed its side.
    Closed,
}

impl Wire {
    pub(crate) fn new(stream: Observed<TcpStream>, channel: Option<Channel>) -> Self {
        let scratch = vec![0; READ_SIZE].into();
        let mut wire = Self {
            stream,
            channel,
            scratch,
            outgoing: Vec::new(),
            moved: Instant::now(),
            dialogue: Dialogue::default(),
        };
        wire.collect();
        wire
    }

    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Takes what the channel has for the socket.
    fn collect(&mut self) {
        if let Some(channel) = &mut self.channel {
            let _ = channel.poll_transmit(&mut self.outgoing);
        }
    }

    /// Queues what the protocol has to say.
    pub(crate) fn queue(&mut self, plaintext: &[u8]) -> Result<(), Error> {
        if self.outgoing.is_empty() {
            self.moved = Instant::now();
        }
        self.dialogue.queued(plaintext);
        match &mut self.channel {
            Some(channel) => channel.write(plaintext)?,
            None => self.outgoing.extend_from_slice(plaintext),
        }
        self.collect();
        if self.outgoing.len() > MAX_QUEUED {
            return Err(Error::NotReading);
        }
        Ok(())
    }

    /// Whether something has been waiting for `patience` without the peer taking a byte of it.
    pub(crate) fn is_stalled(&self, patience: Duration) -> bool {
        !self.outgoing.is_empty() && self.moved.elapsed() >= patience
    }

    /// Waits until the socket can be read, or written where something is queued, and does so once.
    /// Plaintext that came is appended to `plaintext`. Safe to cancel.
    pub(crate) async fn turn(&mut self, plaintext: &mut Vec<u8>) -> Result<Turn, Error> {
        let mut interest = Interest::READABLE;
        if !self.outgoing.is_empty() {
            interest |= Interest::WRITABLE;
        }
        let ready = self.stream.ready(interest).await.map_err(Error::Lost)?;
        if ready.is_writable() {
            self.write_some()?;
        }
        if !ready.is_readable() {
            return Ok(Turn::Open);
        }
        let before = plaintext.len();
        let turn = self.read_some(plaintext);
        self.dialogue.heard(&plaintext[before..]);
        turn
    }

    fn read_some(&mut self, plaintext: &mut Vec<u8>) -> Result<Turn, Error> {
        let length = match self.stream.try_read(&mut self.scratch) {
            Ok(0) => return Ok(Turn::Closed),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turn::Open),
            Err(error) => return Err(Error::Lost(error)),
        };
        let bytes = &self.scratch[..length];
        let Some(channel) = &mut self.channel else {
            plaintext.extend_from_slice(bytes);
            return Ok(Turn::Open);
        };
        let outcome = channel.handle_bytes(bytes, plaintext);
        let closed = channel.peer_closed();
        // Also after an error: then it is the alert that tells the peer.
        self.collect();
        outcome?;
        Ok(if closed { Turn::Closed } else { Turn::Open })
    }

    fn write_some(&mut self) -> Result<(), Error> {
        let mut written = 0;
        let outcome = loop {
            if written == self.outgoing.len() {
                break Ok(());
            }
            match self.stream.try_write(&self.outgoing[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(Error::Lost(error)),
            }
        };
        if written > 0 {
            self.outgoing.drain(..written);
            self.moved = Instant::now();
            if self.outgoing.is_empty() {
                self.dialogue.written();
            }
        }
        outcome
    }

    /// Writes all that is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        while !self.outgoing.is_empty() {
            self.stream.writable().await.map_err(Error::Lost)?;
            self.write_some()?;
        }
        Ok(())
    }

    /// Says that nothing more comes, and waits until the peer says so too: closing earlier could reset
    /// the connection under the last words.
    pub(crate) async fn close(mut self) -> Result<(), Error> {
        if let Some(channel) = &mut self.channel {
            channel.close();
        }
        self.collect();
        self.flush().await?;
        // SHUT_WR; what the socket still holds is sent first.
        let stream = self.stream.into_std().map_err(Error::Lost)?;
        stream
            .shutdown(std::net::Shutdown::Write)
            .map_err(Error::Lost)?;
        self.stream = stream.into_tokio().map_err(Error::Lost)?;
        loop {
            self.stream.readable().await.map_err(Error::Lost)?;
            match self.stream.try_read(&mut self.scratch) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::Lost(error)),
            }
        }
    }
}
