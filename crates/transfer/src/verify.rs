//! A directory held against the receipt of what was received into it.

use std::cmp::Ordering;
use std::io::{self, BufRead};
use std::path::Path;

use packhorse_proto::entry::{Entry, Kind, Mode, Timestamp};
use packhorse_proto::extent::Hash;
use packhorse_proto::manifest::ManifestRoot;
use packhorse_proto::path::RelativePath;
use packhorse_tree::{
    FileAt, Found, SourceError, SourceFile, Walk, WalkError, WalkProblem, WalkSource,
};

use crate::receipt::Receipt;
use crate::receipt_file::{self, ReceiptFileError};

/// Bytes read at once: what stays in the processor's second cache while it is hashed.
const BUFFER: usize = 128 << 10;

/// Where a running or broken session keeps its own files, beneath the destination.
const OWN_DIRECTORY: &[u8] = b".packhorse";

/// One way in which one path differs from the receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: RelativePath,
    /// How.
    pub what: Differs,
}

/// How a path differs from the receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Differs {
    /// It is not there.
    Missing,
    /// It is there, and cannot be read: one line, escaped.
    Unreadable(String),
    /// It is a file, directory or link where the receipt has another of these.
    Kind,
    /// A file of another size.
    Size {
        /// By the receipt.
        expected: u64,
        /// On disk.
        found: u64,
    },
    /// A file of the same size whose BLAKE3 hash is another.
    Content,
    /// A link to somewhere else.
    Target,
    /// Other permission bits.
    Mode {
        /// By the receipt.
        expected: Mode,
        /// On disk.
        found: Mode,
    },
    /// Another modification time.
    Modified {
        /// By the receipt.
        expected: Timestamp,
        /// On disk.
        found: Timestamp,
    },
    /// The receipt does not list it. Nothing is wrong with that.
    Extra,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifySummary {
    /// Entries that are as the receipt says.
    pub same: u64,
    /// Entries that are there, and differ or cannot be read.
    pub different: u64,
    /// Entries that are not there.
    pub missing: u64,
    /// What is there and not in the receipt.
    pub extra: u64,
    /// Bytes hashed.
    pub bytes: u64,
}

impl VerifySummary {
    /// Whether everything that the receipt lists is as it says.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.different == 0 && self.missing == 0
    }
}

/// Why a directory could not be held against a receipt.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The directory cannot be walked.
    #[error("cannot look into the directory")]
    Directory(#[source] SourceError),
    /// The receipt cannot be used.
    #[error(transparent)]
    Receipt(#[from] ReceiptFileError),
    /// The receipt contradicts itself: somebody or something changed it.
    #[error("the receipt is damaged: {0}")]
    Contradiction(String),
}

/// Reads everything beneath `dir` that `receipt` lists, and gives every difference to `report`, in the
/// manifest's order.
///
/// The receipt's own root and counts are checked as well. Neither the receipt nor the tree is ever
/// held, so differences may have been reported before a damaged receipt shows itself.
///
/// # Errors
/// The directory cannot be walked, or the receipt is not one. What cannot be read beneath `dir` is a
/// difference.
pub fn verify(
    dir: &Path,
    receipt: &mut dyn BufRead,
    report: &mut dyn FnMut(Difference),
) -> Result<VerifySummary, VerifyError> {
    // The empty last component asks for what the directory holds.
    let source = WalkSource::new(dir.join(""));
    let walk = Walk::new(vec![source]).map_err(VerifyError::Directory)?;
    let mut comparison = Comparison {
        disk: Disk::new(walk),
        summary: VerifySummary::default(),
        buffer: vec![0; BUFFER],
        report,
    };
    let mut sums = Sums::default();
    let stated = receipt_file::read(receipt, &mut |entry, hash| {
        sums.add(&entry, hash.as_ref());
        comparison.entry(&entry, hash.as_ref());
    })?;
    sums.check(&stated).map_err(VerifyError::Contradiction)?;
    comparison.rest();
    Ok(comparison.summary)
}

/// What is on disk, in the manifest's order, one entry ahead.
struct Disk {
    walk: Walk,
    next: Option<Found>,
    /// What the walk could not visit since the last entry that was taken.
    unvisited: Vec<WalkError>,
}

impl Disk {
    fn new(walk: Walk) -> Self {
        Self {
            walk,
            next: None,
            unvisited: Vec::new(),
        }
    }

    fn peek(&mut self) -> Option<&Found> {
        while self.next.is_none() {
            match self.walk.next()? {
                Ok(found) => self.next = Some(found),
                Err(error) => self.unvisited.push(error),
            }
        }
        self.next.as_ref()
    }

    /// Takes the next entry where it comes before `path`, or, without one, whatever it is.
    fn take_before(&mut self, path: Option<&RelativePath>) -> Option<Found> {
        let next = &self.peek()?.entry.path;
        let before = path.is_none_or(|path| next.cmp(path) == Ordering::Less);
        self.next.take_if(|_| before)
    }

    fn take(&mut self, path: &RelativePath) -> Option<Found> {
        let is_it = self.peek()?.entry.path == *path;
        let found = self.next.take_if(|_| is_it)?;
        self.unvisited.clear();
        Some(found)
    }

    /// Why `path` was not found, if the walk came by.
    fn obstacle(&self, path: &RelativePath) -> Option<&WalkProblem> {
        let ending = format!("/{path}");
        let error = self.unvisited.iter().find(|e| e.path.ends_with(&ending))?;
        Some(&error.problem)
    }
}

/// Two streams in one order, merged.
struct Comparison<'a> {
    disk: Disk,
    summary: VerifySummary,
    buffer: Vec<u8>,
    report: &'a mut dyn FnMut(Difference),
}

