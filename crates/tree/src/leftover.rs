//! What sessions that were ended left in a directory: looked at, and removed where nobody writes it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packhorse_proto::entry::Timestamp;
use packhorse_proto::path::Name;
use packhorse_proto::remains::{VARIANTS, partial_id};
use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, Stat, fstat, statat};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::faults::reach;
use crate::file::File;
use crate::lock::{self, Access, Opened};
use crate::node;
use crate::partial;
use crate::place;
use crate::roll;

/// Bytes of a roll that are read to count what it names: some 500,000 files.
const MAX_READ: u64 = 64 << 20;

/// The name of a file of this program's own, exactly as this program gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Journal([u8; 8]),
    Part([u8; 8]),
    Roll(Vec<u8>),
}

impl OwnFile {
    /// `None` for any other name. Rolls are only in the directory that [`is_place`](Self::is_place) names.
    #[must_use]
    pub fn parse(name: Name<'_>) -> Option<Self> {
        let name = name.as_bytes();
        if let Some(id) = name.strip_suffix(roll::ENDING) {
            return parse_id(id).map(|_| Self(Kind::Roll(name.to_vec())));
        }
        let rest = name.strip_prefix(roll::PLACE.as_bytes())?;
        let (id, kind) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
        let id = parse_id(id)?;
        match kind {
            b".journal" => Some(Self(Kind::Journal(id))),
            b".part" => Some(Self(Kind::Part(id))),
            _ => None,
        }
    }

    /// Whether it is a roll.
    #[must_use]
    pub fn is_roll(&self) -> bool {
        matches!(self.0, Kind::Roll(_))
    }

    /// Whether a directory of this name, in a destination, is where rolls are.
    #[must_use]
    pub fn is_place(name: Name<'_>) -> bool {
        name.as_bytes() == roll::PLACE.as_bytes()
    }
}

/// Sixteen hexadecimal digits, in lower case.
fn parse_id(digits: &[u8]) -> Option<[u8; 8]> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut id = [0; 8];
    if pairs.len() != id.len() {
        return None;
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(id)
}

/// One thing that a session left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub what: Left,
    /// Bytes that all its files take on disk.
    pub disk: u64,
    /// When one of them was last written; of a link, when it was made.
    pub written: Timestamp,
    /// Somebody holds it who is alive: it is not left.
    pub in_use: bool,
}

/// Younger links count as somebody's who is alive: nobody can hold a lock on one. A session has it for a few microseconds.
const LINK_IN_USE: Duration = Duration::from_secs(60);

/// The journal of a file that has its name, which nobody else takes as long as this is held. Dropped, it stays.
#[derive(Debug)]
pub struct LeftJournal {
    pub(crate) directory: Arc<Directory>,
    pub(crate) name: Vec<u8>,
    /// Locked as long as it is open.
    pub(crate) _file: File,
}

impl LeftJournal {
    /// Removes it: to be called when it is noted elsewhere that the file is complete.
    pub fn remove(self) {
        place::discard(&self.directory, &self.name);
        reach("journal.removed");
    }
}

/// What a session left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// A partial file and its journal, or one of a file that has gone. `None` where the journal does not tell.
    Part(Option<Unfinished>),
    /// A partial file without a journal: nobody goes on with it.
    Orphan,
    /// A symbolic link that has not got its name.
    Link,
    /// A roll.
    Roll {
        /// How many files it names.
        files: u64,
        /// Whether these are all, or as many as were read.
        all: bool,
    },
}

/// A file that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The name that it is to have, one component.
    pub name: Vec<u8>,
    /// Bytes that are there and verified.
    pub held: u64,
    /// Bytes that it is to have.
    pub size: u64,
}

/// What stands under a name of this program's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// Something that a session left, or that one writes.
    Leftover(Leftover),
    /// A partial file: its journal, in the same directory, tells of both.
    Partner,
    /// Nothing of ours: another user's, a file with several names, or something that this program makes none of under such a
    /// name.
    Foreign,
    /// Nothing, or nothing any more.
    Gone,
}

/// What became of something that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Somebody holds it, or has written to it since it was looked at.
    InUse,
    /// Somebody else has removed it.
    Gone,
}

