//! What may be found when the power fails: directories made of a prefix of a [`Record`].
//!
//! The model, for a moment before which the first `at` changes were done:
//!
//! - **Names and inodes are journalled in order.** Of all that makes, names, renames and removes, and of lengths,
//!   permissions and times, a prefix is there: the first `journal` changes. It holds at least what was done before the last
//!   syncfs or fsync of a directory. ext4 and XFS write such operations in the order in which they were done; so it was
//!   found for ext3 and ext4 by Pillai et al., "All File Systems Are Not Created Equal: On the Complexity of Crafting
//!   Crash-Consistent Applications" (OSDI 2014, table 1), who found btrfs to do otherwise for some.
//! - **fdatasync makes a file's content and length durable**, and nothing else for certain: not its name. On ext4 the whole
//!   journal goes with it; both are sampled ([`Crash::strict`]).
//! - **Any part of what was written and not synced is lost**, whatever came later, in blocks of 512 or of 4096 bytes: a disk
//!   writes a sector as a whole, and a page is written back as a whole, but neither two of them together nor in any order
//!   (Pillai et al., "content atomicity"). What is lost holds what was there before: zeros where nothing was.
//! - **Lengths are as they like**: as far as somebody wrote (`data=writeback` of ext4: "data can be written into the main file
//!   system after its metadata has been committed to the journal"), as far as something was kept (`data=ordered`: "all data
//!   are forced directly out to the main file system prior to its metadata being committed"; delayed allocation sets the
//!   length when the blocks are written), or shorter, down to what is certain. Both sentences are those of
//!   Documentation/filesystems/ext4 (Documentation/admin-guide/ext4.rst) of Linux.
//! - A file that had no name in the journal is gone. What was written behind a cut that is not in the journal is lost: it
//!   needs blocks that are given after it.
//!
//! More is sampled than one filesystem in one mode can show. Not in the model: disks that lose what they said was durable,
//! sectors that are torn, directory operations out of order, damage to what was durable.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use packhorse_proto::remains::{journal, roll};

use crate::record::{Change, Object, ROOT, Record};
use crate::scene::set;

/// What is lost of what was not synced.
#[derive(Debug, Clone)]
pub(crate) enum Losses {
    Nothing,
    Everything,
    /// Each block by itself, so many of a thousand.
    Blocks(u32),
    /// What was written from this change on.
    From(usize),
    /// Of each file all or nothing.
    Files(u64),
    /// This change alone, or one block of it.
    One(usize),
}

/// How long a file is whose writes were not synced.
#[derive(Debug, Clone, Copy)]
enum Lengths {
    Written,
    Kept,
    Shorter,
}

/// One way in which the power fails.
#[derive(Debug, Clone)]
pub(crate) struct Crash {
    /// Changes that were done.
    pub(crate) at: usize,
    /// Those that are in the journal, of names and inodes.
    journal: usize,
    /// fdatasync takes the journal with it.
    #[allow(dead_code, reason = "to be printed: it has determined `journal`")]
    strict: bool,
    losses: Losses,
    lengths: Lengths,
    grain: usize,
    /// Journals of partial files changed last, so that they are not taken for older than those.
    journals_last: bool,
    seed: u64,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What is left of names and inodes.
#[derive(Default)]
struct Inodes {
    names: BTreeMap<(Object, Vec<u8>), Object>,
    kinds: HashMap<Object, Kind>,
    modes: HashMap<Object, u32>,
    modified: HashMap<Object, (i64, i64)>,
}

#[derive(Clone)]
enum Kind {
    File,
    Directory,
    Link(Vec<u8>),
}

impl Crash {
    /// One where the power fails after `at` changes.
    pub(crate) fn sample(record: &Record, at: usize, rng: &mut Rng) -> Self {
        let strict = rng.bool();
        let done = &record.changes[..at];
        let certain = done.iter().rposition(|change| match change {
            Change::SyncFilesystem | Change::SyncNames => true,
            Change::SyncContent { .. } => strict,
            _ => false,
        });
        let certain = certain.map_or(0, |last| last + 1);
        let journal = match rng.u8(..4) {
            0 => at,
            1 => certain,
            _ => rng.usize(certain..=at),
        };
        let losses = match rng.u8(..8) {
            0 => Losses::Nothing,
            1 => Losses::Everything,
            2 | 3 => Losses::Blocks([1, 10, 500, 990][rng.usize(..4)]),
            4 => Losses::From(rng.usize(certain..=at)),
            5 => Losses::Files(rng.u64(..)),
            _ => one_write(done, rng).map_or(Losses::Nothing, Losses::One),
        };
        Self {
            at,
            journal,
            strict,
            losses,
            lengths: [Lengths::Written, Lengths::Kept, Lengths::Shorter][rng.usize(..3)],
            grain: if rng.bool() { 512 } else { 4096 },
            journals_last: rng.u8(..4) > 0,
            seed: rng.u64(..),
        }
    }

