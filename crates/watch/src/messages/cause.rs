//! Why messages share a segment, and why they are cut.
//!
//! Only what the capture shows is told; where it cannot show a cause, the cause is unknown. What an application
//! wrote together or apart is in no capture: a ledger has it.

use super::carriers::Stretch;
use crate::packet::Flags;
use crate::stream::{Direction, Notes, SegmentRecord, Trace};

/// Behind an acknowledgment, or the opening of a window, by less than this: because of it. In nanoseconds; far
/// more than a kernel takes to answer, far less than a person or a timer.
const PROMPT: i64 = 1_000_000;

/// Segments that are looked through for what was outstanding.
const LOOK_BACK: usize = 2048;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Nagle's algorithm (RFC 9293 §3.7.4): small writes waited together for an acknowledgment.
    Nagle,
    /// The segment is as large as segments may be.
    Mss,
    /// A super-frame: larger than what goes over the wire, cut or put together by the network card or for it.
    Offload,
    /// Sent again within other boundaries than before.
    Repacked,
    /// The receiver took no more.
    Window,
    /// The capture does not show it.
    Unknown,
}

impl Cause {
    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nagle => "nagle",
            Self::Mss => "mss",
            Self::Offload => "offload",
            Self::Repacked => "repacked",
            Self::Window => "window",
            Self::Unknown => "unknown",
        }
    }
}

/// A cause, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Why.
    pub cause: Cause,
    /// The frame of the segment in question.
    pub frame: u64,
    /// What in the capture shows it, as a sentence.
    pub because: String,
}

/// Looks for causes in one conversation.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    segments: &'a [SegmentRecord],
    /// The largest payload of a segment to the server, and to the client, before options.
    mss: [Option<u32>; 2],
    vantage: Vantage,
}

/// On whose side the capture was taken, as far as the handshake shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vantage {
    Client,
    Server,
    Both,
    Unknown,
}

impl<'a> Judge<'a> {
    pub(super) fn new(trace: &'a Trace) -> Self {
        let announced = |by: Direction| {
            let mut syns = trace
                .segments
                .iter()
                .filter(|segment| segment.direction == by && segment.flags.contains(Flags::SYN));
            syns.find_map(|segment| segment.options.mss).map(u32::from)
        };
        // What a side announces is what it takes (RFC 9293 §3.7.1), and neither sends more than it takes itself
        // on Linux, whose announcement follows the MTU of the way out.
        let (client, server) = (
            announced(Direction::ToServer),
            announced(Direction::ToClient),
        );
        let both = match (client, server) {
            (Some(client), Some(server)) => Some(client.min(server)),
            _ => None,
        };
        Self {
            segments: &trace.segments,
            mss: [both.or(server), both.or(client)],
            vantage: vantage(trace),
        }
    }

    /// Why a segment carries more than one message.
    pub(super) fn glue(&self, stretch: &Stretch) -> Evidence {
        let Some((segment, earlier)) = self.at(stretch) else {
            return unknown(stretch, "the segment was not kept");
        };
        let frame = segment.frame;
        let found = repacked(segment, earlier)
            .or_else(|| self.offload(segment))
            .or_else(|| window_opened(segment, earlier))
            .or_else(|| self.nagle(segment, earlier))
            .or_else(|| self.full(segment));
        let (cause, because) = found.unwrap_or_else(|| (Cause::Unknown, self.nothing(segment)));
        Evidence {
            cause,
            frame,
            because,
        }
    }

    /// Why a message ends its part in one segment and goes on in the next.
    pub(super) fn cut(&self, stretch: &Stretch, next: &Stretch) -> Evidence {
        let Some((segment, earlier)) = self.at(stretch) else {
            return unknown(stretch, "the segment was not kept");
        };
        let frame = segment.frame;
        let again = self
            .at(next)
            .and_then(|(next, earlier)| repacked(next, earlier));
        let found = repacked(segment, earlier)
            .or(again)
            .or_else(|| self.offload(segment))
            .or_else(|| self.full(segment))
            .or_else(|| window_full(segment, earlier));
        let (cause, because) = found.unwrap_or_else(|| (Cause::Unknown, self.nothing(segment)));
        Evidence {
            cause,
            frame,
            because,
        }
    }

