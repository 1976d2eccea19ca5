//! Finding messages in the bytes of a stream.

use bytes::BytesMut;
use packhorse_frame::{Decoder, Delimiter, FrameSpec};

use super::{Failure, Found, Messages, PREVIEW, assemble};
use crate::Limits;
use crate::stream::{Data, Delivered, Direction, Protocol, Trace};

/// Finds the messages of both directions as their bytes come.
#[derive(Debug)]
pub struct Collector {
    spec: FrameSpec,
    limit: usize,
    sides: [Side; 2],
    found: Vec<Found>,
    failures: Vec<Failure>,
    protocol: Protocol,
}

#[derive(Debug)]
struct Side {
    direction: Direction,
    decoder: Decoder,
    /// Where in the stream the decoder began; `None` before the first byte.
    base: Option<i64>,
    buffer: BytesMut,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Messages are told apart.
    Decoding,
    /// Something was missing: looking for the end of the message that it was in.
    Searching(u8),
    /// Nothing can be told any more.
    Lost,
}

impl Collector {
    /// For a conversation of this protocol. A datagram is a message; of streams `spec` tells them apart.
    pub fn new(spec: FrameSpec, protocol: Protocol, limits: &Limits) -> Self {
        let side = |direction| Side {
            direction,
            decoder: spec.decoder(packhorse_frame::Limits::default()),
            base: None,
            buffer: BytesMut::new(),
            state: State::Decoding,
        };
        Self {
            spec,
            limit: limits.trace,
            sides: [side(Direction::ToServer), side(Direction::ToClient)],
            found: Vec::new(),
            failures: Vec::new(),
            protocol,
        }
    }

    /// Takes the next bytes of a direction.
    pub fn add(&mut self, delivered: &Delivered<'_>) {
        if self.protocol == Protocol::Udp {
            return self.add_datagram(delivered);
        }
        let side = match delivered.direction {
            Direction::ToServer => &mut self.sides[0],
            Direction::ToClient => &mut self.sides[1],
        };
        match delivered.data {
            Data::Missing(count) => {
                side.lose(self.spec, delivered.offset, count, &mut self.failures);
            }
            Data::Bytes(bytes) => {
                side.take(self.spec, delivered.offset, bytes);
                side.decode(self.limit, &mut self.found, &mut self.failures);
            }
        }
    }

    fn add_datagram(&mut self, delivered: &Delivered<'_>) {
        let Data::Bytes(bytes) = delivered.data else {
            return;
        };
        if self.found.len() < self.limit {
            let len = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            self.found.push(Found {
                direction: delivered.direction,
                begin: delivered.offset,
                end: delivered.offset.saturating_add(len),
                payload_len: bytes.len() as u64,
                preview: preview(bytes),
            });
        }
    }

    /// There are no more bytes: holds the messages against the segments.
    pub fn finish(mut self, trace: &Trace) -> Messages {
        for side in &mut self.sides {
            side.finish(self.limit, &mut self.found, &mut self.failures);
        }
        assemble(self.found, self.failures, trace)
    }
}

fn preview(bytes: &[u8]) -> Vec<u8> {
    bytes.get(..PREVIEW).unwrap_or(bytes).to_vec()
}

impl Side {
    /// Something is missing: only a delimiter shows where the next message begins.
    fn lose(&mut self, spec: FrameSpec, offset: i64, count: u64, failures: &mut Vec<Failure>) {
        if self.state == State::Lost {
            return;
        }
        let what = format!("{count} bytes are not in the capture");
        let (state, next) = match spec {
            FrameSpec::Delimited(Delimiter::Newline) => (State::Searching(b'\n'), ""),
            FrameSpec::Delimited(Delimiter::Nul) => (State::Searching(0), ""),
            FrameSpec::None => (State::Decoding, ""),
            _ => (
                State::Lost,
                ": where messages begin behind them cannot be known",
            ),
        };
        failures.push(Failure {
            direction: self.direction,
            offset,
            what: what + next,
        });
        self.buffer.clear();
        self.base = None;
        self.state = state;
        self.decoder = spec.decoder(packhorse_frame::Limits::default());
    }

    fn take(&mut self, spec: FrameSpec, mut offset: i64, mut bytes: &[u8]) {
        if let State::Searching(delimiter) = self.state {
            let Some(at) = bytes.iter().position(|byte| *byte == delimiter) else {
                return;
            };
            bytes = bytes.get(at + 1..).unwrap_or_default();
            offset = offset.saturating_add(i64::try_from(at + 1).unwrap_or(i64::MAX));
            self.decoder = spec.decoder(packhorse_frame::Limits::default());
            self.state = State::Decoding;
        }
        if self.state == State::Decoding {
            self.base.get_or_insert(offset);
            self.buffer.extend_from_slice(bytes);
        }
    }

    fn decode(&mut self, limit: usize, found: &mut Vec<Found>, failures: &mut Vec<Failure>) {
        while self.state == State::Decoding {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Some(message)) => self.keep(&message, limit, found),
                Ok(None) => return,
                Err(error) => return self.fail(error.to_string(), failures),
            }
        }
    }

    fn finish(&mut self, limit: usize, found: &mut Vec<Found>, failures: &mut Vec<Failure>) {
        while self.state == State::Decoding && !self.buffer.is_empty() {
            match self.decoder.finish(&mut self.buffer) {
                Ok(Some(message)) => self.keep(&message, limit, found),
                Ok(None) => return,
                Err(error) => return self.fail(error.to_string(), failures),
            }
        }
    }

    fn keep(&self, message: &packhorse_frame::Message, limit: usize, found: &mut Vec<Found>) {
        if found.len() >= limit {
            return;
        }
        let base = self.base.unwrap_or_default();
        let at = |offset: u64| base.saturating_add(i64::try_from(offset).unwrap_or(i64::MAX));
        found.push(Found {
            direction: self.direction,
            begin: at(message.offset),
            end: at(message.offset.saturating_add(message.wire_length)),
            payload_len: message.payload.len() as u64,
            preview: preview(&message.payload),
        });
    }

    fn fail(&mut self, what: String, failures: &mut Vec<Failure>) {
        let base = self.base.unwrap_or_default();
        let offset = i64::try_from(self.decoder.offset()).unwrap_or(i64::MAX);
        failures.push(Failure {
            direction: self.direction,
            offset: base.saturating_add(offset),
            what,
        });
        self.state = State::Lost;
        self.buffer = BytesMut::new();
    }
}
