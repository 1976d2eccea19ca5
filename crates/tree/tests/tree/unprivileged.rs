//! What a user meets who is not root.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use packhorse_tree::{Existing, PlaceError, Placed, Walk, WalkProblem};
use tempfile::tempdir;

use crate::child::{Setting, rerun};
use crate::fixture::{contents_of, directory, metadata, name, names_in, outcome, write};

/// Somebody without rights of his own, customarily `nobody`.
const NOBODY: u32 = 65_534;

/// Runs `test` again as nobody, or as whoever we are if that is not root.
fn without_privileges(test: &str, body: fn()) {
    let own = fs::metadata("/proc/self").unwrap().uid();
    let user = if own == 0 { NOBODY } else { own };
    rerun(test, &Setting::User(user), body);
}

#[test]
fn an_unreadable_directory_is_told_and_the_rest_goes_on() {
    let test = "unprivileged::an_unreadable_directory_is_told_and_the_rest_goes_on";
    without_privileges(test, || {
        let root = tempdir().unwrap();
        for name in ["a", "closed/file", "z"] {
            write(root.path(), name);
        }
        let closed = root.path().join("closed");
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let (lines, errors) = outcome(Walk::new(contents_of(root.path())).unwrap());
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        let found: Vec<&[u8]> = lines.iter().map(|line| &line.path[..]).collect();
        assert_eq!(found, [b"a", b"z"]);
        let WalkProblem::Io(error) = &errors[0].problem else {
            panic!("{errors:?}");
        };
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(errors[0].path, closed.display().to_string());
    });
}

#[test]
fn files_are_stored_without_privileges() {
    without_privileges("unprivileged::files_are_stored_without_privileges", || {
        let root = tempdir().unwrap();
        let opened = directory(root.path());
        for existing in [Existing::Keep, Existing::Replace] {
            let metadata = metadata(0o000, 3, 4);
            let stored = opened.store_file(name("file"), b"content", metadata, Existing::Replace);
            assert_eq!(stored.unwrap(), Placed::Stored, "{existing:?}");
        }
        let stat = fs::metadata(root.path().join("file")).unwrap();
        assert_eq!((stat.len(), stat.mode() & 0o7777, stat.mtime()), (7, 0, 3));
        assert_eq!(names_in(root.path()), ["file"]);
    });
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error_of_the_system() {
    let test = "unprivileged::a_directory_that_may_not_be_written_is_an_error_of_the_system";
    without_privileges(test, || {
        let root = tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o500)).unwrap();
        let opened = directory(root.path());
        let stored = opened.store_file(name("f"), b"", metadata(0o600, 0, 0), Existing::Keep);
        let Err(PlaceError::Io { error, .. }) = stored else {
            panic!("{stored:?}");
        };
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(names_in(root.path()).is_empty());
    });
}
