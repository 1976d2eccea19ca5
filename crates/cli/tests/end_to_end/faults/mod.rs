//! Whatever happens to either side, the network, the disk or the clock: the same command again ends in the whole tree.
//!
//! docs/faults.md lists the cases. They run short here, and at full length by `cargo xtask faults`.

mod clocks;
mod crossing;
mod kills;
mod network;
#[cfg(feature = "faults")]
mod points;
mod report;
mod sources;
mod storage;

pub(crate) use crossing::{asked, bytes_of, orphans, remove};
