//! What each segment is to its conversation.

use super::Rung;
use crate::packet::Flags;
use crate::stream::{Direction, Notes, Protocol, SegmentOptions, SegmentRecord, Trace};

/// Segments that are looked through for the first sending of what was sent again.
const LOOK_BACK: usize = 4096;

/// What there is to tell of each segment.
pub(super) fn rungs(trace: &Trace) -> Vec<Rung> {
    let mut story = Story::default();
    let mut rungs = Vec::with_capacity(trace.segments.len());
    for (index, segment) in trace.segments.iter().enumerate() {
        let earlier = trace.segments.get(..index).unwrap_or_default();
        rungs.push(match trace.id.protocol {
            Protocol::Udp => datagram(segment),
            Protocol::Tcp => story.rung(segment, earlier),
        });
    }
    rungs
}

fn datagram(segment: &SegmentRecord) -> Rung {
    Rung {
        segment: segment.clone(),
        label: format!("datagram, {} bytes", segment.len),
        remarks: Vec::new(),
        part: None,
        first_sent: None,
    }
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Story {
    opened: [bool; 2],
    established: bool,
    /// Who sent FIN, in which order, and where its data ended.
    fins: Vec<(Direction, i64)>,
    fins_acknowledged: usize,
    zero_window: [bool; 2],
}

fn side(direction: Direction) -> usize {
    match direction {
        Direction::ToServer => 0,
        Direction::ToClient => 1,
    }
}

impl Story {
    fn rung(&mut self, segment: &SegmentRecord, earlier: &[SegmentRecord]) -> Rung {
        let again = segment.notes.intersects(Notes::ANY_RETRANSMISSION);
        let first_sent = again.then(|| first_sending(segment, earlier)).flatten();
        let mut remarks = remarks(segment, first_sent);
        let part = self.part(segment);
        self.tell_window(segment, &mut remarks);
        Rung {
            segment: segment.clone(),
            label: label(segment),
            remarks,
            part,
            first_sent,
        }
    }

    /// Its part in opening or closing.
    fn part(&mut self, segment: &SegmentRecord) -> Option<String> {
        let flags = segment.flags;
        if flags.contains(Flags::RST) {
            return Some("reset".to_owned());
        }
        if flags.contains(Flags::SYN) {
            let own = &mut self.opened[side(segment.direction)];
            let number = if flags.contains(Flags::ACK) { 2 } else { 1 };
            let repeated = std::mem::replace(own, true);
            return (!repeated).then(|| format!("open {number} of 3"));
        }
        let mut parts = Vec::new();
        if self.opened == [true, true] && !self.established && flags.contains(Flags::ACK) {
            self.established = true;
            parts.push("open 3 of 3".to_owned());
        }
        parts.extend(self.closing(segment));
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// The four steps of closing: FIN, its acknowledgment, the other FIN, its acknowledgment.
    fn closing(&mut self, segment: &SegmentRecord) -> Vec<String> {
        let mut parts = Vec::new();
        if let Some((by, end)) = self.fins.get(self.fins_acknowledged)
            && *by != segment.direction
            && segment.flags.contains(Flags::ACK)
            && segment.acknowledged > *end
        {
            self.fins_acknowledged += 1;
            parts.push(format!("close {} of 4", 2 * self.fins_acknowledged));
        }
        let closed = self.fins.iter().any(|(by, _)| *by == segment.direction);
        if segment.flags.contains(Flags::FIN) && !closed {
            self.fins.push((segment.direction, segment.end()));
            parts.push(format!("close {} of 4", 2 * self.fins.len() - 1));
        }
        parts
    }

    fn tell_window(&mut self, segment: &SegmentRecord, remarks: &mut Vec<String>) {
        let closed = &mut self.zero_window[side(segment.direction)];
        if segment.window > 0 && *closed {
            *closed = false;
            if segment.notes.contains(Notes::WINDOW_UPDATE) {
                remarks.push(format!("takes {} bytes again", segment.window));
            }
        }
        *closed |= segment.notes.contains(Notes::ZERO_WINDOW);
    }
}

/// The frame that carried the segment's first byte first.
fn first_sending(segment: &SegmentRecord, earlier: &[SegmentRecord]) -> Option<u64> {
    let near = earlier.len().saturating_sub(LOOK_BACK);
    let begin = segment.offset;
    let same = |other: &&SegmentRecord| {
        let control = segment.len == 0 && other.flags == segment.flags && other.offset == begin;
        other.direction == segment.direction
            && (control || (other.offset <= begin && begin < other.end()))
    };
    let found = earlier.get(near..)?.iter().find(same);
    found.map(|first| first.frame)
}

/// What is written on the arrow.
fn label(segment: &SegmentRecord) -> String {
    let flags = segment.flags;
    let mut parts = Vec::new();
    if flags.contains(Flags::SYN) {
        let name = if flags.contains(Flags::ACK) {
            "SYN ACK"
        } else {
            "SYN"
        };
        parts.push(format!("{name} seq {}", segment.sequence));
        if flags.contains(Flags::ACK) {
            parts.push(format!("ack {}", segment.acknowledgment));
        }
        parts.extend(options(&segment.options));
    } else if flags.contains(Flags::RST) {
        parts.push("RST".to_owned());
    } else if flags.contains(Flags::FIN) {
        parts.push("FIN".to_owned());
    }
    if segment.len > 0 {
        let (begin, end) = (segment.offset, segment.end());
        parts.push(format!("data {begin}..{end}, {} bytes", segment.len));
    }
    let silent = flags.intersects(Flags(Flags::SYN.0 | Flags::RST.0));
    if flags.contains(Flags::ACK) && !silent {
        parts.push(format!("ack {}", segment.acknowledged));
    }
    parts.extend(sack(segment));
    if parts.is_empty() {
        parts.push("nothing".to_owned());
    }
    parts.join(", ")
}

fn options(options: &SegmentOptions) -> Vec<String> {
    let mut told = Vec::new();
    told.extend(options.mss.map(|mss| format!("mss {mss}")));
    told.extend(options.window_scale.map(|scale| format!("scale {scale}")));
    if options.sack_permitted {
        told.push("sack".to_owned());
    }
    if options.timestamps.is_some() {
        told.push("timestamps".to_owned());
    }
    told
}

/// What arrived beyond a gap, as offsets in the stream.
fn sack(segment: &SegmentRecord) -> Option<String> {
    let blocks = segment.options.sack.iter();
    let place = |number: u32| {
        let ahead = number.wrapping_sub(segment.acknowledgment).cast_signed();
        segment.acknowledged.saturating_add(i64::from(ahead))
    };
    let told: Vec<_> = blocks
        .map(|(begin, end)| format!("{}..{}", place(*begin), place(*end)))
        .collect();
    (!told.is_empty()).then(|| format!("has {}", told.join(" and ")))
}

/// What TCP did, in words.
fn remarks(segment: &SegmentRecord, first_sent: Option<u64>) -> Vec<String> {
    let again = match first_sent {
        Some(frame) => format!(", first sent in frame {frame}"),
        None => ", the first sending is not in the capture".to_owned(),
    };
    let sentences = [
        (
            Notes::RETRANSMISSION,
            format!("sent again after a timeout{again}"),
        ),
        (
            Notes::FAST_RETRANSMISSION,
            format!("sent again after duplicate acks{again}"),
        ),
        (
            Notes::SPURIOUS_RETRANSMISSION,
            format!("sent again although it had been acknowledged{again}"),
        ),
        (
            Notes::OUT_OF_ORDER,
            "overtaken: what comes behind it was captured before".to_owned(),
        ),
        (Notes::DUPLICATE_ACK, "the same ack once more".to_owned()),
        (
            Notes::PREVIOUS_NOT_CAPTURED,
            "something before it is not in the capture".to_owned(),
        ),
        (
            Notes::ACK_OF_UNSEEN,
            "acknowledges what is not in the capture".to_owned(),
        ),
        (
            Notes::ZERO_WINDOW,
            "takes no more for now: its window is 0".to_owned(),
        ),
        (
            Notes::ZERO_WINDOW_PROBE,
            "asks whether the window is open again".to_owned(),
        ),
        (
            Notes::ZERO_WINDOW_PROBE_ACK,
            "answers: the window is still closed".to_owned(),
        ),
        (
            Notes::WINDOW_FULL,
            "fills the other side's window".to_owned(),
        ),
        (
            Notes::KEEP_ALIVE,
            "keep-alive: asks whether the other side is there".to_owned(),
        ),
        (Notes::KEEP_ALIVE_ACK, "answers the keep-alive".to_owned()),
        (
            Notes::PORTS_REUSED,
            "the ports of an earlier stream".to_owned(),
        ),
    ];
    let told = sentences.into_iter();
    told.filter(|(note, _)| segment.notes.contains(*note))
        .map(|(_, sentence)| sentence)
        .collect()
}
