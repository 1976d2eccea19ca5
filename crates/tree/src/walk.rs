//! Walking sources in the manifest's order, by descriptor and in bounded memory.

mod listing;
mod sources;

use std::io;
use std::sync::Arc;

use packhorse_proto::entry::{Entry, Kind, LinkTarget};
use packhorse_proto::path::{Name, PathError, RelativePath};
use rustix::fs::{AtFlags, Stat, fstat, fstatfs, readlinkat, statat};

use self::listing::Listing;
use self::sources::{Location, Origin, Top, TopLevel};
pub use self::sources::{SourceError, WalkSource};
use crate::directory::Directory;
use crate::node::{self, NodeKind};
use crate::source::{Identity, SourceFile};

/// What the kernel may give of a directory at once, in bytes; a few hundred names.
const READ_BUFFER: usize = 32 << 10;

/// How much a walk may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkLimits {
    /// Names held of one directory, in bytes with their index; 20 MiB unless said otherwise, which is room
    /// for a million names of a dozen bytes. A directory with more is read again for the next ones. All
    /// that are open at a time hold at most half as much again.
    pub names: usize,
    /// Nested directories that are kept open, at least 1; 64 unless said otherwise. A deeper one is
    /// closed while something beneath it is walked.
    pub levels: usize,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self {
            names: 20 << 20,
            levels: 64,
        }
    }
}

/// One entry that was found.
#[derive(Debug)]
pub struct Found {
    /// What the manifest says of it.
    pub entry: Entry,
    /// Where its content is; only files have this.
    pub file: Option<FileAt>,
}

/// Where the content of a file is. It keeps the file's directory open: hold few.
#[derive(Debug, Clone)]
pub struct FileAt {
    parent: Arc<Directory>,
    name: RelativePath,
    identity: Identity,
}

impl FileAt {
    /// The directory that holds the file.
    #[must_use]
    pub fn parent(&self) -> &Arc<Directory> {
        &self.parent
    }

    /// The name of the file on disk, which differs from the manifest's for a renamed source.
    #[must_use]
    pub fn name(&self) -> Name<'_> {
        self.name.name()
    }

    /// What the file was when it was walked.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Opens the file; whether it is still the same is told by [`SourceFile::identity`].
    ///
    /// # Errors
    /// As for [`SourceFile::open`].
    pub fn open(&self) -> io::Result<SourceFile> {
        SourceFile::open(&self.parent, self.name())
    }
}

/// Something that cannot be sent. The walk goes on after it.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct WalkError {
    /// Where, as the user would say it, escaped for a terminal.
    pub path: String,
    /// What is wrong there.
    pub problem: WalkProblem,
}

/// Why something cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum WalkProblem {
    /// It cannot be read, or is gone.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It lies on procfs, sysfs or their like, where a size says nothing about the content.
    #[error("not sent, it is made by the kernel when it is read and has no size before")]
    Sizeless,
    /// No manifest can hold it.
    #[error("not sent, it is {0}")]
    Unsupported(NodeKind),
    /// Its path is too long for a manifest.
    #[error("{0}")]
    Unnameable(#[from] PathError),
    /// Something else has its place since the walk came by; what it still held is not sent.
    #[error("the directory was replaced while it was walked")]
    Replaced,
    /// Another source has the same name.
    #[error("not sent, another source has the same name")]
    SameName,
}

impl From<rustix::io::Errno> for WalkProblem {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Sources in the manifest's canonical order: depth first, names by their bytes, a directory before
/// what it holds.
///
/// Links are never followed beneath a source. Mount points are crossed.
#[derive(Debug)]
pub struct Walk {
    top: TopLevel,
    /// Of the source being walked.
    origin: Option<Arc<Origin>>,
    /// The directories from that source down to where the walk is.
    stack: Vec<Frame>,
    limits: WalkLimits,
    buffer: Vec<u8>,
    /// The device that was asked about last, and whether it makes its files when they are read.
    asked: Option<(u64, bool)>,
}

/// A directory that is being walked.
#[derive(Debug)]
struct Frame {
    path: RelativePath,
    /// `None` while it is closed, which only a deep directory is.
    directory: Option<Arc<Directory>>,
    device_and_inode: (u64, u64),
    listing: Listing,
}

/// A name, and the directory it is in.
type Child = (Arc<Directory>, Box<[u8]>);

impl Walk {
    /// A walk over `sources`, with the usual limits.
    ///
    /// # Errors
    /// A source is missing, or two have the same name.
    pub fn new(sources: Vec<WalkSource>) -> Result<Self, SourceError> {
        Self::with_limits(sources, WalkLimits::default())
    }

