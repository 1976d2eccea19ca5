//! One stream out of a capture: its segments, and its bytes in order.

use std::net::SocketAddr;

use super::reassembly::{Piece, Reassembly};
use super::trace::{Delivered, SegmentRecord, Trace};
use super::{Direction, Seen, StreamId, Streams, options};
use crate::packet::{Flags, Packet, Transport};
use crate::{Error, Frame, Limits, Packets, Source};

/// Reads `source` to its end and picks one conversation out: what crossed, segment by segment, and through
/// `on_data` its bytes in order. `None`: there is no such conversation.
///
/// # Errors
/// The source's. What was read before has been given to `on_data`, and the trace ends there: it comes with the
/// error.
pub fn trace(
    source: &mut dyn Source,
    id: StreamId,
    limits: &Limits,
    mut on_data: impl FnMut(Delivered<'_>),
) -> (Option<Trace>, Result<(), Error>) {
    let mut packets = Packets::new(limits);
    let mut tracer = Tracer::new(id, limits);
    let result = loop {
        match source.next_frame() {
            Ok(Some(frame)) => {
                if let Some(packet) = packets.read(&frame) {
                    tracer.handle(&frame, &packet, &mut on_data);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (tracer.end(&mut on_data), result)
}

/// Picks one conversation out of packets.
#[derive(Debug)]
pub struct Tracer {
    streams: Streams,
    id: StreamId,
    limit: usize,
    trace: Option<Trace>,
    directions: [Reassembly; 2],
}

impl Tracer {
    /// Nothing is seen yet.
    pub fn new(id: StreamId, limits: &Limits) -> Self {
        let half = limits.out_of_order / 2;
        Self {
            streams: Streams::new(limits),
            id,
            limit: limits.trace,
            trace: None,
            directions: [
                Reassembly::new(Direction::ToServer, half),
                Reassembly::new(Direction::ToClient, half),
            ],
        }
    }

    /// Looks at a packet, and gives the bytes that are in order by it.
    pub fn handle(
        &mut self,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
        give: &mut impl FnMut(Delivered<'_>),
    ) {
        let Some(seen) = self.streams.handle(frame, packet) else {
            return;
        };
        // Nobody asks for those.
        drop(self.streams.ended());
        let Some((source, destination)) = packet.endpoints().filter(|_| seen.id == self.id) else {
            return;
        };
        let record = record(frame, packet, &seen);
        let trace = self.trace.get_or_insert_with(|| {
            let (client, server) = ends(&seen, source, destination);
            Trace {
                id: seen.id,
                client,
                server,
                segments: Vec::new(),
                dropped: 0,
            }
        });
        let payload = payload(packet);
        let captured = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let piece = Piece {
            offset: record.offset,
            frame: frame.number,
            time: frame.time,
            bytes: payload,
            cut: record.len.saturating_sub(captured),
        };
        let begins =
            record.offset + i64::from(record.flags.contains(Flags::SYN) && record.len == 0);
        if trace.segments.len() < self.limit {
            trace.segments.push(record);
        } else {
            trace.dropped += 1;
        }
        let other = &mut self.directions[seen.direction.reverse().index()];
        other.acknowledged(seen.acknowledged, frame.number, frame.time, give);
        let own = &mut self.directions[seen.direction.index()];
        own.begin(begins);
        own.add(piece, give);
    }

    /// There are no more packets: gives the bytes that still waited.
    pub fn end(mut self, give: &mut impl FnMut(Delivered<'_>)) -> Option<Trace> {
        for direction in &mut self.directions {
            direction.end(give);
        }
        self.trace
    }
}

/// Client and server.
fn ends(seen: &Seen, source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    match seen.direction {
        Direction::ToServer => (source, destination),
        Direction::ToClient => (destination, source),
    }
}

fn payload<'a>(packet: &Packet<'a>) -> &'a [u8] {
    match packet.transport {
        Transport::Tcp(segment) => segment.payload,
        Transport::Udp(datagram) => datagram.payload,
        Transport::Fragment(_) | Transport::Other { .. } => &[],
    }
}

fn record(frame: &Frame<'_>, packet: &Packet<'_>, seen: &Seen) -> SegmentRecord {
    let mut record = SegmentRecord {
        frame: frame.number,
        time: frame.time,
        direction: seen.direction,
        sequence: 0,
        acknowledgment: 0,
        flags: Flags::default(),
        window: seen.window,
        offset: seen.offset,
        acknowledged: seen.acknowledged,
        len: 0,
        packet_len: packet.len,
        options: Default::default(),
        notes: seen.notes,
    };
    match packet.transport {
        Transport::Tcp(segment) => {
            record.sequence = segment.sequence;
            record.acknowledgment = segment.acknowledgment;
            record.flags = segment.flags;
            record.len = segment.payload_len;
            record.options = options::read(segment.options);
        }
        Transport::Udp(datagram) => record.len = datagram.payload_len,
        Transport::Fragment(_) | Transport::Other { .. } => {}
    }
    record
}