    /// Makes what is found in `root`, an empty directory.
    pub(crate) fn build(&self, record: &Record, root: &Path) {
        let inodes = self.inodes(record);
        let mut made = Made {
            crash: self,
            record,
            inodes: &inodes,
            files: BTreeMap::new(),
            directories: Vec::new(),
        };
        made.make(ROOT, root);
        made.name_inodes();
        for (object, path) in made.directories.iter().rev() {
            made.set_metadata(*object, path);
        }
    }

    /// What the journal holds.
    fn inodes(&self, record: &Record) -> Inodes {
        let mut inodes = Inodes::default();
        inodes.kinds.insert(ROOT, Kind::Directory);
        for change in &record.changes[..self.journal] {
            inodes.apply(change);
        }
        inodes
    }

    /// Changes before this are durable for a file's content.
    fn covered(&self, record: &Record, file: Object) -> usize {
        let done = &record.changes[..self.at];
        let last = done.iter().rposition(|change| match change {
            Change::SyncFilesystem => true,
            Change::SyncContent { object } => *object == file,
            _ => false,
        });
        last.map_or(0, |last| last + 1)
    }

    fn content(&self, record: &Record, file: Object) -> Vec<u8> {
        let covered = self.covered(record, file);
        let mut rng = Rng::with_seed(self.seed ^ (file as u64) << 20);
        let mut image = Image::default();
        for (place, change) in record.changes[..self.at].iter().enumerate() {
            let there = place < covered.max(self.journal);
            match change {
                Change::Write {
                    object,
                    offset,
                    bytes,
                } if *object == file => {
                    let offset = usize::try_from(*offset).expect("a small file");
                    if place < covered {
                        image.write(offset, bytes);
                        image.certain = image.bytes.len();
                    } else {
                        let keeps = |rng: &mut Rng| self.keeps(place, file, rng);
                        image.write_blocks((offset, bytes), self.grain, &mut rng, keeps);
                    }
                }
                Change::Truncate { object, length } if *object == file => {
                    image.cut(usize::try_from(*length).expect("a small file"), there);
                }
                Change::Allocate { object, end } if *object == file && there => {
                    image.extend(usize::try_from(*end).expect("a small file"));
                    image.certain = image.bytes.len();
                }
                Change::Punch {
                    object,
                    offset,
                    length,
                } if *object == file => {
                    let range = [*offset, offset + length];
                    image.punch(
                        range.map(|at| usize::try_from(at).expect("a small file")),
                        there,
                    );
                }
                _ => {}
            }
        }
        image.end(self.lengths, &mut rng)
    }

    fn keeps(&self, place: usize, file: Object, rng: &mut Rng) -> bool {
        match self.losses {
            Losses::Nothing => true,
            Losses::Everything => false,
            Losses::Blocks(lost) => rng.u32(..1000) >= lost,
            Losses::From(first) => place < first,
            Losses::Files(seed) => Rng::with_seed(seed ^ file as u64).bool(),
            Losses::One(lost) => place != lost || self.seed.is_multiple_of(2) && rng.u8(..4) > 0,
        }
    }
}

fn one_write(done: &[Change], rng: &mut Rng) -> Option<usize> {
    let writes = done.iter().enumerate();
    let writes = writes
        .filter(|(_, change)| matches!(change, Change::Write { bytes, .. } if bytes.len() > 1));
    rng.choice(writes.map(|(place, _)| place).collect::<Vec<_>>())
}

/// The content of a file, as it comes to be.
#[derive(Default)]
struct Image {
    bytes: Vec<u8>,
    /// How long it is for certain.
    certain: usize,
    /// How long it was to be.
    written: usize,
    /// What comes now needs what is not in the journal.
    behind: bool,
}

impl Image {
    fn extend(&mut self, length: usize) {
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        self.written = self.written.max(length);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.extend(offset + bytes.len());
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn write_blocks(
        &mut self,
        (offset, bytes): (usize, &[u8]),
        grain: usize,
        rng: &mut Rng,
        keeps: impl Fn(&mut Rng) -> bool,
    ) {
        if self.behind {
            return;
        }
        self.written = self.written.max(offset + bytes.len());
        let mut at = offset;
        while at < offset + bytes.len() {
            let end = (at / grain * grain + grain).min(offset + bytes.len());
            if keeps(rng) {
                self.write(at, &bytes[at - offset..end - offset]);
            }
            at = end;
        }
    }

    fn cut(&mut self, length: usize, there: bool) {
        if there {
            self.bytes.resize(length, 0);
            (self.certain, self.written) = (length, length);
        }
        self.behind |= !there;
    }

    fn punch(&mut self, [start, end]: [usize; 2], there: bool) {
        let length = self.bytes.len();
        if there && start < length {
            self.bytes[start..end.min(length)].fill(0);
        }
        self.behind |= !there;
    }

    fn end(mut self, lengths: Lengths, rng: &mut Rng) -> Vec<u8> {
        match lengths {
            Lengths::Written => self.bytes.resize(self.written.max(self.certain), 0),
            Lengths::Kept => {}
            Lengths::Shorter => {
                let length = rng.usize(self.certain..=self.bytes.len().max(self.certain));
                self.bytes.resize(length, 0);
            }
        }
        self.bytes
    }
}

impl Inodes {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { object, mode } => self.add(*object, Kind::File, *mode),
            Change::MakeDirectory { object, mode } => self.add(*object, Kind::Directory, *mode),
            Change::MakeSymlink { object, target } => {
                self.add(*object, Kind::Link(target.clone()), 0);
            }
            Change::Name {
                directory,
                name,
                object,
            } => {
                self.names.insert((*directory, name.clone()), *object);
                self.modified.remove(directory);
            }
            Change::Rename {
                directory,
                from,
                to,
            } => {
                let moved = self.names.remove(&(*directory, from.clone()));
                let moved = moved.expect("a name that was given");
                self.names.insert((*directory, to.clone()), moved);
                self.modified.remove(directory);
            }
            Change::Remove { directory, name } => {
                self.names.remove(&(*directory, name.clone()));
                self.modified.remove(directory);
            }
            Change::Mode { object, mode } => {
                self.modes.insert(*object, *mode);
            }
            Change::Modified {
                object,
                seconds,
                nanoseconds,
            } => {
                self.modified.insert(*object, (*seconds, *nanoseconds));
            }
            Change::Write { object, .. } | Change::Truncate { object, .. } => {
                self.modified.remove(object);
            }
            _ => {}
        }
    }

