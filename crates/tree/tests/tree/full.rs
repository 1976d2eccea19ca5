//! A disk that is full.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use packhorse_proto::entry::Mode;
use packhorse_tree::{Existing, PlaceError};
use tempfile::tempdir;

use crate::fixture::{directory, metadata, name, names_in};

/// A tiny filesystem, gone with the value.
struct Tiny<'a>(&'a Path);

impl<'a> Tiny<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(at).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(at))
    }
}

impl Drop for Tiny<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test tells why")]
fn a_full_disk_is_an_error_of_its_own_and_leaves_nothing() {
    let root = tempdir().unwrap();
    let Some(_tiny) = Tiny::mount(root.path()) else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    let opened = directory(root.path());
    let content = vec![7; 100_000];
    let stored = opened.store_file(name("f"), &content, metadata(0o600, 0, 0), Existing::Keep);
    let Err(PlaceError::Io { error, .. }) = stored else {
        panic!("{stored:?}");
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(names_in(root.path()).is_empty());
    let file = opened.create_file(Mode::from_st_mode(0o644)).unwrap();
    let error = file.turn().write_at(&content, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    drop(file);
    let fits = opened.store_file(
        name("f"),
        &content[..50_000],
        metadata(0o600, 0, 0),
        Existing::Keep,
    );
    fits.map(drop).expect("what did not fit was given back");
}
