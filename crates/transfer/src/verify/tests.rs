use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, SystemTime};

use packhorse_proto::message::Assurance;
use packhorse_proto::path::MAX_NAME;
use tempfile::TempDir;

use super::*;
use crate::receipt::StageTimes;
use crate::receipt_file::ReceiptWriter;

/// A directory with a little of everything, and the receipt for it.
struct Received {
    directory: TempDir,
    receipt: Vec<u8>,
}

impl Received {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/big"), vec![7; 3 * BUFFER + 5]).unwrap();
        fs::write(root.join("a/empty"), "").unwrap();
        symlink("big", root.join("a/link")).unwrap();
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"odd\xff\n")), "odd").unwrap();
        fs::write(root.join("z".repeat(MAX_NAME)), "last").unwrap();
        let receipt = receipt_for(root);
        Self { directory, receipt }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join(path)
    }

    fn verify(&self) -> (Vec<Difference>, VerifySummary) {
        let mut differences = Vec::new();
        let summary = verify(
            self.directory.path(),
            &mut &self.receipt[..],
            &mut |difference| {
                differences.push(difference);
            },
        );
        (differences, summary.unwrap())
    }

    /// What differs, apart from times: changing anything changes those of a directory.
    fn named(&self) -> Vec<(String, Differs)> {
        let (differences, _) = self.verify();
        let named = differences
            .into_iter()
            .map(|d| (d.path.to_string(), d.what));
        named
            .filter(|(_, what)| !matches!(what, Differs::Modified { .. }))
            .collect()
    }

    fn damaged(&self, from: &str, to: &str) -> VerifyError {
        let text = String::from_utf8(self.receipt.clone()).unwrap();
        let damaged = text.replacen(from, to, 1);
        assert_ne!(text, damaged);
        verify(self.directory.path(), &mut damaged.as_bytes(), &mut |_| ()).unwrap_err()
    }
}

fn receipt_for(root: &Path) -> Vec<u8> {
    let mut writer = ReceiptWriter::new(Vec::new()).unwrap();
    let mut sums = Sums::default();
    for found in Walk::new(vec![WalkSource::new(root.join(""))]).unwrap() {
        let found = found.unwrap();
        let hash = found
            .file
            .map(|file| hash_file(&file.open().unwrap(), &mut [0; 100]).unwrap().0);
        writer.entry(&found.entry, hash.as_ref()).unwrap();
        sums.add(&found.entry, hash.as_ref());
    }
    let receipt = Receipt {
        files: sums.files,
        directories: sums.directories,
        symlinks: sums.symlinks,
        bytes: sums.bytes,
        kept: 0,
        failed: 0,
        resumed: 0,
        assurance: Assurance::default(),
        root: sums.root.finish(),
        elapsed: Duration::ZERO,
        lanes: 0,
        network: None,
        sender: StageTimes::default(),
        receiver: StageTimes::default(),
    };
    writer.finish(&receipt).unwrap()
}

fn one(path: &str, what: Differs) -> Vec<(String, Differs)> {
    vec![(path.to_owned(), what)]
}

#[test]
fn nothing_differs_from_its_own_receipt() {
    let (differences, summary) = Received::new().verify();
    assert_eq!(differences, []);
    assert!(summary.is_same());
    assert_eq!(summary.same, 6);
    assert_eq!(summary.bytes, 3 * BUFFER as u64 + 5 + 3 + 4);
}

#[test]
fn names_what_is_missing_and_what_is_extra() {
    let received = Received::new();
    fs::remove_file(received.path("a/big")).unwrap();
    fs::remove_file(received.path(&"z".repeat(MAX_NAME))).unwrap();
    fs::write(received.path("a/new"), "").unwrap();
    fs::create_dir(received.path(".packhorse")).unwrap();
    fs::write(received.path(".packhorse/journal"), "").unwrap();
    let expected = [
        ("a/big".to_owned(), Differs::Missing),
        ("a/new".to_owned(), Differs::Extra),
        ("z".repeat(MAX_NAME), Differs::Missing),
    ];
    assert_eq!(received.named(), expected);
    let (_, summary) = received.verify();
    assert_eq!(
        (summary.missing, summary.extra, summary.is_same()),
        (2, 1, false)
    );
}

