//! What a source on the command line stands for.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use packhorse_tree::{SourceError, Walk, WalkProblem, WalkSource};
use tempfile::{TempDir, tempdir};

use crate::fixture::{outcome, path, paths, write};

/// `d` with `d/a` and `d/s/b`, `e` with `e/a`, a file `f`, and links to them.
fn tree() -> TempDir {
    let root = tempdir().unwrap();
    for name in ["d/a", "d/s/b", "e/c", "f"] {
        write(root.path(), name);
    }
    symlink("d", root.path().join("to-d")).unwrap();
    symlink("f", root.path().join("to-f")).unwrap();
    root
}

/// `text` beneath `root`, with its dots and slashes as they are.
fn source(root: &Path, text: &str) -> WalkSource {
    WalkSource::new(format!("{}/{text}", root.display()))
}

fn renamed(root: &Path, text: &str, name: &str) -> WalkSource {
    WalkSource {
        name: Some(path(name)),
        ..source(root, text)
    }
}

#[test]
fn a_directory_comes_with_its_name_and_its_contents_come_without() {
    let root = tree();
    let of = |text| paths(vec![source(root.path(), text)]);
    assert_eq!(of("d"), ["d", "d/a", "d/s", "d/s/b"]);
    for contents in ["d/", "d//", "d/.", "d/./", "d/s/..", "to-d/", "to-d/."] {
        assert_eq!(of(contents), ["a", "s", "s/b"], "{contents}");
    }
    assert_eq!(of("d/s/../../e"), ["e", "e/c"]);
    assert_eq!(of("to-d/s"), ["s", "s/b"], "links on the way are followed");
}

#[test]
fn the_working_directory_stands_for_what_it_holds() {
    for here in [".", "./", "src/..", "tests/tree/../.."] {
        let found = paths(vec![WalkSource::new(here)]);
        assert!(found.contains(&"src/walk/listing.rs".to_owned()), "{here}");
    }
    assert_eq!(paths(vec![WalkSource::new("src/lib.rs")]), ["lib.rs"]);
    assert_eq!(paths(vec![WalkSource::new("Cargo.toml")]), ["Cargo.toml"]);
}

#[test]
fn a_link_is_kept_as_a_link_unless_a_slash_follows() {
    let root = tree();
    assert_eq!(paths(vec![source(root.path(), "to-d")]), ["to-d"]);
    assert_eq!(paths(vec![source(root.path(), "to-f")]), ["to-f"]);
}

#[test]
fn a_renamed_source_takes_its_contents_along() {
    let root = tree();
    let of = |text| paths(vec![renamed(root.path(), text, "new")]);
    for directory in ["d", "d/", "to-d/", "d/s/.."] {
        assert_eq!(of(directory), ["new", "new/a", "new/s", "new/s/b"]);
    }
    let walk = Walk::new(vec![renamed(root.path(), "f", "new")]).unwrap();
    let found = walk.last().unwrap().unwrap();
    assert_eq!(found.entry.path, path("new"));
    let file = found.file.unwrap();
    assert_eq!(file.name().as_bytes(), b"f");
    assert_eq!(file.open().unwrap().size(), 1);
}

#[test]
fn the_top_level_is_merged_in_order() {
    let root = tree();
    let named = ["f", "d/", "e/", "to-d"].map(|text| source(root.path(), text));
    assert_eq!(paths(named.to_vec()), ["a", "c", "f", "s", "s/b", "to-d"]);
    let named = ["to-f", "e", "d/s", "f"].map(|text| source(root.path(), text));
    assert_eq!(paths(named.to_vec()), ["e", "e/c", "f", "s", "s/b", "to-f"]);
    assert_eq!(paths(vec![]), Vec::<String>::new());
}

#[test]
fn two_sources_of_one_name_are_refused_at_once() {
    let root = tree();
    let sources = vec![source(root.path(), "d/a"), renamed(root.path(), "f", "a")];
    let error = Walk::new(sources).unwrap_err();
    assert!(matches!(&error, SourceError::SameName { name, .. } if name == "a"));
    let shown = root.path().display();
    let expected = format!("{shown}/d/a and {shown}/f would both be stored as a");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_name_that_comes_again_from_contents_is_told_and_the_first_is_sent() {
    let root = tree();
    write(root.path(), "e/s/other");
    let sources = vec![source(root.path(), "d/"), source(root.path(), "e/")];
    let (lines, errors) = outcome(Walk::new(sources).unwrap());
    let found: Vec<&[u8]> = lines.iter().map(|line| &line.path[..]).collect();
    assert_eq!(found, [&b"a"[..], b"c", b"s", b"s/b"]);
    assert!(matches!(errors[0].problem, WalkProblem::SameName));
    assert_eq!(errors[0].path, format!("{}/e/s", root.path().display()));
    assert_eq!(errors.len(), 1);
}

#[test]
fn a_missing_source_is_named_before_anything_is_found() {
    let root = tree();
    for missing in ["no", "no/", "d/no", "f/", "no\u{7}"] {
        let sources = vec![source(root.path(), "d"), source(root.path(), missing)];
        let Err(SourceError::Unreadable { path, error }) = Walk::new(sources) else {
            panic!("{missing}");
        };
        let shown = missing.replace('\u{7}', "\\u{7}");
        assert!(path.ends_with(&shown), "{path}");
        let expected = [ErrorKind::NotFound, ErrorKind::NotADirectory];
        assert!(expected.contains(&error.kind()), "{missing}: {error}");
    }
    assert!(Walk::new(vec![WalkSource::new("")]).is_err());
}

#[test]
fn a_source_cannot_be_stored_under_a_path() {
    let root = tree();
    let error = Walk::new(vec![renamed(root.path(), "f", "a/b")]).unwrap_err();
    assert!(matches!(error, SourceError::NameIsPath { .. }), "{error}");
}

#[test]
fn a_source_that_vanishes_after_the_start_is_told() {
    let root = tree();
    let sources = ["d", "f"].map(|text| source(root.path(), text));
    let walk = Walk::new(sources.to_vec()).unwrap();
    fs::remove_file(root.path().join("f")).unwrap();
    let (lines, errors) = outcome(walk);
    assert_eq!(lines.len(), 4);
    assert_eq!(errors[0].path, format!("{}/f", root.path().display()));
}

#[test]
fn the_whole_file_system_has_no_name_of_its_own() {
    let mut walk = Walk::new(vec![WalkSource::new("/")]).unwrap();
    let first = walk.next().unwrap().unwrap();
    assert!(Path::new("/").join(first.entry.path.to_string()).exists());
}
