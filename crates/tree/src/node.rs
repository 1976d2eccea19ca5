//! What stands under a name, and what the kernel says of it.

use std::fmt;
use std::time::Duration;

use packhorse_proto::entry::{Metadata, Mode, Timestamp};
use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::fs::{FileType, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::file::File;
use crate::storage::Storage;

/// What stands under a name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// Something this program has no word for.
    Unknown,
}

impl NodeKind {
    pub(crate) fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => Self::Unknown,
        }
    }
}

/// With its article: `a directory`.
impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory",
            Self::File => "a file",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Unknown => "something of an unknown kind",
        })
    }
}

/// Permissions and times of what was asked for.
pub(crate) fn metadata_of(stat: &Stat) -> Metadata {
    Metadata {
        mode: Mode::from_st_mode(stat.st_mode),
        modified: modified_of(stat),
        change: Some(change_of(stat)),
    }
}

/// A change attribute: made of the inode's number and the time of its last change, which no program can set.
fn change_of(stat: &Stat) -> u64 {
    // SplitMix64's finalizer (Steele, Lea and Flood 2014), so that numbers and times that are close never add up to the same.
    let mut number = stat.st_ino;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^= number >> 31;
    let seconds = stat.st_ctime.cast_unsigned().wrapping_mul(1_000_000_000);
    number
        .wrapping_add(seconds)
        .wrapping_add(stat.st_ctime_nsec)
}

/// When it was last changed, in whatever way: since 1970. No program can set that.
pub(crate) fn changed_at(stat: &Stat) -> Duration {
    let seconds = u64::try_from(stat.st_ctime).unwrap_or(0);
    let nanoseconds = u32::try_from(stat.st_ctime_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds.min(999_999_999))
}

/// When it was last modified. A filesystem that counts more than a second of nanoseconds is cut short.
pub(crate) fn modified_of(stat: &Stat) -> Timestamp {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(u32::MAX);
    Timestamp::new(stat.st_mtime, nanoseconds.min(999_999_999)).expect("cut below a second")
}

/// Modification as given; the time of the last access stays as it is.
pub(crate) fn times(modified: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified.seconds(),
            tv_nsec: modified.nanoseconds() as _,
        },
    }
}

/// Permission bits, as the kernel takes them.
pub(crate) fn mode(mode: Mode) -> rustix::fs::Mode {
    rustix::fs::Mode::from_raw_mode(mode.bits().into())
}

/// Permission bits exactly (no umask plays a part) and the modification time, by descriptor.
pub(crate) fn set_metadata(
    storage: &dyn Storage,
    file: BorrowedFd<'_>,
    metadata: Metadata,
) -> rustix::io::Result<()> {
    storage.set_mode(file, mode(metadata.mode))?;
    set_times(storage, file, metadata)
}

/// The same for a file that may have been made with these permissions. Looking is much cheaper than setting them, which
/// writes to the filesystem's journal.
pub(crate) fn set_file_metadata(file: &File, metadata: Metadata) -> rustix::io::Result<()> {
    let has = rustix::fs::fstat(file)?.st_mode & 0o7777;
    if has != u32::from(metadata.mode.bits()) {
        file.storage().set_mode(file.as_fd(), mode(metadata.mode))?;
    }
    set_times(file.storage(), file.as_fd(), metadata)
}

fn set_times(
    storage: &dyn Storage,
    file: BorrowedFd<'_>,
    metadata: Metadata,
) -> rustix::io::Result<()> {
    storage.set_times(file, &times(metadata.modified))?;
    let seconds = metadata.modified.seconds();
    // Filesystems cut times they cannot hold without a word. All hold those of 32 bits.
    if i32::try_from(seconds).is_err() && rustix::fs::fstat(file)?.st_mtime != seconds {
        return Err(Errno::OVERFLOW);
    }
    Ok(())
}
