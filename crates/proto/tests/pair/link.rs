//! What lies between the peers.

use std::collections::VecDeque;

use packhorse_proto::record::Attempt;
use packhorse_proto::window::Content;

use crate::dice::Dice;

/// A stream of bytes in one direction, cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Link {
    bytes: VecDeque<u8>,
    /// All that was ever written.
    pub(crate) recorded: Vec<u8>,
}

impl Link {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.recorded.extend(bytes);
    }

    /// Some of what was written, in order.
    pub(crate) fn read(&mut self, dice: &mut Dice, grain: usize) -> Vec<u8> {
        let most = dice.within(1..grain + 1).min(self.bytes.len());
        self.bytes.drain(..most).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What a lane carries of a file, as far as the control connection cares.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carried {
    /// Some of an attempt, not its end.
    Part(Attempt),
    /// The end of an attempt, and what it was.
    Last(Attempt, Content),
}

impl Carried {
    pub(crate) fn of(self) -> Attempt {
        match self {
            Self::Part(of) | Self::Last(of, _) => of,
        }
    }
}

/// A lane: faster or slower than the control connection and other lanes, by chance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    /// Its number; another takes its place with another number.
    pub(crate) number: u16,
    pub(crate) carried: VecDeque<Carried>,
}
