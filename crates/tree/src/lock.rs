//! Files of this program's own, and who has them: whoever writes one holds a lock on it (flock), and lets go of it when it
//! dies.

use std::io;

use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat, flock, fstat, statat};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::file::File;
use crate::node::NodeKind;
use crate::place::{self, Brief};

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// To see what it is. Nothing is held afterwards.
    Look,
    /// To remove it, while nobody else has it.
    Remove,
    /// To write it, while nobody else has it.
    Write,
    /// The same, and it is made where it is not there.
    Create,
}

/// What became of opening a file.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Nobody else has it, as long as this is open where it was not only looked at.
    Free(File),
    /// Somebody else has it.
    InUse(File),
    /// It is not there, or not any more.
    Missing,
    /// It is not ours: no regular file, another user's, or one with several names.
    Foreign,
}

/// Opens a file of ours, never through a link.
///
/// # Errors
/// The filesystem has no locks, or the operating system refuses otherwise.
pub(crate) fn open(directory: &Directory, name: &[u8], access: Access) -> io::Result<Opened> {
    let file = match open_file(directory, name, access) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Opened::Missing),
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(Opened::Foreign),
        Err(Errno::ACCESS) if !has_ours(directory, name) => return Ok(Opened::Foreign),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    if stat.st_nlink == 0 {
        return Ok(Opened::Missing);
    }
    if !is_ours(&stat) {
        return Ok(Opened::Foreign);
    }
    let operation = match access {
        // Two that look at the same time do not take each other for somebody who writes.
        Access::Look => FlockOperation::NonBlockingLockShared,
        _ => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(&file, operation) {
        // At once: a session that looks for it now would take it for somebody else's.
        Ok(()) if access == Access::Look => flock(&file, FlockOperation::Unlock)?,
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Opened::InUse(file)),
        Err(error) => return Err(error.into()),
    }
    // Whoever held it before may have removed it meanwhile: then it is locked for nobody.
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(now) if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) => Ok(Opened::Free(file)),
        _ => Ok(Opened::Missing),
    }
}

fn open_file(directory: &Directory, name: &[u8], access: Access) -> rustix::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let storage = directory.storage();
    let open = |more| {
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = storage.open(directory.as_fd(), name, flags | more, mode)?;
        Ok(File::new(opened, storage))
    };
    match access {
        Access::Look => open(OFlags::RDONLY),
        // Over a network a lock takes one that can be written. A file that got its permissions and not its name may be
        // read-only.
        Access::Remove => open(OFlags::RDWR).or_else(|error| match error {
            Errno::ACCESS => open(OFlags::RDONLY),
            error => Err(error),
        }),
        Access::Write => open(OFlags::RDWR),
        Access::Create => open(OFlags::RDWR | OFlags::CREATE),
    }
}

/// Opens a file of ours and locks it; `None` where somebody else holds it, or it is not ours.
pub(crate) fn open_locked(
    directory: &Directory,
    name: &[u8],
    create: bool,
) -> io::Result<Option<File>> {
    let access = if create {
        Access::Create
    } else {
        Access::Write
    };
    match open(directory, name, access) {
        Ok(Opened::Free(file)) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::ACCESS) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a file under a temporary name, for its owner alone, and locks it before anybody takes it for one that was left.
///
/// A filesystem without locks has none on it, and nobody removes it there.
pub(crate) fn create_temporary(directory: &Directory) -> rustix::io::Result<(File, Vec<u8>)> {
    place::under_temporary_name(|name| create_at(directory, name))
}

/// The same of one that is to be called `last`.
pub(crate) fn create_before(
    directory: &Directory,
    last: &[u8],
) -> rustix::io::Result<(File, Vec<u8>)> {
    let brief = (Brief::File, last);
    place::under_name_before(directory, brief, |name| create_at(directory, name))
}

fn create_at(directory: &Directory, name: &[u8]) -> rustix::io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    let storage = directory.storage();
    let file = storage.open(directory.as_fd(), name, flags, Mode::RUSR | Mode::WUSR)?;
    // Somebody came by before it was locked, and has removed it or is about to.
    if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        place::discard(directory, name);
        return Err(Errno::EXIST);
    }
    match fstat(&file)?.st_nlink {
        0 => Err(Errno::EXIST),
        _ => Ok(File::new(file, storage)),
    }
}

/// Removes what a process that died left under a temporary name. `false` where it may be somebody's who is alive, or is not
/// ours.
///
/// Of a link nobody can tell: whoever lives and finds his own gone makes it again ([`Directory::make_symlink`]).
pub(crate) fn remove_left(directory: &Directory, name: &[u8], brief: Brief) -> bool {
    // Held until the name is gone.
    let held = match brief {
        Brief::Link => own_link(directory, name).map(|_| None),
        Brief::File => match open(directory, name, Access::Remove) {
            Ok(Opened::Free(file)) => Some(Some(file)),
            Ok(Opened::Missing) => return true,
            Ok(Opened::InUse(_) | Opened::Foreign) | Err(_) => None,
        },
    };
    if held.is_some() {
        place::discard(directory, name);
    }
    held.is_some()
}

/// The symbolic link of this name, where it is this user's.
pub(crate) fn own_link(directory: &Directory, name: &[u8]) -> Option<Stat> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let own = NodeKind::of(&stat) == NodeKind::Symlink
        && stat.st_uid == rustix::process::geteuid().as_raw();
    own.then_some(stat)
}

/// Locks a file that is ours already. Where that cannot be done, it is as it was before there were locks.
pub(crate) fn keep(file: &File) {
    let _ = flock(file, FlockOperation::NonBlockingLockExclusive);
}

/// Whether a file may be one that this program has made for itself.
pub(crate) fn is_ours(stat: &Stat) -> bool {
    NodeKind::of(stat) == NodeKind::File
        && stat.st_nlink == 1
        && stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Whether such a file has this name.
pub(crate) fn has_ours(directory: &Directory, name: &[u8]) -> bool {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| is_ours(&stat))
}