    /// A walk over `sources`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_limits(sources: Vec<WalkSource>, limits: WalkLimits) -> Result<Self, SourceError> {
        Ok(Self {
            top: TopLevel::new(sources, limits.names)?,
            origin: None,
            stack: Vec::new(),
            limits: WalkLimits {
                levels: limits.levels.max(1),
                ..limits
            },
            buffer: Vec::with_capacity(READ_BUFFER),
            asked: None,
        })
    }

    fn visit_top(&mut self, top: Top) -> Result<Found, WalkError> {
        let path = top.path.clone();
        let origin = self.origin.insert(top.origin);
        let origin = Arc::clone(origin);
        match top.location {
            Location::In(parent, name) => self.visit(parent, &name, top.path),
            Location::Itself(directory) => self.enter(directory, top.path),
        }
        .map_err(|problem| origin.error(path.as_bytes(), problem))
    }

    /// The next entry of the innermost directory; `None` when that directory is done.
    fn step(&mut self) -> Option<Result<Found, WalkError>> {
        match self.next_name() {
            Ok(Some((parent, name))) => Some(
                self.visit_child(parent, &name)
                    .map_err(|problem| self.error(&name, problem)),
            ),
            Ok(None) => {
                self.stack.pop();
                None
            }
            Err(problem) => {
                let error = self.error(b"", problem);
                self.stack.pop();
                Some(Err(error))
            }
        }
    }

    /// What is wrong with `name` in the innermost directory, or, without a name, with that directory.
    fn error(&self, name: &[u8], problem: WalkProblem) -> WalkError {
        let mut path = self.innermost().path.as_bytes().to_vec();
        if !name.is_empty() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        let origin = self.origin.as_ref().expect("set before a frame is pushed");
        origin.error(&path, problem)
    }

    fn innermost(&self) -> &Frame {
        self.stack.last().expect("called with a frame on the stack")
    }

    fn next_name(&mut self) -> Result<Option<Child>, WalkProblem> {
        let directory = match &self.innermost().directory {
            Some(directory) => Arc::clone(directory),
            None => Arc::new(self.reopen()?),
        };
        let frame = self.stack.last_mut().expect("`innermost` found it");
        frame.directory = Some(Arc::clone(&directory));
        let name = frame.listing.next(&directory, &mut self.buffer)?;
        Ok(name.map(|name| (directory, name)))
    }

    /// Opens the innermost directory again, from the deepest one that was kept open.
    fn reopen(&self) -> Result<Directory, WalkProblem> {
        let frame = self.innermost();
        let kept = &self.stack[self.limits.levels - 1];
        let from = kept.directory.as_ref().expect("these levels stay open");
        let below = &frame.path.as_bytes()[kept.path.as_bytes().len() + 1..];
        let directory = from.open_bytes(below)?;
        let stat = fstat(&directory)?;
        if frame.device_and_inode != (stat.st_dev, stat.st_ino) {
            return Err(WalkProblem::Replaced);
        }
        Ok(directory)
    }

    fn visit_child(&mut self, parent: Arc<Directory>, name: &[u8]) -> Result<Found, WalkProblem> {
        let path = self.innermost().path.join(name)?;
        self.visit(parent, name, path)
    }

    /// Looks at `name` in `parent`, which the manifest calls `path`.
    fn visit(
        &mut self,
        parent: Arc<Directory>,
        name: &[u8],
        path: RelativePath,
    ) -> Result<Found, WalkProblem> {
        let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match NodeKind::of(&stat) {
            NodeKind::Directory => self.enter(parent.open_bytes(name)?, path),
            // Only those without blocks can hold something else than their size says.
            NodeKind::File if stat.st_blocks == 0 && self.makes_when_read(&parent) => {
                Err(WalkProblem::Sizeless)
            }
            NodeKind::File => found_file(parent, name, path, &stat),
            NodeKind::Symlink => found_link(&parent, name, path, &stat),
            kind => Err(WalkProblem::Unsupported(kind)),
        }
    }

    /// Whether files in this directory, the innermost one, may hold something else than their sizes say. The kernel is
    /// asked once for each device, not for each of a million empty files.
    fn makes_when_read(&mut self, parent: &Directory) -> bool {
        let device = self.stack.last().map(|frame| frame.device_and_inode.0);
        match (device, self.asked) {
            (Some(device), Some((asked, answer))) if device == asked => answer,
            _ => {
                let answer = makes_when_read(parent);
                self.asked = device.map(|device| (device, answer));
                answer
            }
        }
    }

