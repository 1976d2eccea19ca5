//! What a sender says and hears of lanes that were lost.

use std::collections::{BTreeSet, VecDeque};

use super::{Sender, SenderEvent};
use crate::control::Violation;
use crate::message::Message;

/// Which lanes there were, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Numbers below this were opened.
    opened: u32,
    /// Those that the receiver has closed without their end.
    closed: BTreeSet<u16>,
}

impl Lanes {
    pub(super) fn handle_closed(
        &mut self,
        lane: u16,
        taken: u64,
        events: &mut VecDeque<SenderEvent>,
    ) -> Result<(), Violation> {
        if u32::from(lane) >= self.opened {
            return Err(Violation::Unexpected("the end of a lane that never was"));
        }
        if !self.closed.insert(lane) {
            return Err(Violation::Unexpected("the end of a lane that came before"));
        }
        events.push_back(SenderEvent::LaneClosed { lane, taken });
        Ok(())
    }
}

impl Sender {
    /// Notes that this lane is about to be opened. Numbers ascend from 0.
    pub fn lane_opened(&mut self, lane: u16) {
        self.lanes.opened = self.lanes.opened.max(u32::from(lane) + 1);
    }

    /// Says that nothing more is sent on this lane, which broke or stands still: once for each.
    ///
    /// The receiver answers with what it took of it ([`SenderEvent::LaneClosed`]), unless it has said so already.
    pub fn lane_lost(&mut self, lane: u16) {
        if self.sending().is_some() && !self.lanes.closed.contains(&lane) {
            self.control.send(&Message::LaneLost { lane });
        }
    }

    /// Holds what the receiver says that it took of a lane against what was sent on it.
    ///
    /// # Errors
    /// It says that it took more.
    pub fn lane_carried(&mut self, sent: u64, taken: u64) -> Result<(), Violation> {
        let outcome = if taken > sent {
            Err(Violation::Disagreement("what a lane carried"))
        } else {
            Ok(())
        };
        self.note_violation(outcome)
    }
}
