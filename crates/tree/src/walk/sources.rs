//! What was named on the command line, and the top level of the manifest it makes.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packhorse_proto::escape::Escaped;
use packhorse_proto::path::{Name, RelativePath};
use rustix::fs::{AtFlags, CWD, statat};

use super::listing::Listing;
use super::{WalkError, WalkProblem};
use crate::directory::Directory;

/// One thing to walk: a file, a directory with all it holds, or a link.
///
/// It is stored under its last component. A path that ends in `/`, `.` or `..` has none, and stands for
/// what the directory holds, without the directory. A link is kept as a link, not followed, unless a
/// `/` follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkSource {
    /// Where it is, as the user would say it.
    pub path: PathBuf,
    /// Stored under this name instead, of one component; a path that ends in `/` then stands for the
    /// directory too.
    pub name: Option<RelativePath>,
}

impl WalkSource {
    /// Stored under its own name.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            name: None,
        }
    }
}

/// Why a walk cannot begin. Paths are escaped for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A source is missing, or may not be looked at.
    #[error("{path}: {error}")]
    Unreadable {
        /// The source as it was given.
        path: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// Two sources would have the same name.
    #[error("{first} and {second} would both be stored as {name}")]
    SameName {
        /// The one source.
        first: String,
        /// The other.
        second: String,
        /// The name.
        name: String,
    },
    /// A name was given that has several components, whose directories no source describes.
    #[error("{name}: a source is stored under a single name, not under a path")]
    NameIsPath {
        /// The name that was given.
        name: String,
    },
}

/// How the user would know what lies beneath one source.
#[derive(Debug)]
pub(super) struct Origin {
    /// The source's path as it was given.
    shown: PathBuf,
    /// How many bytes of a manifest path that stands for.
    covers: usize,
}

impl Origin {
    /// The user's path of what the manifest calls `path`, escaped.
    pub(super) fn display(&self, path: &[u8]) -> String {
        let mut bytes = self.shown.as_os_str().as_bytes().to_vec();
        let rest = &path[self.covers..];
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        if !rest.is_empty() && !bytes.ends_with(b"/") {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(rest);
        Escaped(&bytes).to_string()
    }

    pub(super) fn error(&self, path: &[u8], problem: WalkProblem) -> WalkError {
        WalkError {
            path: self.display(path),
            problem,
        }
    }
}

/// One entry of the top level, not looked at yet.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) path: RelativePath,
    pub(super) origin: Arc<Origin>,
    pub(super) location: Location,
}

/// Where it is on disk.
#[derive(Debug)]
pub(super) enum Location {
    /// Under this name in this directory.
    In(Arc<Directory>, Box<[u8]>),
    /// It is this directory itself.
    Itself(Directory),
}

/// A source with a name of its own in the manifest.
#[derive(Debug)]
struct Single {
    path: RelativePath,
    source: PathBuf,
}

/// A source that stands for what it holds.
#[derive(Debug)]
struct Contents {
    origin: Arc<Origin>,
    directory: Arc<Directory>,
    listing: Listing,
    /// The next name; `None` until it is asked for.
    head: Option<RelativePath>,
}

/// The top level of all sources, merged in canonical order.
#[derive(Debug)]
pub(super) struct TopLevel {
    /// By name, last first.
    singles: Vec<Single>,
    contents: Vec<Contents>,
    last: Option<RelativePath>,
    /// The directory that held the last single source, which often holds the next as well.
    parent: Option<(PathBuf, Arc<Directory>)>,
}

impl TopLevel {
    /// Looks at every source; `names` is what all listings together may hold, in bytes.
    pub(super) fn new(sources: Vec<WalkSource>, names: usize) -> Result<Self, SourceError> {
        let mut singles = Vec::new();
        let mut contents = Vec::new();
        for source in sources {
            match single_name(&source)? {
                Some(path) => singles.push(look_at(path, source.path)?),
                None => contents.push(source.path),
            }
        }
        singles.sort_by(|a, b| b.path.cmp(&a.path));
        refuse_same_names(&singles)?;
        let share = names / contents.len().max(1);
        let open = |path| Contents::open(path, share);
        Ok(Self {
            singles,
            contents: contents.into_iter().map(open).collect::<Result<_, _>>()?,
            last: None,
            parent: None,
        })
    }

