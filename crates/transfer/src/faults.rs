//! Points at which a test has a process die, or stop: those of this crate, with those of the storage beneath it.
//!
//! Only with the feature `faults`, which no release is built with: see docs/faults.md. Without it all of this is nothing.

#[cfg(not(feature = "faults"))]
pub(crate) use absent::{Dialogue, alter, checkpoint_interval, reach};
#[cfg(feature = "faults")]
pub use armed::reach;
#[cfg(feature = "faults")]
pub(crate) use armed::{Dialogue, alter, checkpoint_interval};
#[cfg(feature = "faults")]
pub use armed::{arm, checkpoint_every, points};

#[cfg(not(feature = "faults"))]
mod absent {
    use std::time::Duration;

    /// How long it is from one checkpoint to the next: as usual.
    #[inline(always)]
    pub(crate) fn checkpoint_interval(usual: Duration) -> Duration {
        usual
    }

    /// The process is at the point of this name.
    #[inline(always)]
    pub(crate) fn reach(_: &str) {}

    /// The process hands these bytes on.
    #[inline(always)]
    pub(crate) fn alter(_: &str, _: &mut [u8]) {}

    /// The messages of one connection, each of which is a point.
    #[derive(Default)]
    pub(crate) struct Dialogue(());

    impl Dialogue {
        /// These messages are to be sent.
        #[inline(always)]
        pub(crate) fn queued(&mut self, _: &[u8]) {}

        /// All that was to be sent was handed to the kernel.
        #[inline(always)]
        pub(crate) fn written(&mut self) {}

        /// These bytes of messages have come.
        #[inline(always)]
        pub(crate) fn heard(&mut self, _: &[u8]) {}
    }
}

#[cfg(feature = "faults")]
mod armed {
    use std::sync::OnceLock;
    use std::time::Duration;

    use packhorse_proto::message::HEADER;
    use packhorse_tree::faults::{self, strike};

