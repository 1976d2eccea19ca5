//! A file that is not finished: nobody sees it under its name before it is whole.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_proto::entry::{self, Metadata};
use packhorse_proto::extent::ExtentValue;
use packhorse_proto::path::Name;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    AtFlags, FallocateFlags, FsWord, OFlags, StatFs, fstat, fstatfs, fstatvfs, statat,
};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::faults::reach;
use crate::file::File;
use crate::lock;
use crate::node;
use crate::partial::{self, Checkpointer, Journal};
use crate::place::{self, Brief, Existing, PlaceError, Placed};

/// A file being written in the directory where it will stay.
///
/// It has no name at all (`O_TMPFILE`), so a killed process leaves nothing; where the filesystem has no
/// such files it is named `.packhorse-<16 hexadecimal digits>.part`, is for its owner alone (0600), locked as long as
/// it is open, and removed when dropped. One with a journal ([`Directory::begin_file`]) has such a name, too, and stays when it is dropped.
#[derive(Debug)]
pub struct Temporary {
    directory: Arc<Directory>,
    file: File,
    /// Its temporary name, where it needs one.
    named: Option<Vec<u8>>,
    /// Where it is to outlive this process.
    journal: Option<Arc<Journal>>,
    /// Held while writing: the kernel lets one thread write to a file at a time, and has the others burn their processor
    /// until it is their turn (an optimistic spin on the inode's lock; two threads took twice the time of one).
    writing: Mutex<()>,
}