    fn add(&mut self, object: Object, kind: Kind, mode: u32) {
        self.kinds.insert(object, kind);
        self.modes.insert(object, mode);
    }
}

/// A crash state that is being made.
struct Made<'a> {
    crash: &'a Crash,
    record: &'a Record,
    inodes: &'a Inodes,
    files: BTreeMap<Object, PathBuf>,
    directories: Vec<(Object, PathBuf)>,
}

impl Made<'_> {
    fn make(&mut self, directory: Object, path: &Path) {
        let children = self
            .inodes
            .names
            .range((directory, Vec::new())..(directory + 1, Vec::new()));
        for ((_, name), object) in children {
            let path = path.join(std::ffi::OsStr::from_bytes(name));
            if let Some(other) = self.files.get(object) {
                fs::hard_link(other, &path).expect("a second name");
                continue;
            }
            match &self.inodes.kinds[object] {
                Kind::Directory => {
                    fs::create_dir(&path).expect("a directory");
                    self.make(*object, &path);
                    self.directories.push((*object, path));
                    continue;
                }
                Kind::Link(target) => {
                    symlink(std::ffi::OsStr::from_bytes(target), &path).expect("a link");
                }
                Kind::File => {
                    fs::write(&path, self.crash.content(self.record, *object)).expect("a file");
                    self.files.insert(*object, path.clone());
                }
            }
            self.set_metadata(*object, &path);
        }
    }

    fn set_metadata(&self, object: Object, path: &Path) {
        let mode = self.inodes.modes[&object];
        match self.inodes.modified.get(&object) {
            Some((seconds, nanoseconds)) => set(path, mode, *seconds, *nanoseconds),
            None if path.is_symlink() => {}
            None => fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode"),
        }
    }

    /// Journals name the inode of their partial file, and rolls their own, which a crash does not change. Here
    /// it has another.
    fn name_inodes(&self) {
        let inode = |path: &Path| fs::metadata(path).expect("metadata").ino();
        let files = self.files.iter();
        let now: HashMap<u64, u64> = files
            .map(|(object, path)| (self.record.inodes[*object], inode(path)))
            .collect();
        let named = |then: u64| now.get(&then).copied().unwrap_or(u64::MAX);
        for path in self.files.values() {
            let mut bytes = fs::read(path).expect("a file");
            if let Some(mut header) = bytes.first_chunk().and_then(journal::Header::parse) {
                header.inode = named(header.inode);
                bytes[..journal::HEADER].copy_from_slice(&header.encode());
            } else if let Some(mut header) = bytes.first_chunk().and_then(roll::Header::parse) {
                header.inode = named(header.inode);
                bytes[..roll::HEADER].copy_from_slice(&header.encode());
            } else {
                continue;
            }
            fs::write(path, bytes).expect("a journal or a roll");
        }
        if !self.crash.journals_last {
            for path in self
                .files
                .values()
                .filter(|path| path.extension().is_some_and(|ending| ending == "part"))
            {
                let mode = fs::metadata(path).expect("metadata").permissions();
                fs::set_permissions(path, mode).expect("its own mode");
            }
        }
    }
}