impl Comparison<'_> {
    fn entry(&mut self, entry: &Entry, hash: Option<&Hash>) {
        self.skip_extra(Some(&entry.path));
        let Some(found) = self.disk.take(&entry.path) else {
            return self.absent(&entry.path);
        };
        let mut differs = compare(entry, &found.entry);
        if differs.is_empty()
            && let (Some(file), Some(hash)) = (&found.file, hash)
        {
            differs.extend(self.content(file, hash));
        }
        differs.extend(compare_metadata(entry, &found.entry));
        match differs.is_empty() {
            true => self.summary.same += 1,
            false => self.summary.different += 1,
        }
        for what in differs {
            self.report(&entry.path, what);
        }
    }

    fn absent(&mut self, path: &RelativePath) {
        let what = match self.disk.obstacle(path) {
            None => Differs::Missing,
            Some(WalkProblem::Unsupported(_)) => Differs::Kind,
            Some(problem) => Differs::Unreadable(problem.to_string()),
        };
        match what {
            Differs::Missing => self.summary.missing += 1,
            _ => self.summary.different += 1,
        }
        self.report(path, what);
    }

    fn skip_extra(&mut self, before: Option<&RelativePath>) {
        while let Some(found) = self.disk.take_before(before) {
            let path = found.entry.path;
            let own = path.components().next();
            if own.is_some_and(|name| name.as_bytes() == OWN_DIRECTORY) {
                continue;
            }
            self.summary.extra += 1;
            self.report(&path, Differs::Extra);
        }
    }

    /// What comes after the receipt's last entry.
    fn rest(&mut self) {
        self.skip_extra(None);
    }

    fn content(&mut self, file: &FileAt, expected: &Hash) -> Option<Differs> {
        let hashed = file
            .open()
            .and_then(|file| hash_file(&file, &mut self.buffer));
        match hashed {
            Ok((hash, bytes)) => {
                self.summary.bytes += bytes;
                (hash != *expected).then_some(Differs::Content)
            }
            Err(error) => Some(Differs::Unreadable(error.to_string())),
        }
    }

    fn report(&mut self, path: &RelativePath, what: Differs) {
        let path = path.clone();
        (self.report)(Difference { path, what });
    }
}

/// The hash of what is in a file, and how many bytes that is.
pub(crate) fn hash_file(file: &SourceFile, buffer: &mut [u8]) -> io::Result<(Hash, u64)> {
    hash_of(|buffer, offset| file.read_at(buffer, offset), buffer)
}

/// The hash of what is read piece by piece, and how many bytes that is. `read_at` fills the buffer unless it comes to the
/// end.
pub(crate) fn hash_of(
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    buffer: &mut [u8],
) -> io::Result<(Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    loop {
        let read = read_at(buffer, offset)?;
        if read == 0 {
            return Ok((*hasher.finalize().as_bytes(), offset));
        }
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
}

/// Differences that make it another thing.
fn compare(expected: &Entry, found: &Entry) -> Vec<Differs> {
    match (&expected.kind, &found.kind) {
        (Kind::Directory, Kind::Directory) => vec![],
        (Kind::File { size: expected }, Kind::File { size: found }) if expected == found => vec![],
        (Kind::File { size: expected }, Kind::File { size: found }) => vec![Differs::Size {
            expected: expected.unwrap_or(0),
            found: found.unwrap_or(0),
        }],
        (Kind::Symlink { target: expected }, Kind::Symlink { target: found }) => {
            match expected == found {
                true => vec![],
                false => vec![Differs::Target],
            }
        }
        _ => vec![Differs::Kind],
    }
}

/// Differences of permissions and times, between things of one kind.
fn compare_metadata(expected: &Entry, found: &Entry) -> Vec<Differs> {
    let mut differs = Vec::new();
    if std::mem::discriminant(&expected.kind) != std::mem::discriminant(&found.kind) {
        return differs;
    }
    // The permissions of a link are never used, and cannot be set on Linux.
    let has_mode = !matches!(found.kind, Kind::Symlink { .. });
    let (expected, found) = (expected.metadata, found.metadata);
    if has_mode && expected.mode != found.mode {
        differs.push(Differs::Mode {
            expected: expected.mode,
            found: found.mode,
        });
    }
    if expected.modified != found.modified {
        differs.push(Differs::Modified {
            expected: expected.modified,
            found: found.modified,
        });
    }
    differs
}

/// What the receipt's entries add up to.
#[derive(Default)]
struct Sums {
    last: Option<RelativePath>,
    root: ManifestRoot,
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    fault: Option<String>,
}

impl Sums {
    fn add(&mut self, entry: &Entry, hash: Option<&Hash>) {
        self.root.add(entry, hash);
        match entry.kind {
            Kind::Directory => self.directories += 1,
            Kind::Symlink { .. } => self.symlinks += 1,
            Kind::File { size } => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(size.unwrap_or(0));
            }
        }
        // Not the manifest's whole order: a directory that failed is not listed.
        let ascending = self.last.as_ref().is_none_or(|last| *last < entry.path);
        if !ascending && self.fault.is_none() {
            self.fault = Some(format!("{} is out of order", entry.path));
        }
        self.last = Some(entry.path.clone());
    }

    fn check(self, stated: &Receipt) -> Result<(), String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        for (what, counted, stated) in [
            ("files", self.files, stated.files),
            ("directories", self.directories, stated.directories),
            ("symlinks", self.symlinks, stated.symlinks),
            ("bytes", self.bytes, stated.bytes),
        ] {
            if counted != stated {
                return Err(format!("it lists {counted} {what} and speaks of {stated}"));
            }
        }
        if self.root.finish() != stated.root {
            return Err("its entries do not have the root that it states".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
