//! Reading a receipt without holding it.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};

use packhorse_proto::entry::Entry;
use packhorse_proto::extent::Hash;
use packhorse_proto::message::Assurance;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::fields::{EntryFields, StageFields, duration, parse_hex};
use super::{FORMAT, VERSION};
use crate::receipt::Receipt;

/// The most bytes that one entry, or one other field, may take in the file. An entry's two texts of
/// 4,095 bytes take 48 KiB where every byte is written as `\u00XX`.
pub const MAX_FIELD: usize = 1 << 20;

/// Why a receipt file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptFileError {
    /// The file could not be read.
    #[error("the receipt cannot be read")]
    Unreadable(#[source] io::Error),
    /// The file ends before the receipt does.
    #[error("the receipt is cut short")]
    CutShort,
    /// A later version of packhorse wrote it.
    #[error("the receipt is of version {0}, this program reads up to {VERSION}")]
    Newer(u64),
    /// It is not a receipt, or no longer a whole one.
    #[error("this is not a whole receipt: {0}")]
    Damaged(String),
}

impl ReceiptFileError {
    /// Whether this machine could not read the file, so that nothing is known of what it holds.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }
}

/// Reads a receipt, and gives each of its entries, with a file's content hash, to `entry` as it comes.
///
/// Whether entries, counts and root belong together is for the caller to check.
///
/// # Errors
/// The file cannot be read, or holds anything but a receipt of a known version. Entries may have been
/// given before that shows.
pub fn read(
    reader: impl BufRead,
    entry: &mut dyn FnMut(Entry, Option<Hash>),
) -> Result<Receipt, ReceiptFileError> {
    let budget = Cell::new(MAX_FIELD);
    let newer = Cell::new(None);
    let mut json = serde_json::Deserializer::from_reader(Bounded {
        reader,
        budget: &budget,
    });
    let document = Document {
        budget: &budget,
        newer: &newer,
        entry,
    };
    let receipt = json.deserialize_map(document);
    match receipt.and_then(|receipt| json.end().map(|()| receipt)) {
        Ok(receipt) => Ok(receipt),
        Err(error) => Err(newer
            .get()
            .map_or_else(|| ReceiptFileError::from(error), ReceiptFileError::Newer)),
    }
}

impl From<serde_json::Error> for ReceiptFileError {
    fn from(error: serde_json::Error) -> Self {
        if error.io_error_kind() == Some(io::ErrorKind::FileTooLarge) {
            Self::Damaged(format!("a field takes more than {MAX_FIELD} bytes"))
        } else if error.is_io() {
            Self::Unreadable(error.into())
        } else if error.is_eof() {
            Self::CutShort
        } else {
            Self::Damaged(error.to_string())
        }
    }
}

/// Refuses to read on when the budget that the visitors renew for every field is spent: strings are
/// held whole while they are parsed.
struct Bounded<'a, R> {
    reader: R,
    budget: &'a Cell<usize>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let budget = self.budget.get();
        if budget == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = buffer.len().min(budget);
        let count = self.reader.read(&mut buffer[..most])?;
        self.budget.set(budget - count);
        Ok(count)
    }
}

/// The whole document: an object of which one field is long.
struct Document<'a> {
    budget: &'a Cell<usize>,
    newer: &'a Cell<Option<u64>>,
    entry: &'a mut dyn FnMut(Entry, Option<Hash>),
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    V,
    Format,
    Entries,
    Files,
    Directories,
    Symlinks,
    Bytes,
    Kept,
    Failed,
    ResumedBytes,
    Durable,
    Reread,
    Root,
    ElapsedSeconds,
    Lanes,
    Sender,
    Receiver,
    #[serde(other)]
    Unknown,
}

/// The fields met so far.
#[derive(Default)]
struct Found {
    v: Option<()>,
    format: Option<()>,
    entries: Option<()>,
    files: Option<u64>,
    directories: Option<u64>,
    symlinks: Option<u64>,
    bytes: Option<u64>,
    kept: Option<u64>,
    failed: Option<u64>,
    resumed: Option<u64>,
    durable: Option<bool>,
    reread: Option<bool>,
    root: Option<String>,
    elapsed: Option<f64>,
    lanes: Option<u16>,
    sender: Option<StageFields>,
    receiver: Option<StageFields>,
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Receipt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a packhorse receipt")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Receipt, M::Error> {
        let mut found = Found::default();
        while let Some(field) = map.next_key()? {
            self.field(&field, &mut map, &mut found)?;
            self.budget.set(MAX_FIELD);
        }
        found.into_receipt()
    }
}

