//! Three lanes: what was written, what was on the wire, what was read.
//!
//! The ledgers of both processes and a capture taken at the same time are held against each other by the places
//! of bytes in the stream: which writes a segment carried, and which of them a read got.

mod svg;
mod text;

pub use svg::page;

use std::net::SocketAddr;
use std::ops::Range;

use crate::Timestamp;
use crate::ledger::{Call, CallKind};
use crate::stream::{Direction, Trace};

/// One direction of a stream in three lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// Which direction.
    pub direction: Direction,
    /// Who wrote.
    pub writer: SocketAddr,
    /// Who read.
    pub reader: SocketAddr,
    /// When the stream began.
    pub begin: Timestamp,
    /// What happened, in the order of time.
    pub moments: Vec<Moment>,
    /// Writes in the ledger.
    pub writes: usize,
    /// Segments with data.
    pub segments: usize,
    /// Reads that got something.
    pub reads: usize,
}

/// Something that happened to bytes `begin..end` of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub time: Timestamp,
    /// Where.
    pub lane: Lane,
    /// Its number in its lane, from 0.
    pub number: usize,
    /// Where its bytes begin in the stream.
    pub begin: i64,
    /// Where they end.
    pub end: i64,
    /// The writes whose bytes it has, by number; empty where no ledger tells.
    pub writes: Range<usize>,
    /// For a read, the segments whose bytes it has, by number.
    pub carried: Range<usize>,
    /// For a segment, its frame.
    pub frame: Option<u64>,
    /// For a segment, whether it was sent before.
    pub again: bool,
    /// For a call, bytes in flight, and the congestion window in segments, as TCP had them behind it.
    pub tcp: Option<(u32, u32)>,
}

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// A write call of the sender.
    Written,
    /// A segment.
    Wire,
    /// A read call of the receiver.
    Read,
}

impl Lanes {
    /// Lines up both directions of a stream.
    pub fn new(trace: &Trace, calls: &[Call]) -> [Self; 2] {
        [
            Self::direction(trace, calls, Direction::ToServer),
            Self::direction(trace, calls, Direction::ToClient),
        ]
    }

    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    fn direction(trace: &Trace, calls: &[Call], direction: Direction) -> Self {
        let (writer, reader) = match direction {
            Direction::ToServer => (trace.client, trace.server),
            Direction::ToClient => (trace.server, trace.client),
        };
        let begin = trace.segments.first().map(|s| s.time).unwrap_or_default();
        let last = trace.segments.last().map(|s| s.time).unwrap_or_default();
        let during = |call: &Call| {
            // The same ports may have been used before and behind; a second is more than clocks differ.
            let margin = 1_000_000_000;
            call.began.since(begin) > -margin && call.began.since(last) < margin
        };
        let of = |kind, local, peer| {
            calls.iter().filter(move |call| {
                call.kind == kind
                    && call.local == local
                    && call.peer == peer
                    && call.done > 0
                    && during(call)
            })
        };
        let mut moments: Vec<Moment> = Vec::new();
        moments
            .extend(of(CallKind::Write, writer, reader).map(|call| written(call, Lane::Written)));
        let segments = trace.segments.iter();
        moments.extend(
            segments
                .filter(|segment| segment.direction == direction && segment.len > 0)
                .map(|segment| Moment {
                    time: segment.time,
                    lane: Lane::Wire,
                    number: 0,
                    begin: segment.offset,
                    end: segment.end(),
                    writes: 0..0,
                    carried: 0..0,
                    frame: Some(segment.frame),
                    again: segment
                        .notes
                        .intersects(crate::stream::Notes::ANY_RETRANSMISSION),
                    tcp: None,
                }),
        );
        moments.extend(of(CallKind::Read, reader, writer).map(|call| written(call, Lane::Read)));
        moments.sort_by_key(|moment| (moment.time, moment.lane));
        let mut lanes = Self {
            direction,
            writer,
            reader,
            begin: begin.min(moments.first().map_or(begin, |moment| moment.time)),
            moments,
            writes: 0,
            segments: 0,
            reads: 0,
        };
        lanes.line_up();
        lanes
    }

    /// Numbers everything, and finds what has whose bytes.
    fn line_up(&mut self) {
        let mut numbers = [0; 3];
        for moment in &mut self.moments {
            let number = &mut numbers[moment.lane as usize];
            moment.number = *number;
            *number += 1;
        }
        [self.writes, self.segments, self.reads] = numbers;
        let writes = self.places(Lane::Written);
        let segments = self.places(Lane::Wire);
        for moment in &mut self.moments {
            moment.writes = match moment.lane {
                Lane::Written => moment.number..moment.number + 1,
                Lane::Wire | Lane::Read => writes.of(moment),
            };
            if moment.lane == Lane::Read {
                moment.carried = segments.of(moment);
            }
        }
    }

    fn places(&self, lane: Lane) -> Places {
        let own = self.moments.iter().filter(|moment| moment.lane == lane);
        let places: Vec<_> = own.map(|moment| moment.begin..moment.end).collect();
        Places::new(&places)
    }

