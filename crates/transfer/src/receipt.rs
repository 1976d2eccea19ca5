//! What both sides hold in their hands at the end.

use std::time::Duration;

use packhorse_proto::extent::Hash;
use packhorse_proto::message::{Times, Totals};

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
    /// BLAKE3 root of the manifest of all that was stored.
    pub root: Hash,
    /// From authenticated to done, by the receiver's clock.
    pub elapsed: Duration,
    /// Where the sender's lane threads spent their time.
    pub sender: StageTimes,
    /// Where the receiver's lane threads, and the one that places entries, spent their time.
    pub receiver: StageTimes,
}

impl Receipt {
    /// A receipt as the protocol carries it; `times` are the sender's and the receiver's.
    pub(crate) fn new(
        root: Hash,
        totals: Totals,
        elapsed: Duration,
        times: (Times, Times),
    ) -> Self {
        let Totals {
            files,
            directories,
            symlinks,
            bytes,
            kept,
            failed,
        } = totals;
        let (sender, receiver) = (times.0.into(), times.1.into());
        Self {
            files,
            directories,
            symlinks,
            bytes,
            kept,
            failed,
            root,
            elapsed,
            sender,
            receiver,
        }
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
}
