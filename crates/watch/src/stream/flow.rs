//! One direction of a TCP stream: what its segments were, by the rules of Wireshark's analysis.
//!
//! The rules are those that Wireshark 4.0 documents in its user's guide ("TCP Analysis"), and where they say
//! too little, what it does. They judge from a capture alone: what was lost before or behind the capturing
//! machine can only be inferred.

use super::in_flight::InFlight;
use super::seq;
use super::trace::Notes;
use crate::Timestamp;
use crate::packet::{Flags, Segment};

/// Out of order, where the first round trip was not seen: as late as this at most, in nanoseconds.
const REORDERING: i64 = 3_000_000;

/// A fast retransmission follows the last duplicate acknowledgment by less than this, in nanoseconds.
const FAST: i64 = 20_000_000;

/// See [`Flow::duplicates`].
const UNSEEN: u32 = u32::MAX;

/// How a direction's windows are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// No SYN of it was seen.
    Unknown,
    /// A SYN was seen that does without scaling.
    None,
    /// Shifted by so many bits (RFC 7323 §2.3 allows 14).
    By(u8),
}

impl Scale {
    /// Bits to shift by.
    pub(super) fn shift(self) -> u32 {
        match self {
            Self::Unknown | Self::None => 0,
            Self::By(bits) => u32::from(bits),
        }
    }
}

/// What is known of one direction. Sequence numbers of 0 mean 'not seen yet', as they do in Wireshark.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// The sequence number before the first byte of data.
    pub(super) base: Option<u32>,
    /// Behind the highest byte that was seen.
    next: u32,
    next_time: Timestamp,
    /// Behind the highest byte up to which all were seen.
    contiguous: u32,
    /// The acknowledgment number that this direction sent last, and when.
    ack: u32,
    ack_time: Timestamp,
    /// How often it was repeated. [`UNSEEN`]: the other side acknowledged what the capture has not, which
    /// counts as often enough for a fast retransmission.
    duplicates: u32,
    /// The window in the last header. `u32::MAX`: none was seen.
    window: u32,
    pub(super) scale: Scale,
    /// Whether the next window is the first after the SYN, which Wireshark does not scale for 'window full'.
    first_ack: bool,
    last: Notes,
    in_flight: InFlight,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            base: None,
            next: 0,
            next_time: Timestamp::default(),
            contiguous: 0,
            ack: 0,
            ack_time: Timestamp::default(),
            duplicates: 0,
            window: u32::MAX,
            scale: Scale::Unknown,
            first_ack: false,
            last: Notes::default(),
            in_flight: InFlight::default(),
        }
    }
}

/// What a segment did to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Judged {
    pub(super) notes: Notes,
    /// Nanoseconds since the segment that it acknowledges was captured.
    pub(super) ack_rtt: Option<i64>,
}

/// What never counts as a keep-alive, a window update or a duplicate acknowledgment.
const CONTROL: Flags = Flags(Flags::SYN.0 | Flags::FIN.0 | Flags::RST.0);

/// What takes a sequence number of its own.
const COUNTED: Flags = Flags(Flags::SYN.0 | Flags::FIN.0);

impl Flow {
    /// Notes where the numbers of both directions begin.
    pub(super) fn anchor(&mut self, reverse: &mut Self, segment: &Segment<'_>) {
        if self.base.is_none() {
            let syn = segment.flags.contains(Flags::SYN);
            let sequence = segment.sequence;
            self.base = Some(if syn {
                sequence
            } else {
                sequence.wrapping_sub(1)
            });
        }
        if reverse.base.is_none() && segment.flags.contains(Flags::ACK) {
            reverse.base = Some(segment.acknowledgment.wrapping_sub(1));
        }
    }

    /// A first SYN came once more: a reset in between may have moved what is expected.
    pub(super) fn restart(&mut self) {
        self.next = self.contiguous;
    }

    /// Whether the segment fits what the direction's first SYN said.
    pub(super) fn began_elsewhere(&self, segment: &Segment<'_>) -> bool {
        self.base.is_some_and(|base| base != segment.sequence)
    }

    /// Judges a segment of this direction, and remembers it.
    pub(super) fn judge(
        &mut self,
        reverse: &mut Self,
        segment: &Segment<'_>,
        now: Timestamp,
        first_rtt: Option<i64>,
        before: Notes,
    ) -> Judged {
        let mut notes = before;
        let probing = self.judge_control(reverse, segment, &mut notes);
        if segment.acknowledgment != self.ack {
            self.duplicates = 0;
        }
        self.judge_unseen(reverse, segment, &mut notes);
        if segment.payload_len > 0 || segment.flags.intersects(COUNTED) {
            self.judge_order(reverse, segment, now, first_rtt, &mut notes);
        }
        self.remember(segment, now, probing, notes);
        let ack_rtt = reverse.acknowledged(segment.acknowledgment, now);
        Judged { notes, ack_rtt }
    }

