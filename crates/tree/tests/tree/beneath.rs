//! Directories beneath a root, and what must not lead out of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use packhorse_tree::{Directory, Made, NodeKind, PlaceError};
use tempfile::tempdir;

use crate::fixture::{directory, metadata, name, path};

#[test]
fn a_root_may_be_behind_a_link_and_what_is_beneath_it_may_not() {
    let root = tempdir().unwrap();
    fs::create_dir_all(root.path().join("real/inner")).unwrap();
    symlink("real", root.path().join("link")).unwrap();
    let linked = Directory::open_root(&root.path().join("link")).unwrap();
    linked.open_beneath(&path("inner")).unwrap();
    let opened = directory(root.path());
    opened.open_beneath(&path("real/inner")).unwrap();
    opened.open_child(name("real")).unwrap();
    opened.open_child(name("link")).unwrap_err();
    opened.open_beneath(&path("link/inner")).unwrap_err();
    assert!(Directory::open_root(&root.path().join("missing")).is_err());
}

#[test]
fn a_directory_is_made_for_its_owner_or_used_as_it_is() {
    let root = tempdir().unwrap();
    let opened = directory(root.path());
    let (child, made) = opened.make_child(name("new")).unwrap();
    assert_eq!(made, Made::New);
    let on_disk = root.path().join("new");
    assert_eq!(fs::metadata(&on_disk).unwrap().mode() & 0o7777, 0o700);
    child.set_metadata(metadata(0o755, 1, 2)).unwrap();
    let (_, made) = opened.make_child(name("new")).unwrap();
    assert_eq!(made, Made::Existing);
    assert_eq!(fs::metadata(&on_disk).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn what_is_not_a_directory_is_not_entered_and_named() {
    let root = tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    symlink("/", root.path().join("link")).unwrap();
    symlink("nowhere", root.path().join("dangling")).unwrap();
    let opened = directory(root.path());
    for (text, kind) in [
        ("file", NodeKind::File),
        ("link", NodeKind::Symlink),
        ("dangling", NodeKind::Symlink),
    ] {
        let error = opened.make_child(name(text)).unwrap_err();
        assert!(
            matches!(error, PlaceError::Obstructed { by, .. } if by == kind),
            "{error}"
        );
    }
    assert!(!root.path().join("nowhere").exists());
    let error = opened.make_child(name("link")).unwrap_err();
    assert_eq!(error.to_string(), "link: a symbolic link is in the way");
}

#[test]
fn other_errors_of_the_system_keep_their_kind() {
    let root = tempdir().unwrap();
    let opened = directory(root.path());
    fs::remove_dir(root.path()).unwrap();
    let Err(PlaceError::Io { error, .. }) = opened.make_child(name("x")) else {
        panic!();
    };
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