impl Document<'_> {
    fn field<'de, M: MapAccess<'de>>(
        &mut self,
        field: &Field,
        map: &mut M,
        found: &mut Found,
    ) -> Result<(), M::Error> {
        match field {
            Field::V => once("v", &mut found.v, self.version(map)?),
            Field::Format => once("format", &mut found.format, format(map)?),
            Field::Entries => {
                let entries = Entries {
                    budget: self.budget,
                    entry: self.entry,
                };
                once("entries", &mut found.entries, map.next_value_seed(entries)?)
            }
            Field::Files => once("files", &mut found.files, map.next_value()?),
            Field::Directories => once("directories", &mut found.directories, map.next_value()?),
            Field::Symlinks => once("symlinks", &mut found.symlinks, map.next_value()?),
            Field::Bytes => once("bytes", &mut found.bytes, map.next_value()?),
            Field::Kept => once("kept", &mut found.kept, map.next_value()?),
            Field::Failed => once("failed", &mut found.failed, map.next_value()?),
            Field::ResumedBytes => once("resumed_bytes", &mut found.resumed, map.next_value()?),
            Field::Durable => once("durable", &mut found.durable, map.next_value()?),
            Field::Reread => once("reread", &mut found.reread, map.next_value()?),
            Field::Root => once("root", &mut found.root, map.next_value()?),
            Field::ElapsedSeconds => once("elapsed_seconds", &mut found.elapsed, map.next_value()?),
            Field::Lanes => once("lanes", &mut found.lanes, map.next_value()?),
            Field::Sender => once("sender", &mut found.sender, map.next_value()?),
            Field::Receiver => once("receiver", &mut found.receiver, map.next_value()?),
            Field::Unknown => map.next_value::<IgnoredAny>().map(drop),
        }
    }

    fn version<'de, M: MapAccess<'de>>(&self, map: &mut M) -> Result<(), M::Error> {
        match map.next_value()? {
            VERSION => Ok(()),
            0 => Err(M::Error::custom("there is no version 0")),
            version => {
                self.newer.set(Some(version));
                Err(M::Error::custom("newer version"))
            }
        }
    }
}

fn once<T, E: serde::de::Error>(
    name: &'static str,
    slot: &mut Option<T>,
    value: T,
) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

fn format<'de, M: MapAccess<'de>>(map: &mut M) -> Result<(), M::Error> {
    if map.next_value::<String>()? == FORMAT {
        Ok(())
    } else {
        Err(M::Error::custom(format_args!("'format' is not '{FORMAT}'")))
    }
}

impl Found {
    fn into_receipt<E: serde::de::Error>(self) -> Result<Receipt, E> {
        let missing = E::missing_field;
        self.v.ok_or_else(|| missing("v"))?;
        self.format.ok_or_else(|| missing("format"))?;
        self.entries.ok_or_else(|| missing("entries"))?;
        let root = self.root.ok_or_else(|| missing("root"))?;
        let elapsed = self.elapsed.ok_or_else(|| missing("elapsed_seconds"))?;
        let sender = self.sender.ok_or_else(|| missing("sender"))?;
        let receiver = self.receiver.ok_or_else(|| missing("receiver"))?;
        let time = || E::custom("a number of seconds is negative or too large");
        Ok(Receipt {
            files: self.files.ok_or_else(|| missing("files"))?,
            directories: self.directories.ok_or_else(|| missing("directories"))?,
            symlinks: self.symlinks.ok_or_else(|| missing("symlinks"))?,
            bytes: self.bytes.ok_or_else(|| missing("bytes"))?,
            kept: self.kept.ok_or_else(|| missing("kept"))?,
            failed: self.failed.ok_or_else(|| missing("failed"))?,
            root: parse_hex(&root)
                .ok_or_else(|| E::custom("'root' is not 64 lower-case hexadecimal digits"))?,
            elapsed: duration(elapsed).ok_or_else(time)?,
            // Older receipts have none of these.
            resumed: self.resumed.unwrap_or(0),
            assurance: Assurance {
                durable: self.durable.unwrap_or(false),
                reread: self.reread.unwrap_or(false),
            },
            lanes: self.lanes.unwrap_or(0),
            network: None,
            sender: sender.check().ok_or_else(time)?,
            receiver: receiver.check().ok_or_else(time)?,
        })
    }
}

/// The array of entries: each is given away before the next is read.
struct Entries<'a> {
    budget: &'a Cell<usize>,
    entry: &'a mut dyn FnMut(Entry, Option<Hash>),
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of entries")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut entries: S) -> Result<(), S::Error> {
        while let Some(fields) = entries.next_element::<EntryFields<'_>>()? {
            let (entry, hash) = fields.check().map_err(S::Error::custom)?;
            (self.entry)(entry, hash);
            self.budget.set(MAX_FIELD);
        }
        Ok(())
    }
}