    fn at(&self, stretch: &Stretch) -> Option<(&'a SegmentRecord, &'a [SegmentRecord])> {
        let segment = self.segments.get(stretch.segment)?;
        Some((segment, self.segments.get(..stretch.segment)?))
    }

    /// Bytes of payload that the largest segment with these options has.
    fn largest(&self, segment: &SegmentRecord) -> Option<u32> {
        let side = match segment.direction {
            Direction::ToServer => 0,
            Direction::ToClient => 1,
        };
        // RFC 6691: the announcement does not count options; timestamps take 12 bytes with their padding.
        let stamps = if segment.options.timestamps.is_some() {
            12
        } else {
            0
        };
        self.mss[side]?.checked_sub(stamps).filter(|mss| *mss > 0)
    }

    fn offload(&self, segment: &SegmentRecord) -> Option<(Cause, String)> {
        let largest = self.largest(segment)?;
        if segment.len <= largest {
            return None;
        }
        let sender = match segment.direction {
            Direction::ToServer => Vantage::Client,
            Direction::ToClient => Vantage::Server,
        };
        let whose = match self.vantage {
            Vantage::Unknown => "by the sender's GSO or the receiver's GRO",
            Vantage::Both => "by the sender's GSO: both ends are on the machine that captured",
            side if side == sender => "by the sender's GSO: the capture was taken on its side",
            _ => "by the receiver's GRO: the capture was taken on its side",
        };
        let because = format!(
            "{} bytes are more than the {largest} of a segment: put together {whose}",
            segment.len
        );
        Some((Cause::Offload, because))
    }

    fn full(&self, segment: &SegmentRecord) -> Option<(Cause, String)> {
        let largest = self.largest(segment)?;
        (segment.len == largest).then(|| {
            let because = format!("the segment is full: {largest} bytes are the most it can have");
            (Cause::Mss, because)
        })
    }

    /// Small writes waited for an acknowledgment, and left together when it came.
    fn nagle(&self, segment: &SegmentRecord, earlier: &[SegmentRecord]) -> Option<(Cause, String)> {
        let largest = self.largest(segment)?;
        if segment.len >= largest {
            return None;
        }
        let near = earlier.len().saturating_sub(LOOK_BACK);
        let recent = earlier.get(near..)?;
        let is_own = |s: &&SegmentRecord| s.direction == segment.direction && s.len > 0;
        let before = recent.iter().rev().find(is_own)?;
        let ack = recent
            .iter()
            .rev()
            .find(|s| s.direction != segment.direction)?;
        // A close sends what waits, in one segment with FIN.
        if segment.flags.contains(Flags::FIN) && ack.acknowledged < before.end() {
            let because = format!(
                "it left with FIN, while the {} bytes of frame {} were not acknowledged: the close sent what waited",
                before.len, before.frame
            );
            return Some((Cause::Nagle, because));
        }
        let waited = ack.time.since(before.time);
        let prompt = segment.time.since(ack.time);
        let covers = ack.acknowledged >= before.end() && before.end() == segment.offset;
        if ack.frame < before.frame || !covers || !(0..PROMPT).contains(&prompt) || waited < 0 {
            return None;
        }
        let because = format!(
            "the {} bytes of frame {} were not acknowledged until frame {}, {} later; it left {} behind that",
            before.len,
            before.frame,
            ack.frame,
            micros(waited),
            micros(prompt)
        );
        Some((Cause::Nagle, because))
    }

    fn nothing(&self, segment: &SegmentRecord) -> String {
        match self.largest(segment) {
            None => "the handshake is not in the capture, so the MSS is not known".to_owned(),
            Some(largest) => format!(
                "{} of {largest} bytes, no acknowledgment or window that it waited for",
                segment.len
            ),
        }
    }
}

