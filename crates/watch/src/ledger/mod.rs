//! The ledger: each write and read call of a process on its sockets, beside what the kernel knew at that
//! moment.
//!
//! A ledger is a pcapng file whose interface has link type [`LinkType::USER0`](crate::LinkType::USER0) and the
//! name [`INTERFACE`]; each call is an enhanced packet block of nanosecond resolution, stamped with when the call
//! began, whose data is a [record](Call::emit). So programs that know pcapng can merge and cut ledgers, and one
//! that was cut off in the middle of a block is good up to there.

mod call;
mod kernel;
mod reader;
mod record;
mod writer;

#[cfg(test)]
mod tests;

pub use call::{Call, Endpoints, Kind, Outcome};
pub use kernel::Kernel;
pub use reader::Reader;
pub use record::RecordError;
pub use writer::Writer;

/// What the interface of a ledger is called.
pub const INTERFACE: &str = "packhorse ledger v1";

/// The version of the record that this writes.
pub const VERSION: u8 = 1;
