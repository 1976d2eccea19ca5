//! Comparing trees with other programs than ours: `diff`, `find`, `cmp`, `rsync`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `find` says of an entry, its path aside.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    kind: String,
    mode: u32,
    modified: String,
    link: Vec<u8>,
    /// Of regular files only: a directory's depends on its history.
    size: Option<String>,
}

/// The bits that cross: setuid, setgid and sticky do not.
const PERMISSIONS: u32 = 0o777;

/// Byte for byte, mode for mode, time for time, link for link.
#[track_caller]
pub(crate) fn assert_same_tree(source: &Path, arrived: &Path) {
    let mut expected = find(source);
    for found in expected.values_mut() {
        found.mode &= PERMISSIONS;
    }
    let actual = find(arrived);
    let mut differences = Vec::new();
    for path in expected
        .keys()
        .chain(actual.keys().filter(|path| !expected.contains_key(*path)))
    {
        let (expected, actual) = (expected.get(path), actual.get(path));
        if expected != actual {
            let path = path.escape_ascii();
            differences.push(format!(
                "{path}\n  source  {expected:?}\n  arrived {actual:?}"
            ));
        }
    }
    let count = differences.len();
    differences.truncate(10);
    assert!(
        differences.is_empty(),
        "{count} differ:\n{}",
        differences.join("\n")
    );
    assert_silent(
        Command::new("diff")
            .args(["--recursive", "--brief", "--no-dereference"])
            .args([source, arrived]),
    );
}

/// The same content; nothing said of metadata.
#[track_caller]
pub(crate) fn assert_same_file(source: &Path, arrived: &Path) {
    assert_silent(Command::new("cmp").args([source, arrived]));
}

/// A directory in which nothing has appeared.
#[track_caller]
pub(crate) fn assert_untouched(directory: &Path) {
    let found = find(directory);
    let names: Vec<_> = found.keys().filter(|path| !path.is_empty()).collect();
    let names: Vec<_> = names
        .iter()
        .map(|name| name.escape_ascii().to_string())
        .collect();
    assert!(names.is_empty(), "in {}: {names:?}", directory.display());
}

/// What `rsync` would still have to do to make the trees alike: nothing. It compares content, link
/// targets, permissions and times to the nanosecond; only for trees without setuid, setgid and sticky.
#[track_caller]
pub(crate) fn assert_rsync_has_nothing_to_do(source: &Path, arrived: &Path) {
    let inside = |path: &Path| {
        let mut path = path.as_os_str().to_owned();
        path.push("/");
        path
    };
    assert_silent(
        Command::new("rsync")
            .args([
                "--dry-run",
                "--recursive",
                "--links",
                "--perms",
                "--times",
                "--checksum",
            ])
            .args(["--delete", "--itemize-changes", "--modify-window=-1"])
            .args([inside(source), inside(arrived)]),
    );
}

/// What a session left that the next one goes on from: parts of `large` files at most, and what is known of them.
#[track_caller]
pub(crate) fn assert_only_remains(destination: &Path, large: usize) {
    let left = parts_left(destination);
    let parts = left.journaled + left.others;
    assert!(parts <= large, "{left:?}");
}

/// The same of a receiver that was killed and had files to replace: each of its threads may have left a small one under
/// the name that this has before it takes the place of the other. The next session removes it.
#[track_caller]
pub(crate) fn assert_only_remains_of_killed(destination: &Path, large: usize) {
    /// More than a receiver has of threads here.
    const THREADS: usize = 16;
    let left = parts_left(destination);
    let expected = left.journaled <= large && left.others <= THREADS;
    assert!(expected, "{left:?}");
}

/// How many parts of files were left.
#[derive(Debug, Default)]
struct PartsLeft {
    journaled: usize,
    others: usize,
}