#[test]
fn a_whole_directory_that_is_gone_is_named_with_all_it_held() {
    let received = Received::new();
    fs::remove_dir_all(received.path("a")).unwrap();
    let missing = received.named();
    let paths: Vec<&str> = missing.iter().map(|(path, _)| &**path).collect();
    assert_eq!(paths, ["a", "a/big", "a/empty", "a/link"]);
}

#[test]
fn a_single_bit_is_seen() {
    let received = Received::new();
    let mut bytes = vec![7; 3 * BUFFER + 5];
    bytes[2 * BUFFER] ^= 1;
    fs::write(received.path("a/big"), bytes).unwrap();
    assert_eq!(received.named(), one("a/big", Differs::Content));
    fs::write(received.path("a/big"), "short").unwrap();
    let expected = 3 * BUFFER as u64 + 5;
    assert_eq!(
        received.named(),
        one("a/big", Differs::Size { expected, found: 5 })
    );
}

#[test]
fn permissions_times_and_targets_count() {
    let received = Received::new();
    let empty = received.path("a/empty");
    let expected = Mode::from_st_mode(fs::metadata(&empty).unwrap().permissions().mode());
    fs::set_permissions(&empty, Permissions::from_mode(0o400)).unwrap();
    let found = Mode::from_st_mode(0o400);
    assert_eq!(
        received.named(),
        one("a/empty", Differs::Mode { expected, found })
    );
    fs::set_permissions(&empty, Permissions::from_mode(expected.bits().into())).unwrap();

    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1);
    let odd = received
        .path("")
        .join(std::ffi::OsStr::from_bytes(b"odd\xff\n"));
    let file = File::options().write(true).open(odd).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    let (differences, summary) = received.verify();
    assert_eq!(summary.different, 1);
    let found = Timestamp::new(0, 1).unwrap();
    assert!(matches!(differences[0].what, Differs::Modified { found: f, .. } if f == found));

    fs::remove_file(received.path("a/link")).unwrap();
    symlink("elsewhere", received.path("a/link")).unwrap();
    assert_eq!(received.named(), one("a/link", Differs::Target));
}

#[test]
fn another_kind_is_neither_followed_nor_opened() {
    let received = Received::new();
    fs::remove_file(received.path("a/empty")).unwrap();
    symlink("big", received.path("a/empty")).unwrap();
    assert_eq!(received.named(), one("a/empty", Differs::Kind));
    // A socket cannot be sent, so no walk lists it.
    fs::remove_file(received.path("a/empty")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(received.path("a/empty")).unwrap();
    assert_eq!(received.named(), one("a/empty", Differs::Kind));
}

#[test]
fn a_receipt_that_was_changed_is_refused() {
    let received = Received::new();
    for (from, to) in [
        (r#""path":"a/empty""#, r#""path":"a/emptx""#),
        (r#""path":"a/empty""#, r#""path":"zzz""#),
        (r#""size":0"#, r#""size":1"#),
        (r#""files":4"#, r#""files":5"#),
        (r#""target":"big""#, r#""target":"bag""#),
    ] {
        let error = received.damaged(from, to);
        assert!(matches!(error, VerifyError::Contradiction(_)), "{error}");
    }
    let error = received.damaged(r#""v":1"#, r#""v":2"#);
    assert!(matches!(
        error,
        VerifyError::Receipt(ReceiptFileError::Newer(2))
    ));
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let received = Received::new();
    let result = verify(
        &received.path("nowhere"),
        &mut &received.receipt[..],
        &mut |_| (),
    );
    assert!(
        matches!(result, Err(VerifyError::Directory(_))),
        "{result:?}"
    );
}
