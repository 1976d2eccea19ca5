//! The receiving half of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use packhorse_endpoint::{AsyncSocket, Packet, Received, Tls};
use packhorse_frame::{Decoder, FrameSpec};
use tokio::io::{AsyncReadExt as _, ReadHalf};
use tokio::sync::mpsc;

use crate::connection::{ConnectionError, FirstToFinish, Framing, Message, Moved, Side};
use crate::room;
use crate::watch::{Cause, Watch};

/// The most that one record of TLS carries (RFC 8446 §5.1).
const TLS_RECORD: usize = 16 * 1024;

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    Stream(Arc<AsyncSocket>),
    Tls(ReadHalf<Tls>),
    /// Connected, with message boundaries.
    Packets(Arc<AsyncSocket>),
    /// What one peer sends to a socket that many send to.
    Session(mpsc::Receiver<Datagram>),
}

/// A datagram of one session.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) payload: BytesMut,
    /// Bytes that did not fit.
    pub(crate) lost: u64,
}

impl Datagram {
    pub(crate) fn of(received: &Received, room: &[u8]) -> Self {
        Self {
            payload: BytesMut::from(&room[..received.length]),
            lost: (received.whole - received.length) as u64,
        }
    }
}

/// The receiving half of a [`Connection`](crate::Connection).
#[derive(Debug)]
pub struct Receiver {
    source: Source,
    framing: Framing,
    decoder: Decoder,
    /// What was received and is not a whole message yet, or not asked for yet.
    input: BytesMut,
    /// Where the datagram in `input` began.
    datagram_offset: u64,
    /// Bytes lost of the datagram in `input`.
    lost: u64,
    ended: bool,
    moved: Moved,
    watch: Option<Arc<Watch>>,
    pub(crate) first: FirstToFinish,
}

impl Receiver {
    pub(crate) fn new(
        source: Source,
        framing: &Framing,
        watch: Option<Arc<Watch>>,
        first: FirstToFinish,
    ) -> Self {
        Self {
            source,
            decoder: framing.spec.decoder(framing.limits),
            framing: framing.clone(),
            input: BytesMut::new(),
            datagram_offset: 0,
            lost: 0,
            ended: false,
            moved: Moved::default(),
            watch,
            first,
        }
    }

    /// How much was received.
    #[must_use]
    pub fn moved(&self) -> Moved {
        self.moved
    }

    fn end(&mut self) {
        self.ended = true;
        self.first.note(Side::Peer);
    }

    /// Whether the peer has said that no more comes.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Receives and forgets until the peer ends, breaks, or `patience` is over.
    pub(crate) async fn hear_out(&mut self, patience: Duration) {
        if self.ended || !matches!(self.source, Source::Stream(_)) {
            return;
        }
        let forget = async {
            while !self.ended && self.receive_bytes().await.is_ok() {
                self.input.clear();
            }
        };
        // Whoever is still talking then has had its chance.
        let _ = tokio::time::timeout(patience, forget).await;
    }

    fn keeps_boundaries(&self) -> bool {
        matches!(self.source, Source::Packets(_) | Source::Session(_))
    }

