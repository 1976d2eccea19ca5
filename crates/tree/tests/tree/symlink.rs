//! Links that are stored as links.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use packhorse_proto::entry::{LinkTarget, Timestamp};
use packhorse_tree::{Existing, NodeKind, PlaceError, Placed};
use tempfile::{TempDir, tempdir};

use crate::fixture::{directory, name, names_in};

fn link(
    root: &TempDir,
    text: &str,
    target: &[u8],
    existing: Existing,
) -> Result<Placed, PlaceError> {
    let modified = Timestamp::new(-5, 123_456_789).unwrap();
    let target = LinkTarget::new(target).unwrap();
    directory(root.path()).make_symlink(name(text), &target, modified, existing)
}

fn target_of(root: &TempDir, text: &str) -> Vec<u8> {
    let target = fs::read_link(root.path().join(text)).unwrap();
    target.as_os_str().as_bytes().to_vec()
}

#[test]
fn a_link_has_its_own_time_and_any_target() {
    let root = tempdir().unwrap();
    let long = [b'x'; 4095];
    for (text, target) in [("a", &b"../../etc"[..]), ("b", b"/\xff\n"), ("c", &long)] {
        assert_eq!(
            link(&root, text, target, Existing::Keep).unwrap(),
            Placed::Stored
        );
        assert_eq!(target_of(&root, text), target);
        let stat = fs::symlink_metadata(root.path().join(text)).unwrap();
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (-5, 123_456_789));
    }
    assert_eq!(names_in(root.path()), ["a", "b", "c"]);
}

#[test]
fn what_has_the_name_is_replaced_or_kept() {
    let root = tempdir().unwrap();
    fs::write(root.path().join("file"), "precious").unwrap();
    link(&root, "link", b"file", Existing::Keep)
        .map(drop)
        .unwrap();
    assert_eq!(
        link(&root, "link", b"new", Existing::Keep).unwrap(),
        Placed::Kept
    );
    assert_eq!(
        link(&root, "file", b"new", Existing::Keep).unwrap(),
        Placed::Kept
    );
    assert_eq!(target_of(&root, "link"), b"file");
    assert_eq!(
        link(&root, "link", b"new", Existing::Replace).unwrap(),
        Placed::Stored
    );
    assert_eq!(target_of(&root, "link"), b"new");
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"precious");
    assert_eq!(
        link(&root, "file", b"new", Existing::Replace).unwrap(),
        Placed::Stored
    );
    assert_eq!(target_of(&root, "file"), b"new");
    assert_eq!(names_in(root.path()), ["file", "link"]);
}

#[test]
fn a_directory_in_the_way_is_an_error() {
    let root = tempdir().unwrap();
    fs::create_dir(root.path().join("taken")).unwrap();
    let error = link(&root, "taken", b"new", Existing::Replace).unwrap_err();
    let by = NodeKind::Directory;
    assert!(matches!(error, PlaceError::Obstructed { by: b, .. } if b == by));
    assert_eq!(names_in(root.path()), ["taken"]);
}
