//! The receiving half of a connection.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use packhorse_endpoint::{AsyncSocket, Echo, Packet, Received, Tls};
use packhorse_frame::{Decoder, FrameSpec};
use rustix::io::ioctl_fionread;
use tokio::io::{AsyncReadExt as _, ReadHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::connection::{ConnectionError, FirstToFinish, Framing, Message, Moved, Side};
use crate::room;
use crate::watch::{Cause, Watch, poll_unless_ended};

/// What a draining server still receives of a peer, where nobody can say how much had come.
const DRAIN_AT_MOST: u64 = 1 << 20;

/// The most that one record of TLS carries (RFC 8446 §5.1).
const TLS_RECORD: usize = 16 * 1024;

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    Stream(Arc<AsyncSocket>),
    Tls(ReadHalf<Tls>),
    /// Connected, with message boundaries.
    Packets(Arc<AsyncSocket>),
    /// Answers to echo requests.
    Echo(Arc<AsyncSocket>, Echo),
    /// What one peer sends to a socket that many send to.
    Session(mpsc::Receiver<Datagram>),
}

/// A datagram of one session.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) payload: BytesMut,
    /// Bytes that did not fit.
    pub(crate) lost: u64,
    /// Where many peers' datagrams wait: the room that it takes.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Datagram {
    pub(crate) fn of(received: &Received, room: &[u8]) -> Self {
        Self {
            payload: BytesMut::from(&room[..received.length]),
            lost: (received.whole - received.length) as u64,
            room: None,
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
    /// While the server drains: how many bytes that had come by then are not received yet.
    draining: Option<u64>,
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
            draining: None,
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

    /// Takes no more datagrams: what its peer sends from now on begins a new session.
    pub(crate) fn close(&mut self) {
        if let Source::Session(datagrams) = &mut self.source {
            datagrams.close();
        }
    }

    /// Receives and forgets until the peer ends, breaks, or `patience` is over.
    pub(crate) async fn hear_out(&mut self, patience: Duration) {
        // What drained has ended here, and not at the peer.
        if self.ended && self.draining.is_none() {
            return;
        }
        let forget = async {
            loop {
                let received = match &mut self.source {
                    Source::Stream(socket) => receive_some(socket).await,
                    Source::Tls(tls) => receive_tls(tls).await,
                    // The kernel keeps what was sent, whatever becomes of this side.
                    Source::Packets(_) | Source::Echo(..) | Source::Session(_) => return,
                };
                match received {
                    Ok(bytes) if !bytes.is_empty() => {}
                    _ => return,
                }
            }
        };
        // Whoever is still talking then has had its chance.
        let _ = tokio::time::timeout(patience, forget).await;
    }

    pub(crate) fn has_boundaries(&self) -> bool {
        self.keeps_boundaries() || self.framing.spec != FrameSpec::default()
    }

    fn keeps_boundaries(&self) -> bool {
        matches!(
            self.source,
            Source::Packets(_) | Source::Echo(..) | Source::Session(_)
        )
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
                    if self.draining.is_some() {
                        // A message that has begun is not the peer's last: it was not let finish.
                        return Ok(None);
                    }
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
        if self.has_drained() {
            self.ended = true;
            return Ok(());
        }
        let watch = self.watch.as_deref();
        let received = match &mut self.source {
            // There is something, which the runtime may not have noticed yet.
            Source::Stream(socket) if self.draining.is_some() => Some(receive_some(socket).await),
            Source::Stream(socket) => {
                let mut bytes = pin!(receive_some(socket));
                poll_fn(|context| poll_unless_ended(watch, context, bytes.as_mut())).await
            }
            Source::Tls(tls) => {
                let mut bytes = pin!(receive_tls(tls));
                poll_fn(|context| poll_unless_ended(watch, context, bytes.as_mut())).await
            }
            Source::Packets(_) | Source::Echo(..) | Source::Session(_) => None,
        };
        let Some(bytes) = received else {
            let is_stream = matches!(self.source, Source::Stream(_));
            // Woken to drain: what had come by then is received first.
            return match is_stream && self.is_draining() && !self.has_drained() {
                true => Ok(()),
                false => self.end_by_server(),
            };
        };
        let bytes = bytes?;
        self.count(bytes.len() as u64);
        match (bytes.is_empty(), self.input.is_empty()) {
            (true, _) => {
                self.draining = None;
                self.end();
            }
            (false, true) => self.input = bytes,
            (false, false) => self.input.extend_from_slice(&bytes),
        }
        if let Some(watch) = &self.watch
            && !self.input.is_empty()
        {
            watch.begin_message();
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.moved.bytes += bytes;
        if let Some(left) = &mut self.draining {
            // An empty datagram is something as well.
            *left = left.saturating_sub(bytes.max(1));
        }
        if let Some(watch) = &self.watch {
            watch.moved();
        }
    }

    /// Whether the server drains, and all that had come by then was received: a peer that goes on
    /// talking does not keep the server.
    fn has_drained(&mut self) -> bool {
        if !self.is_draining() {
            return false;
        }
        let left = self.draining.get_or_insert_with(|| match &self.source {
            Source::Stream(socket) => ioctl_fionread(socket.socket()).unwrap_or_default(),
            // How much there is, only receiving tells.
            _ => DRAIN_AT_MOST,
        });
        *left == 0
    }

    fn is_draining(&self) -> bool {
        let cause = self.watch.as_ref().and_then(|watch| watch.cause());
        cause == Some(Cause::Drain)
    }

    /// There is nothing to receive, and the server ends the connection.
    fn end_by_server(&mut self) -> Result<(), ConnectionError> {
        match self.watch.as_ref().and_then(|watch| watch.cause()) {
            Some(cause @ (Cause::Idle | Cause::Slow)) => Err(cause.into()),
            _ => {
                self.draining = Some(0);
                self.ended = true;
                Ok(())
            }
        }
    }

    /// A connection that waits keeps what it holds, and not the room around it.
    fn own_what_waits(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        } else if self.input.len() < room::STREAM_ROOM / 4 {
            self.input = BytesMut::from(&self.input[..]);
        }
    }

    /// Takes in the next datagram. Without a frame it is a message as it is, empty or not.
    async fn receive_datagram(&mut self) -> Result<Option<Message>, ConnectionError> {
        if self.has_drained() {
            self.ended = true;
            return Ok(None);
        }
        let watch = self.watch.as_deref();
        let next = match &mut self.source {
            Source::Packets(socket) => {
                let mut packet = pin!(receive_packet(socket));
                poll_fn(|context| poll_unless_ended(watch, context, packet.as_mut())).await
            }
            Source::Echo(socket, echo) => {
                let mut answer = pin!(receive_answer(socket, echo));
                poll_fn(|context| poll_unless_ended(watch, context, answer.as_mut())).await
            }
            Source::Session(datagrams) => {
                let mut datagram = pin!(datagrams.recv());
                let next = poll_fn(|context| poll_unless_ended(watch, context, datagram.as_mut()));
                next.await.map(Ok)
            }
            Source::Stream(_) | Source::Tls(_) => None,
        };
        let next = match (next, &self.source) {
            // Woken to drain: what has come is received first, whether the runtime noticed it or not.
            (None, Source::Packets(socket)) if self.is_draining() => try_receive_packet(socket),
            (next, _) => next,
        };
        let Some(next) = next else {
            return self.end_by_server().map(|()| None);
        };
        let Some(Datagram { payload, lost, .. }) = next? else {
            self.end();
            return Ok(None);
        };
        let offset = self.moved.bytes;
        self.count(payload.len() as u64 + lost);
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

/// The data of the next answer. A raw socket sees other packets as well.
async fn receive_answer(socket: &AsyncSocket, echo: &Echo) -> io::Result<Option<Datagram>> {
    while let Some(mut datagram) = receive_packet(socket).await? {
        if let Some(data) = echo.reply(&datagram.payload) {
            datagram.payload = BytesMut::from(data);
            return Ok(Some(datagram));
        }
    }
    Ok(None)
}

/// A packet that is there; `None` where there is none.
fn try_receive_packet(socket: &AsyncSocket) -> Option<io::Result<Option<Datagram>>> {
    room::with_packet_room(|room| match socket.socket().receive_packet(room) {
        Ok(Packet::End) => Some(Ok(None)),
        Ok(Packet::Datagram(received)) => Some(Ok(Some(Datagram::of(&received, room)))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(error)),
    })
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
