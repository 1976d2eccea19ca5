//! The judges themselves: a faithful copy passes them, and each single difference does not.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::surroundings::works;
use crate::harness::{Ground, assert_same_tree, tree};

/// What a faithful transfer would have made of `source`.
fn copy(source: &Path, name: &str) -> PathBuf {
    let copy = source.with_file_name(name);
    assert!(
        works(Command::new("cp").arg("--archive").args([source, &copy])),
        "cp"
    );
    let mut strip = Command::new("find");
    strip.arg(&copy).args(["-not", "-type", "l"]);
    strip.args(["-exec", "chmod", "u-s,g-s,-t", "{}", "+"]);
    assert!(works(&mut strip), "find");
    copy
}

/// Changes one thing in a copy.
type Change = fn(&Path);

fn differs(source: &Path, copy: &Path) -> bool {
    catch_unwind(|| assert_same_tree(source, copy)).is_err()
}

#[test]
fn faithful_copy_of_every_oddity_passes() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::every_oddity(source.clone());
    assert_same_tree(&source, &copy(&source, "copy"));
}

#[test]
fn each_difference_is_seen() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    let changes: [(&str, Change); 7] = [
        ("byte", |copy| {
            let path = copy.join("inner/numbers.bin");
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .expect("a file");
            let mut byte = [0];
            file.read_exact_at(&mut byte, 5000).expect("a byte");
            file.write_all_at(&[byte[0] ^ 1], 5000).expect("a byte");
            file.set_modified(modified.expect("a time"))
                .expect("a time");
        }),
        ("mode", |copy| {
            let mode = Permissions::from_mode(0o640);
            fs::set_permissions(copy.join("hello.txt"), mode).expect("a mode");
        }),
        ("setuid", |copy| {
            let path = copy.join("hello.txt");
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            fs::set_permissions(path, Permissions::from_mode(mode | 0o4000)).expect("a mode");
        }),
        ("nanosecond", |copy| set_modified_later(&copy.join("empty"))),
        ("time of a directory", |copy| {
            set_modified_later(&copy.join("inner"));
        }),
        ("link", |copy| {
            fs::remove_file(copy.join("link")).expect("a link");
            symlink("inner/numbers", copy.join("link")).expect("a link");
        }),
        ("something more", |copy| {
            fs::create_dir(copy.join("more")).expect("a directory");
        }),
    ];
    for (what, change) in changes {
        let copy = copy(&source, what);
        assert!(
            !differs(&source, &copy),
            "a copy before its {what} is changed"
        );
        change(&copy);
        assert!(differs(&source, &copy), "{what}");
    }
}

fn set_modified_later(path: &Path) {
    let file = fs::File::open(path).expect("something to open");
    let modified: SystemTime = file.metadata().and_then(|m| m.modified()).expect("a time");
    file.set_modified(modified + Duration::from_nanos(1))
        .expect("a time");
}
