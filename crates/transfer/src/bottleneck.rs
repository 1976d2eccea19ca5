//! What held a transfer back.

use std::fmt;
use std::time::Duration;

use crate::receipt::{NetworkUse, Receipt, StageTimes};

/// What a faster one of would have helped most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bottleneck {
    /// Nothing was measured.
    Unknown,
    /// Both sides waited for the wire; only the sender knows more.
    Network,
    /// The wire: connections could not have enough under way for its round trip.
    NetworkWindow,
    /// The wire: it lost segments.
    NetworkLoss,
    /// The wire carried no more.
    NetworkRate,
    /// Both sides waited for the sender to find entries.
    Walk,
    /// The sender waited for what it read from.
    SourceDisk,
    /// The sender computed, or waited for a processor.
    SenderProcessor(Processing),
    /// The receiver computed, or waited for a processor.
    ReceiverProcessor(Processing),
    /// The receiver waited for what it wrote to.
    DestinationDisk,
}

/// What a processor was busy with for the longest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Processing {
    /// The kernel's part in reading files.
    Reading,
    /// BLAKE3.
    Hashing,
    /// Sealing or opening records.
    Cipher,
    /// The kernel's part in sending or receiving.
    Network,
    /// The kernel's part in creating, writing and naming files.
    Writing,
}

/// What held a transfer back, by how much, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What it was.
    pub bottleneck: Bottleneck,
    /// The share of the time of the threads concerned that it took, from 0 to 1; of segments, where they were lost.
    pub share: f64,
}

impl fmt::Display for Processing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reading => "reading",
            Self::Hashing => "hashing",
            Self::Cipher => "the cipher",
            Self::Network => "the network's part of the kernel",
            Self::Writing => "writing",
        })
    }
}

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("nothing measured"),
            Self::Network => f.write_str("network"),
            Self::NetworkWindow => f.write_str("network: window"),
            Self::NetworkLoss => f.write_str("network: loss"),
            Self::NetworkRate => f.write_str("network: rate"),
            Self::Walk => f.write_str("source directories"),
            Self::SourceDisk => f.write_str("source disk"),
            Self::SenderProcessor(with) => write!(f, "the sender's processor: {with}"),
            Self::ReceiverProcessor(with) => write!(f, "the receiver's processor: {with}"),
            Self::DestinationDisk => f.write_str("destination disk"),
        }
    }
}

impl Bottleneck {
    /// What might help, in a few words.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Unknown => return None,
            Self::Network => "the sender's receipt tells whether it was rate, loss or window",
            Self::NetworkWindow => {
                "let connections have more under way: sysctl net.ipv4.tcp_wmem at the sender, net.ipv4.tcp_rmem at the receiver"
            }
            Self::NetworkLoss => {
                "look for what loses segments, or let the sender's kernel mind it less: sysctl net.ipv4.tcp_congestion_control=bbr"
            }
            Self::NetworkRate => {
                "it was as fast as the link; what is compressed beforehand takes less of it"
            }
            Self::Walk => "fewer and larger directories, or a disk that lists them faster",
            Self::SourceDisk => {
                "a faster disk at the source, or files that the page cache holds already"
            }
            Self::SenderProcessor(_) => "more or faster cores at the sender, or less else on them",
            Self::ReceiverProcessor(_) => {
                "more or faster cores at the receiver, or less else on them"
            }
            Self::DestinationDisk => {
                "a faster disk at the destination, or more memory for what waits to be written"
            }
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bottleneck, share } = self;
        let percent = 100.0 * share;
        match bottleneck {
            Bottleneck::Unknown => write!(f, "{bottleneck}"),
            Bottleneck::NetworkLoss => {
                write!(f, "{bottleneck} ({percent:.1}% of it was sent again)")
            }
            _ => write!(f, "{bottleneck} ({percent:.0}% of the time)"),
        }
    }
}

/// More of a connection's time than this with its window full is the window's fault.
const WINDOW_SHARE: f64 = 0.25;

/// More of its bytes than this sent again is the loss's...
const LOSS_SHARE: f64 = 0.02;

/// ...where congestion control minds, and unless round trips are longer than the least by more than this: then a queue is full, which is the rate's.
const QUEUED: f64 = 1.25;

