//! A storage that does each call for real, in the order in which it gets them, and writes down what was changed.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_proto::remains::BootId;
use packhorse_transfer::{Disk, Storage};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, RenameFlags, Timestamps, fstat, openat, statat,
};
use rustix::io::{Errno, Result};

/// A file, directory or link, whatever its names are: the number of its making.
pub(crate) type Object = usize;

/// The directory that everything is in.
pub(crate) const ROOT: Object = 0;

/// What a call did, once it was done.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A file was made; it gets its name, where it has one, with the next change.
    Create {
        object: Object,
        mode: u32,
    },
    MakeDirectory {
        object: Object,
        mode: u32,
    },
    MakeSymlink {
        object: Object,
        target: Vec<u8>,
    },
    Name {
        directory: Object,
        name: Vec<u8>,
        object: Object,
    },
    Rename {
        directory: Object,
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Remove {
        directory: Object,
        name: Vec<u8>,
    },
    Write {
        object: Object,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    Truncate {
        object: Object,
        length: u64,
    },
    /// Room was reserved, and the file is so long now at least.
    Allocate {
        object: Object,
        end: u64,
    },
    Punch {
        object: Object,
        offset: u64,
        length: u64,
    },
    Mode {
        object: Object,
        mode: u32,
    },
    Modified {
        object: Object,
        seconds: i64,
        nanoseconds: i64,
    },
    SyncContent {
        object: Object,
    },
    SyncNames,
    SyncFilesystem,
    /// Not a call: the sender holds the receipt.
    Receipt,
}

/// What happened to a storage, and the inode number that each object had.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) changes: Vec<Change>,
    pub(crate) inodes: Vec<u64>,
}

impl Record {
    /// What was done since there was a storage.
    pub(crate) fn since_start(mut self) -> Self {
        let first = |change: &Change| matches!(change, Change::SyncFilesystem);
        let start = self
            .changes
            .iter()
            .position(first)
            .expect("it starts durable");
        self.changes.drain(..=start);
        self
    }
}

/// The storage.
#[derive(Debug)]
pub(crate) struct Recorder {
    state: Mutex<State>,
    boot: BootId,
}

#[derive(Debug)]
struct State {
    record: Record,
    by_inode: HashMap<u64, Object>,
    /// After so many changes whoever uses it is dead: nothing it does has an effect.
    dies_at: usize,
    dies_at_sync: bool,
    receipts: bool,
}

impl Recorder {
    /// A storage of which `root` is what is there, all of it on stable storage, since this start of the machine.
    pub(crate) fn new(root: &Path, boot: BootId) -> Arc<Self> {
        let mut state = State {
            record: Record::default(),
            by_inode: HashMap::new(),
            dies_at: usize::MAX,
            dies_at_sync: false,
            receipts: true,
        };
        let object = state.object(fs::metadata(root).expect("a destination").ino());
        assert_eq!(object, ROOT);
        state.add_what_is_there(root, ROOT);
        state.record.changes.push(Change::SyncFilesystem);
        Arc::new(Self {
            state: Mutex::new(state),
            boot,
        })
    }

    /// Whoever uses it from now on dies after so many further changes.
    pub(crate) fn dies_in(&self, changes: usize) {
        let state = &mut *self.lock();
        state.dies_at = state.record.changes.len().saturating_add(changes);
        state.receipts = false;
    }

    /// Whoever uses it from now on dies when the content of a file is to be synced.
    pub(crate) fn dies_at_sync(&self) {
        self.lock().dies_at_sync = true;
    }

    /// Somebody else uses it, who lives.
    pub(crate) fn lives_again(&self) {
        let state = &mut *self.lock();
        state.dies_at = usize::MAX;
        state.dies_at_sync = false;
        state.receipts = true;
    }

    /// The sender holds the receipt.
    pub(crate) fn note_receipt(&self) {
        let state = &mut *self.lock();
        if state.receipts {
            state.record.changes.push(Change::Receipt);
        }
    }

