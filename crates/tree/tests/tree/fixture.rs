//! Trees to test with, and what others say of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use packhorse_proto::entry::{Entry, Kind, Metadata, Mode, Timestamp};
use packhorse_proto::path::{Name, RelativePath};
use packhorse_tree::{Directory, Walk, WalkError, WalkSource};

pub(crate) fn name(text: &str) -> Name<'_> {
    Name::parse(text.as_bytes()).unwrap()
}

pub(crate) fn path(text: &str) -> RelativePath {
    RelativePath::parse(text.as_bytes()).unwrap()
}

pub(crate) fn directory(path: &Path) -> Arc<Directory> {
    Arc::new(Directory::open_root(path).unwrap())
}

pub(crate) fn metadata(mode: u32, seconds: i64, nanoseconds: u32) -> Metadata {
    Metadata {
        mode: Mode::from_st_mode(mode),
        modified: Timestamp::new(seconds, nanoseconds).unwrap(),
        change: None,
    }
}

/// The names in a directory, sorted: whatever was left behind is among them.
pub(crate) fn names_in(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What one entry is, in the words of find: path, type, mode, size, time and target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) path: Vec<u8>,
    about: Vec<u8>,
}

/// What `find` says is beneath `root`, sorted component by component, without help from the crate.
pub(crate) fn find(root: &Path) -> Vec<Line> {
    let output = Command::new("find")
        .arg(root)
        .args(["-mindepth", "1", "-printf", "%P\\0%y %m %s %T@ %l\\0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let fields: Vec<&[u8]> = output.stdout.split(|&b| b == 0).collect();
    let mut lines: Vec<Line> = fields.chunks_exact(2).map(line_of_find).collect();
    lines.sort_by(|a, b| components(&a.path).cmp(components(&b.path)));
    lines
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
}

fn line_of_find(fields: &[&[u8]]) -> Line {
    let mut words: Vec<Vec<u8>> = fields[1].splitn(5, |&b| b == b' ').map(Vec::from).collect();
    if words[0] != b"f" {
        words[2] = b"-".to_vec();
    }
    // find prints ten digits of the nanoseconds' nine.
    assert_eq!(words[3].pop(), Some(b'0'));
    Line {
        path: fields[0].to_vec(),
        about: words.join(&b' '),
    }
}

/// An entry in the same words.
pub(crate) fn line_of(entry: &Entry) -> Line {
    let (letter, size, target) = match &entry.kind {
        Kind::Directory => ("d", "-".to_owned(), &b""[..]),
        Kind::File { size } => ("f", size.unwrap().to_string(), &b""[..]),
        Kind::Symlink { target } => ("l", "-".to_owned(), target.as_bytes()),
    };
    let Metadata { mode, modified, .. } = entry.metadata;
    let time = format!("{}.{:09}", modified.seconds(), modified.nanoseconds());
    let mut about = format!("{letter} {:o} {size} {time} ", mode.bits()).into_bytes();
    about.extend_from_slice(target);
    Line {
        path: entry.path.as_bytes().to_vec(),
        about,
    }
}

/// The sources of what `root` holds.
pub(crate) fn contents_of(root: &Path) -> Vec<WalkSource> {
    vec![WalkSource::new(root.join(""))]
}

/// What a walk found, and what it could not send.
pub(crate) fn outcome(walk: Walk) -> (Vec<Line>, Vec<WalkError>) {
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    for item in walk {
        match item {
            Ok(found) => lines.push(line_of(&found.entry)),
            Err(error) => errors.push(error),
        }
    }
    (lines, errors)
}

/// The paths of a walk that finds everything.
pub(crate) fn paths(sources: Vec<WalkSource>) -> Vec<String> {
    let (lines, errors) = outcome(Walk::new(sources).unwrap());
    assert!(errors.is_empty(), "{errors:?}");
    let text = |line: Line| String::from_utf8(line.path).unwrap();
    lines.into_iter().map(text).collect()
}

pub(crate) fn write(root: &Path, name: impl AsRef<[u8]>) {
    let path = root.join(OsStr::from_bytes(name.as_ref()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, name).unwrap();
}