impl Temporary {
    pub(crate) fn create(directory: Arc<Directory>, mode: entry::Mode) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let storage = directory.storage();
        match storage.open(directory.as_fd(), b".", flags, node::mode(mode)) {
            Ok(file) => Ok(Self {
                file: File::new(file, storage),
                directory,
                named: None,
                journal: None,
                writing: Mutex::default(),
            }),
            // The filesystem has no nameless files; EISDIR and ENOENT are what kernels say that do
            // not know the flag.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => Self::create_named(directory),
            Err(error) => Err(error.into()),
        }
    }

    fn create_named(directory: Arc<Directory>) -> io::Result<Self> {
        let (file, name) = lock::create_temporary(&directory)?;
        Ok(Self {
            directory,
            file,
            named: Some(name),
            journal: None,
            writing: Mutex::default(),
        })
    }

    pub(crate) fn journaled(directory: Arc<Directory>, file: File, journal: Journal) -> Self {
        Self {
            directory,
            file,
            named: None,
            journal: Some(Arc::new(journal)),
            writing: Mutex::default(),
        }
    }

    /// Notes in the journal, where there is one, that this extent was written and verified.
    pub fn note(&self, extent: &ExtentValue) {
        if let Some(journal) = &self.journal {
            journal.note(extent);
        }
    }

    /// For checkpoints of it, where it is to outlive this process.
    #[must_use]
    pub fn checkpointer(&self) -> Option<Checkpointer> {
        self.journal.as_ref().map(Checkpointer::new)
    }

    /// Makes its content durable.
    ///
    /// # Errors
    /// The disk is full or failing: what was written may not be there.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Lets go of what the system holds of it in memory, where it is on the storage as well: what is read afterwards
    /// comes from there. To be called after [`sync`](Self::sync).
    ///
    /// # Errors
    /// The filesystem refuses.
    pub fn forget_cached(&self) -> io::Result<()> {
        Ok(self.file.storage().forget_cached(self.as_fd())?)
    }

    /// Reads at `offset` until `buffer` is full or the file ends, and tells how much.
    ///
    /// # Errors
    /// The disk failed.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Gives back what was reserved for what is not in the journal, of a file of this size that is left for another session.
    /// `false` for one that goes when it is dropped.
    pub fn release(&self, size: u64) -> bool {
        let Some(journal) = &self.journal else {
            return false;
        };
        let Ok(tree) = journal.tree() else {
            return true;
        };
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let held = tree.subtrees().map(|held| (held.offset, held.length));
        let mut start = 0;
        for (held, length) in held.chain([(size, 0)]) {
            if start < held {
                // A filesystem that cannot is one that has reserved nothing.
                let _ = self.file.allocate(mode, start, held - start);
            }
            start = held + length;
        }
        journal.touch();
        true
    }

    /// Cuts off what somebody else has written behind the end of a file that others can reach.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn cut_to_size(&self) -> io::Result<()> {
        match &self.journal {
            Some(journal) => journal.cut_to_size(),
            None => Ok(()),
        }
    }

    /// Leaves nothing of it, where dropping would.
    pub fn discard(&self) {
        if let Some(journal) = &self.journal {
            partial::discard(&self.directory, journal);
        }
    }

    /// Reserves room for a file of `size` bytes, where the filesystem has it: writing costs a third less processor time.
    ///
    /// Where there is less room, nothing is reserved: the kernel would take all that there is before it says so. For the same
    /// reason nobody else should reserve in that moment.
    ///
    /// # Errors
    /// A limit on file sizes was met, or the filesystem does not tell.
    pub fn reserve(&self, size: u64) -> io::Result<Room> {
        let free = self.free()?;
        if size > free {
            return Ok(self.without(free));
        }
        reach("reserve.before");
        let reserved = match self.file.allocate(FallocateFlags::empty(), 0, size) {
            Ok(()) => Ok(Room::Reserved),
            // It cannot, or not for this file.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                Ok(Room::NotReserved)
            }
            // Somebody else has just taken it.
            Err(Errno::NOSPC) => Ok(self.without(self.free()?)),
            Err(error) => Err(error.into()),
        };
        reach("reserve.after");
        reserved
    }

    /// Bytes that the filesystem has room for.
    fn free(&self) -> io::Result<u64> {
        let filesystem = fstatvfs(&self.file)?;
        Ok(filesystem.f_bavail.saturating_mul(filesystem.f_frsize))
    }

    /// What it means that there is only so much room.
    fn without(&self, free: u64) -> Room {
        let short = fstatfs(&self.file).is_ok_and(|found| stores_as_it_is(&found));
        if short {
            Room::Short { free }
        } else {
            Room::NotReserved
        }
    }

    /// Waits until no other thread writes.
    #[must_use]
    pub fn turn(&self) -> Turn<'_> {
        Turn {
            temporary: self,
            _writing: self.writing.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Sets the metadata, then gives the file its name, in one step. Otherwise the file is gone, but for one with a journal:
    /// that is found again when what is in its way has gone.
    ///
    /// # Errors
    /// [`PlaceError::Obstructed`] if a directory has the name and `existing` is
    /// [`Existing::Replace`].
    pub fn commit(
        self,
        name: Name<'_>,
        metadata: Metadata,
        existing: Existing,
    ) -> Result<Placed, PlaceError> {
        self.commit_noted(name, metadata, existing, || {})
    }

    /// The same. Once the file has its name, `note` is called, and only then what it is found again by goes, its journal:
    /// whoever notes there that it is complete has it on disk at every moment.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub fn commit_noted(
        mut self,
        name: Name<'_>,
        metadata: Metadata,
        existing: Existing,
        note: impl FnOnce(),
    ) -> Result<Placed, PlaceError> {
        let of_io = |error: io::Error| PlaceError::Io {
            name: name.to_string(),
            error,
        };
        self.cut_to_size().map_err(of_io)?;
        node::set_file_metadata(&self.file, metadata)
            .map_err(|error| PlaceError::io(name, error))?;
        let named = self.journal.as_ref().map(|journal| &journal.part);
        if let Some(part) = named.or(self.named.as_ref())
            && !self.has_name(part)
        {
            let text = "what has the name of its partial file is not what was written there";
            return Err(of_io(io::Error::other(text)));
        }
        if let Some(journal) = self.journal.take() {
            reach("name.before");
            let placed = place::try_name(&self.directory, &journal.part, name, existing)?;
            reach("name.after");
            if placed == Placed::Stored {
                note();
            }
            journal.remove(&self.directory);
            reach("journal.removed");
            return Ok(placed);
        }
        reach("link.before");
        let placed = match self.named.take() {
            Some(temporary) => place::take_name(&self.directory, &temporary, name, existing),
            None => self.link(name, existing),
        };
        reach("link.after");
        if let Ok(Placed::Stored) = placed {
            note();
        }
        placed
    }

    /// Whether it still has the temporary name that it was given: somebody may have removed it, and put another there.
    fn has_name(&self, name: &[u8]) -> bool {
        let own = fstat(&self.file);
        let named = statat(&*self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let both = own.and_then(|own| Ok((own, named?)));
        both.is_ok_and(|(own, named)| (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino))
    }

    fn link(&self, name: Name<'_>, existing: Existing) -> Result<Placed, PlaceError> {
        let directory = &*self.directory;
        let give = |name: &[u8]| {
            let storage = directory.storage();
            storage.name(self.file.as_fd(), directory.as_fd(), name)
        };
        match (give(name.as_bytes()), existing) {
            (Ok(()), _) => Ok(Placed::Stored),
            (Err(Errno::EXIST), Existing::Keep) => Ok(Placed::Kept),
            (Err(Errno::EXIST), Existing::Replace) => {
                // It has a temporary name for a moment, and is not one that was left.
                lock::keep(&self.file);
                let brief = (Brief::File, name.as_bytes());
                let ((), temporary) = place::under_name_before(directory, brief, give)
                    .map_err(|error| PlaceError::io(name, error))?;
                reach("link.temporary");
                place::take_name(directory, &temporary, name, existing)
            }
            (Err(error), _) => Err(PlaceError::io(name, error)),
        }
    }
}