    /// A message that is here already.
    ///
    /// # Errors
    /// The peer's bytes are no frames.
    pub fn next_ready(&mut self) -> Result<Option<Message>, ConnectionError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        match self.decoder.decode(&mut self.input)? {
            Some(message) => Ok(Some(self.deliver(message))),
            None if self.keeps_boundaries() => {
                // A frame does not go on in the next datagram.
                let rest = self.decoder.finish(&mut self.input)?;
                Ok(rest.map(|message| self.deliver(message)))
            }
            None => Ok(None),
        }
    }

    /// The next message; `None`: the peer sends no more. May be dropped while it waits.
    ///
    /// # Errors
    /// The connection broke, or the peer's bytes are no frames.
    pub async fn receive(&mut self) -> Result<Option<Message>, ConnectionError> {
        loop {
            if let Some(message) = self.next_ready()? {
                return Ok(Some(message));
            }
            if self.ended {
                return Ok(None);
            }
            if self.keeps_boundaries() {
                if let Some(whole) = self.receive_datagram().await? {
                    return Ok(Some(whole));
                }
            } else {
                self.receive_bytes().await?;
                if self.ended {
                    let rest = self.decoder.finish(&mut self.input)?;
                    return Ok(rest.map(|message| self.deliver(message)));
                }
            }
        }
    }

    fn deliver(&mut self, message: packhorse_frame::Message) -> Message {
        self.moved.messages += 1;
        if let Some(watch) = &self.watch {
            watch.end_message();
        }
        Message {
            payload: message.payload,
            offset: self.datagram_offset + message.offset,
            lost: self.lost,
        }
    }

    async fn receive_bytes(&mut self) -> Result<(), ConnectionError> {
        self.own_what_waits();
        let received = match &mut self.source {
            Source::Stream(socket) => receive_some(socket).await,
            Source::Tls(tls) => receive_tls(tls).await,
            Source::Packets(_) | Source::Session(_) => Ok(BytesMut::new()),
        };
        let bytes = received.or_else(|error| self.ended_by_server(error))?;
        self.moved.bytes += bytes.len() as u64;
        if let Some(watch) = &self.watch {
            watch.moved();
            match watch.cause() {
                Some(cause @ (Cause::Idle | Cause::Slow)) => return Err(cause.into()),
                _ => watch.begin_message(),
            }
        }
        match (bytes.is_empty(), self.input.is_empty()) {
            (true, _) => self.end(),
            (false, true) => self.input = bytes,
            (false, false) => self.input.extend_from_slice(&bytes),
        }
        Ok(())
    }

    /// A connection that waits keeps what it holds, and not the room around it.
    fn own_what_waits(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        } else if self.input.len() < room::STREAM_ROOM / 4 {
            self.input = BytesMut::from(&self.input[..]);
        }
    }

    /// An end that the server brought about is not the peer's fault.
    fn ended_by_server(&self, error: io::Error) -> Result<BytesMut, ConnectionError> {
        match self.watch.as_ref().and_then(|watch| watch.cause()) {
            Some(Cause::Drain) => Ok(BytesMut::new()),
            Some(cause) => Err(cause.into()),
            None => Err(error.into()),
        }
    }

    /// Takes in the next datagram. Without a frame it is a message as it is, empty or not.
    async fn receive_datagram(&mut self) -> Result<Option<Message>, ConnectionError> {
        let next = match &mut self.source {
            Source::Packets(socket) => receive_packet(socket).await,
            Source::Session(datagrams) => Ok(datagrams.recv().await),
            Source::Stream(_) | Source::Tls(_) => Ok(None),
        };
        let next = next.or_else(|error| self.ended_by_server(error).map(|_| None))?;
        let Some(Datagram { payload, lost }) = next else {
            self.end();
            return match self.watch.as_ref().and_then(|watch| watch.cause()) {
                Some(cause @ (Cause::Idle | Cause::Slow)) => Err(cause.into()),
                _ => Ok(None),
            };
        };
        if let Some(watch) = &self.watch {
            watch.moved();
        }
        let offset = self.moved.bytes;
        self.moved.bytes += payload.len() as u64 + lost;
        if self.framing.spec == FrameSpec::default() {
            self.moved.messages += 1;
            let payload = payload.freeze();
            return Ok(Some(Message {
                payload,
                offset,
                lost,
            }));
        }
        self.decoder = self.framing.spec.decoder(self.framing.limits);
        (self.datagram_offset, self.lost) = (offset, lost);
        self.input = payload;
        Ok(None)
    }
}

async fn receive_some(socket: &AsyncSocket) -> io::Result<BytesMut> {
    loop {
        let mut readable = socket.readable().await?;
        if let Some(received) = room::fill(|room| readable.receive(room)) {
            return received;
        }
    }
}

async fn receive_tls(tls: &mut ReadHalf<Tls>) -> io::Result<BytesMut> {
    let mut bytes = BytesMut::with_capacity(TLS_RECORD);
    match tls.read_buf(&mut bytes).await {
        Ok(_) => Ok(bytes),
        // Not an end: somebody in the middle may have cut it off (RFC 8446 §6.1).
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection ended without TLS's own goodbye (close_notify): what came may not be all",
        )),
        Err(error) => Err(error),
    }
}

async fn receive_packet(socket: &AsyncSocket) -> io::Result<Option<Datagram>> {
    loop {
        let mut readable = socket.readable().await?;
        let received = room::with_packet_room(|room| {
            let packet = readable.receive_packet(room)?;
            Some(packet.map(|packet| match packet {
                Packet::End => None,
                Packet::Datagram(received) => Some(Datagram::of(&received, room)),
            }))
        });
        if let Some(received) = received {
            return received;
        }
    }
}
