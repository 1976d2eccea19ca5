//! One stream, segment by segment.

use std::net::SocketAddr;
use std::ops::BitOrAssign;

use super::{Direction, StreamId};
use crate::Timestamp;
use crate::packet::Flags;

/// One conversation, segment by segment: what ladders and messages are drawn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Which conversation it is.
    pub id: StreamId,
    /// Who opened it.
    pub client: SocketAddr,
    /// Who was asked.
    pub server: SocketAddr,
    /// What crossed, in the order of the capture.
    pub segments: Vec<SegmentRecord>,
    /// Segments that were not kept, because there were more than the limit.
    pub dropped: u64,
}

/// One segment (or datagram) of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRecord {
    /// The frame that carried it.
    pub frame: u64,
    /// When that was captured.
    pub time: Timestamp,
    /// Which way it went.
    pub direction: Direction,
    /// The sequence number in its header.
    pub sequence: u32,
    /// The acknowledgment number in its header.
    pub acknowledgment: u32,
    /// Its control bits; none for a datagram.
    pub flags: Flags,
    /// The window that its sender offers, scaled where both SYNs were seen: bytes.
    pub window: u64,
    /// Where its payload begins in the stream: bytes since the first byte of data in its direction, counted
    /// on across the wrap of sequence numbers. Negative for what lies before the first byte known: a SYN
    /// without data (-1), a keep-alive.
    pub offset: i64,
    /// Up to where its sender has received the other direction: bytes since the first byte of data. What
    /// acknowledges the SYN alone has 0, and so has what acknowledges nothing.
    pub acknowledged: i64,
    /// Bytes of payload, on the wire.
    pub len: u32,
    /// Bytes of the IP packet, on the wire: what the MTU is compared with.
    pub packet_len: u32,
    /// What its options say.
    pub options: SegmentOptions,
    /// What TCP did here.
    pub notes: Notes,
}

impl SegmentRecord {
    /// Where its payload ends in the stream.
    pub fn end(&self) -> i64 {
        self.offset.saturating_add(i64::from(self.len))
    }
}

/// The options of a segment that say something about the stream (RFC 9293 §3.2, RFC 7323, RFC 2018).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentOptions {
    /// The largest segment that its sender takes, in bytes of payload and options.
    pub mss: Option<u16>,
    /// By how many bits its sender's windows are shifted.
    pub window_scale: Option<u8>,
    /// Its sender understands selective acknowledgment.
    pub sack_permitted: bool,
    /// What arrived beyond a gap: first byte, and one past the last, as sequence numbers.
    pub sack: Vec<(u32, u32)>,
    /// The sender's clock, and the echo of the receiver's.
    pub timestamps: Option<(u32, u32)>,
}

/// What TCP did with a segment, by the rules of Wireshark's analysis. Bits, since several may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notes(pub u32);

impl Notes {
    /// Sent again.
    pub const RETRANSMISSION: Self = Self(1);
    /// Sent again because of duplicate acknowledgments.
    pub const FAST_RETRANSMISSION: Self = Self(1 << 1);
    /// Sent again although it had been acknowledged.
    pub const SPURIOUS_RETRANSMISSION: Self = Self(1 << 2);
    /// Overtaken by what was sent after it.
    pub const OUT_OF_ORDER: Self = Self(1 << 3);
    /// The same acknowledgment once more.
    pub const DUPLICATE_ACK: Self = Self(1 << 4);
    /// What came before it is not in the capture.
    pub const PREVIOUS_NOT_CAPTURED: Self = Self(1 << 5);
    /// It acknowledges what is not in the capture.
    pub const ACK_OF_UNSEEN: Self = Self(1 << 6);
    /// Its sender takes no more for now.
    pub const ZERO_WINDOW: Self = Self(1 << 7);
    /// It asks whether the other side takes something again.
    pub const ZERO_WINDOW_PROBE: Self = Self(1 << 8);
    /// It answers such a question.
    pub const ZERO_WINDOW_PROBE_ACK: Self = Self(1 << 9);
    /// It fills the window of the other side.
    pub const WINDOW_FULL: Self = Self(1 << 10);
    /// It changes the window and nothing else.
    pub const WINDOW_UPDATE: Self = Self(1 << 11);
    /// It asks whether the other side is there.
    pub const KEEP_ALIVE: Self = Self(1 << 12);
    /// It answers such a question.
    pub const KEEP_ALIVE_ACK: Self = Self(1 << 13);
    /// The ports were used before, by another stream.
    pub const PORTS_REUSED: Self = Self(1 << 14);

    /// Sent again, for whatever reason.
    pub const ANY_RETRANSMISSION: Self = Self(0b111);

    /// Whether all of `other` hold.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` holds.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOrAssign for Notes {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Bytes of a stream, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// Which way they went.
    pub direction: Direction,
    /// Where they begin: bytes since the first byte of data in their direction, as in
    /// [`SegmentRecord::offset`].
    pub offset: i64,
    /// The frame that completed them: later than the one that carried them, where something was missing.
    pub frame: u64,
    /// When that was captured.
    pub time: Timestamp,
    /// What there is.
    pub data: Data<'a>,
}

/// A piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// So many bytes that are not in the capture.
    Missing(u64),
}
