//! Segments that are not acknowledged yet.

use std::collections::VecDeque;

use super::seq;
use crate::Timestamp;

/// Segments that are remembered. As many as Wireshark remembers, so that round trips agree.
const MOST: usize = 10_000;

/// As many where each has to be looked at for every acknowledgment: what is hostile is not to take for ever.
const MOST_MIXED: usize = 1_000;

/// Where segments end that are not acknowledged yet, and when they were sent.
///
/// Wireshark keeps a list and looks at all of it for each acknowledgment. Numbers that lie within half of their space are
/// in one order, and then an acknowledgment takes from the front; only those of a stream that was broken off and begun
/// again elsewhere on the same ports are not.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    /// In the order of their ends, and those that end together in the order of the capture; once they are mixed, what
    /// comes is at the back.
    segments: VecDeque<(u32, Timestamp)>,
    /// Their ends are in no order: not all within half of the space of numbers.
    mixed: bool,
}

impl InFlight {
    /// A segment was sent that ends there.
    pub(super) fn insert(&mut self, end: u32, now: Timestamp) {
        let most = if self.mixed { MOST_MIXED } else { MOST };
        if self.segments.len() >= most {
            return;
        }
        if self.mixed {
            self.segments.push_back((end, now));
            return;
        }
        let later = self.segments.iter().rev();
        let later = later
            .take_while(|(other, _)| seq::after(*other, end))
            .count();
        let at = self.segments.len() - later;
        self.segments.insert(at, (end, now));
        if let (Some(&(front, _)), Some(&(back, _))) = (self.segments.front(), self.segments.back())
        {
            self.mixed = seq::after(front, end) || seq::after(end, back) || seq::after(front, back);
        }
    }

    /// Forgets what is acknowledged. When the segment was sent that ends there, where there is one: of several the first.
    pub(super) fn acknowledged(&mut self, ack: u32) -> Option<Timestamp> {
        if self.mixed {
            return self.scan(ack);
        }
        let mut found = None;
        while let Some(&(end, sent)) = self.segments.front()
            && !seq::after(end, ack)
        {
            if end == ack && found.is_none() {
                found = Some(sent);
            }
            self.segments.pop_front();
        }
        // The acknowledgment is so far away that it is behind the last and before the first.
        if self
            .segments
            .back()
            .is_some_and(|(end, _)| !seq::after(*end, ack))
        {
            return found.or(self.scan(ack));
        }
        found
    }

    fn scan(&mut self, ack: u32) -> Option<Timestamp> {
        let mut ends_there = self.segments.iter().filter(|(end, _)| *end == ack);
        let found = ends_there.next().map(|(_, sent)| *sent);
        self.segments.retain(|(end, _)| seq::after(*end, ack));
        self.mixed &= !self.segments.is_empty();
        found
    }

    /// No more are to come soon: room is given back.
    pub(super) fn shrink(&mut self) {
        self.segments.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list in the order of the capture, all of it looked at each time.
    #[derive(Default)]
    struct Plain(Vec<(u32, Timestamp)>);

    impl Plain {
        fn acknowledged(&mut self, ack: u32) -> Option<Timestamp> {
            let mut there = self.0.iter().filter(|(end, _)| *end == ack);
            let found = there.next().map(|(_, sent)| *sent);
            self.0.retain(|(end, _)| seq::after(*end, ack));
            found
        }
    }

    proptest::proptest! {
        #[test]
        fn it_is_what_a_plain_list_is(
            // Around places that no order of numbers holds together.
            steps in proptest::collection::vec((0_usize..5, 0_u32..8, proptest::bool::ANY), 0..200)
        ) {
            const PLACES: [u32; 5] = [0, 4, 0x6000_0000, 0x8000_0002, 0xc000_0000];
            let (mut plain, mut ours) = (Plain::default(), InFlight::default());
            for (time, (place, offset, sent)) in (0..).zip(steps) {
                let number = PLACES[place].wrapping_add(offset);
                if sent {
                    plain.0.push((number, Timestamp(time)));
                    ours.insert(number, Timestamp(time));
                } else {
                    proptest::prop_assert_eq!(ours.acknowledged(number), plain.acknowledged(number));
                }
            }
        }
    }
}
