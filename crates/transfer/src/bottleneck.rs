//! What held a transfer back.

use std::fmt;
use std::time::Duration;

use crate::receipt::{Receipt, StageTimes};

/// The stage that a faster machine or network would have helped most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bottleneck {
    /// Nothing was measured.
    Unknown,
    /// Both sides waited for the wire.
    Network,
    /// Both sides waited for the sender to find entries.
    Walk,
    /// The sender read its files.
    SenderRead,
    /// The sender hashed.
    SenderHash,
    /// The sender sealed records.
    SenderEncrypt,
    /// The receiver opened records.
    ReceiverEncrypt,
    /// The receiver hashed.
    ReceiverHash,
    /// The receiver created and wrote files.
    ReceiverWrite,
}

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "nothing measured",
            Self::Network => "the network",
            Self::Walk => "the sender's walk through its directories",
            Self::SenderRead => "the sender's reading",
            Self::SenderHash => "the sender's hashing",
            Self::SenderEncrypt => "the sender's encryption",
            Self::ReceiverEncrypt => "the receiver's decryption",
            Self::ReceiverHash => "the receiver's hashing",
            Self::ReceiverWrite => "the receiver's writing",
        })
    }
}

/// Names the bottleneck from the measured times.
///
/// Each side's time is either work (read, hash, encrypt, write) or waiting (network, idle). The side
/// that worked for longer held the other back, where that was more than half of the time that the
/// longer side took in all: its longest stage is named. Otherwise both mostly waited: for the network,
/// or, where the sender sat idle for longer than it was blocked in sending, for its walk.
#[must_use]
pub fn limited_by(receipt: &Receipt) -> Bottleneck {
    let Receipt {
        sender, receiver, ..
    } = receipt;
    let half = all(sender).max(all(receiver)) / 2;
    if half.is_zero() {
        Bottleneck::Unknown
    } else if work(sender) > half && work(sender) >= work(receiver) {
        busiest_of_sender(sender)
    } else if work(receiver) > half {
        busiest_of_receiver(receiver)
    } else if sender.idle > sender.network {
        Bottleneck::Walk
    } else {
        Bottleneck::Network
    }
}

/// Bytes of content a second, over the whole session.
#[must_use]
pub fn rate(receipt: &Receipt) -> u64 {
    let nanoseconds = receipt.elapsed.as_nanos().max(1);
    let rate = u128::from(receipt.bytes) * 1_000_000_000 / nanoseconds;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn work(times: &StageTimes) -> Duration {
    times.read + times.hash + times.encrypt + times.write
}

fn all(times: &StageTimes) -> Duration {
    work(times) + times.network + times.idle
}

fn busiest_of_sender(times: &StageTimes) -> Bottleneck {
    longest([
        (times.read, Bottleneck::SenderRead),
        (times.hash, Bottleneck::SenderHash),
        (times.encrypt, Bottleneck::SenderEncrypt),
    ])
}

fn busiest_of_receiver(times: &StageTimes) -> Bottleneck {
    longest([
        (times.write, Bottleneck::ReceiverWrite),
        (times.hash, Bottleneck::ReceiverHash),
        (times.encrypt, Bottleneck::ReceiverEncrypt),
    ])
}

/// The first of the longest.
fn longest(stages: [(Duration, Bottleneck); 3]) -> Bottleneck {
    let [first, rest @ ..] = stages;
    let longer =
        |a: (Duration, Bottleneck), b: (Duration, Bottleneck)| if b.0 > a.0 { b } else { a };
    rest.into_iter().fold(first, longer).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of read, hash, encrypt, network, write, idle.
    fn times([read, hash, encrypt, network, write, idle]: [u64; 6]) -> StageTimes {
        let seconds = Duration::from_secs;
        StageTimes {
            read: seconds(read),
            hash: seconds(hash),
            encrypt: seconds(encrypt),
            network: seconds(network),
            write: seconds(write),
            idle: seconds(idle),
        }
    }

    fn receipt(sender: [u64; 6], receiver: [u64; 6]) -> Receipt {
        Receipt {
            files: 0,
            directories: 0,
            symlinks: 0,
            bytes: 3_000,
            kept: 0,
            failed: 0,
            root: [0; 32],
            elapsed: Duration::from_millis(1_500),
            sender: times(sender),
            receiver: times(receiver),
        }
    }

    #[test]
    fn names_the_side_and_the_stage_that_worked() {
        for (sender, receiver, expected) in [
            ([0; 6], [0; 6], Bottleneck::Unknown),
            ([1, 1, 1, 7, 0, 0], [0, 1, 1, 7, 1, 0], Bottleneck::Network),
            (
                [6, 1, 1, 2, 0, 0],
                [0, 1, 1, 7, 1, 0],
                Bottleneck::SenderRead,
            ),
            (
                [1, 6, 1, 2, 0, 0],
                [0, 1, 1, 7, 1, 0],
                Bottleneck::SenderHash,
            ),
            (
                [1, 1, 1, 7, 0, 0],
                [0, 1, 1, 1, 7, 0],
                Bottleneck::ReceiverWrite,
            ),
            // The sender waits for the window while small files are created.
            (
                [1, 1, 1, 2, 0, 5],
                [0, 1, 1, 1, 7, 0],
                Bottleneck::ReceiverWrite,
            ),
            ([1, 1, 1, 1, 0, 6], [0, 1, 1, 2, 1, 5], Bottleneck::Walk),
            // The sender was done early, and busy until then.
            (
                [3, 0, 0, 0, 0, 0],
                [0, 1, 1, 2, 6, 0],
                Bottleneck::ReceiverWrite,
            ),
            // Both busy: the busier one.
            (
                [3, 2, 1, 4, 0, 0],
                [0, 1, 6, 1, 2, 0],
                Bottleneck::ReceiverEncrypt,
            ),
        ] {
            assert_eq!(limited_by(&receipt(sender, receiver)), expected);
        }
    }

    #[test]
    fn the_rate_is_bytes_a_second() {
        assert_eq!(rate(&receipt([0; 6], [0; 6])), 2_000);
        let mut instant = receipt([0; 6], [0; 6]);
        instant.elapsed = Duration::ZERO;
        instant.bytes = u64::MAX;
        assert_eq!(rate(&instant), u64::MAX);
    }
}
