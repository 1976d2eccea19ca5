//! What was sent on one connection and what came back: lost, right or wrong.

use std::collections::BTreeSet;

use super::message::Shape;

/// How far an answer too short to name itself is looked for.
const LOOK_AHEAD: usize = 256;

/// Whether answers come in the order of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Always: another order is a mix-up.
    Kept,
    /// Datagrams overtake each other, and get lost.
    Loose,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// That of the message of this number.
    Right(u64),
    /// Of no message that waits for one.
    Wrong,
}

/// The answers of one connection.
#[derive(Debug)]
pub(crate) struct Ledger {
    connection: u32,
    order: Order,
    /// The answer that is next in order.
    next: u64,
    /// Those before it that did not come.
    missing: BTreeSet<u64>,
}

impl Ledger {
    pub(crate) fn new(connection: u32, order: Order) -> Self {
        Self {
            connection,
            order,
            next: 0,
            missing: BTreeSet::new(),
        }
    }

    /// The answer that is next in order.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many of the first `sent` messages have no answer.
    pub(crate) fn open(&self, sent: u64) -> u64 {
        self.missing.len() as u64 + sent.saturating_sub(self.next)
    }

    /// Nobody waits any longer for what was sent.
    pub(crate) fn give_up(&mut self, sent: u64) {
        self.missing.extend(self.next..sent);
        self.next = self.next.max(sent);
    }

    /// Takes an answer when `sent` messages are on their way or answered.
    pub(crate) fn take(&mut self, shape: &Shape, payload: &[u8], sent: u64) -> Answer {
        if self.next < sent && shape.is(payload, self.connection, self.next) {
            self.next += 1;
            return Answer::Right(self.next - 1);
        }
        match self.find(shape, payload, sent) {
            Some(sequence) if sequence >= self.next => {
                self.missing.extend(self.next..sequence);
                self.next = sequence + 1;
                Answer::Right(sequence)
            }
            Some(sequence) => match (self.missing.remove(&sequence), self.order) {
                (true, Order::Loose) => Answer::Right(sequence),
                // Overtaken where nothing can overtake, or answered twice.
                _ => Answer::Wrong,
            },
            None => {
                if self.order == Order::Kept && self.next < sent {
                    // It stands where another answer belongs.
                    self.next += 1;
                }
                Answer::Wrong
            }
        }
    }

    fn find(&self, shape: &Shape, payload: &[u8], sent: u64) -> Option<u64> {
        if let Some((connection, sequence)) = shape.claim(payload) {
            let ours = connection == self.connection && sequence < sent;
            return (ours && shape.is(payload, connection, sequence)).then_some(sequence);
        }
        let missing = self.missing.iter().copied().take(LOOK_AHEAD);
        let ahead = (self.next..sent).take(LOOK_AHEAD);
        missing
            .chain(ahead)
            .find(|sequence| shape.is(payload, self.connection, *sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(order: Order, size: usize, answers: &[(u32, u64)]) -> (Vec<Answer>, u64) {
        let shape = Shape::new("u32be".parse().unwrap(), Some(size)).unwrap();
        let mut ledger = Ledger::new(3, order);
        let answers = answers.iter().map(|(connection, sequence)| {
            ledger.take(&shape, &shape.message(*connection, *sequence), 5)
        });
        let answers = answers.collect();
        (answers, ledger.open(5))
    }

    use Answer::{Right, Wrong};

    #[test]
    fn answers_in_order_are_right() {
        let all = [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4)];
        let right: Vec<Answer> = (0..5).map(Right).collect();
        for size in [0, 3, 10, 64] {
            assert_eq!(play(Order::Kept, size, &all), (right.clone(), 0), "{size}");
        }
    }

    #[test]
    fn answers_that_never_come_are_open() {
        let some = [(3, 0), (3, 2), (3, 3)];
        let expected = (vec![Right(0), Right(2), Right(3)], 2);
        for order in [Order::Kept, Order::Loose] {
            assert_eq!(play(order, 64, &some), expected);
        }
    }

    #[test]
    fn answers_may_overtake_only_where_order_is_loose() {
        let swapped = [(3, 1), (3, 0), (3, 2)];
        assert_eq!(
            play(Order::Kept, 64, &swapped),
            (vec![Right(1), Wrong, Right(2)], 2)
        );
        assert_eq!(
            play(Order::Loose, 64, &swapped),
            (vec![Right(1), Right(0), Right(2)], 2)
        );
    }

    #[test]
    fn answers_of_others_and_answers_twice_are_wrong() {
        assert_eq!(
            play(Order::Kept, 64, &[(4, 0), (3, 1), (3, 1), (3, 9)]),
            (vec![Wrong, Right(1), Wrong, Wrong], 2)
        );
        assert_eq!(
            play(Order::Loose, 64, &[(4, 0), (3, 0), (3, 0)]),
            (vec![Wrong, Right(0), Wrong], 4)
        );
    }
}
