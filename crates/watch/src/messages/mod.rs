//! Messages against the segments that carried them: which were glued, which were split, and why.
//!
//! TCP keeps no message boundaries. A [`Collector`] finds the messages again in the bytes of a stream, by the
//! same framings that `connect` and `listen` know; [`Collector::finish`] holds each against the segments of
//! the [`Trace`], and gives a [`Cause`] with its evidence where the capture shows one.

mod carriers;
mod cause;
mod collector;

pub use cause::{Cause, Evidence};
pub use collector::Collector;

use carriers::Carriers;
use cause::Judge;

use crate::Timestamp;
use crate::stream::{Direction, Trace};

/// The messages of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// In each direction's order, the client's first.
    pub messages: Vec<Message>,
    /// What was counted of the client's messages.
    pub to_server: Counts,
    /// What was counted of the server's.
    pub to_client: Counts,
    /// Where messages could not be told apart any more, and why.
    pub failures: Vec<Failure>,
}

/// A message, and how it travelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub direction: Direction,
    /// Its number in its direction, from 0.
    pub number: u64,
    /// Where its frame begins in the stream, header included.
    pub begin: i64,
    /// Where its frame ends.
    pub end: i64,
    /// Bytes of its payload.
    pub payload_len: u64,
    /// How its payload begins: [`PREVIEW`] bytes at most.
    pub preview: Vec<u8>,
    /// Whether it travelled alone.
    pub shape: Shape,
    /// The segments that carried it, in its order: where several carried the same bytes, the first captured.
    pub carriers: Vec<Carrier>,
    /// Why it shares a segment, for each that it shares.
    pub glued: Vec<Evidence>,
    /// Why it was cut, for each cut.
    pub split: Vec<Evidence>,
}

/// How many bytes of a payload are kept.
pub const PREVIEW: usize = 48;

/// How a message lies in segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One segment, and nothing else in it.
    Alone,
    /// One segment, with other messages or parts of them.
    Glued,
    /// Several segments, and nothing else in them.
    Split,
    /// Several segments, and other messages in some of them.
    Both,
}

/// A segment that carried a part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carrier {
    /// The frame.
    pub frame: u64,
    /// When it was captured.
    pub time: Timestamp,
    /// Where the part begins in the stream.
    pub begin: i64,
    /// Where it ends.
    pub end: i64,
}

/// One direction, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that came whole.
    pub messages: u64,
    /// Segments with data that was new.
    pub segments: u64,
    /// Messages of each shape: alone, glued, split, both.
    pub alone: u64,
    /// See [`Shape::Glued`].
    pub glued: u64,
    /// See [`Shape::Split`].
    pub split: u64,
    /// See [`Shape::Both`].
    pub both: u64,
    /// Segments with more than one message, by cause.
    pub glue_causes: Vec<(Cause, u64)>,
    /// Cuts within messages, by cause.
    pub split_causes: Vec<(Cause, u64)>,
}

/// Where messages cannot be told apart any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose messages.
    pub direction: Direction,
    /// Where in the stream.
    pub offset: i64,
    /// Why.
    pub what: String,
}

/// What the collector knows of a message.
#[derive(Debug, Clone)]
struct Found {
    direction: Direction,
    begin: i64,
    end: i64,
    payload_len: u64,
    preview: Vec<u8>,
}

/// Holds messages against segments.
fn assemble(found: Vec<Found>, failures: Vec<Failure>, trace: &Trace) -> Messages {
    let judge = Judge::new(trace);
    let mut assembled = Messages {
        messages: Vec::with_capacity(found.len()),
        to_server: Counts::default(),
        to_client: Counts::default(),
        failures,
    };
    for direction in [Direction::ToServer, Direction::ToClient] {
        let carriers = Carriers::new(trace, direction);
        let own: Vec<&Found> = found.iter().filter(|m| m.direction == direction).collect();
        let (messages, counts) = one_direction(&own, &carriers, &judge);
        assembled.messages.extend(messages);
        match direction {
            Direction::ToServer => assembled.to_server = counts,
            Direction::ToClient => assembled.to_client = counts,
        }
    }
    assembled
}

fn one_direction(
    found: &[&Found],
    carriers: &Carriers,
    judge: &Judge<'_>,
) -> (Vec<Message>, Counts) {
    let shared = shared(found, carriers);
    let mut counts = Counts {
        segments: carriers.segments(),
        ..Counts::default()
    };
    for (index, _) in shared
        .iter()
        .enumerate()
        .filter(|(_, messages)| **messages > 1)
    {
        if let Some(carrier) = carriers.get(index) {
            add(&mut counts.glue_causes, judge.glue(carrier).cause);
        }
    }
    let mut messages = Vec::with_capacity(found.len());
    for (number, message) in (0..).zip(found) {
        let pieces = carriers.of(message.begin, message.end);
        let glued: Vec<Evidence> = pieces
            .clone()
            .filter(|index| shared.get(*index).is_some_and(|messages| *messages > 1))
            .filter_map(|index| Some(judge.glue(carriers.get(index)?)))
            .collect();
        let split: Vec<Evidence> = pieces
            .clone()
            .zip(pieces.clone().skip(1))
            .filter_map(|(a, b)| Some(judge.cut(carriers.get(a)?, carriers.get(b)?)))
            .collect();
        for evidence in &split {
            add(&mut counts.split_causes, evidence.cause);
        }
        let shape = match (glued.is_empty(), split.is_empty()) {
            (true, true) => Shape::Alone,
            (false, true) => Shape::Glued,
            (true, false) => Shape::Split,
            (false, false) => Shape::Both,
        };
        counts.messages += 1;
        *counts.of(shape) += 1;
        let parts = pieces.filter_map(|index| carriers.get(index));
        messages.push(Message {
            direction: message.direction,
            number,
            begin: message.begin,
            end: message.end,
            payload_len: message.payload_len,
            preview: message.preview.clone(),
            shape,
            carriers: parts
                .map(|part| part.part(message.begin, message.end))
                .collect(),
            glued,
            split,
        });
    }
    (messages, counts)
}

/// How many messages each carrier has a part of. What lies beside all messages counts as one more.
fn shared(found: &[&Found], carriers: &Carriers) -> Vec<u32> {
    let mut shared = vec![0_u32; carriers.len()];
    for message in found {
        for index in carriers.of(message.begin, message.end) {
            if let Some(count) = shared.get_mut(index) {
                *count = count.saturating_add(1);
            }
        }
    }
    // The beginning of a message that is not whole in the capture is a message as well.
    let last = found.last().map_or(i64::MIN, |message| message.end);
    for index in carriers.beyond(last) {
        if let Some(count) = shared.get_mut(index) {
            *count = count.saturating_add(1);
        }
    }
    shared
}

fn add(causes: &mut Vec<(Cause, u64)>, cause: Cause) {
    match causes.iter_mut().find(|(known, _)| *known == cause) {
        Some((_, count)) => *count += 1,
        None => causes.push((cause, 1)),
    }
}

impl Counts {
    fn of(&mut self, shape: Shape) -> &mut u64 {
        match shape {
            Shape::Alone => &mut self.alone,
            Shape::Glued => &mut self.glued,
            Shape::Split => &mut self.split,
            Shape::Both => &mut self.both,
        }
    }
}
