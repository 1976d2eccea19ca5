//! Writing a receipt while entries arrive.

use std::io::{self, Write};

use packhorse_proto::entry::Entry;
use packhorse_proto::extent::Hash;
use serde::Serialize;

use super::fields::{EntryFields, StageFields, hex};
use super::{FORMAT, VERSION};
use crate::bottleneck::{limited_by, rate};
use crate::receipt::Receipt;

/// Writes a receipt file: every entry as it comes, then what the receipt says of them all.
///
/// Nothing is held back, so `W` should be buffered. What was written before
/// [`finish`](Self::finish) is no JSON document yet.
#[derive(Debug)]
pub struct ReceiptWriter<W: Write> {
    to: W,
    separator: &'static [u8],
}

/// What a receipt file and the `done` event say of the whole.
#[derive(Debug, Serialize)]
pub struct Totals {
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    kept: u64,
    failed: u64,
    resumed_bytes: u64,
    durable: bool,
    reread: bool,
    root: String,
    elapsed_seconds: f64,
    rate_bytes_per_second: u64,
    lanes: u16,
    sender: StageFields,
    receiver: StageFields,
    limited_by: String,
}

impl<W: Write> ReceiptWriter<W> {
    /// Writes what comes before the entries.
    ///
    /// # Errors
    /// What `to` says.
    pub fn new(mut to: W) -> io::Result<Self> {
        write!(to, r#"{{"v":{VERSION},"format":"{FORMAT}","entries":["#)?;
        Ok(Self {
            to,
            separator: b"\n",
        })
    }

    /// Writes the next entry that was stored; `hash` is a file's content hash.
    ///
    /// # Errors
    /// What the underlying writer says.
    pub fn entry(&mut self, entry: &Entry, hash: Option<&Hash>) -> io::Result<()> {
        self.to.write_all(self.separator)?;
        self.separator = b",\n";
        serde_json::to_writer(&mut self.to, &EntryFields::of(entry, hash))?;
        Ok(())
    }

    /// Writes the rest, flushes, and gives the underlying writer back.
    ///
    /// # Errors
    /// What the underlying writer says.
    pub fn finish(mut self, receipt: &Receipt) -> io::Result<W> {
        let totals = serde_json::to_string(&Totals::of(receipt))?;
        // The totals are an object of their own but for its opening brace.
        let totals = totals.strip_prefix('{').unwrap_or(&totals);
        write!(self.to, "\n],\n{totals}\n")?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl Totals {
    /// The fields of `receipt`.
    #[must_use]
    pub fn of(receipt: &Receipt) -> Self {
        Self {
            files: receipt.files,
            directories: receipt.directories,
            symlinks: receipt.symlinks,
            bytes: receipt.bytes,
            kept: receipt.kept,
            failed: receipt.failed,
            resumed_bytes: receipt.resumed,
            durable: receipt.assurance.durable,
            reread: receipt.assurance.reread,
            root: hex(&receipt.root),
            elapsed_seconds: receipt.elapsed.as_secs_f64(),
            rate_bytes_per_second: rate(receipt),
            lanes: receipt.lanes,
            sender: (&receipt.sender).into(),
            receiver: (&receipt.receiver).into(),
            limited_by: limited_by(receipt).bottleneck.to_string(),
        }
    }
}