/// Counts what a session left that the next one goes on from, and finds nothing else.
#[track_caller]
fn parts_left(destination: &Path) -> PartsLeft {
    let found = find(destination);
    let mut left = PartsLeft::default();
    for path in found.keys() {
        let mut names = path.split(|&b| b == b'/');
        let Some(own) = names.find(|name| name.starts_with(b".packhorse")) else {
            continue;
        };
        match (names.next(), path.strip_suffix(b".part")) {
            (None, Some(id)) => {
                let journal = [id, b".journal"].concat();
                match found.contains_key(&journal) {
                    true => left.journaled += 1,
                    false => left.others += 1,
                }
            }
            (None, None) => assert!(own == b".packhorse" || own.ends_with(b".journal")),
            (Some(roll), _) => assert!(roll.ends_with(b".stored") && names.next().is_none()),
        }
    }
    left
}

/// The one partial file in a directory.
#[track_caller]
pub(crate) fn partial_file(directory: &Path) -> PathBuf {
    let found = fs::read_dir(directory).expect("a directory");
    let paths = found.map(|entry| entry.expect("an entry").path());
    let mut parts = paths.filter(|path| path.extension().is_some_and(|kind| kind == "part"));
    let part = parts.next().expect("one");
    assert_eq!(parts.next(), None);
    part
}

/// Names that a receiver uses for itself; none may be left.
#[track_caller]
pub(crate) fn assert_nothing_left_over(destination: &Path) {
    let found = find(destination);
    let own = found.keys().filter(|path| {
        let mut names = path.split(|&b| b == b'/');
        names.any(|name| name.starts_with(b".packhorse"))
    });
    let left: Vec<String> = own.map(|path| path.escape_ascii().to_string()).collect();
    assert!(left.is_empty(), "left over: {left:?}");
}

#[track_caller]
fn assert_silent(command: &mut Command) {
    let output = command.output().expect("a program to compare with");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{:?} ended with {}\n{said}{complained}",
        command.get_program(),
        output.status
    );
}

/// Everything beneath a directory and itself, by path.
fn find(directory: &Path) -> BTreeMap<Vec<u8>, Found> {
    let output = Command::new("find")
        .arg(directory)
        .args(["-printf", r"%P\0%y\0%m\0%T@\0%l\0%s\0"])
        .output()
        .expect("find");
    assert!(
        output.status.success(),
        "find: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut fields = output.stdout.split(|&b| b == 0);
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).expect("ASCII from find");
    let mut found = BTreeMap::new();
    while let Some([path, kind, mode, modified, link, size]) = next_fields(&mut fields) {
        let kind = text(kind);
        let entry = Found {
            mode: u32::from_str_radix(&text(mode), 8).expect("an octal number"),
            modified: text(modified),
            link: link.to_vec(),
            size: (kind == "f").then(|| text(size)),
            kind,
        };
        found.insert(path.to_vec(), entry);
    }
    found
}

/// The next six fields; `None` at the end, where one empty piece follows the last NUL.
fn next_fields<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<[&'a [u8]; 6]> {
    let six: Vec<&[u8]> = fields.take(6).collect();
    six.try_into().ok()
}

/// The hash that `b3sum` gives each file, in order.
pub(crate) fn b3sums(b3sum: &Path, files: &[impl AsRef<Path>]) -> Vec<String> {
    let output = Command::new(b3sum)
        .args(["--no-names", "--"])
        .args(files.iter().map(AsRef::as_ref))
        .output()
        .expect("b3sum");
    assert!(output.status.success(), "b3sum failed");
    let text = String::from_utf8(output.stdout).expect("ASCII from b3sum");
    text.lines().map(str::to_owned).collect()
}

/// Whether `arrived` is how `source`, which only grew since, once was.
pub(crate) fn is_earlier_state(arrived: &Path, source: &Path) -> bool {
    let (arrived, source) = (fs::read(arrived), fs::read(source));
    let (arrived, source) = (arrived.expect("a file"), source.expect("a file"));
    source.starts_with(&arrived)
}