    fn enter(&mut self, directory: Directory, path: RelativePath) -> Result<Found, WalkProblem> {
        let stat = fstat(&directory)?;
        let room = self.make_room();
        self.stack.push(Frame {
            path: path.clone(),
            directory: Some(Arc::new(directory)),
            device_and_inode: (stat.st_dev, stat.st_ino),
            listing: Listing::new(room),
        });
        Ok(found(path, Kind::Directory, &stat))
    }

    /// Before another directory is pushed: closes the innermost where it is deep, and forgets the names
    /// of outer ones while all hold too much. Gives how many bytes of names the new one may hold.
    ///
    /// One that is forgotten is read again only after the inner ones, with at least a quarter of
    /// `limits.names` of names, are done: reading twice stays in proportion.
    fn make_room(&mut self) -> usize {
        if self.stack.len() > self.limits.levels
            && let Some(frame) = self.stack.last_mut()
        {
            frame.directory = None;
        }
        let names = self.limits.names;
        let most = names.saturating_add(names / 4);
        let inner: usize = self.stack.iter().map(|frame| frame.listing.held()).sum();
        let mut held = self.top.held() + inner;
        if held > most {
            held = inner;
            self.top.forget();
        }
        for frame in &mut self.stack {
            if held <= most {
                break;
            }
            held -= frame.listing.held();
            frame.listing.forget();
        }
        names.min(names.saturating_add(names / 2).saturating_sub(held))
    }
}

impl Iterator for Walk {
    type Item = Result<Found, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.stack.is_empty() {
            if let Some(item) = self.step() {
                return Some(item);
            }
        }
        match self.top.next(&mut self.buffer)? {
            Ok(top) => Some(self.visit_top(top)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Filesystems whose files are made when they are read: their `f_type` (statfs(2), linux/magic.h), of
/// procfs, sysfs, debugfs, tracefs, securityfs, configfs, cgroup and cgroup2.
const MADE_WHEN_READ: [u64; 8] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6265_6570,
    0x0027_e0eb,
    0x6367_7270,
];

fn makes_when_read(directory: &Directory) -> bool {
    fstatfs(directory).is_ok_and(|filesystem| {
        u64::try_from(filesystem.f_type).is_ok_and(|kind| MADE_WHEN_READ.contains(&kind))
    })
}

fn found(path: RelativePath, kind: Kind, stat: &Stat) -> Found {
    let mut metadata = node::metadata_of(stat);
    if !matches!(kind, Kind::File { .. }) {
        // Of others there is nothing to go on with.
        metadata.change = None;
    }
    Found {
        entry: Entry {
            path,
            kind,
            metadata,
        },
        file: None,
    }
}

fn found_file(
    parent: Arc<Directory>,
    name: &[u8],
    path: RelativePath,
    stat: &Stat,
) -> Result<Found, WalkProblem> {
    let file = FileAt {
        parent,
        name: Name::parse(name)?.to_path(),
        identity: Identity::of(stat),
    };
    let size = Some(file.identity.size());
    Ok(Found {
        file: Some(file),
        ..found(path, Kind::File { size }, stat)
    })
}

fn found_link(
    parent: &Directory,
    name: &[u8],
    path: RelativePath,
    stat: &Stat,
) -> Result<Found, WalkProblem> {
    let target = readlinkat(parent, name, Vec::new())?;
    let target = LinkTarget::new(target.as_bytes())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a link without a target"))?;
    Ok(found(path, Kind::Symlink { target }, stat))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn memory_and_descriptors_stay_within_the_limits() {
        let root = tempdir().unwrap();
        let mut path = root.path().to_owned();
        for _ in 0..40 {
            for name in ["a", "c", "e", "g"] {
                fs::write(path.join(name.repeat(30)), "").unwrap();
            }
            path.push("d");
            fs::create_dir(&path).unwrap();
        }
        let limits = WalkLimits {
            names: 400,
            levels: 5,
        };
        // The directory, and what it holds.
        for (source, expected) in [
            (root.path().to_owned(), 1 + 40 * 5),
            (root.path().join(""), 40 * 5),
        ] {
            let mut walk = Walk::with_limits(vec![WalkSource::new(source)], limits).unwrap();
            let mut entries = 0;
            while let Some(found) = walk.next() {
                found.unwrap();
                entries += 1;
                let inner: usize = walk.stack.iter().map(|frame| frame.listing.held()).sum();
                let held = walk.top.held() + inner;
                // At least one name is held whatever the limit: 120 bytes and 8 of the index.
                assert!(held <= limits.names * 3 / 2 + 128, "{held}");
                let open = walk.stack.iter().filter(|frame| frame.directory.is_some());
                // The innermost one is open as well, beyond those that stay open.
                assert!(open.count() <= limits.levels + 1);
            }
            assert_eq!(entries, expected);
        }
    }
}
