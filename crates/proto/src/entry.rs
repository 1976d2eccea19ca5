//! What a manifest says of one file, directory or link.

use std::fmt;

use crate::path::{MAX_PATH, RelativePath};

/// The number of an entry in its manifest: 0 for the first, then one more each.
pub type EntryNumber = u64;

/// The largest content of one file, in bytes: what a signed 64-bit file offset can reach.
pub const MAX_FILE_SIZE: u64 = i64::MAX as u64;

/// One file, directory or symbolic link of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes, beneath the destination.
    pub path: RelativePath,
    /// What it is.
    pub kind: Kind,
    /// Its metadata.
    pub metadata: Metadata,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory; what it holds follows as entries of its own.
    Directory,
    /// A regular file.
    File {
        /// Bytes of content; `None` where the source is a stream whose end is not known yet.
        size: Option<u64>,
    },
    /// A symbolic link, kept as a link.
    Symlink {
        /// What it points to: never followed, never checked for existence.
        target: LinkTarget,
    },
}

/// Permissions and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Permission bits.
    pub mode: Mode,
    /// When the content was last modified.
    pub modified: Timestamp,
    /// The change attribute (as RFC 8881 §5.8.1.4 has it): a number that is another one when the file was changed or
    /// replaced, made by whoever reads it and opaque to everybody else. `None` where nobody said. A receiver goes on
    /// with what it has of a file only where it is the same; it is not in the root.
    pub change: Option<u64>,
}

/// Permission bits of owner, group and others: `0o000` to `0o777`.
///
/// It cannot hold setuid, setgid or sticky: no peer can set those here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u16);

impl Mode {
    /// Keeps the permission bits of a `st_mode` and drops every other.
    #[must_use]
    pub fn from_st_mode(st_mode: u32) -> Self {
        Self((st_mode & 0o777) as u16)
    }

    /// The bits, at most `0o777`.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mode({:04o})", self.0)
    }
}

/// A moment as the kernel keeps it: seconds since 1970 (negative before) and nanoseconds onwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// `None` unless `nanoseconds` is below 1,000,000,000.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        (nanoseconds < 1_000_000_000).then_some(Self {
            seconds,
            nanoseconds,
        })
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds past the second, below 1,000,000,000.
    #[must_use]
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

/// The text of a symbolic link: 1 to [`MAX_PATH`] bytes without NUL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkTarget(Box<[u8]>);

impl LinkTarget {
    /// `None` where no link can hold these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let good = !bytes.is_empty() && bytes.len() <= MAX_PATH && !bytes.contains(&0);
        good.then(|| Self(bytes.into()))
    }

    /// The bytes of the link.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkTarget({})", crate::escape::Escaped(&self.0))
    }
}
