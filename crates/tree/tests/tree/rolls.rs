//! Which files of a session were complete, as the next one hears it.

use std::fs;
use std::path::Path;

use packhorse_proto::remains::Version;
use packhorse_proto::remains::roll::Record;
use packhorse_tree::{Known, Roll, Rolls, is_own};
use tempfile::tempdir;

use crate::fixture::{directory, metadata, names_in, path};

const THIS_BOOT: [u8; 16] = [6; 16];

const SOURCE: [u8; 8] = [3; 8];

fn record(number: u32) -> Record {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    Record {
        path: path(&format!("directory-{:03}/file-{number:06}", number / 100)),
        version: Version {
            size: 1 + u64::from(number),
            metadata: metadata(0o644, i64::from(number), 5),
        },
        hash,
    }
}

fn leave(root: &Path, numbers: impl IntoIterator<Item = u32>) {
    let mut roll = Roll::begin(&directory(root), SOURCE, THIS_BOOT).unwrap();
    for number in numbers {
        roll.add(&record(number));
    }
    roll.flush().unwrap();
}

#[track_caller]
fn find(rolls: &mut Rolls, number: u32) -> bool {
    let record = record(number);
    let found = rolls.find(&record.path, record.version).unwrap();
    if let Some(found) = found {
        let known = Known {
            hash: record.hash,
            boot: THIS_BOOT,
            durable: None,
            ..found
        };
        assert_eq!(found, known);
    }
    found.is_some()
}

/// In the order in which files become complete: not quite that of the manifest.
#[test]
fn a_roll_is_read_beside_the_manifest_whatever_is_missing_in_either() {
    let root = tempdir().unwrap();
    let blocks = (0..10_000_u32).filter(|number| number % 7 != 0);
    let mut numbers: Vec<u32> = blocks.collect();
    for block in numbers.chunks_mut(1000) {
        block.reverse();
    }
    leave(root.path(), numbers);
    let mut rolls = Rolls::open(&directory(root.path()), THIS_BOOT).unwrap();
    for number in (0..11_000).filter(|number| number % 3 != 0) {
        let expected = number < 10_000 && number % 7 != 0;
        assert_eq!(find(&mut rolls, number), expected, "{number}");
    }
}

#[test]
fn another_version_of_a_file_is_not_known() {
    let root = tempdir().unwrap();
    leave(root.path(), 0..6);
    let mut rolls = Rolls::open(&directory(root.path()), THIS_BOOT).unwrap();
    for number in 0..6 {
        let mut asked = record(number);
        match number {
            0 => asked.version.size += 1,
            1 => asked.version.metadata = metadata(0o600, 1, 5),
            2 => asked.version.metadata = metadata(0o644, 3, 5),
            3 => asked.version.metadata.change = Some(1),
            _ => {}
        }
        let found = rolls.find(&asked.path, asked.version).unwrap();
        assert_eq!(found.is_some(), number > 3, "{number}");
    }
}

#[test]
fn what_stands_behind_damage_is_not_believed() {
    let root = tempdir().unwrap();
    leave(root.path(), 0..40);
    let place = root.path().join(".packhorse");
    let roll = place.join(&names_in(&place)[0]);
    let whole = fs::read(&roll).unwrap();
    for cut in (0..whole.len()).step_by(19) {
        for flip in [false, true] {
            let mut damaged = whole.clone();
            match flip {
                true => damaged[cut] ^= 1,
                false => damaged.truncate(cut),
            }
            fs::write(&roll, damaged).unwrap();
            let mut rolls = Rolls::open(&directory(root.path()), THIS_BOOT).unwrap();
            let found: Vec<bool> = (0..40).map(|number| find(&mut rolls, number)).collect();
            let good = found.iter().take_while(|&&found| found).count();
            assert!(!found[good..].contains(&true), "{cut} {flip}");
            let length = whole.len() - 64;
            assert!(good <= 40 * cut.saturating_sub(64) / length, "{cut} {flip}");
        }
    }
}

#[test]
fn the_rolls_of_several_sessions_are_read_together_and_one_that_is_written_is_not() {
    let root = tempdir().unwrap();
    leave(root.path(), 0..50);
    leave(root.path(), 50..80);
    let mut writing = Roll::begin(&directory(root.path()), SOURCE, THIS_BOOT).unwrap();
    writing.add(&record(90));
    writing.flush().unwrap();
    let mut rolls = Rolls::open(&directory(root.path()), THIS_BOOT).unwrap();
    for number in 0..100 {
        assert_eq!(find(&mut rolls, number), number < 80, "{number}");
    }
    // A session of another source leaves them alone.
    rolls.remove(&directory(root.path()), [4; 8]);
    assert_eq!(names_in(&root.path().join(".packhorse")).len(), 3);
    let at = directory(root.path());
    Rolls::open(&at, THIS_BOOT).unwrap().remove(&at, SOURCE);
    assert_eq!(names_in(&root.path().join(".packhorse")).len(), 1);
    writing.remove(&directory(root.path()));
    assert!(names_in(root.path()).is_empty());
}