/// Names the bottleneck from the measured times.
///
/// Each side's time is either work (read, hash, encrypt, write) or waiting (network, idle). The side that worked for
/// longer held the other back, where that was more than half of the time that the longer side took in all. What lanes of a
/// receiver wait for, idle, is its own work too: their turn at a file that another lane writes to, or a directory that is
/// not made yet. If a side worked mostly off its processors, it waited for a disk. Where neither worked for that long, but
/// one had its processors busy, that was it: the kernel's part of the network is computing as well. Otherwise both waited:
/// for the network, or, where the sender sat idle for longer than it was blocked in sending, for its walk.
#[must_use]
pub fn limited_by(receipt: &Receipt) -> Verdict {
    let Receipt {
        sender, receiver, ..
    } = receipt;
    let longest = all(sender).max(all(receiver));
    let half = longest / 2;
    let share_of = |time: Duration| ratio(time, longest);
    if half.is_zero() {
        return Verdict {
            bottleneck: Bottleneck::Unknown,
            share: 0.0,
        };
    }
    let (sends, receives) = (work(sender), work(receiver));
    let verdict = |bottleneck, time| Verdict {
        bottleneck,
        share: share_of(time),
    };
    if sends > half && sends >= receives {
        if waited_for_disk(sender, sender.read) {
            return verdict(Bottleneck::SourceDisk, sender.read);
        }
        return verdict(
            Bottleneck::SenderProcessor(busiest(sender, Duration::ZERO)),
            sends,
        );
    }
    let held = receives + receiver.idle;
    if held > half && receives > receiver.network {
        if waited_for_disk(receiver, receiver.write) {
            return verdict(Bottleneck::DestinationDisk, receiver.write + receiver.idle);
        }
        return verdict(
            Bottleneck::ReceiverProcessor(busiest(receiver, Duration::ZERO)),
            held,
        );
    }
    if sender.processor > half && sender.processor >= receiver.processor {
        let with = busiest(sender, in_network(sender));
        return verdict(Bottleneck::SenderProcessor(with), sender.processor);
    }
    if receiver.processor > half {
        let with = busiest(receiver, in_network(receiver));
        return verdict(Bottleneck::ReceiverProcessor(with), receiver.processor);
    }
    if sender.idle > sender.network {
        return verdict(Bottleneck::Walk, sender.idle);
    }
    let share = ratio(sender.network, all(sender));
    match receipt.network {
        None => Verdict {
            bottleneck: Bottleneck::Network,
            share,
        },
        Some(network) => of_network(&network, share),
    }
}

fn of_network(network: &NetworkUse, share: f64) -> Verdict {
    let window = ratio(network.send_buffer + network.receiver_window, network.busy);
    #[allow(
        clippy::cast_precision_loss,
        reason = "a share, to be shown in percent"
    )]
    let lost = network.resent as f64 / (network.sent as f64).max(1.0);
    let (bottleneck, share) = if window > WINDOW_SHARE {
        (Bottleneck::NetworkWindow, window)
    } else if network.minds_loss
        && lost > LOSS_SHARE
        && network.round_trips <= network.least_round_trips.mul_f64(QUEUED)
    {
        (Bottleneck::NetworkLoss, lost)
    } else {
        (Bottleneck::NetworkRate, share)
    };
    Verdict { bottleneck, share }
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        return 0.0;
    }
    (part.as_secs_f64() / whole.as_secs_f64()).min(1.0)
}

