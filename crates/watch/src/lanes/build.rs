//! Putting the lanes together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::{Lanes, Offsets, OneWay, Read, Segment, Write};
use crate::Timestamp;
use crate::ledger::{Call, Endpoints, Kind};
use crate::packet::Flags;
use crate::stream::{Direction, Trace};

/// How often a segment is noted at a call at most: a capture in which the same bytes are sent again and again, and
/// a ledger that wrote them one by one, would otherwise fill the memory.
const MOST_NOTES: usize = 1 << 24;

/// Gathers the calls that belong to a stream, from any number of ledgers, then makes [`Lanes`] of them.
#[derive(Debug)]
pub struct Gatherer {
    client: SocketAddr,
    server: SocketAddr,
    /// By side (the client's false) and connection of a process: ports are used again.
    connections: HashMap<(bool, u32, u64), Vec<Call>>,
    kept: usize,
    limit: usize,
    dropped: u64,
}

impl Gatherer {
    /// For this stream. At most `limit` calls are kept.
    #[must_use]
    pub fn new(trace: &Trace, limit: usize) -> Self {
        Self {
            client: trace.client,
            server: trace.server,
            connections: HashMap::new(),
            kept: 0,
            limit,
            dropped: 0,
        }
    }

    /// Takes a call, if it is one of this stream that moved something; `false`: it is not of this stream.
    pub fn take(&mut self, call: Call) -> bool {
        let ends = |local, peer| call.endpoints == Some(Endpoints { local, peer });
        let server = match () {
            () if ends(self.client, self.server) => false,
            () if ends(self.server, self.client) => true,
            () => return false,
        };
        if call.done() == 0 {
            return true;
        }
        if self.kept >= self.limit {
            self.dropped += 1;
            return true;
        }
        self.kept += 1;
        let whose = (server, call.process, call.connection);
        self.connections.entry(whose).or_default().push(call);
        true
    }

    /// Lines the calls up with the segments.
    #[must_use]
    pub fn finish(mut self, trace: &Trace) -> Lanes {
        let client = self.connection(false, trace);
        let server = self.connection(true, trace);
        let part = |calls: &[Call], kind| -> Vec<Call> {
            let of_kind = calls.iter().filter(|call| call.kind == kind);
            let mut calls: Vec<Call> = of_kind.cloned().collect();
            calls.sort_by_key(|call| call.offset);
            calls
        };
        let one_way = |direction, sender: &[Call], receiver: &[Call]| {
            let (writes, reads) = (part(sender, Kind::Write), part(receiver, Kind::Read));
            one_way(trace, direction, writes, reads)
        };
        Lanes {
            id: trace.id,
            client: trace.client,
            server: trace.server,
            to_server: one_way(Direction::ToServer, &client, &server),
            to_client: one_way(Direction::ToClient, &server, &client),
            dropped: trace.dropped.saturating_add(self.dropped),
        }
    }

    /// The calls of one side. Of connections that had the same addresses one after the other, it is the one that
    /// began last before the stream was over.
    fn connection(&mut self, server: bool, trace: &Trace) -> Vec<Call> {
        let over = trace.segments.iter().map(|segment| segment.time).max();
        let began = |calls: &Vec<Call>| calls.iter().map(|call| call.time).min();
        let of_side = self
            .connections
            .iter()
            .filter(|((side, ..), _)| *side == server);
        let whose = of_side
            .filter_map(|(whose, calls)| Some((began(calls)?, *whose)))
            .filter(|(began, _)| over.is_none_or(|over| *began <= over))
            .max();
        whose
            .and_then(|(_, whose)| self.connections.remove(&whose))
            .unwrap_or_default()
    }
}

fn one_way(trace: &Trace, direction: Direction, writes: Vec<Call>, reads: Vec<Call>) -> OneWay {
    let begun = trace
        .segments
        .iter()
        .any(|segment| segment.direction == direction && segment.flags.contains(Flags::SYN));
    let offsets = match begun {
        true => Offsets::Same,
        false => Offsets::Unknown,
    };
    let outstanding = match offsets {
        Offsets::Same => outstanding(trace, direction, &writes),
        Offsets::Unknown => vec![None; writes.len()],
    };
    let mut lanes = OneWay {
        direction,
        writes: Vec::with_capacity(writes.len()),
        segments: Vec::new(),
        reads: Vec::with_capacity(reads.len()),
        offsets,
    };
    let of_direction = trace
        .segments
        .iter()
        .filter(|segment| segment.direction == direction);
    for record in of_direction.filter(|segment| segment.len > 0) {
        let span = match (offsets, u64::try_from(record.offset)) {
            (Offsets::Same, Ok(begin)) => begin..begin.saturating_add(record.len.into()),
            // A keep-alive probe carries a byte from before.
            _ => 0..0,
        };
        lanes.segments.push(Segment {
            writes: overlapping(&writes, &span),
            reads: overlapping(&reads, &span),
            record: record.clone(),
        });
    }
    let mut carried = vec![Vec::new(); writes.len()];
    let mut taken = vec![Vec::new(); reads.len()];
    let mut left = MOST_NOTES;
    for (place, segment) in lanes.segments.iter().enumerate() {
        note(&mut carried, &segment.writes, place, &mut left);
        note(&mut taken, &segment.reads, place, &mut left);
    }
    for (call, segments) in reads.into_iter().zip(taken) {
        let writes = overlapping(&writes, &(call.offset..call.end()));
        lanes.reads.push(Read {
            call,
            segments,
            writes,
        });
    }
    for ((call, segments), outstanding) in writes.into_iter().zip(carried).zip(outstanding) {
        lanes.writes.push(Write {
            call,
            segments,
            outstanding,
        });
    }
    lanes
}

fn note(segments: &mut [Vec<usize>], places: &Range<usize>, segment: usize, left: &mut usize) {
    let Some(rest) = left.checked_sub(places.len()) else {
        return;
    };
    *left = rest;
    for noted in segments.get_mut(places.clone()).unwrap_or_default() {
        noted.push(segment);
    }
}

/// The calls whose bytes overlap with a span of the stream. They are in the order of their offsets, and none
/// overlaps with another; where a ledger lies about that, this still gives a range of what is there.
fn overlapping(calls: &[Call], span: &Range<u64>) -> Range<usize> {
    let first = calls.partition_point(|call| call.end() <= span.start);
    let last = calls.partition_point(|call| call.offset < span.end);
    first..last.max(first)
}

/// For each write: bytes that had been sent and not acknowledged when it was made.
fn outstanding(trace: &Trace, direction: Direction, writes: &[Call]) -> Vec<Option<u64>> {
    let mut by_time: Vec<usize> = (0..writes.len()).collect();
    by_time.sort_by_key(|&place| writes[place].time);
    let mut outstanding = vec![None; writes.len()];
    let (mut sent, mut acknowledged) = (0_i64, 0_i64);
    let mut segments = trace.segments.iter().peekable();
    for place in by_time {
        let now: Timestamp = writes[place].time;
        while let Some(segment) = segments.next_if(|segment| segment.time <= now) {
            if segment.direction == direction {
                sent = sent.max(segment.end());
            } else if segment.flags.contains(Flags::ACK) {
                acknowledged = acknowledged.max(segment.acknowledged);
            }
        }
        outstanding[place] = u64::try_from(sent.saturating_sub(acknowledged))
            .ok()
            .or(Some(0));
    }
    outstanding
}
