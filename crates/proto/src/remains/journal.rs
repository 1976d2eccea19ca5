//! The journal of a file that is not complete: [`HEADER`] bytes, then records of [`RECORD`] bytes, in the order in which
//! things happened: one for each extent that was verified, and [`checkpoint`]s.

use super::{BootId, Bytes, CHECK, Nonce, Version, check};
use crate::extent::ExtentValue;

/// Bytes of the header.
pub const HEADER: usize = 512;

/// Bytes of a record.
pub const RECORD: usize = 8 + 32 + CHECK;

/// The first bytes of a journal.
const MAGIC: &[u8; 8] = b"PHJOURN1";

/// Bytes of a name at most (NAME_MAX of Linux).
const MAX_NAME: usize = 255;

/// The place of the header among what is checked; records have theirs from 0 on.
const HEADER_PLACE: u64 = u64::MAX;

/// What stands at the beginning of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Ties the records to it.
    pub nonce: Nonce,
    /// When the records were written.
    pub boot: BootId,
    /// What the file is to become.
    pub version: Version,
    /// The inode of the partial file: another one is not what the records are about.
    pub inode: u64,
    /// The name that the file is to have: at most 255 bytes.
    pub name: Vec<u8>,
}

impl Header {
    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.boot);
        self.version.write(&mut bytes);
        bytes.extend_from_slice(&self.inode.to_be_bytes());
        let name = &self.name[..self.name.len().min(MAX_NAME)];
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name);
        bytes.resize(HEADER - CHECK, 0);
        bytes.extend_from_slice(&check(&self.nonce, HEADER_PLACE, &bytes));
        let mut header = [0; HEADER];
        header.copy_from_slice(&bytes);
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
        let version = Version::read(&mut bytes)?;
        let inode = bytes.u64()?;
        let [length] = bytes.take()?;
        let name = bytes.0.get(..usize::from(length))?.to_vec();
        (check(&nonce, HEADER_PLACE, body) == *sum).then_some(Self {
            nonce,
            boot,
            version,
            inode,
            name,
        })
    }
}

/// A record of one extent: it is there, and verified.
#[must_use]
pub fn record(nonce: &Nonce, place: u64, extent: &ExtentValue) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&extent.offset().to_be_bytes());
    record[8..RECORD - CHECK].copy_from_slice(extent.value());
    seal(record, nonce, place)
}

/// Where a record has the offset of its extent, a checkpoint has what no offset is.
const CHECKPOINT: u64 = u64::MAX;

/// A record of this: what the first `covered` records say is on stable storage, and is there whatever happened since.
#[must_use]
pub fn checkpoint(nonce: &Nonce, place: u64, covered: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&CHECKPOINT.to_be_bytes());
    record[8..16].copy_from_slice(&covered.to_be_bytes());
    seal(record, nonce, place)
}

fn seal(mut record: [u8; RECORD], nonce: &Nonce, place: u64) -> [u8; RECORD] {
    let sum = check(nonce, place, &record[..RECORD - CHECK]);
    record[RECORD - CHECK..].copy_from_slice(&sum);
    record
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This extent is there, and verified.
    Extent(ExtentValue),
    /// What so many of the first records say is on stable storage.
    Durable(u64),
}

/// Reads the records of a journal, one after the other.
#[derive(Debug)]
pub struct Records {
    nonce: Nonce,
    size: u64,
    place: u64,
}

impl Records {
    /// For the records behind this header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            nonce: header.nonce,
            size: header.version.size,
            place: 0,
        }
    }

    /// What the next record says; `None` where it is not one, and neither is what comes behind it.
    pub fn read(&mut self, record: &[u8; RECORD]) -> Option<Said> {
        let (body, sum) = record.split_at(RECORD - CHECK);
        if check(&self.nonce, self.place, body) != *sum {
            return None;
        }
        let mut bytes = Bytes(body);
        let said = match bytes.u64()? {
            CHECKPOINT => Said::Durable(bytes.u64().filter(|&covered| covered <= self.place)?),
            offset => Said::Extent(ExtentValue::known(offset, self.size, bytes.take()?)?),
        };
        self.place += 1;
        Some(said)
    }

    /// The place of the next record.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.place
    }
}
