//! The calls by which a destination is changed, read back and made durable.

use std::fmt;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use packhorse_proto::remains::BootId;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{
    Advice, AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, Stat, Timestamps, fadvise,
    fallocate, fchmod, fdatasync, fsync, ftruncate, futimens, linkat, mkdirat, openat,
    renameat_with, symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::{Errno, Result};

use crate::boot;
use crate::node;

/// Where a tree is stored: each method is one call of the operating system, and does that by default.
///
/// [`Disk`] is the one that programs use. Tests put others in its place: one that notes what happens and in which order,
/// that has no room, that is slow, that alters what it is given. Whatever a receiver does to its destination goes through
/// here, but for opening what is there and locking it.
///
/// Names are those of one component, in the directory that is given by its descriptor.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Opens a file, or makes one (openat(2)).
    ///
    /// # Errors
    /// As the call has them; so for all others.
    fn open(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd> {
        openat(directory, name, flags, mode)
    }

    /// Writes some of `bytes`, at least one (pwrite(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn write_at(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<usize> {
        rustix::io::pwrite(file, bytes, offset)
    }

    /// Reads some bytes; 0 at the end (pread(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn read_at(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize> {
        rustix::io::pread(file, buffer, offset)
    }

    /// Reserves room, or gives it back (fallocate(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn allocate(
        &self,
        file: BorrowedFd<'_>,
        mode: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> Result<()> {
        fallocate(file, mode, offset, length)
    }

    /// Sets the length of a file (ftruncate(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn truncate(&self, file: BorrowedFd<'_>, length: u64) -> Result<()> {
        ftruncate(file, length)
    }

    /// Sets permissions (fchmod(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn set_mode(&self, file: BorrowedFd<'_>, mode: Mode) -> Result<()> {
        fchmod(file, mode)
    }

    /// Sets times (futimens(3)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn set_times(&self, file: BorrowedFd<'_>, times: &Timestamps) -> Result<()> {
        futimens(file, times)
    }

    /// Sets the times of a symbolic link itself (utimensat(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn set_link_times(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        times: &Timestamps,
    ) -> Result<()> {
        utimensat(directory, name, times, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Makes a directory (mkdirat(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn make_directory(&self, directory: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<()> {
        mkdirat(directory, name, mode)
    }

    /// Makes a symbolic link (symlinkat(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn make_symlink(&self, target: &[u8], directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        symlinkat(target, directory, name)
    }

    /// Gives an open file without a name one (linkat(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn name(&self, file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        name_descriptor(file, directory, name)
    }

    /// Gives a file one name more in the same directory (linkat(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn link(&self, directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<()> {
        linkat(directory, from, directory, to, AtFlags::empty())
    }

    /// Gives what has one name another, in the same directory (renameat2(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn rename(
        &self,
        directory: BorrowedFd<'_>,
        from: &[u8],
        to: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        if flags.is_empty() {
            return rustix::fs::renameat(directory, from, directory, to);
        }
        renameat_with(directory, from, directory, to, flags)
    }

    /// Removes a name, or an empty directory (unlinkat(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn remove(&self, directory: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<()> {
        unlinkat(directory, name, flags)
    }

    /// Makes the content of a file durable, and what is needed to read it (fdatasync(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn sync_content(&self, file: BorrowedFd<'_>) -> Result<()> {
        fdatasync(file)
    }

    /// Lets go of what is held in memory of a file and is on its storage as well, so that reading asks the storage
    /// (posix_fadvise(2), POSIX_FADV_DONTNEED).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn forget_cached(&self, file: BorrowedFd<'_>) -> Result<()> {
        fadvise(file, 0, None, Advice::DontNeed)
    }

    /// Makes the names in a directory durable (fsync(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn sync_names(&self, directory: BorrowedFd<'_>) -> Result<()> {
        fsync(directory)
    }

    /// Makes everything durable that is on the same filesystem (syncfs(2)).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn sync_filesystem(&self, directory: BorrowedFd<'_>) -> Result<()> {
        syncfs(directory)
    }

    /// When something of this state was last changed in whatever way, since 1970: its ctime.
    fn changed_at(&self, stat: &Stat) -> Duration {
        node::changed_at(stat)
    }

    /// Which start of the machine this is: what was written since it and not synced is there for every process until the
    /// next.
    ///
    /// Where the kernel does not tell, it is one that never was, so that nothing is taken for written.
    fn boot_id(&self) -> BootId {
        boot::boot_id()
    }
}

/// The operating system's own filesystems.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Storage for Disk {}

/// Whether this process may not name a file by its bare descriptor, but may through /proc.
static NEEDS_PROC: AtomicBool = AtomicBool::new(false);

/// Gives the open, nameless `file` a name.
///
/// By the descriptor alone it takes a privilege before Linux 6.10, which answers ENOENT without it.
fn name_descriptor(file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    if !NEEDS_PROC.load(Ordering::Relaxed) {
        match linkat(file, c"", directory, name, AtFlags::EMPTY_PATH) {
            Err(first @ (Errno::NOENT | Errno::PERM | Errno::INVAL)) => {
                let second = name_through_proc(file, directory, name);
                if second.is_ok() {
                    NEEDS_PROC.store(true, Ordering::Relaxed);
                }
                // The directory itself is gone: the other way cannot know.
                return second.map_err(|error| if error == Errno::PERM { first } else { error });
            }
            answer => return answer,
        }
    }
    name_through_proc(file, directory, name)
}

fn name_through_proc(file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use packhorse_proto::entry::Mode;
    use rustix::fd::AsFd as _;
    use tempfile::tempdir;

    use super::*;
    use crate::directory::Directory;

    #[test]
    fn a_descriptor_gets_a_name_through_proc() {
        let root = tempdir().unwrap();
        let directory = Arc::new(Directory::open_root(root.path()).unwrap());
        let file = directory.create_file(Mode::from_st_mode(0o600)).unwrap();
        file.turn().write_at(b"content", 0).unwrap();
        name_through_proc(file.as_fd(), directory.as_fd(), b"a").unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"content");
        symlink("nowhere", root.path().join("link")).unwrap();
        for taken in [&b"a"[..], b"link"] {
            let again = name_through_proc(file.as_fd(), directory.as_fd(), taken);
            assert_eq!(again, Err(Errno::EXIST));
        }
        assert!(fs::symlink_metadata(root.path().join("nowhere")).is_err());
    }
}
