//! What is counted of a conversation.

use std::net::SocketAddr;

use super::trace::Notes;
use super::{Direction, StreamId};
use crate::Timestamp;

/// A conversation, counted. Times are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its name.
    pub id: StreamId,
    /// Who opened it: who sent the first SYN, or where the capture begins later, who was seen first.
    pub client: SocketAddr,
    /// The other side.
    pub server: SocketAddr,
    /// Its first frame's time.
    pub first: Timestamp,
    /// Its last frame's time.
    pub last: Timestamp,
    /// What the client sent.
    pub to_server: Traffic,
    /// What the server sent.
    pub to_client: Traffic,
    /// From the (last) SYN to the first acknowledgment behind the handshake: the round trip as the capturing
    /// machine sees it.
    pub handshake_rtt: Option<i64>,
    /// Who ended it first, and how.
    pub ended: Option<Ended>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What was sent first: by the client when it is [`Direction::ToServer`].
    pub by: Direction,
    /// By what.
    pub how: How,
}

/// What ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// FIN: in order.
    Fin,
    /// RST: broken off.
    Reset,
}

/// One direction of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of whole frames on the wire.
    pub bytes: u64,
    /// Bytes of payload, those that were sent again included.
    pub payload: u64,
    /// Segments sent again, for whatever reason.
    pub retransmissions: u32,
    /// Of these, those that answered duplicate acknowledgments.
    pub fast_retransmissions: u32,
    /// Of these, those that had been acknowledged before.
    pub spurious_retransmissions: u32,
    /// Segments that were overtaken.
    pub out_of_order: u32,
    /// Segments before which something is missing in the capture.
    pub previous_not_captured: u32,
    /// Acknowledgments of what is not in the capture.
    pub acks_of_unseen: u32,
    /// Acknowledgments repeated.
    pub duplicate_acks: u32,
    /// Segments that closed the window.
    pub zero_windows: u32,
    /// Segments that filled the other side's window.
    pub windows_full: u32,
    /// Probes of a closed window.
    pub zero_window_probes: u32,
    /// Keep-alives.
    pub keep_alives: u32,
    /// Segments with RST.
    pub resets: u32,
    /// Segments with FIN.
    pub fins: u32,
    /// How long the other side took to acknowledge, as the capturing machine sees it.
    pub rtt: Rtt,
}

impl Traffic {
    /// Those that were sent again for want of an acknowledgment, as far as a capture can tell.
    pub fn timeout_retransmissions(&self) -> u32 {
        self.retransmissions
            .saturating_sub(self.fast_retransmissions)
            .saturating_sub(self.spurious_retransmissions)
    }

    pub(super) fn count(&mut self, notes: Notes) {
        if notes == Notes::default() {
            return;
        }
        let add = |counter: &mut u32, which: Notes| {
            *counter = counter.saturating_add(u32::from(notes.intersects(which)));
        };
        add(&mut self.retransmissions, Notes::ANY_RETRANSMISSION);
        add(&mut self.fast_retransmissions, Notes::FAST_RETRANSMISSION);
        add(
            &mut self.spurious_retransmissions,
            Notes::SPURIOUS_RETRANSMISSION,
        );
        add(&mut self.out_of_order, Notes::OUT_OF_ORDER);
        add(
            &mut self.previous_not_captured,
            Notes::PREVIOUS_NOT_CAPTURED,
        );
        add(&mut self.acks_of_unseen, Notes::ACK_OF_UNSEEN);
        add(&mut self.duplicate_acks, Notes::DUPLICATE_ACK);
        add(&mut self.zero_windows, Notes::ZERO_WINDOW);
        add(&mut self.windows_full, Notes::WINDOW_FULL);
        add(&mut self.zero_window_probes, Notes::ZERO_WINDOW_PROBE);
        add(&mut self.keep_alives, Notes::KEEP_ALIVE);
    }
}

/// Round trips, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtt {
    /// How many were seen.
    pub count: u64,
    /// The shortest.
    pub min: i64,
    /// The longest.
    pub max: i64,
    sum: i64,
}

impl Rtt {
    /// The mean; `None` when none was seen.
    pub fn mean(&self) -> Option<i64> {
        let count = i64::try_from(self.count).ok()?;
        self.sum.checked_div(count)
    }

    pub(super) fn add(&mut self, rtt: i64) {
        self.min = if self.count == 0 {
            rtt
        } else {
            self.min.min(rtt)
        };
        self.max = if self.count == 0 {
            rtt
        } else {
            self.max.max(rtt)
        };
        self.sum = self.sum.saturating_add(rtt);
        self.count += 1;
    }
}