fn unknown(stretch: &Stretch, because: &str) -> Evidence {
    let part = stretch.part(i64::MIN, i64::MAX);
    Evidence {
        cause: Cause::Unknown,
        frame: part.frame,
        because: because.to_owned(),
    }
}

fn micros(nanos: i64) -> String {
    format!("{} µs", nanos / 1000)
}

/// New bytes together with such that were sent before.
fn repacked(segment: &SegmentRecord, earlier: &[SegmentRecord]) -> Option<(Cause, String)> {
    let near = earlier.len().saturating_sub(LOOK_BACK);
    let before = earlier.get(near..)?.iter().rev().find(|other| {
        other.direction == segment.direction
            && other.len > 0
            && other.offset < segment.end()
            && segment.offset < other.end()
    })?;
    let because = format!(
        "bytes {}..{} were sent in frame {} before, within {}..{}",
        segment.offset.max(before.offset),
        segment.end().min(before.end()),
        before.frame,
        before.offset,
        before.end()
    );
    Some((Cause::Repacked, because))
}

/// The last word of the other side about what it takes, and the one before.
fn window(segment: &SegmentRecord, earlier: &[SegmentRecord]) -> Option<(SegmentRecord, i64)> {
    let near = earlier.len().saturating_sub(LOOK_BACK);
    let other = earlier.get(near..)?.iter().rev().find(|other| {
        other.direction != segment.direction
            && other.flags.contains(Flags::ACK)
            && !other.flags.contains(Flags::RST)
    })?;
    let edge = other.acknowledged.saturating_add_unsigned(other.window);
    Some((other.clone(), edge))
}

/// The segment ends where the receiver takes no more.
fn window_full(segment: &SegmentRecord, earlier: &[SegmentRecord]) -> Option<(Cause, String)> {
    let (other, edge) = window(segment, earlier)?;
    let full = segment.notes.contains(Notes::WINDOW_FULL) || edge == segment.end();
    full.then(|| {
        let because = format!(
            "it ends at the edge of the window: frame {} takes {} bytes behind {}",
            other.frame, other.window, other.acknowledged
        );
        (Cause::Window, because)
    })
}

/// The sender had to wait until the receiver took more.
fn window_opened(segment: &SegmentRecord, earlier: &[SegmentRecord]) -> Option<(Cause, String)> {
    let (opening, _) = window(segment, earlier)?;
    let at = earlier
        .iter()
        .rposition(|other| other.frame == opening.frame)?;
    let (_, edge) = window(segment, earlier.get(..at)?)?;
    let prompt = segment.time.since(opening.time);
    // Nothing of it would have been taken before.
    let was_closed = edge <= segment.offset;
    (was_closed && (0..PROMPT).contains(&prompt)).then(|| {
        let because = format!(
            "the receiver took nothing behind {edge} until frame {}; it left {} behind that",
            opening.frame,
            micros(prompt)
        );
        (Cause::Window, because)
    })
}

/// Whose answers come at once is on the capturing side.
fn vantage(trace: &Trace) -> Vantage {
    let (client, server) = (trace.client.ip(), trace.server.ip());
    if client == server || (client.is_loopback() && server.is_loopback()) {
        return Vantage::Both;
    }
    let mut opening = trace.segments.iter();
    let syn = opening.find(|s| s.flags.contains(Flags::SYN));
    let answer = opening.find(|s| s.flags.contains(Flags(Flags::SYN.0 | Flags::ACK.0)));
    let third = opening.find(|s| s.direction == Direction::ToServer);
    let (Some(syn), Some(answer), Some(third)) = (syn, answer, third) else {
        return Vantage::Unknown;
    };
    let (there, back) = (answer.time.since(syn.time), third.time.since(answer.time));
    // Ten times as long is more than a busy machine takes for an answer.
    if there > back.saturating_mul(10) && back >= 0 {
        Vantage::Client
    } else if back > there.saturating_mul(10) && there >= 0 {
        Vantage::Server
    } else {
        Vantage::Unknown
    }
}