/// Whether there is room for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is, and nobody else gets it.
    Reserved,
    /// That shows when it is written.
    NotReserved,
    /// There is not.
    Short {
        /// Bytes that are free.
        free: u64,
    },
}

/// Whether a filesystem takes as much room for content as the content has bytes: one that compresses may have room for a
/// file that is larger than what is free. The numbers are those of statfs(2).
fn stores_as_it_is(filesystem: &StatFs) -> bool {
    const EXT4: FsWord = 0xef53;
    const XFS: FsWord = 0x5846_5342;
    const TMPFS: FsWord = 0x0102_1994;
    matches!(filesystem.f_type, EXT4 | XFS | TMPFS)
}

/// A thread's turn to write to a file: the others wait until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    temporary: &'a Temporary,
    _writing: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The disk is full or failing, or a limit on file sizes was met. Any part may have been written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.temporary.file.write_at(bytes, offset)?;
        reach("write.after");
        if let Some(journal) = &self.temporary.journal {
            journal.touch_soon();
        }
        Ok(())
    }
}

impl AsFd for Temporary {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(temporary) = self.named.take() {
            place::discard(&self.directory, &temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;

    use packhorse_proto::entry::{Mode, Timestamp};
    use tempfile::tempdir;

    use super::*;
    use crate::leftover::{Left, OwnFile, Removal, Sighting};
    use crate::node::NodeKind;

    fn named(root: &Path) -> Temporary {
        let directory = Arc::new(Directory::open_root(root).unwrap());
        let file = Temporary::create_named(directory).unwrap();
        file.turn().write_at(b"content", 0).unwrap();
        file
    }

    fn commit(file: Temporary, name: &str, existing: Existing) -> Result<Placed, PlaceError> {
        let metadata = Metadata {
            mode: Mode::from_st_mode(0o640),
            modified: Timestamp::new(1, 2).unwrap(),
            change: None,
        };
        file.commit(Name::parse(name.as_bytes()).unwrap(), metadata, existing)
    }

    fn names_in(root: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let names = fs::read_dir(root).unwrap().map(name);
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_named_one_is_private_and_removed_when_dropped() {
        let root = tempdir().unwrap();
        let file = named(root.path());
        let names = names_in(root.path());
        let digits = names[0].strip_prefix(".packhorse-").unwrap();
        let digits = digits.strip_suffix(".part").unwrap();
        assert!(digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let stat = fs::metadata(root.path().join(&names[0])).unwrap();
        assert_eq!(stat.mode() & 0o7777, 0o600);
        drop(file);
        assert!(names_in(root.path()).is_empty());
    }

    #[test]
    fn a_named_one_is_not_left_as_long_as_it_is_open() {
        let root = tempdir().unwrap();
        let file = named(root.path());
        let directory = Directory::open_root(root.path()).unwrap();
        let name = names_in(root.path()).remove(0);
        let own = OwnFile::parse(Name::parse(name.as_bytes()).unwrap()).unwrap();
        let look = || match directory.look_at_own(&own).unwrap() {
            Sighting::Leftover(seen) => seen,
            other => panic!("{other:?}"),
        };
        let seen = look();
        assert_eq!((&seen.what, seen.in_use), (&Left::Orphan, true));
        assert_eq!(directory.remove_own(&own, &seen).unwrap(), Removal::InUse);
        assert_eq!(names_in(root.path()), [&name[..]]);
        // As if its process had been killed.
        let mut file = file;
        file.named = None;
        drop(file);
        let seen = look();
        assert!(!seen.in_use);
        assert_eq!(directory.remove_own(&own, &seen).unwrap(), Removal::Removed);
        assert!(names_in(root.path()).is_empty());
    }

    #[test]
    fn a_named_one_takes_its_name_or_is_removed() {
        let root = tempdir().unwrap();
        fs::create_dir(root.path().join("directory")).unwrap();
        symlink("target", root.path().join("link")).unwrap();
        for (name, existing, placed) in [
            ("file", Existing::Keep, Placed::Stored),
            ("file", Existing::Keep, Placed::Kept),
            ("file", Existing::Replace, Placed::Stored),
            ("link", Existing::Keep, Placed::Kept),
            ("directory", Existing::Keep, Placed::Kept),
        ] {
            let answer = commit(named(root.path()), name, existing);
            assert_eq!(answer.unwrap(), placed, "{name} {existing:?}");
        }
        let error = commit(named(root.path()), "directory", Existing::Replace).unwrap_err();
        let by = NodeKind::Directory;
        assert!(matches!(error, PlaceError::Obstructed { by: b, .. } if b == by));
        assert_eq!(names_in(root.path()), ["directory", "file", "link"]);
        let stat = fs::metadata(root.path().join("file")).unwrap();
        let told = (
            stat.mode() & 0o7777,
            stat.mtime(),
            stat.mtime_nsec(),
            stat.len(),
        );
        assert_eq!(told, (0o640, 1, 2, 7));
    }
}
