//! Modes and times, exactly as given.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use packhorse_tree::{Existing, Placed};
use tempfile::tempdir;

use crate::child::{Setting, rerun};
use crate::fixture::{directory, metadata, name};

#[test]
fn modes_are_exact_under_a_strict_umask() {
    let test = "metadata::modes_are_exact_under_a_strict_umask";
    rerun(test, &Setting::After("umask 077"), modes_are_exact);
}

#[test]
fn modes_are_exact_without_a_umask() {
    let test = "metadata::modes_are_exact_without_a_umask";
    rerun(test, &Setting::After("umask 000"), modes_are_exact);
}

fn modes_are_exact() {
    let root = tempdir().unwrap();
    let opened = directory(root.path());
    for mode in [0o000, 0o400, 0o644, 0o666, 0o755, 0o777] {
        let (file, child) = (format!("file-{mode:o}"), format!("directory-{mode:o}"));
        let metadata = metadata(mode, 1_000_000_000, 0);
        let stored = opened.store_file(name(&file), b"x", metadata, Existing::Keep);
        assert_eq!(stored.unwrap(), Placed::Stored);
        opened
            .make_child(name(&child))
            .unwrap()
            .0
            .set_metadata(metadata)
            .unwrap();
        let stat = Command::new("stat")
            .args(["-c", "%a %Y", &file, &child])
            .current_dir(root.path())
            .output()
            .unwrap();
        let expected = format!("{mode:o} 1000000000\n").repeat(2);
        assert_eq!(String::from_utf8_lossy(&stat.stdout), expected);
    }
}

#[test]
fn times_are_exact_to_the_nanosecond() {
    let root = tempdir().unwrap();
    let opened = directory(root.path());
    for (seconds, nanoseconds) in [
        (0, 0),
        (0, 1),
        (1_700_000_000, 999_999_999),
        (-1, 999_999_999),
        (-1_000_000, 1),
        (4_294_967_296, 5),
    ] {
        let metadata = metadata(0o600, seconds, nanoseconds);
        let stored = opened.store_file(name("f"), b"x", metadata, Existing::Replace);
        assert_eq!(stored.unwrap(), Placed::Stored);
        let (child, _) = opened.make_child(name("d")).unwrap();
        child.set_metadata(metadata).unwrap();
        for text in ["f", "d"] {
            let stat = fs::metadata(root.path().join(text)).unwrap();
            let time = (stat.mtime(), stat.mtime_nsec());
            assert_eq!(time, (seconds, i64::from(nanoseconds)), "{text}");
        }
    }
}

#[test]
fn metadata_is_there_when_the_name_is() {
    let root = tempdir().unwrap();
    let opened = directory(root.path());
    let start = Instant::now();
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            for number in 0..300 {
                let path = root.path().join(number.to_string());
                let stat = loop {
                    if let Ok(stat) = fs::metadata(&path) {
                        break stat;
                    }
                    assert!(start.elapsed() < Duration::from_secs(30), "{number}");
                };
                assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o604, 5), "{number}");
            }
        });
        for number in 0..300 {
            let metadata = metadata(0o604, 5, 0);
            let name_of = number.to_string();
            let stored = opened.store_file(name(&name_of), b"x", metadata, Existing::Keep);
            assert_eq!(stored.unwrap(), Placed::Stored);
        }
        watcher.join().unwrap();
    });
}

#[test]
fn the_time_of_the_last_access_is_left_alone() {
    let root = tempdir().unwrap();
    let before = fs::metadata(root.path()).unwrap();
    directory(root.path())
        .set_metadata(metadata(0o700, 5, 0))
        .unwrap();
    let after = fs::metadata(root.path()).unwrap();
    assert_eq!(
        (before.atime(), before.atime_nsec()),
        (after.atime(), after.atime_nsec())
    );
    assert_eq!(after.mtime(), 5);
}
