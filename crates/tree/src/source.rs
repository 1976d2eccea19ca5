//! One file on the sending side, and whether it stays the same while it is read.

use std::io;
use std::time::Duration;

use packhorse_proto::entry::{Metadata, Timestamp};
use packhorse_proto::path::Name;
use rustix::fd::AsFd as _;
use rustix::fs::{Advice, Mode, OFlags, Stat, fadvise, fstat};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::file::File;
use crate::node::{self, NodeKind};

/// From this size on the kernel is told to read ahead further, in bytes.
const READ_AHEAD_FROM: u64 = 1 << 20;

/// What a file is, as far as its content goes.
///
/// Not the time of the last change of its inode: a new name or owner does not touch the content. [`Moment`] has that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: Timestamp,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: node::modified_of(stat),
        }
    }

    /// Bytes of content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// What a file was at some moment. Where it is the same at two moments, nothing was done to it between them that the
/// filesystem noticed: a write to its memory map, or one call that writes all the time, shows only at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    identity: Identity,
    changed_at: Duration,
}

impl Moment {
    fn of(stat: &Stat) -> Self {
        Self {
            identity: Identity::of(stat),
            changed_at: node::changed_at(stat),
        }
    }

    /// What it was.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }
}

/// ELOOP is what `O_NOFOLLOW` answers at a link (open(2)).
fn explain(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => {
            let message = "it is a symbolic link now, not a file";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        }
        error => error.into(),
    }
}

/// A regular file open for reading.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    opened: Moment,
    metadata: Metadata,
}

impl SourceFile {
    /// Opens the file `name` in `parent`. A link is not followed, and a pipe does not block.
    ///
    /// The file may have changed since it was walked: compare [`identity`](Self::identity).
    ///
    /// # Errors
    /// It is missing, not allowed, or not a regular file (any more).
    pub fn open(parent: &Directory, name: Name<'_>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let storage = parent.storage();
        let file = storage
            .open(parent.as_fd(), name.as_bytes(), flags, Mode::empty())
            .map_err(explain)?;
        let file = File::new(file, storage);
        let stat = fstat(&file)?;
        let kind = NodeKind::of(&stat);
        if kind != NodeKind::File {
            let message = format!("it is {kind} now, not a file");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let opened = Moment::of(&stat);
        if opened.identity.size >= READ_AHEAD_FROM {
            // Only advice: reading works as well without.
            let _ = fadvise(&file, 0, None, Advice::Sequential);
        }
        Ok(Self {
            file,
            opened,
            metadata: node::metadata_of(&stat),
        })
    }

    /// What the file was when it was opened.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.opened.identity
    }

    /// The same, with when something was done to it last.
    #[must_use]
    pub fn opened(&self) -> Moment {
        self.opened
    }

    /// Permissions and times when it was opened.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// Bytes of content when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.opened.identity.size
    }

    /// Reads at `offset` until `buffer` is full or the file ends, and tells how much.
    ///
    /// # Errors
    /// The disk or the network behind it failed.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Lets go of what the system holds of it in memory: what is read afterwards comes from the storage.
    ///
    /// # Errors
    /// The disk is failing, or the filesystem refuses.
    pub fn forget_cached(&self) -> io::Result<()> {
        // What is not written back yet cannot be let go of.
        self.file.sync()?;
        Ok(self.file.storage().forget_cached(self.file.as_fd())?)
    }

    /// What the file is now.
    ///
    /// # Errors
    /// The filesystem does not answer.
    pub fn now(&self) -> io::Result<Moment> {
        Ok(Moment::of(&fstat(&self.file)?))
    }
}