/// Bytes of content a second, over the whole session.
#[must_use]
pub fn rate(receipt: &Receipt) -> u64 {
    let nanoseconds = receipt.elapsed.as_nanos().max(1);
    let sent = receipt.bytes.saturating_sub(receipt.resumed);
    let rate = u128::from(sent) * 1_000_000_000 / nanoseconds;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn work(times: &StageTimes) -> Duration {
    times.read + times.hash + times.encrypt + times.write
}

fn all(times: &StageTimes) -> Duration {
    work(times) + times.network + times.idle
}

/// Whether a side's longest stage is its disk's, and more of its work was off the processors than on them. Of peers that
/// do not say how long they computed, the stage alone has to do.
fn waited_for_disk(times: &StageTimes, disk: Duration) -> bool {
    disk >= times.hash.max(times.encrypt)
        && work(times).saturating_sub(times.processor) > times.processor
}

/// What processors did beyond the work that was timed: the kernel's part of sending and receiving.
fn in_network(times: &StageTimes) -> Duration {
    times.processor.saturating_sub(work(times))
}

/// What a side did for the longest time.
fn busiest(times: &StageTimes, network: Duration) -> Processing {
    let mut longest = (times.hash, Processing::Hashing);
    for next in [
        (times.read, Processing::Reading),
        (times.encrypt, Processing::Cipher),
        (times.write, Processing::Writing),
        (network, Processing::Network),
    ] {
        if next.0 > longest.0 {
            longest = next;
        }
    }
    longest.1
}

#[cfg(test)]
mod tests {
    use packhorse_proto::message::Assurance;

    use super::*;

    /// Seconds of read, hash, encrypt, network, write, idle; and of them on a processor.
    fn times([read, hash, encrypt, network, write, idle, processor]: [u64; 7]) -> StageTimes {
        let seconds = Duration::from_secs;
        StageTimes {
            read: seconds(read),
            hash: seconds(hash),
            encrypt: seconds(encrypt),
            network: seconds(network),
            write: seconds(write),
            idle: seconds(idle),
            processor: seconds(processor),
        }
    }

    fn receipt(sender: [u64; 7], receiver: [u64; 7]) -> Receipt {
        Receipt {
            files: 0,
            directories: 0,
            symlinks: 0,
            bytes: 3_000,
            kept: 0,
            failed: 0,
            resumed: 0,
            assurance: Assurance::default(),
            root: [0; 32],
            elapsed: Duration::from_millis(1_500),
            lanes: 1,
            sender: times(sender),
            network: None,
            receiver: times(receiver),
        }
    }

    #[test]
    fn names_the_side_and_what_it_waited_for() {
        use Bottleneck::{
            DestinationDisk, Network, ReceiverProcessor, SenderProcessor, SourceDisk, Unknown, Walk,
        };
        for (sender, receiver, expected) in [
            ([0; 7], [0; 7], Unknown),
            ([1, 1, 1, 7, 0, 0, 3], [0, 1, 1, 7, 1, 0, 3], Network),
            ([6, 1, 1, 2, 0, 0, 3], [0, 1, 1, 7, 1, 0, 3], SourceDisk),
            (
                [6, 1, 1, 2, 0, 0, 9],
                [0, 1, 1, 7, 1, 0, 3],
                SenderProcessor(Processing::Reading),
            ),
            (
                [1, 6, 1, 2, 0, 0, 8],
                [0, 1, 1, 7, 1, 0, 3],
                SenderProcessor(Processing::Hashing),
            ),
            (
                [1, 1, 1, 7, 0, 0, 3],
                [0, 1, 1, 1, 7, 0, 3],
                DestinationDisk,
            ),
            // The sender waits for the window while small files are created.
            (
                [1, 1, 1, 2, 0, 5, 3],
                [0, 1, 1, 1, 7, 0, 9],
                ReceiverProcessor(Processing::Writing),
            ),
            // Two lanes wait for their turn while the third one writes.
            (
                [1, 1, 1, 27, 0, 0, 3],
                [0, 1, 1, 1, 9, 18, 3],
                DestinationDisk,
            ),
            ([1, 1, 1, 1, 0, 6, 3], [0, 1, 1, 7, 1, 0, 3], Walk),
            // The sender was done early, and busy until then.
            (
                [3, 0, 0, 0, 0, 0, 1],
                [0, 1, 1, 2, 6, 0, 3],
                DestinationDisk,
            ),
            // Both busy: the busier one.
            (
                [3, 2, 1, 4, 0, 0, 9],
                [0, 1, 6, 1, 2, 0, 9],
                ReceiverProcessor(Processing::Cipher),
            ),
            // A lane waits for content while other threads make empty files.
            (
                [0, 0, 0, 0, 0, 20, 1],
                [0, 0, 0, 10, 10, 0, 11],
                ReceiverProcessor(Processing::Writing),
            ),
            // Nobody worked for long, and the receiver's kernel was busy receiving.
            (
                [1, 1, 1, 7, 0, 0, 2],
                [0, 1, 1, 7, 1, 0, 9],
                ReceiverProcessor(Processing::Network),
            ),
        ] {
            let verdict = limited_by(&receipt(sender, receiver));
            assert_eq!(verdict.bottleneck, expected, "{sender:?} {receiver:?}");
        }
    }

    #[test]
    fn a_sender_knows_what_the_network_lacked() {
        let seconds = Duration::from_secs;
        let network = NetworkUse {
            lanes: 1,
            busy: seconds(10),
            sent: 1000,
            ..NetworkUse::default()
        };
        let windowed = NetworkUse {
            send_buffer: seconds(4),
            receiver_window: seconds(2),
            ..network
        };
        let lossy = NetworkUse {
            resent: 50,
            minds_loss: true,
            round_trips: Duration::from_millis(21),
            least_round_trips: Duration::from_millis(20),
            ..network
        };
        let unimpressed = NetworkUse {
            minds_loss: false,
            ..lossy
        };
        let queued = NetworkUse {
            round_trips: Duration::from_millis(40),
            ..lossy
        };
        for (network, expected) in [
            (network, "network: rate (70% of the time)"),
            (windowed, "network: window (60% of the time)"),
            (unimpressed, "network: rate (70% of the time)"),
            (queued, "network: rate (70% of the time)"),
            (lossy, "network: loss (5.0% of it was sent again)"),
        ] {
            let mut receipt = receipt([1, 1, 1, 7, 0, 0, 3], [0, 1, 1, 7, 1, 0, 3]);
            receipt.network = Some(network);
            assert_eq!(limited_by(&receipt).to_string(), expected);
        }
    }

    #[test]
    fn the_rate_is_bytes_a_second() {
        assert_eq!(rate(&receipt([0; 7], [0; 7])), 2_000);
        let mut instant = receipt([0; 7], [0; 7]);
        instant.elapsed = Duration::ZERO;
        instant.bytes = u64::MAX;
        assert_eq!(rate(&instant), u64::MAX);
    }
}
