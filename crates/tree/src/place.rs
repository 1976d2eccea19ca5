//! Names in a directory: what may stand there already, and how a finished thing takes its own.

use std::fmt::Write as _;
use std::io;

use packhorse_proto::path::Name;
use packhorse_proto::remains::{VARIANTS, partial_id};
use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, RenameFlags, statat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::directory::Directory;
use crate::lock;
use crate::node::NodeKind;

/// How often another random name is tried when one is taken.
const ATTEMPTS: usize = 16;

/// What to do with a file or link that already has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The new one takes its place in one step. A link is replaced itself, never what it points to.
    Replace,
    /// It stays as it is, whatever it is, and the new one is dropped.
    Keep,
}

/// Whether something took its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Placed {
    /// It has its name now.
    Stored,
    /// The name was taken, and what had it was kept.
    Kept,
}

/// Whether a directory was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was made just now.
    New,
    /// It was there already.
    Existing,
}

/// Why something could not take its name. What stood there before is untouched, and nothing
/// unfinished is left.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The name belongs to something that must not be replaced or entered.
    #[error("{name}: {by} is in the way")]
    Obstructed {
        /// The name, escaped for a terminal.
        name: String,
        /// What has the name.
        by: NodeKind,
    },
    /// The operating system refused.
    #[error("{name}: {error}")]
    Io {
        /// The name, escaped for a terminal.
        name: String,
        /// Its answer.
        error: io::Error,
    },
}

impl PlaceError {
    pub(crate) fn io(name: Name<'_>, error: Errno) -> Self {
        Self::Io {
            name: name.to_string(),
            error: error.into(),
        }
    }

    /// `error`, or what stands under `name` if that explains it better.
    pub(crate) fn explain(directory: &Directory, name: Name<'_>, error: Errno) -> Self {
        if !matches!(
            error,
            Errno::ISDIR | Errno::NOTDIR | Errno::LOOP | Errno::EXIST
        ) {
            return Self::io(name, error);
        }
        match statat(directory, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Self::Obstructed {
                name: name.to_string(),
                by: NodeKind::of(&stat),
            },
            Err(_) => Self::io(name, error),
        }
    }
}

/// What has a temporary name for a moment, before it takes the place of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brief {
    /// A regular file, locked before it has that name.
    File,
    /// A symbolic link, which nobody can lock.
    Link,
}

impl Brief {
    /// The temporary name of what is to be called `last`: always the same, so that whoever comes to make that again finds
    /// what a process left that died between the two names.
    fn name_before(self, last: &[u8]) -> Vec<u8> {
        let variant = match self {
            Self::File => VARIANTS,
            Self::Link => VARIANTS + 1,
        };
        own_name(partial_id(last, variant), "part")
    }
}

/// Makes something under the temporary name of what is to be called `last`, and gives that name. What was left there is
/// removed; where it is somebody else's, it is a random name.
pub(crate) fn under_name_before<T>(
    directory: &Directory,
    (brief, last): (Brief, &[u8]),
    mut make: impl FnMut(&[u8]) -> rustix::io::Result<T>,
) -> rustix::io::Result<(T, Vec<u8>)> {
    let name = brief.name_before(last);
    for _ in 0..2 {
        match make(&name) {
            Err(Errno::EXIST) if lock::remove_left(directory, &name, brief) => {}
            Err(Errno::EXIST) => break,
            answer => return answer.map(|made| (made, name)),
        }
    }
    under_temporary_name(make)
}

/// Makes something under a random temporary name, `.packhorse-<16 hexadecimal digits>.part`, and gives that name.
pub(crate) fn under_temporary_name<T>(
    mut make: impl FnMut(&[u8]) -> rustix::io::Result<T>,
) -> rustix::io::Result<(T, Vec<u8>)> {
    let mut answer = Err(Errno::EXIST);
    for _ in 0..ATTEMPTS {
        let name = temporary_name()?;
        answer = make(&name).map(|made| (made, name));
        if !matches!(answer, Err(Errno::EXIST)) {
            break;
        }
    }
    answer
}

fn temporary_name() -> rustix::io::Result<Vec<u8>> {
    let mut random = [0; 8];
    // The kernel gives as few bytes whole, once it has any.
    rustix::io::retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))?;
    Ok(own_name(random, "part"))
}

/// A name that is this program's own: `.packhorse-<16 hexadecimal digits>.<kind>`.
pub(crate) fn own_name(id: [u8; 8], kind: &str) -> Vec<u8> {
    let mut name = String::from(".packhorse-");
    for byte in id {
        write!(name, "{byte:02x}").expect("a String takes everything");
    }
    name.push('.');
    name.push_str(kind);
    name.into_bytes()
}

/// Gives what is finished under the name `temporary` its final `name`, or removes it.
pub(crate) fn take_name(
    directory: &Directory,
    temporary: &[u8],
    name: Name<'_>,
    existing: Existing,
) -> Result<Placed, PlaceError> {
    let placed = try_name(directory, temporary, name, existing);
    if placed.is_err() {
        discard(directory, temporary);
    }
    placed
}

/// The same, and where it cannot have the name it stays. What is not wanted is removed.
pub(crate) fn try_name(
    directory: &Directory,
    temporary: &[u8],
    name: Name<'_>,
    existing: Existing,
) -> Result<Placed, PlaceError> {
    let renamed = match existing {
        Existing::Replace => {
            let storage = directory.storage();
            storage.rename(
                directory.as_fd(),
                temporary,
                name.as_bytes(),
                RenameFlags::empty(),
            )
        }
        Existing::Keep => rename_to_free_name(directory, temporary, name),
    };
    match (renamed, existing) {
        (Ok(()), _) => Ok(Placed::Stored),
        (Err(Errno::EXIST), Existing::Keep) => {
            discard(directory, temporary);
            Ok(Placed::Kept)
        }
        (Err(error), _) => Err(PlaceError::explain(directory, name, error)),
    }
}

fn rename_to_free_name(
    directory: &Directory,
    temporary: &[u8],
    name: Name<'_>,
) -> rustix::io::Result<()> {
    let (name, at, storage) = (name.as_bytes(), directory.as_fd(), directory.storage());
    match storage.rename(at, temporary, name, RenameFlags::NOREPLACE) {
        // The filesystem does not know how; a second name in one step does the same.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            storage.link(at, temporary, name)?;
            storage.remove(at, temporary, AtFlags::empty())
        }
        answer => answer,
    }
}

/// Removes something unfinished. Where even that fails, the error that led here is the one to tell.
pub(crate) fn discard(directory: &Directory, temporary: &[u8]) {
    let _ = directory
        .storage()
        .remove(directory.as_fd(), temporary, AtFlags::empty());
}
