//! What a receiver keeps on disk of a session that has not come to its end, so that the next one goes on from there.
//!
//! Two kinds of files, neither of which ever travels:
//! - a [`journal`] beside each large file that is not complete: which of its extents are there, and their values;
//! - a [`roll`] in the destination: the files that are complete, and their hashes.
//!
//! Both are only ever added to. A record says no more than what the files held when it was written, and carries a
//! check value: after the last good record nothing is believed. Numbers are big-endian.

pub mod journal;
pub mod roll;

use crate::entry::{Metadata, Mode, Timestamp};

/// What tells one start of a machine from another, and one mount of a filesystem: see [`boot_and_mount`].
///
/// What a process wrote before it was killed is there for the next one; what it wrote before the machine went down, or its
/// disk was pulled out, may not be.
pub type BootId = [u8; 16];

/// One number of Linux's `/proc/sys/kernel/random/boot_id`, a filesystem's device (major, minor), and its mount's
/// number (statx(2)).
#[must_use]
pub fn boot_and_mount(boot: BootId, device: [u32; 2], mount: u64) -> BootId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&boot);
    for number in device {
        hasher.update(&number.to_be_bytes());
    }
    hasher.update(&mount.to_be_bytes());
    let mut id = BootId::default();
    let length = id.len();
    id.copy_from_slice(&hasher.finalize().as_bytes()[..length]);
    id
}

/// Drawn at random for each file, so that no record of another file, or of this one before it was begun anew, is taken for
/// one of it.
pub type Nonce = [u8; 16];

/// Bytes of a check value.
const CHECK: usize = 8;

/// The first bytes of the BLAKE3 hash of a file's nonce, a record's place and its bytes.
fn check(nonce: &Nonce, place: u64, bytes: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(nonce);
    hasher.update(&place.to_be_bytes());
    hasher.update(bytes);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
    check
}

/// Ways to name one partial file: as many sessions may write a file of one name at a time and leave something.
pub const VARIANTS: u8 = 4;

/// What the names of a partial file and its journal have in common: the same for the same final name, so that they are
/// found again.
#[must_use]
pub fn partial_id(name: &[u8], variant: u8) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[variant]);
    hasher.update(name);
    let mut id = [0; 8];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    id
}

/// What a file has to be for its remains to be those of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// Permissions, times and change attribute.
    pub metadata: Metadata,
}

impl Version {
    /// Bytes of one.
    const LENGTH: usize = 8 + 8 + 4 + 2 + 1 + 8;

    fn write(&self, out: &mut Vec<u8>) {
        let Metadata {
            mode,
            modified,
            change,
        } = self.metadata;
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&modified.seconds().to_be_bytes());
        out.extend_from_slice(&modified.nanoseconds().to_be_bytes());
        out.extend_from_slice(&mode.bits().to_be_bytes());
        out.push(u8::from(change.is_some()));
        out.extend_from_slice(&change.unwrap_or(0).to_be_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let size = bytes.u64()?;
        let modified = Timestamp::new(i64::from_be_bytes(bytes.take()?), bytes.u32()?)?;
        let mode = Mode::from_st_mode(u16::from_be_bytes(bytes.take()?).into());
        let [has_change] = bytes.take()?;
        let change = bytes.u64()?;
        Some(Self {
            size,
            metadata: Metadata {
                mode,
                modified,
                change: (has_change == 1).then_some(change),
            },
        })
    }
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}
