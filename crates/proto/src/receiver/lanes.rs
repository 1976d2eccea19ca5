//! What a receiver says and hears of lanes that were lost.

use std::collections::{BTreeSet, VecDeque};

use super::{Receiver, ReceiverEvent, State};
use crate::control::Violation;
use crate::message::Message;

/// Lanes that ended without their end. A lane's number has 16 bits, which bounds both.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Those that the sender has given up.
    lost: BTreeSet<u16>,
    /// Those of which the sender was told what came on them.
    closed: BTreeSet<u16>,
}

impl Lanes {
    pub(super) fn handle_lost(
        &mut self,
        lane: u16,
        events: &mut VecDeque<ReceiverEvent>,
    ) -> Result<(), Violation> {
        if !self.lost.insert(lane) {
            return Err(Violation::Unexpected("the loss of a lane that was lost"));
        }
        // The answer may have been on its way.
        if !self.closed.contains(&lane) {
            events.push_back(ReceiverEvent::LaneLost { lane });
        }
        Ok(())
    }
}

impl Receiver {
    /// Says that a lane is closed that has not come to its end, and how many values and ends came on it; nothing more is
    /// taken of it. Answers [`ReceiverEvent::LaneLost`], or comes without it. Each lane is told of once.
    pub fn lane_closed(&mut self, lane: u16, taken: u64) {
        let open = matches!(self.state, State::Receiving(_));
        if open && self.lanes.closed.insert(lane) {
            self.control.send(&Message::LaneClosed { lane, taken });
        }
    }
}