#[test]
fn a_destination_without_rolls_or_with_something_else_of_that_name_has_none() {
    let root = tempdir().unwrap();
    assert!(
        Rolls::open(&directory(root.path()), THIS_BOOT)
            .unwrap()
            .is_empty()
    );
    fs::create_dir(root.path().join(".packhorse")).unwrap();
    fs::write(root.path().join(".packhorse/x.stored"), "not a roll").unwrap();
    assert!(
        Rolls::open(&directory(root.path()), THIS_BOOT)
            .unwrap()
            .is_empty()
    );
    fs::remove_dir_all(root.path().join(".packhorse")).unwrap();
    fs::write(root.path().join(".packhorse"), "a file").unwrap();
    assert!(
        Rolls::open(&directory(root.path()), THIS_BOOT)
            .unwrap()
            .is_empty()
    );
    fs::remove_file(root.path().join(".packhorse")).unwrap();
    let elsewhere = tempdir().unwrap();
    leave(elsewhere.path(), 0..3);
    let link = root.path().join(".packhorse");
    std::os::unix::fs::symlink(elsewhere.path().join(".packhorse"), link).unwrap();
    assert!(
        Rolls::open(&directory(root.path()), THIS_BOOT)
            .unwrap()
            .is_empty()
    );
    Roll::begin(&directory(root.path()), SOURCE, THIS_BOOT).unwrap_err();
}

#[test]
fn a_copy_of_a_roll_is_none() {
    let (root, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    leave(root.path(), 0..3);
    let place = root.path().join(".packhorse");
    let copied = elsewhere.path().join(".packhorse");
    fs::create_dir(&copied).unwrap();
    for roll in fs::read_dir(&place).unwrap() {
        let roll = roll.unwrap();
        fs::copy(roll.path(), copied.join(roll.file_name())).unwrap();
    }
    let rolls = |root: &Path| Rolls::open(&directory(root), THIS_BOOT).unwrap();
    assert!(!rolls(root.path()).is_empty());
    assert!(rolls(elsewhere.path()).is_empty());
}

#[test]
fn names_that_are_the_program_s_own() {
    for own in [
        &b".packhorse"[..],
        b".packhorse-0123456789abcdef.part",
        b".packhorse-0123456789abcdef.journal",
    ] {
        assert!(is_own(own));
    }
    for other in [
        &b"packhorse"[..],
        b".packhorse-",
        b".packhorse2",
        b".packhorse-0123456789abcdef.parts",
        b".packhorse-0123456789abcdeg.part",
        b".packhorse-0123456789abcde.part",
        b".packhorserc",
    ] {
        assert!(!is_own(other));
    }
}

#[test]
fn what_a_mark_covers_was_made_durable_and_what_was_added_since_was_not() {
    let root = tempdir().unwrap();
    let mut roll = Roll::begin(&directory(root.path()), SOURCE, THIS_BOOT).unwrap();
    assert!(roll.before_sync().unwrap().is_none());
    let mut last = None;
    for numbers in [0..10, 10..25] {
        for number in numbers {
            roll.add(&record(number));
        }
        let mark = roll.before_sync().unwrap().unwrap();
        assert!(roll.has_unmarked());
        // Complete while the filesystem was synced.
        let meanwhile = if last.is_none() { 100 } else { 101 };
        roll.add(&record(meanwhile));
        roll.mark(&mark).unwrap();
        assert!(roll.has_unmarked());
        last = Some(mark.at);
    }
    roll.flush().unwrap();
    drop(roll);
    for (boot, durable) in [([7; 16], last), (THIS_BOOT, None)] {
        let mut rolls = Rolls::open(&directory(root.path()), boot).unwrap();
        let mut durable_of = |number| {
            let record = record(number);
            let found = rolls.find(&record.path, record.version).unwrap();
            found.expect("it is known").durable
        };
        assert!((0..25).all(|number| durable_of(number) == durable));
        // The second mark came after it.
        assert_eq!(durable_of(100), durable);
        assert_eq!(durable_of(101), None);
    }
}
