//! Whatever happens to either side, the network, the disk or the clock: the same command again ends in the whole tree.
//!
//! docs/faults.md lists the cases. They run short here, and at full length by `cargo xtask faults`.

#[cfg(feature = "faults")]
mod buffers;
mod clocks;
mod crossing;
#[cfg(feature = "faults")]
mod endings;
mod kills;
mod lacking;
mod network;
#[cfg(feature = "faults")]
mod points;
mod report;
mod sources;
mod storage;

pub(crate) use crossing::{asked, bytes_of};