impl Directory {
    /// Looks at what has a name of this program's own in this directory. Nothing is held or changed.
    ///
    /// # Errors
    /// It cannot be opened or read, or the filesystem has no locks.
    pub fn look_at_own(&self, file: &OwnFile) -> io::Result<Sighting> {
        match &file.0 {
            Kind::Journal(id) => self.look_at_pair(*id),
            Kind::Part(id) if let Some(link) = lock::own_link(self, &part_name(*id)) => {
                Ok(Sighting::Leftover(link_left(&link)))
            }
            Kind::Part(id) if lock::has_ours(self, &journal_name(*id)) => {
                let ours = lock::has_ours(self, &part_name(*id));
                Ok(if ours {
                    Sighting::Partner
                } else {
                    Sighting::Foreign
                })
            }
            Kind::Part(id) => look_at(self, &part_name(*id), |_| Ok(Left::Orphan)),
            Kind::Roll(name) => look_at(self, name, |file| {
                let (files, all) = roll::count(file, MAX_READ)?.unwrap_or((0, true));
                Ok(Left::Roll { files, all })
            }),
        }
    }

    fn look_at_pair(&self, id: [u8; 8]) -> io::Result<Sighting> {
        let (journal, mut in_use) = match lock::open(self, &journal_name(id), Access::Look)? {
            Opened::Free(file) => (file, false),
            Opened::InUse(file) => (file, true),
            Opened::Missing => return Ok(Sighting::Gone),
            Opened::Foreign => return Ok(Sighting::Foreign),
        };
        let part = match lock::open(self, &part_name(id), Access::Look)? {
            Opened::Free(file) => Some(file),
            Opened::InUse(file) => {
                in_use = true;
                Some(file)
            }
            Opened::Missing | Opened::Foreign => None,
        };
        let (disk, written) = use_of([Some(&journal), part.as_ref()].into_iter().flatten())?;
        let what = Left::Part(unfinished(id, &journal, part.as_ref())?);
        Ok(Sighting::Leftover(Leftover {
            what,
            disk,
            written,
            in_use,
        }))
    }

    /// Removes what was looked at, where it is still what it was then and nobody holds it.
    ///
    /// # Errors
    /// It cannot be opened or removed.
    pub fn remove_own(&self, file: &OwnFile, seen: &Leftover) -> io::Result<Removal> {
        let id = match &file.0 {
            Kind::Journal(id) | Kind::Part(id) => *id,
            Kind::Roll(name) => return self.remove_files(&[name], seen.written),
        };
        let (part, journal) = (part_name(id), journal_name(id));
        match &file.0 {
            Kind::Part(_) if seen.what == Left::Link => self.remove_link(&part, seen),
            Kind::Part(_) => self.remove_orphan(&part, &journal, seen),
            // The journal last: without it the partial file would be one that nobody goes on with.
            _ => self.remove_files(&[&journal, &part], seen.written),
        }
    }

    /// A session that begins a file takes its journal first: with that in our hands, nobody puts another partial file in
    /// the place of this one.
    fn remove_orphan(&self, part: &[u8], journal: &[u8], seen: &Leftover) -> io::Result<Removal> {
        let held = match lock::open(self, journal, Access::Create) {
            // Somebody has left one of his own meanwhile.
            Ok(Opened::Free(file)) if fstat(&file)?.st_size > 0 => return Ok(Removal::InUse),
            Ok(Opened::Free(file)) => Some(file),
            Ok(Opened::InUse(_) | Opened::Missing) => return Ok(Removal::InUse),
            // Then no session takes it either.
            Ok(Opened::Foreign) => None,
            Err(error) if is_full(&error) => None,
            Err(error) => return Err(error),
        };
        let removed = self.remove_files(&[part], seen.written);
        if held.is_some() {
            place::discard(self, journal);
        }
        removed
    }

    /// Names of this kind are drawn at random, or those of one path: nobody else puts something there between the two calls.
    fn remove_link(&self, name: &[u8], seen: &Leftover) -> io::Result<Removal> {
        match lock::own_link(self, name) {
            None => Ok(Removal::Gone),
            Some(link) if seen.in_use || link_left(&link) != *seen => Ok(Removal::InUse),
            Some(_) => {
                let storage = self.storage();
                storage.remove(self.as_fd(), name, AtFlags::empty())?;
                Ok(Removal::Removed)
            }
        }
    }

