//! How a file takes its name, and what becomes of what had it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use packhorse_proto::entry::Mode;
use packhorse_tree::{Existing, NodeKind, PlaceError, Placed};
use tempfile::tempdir;

use crate::fixture::{directory, metadata, name, names_in};

#[test]
fn a_file_has_no_name_until_it_is_whole() {
    let root = tempdir().unwrap();
    let file = directory(root.path())
        .create_file(Mode::from_st_mode(0o644))
        .unwrap();
    file.turn().write_at(b"later", 5).unwrap();
    file.turn().write_at(b"first", 0).unwrap();
    assert!(names_in(root.path()).is_empty());
    let placed = file.commit(name("file"), metadata(0o640, 7, 8), Existing::Keep);
    assert_eq!(placed.unwrap(), Placed::Stored);
    assert_eq!(names_in(root.path()), ["file"]);
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"firstlater");
}

#[test]
fn a_dropped_file_leaves_nothing() {
    let root = tempdir().unwrap();
    let file = directory(root.path())
        .create_file(Mode::from_st_mode(0o644))
        .unwrap();
    file.turn().write_at(&[1; 100_000], 0).unwrap();
    drop(file);
    assert!(names_in(root.path()).is_empty());
}

#[test]
fn extents_are_written_from_several_threads() {
    let root = tempdir().unwrap();
    let file = directory(root.path())
        .create_file(Mode::from_st_mode(0o644))
        .unwrap();
    thread::scope(|scope| {
        for part in 0..8_u8 {
            let file = &file;
            scope.spawn(move || file.turn().write_at(&[part; 65_536], u64::from(part) << 16));
        }
    });
    let placed = file.commit(name("file"), metadata(0o600, 0, 0), Existing::Keep);
    assert_eq!(placed.unwrap(), Placed::Stored);
    let content = fs::read(root.path().join("file")).unwrap();
    let expected: Vec<u8> = (0..8).flat_map(|part| [part; 65_536]).collect();
    assert!(content == expected);
}

/// Ends the other thread, also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn replacing_a_file_shows_the_old_or_the_new_and_nothing_between() {
    let root = tempdir().unwrap();
    let target = root.path().join("file");
    let store = |content: &[u8]| {
        let metadata = metadata(0o600, 0, 0);
        directory(root.path()).store_file(name("file"), content, metadata, Existing::Replace)
    };
    assert_eq!(store(&[0; 4096]).unwrap(), Placed::Stored);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let content = fs::read(&target).unwrap();
                assert!(content.len() == 4096 && content.iter().all(|&b| b == content[0]));
            }
        });
        let _stop = Stop(&done);
        for round in 1..=200 {
            assert_eq!(store(&[round; 4096]).unwrap(), Placed::Stored);
        }
    });
    assert_eq!(fs::read(&target).unwrap(), [200; 4096]);
    assert_eq!(names_in(root.path()), ["file"]);
}

#[test]
fn a_replaced_link_leaves_its_target_alone() {
    let root = tempdir().unwrap();
    fs::write(root.path().join("target"), "precious").unwrap();
    symlink("target", root.path().join("link")).unwrap();
    let before = fs::metadata(root.path().join("target")).unwrap();
    let stored = directory(root.path()).store_file(
        name("link"),
        b"new",
        metadata(0o600, 0, 0),
        Existing::Replace,
    );
    assert_eq!(stored.unwrap(), Placed::Stored);
    assert!(
        fs::symlink_metadata(root.path().join("link"))
            .unwrap()
            .is_file()
    );
    let after = fs::metadata(root.path().join("target")).unwrap();
    assert_eq!(before.ino(), after.ino());
    assert_eq!(fs::read(root.path().join("target")).unwrap(), b"precious");
    assert_eq!(names_in(root.path()), ["link", "target"]);
}

#[test]
fn what_exists_is_kept_when_asked() {
    let root = tempdir().unwrap();
    fs::write(root.path().join("file"), "old").unwrap();
    symlink("nowhere", root.path().join("link")).unwrap();
    fs::create_dir(root.path().join("directory")).unwrap();
    let before = fs::metadata(root.path().join("file")).unwrap();
    for taken in ["file", "link", "directory"] {
        let stored = directory(root.path()).store_file(
            name(taken),
            b"new",
            metadata(0o777, 0, 0),
            Existing::Keep,
        );
        assert_eq!(stored.unwrap(), Placed::Kept, "{taken}");
    }
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"old");
    let after = fs::metadata(root.path().join("file")).unwrap();
    assert_eq!(
        (before.mode(), before.mtime()),
        (after.mode(), after.mtime())
    );
    assert!(!root.path().join("nowhere").exists());
    assert_eq!(names_in(root.path()), ["directory", "file", "link"]);
}

#[test]
fn a_directory_in_the_way_is_named_and_nothing_is_left() {
    let root = tempdir().unwrap();
    fs::create_dir(root.path().join("taken\u{7}")).unwrap();
    let stored = directory(root.path()).store_file(
        name("taken\u{7}"),
        b"new",
        metadata(0o600, 0, 0),
        Existing::Replace,
    );
    let error = stored.unwrap_err();
    assert_eq!(error.to_string(), "taken\\u{7}: a directory is in the way");
    let PlaceError::Obstructed { by, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(by, NodeKind::Directory);
    assert_eq!(names_in(root.path()), ["taken\u{7}"]);
}

#[test]
fn a_directory_that_was_removed_takes_no_file() {
    let root = tempdir().unwrap();
    let gone = root.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let open = directory(&gone);
    let file = open.create_file(Mode::from_st_mode(0o644)).unwrap();
    fs::remove_dir(&gone).unwrap();
    assert!(open.create_file(Mode::from_st_mode(0o644)).is_err());
    let committed = file.commit(name("file"), metadata(0o600, 0, 0), Existing::Replace);
    assert!(matches!(committed, Err(PlaceError::Io { .. })));
}

#[test]
fn an_empty_file_is_stored_in_one_call() {
    let root = tempdir().unwrap();
    let stored = directory(root.path()).store_file(
        name("empty"),
        b"",
        metadata(0o444, 1, 2),
        Existing::Keep,
    );
    assert_eq!(stored.unwrap(), Placed::Stored);
    assert_eq!(fs::metadata(root.path().join("empty")).unwrap().len(), 0);
}