    pub(crate) fn record(&self) -> Record {
        self.lock().record.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call at a time, so that the record has them in the order in which they were done.
    fn alive(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.record.changes.len() >= state.dies_at {
            return Err(Errno::IO);
        }
        Ok(state)
    }
}

impl Recorder {
    fn alive_to_sync(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        if state.dies_at_sync {
            state.dies_at = 0;
            return Err(Errno::IO);
        }
        Ok(state)
    }
}

impl State {
    /// A new one.
    fn object(&mut self, inode: u64) -> Object {
        let object = self.record.inodes.len();
        self.record.inodes.push(inode);
        self.by_inode.insert(inode, object);
        object
    }

    fn of(&self, file: BorrowedFd<'_>) -> Object {
        let inode = fstat(file).expect("an open file").st_ino;
        self.by_inode[&inode]
    }

    fn at(&self, directory: BorrowedFd<'_>, name: &[u8]) -> Object {
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).expect("a name");
        self.by_inode[&stat.st_ino]
    }

    fn add(&mut self, change: Change) {
        self.record.changes.push(change);
    }

    fn add_name(&mut self, directory: BorrowedFd<'_>, name: &[u8], object: Object) {
        let change = Change::Name {
            directory: self.of(directory),
            name: name.to_vec(),
            object,
        };
        self.add(change);
    }

    fn add_what_is_there(&mut self, path: &Path, directory: Object) {
        for entry in fs::read_dir(path).expect("a directory") {
            let entry = entry.expect("an entry");
            let (path, stat) = (entry.path(), entry.metadata().expect("metadata"));
            let (object, mode) = (self.object(stat.ino()), stat.mode() & 0o7777);
            if stat.is_dir() {
                self.add(Change::MakeDirectory { object, mode });
                self.add_what_is_there(&path, object);
            } else if stat.is_symlink() {
                let target = fs::read_link(&path).expect("a link");
                let target = target.as_os_str().as_bytes().to_vec();
                self.add(Change::MakeSymlink { object, target });
            } else {
                self.add(Change::Create { object, mode });
                self.add(Change::Write {
                    object,
                    offset: 0,
                    bytes: fs::read(&path).expect("a file").into(),
                });
            }
            self.add(Change::Name {
                directory,
                name: entry.file_name().as_bytes().to_vec(),
                object,
            });
            self.add(Change::Modified {
                object,
                seconds: stat.mtime(),
                nanoseconds: stat.mtime_nsec(),
            });
        }
    }
}

fn modified(object: Object, times: &Timestamps) -> Change {
    let modified = times.last_modification;
    Change::Modified {
        object,
        seconds: modified.tv_sec,
        nanoseconds: modified.tv_nsec,
    }
}

