//! Three lanes: what was written, what crossed the wire, what was read, by stream offset and time.
//!
//! The middle lane is a [`Trace`](crate::stream::Trace); the outer ones are the calls of
//! [ledgers](crate::ledger) of the two ends, or of one of them. The offset of a byte in its stream is the same
//! in all three, and says which writes a segment carried and which segments a read took.

mod build;
mod svg;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::ops::Range;

pub use build::Gatherer;
pub use svg::page;

use crate::ledger::Call;
use crate::stream::{Direction, SegmentRecord, StreamId};

/// A conversation in three lanes, each way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// Which conversation it is.
    pub id: StreamId,
    /// Who opened it.
    pub client: SocketAddr,
    /// Who was asked.
    pub server: SocketAddr,
    /// What the client said.
    pub to_server: OneWay,
    /// What the server said.
    pub to_client: OneWay,
    /// Segments and calls that were not kept, because there were more than the limit.
    pub dropped: u64,
}

/// The three lanes of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneWay {
    /// Which way.
    pub direction: Direction,
    /// The write calls of its sender, in the order of their offsets. Calls that moved nothing are not among them.
    pub writes: Vec<Write>,
    /// The segments with data, in the order of the capture.
    pub segments: Vec<Segment>,
    /// The read calls of its receiver, in the order of their offsets. Calls that moved nothing are not among them.
    pub reads: Vec<Read>,
    /// What offsets are worth.
    pub offsets: Offsets,
}

/// Whether the offsets of segments are those of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offsets {
    /// They are: the capture has the SYN of this direction.
    Same,
    /// The capture begins later, and nobody knows how many bytes crossed before: writes, segments and reads stand
    /// side by side by time alone.
    Unknown,
}

/// A write call that took bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The call.
    pub call: Call,
    /// The segments that carried a part of it: places in [`OneWay::segments`].
    pub segments: Vec<usize>,
    /// Bytes that had been sent and not acknowledged when the call was made, as the capture has it; `None` where
    /// offsets are unknown. Nagle's algorithm holds a small write back while there are any (RFC 896, RFC 9293
    /// §3.7.4).
    pub outstanding: Option<u64>,
}

/// A segment with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What the capture has.
    pub record: SegmentRecord,
    /// The writes that it carried bytes of: places in [`OneWay::writes`].
    pub writes: Range<usize>,
    /// The reads that took bytes of it: places in [`OneWay::reads`].
    pub reads: Range<usize>,
}

/// A read call that gave bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The call.
    pub call: Call,
    /// The segments that it took bytes of: places in [`OneWay::segments`].
    pub segments: Vec<usize>,
    /// The writes whose bytes it took: places in [`OneWay::writes`].
    pub writes: Range<usize>,
}

impl OneWay {
    /// Segments that carried bytes of more than one write.
    #[must_use]
    pub fn glued(&self) -> usize {
        let glued = self
            .segments
            .iter()
            .filter(|segment| segment.writes.len() > 1);
        glued.count()
    }

    /// Writes that needed more than one segment, resends not counted.
    #[must_use]
    pub fn split(&self) -> usize {
        self.writes
            .iter()
            .filter(|write| self.first_sent(write) > 1)
            .count()
    }

    /// Segments that carried bytes of a write for the first time.
    #[must_use]
    pub fn first_sent(&self, write: &Write) -> usize {
        let segments = write
            .segments
            .iter()
            .filter_map(|&place| self.segments.get(place));
        segments.filter(|segment| !segment.is_resend()).count()
    }
}

impl Segment {
    /// Whether what it carries was sent before.
    #[must_use]
    pub fn is_resend(&self) -> bool {
        use crate::stream::Notes;
        let resends = [
            Notes::RETRANSMISSION,
            Notes::FAST_RETRANSMISSION,
            Notes::SPURIOUS_RETRANSMISSION,
        ];
        resends.iter().any(|note| self.record.notes.contains(*note))
    }
}
