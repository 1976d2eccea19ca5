//! An open directory, and what can be done beneath it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use packhorse_proto::entry::{self, LinkTarget, Metadata, Timestamp};
use packhorse_proto::path::{Name, RelativePath};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, Stat, fstat, openat, stat, statat};
use rustix::io::Errno;

use crate::beneath;
use crate::faults::reach;
use crate::node;
use crate::place::{self, Brief, Existing, Made, PlaceError, Placed};
use crate::storage::{Disk, Storage};
use crate::temporary::Temporary;

/// An open directory: it stays the same one, whatever becomes of its name.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    storage: Arc<dyn Storage>,
}

impl Directory {
    /// Opens a directory by the user's own path. Links on the way are followed.
    ///
    /// # Errors
    /// It is missing, not a directory, or not allowed.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        Self::open_root_on(Arc::new(Disk), path)
    }

    /// The same on a storage of the caller's, which everything beneath it is on, too.
    ///
    /// # Errors
    /// As for [`open_root`](Self::open_root).
    pub fn open_root_on(storage: Arc<dyn Storage>, path: &Path) -> io::Result<Self> {
        let descriptor = openat(CWD, path, beneath::DIRECTORY, Mode::empty())?;
        Ok(Self {
            descriptor,
            storage,
        })
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Whether somebody has removed it since it was opened: nothing can be made in it then.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        fstat(self).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Whether this path leads to it.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        let same =
            |own: Stat, there: Stat| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino);
        fstat(self)
            .and_then(|own| Ok(same(own, stat(path)?)))
            .unwrap_or(false)
    }

    /// Opens a directory beneath this one, through no symbolic link: the kernel sees to it
    /// (`openat2`), or, where it cannot, every component is opened by itself.
    ///
    /// # Errors
    /// It is missing, not a directory, behind a link, or not allowed.
    pub fn open_beneath(&self, path: &RelativePath) -> io::Result<Self> {
        self.open_bytes(path.as_bytes()).map_err(Into::into)
    }

    /// Opens a directory directly in this one; a link is not followed.
    ///
    /// # Errors
    /// As for [`open_beneath`](Self::open_beneath).
    pub fn open_child(&self, name: Name<'_>) -> io::Result<Self> {
        self.open_bytes(name.as_bytes()).map_err(Into::into)
    }

    /// `path` is the bytes of a `RelativePath` or a `Name`.
    pub(crate) fn open_bytes(&self, path: &[u8]) -> rustix::io::Result<Self> {
        let descriptor = beneath::open_directory(self.as_fd(), path)?;
        let storage = Arc::clone(&self.storage);
        Ok(Self {
            descriptor,
            storage,
        })
    }

    /// Makes a directory in this one, for its owner alone (0700), or opens the one that is there.
    ///
    /// # Errors
    /// [`PlaceError::Obstructed`] if the name is a link (to whatever), a file or anything else.
    pub fn make_child(&self, name: Name<'_>) -> Result<(Self, Made), PlaceError> {
        let made = match self
            .storage
            .make_directory(self.as_fd(), name.as_bytes(), Mode::RWXU)
        {
            Ok(()) => Made::New,
            Err(Errno::EXIST) => Made::Existing,
            Err(error) => return Err(PlaceError::io(name, error)),
        };
        let child = self
            .open_bytes(name.as_bytes())
            .map_err(|error| PlaceError::explain(self, name, error))?;
        Ok((child, made))
    }

    /// Whether something, whatever it is, has this name here.
    #[must_use]
    pub fn holds(&self, name: Name<'_>) -> bool {
        statat(self, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Lets the owner, where that is this user, read, write and enter the directory, so that things
    /// can be stored in one that was there and is read-only. Where it cannot be done, storing says so.
    pub fn open_to_owner(&self) {
        if let Ok(stat) = fstat(self) {
            let mode = Mode::from_raw_mode(stat.st_mode);
            if !mode.contains(Mode::RWXU) {
                let _ = self.storage.set_mode(self.as_fd(), mode | Mode::RWXU);
            }
        }
    }

    /// Makes a symbolic link in this directory, with its own modification time. It is complete when
    /// it takes its name.
    ///
    /// # Errors
    /// [`PlaceError::Obstructed`] if a directory has the name and `existing` is
    /// [`Existing::Replace`].
    pub fn make_symlink(
        &self,
        name: Name<'_>,
        target: &LinkTarget,
        modified: Timestamp,
        existing: Existing,
    ) -> Result<Placed, PlaceError> {
        let make = |temporary: &[u8]| {
            let storage = &*self.storage;
            storage.make_symlink(target.as_bytes(), self.as_fd(), temporary)
        };
        let brief = (Brief::Link, name.as_bytes());
        let made = place::under_name_before(self, brief, make);
        match self.finish_symlink(name, made, modified, existing) {
            // Another session makes one of this name, and took this one for left.
            Err(PlaceError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                let made = place::under_temporary_name(make);
                self.finish_symlink(name, made, modified, existing)
            }
            answer => answer,
        }
    }

    fn finish_symlink(
        &self,
        name: Name<'_>,
        made: rustix::io::Result<((), Vec<u8>)>,
        modified: Timestamp,
        existing: Existing,
    ) -> Result<Placed, PlaceError> {
        let ((), temporary) = made.map_err(|error| PlaceError::io(name, error))?;
        reach("symlink.temporary");
        let storage = &*self.storage;
        let times = node::times(modified);
        if let Err(error) = storage.set_link_times(self.as_fd(), &temporary, &times) {
            place::discard(self, &temporary);
            return Err(PlaceError::io(name, error));
        }
        place::take_name(self, &temporary, name, existing)
    }

    /// Starts a file in this directory, without a name for now. It is to have this mode in the end: saying so now
    /// may save a call later.
    ///
    /// # Errors
    /// The directory cannot be written, or descriptors or inodes ran out.
    pub fn create_file(self: &Arc<Self>, mode: entry::Mode) -> io::Result<Temporary> {
        Temporary::create(Arc::clone(self), mode)
    }

    /// Stores a whole file of known content, possibly none.
    ///
    /// # Errors
    /// As for [`Temporary::commit`]; nothing is left behind then.
    pub fn store_file(
        self: &Arc<Self>,
        name: Name<'_>,
        content: &[u8],
        metadata: Metadata,
        existing: Existing,
    ) -> Result<Placed, PlaceError> {
        let failed = |error| PlaceError::Io {
            name: name.to_string(),
            error,
        };
        let file = self.create_file(metadata.mode).map_err(failed)?;
        file.turn().write_at(content, 0).map_err(failed)?;
        file.commit(name, metadata, existing)
    }

    /// Makes everything durable that is on the same filesystem: contents and names.
    ///
    /// # Errors
    /// The disk is full or failing: anything that was written there since the directory was opened may not be there.
    pub fn sync_filesystem(&self) -> io::Result<()> {
        Ok(self.storage.sync_filesystem(self.as_fd())?)
    }

    /// The number of the device that it is on.
    ///
    /// # Errors
    /// The filesystem does not answer.
    pub fn device(&self) -> io::Result<u64> {
        Ok(fstat(self)?.st_dev)
    }

    /// Sets permissions exactly (no umask plays a part) and the modification time, by descriptor.
    ///
    /// What is stored in the directory afterwards changes the time again: call it last.
    ///
    /// # Errors
    /// The directory is not ours, or the filesystem is read-only.
    pub fn set_metadata(&self, metadata: Metadata) -> io::Result<()> {
        reach("directory.before");
        node::set_metadata(&*self.storage, self.as_fd(), metadata).map_err(Into::into)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
