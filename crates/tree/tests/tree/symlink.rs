//! Links that are stored as links.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use packhorse_proto::entry::{LinkTarget, Timestamp};
use packhorse_tree::{Directory, Disk, Existing, NodeKind, PlaceError, Placed, Storage};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Timestamps};
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

/// Another session comes between the two names of a link and makes one for itself, so many times.
#[derive(Debug)]
struct Crowded(AtomicUsize);

impl Storage for Crowded {
    fn set_link_times(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        times: &Timestamps,
    ) -> rustix::io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            self.0.store(left - 1, Ordering::Relaxed);
            Disk.remove(directory, name, AtFlags::empty())?;
        }
        Disk.set_link_times(directory, name, times)
    }
}

#[test]
fn a_link_that_another_session_took_for_left_is_made_once_more() {
    let root = tempdir().unwrap();
    for (times, stored) in [(1, true), (2, false)] {
        let storage = Arc::new(Crowded(AtomicUsize::new(times)));
        let at = Directory::open_root_on(storage, root.path()).unwrap();
        let target = LinkTarget::new(b"target").unwrap();
        let modified = Timestamp::new(5, 6).unwrap();
        let made = at.make_symlink(name("link"), &target, modified, Existing::Replace);
        assert_eq!(made.is_ok(), stored, "{made:?}");
        assert_eq!(names_in(root.path()), ["link"]);
    }
    assert_eq!(target_of(&root, "link"), b"target");
}

/// A storage on which links never get their names.
#[derive(Debug)]
struct Dying;

impl Storage for Dying {
    fn rename(
        &self,
        _: BorrowedFd<'_>,
        _: &[u8],
        _: &[u8],
        _: rustix::fs::RenameFlags,
    ) -> rustix::io::Result<()> {
        Err(rustix::io::Errno::IO)
    }

    fn remove(&self, _: BorrowedFd<'_>, _: &[u8], _: AtFlags) -> rustix::io::Result<()> {
        Err(rustix::io::Errno::IO)
    }
}

#[test]
fn what_was_left_of_a_link_goes_when_it_is_made_again_and_nothing_else_does() {
    let root = tempdir().unwrap();
    let target = LinkTarget::new(b"target").unwrap();
    let modified = Timestamp::new(5, 6).unwrap();
    let at = Directory::open_root_on(Arc::new(Dying), root.path()).unwrap();
    let made = at.make_symlink(name("link"), &target, modified, Existing::Replace);
    made.unwrap_err();
    let [left] = &names_in(root.path())[..] else {
        panic!("one is left");
    };
    let _ = link(&root, "another", b"target", Existing::Replace).unwrap();
    assert_eq!(names_in(root.path()), [&left[..], "another"]);
    let _ = link(&root, "link", b"target", Existing::Keep).unwrap();
    assert_eq!(names_in(root.path()), ["another", "link"]);
    // A file of that name is nobody's who makes links.
    fs::remove_file(root.path().join("link")).unwrap();
    fs::write(root.path().join(left), "of the user").unwrap();
    let _ = link(&root, "link", b"target", Existing::Keep).unwrap();
    assert_eq!(names_in(root.path()), [&left[..], "another", "link"]);
    // A directory neither.
    fs::remove_file(root.path().join(left)).unwrap();
    fs::create_dir(root.path().join(left)).unwrap();
    let _ = link(&root, "link", b"other", Existing::Replace).unwrap();
    assert_eq!(names_in(root.path()), [&left[..], "another", "link"]);
}
