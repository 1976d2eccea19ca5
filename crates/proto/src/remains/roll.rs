//! The roll of files that are complete: [`HEADER`] bytes, then a record for each file, in nearly the manifest's order: a
//! file may stand before others that were listed before it, but not further than a window holds. Among them stand marks,
//! each of which says that the files of the records before some place were made durable.

use std::time::Duration;

use super::{BootId, Bytes, CHECK, Nonce, Version, check};
use crate::extent::Hash;
use crate::path::{MAX_PATH, RelativePath};

/// Bytes of the header.
pub const HEADER: usize = 8 + 16 + 16 + 8 + 8 + 8 + CHECK;

/// Bytes before a record's body: its length and its check value.
const RECORD_HEADER: usize = 4 + CHECK;

/// Bytes of a record at most.
pub const MAX_RECORD: usize = RECORD_HEADER + Version::LENGTH + 32 + MAX_PATH;

/// The first bytes of a roll.
const MAGIC: &[u8; 8] = b"PHSTORD2";

/// The place of the header among what is checked; records have theirs from 0 on.
const HEADER_PLACE: u64 = u64::MAX;

/// What stands at the beginning of a roll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Ties the records to it.
    pub nonce: Nonce,
    /// When the records were written.
    pub boot: BootId,
    /// Whose files they are: what the sender said of its sources, so that the same command is known again.
    pub source: [u8; 8],
    /// When it was begun: seconds since 1970.
    pub begun: u64,
    /// The inode of the roll itself: a copy, in another destination perhaps, is not one.
    pub inode: u64,
}

impl Header {
    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..24].copy_from_slice(&self.nonce);
        header[24..40].copy_from_slice(&self.boot);
        header[40..48].copy_from_slice(&self.source);
        header[48..56].copy_from_slice(&self.begun.to_be_bytes());
        header[56..64].copy_from_slice(&self.inode.to_be_bytes());
        let sum = check(&self.nonce, HEADER_PLACE, &header[..64]);
        header[64..].copy_from_slice(&sum);
        header
    }

    /// Reads one; `None` for what is none, or damaged.
    #[must_use]
    pub fn parse(header: &[u8; HEADER]) -> Option<Self> {
        let (body, sum) = header.split_at(HEADER - CHECK);
        let mut bytes = Bytes(body);
        if bytes.take::<8>()? != *MAGIC {
            return None;
        }
        let (nonce, boot) = (bytes.take()?, bytes.take()?);
        let (source, begun) = (bytes.take()?, bytes.u64()?);
        let inode = bytes.u64()?;
        (check(&nonce, HEADER_PLACE, body) == *sum).then_some(Self {
            nonce,
            boot,
            source,
            begun,
            inode,
        })
    }
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is, beneath the destination.
    pub path: RelativePath,
    /// What it is.
    pub version: Version,
    /// Its BLAKE3 hash.
    pub hash: Hash,
}

impl Record {
    /// Appends it as the record at `place` of the roll with this nonce.
    pub fn encode(&self, nonce: &Nonce, place: u64, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(MAX_RECORD);
        self.version.write(&mut body);
        body.extend_from_slice(&self.hash);
        body.extend_from_slice(self.path.as_bytes());
        append(&body, nonce, place, out);
    }
}

/// Everything that so many records are about was made durable, as it was at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The records and marks that stand before this place.
    pub covered: u64,
    /// By the clock of the filesystem, since 1970: a file that was changed later is not what was made durable.
    pub at: Duration,
}

impl Mark {
    /// Bytes of a mark's body: less than any record's.
    const LENGTH: usize = 8 + 8 + 4;

    /// Appends it at `place` of the roll with this nonce.
    pub fn encode(&self, nonce: &Nonce, place: u64, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(Self::LENGTH);
        body.extend_from_slice(&self.covered.to_be_bytes());
        body.extend_from_slice(&self.at.as_secs().to_be_bytes());
        body.extend_from_slice(&self.at.subsec_nanos().to_be_bytes());
        append(&body, nonce, place, out);
    }

    /// At most what stands before it can be covered.
    fn parse(body: &[u8], place: u64) -> Option<Self> {
        let mut bytes = Bytes(body);
        let covered = bytes.u64().filter(|covered| *covered <= place)?;
        let (seconds, nanoseconds) = (bytes.u64()?, bytes.u32()?);
        let at = (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))?;
        Some(Self { covered, at })
    }
}

/// Appends a body with its length and its check value.
fn append(body: &[u8], nonce: &Nonce, place: u64, out: &mut Vec<u8>) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&check(nonce, place, body));
    out.extend_from_slice(body);
}

/// What the front of some bytes is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Front {
    /// A record, of so many bytes.
    Record(Record, usize),
    /// A mark, of so many bytes.
    Mark(Mark, usize),
    /// The beginning of one, perhaps.
    Incomplete,
    /// Nothing that is believed.
    Damaged,
}

/// Looks at the front of `bytes` for the record or mark at `place` of the roll with this nonce.
#[must_use]
pub fn front(nonce: &Nonce, place: u64, bytes: &[u8]) -> Front {
    let mut rest = Bytes(bytes);
    let (Some(length), Some(sum)) = (rest.u32(), rest.take::<CHECK>()) else {
        return Front::Incomplete;
    };
    let length = length as usize;
    if length > MAX_RECORD - RECORD_HEADER {
        return Front::Damaged;
    }
    let Some(body) = rest.0.get(..length) else {
        return Front::Incomplete;
    };
    if check(nonce, place, body) != sum {
        return Front::Damaged;
    }
    let whole = RECORD_HEADER + length;
    if length == Mark::LENGTH {
        let mark = Mark::parse(body, place);
        return mark.map_or(Front::Damaged, |mark| Front::Mark(mark, whole));
    }
    match parse(body) {
        Some(record) => Front::Record(record, whole),
        None => Front::Damaged,
    }
}

fn parse(body: &[u8]) -> Option<Record> {
    let mut bytes = Bytes(body);
    let version = Version::read(&mut bytes)?;
    let hash = bytes.take()?;
    let path = RelativePath::parse(bytes.0).ok()?;
    Some(Record {
        path,
        version,
        hash,
    })
}
