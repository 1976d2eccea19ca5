//! What both sides hold in their hands at the end.

use std::time::Duration;

use packhorse_endpoint::TcpInfo;
use packhorse_proto::extent::Hash;
use packhorse_proto::message::{Assurance, Times, Totals};

/// What arrived, and where the time went. Both sides print the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Files stored and verified.
    pub files: u64,
    /// Directories made or found.
    pub directories: u64,
    /// Symbolic links stored.
    pub symlinks: u64,
    /// Bytes of content in the files stored.
    pub bytes: u64,
    /// Existing files kept, as asked.
    pub kept: u64,
    /// Entries that did not arrive.
    pub failed: u64,
    /// Bytes that were there from an earlier session, and were not sent again.
    pub resumed: u64,
    /// What the receiver has seen to before it handed this out.
    pub assurance: Assurance,
    /// BLAKE3 root of the manifest of all that was stored.
    pub root: Hash,
    /// From authenticated to done, by the receiver's clock.
    pub elapsed: Duration,
    /// Connections that carried content at the same time, at most. The sender decides that while it runs.
    pub lanes: u16,
    /// Where the sender's lane threads spent their time.
    pub sender: StageTimes,
    /// What the kernel says of the lanes' connections; only the sender knows.
    pub network: Option<NetworkUse>,
    /// Where the receiver's lane threads, and the one that places entries, spent their time.
    pub receiver: StageTimes,
}

impl Receipt {
    /// A receipt as the protocol carries it; `times` are the sender's and the receiver's.
    pub(crate) fn new(
        (root, totals, assurance): (Hash, Totals, Assurance),
        (elapsed, lanes): (Duration, u16),
        times: (Times, Times),
    ) -> Self {
        let Totals {
            files,
            directories,
            symlinks,
            bytes,
            kept,
            failed,
            resumed,
        } = totals;
        let (sender, receiver) = (times.0.into(), times.1.into());
        Self {
            files,
            directories,
            symlinks,
            bytes,
            kept,
            failed,
            resumed,
            assurance,
            root,
            elapsed,
            lanes,
            sender,
            network: None,
            receiver,
        }
    }
}

/// What the kernel says of connections that sent content, summed over them (TCP_INFO).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkUse {
    /// How many there were.
    pub lanes: u16,
    /// How long there was something to send.
    pub busy: Duration,
    /// How long of that the send buffer was too small.
    pub send_buffer: Duration,
    /// How long of that the receiver had no room.
    pub receiver_window: Duration,
    /// Bytes sent, those sent again among them.
    pub sent: u64,
    /// Bytes sent again.
    pub resent: u64,
    /// Whether their congestion control takes loss for congestion.
    pub minds_loss: bool,
    /// Round trips as they were at the end, summed.
    pub round_trips: Duration,
    /// The least round trips that were seen, summed: less than the others by what waits in queues on the way.
    pub least_round_trips: Duration,
}

impl NetworkUse {
    /// Adds what the kernel knows of one more connection.
    pub(crate) fn add(&mut self, info: &TcpInfo, minds_loss: bool) {
        self.minds_loss |= minds_loss;
        let time = Option::unwrap_or_default;
        self.lanes += 1;
        self.busy += time(info.busy);
        self.send_buffer += time(info.limited_by_send_buffer);
        self.receiver_window += time(info.limited_by_peer);
        self.sent += info.bytes_sent.unwrap_or(0);
        self.resent += info.bytes_retransmitted.unwrap_or(0);
        self.round_trips += info.rtt;
        self.least_round_trips += info.min_rtt.unwrap_or(info.rtt);
    }
}

/// Time that one side's threads were busy or blocked in each stage, summed over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Opening and reading source files.
    pub read: Duration,
    /// BLAKE3.
    pub hash: Duration,
    /// Sealing or opening records.
    pub encrypt: Duration,
    /// In send or receive calls.
    pub network: Duration,
    /// Creating, writing and naming files.
    pub write: Duration,
    /// Waiting for work: for the walk, the manifest or the window.
    pub idle: Duration,
    /// Of all that, on a processor or waiting for one; nothing where it was not measured.
    pub processor: Duration,
}