    /// Windows, probes, keep-alives and duplicate acknowledgments. Whether it is a zero window probe.
    fn judge_control(&mut self, reverse: &Self, segment: &Segment<'_>, notes: &mut Notes) -> bool {
        let Segment {
            sequence, flags, ..
        } = *segment;
        let len = segment.payload_len;
        let window = u32::from(segment.window);
        let control = flags.intersects(CONTROL);
        if len == 1 && sequence == self.next && reverse.window == 0 {
            *notes |= Notes::ZERO_WINDOW_PROBE;
            return true;
        }
        if window == 0 && !control {
            *notes |= Notes::ZERO_WINDOW;
        }
        if self.next != 0 && seq::after(sequence, self.next) && !flags.contains(Flags::RST) {
            *notes |= Notes::PREVIOUS_NOT_CAPTURED;
        }
        if len <= 1 && sequence == self.next.wrapping_sub(1) && !control {
            *notes |= Notes::KEEP_ALIVE;
        }
        if len > 0 && !control && self.fills_window(reverse, segment) {
            *notes |= Notes::WINDOW_FULL;
        }
        let repeats =
            len == 0 && sequence == self.next && segment.acknowledgment == self.ack && !control;
        if !repeats {
            return false;
        }
        if window != 0 && window != self.window {
            *notes |= Notes::WINDOW_UPDATE;
        }
        if window != self.window {
            return false;
        }
        match window {
            0 if reverse.last.contains(Notes::ZERO_WINDOW_PROBE) => {
                *notes |= Notes::ZERO_WINDOW_PROBE_ACK;
            }
            0 => {}
            _ if reverse.last.contains(Notes::KEEP_ALIVE) => *notes |= Notes::KEEP_ALIVE_ACK,
            _ => {
                self.duplicates = self.duplicates.checked_add(1).unwrap_or(1);
                *notes |= Notes::DUPLICATE_ACK;
            }
        }
        false
    }

    /// Whether the segment goes to the very edge of what the other side takes.
    fn fills_window(&self, reverse: &Self, segment: &Segment<'_>) -> bool {
        if reverse.scale == Scale::Unknown {
            return false;
        }
        let shift = if reverse.first_ack {
            0
        } else {
            reverse.scale.shift()
        };
        let edge = reverse.ack.wrapping_add(reverse.window.wrapping_shl(shift));
        segment.sequence.wrapping_add(segment.payload_len) == edge
    }

    /// Acknowledgments of what the capture does not have.
    fn judge_unseen(&mut self, reverse: &mut Self, segment: &Segment<'_>, notes: &mut Notes) {
        if reverse.contiguous == 0
            || !segment.flags.contains(Flags::ACK)
            || !seq::after(segment.acknowledgment, reverse.contiguous)
        {
            return;
        }
        // Said once for each loss.
        if seq::after(reverse.next, reverse.contiguous) {
            reverse.contiguous = reverse.next;
            *notes |= Notes::ACK_OF_UNSEEN;
        } else {
            if reverse.duplicates == 0 {
                *notes |= Notes::ACK_OF_UNSEEN;
            }
            reverse.duplicates = UNSEEN;
        }
    }

    /// Sent again, or overtaken.
    fn judge_order(
        &self,
        reverse: &Self,
        segment: &Segment<'_>,
        now: Timestamp,
        first_rtt: Option<i64>,
        notes: &mut Notes,
    ) {
        if notes.contains(Notes::KEEP_ALIVE) {
            return;
        }
        let Segment { sequence, .. } = *segment;
        let len = segment.payload_len;
        let end = sequence.wrapping_add(len);
        // What comes behind a zero window probe begins with the byte that was probed with.
        let behind_probe = len > 1 && self.next.wrapping_sub(1) == sequence;
        let old = self.next != 0 && seq::after(self.next, sequence) && !behind_probe;
        if len > 0 && reverse.ack != 0 && !seq::after(end, reverse.ack) {
            *notes |= Notes::SPURIOUS_RETRANSMISSION;
            return;
        }
        if !old {
            return;
        }
        let since_ack = now.since(reverse.ack_time);
        if reverse.duplicates >= 2 && reverse.ack == sequence && (0..FAST).contains(&since_ack) {
            *notes |= Notes::FAST_RETRANSMISSION;
            return;
        }
        let since_next = now.since(self.next_time);
        let threshold = first_rtt.filter(|rtt| *rtt != 0).unwrap_or(REORDERING);
        let counted = u32::from(segment.flags.intersects(COUNTED));
        let overtaken =
            (0..threshold).contains(&since_next) && self.next != end.wrapping_add(counted);
        *notes |= if overtaken {
            Notes::OUT_OF_ORDER
        } else {
            Notes::RETRANSMISSION
        };
    }

    fn remember(&mut self, segment: &Segment<'_>, now: Timestamp, probing: bool, notes: Notes) {
        let counted = segment.flags.intersects(COUNTED);
        let mut end = segment.sequence.wrapping_add(segment.payload_len);
        if segment.payload_len > 0 || counted {
            end = end.wrapping_add(u32::from(counted));
            self.in_flight.insert(end, now);
        }
        if !probing {
            if seq::after(end, self.next) || self.next == 0 {
                self.next = end;
                self.next_time = now;
            }
            if segment.sequence == self.contiguous || self.contiguous == 0 {
                self.contiguous = self.next;
            }
        }
        self.window = u32::from(segment.window);
        self.ack = segment.acknowledgment;
        self.ack_time = now;
        self.last = notes;
    }

    /// Forgets what is acknowledged. The round trip of the segment that ends there, where there is one.
    fn acknowledged(&mut self, ack: u32, now: Timestamp) -> Option<i64> {
        self.in_flight.acknowledged(ack).map(|sent| now.since(sent))
    }

    /// What its options and control bits say about the windows to come.
    pub(super) fn learn_scale(&mut self, reverse: &mut Self, flags: Flags, shift: Option<u8>) {
        if flags.contains(Flags::SYN) {
            if let Some(shift) = shift {
                self.scale = Scale::By(shift.min(14));
            }
            if self.scale == Scale::Unknown {
                // Neither side scales unless both do (RFC 7323 §2.2).
                self.scale = Scale::None;
                reverse.scale = Scale::None;
            } else if flags.contains(Flags::ACK) && reverse.scale == Scale::None {
                self.scale = Scale::None;
            }
            self.first_ack = true;
        } else if flags.contains(Flags::ACK) {
            self.first_ack = false;
        }
    }

    /// The stream has ended: room for segments in flight is given back.
    pub(super) fn shrink(&mut self) {
        self.in_flight.shrink();
    }
}