impl Storage for Recorder {
    fn open(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd> {
        let mut state = self.alive()?;
        let nameless = flags.contains(OFlags::TMPFILE);
        let there = !nameless && statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let file = openat(directory, name, flags, mode)?;
        if nameless || flags.contains(OFlags::CREATE) && !there {
            let stat = fstat(&file)?;
            let (object, mode) = (state.object(stat.st_ino), stat.st_mode & 0o7777);
            state.add(Change::Create { object, mode });
            if !nameless {
                state.add_name(directory, name, object);
            }
        }
        Ok(file)
    }

    fn write_at(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<usize> {
        let mut state = self.alive()?;
        let written = Disk.write_at(file, bytes, offset)?;
        let change = Change::Write {
            object: state.of(file),
            offset,
            bytes: bytes[..written].into(),
        };
        state.add(change);
        Ok(written)
    }

    fn allocate(
        &self,
        file: BorrowedFd<'_>,
        mode: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> Result<()> {
        let mut state = self.alive()?;
        Disk.allocate(file, mode, offset, length)?;
        let object = state.of(file);
        if mode.contains(FallocateFlags::PUNCH_HOLE) {
            state.add(Change::Punch {
                object,
                offset,
                length,
            });
        } else {
            assert!(mode.is_empty(), "a way to reserve that the model lacks");
            let end = offset + length;
            state.add(Change::Allocate { object, end });
        }
        Ok(())
    }

    fn truncate(&self, file: BorrowedFd<'_>, length: u64) -> Result<()> {
        let mut state = self.alive()?;
        Disk.truncate(file, length)?;
        let object = state.of(file);
        state.add(Change::Truncate { object, length });
        Ok(())
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: Mode) -> Result<()> {
        let mut state = self.alive()?;
        Disk.set_mode(file, mode)?;
        let object = state.of(file);
        let mode = mode.bits() & 0o7777;
        state.add(Change::Mode { object, mode });
        Ok(())
    }

    fn set_times(&self, file: BorrowedFd<'_>, times: &Timestamps) -> Result<()> {
        let mut state = self.alive()?;
        Disk.set_times(file, times)?;
        let change = modified(state.of(file), times);
        state.add(change);
        Ok(())
    }

    fn set_link_times(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        times: &Timestamps,
    ) -> Result<()> {
        let mut state = self.alive()?;
        Disk.set_link_times(directory, name, times)?;
        let change = modified(state.at(directory, name), times);
        state.add(change);
        Ok(())
    }

    fn make_directory(&self, directory: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<()> {
        let mut state = self.alive()?;
        Disk.make_directory(directory, name, mode)?;
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (object, mode) = (state.object(stat.st_ino), stat.st_mode & 0o7777);
        state.add(Change::MakeDirectory { object, mode });
        state.add_name(directory, name, object);
        Ok(())
    }

    fn make_symlink(&self, target: &[u8], directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        let mut state = self.alive()?;
        Disk.make_symlink(target, directory, name)?;
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let object = state.object(stat.st_ino);
        let target = target.to_vec();
        state.add(Change::MakeSymlink { object, target });
        state.add_name(directory, name, object);
        Ok(())
    }

    fn name(&self, file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        let mut state = self.alive()?;
        Disk.name(file, directory, name)?;
        let object = state.of(file);
        state.add_name(directory, name, object);
        Ok(())
    }

    fn link(&self, directory: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> Result<()> {
        let mut state = self.alive()?;
        Disk.link(directory, from, to)?;
        let object = state.at(directory, to);
        state.add_name(directory, to, object);
        Ok(())
    }

    fn rename(
        &self,
        directory: BorrowedFd<'_>,
        from: &[u8],
        to: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let mut state = self.alive()?;
        Disk.rename(directory, from, to, flags)?;
        let change = Change::Rename {
            directory: state.of(directory),
            from: from.to_vec(),
            to: to.to_vec(),
        };
        state.add(change);
        Ok(())
    }

    fn remove(&self, directory: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<()> {
        let mut state = self.alive()?;
        Disk.remove(directory, name, flags)?;
        let change = Change::Remove {
            directory: state.of(directory),
            name: name.to_vec(),
        };
        state.add(change);
        Ok(())
    }

    fn sync_content(&self, file: BorrowedFd<'_>) -> Result<()> {
        let mut state = self.alive_to_sync()?;
        Disk.sync_content(file)?;
        let object = state.of(file);
        state.add(Change::SyncContent { object });
        Ok(())
    }

    fn sync_names(&self, directory: BorrowedFd<'_>) -> Result<()> {
        let mut state = self.alive()?;
        Disk.sync_names(directory)?;
        state.add(Change::SyncNames);
        Ok(())
    }

    fn sync_filesystem(&self, directory: BorrowedFd<'_>) -> Result<()> {
        let mut state = self.alive_to_sync()?;
        Disk.sync_filesystem(directory.as_fd())?;
        state.add(Change::SyncFilesystem);
        Ok(())
    }

    fn boot_id(&self) -> BootId {
        self.boot
    }
}
