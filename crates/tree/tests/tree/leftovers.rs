//! What a session left is seen and removed, and nothing that somebody alive writes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use packhorse_proto::extent::{EXTENT_SIZE, ExtentHasher, Whole};
use packhorse_proto::remains::Version;
use packhorse_proto::remains::roll::Record;
use packhorse_tree::{
    Left, Leftover, OwnFile, Remains, Removal, Roll, Sighting, Temporary, Unfinished,
};
use tempfile::tempdir;

use crate::fixture::{directory, metadata, name, names_in, path};

const THIS_BOOT: [u8; 16] = [6; 16];

const SIZE: u64 = 3 * EXTENT_SIZE + 5;

fn version() -> Version {
    Version {
        size: SIZE,
        metadata: metadata(0o640, 1_700_000_000, 5),
    }
}

/// A writer that has so many extents.
fn write(root: &Path, extents: u64) -> Temporary {
    let begun = directory(root).begin_file(name("large"), version(), THIS_BOOT);
    let file = begun.unwrap().expect("a variant is free");
    for extent in 0..extents {
        let content = vec![7; usize::try_from(EXTENT_SIZE).unwrap()];
        let mut hasher = ExtentHasher::new(extent * EXTENT_SIZE).unwrap();
        hasher.update(&content).unwrap();
        let turn = file.turn();
        turn.write_at(&content, extent * EXTENT_SIZE).unwrap();
        drop(turn);
        file.note(&hasher.finish(Whole::Part).unwrap());
    }
    file
}

fn ending(root: &Path, ending: &str) -> PathBuf {
    let names = names_in(root);
    let found = names.iter().find(|name| name.ends_with(ending));
    root.join(found.expect(ending))
}

fn own(path: &Path) -> OwnFile {
    let name = path.file_name().unwrap().to_str().unwrap();
    OwnFile::parse(self::name(name)).expect("a name of ours")
}

fn look(path: &Path) -> Sighting {
    let parent = directory(path.parent().unwrap());
    parent.look_at_own(&own(path)).unwrap()
}

#[track_caller]
fn found(path: &Path) -> Leftover {
    match look(path) {
        Sighting::Leftover(leftover) => leftover,
        other => panic!("{other:?}"),
    }
}

fn remove(path: &Path, seen: &Leftover) -> Removal {
    let parent = directory(path.parent().unwrap());
    parent.remove_own(&own(path), seen).unwrap()
}

#[test]
fn a_partial_file_is_in_use_as_long_as_its_writer_lives() {
    let root = tempdir().unwrap();
    let writer = write(root.path(), 2);
    let journal = ending(root.path(), ".journal");
    let part = ending(root.path(), ".part");
    let seen = found(&journal);
    assert!(seen.in_use);
    assert_eq!(look(&part), Sighting::Partner);
    assert_eq!(remove(&journal, &seen), Removal::InUse);
    assert_eq!(names_in(root.path()).len(), 2);
    drop(writer);
    let seen = found(&journal);
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    let expected = Unfinished {
        name: b"large".to_vec(),
        held: 2 * EXTENT_SIZE,
        size: SIZE,
    };
    assert_eq!(seen.what, Left::Part(Some(expected)));
    assert_eq!(seen.disk, blocks(&part) + blocks(&journal));
    assert!(!seen.in_use);
    assert_eq!(remove(&journal, &seen), Removal::Removed);
    assert!(names_in(root.path()).is_empty());
    assert_eq!(remove(&journal, &seen), Removal::Gone);
    assert_eq!(look(&journal), Sighting::Gone);
}

/// Somebody removes a journal by hand, and its file is written on.
#[test]
fn a_partial_file_is_in_use_without_its_journal_as_well() {
    let root = tempdir().unwrap();
    let writer = write(root.path(), 1);
    let part = ending(root.path(), ".part");
    fs::remove_file(ending(root.path(), ".journal")).unwrap();
    let seen = found(&part);
    assert_eq!((&seen.what, seen.in_use), (&Left::Orphan, true));
    assert_eq!(remove(&part, &seen), Removal::InUse);
    drop(writer);
    let seen = found(&part);
    assert_eq!((&seen.what, seen.in_use), (&Left::Orphan, false));
    assert_eq!(remove(&part, &seen), Removal::Removed);
    assert!(names_in(root.path()).is_empty());
}

#[test]
fn looking_holds_nothing_and_one_that_was_found_again_is_in_use() {
    let root = tempdir().unwrap();
    drop(write(root.path(), 1));
    let journal = ending(root.path(), ".journal");
    let seen = found(&journal);
    let resumed = directory(root.path()).resume_file(name("large"), version(), THIS_BOOT, 1024);
    let Some(Remains::Part(file, tree)) = resumed.unwrap() else {
        panic!("it is there");
    };
    assert_eq!(tree.covered(), EXTENT_SIZE);
    assert!(found(&journal).in_use);
    assert_eq!(remove(&journal, &seen), Removal::InUse);
    drop(file);
    assert_eq!(
        remove(&journal, &found(&journal)),
        Removal::Removed,
        "and free again"
    );
}