    /// Who comes to a point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Side {
        Sender,
        Receiver,
        Both,
    }

    use Side::{Both, Receiver, Sender};

    /// The messages by the numbers of their types, and who says them.
    const MESSAGES: &[(u8, &str, Side)] = &[
        (1, "hello", Sender),
        (2, "welcome", Receiver),
        (3, "confirm", Both),
        (4, "offer", Sender),
        (5, "accept", Receiver),
        (6, "entries", Sender),
        (7, "entries_end", Sender),
        (8, "revise", Sender),
        (9, "withdraw", Sender),
        (10, "settled", Receiver),
        (11, "kept", Receiver),
        (12, "failed", Receiver),
        (13, "progress", Both),
        (14, "close", Sender),
        (15, "receipt", Receiver),
        (16, "bye", Sender),
        (17, "abort", Both),
        (18, "flawed", Receiver),
        (19, "held", Receiver),
        (20, "partial", Receiver),
        (21, "missing", Receiver),
        (22, "lane_lost", Sender),
        (23, "lane_closed", Receiver),
    ];

    /// The points of this crate that are no messages of the control connection, and those of the program.
    const POINTS: &[(&str, Side)] = &[
        ("lane.opened", Sender),
        ("record.sealing", Sender),
        ("lane.record", Sender),
        ("lane.ending", Sender),
        ("lane.ended", Sender),
        ("lane.accepted", Receiver),
        ("record.received", Receiver),
        ("extent.agreed", Receiver),
        ("forget.before", Receiver),
        ("forget.after", Receiver),
        ("receipt.before", Both),
        ("receipt.after", Both),
    ];

    /// Every point, with the side that comes to it: `sender` or `receiver`.
    #[must_use]
    pub fn points() -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        let mut add = |side: Side, point: &str| {
            for (of, name) in [(Sender, "sender"), (Receiver, "receiver")] {
                if side == of || side == Both {
                    all.push((name, point.to_owned()));
                }
            }
        };
        for (_, message, by) in MESSAGES {
            let to = match by {
                Sender => Receiver,
                Receiver => Sender,
                Both => Both,
            };
            add(*by, &format!("send.{message}"));
            add(*by, &format!("sent.{message}"));
            add(to, &format!("received.{message}"));
        }
        for (point, side) in POINTS {
            add(*side, point);
        }
        for point in faults::POINTS {
            add(Receiver, point);
        }
        all
    }

    /// Takes what is to happen: see [`faults::arm`].
    ///
    /// # Panics
    /// A point is not there, or the plan cannot be read.
    pub fn arm(plan: &str) {
        for fault in plan.split(',') {
            let name = fault.split(':').next().unwrap_or_default();
            let known = points().iter().any(|(_, point)| point == name);
            assert!(known, "there is no point {name}");
        }
        faults::arm(plan);
    }

    static CHECKPOINTS: OnceLock<Duration> = OnceLock::new();

    /// Has what is there of large files made durable at other intervals than usual, so that a session that is over soon comes
    /// by a checkpoint.
    ///
    /// # Panics
    /// It was said before.
    pub fn checkpoint_every(interval: Duration) {
        CHECKPOINTS.set(interval).expect("it is said once");
    }

    /// How long it is from one checkpoint to the next.
    pub(crate) fn checkpoint_interval(usual: Duration) -> Duration {
        CHECKPOINTS.get().copied().unwrap_or(usual)
    }

    /// The process is at the point of this name.
    ///
    /// # Panics
    /// The point has no place in the list, so that no test would come by it.
    pub fn reach(point: &str) {
        strike_known(point);
    }

    fn strike_known(point: &str) -> bool {
        let known = POINTS.iter().any(|(known, _)| *known == point);
        assert!(known, "{point} is not in POINTS");
        strike(point)
    }

    /// The process is at this point, and hands these bytes on: a bit of them may be another one from here on.
    pub(crate) fn alter(point: &str, bytes: &mut [u8]) {
        let middle = bytes.len() / 2;
        if strike_known(point)
            && let Some(byte) = bytes.get_mut(middle)
        {
            *byte ^= 0x10;
        }
    }

    /// The messages of one connection, each of which is a point.
    #[derive(Default)]
    pub(crate) struct Dialogue {
        /// Names of messages that are queued.
        queued: Vec<&'static str>,
        /// What came of a message that is not all there.
        incoming: Vec<u8>,
    }

    impl Dialogue {
        /// These messages are to be sent.
        pub(crate) fn queued(&mut self, mut messages: &[u8]) {
            while let Some((kind, length)) = first(messages) {
                let name = name_of(kind);
                let name = name.unwrap_or_else(|| panic!("message {kind} has no name here"));
                strike(&format!("send.{name}"));
                self.queued.push(name);
                messages = &messages[length..];
            }
        }

        /// All that was to be sent was handed to the kernel.
        pub(crate) fn written(&mut self) {
            for name in self.queued.drain(..) {
                strike(&format!("sent.{name}"));
            }
        }

        /// These bytes of messages have come.
        pub(crate) fn heard(&mut self, bytes: &[u8]) {
            self.incoming.extend_from_slice(bytes);
            while let Some((kind, length)) = first(&self.incoming) {
                // A peer may say what nobody knows.
                if let Some(name) = name_of(kind) {
                    strike(&format!("received.{name}"));
                }
                self.incoming.drain(..length);
            }
        }
    }

    fn name_of(kind: u8) -> Option<&'static str> {
        let found = MESSAGES.iter().find(|(number, ..)| *number == kind);
        found.map(|(_, name, _)| *name)
    }

    /// The first of these messages, where it is all there: its type and its length.
    fn first(messages: &[u8]) -> Option<(u8, usize)> {
        let header: &[u8; HEADER] = messages.first_chunk()?;
        let [kind, a, b, c] = *header;
        let length = HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
        (messages.len() >= length).then_some((kind, length))
    }
}