    /// The next entry of the top level, with `buffer` to read directories into.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Option<Result<Top, WalkError>> {
        if let Err(error) = self.fill_heads(buffer) {
            return Some(Err(error));
        }
        let single = self.singles.last().map(|single| (&single.path, None));
        let heads = self.contents.iter().enumerate();
        let heads = heads.filter_map(|(i, contents)| Some((contents.head.as_ref()?, Some(i))));
        // Of equal names the first wins, and single sources come first.
        let (_, from) = single
            .into_iter()
            .chain(heads)
            .min_by_key(|(path, _)| *path)?;
        let top = match from {
            None => {
                let single = self.singles.pop()?;
                self.top_of(single)
            }
            Some(i) => Ok(self.contents[i].take()?),
        };
        Some(top.and_then(|top| self.refuse_repeated(top)))
    }

    /// Bytes of names in use.
    pub(super) fn held(&self) -> usize {
        let listings = self.contents.iter().map(|contents| &contents.listing);
        listings.map(Listing::held).sum()
    }

    /// Frees them. The directories are read again for what was not given yet.
    pub(super) fn forget(&mut self) {
        for contents in &mut self.contents {
            contents.listing.forget();
        }
    }

    /// Sees to it that every contents source shows its next name; one that has none is done.
    fn fill_heads(&mut self, buffer: &mut Vec<u8>) -> Result<(), WalkError> {
        let mut i = 0;
        while let Some(contents) = self.contents.get_mut(i) {
            match contents.fill_head(buffer) {
                Ok(true) => i += 1,
                Ok(false) => drop(self.contents.remove(i)),
                Err(error) => {
                    self.contents.remove(i);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn top_of(&mut self, single: Single) -> Result<Top, WalkError> {
        let origin = Arc::new(Origin {
            covers: single.path.as_bytes().len(),
            shown: single.source,
        });
        let location = self
            .locate(&origin.shown)
            .map_err(|error| origin.error(single.path.as_bytes(), WalkProblem::Io(error)))?;
        Ok(Top {
            path: single.path,
            origin,
            location,
        })
    }

    fn locate(&mut self, source: &Path) -> io::Result<Location> {
        let Some((parent, name)) = split(source) else {
            return Directory::open_root(source).map(Location::Itself);
        };
        let directory = match &self.parent {
            Some((path, directory)) if path.as_os_str() == parent.as_os_str() => directory,
            _ => {
                let opened = Arc::new(Directory::open_root(parent)?);
                &self.parent.insert((parent.to_owned(), opened)).1
            }
        };
        Ok(Location::In(Arc::clone(directory), name.into()))
    }

    fn refuse_repeated(&mut self, top: Top) -> Result<Top, WalkError> {
        if self.last.as_ref() == Some(&top.path) {
            return Err(top.origin.error(top.path.as_bytes(), WalkProblem::SameName));
        }
        self.last = Some(top.path.clone());
        Ok(top)
    }
}

impl Contents {
    fn open(path: PathBuf, names: usize) -> Result<Self, SourceError> {
        let directory = Directory::open_root(&path).map_err(|error| unreadable(&path, error))?;
        Ok(Self {
            origin: Arc::new(Origin {
                shown: path,
                covers: 0,
            }),
            directory: Arc::new(directory),
            listing: Listing::new(names),
            head: None,
        })
    }

    /// Whether there is a next name.
    fn fill_head(&mut self, buffer: &mut Vec<u8>) -> Result<bool, WalkError> {
        if self.head.is_some() {
            return Ok(true);
        }
        let failed = |error: io::Error| self.origin.error(b"", WalkProblem::Io(error));
        let name = self.listing.next(&self.directory, buffer);
        let Some(name) = name.map_err(|error| failed(error.into()))? else {
            return Ok(false);
        };
        let head = Name::parse(&name)
            .map(Name::to_path)
            .map_err(|error| self.origin.error(&name, WalkProblem::Unnameable(error)))?;
        self.head = Some(head);
        Ok(true)
    }

    fn take(&mut self) -> Option<Top> {
        let path = self.head.take()?;
        let name = path.as_bytes().into();
        Some(Top {
            path,
            origin: Arc::clone(&self.origin),
            location: Location::In(Arc::clone(&self.directory), name),
        })
    }
}

/// The name a source is stored under; `None` if it stands for what it holds.
fn single_name(source: &WalkSource) -> Result<Option<RelativePath>, SourceError> {
    if let Some(name) = &source.name {
        return match name.parent_bytes() {
            None => Ok(Some(name.clone())),
            Some(_) => Err(SourceError::NameIsPath {
                name: name.to_string(),
            }),
        };
    }
    let Some((_, name)) = split(&source.path) else {
        return Ok(None);
    };
    let name = Name::parse(name).map_err(|error| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, error);
        unreadable(&source.path, error)
    })?;
    Ok(Some(name.to_path()))
}

/// A path as the directory that holds what it names, and its name there; `None` where the path ends in
/// no name. By bytes: `Path` would not tell `a` from `a/` and `a/.`.
fn split(path: &Path) -> Option<(&Path, &[u8])> {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes
        .iter()
        .rposition(|&b| b == b'/')
        .map_or(0, |slash| slash + 1);
    let (parent, name) = bytes.split_at(start);
    let parent = match parent {
        b"" => b".",
        parent => parent,
    };
    let named = !matches!(name, b"." | b"..") && (!name.is_empty() || bytes.is_empty());
    named.then(|| (Path::new(std::ffi::OsStr::from_bytes(parent)), name))
}

/// Sees to it that the source is there, so that nothing is sent where one was mistyped.
fn look_at(path: RelativePath, source: PathBuf) -> Result<Single, SourceError> {
    let looked = match split(&source) {
        Some(_) => statat(CWD, &source, AtFlags::SYMLINK_NOFOLLOW)
            .map(drop)
            .map_err(Into::into),
        None => Directory::open_root(&source).map(drop),
    };
    match looked {
        Ok(()) => Ok(Single { path, source }),
        Err(error) => Err(unreadable(&source, error)),
    }
}

fn refuse_same_names(sorted: &[Single]) -> Result<(), SourceError> {
    let show = |path: &Path| Escaped(path.as_os_str().as_bytes()).to_string();
    for pair in sorted.windows(2) {
        if pair[0].path == pair[1].path {
            return Err(SourceError::SameName {
                first: show(&pair[0].source),
                second: show(&pair[1].source),
                name: pair[0].path.to_string(),
            });
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: io::Error) -> SourceError {
    SourceError::Unreadable {
        path: Escaped(path.as_os_str().as_bytes()).to_string(),
        error,
    }
}