    /// Takes the files in this order, and removes them in the other. The first has to be there.
    fn remove_files(&self, names: &[&[u8]], written: Timestamp) -> io::Result<Removal> {
        let mut held: Vec<(&[u8], File)> = Vec::new();
        for name in names {
            match lock::open(self, name, Access::Remove)? {
                Opened::Free(file) => held.push((name, file)),
                Opened::InUse(_) => return Ok(Removal::InUse),
                Opened::Missing | Opened::Foreign if held.is_empty() => return Ok(Removal::Gone),
                Opened::Missing | Opened::Foreign => {}
            }
        }
        let (_, now) = use_of(held.iter().map(|(_, file)| file))?;
        if now != written {
            return Ok(Removal::InUse);
        }
        for (name, _) in held.iter().rev() {
            self.storage()
                .remove(self.as_fd(), name, AtFlags::empty())?;
        }
        Ok(Removal::Removed)
    }

    /// Removes the directory of rolls of this destination, where it is ours and holds nothing. `true` where it did.
    ///
    /// # Errors
    /// It holds nothing and cannot be removed all the same.
    pub fn remove_empty_place(&self) -> io::Result<bool> {
        let own = statat(self, roll::PLACE, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw());
        if !own {
            return Ok(false);
        }
        let place = roll::PLACE.as_bytes();
        match self
            .storage()
            .remove(self.as_fd(), place, AtFlags::REMOVEDIR)
        {
            Ok(()) => Ok(true),
            // EEXIST is another word for a directory that holds something (rmdir(2)).
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn look_at(
    directory: &Directory,
    name: &[u8],
    what: impl FnOnce(&File) -> io::Result<Left>,
) -> io::Result<Sighting> {
    let (file, in_use) = match lock::open(directory, name, Access::Look)? {
        Opened::Free(file) => (file, false),
        Opened::InUse(file) => (file, true),
        Opened::Missing => return Ok(Sighting::Gone),
        Opened::Foreign => return Ok(Sighting::Foreign),
    };
    let (disk, written) = use_of([&file].into_iter())?;
    Ok(Sighting::Leftover(Leftover {
        what: what(&file)?,
        disk,
        written,
        in_use,
    }))
}

/// What is known of a link that has not got its name. When it was made is told by its ctime: its other time is the source's.
fn link_left(link: &Stat) -> Leftover {
    let made = node::changed_at(link);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let age = now.ok().and_then(|now| now.checked_sub(made));
    let seconds = i64::try_from(made.as_secs()).unwrap_or(i64::MAX);
    Leftover {
        what: Left::Link,
        disk: disk_of(link),
        written: Timestamp::new(seconds, made.subsec_nanos()).expect("below a second"),
        in_use: age.is_none_or(|age| age < LINK_IN_USE),
    }
}

/// What a journal tells of its file, where it is the journal of a file with these names.
fn unfinished(id: [u8; 8], journal: &File, part: Option<&File>) -> io::Result<Option<Unfinished>> {
    let Some((header, tree)) = partial::progress(journal)? else {
        return Ok(None);
    };
    let named = (0..VARIANTS).any(|variant| partial_id(&header.name, variant) == id);
    if !named || Name::parse(&header.name).is_err() {
        return Ok(None);
    }
    // Another file than the one that it is about holds nothing.
    let its_own = match part {
        Some(part) => fstat(part)?.st_ino == header.inode,
        None => false,
    };
    Ok(Some(Unfinished {
        name: header.name,
        held: if its_own { tree.covered() } else { 0 },
        size: header.version.size,
    }))
}

/// Bytes on disk, and when one of the files was last written.
fn use_of<'a>(files: impl Iterator<Item = &'a File>) -> io::Result<(u64, Timestamp)> {
    let mut disk = 0_u64;
    let mut written = None;
    for file in files {
        let stat = fstat(file)?;
        disk = disk.saturating_add(disk_of(&stat));
        written = written.max(Some(node::modified_of(&stat)));
    }
    let written = written.ok_or(io::ErrorKind::NotFound)?;
    Ok((disk, written))
}

fn disk_of(stat: &Stat) -> u64 {
    /// What `st_blocks` counts in, whatever the filesystem's own blocks are (stat(2)).
    const BLOCK: u64 = 512;
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    blocks.saturating_mul(BLOCK)
}

/// Whether there was no room for a file that holds nothing.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn part_name(id: [u8; 8]) -> Vec<u8> {
    place::own_name(id, "part")
}

fn journal_name(id: [u8; 8]) -> Vec<u8> {
    place::own_name(id, "journal")
}