    /// What there is to learn from them, in sentences.
    pub fn lessons(&self) -> Vec<String> {
        let glued = self.count(Lane::Wire, |moment| moment.writes.len() > 1);
        let read_together = self.count(Lane::Read, |moment| moment.writes.len() > 1);
        let mut told = Vec::new();
        let count = |number: usize, one: &str, many: &str| match number {
            1 => format!("1 {one}"),
            number => format!("{number} {many}"),
        };
        told.push(format!(
            "{} crossed in {} and came out of {}.",
            count(self.writes, "write", "writes"),
            count(self.segments, "segment", "segments"),
            count(self.reads, "read", "reads")
        ));
        if let Some((number, moment)) = glued {
            told.push(format!(
                "{} {} bytes of several writes: frame {} has writes {}.",
                count(number, "segment", "segments"),
                if number == 1 { "has" } else { "have" },
                moment.frame.unwrap_or_default(),
                numbers(&moment.writes)
            ));
        }
        if let Some((number, moment)) = read_together {
            told.push(format!(
                "{} got bytes of several writes at once: read {} has writes {}.",
                count(number, "read", "reads"),
                moment.number,
                numbers(&moment.writes)
            ));
        }
        let mut carriers = vec![0_u32; self.writes];
        let new = |moment: &&Moment| moment.lane == Lane::Wire && !moment.again;
        for moment in self.moments.iter().filter(new) {
            let carried = carriers.get_mut(moment.writes.clone());
            carried.into_iter().flatten().for_each(|count| *count += 1);
        }
        let cut = carriers.iter().position(|count| *count > 1);
        if let Some(write) = cut {
            told.push(format!(
                "Write {write} was cut: it crossed in more than one segment."
            ));
        }
        told
    }

    /// How many moments of a lane are such, and the first.
    fn count(&self, lane: Lane, such: impl Fn(&Moment) -> bool) -> Option<(usize, &Moment)> {
        let mut found = self
            .moments
            .iter()
            .filter(|moment| moment.lane == lane && such(moment));
        let first = found.next()?;
        Some((1 + found.count(), first))
    }
}

/// A call as a moment: a read is over when its bytes are there.
fn written(call: &Call, lane: Lane) -> Moment {
    let took = match lane {
        Lane::Read => i64::try_from(call.took).unwrap_or_default(),
        Lane::Written | Lane::Wire => 0,
    };
    Moment {
        time: Timestamp(call.began.0.saturating_add(took)),
        lane,
        number: 0,
        begin: i64::try_from(call.offset).unwrap_or(i64::MAX),
        end: i64::try_from(call.end()).unwrap_or(i64::MAX),
        writes: 0..0,
        carried: 0..0,
        frame: None,
        again: false,
        tcp: call.tcp.map(|tcp| (tcp.send_queue, tcp.cwnd)),
    }
}

/// The places of a lane's bytes, to be searched.
struct Places {
    /// For each, how far it and those before it reach.
    reached: Vec<i64>,
    /// For each, where it and those behind it begin.
    begins: Vec<i64>,
}

impl Places {
    fn new(places: &[Range<i64>]) -> Self {
        let furthest = places.iter().scan(i64::MIN, |reached, place| {
            *reached = place.end.max(*reached);
            Some(*reached)
        });
        let reached = furthest.collect();
        let first = places.iter().rev().scan(i64::MAX, |begins, place| {
            *begins = place.start.min(*begins);
            Some(*begins)
        });
        let mut begins: Vec<i64> = first.collect();
        begins.reverse();
        Self { reached, begins }
    }

    /// Those that share bytes with a moment, the first to the last: with retransmissions some between may not.
    fn of(&self, moment: &Moment) -> Range<usize> {
        let first = self
            .reached
            .partition_point(|reached| *reached <= moment.begin);
        let behind = self.begins.partition_point(|begins| *begins < moment.end);
        first..behind.max(first)
    }
}

/// `#3`, or `#3 to #7`.
fn numbers(range: &Range<usize>) -> String {
    match range.len() {
        0 => String::new(),
        1 => format!("#{}", range.start),
        _ => format!("#{} to #{}", range.start, range.end - 1),
    }
}

impl Moment {
    /// What it is, short.
    pub fn label(&self) -> String {
        let (begin, end) = (self.begin, self.end);
        let what = match (self.lane, self.frame) {
            (Lane::Wire, Some(frame)) => format!("frame {frame}"),
            (Lane::Written, _) => format!("write #{}", self.number),
            _ => format!("read {}", self.number),
        };
        let again = if self.again { " again" } else { "" };
        let whose = match self.lane {
            Lane::Written => String::new(),
            Lane::Wire | Lane::Read => numbers(&self.writes),
        };
        let sep = if whose.is_empty() { "" } else { ": " };
        format!("{what}{again} {begin}..{end}{sep}{whose}")
    }
}