#[test]
fn what_was_written_to_since_it_was_looked_at_stays() {
    let root = tempdir().unwrap();
    drop(write(root.path(), 1));
    let journal = ending(root.path(), ".journal");
    let seen = found(&journal);
    let part = fs::File::options()
        .write(true)
        .open(ending(root.path(), ".part"))
        .unwrap();
    part.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5))
        .unwrap();
    assert_eq!(remove(&journal, &seen), Removal::InUse);
    assert_eq!(names_in(root.path()).len(), 2);
}

/// Whatever a journal says: it is not about a file whose names are others, or that is another one.
#[test]
fn a_journal_is_believed_about_its_own_file_only() {
    let root = tempdir().unwrap();
    drop(write(root.path(), 2));
    let journal = ending(root.path(), ".journal");
    let part = ending(root.path(), ".part");
    fs::copy(&part, root.path().join("copy")).unwrap();
    fs::rename(root.path().join("copy"), &part).unwrap();
    let Left::Part(Some(unfinished)) = found(&journal).what else {
        panic!("the journal is whole");
    };
    assert_eq!((unfinished.held, unfinished.size), (0, SIZE));
    let other = root.path().join(".packhorse-0123456789abcdef.journal");
    fs::rename(&journal, &other).unwrap();
    assert_eq!(found(&other).what, Left::Part(None));
    fs::write(&other, "no journal").unwrap();
    assert_eq!(found(&other).what, Left::Part(None));
    // Alone, it is removed alone.
    assert_eq!(remove(&other, &found(&other)), Removal::Removed);
    assert_eq!(look(&part), Sighting::Leftover(found(&part)));
}

#[test]
fn a_roll_is_counted_and_in_use_as_long_as_its_session_lives() {
    let root = tempdir().unwrap();
    let at = directory(root.path());
    let mut roll = Roll::begin(&at, [3; 8], THIS_BOOT).unwrap();
    for number in 0..3000 {
        roll.add(&Record {
            path: path(&format!("directory/file {number}")),
            version: version(),
            hash: [1; 32],
        });
    }
    roll.flush().unwrap();
    let place = root.path().join(".packhorse");
    let file = ending(&place, ".stored");
    let seen = found(&file);
    let files = Left::Roll {
        files: 3000,
        all: true,
    };
    assert_eq!((&seen.what, seen.in_use), (&files, true));
    assert_eq!(remove(&file, &seen), Removal::InUse);
    assert!(!at.remove_empty_place().unwrap());
    drop(roll);
    // Behind damage, nothing is counted.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let seen = found(&file);
    let files = Left::Roll {
        files: 2999,
        all: true,
    };
    assert_eq!((&seen.what, seen.in_use), (&files, false));
    assert_eq!(remove(&file, &seen), Removal::Removed);
    assert!(at.remove_empty_place().unwrap());
    assert!(names_in(root.path()).is_empty());
    assert!(!at.remove_empty_place().unwrap());
}

#[test]
fn links_directories_and_files_with_several_names_are_not_ours() {
    let root = tempdir().unwrap();
    let target = root.path().join("target");
    fs::write(&target, "do not touch").unwrap();
    let seen = Leftover {
        what: Left::Orphan,
        disk: 0,
        written: metadata(0, 0, 0).modified,
        in_use: false,
    };
    for own in [
        ".packhorse-0123456789abcdef.part",
        ".packhorse-0123456789abcdef.journal",
        "0123456789abcdef.stored",
    ] {
        let own = root.path().join(own);
        symlink(&target, &own).unwrap();
        match look(&own) {
            // Links have such a name before they have their own, and this one has just been made.
            Sighting::Leftover(seen) if own.extension() == Some("part".as_ref()) => {
                assert_eq!((&seen.what, seen.in_use), (&Left::Link, true));
                assert_eq!(remove(&own, &seen), Removal::InUse);
            }
            sighting => {
                assert_eq!(sighting, Sighting::Foreign);
                assert_eq!(remove(&own, &seen), Removal::Gone);
            }
        }
        fs::remove_file(&own).unwrap();
        fs::hard_link(&target, &own).unwrap();
        assert_eq!(look(&own), Sighting::Foreign);
        assert_eq!(remove(&own, &seen), Removal::Gone);
        fs::remove_file(&own).unwrap();
        fs::create_dir(&own).unwrap();
        assert_eq!(look(&own), Sighting::Foreign);
        assert_eq!(remove(&own, &seen), Removal::Gone);
        fs::remove_dir(&own).unwrap();
    }
    assert_eq!(names_in(root.path()), ["target"]);
    assert_eq!(fs::read(&target).unwrap(), b"do not touch");
}
