//! Some entries of a tree do not arrive. Once what hindered them has gone, the same command brings them, and only them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::crossing::{Crossing, MEBIBYTE};
use super::report::Case;
use crate::harness::compare::partial_file;
use crate::resume::wait_until_it_stands;

const LARGE: u64 = 5 * MEBIBYTE;

/// What costs little: the manifest of the tree, the handshake, and the file that was lacking.
const LITTLE: u64 = MEBIBYTE / 2;

/// Root, but for the right to read what nobody may.
const MAY_NOT_READ_ALL: [&str; 2] = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search,-fowner",
];

fn crossing(what: &str) -> Crossing {
    Crossing::new(Case::new("lacking", what), LARGE, 40)
}

/// A session in which something is not stored; answers how much crossed.
#[track_caller]
fn fails(crossing: &mut Crossing, name: &str) -> u64 {
    let before = crossing.carried();
    let pair = crossing.start([None, None]);
    let (sender, receiver) = crossing.end(pair);
    sender.expect_code(1).expect_says(name);
    receiver.expect_code(1).expect_says(name);
    crossing.carried() - before
}

/// The same command brings what was lacking, and nothing of the program's own is left.
#[track_caller]
fn brings_the_rest(mut crossing: Crossing) {
    let before = crossing.carried();
    let resumed = crossing.complete();
    let carried = crossing.carried() - before;
    assert!(resumed >= LARGE, "{resumed}");
    assert!(carried < LITTLE, "{carried}");
    crossing.report(1);
}

#[test]
fn a_directory_was_in_the_way_of_a_small_file() {
    let mut crossing = crossing("a directory is in the way of a small file");
    let in_the_way = crossing.destination.join("tree/z/d0/f0");
    fs::create_dir_all(&in_the_way).expect("a directory");
    fails(&mut crossing, "tree/z/d0/f0");
    fs::remove_dir(in_the_way).expect("it is empty");
    brings_the_rest(crossing);
}

#[test]
fn a_directory_was_in_the_way_of_a_large_file() {
    let mut crossing = crossing("a directory is in the way of a large file, twice");
    let in_the_way = crossing.destination.join("tree/large.bin");
    fs::create_dir_all(&in_the_way).expect("a directory");
    fails(&mut crossing, "tree/large.bin");
    assert!(fails(&mut crossing, "tree/large.bin") < LITTLE);
    fs::remove_dir(in_the_way).expect("it is empty");
    brings_the_rest(crossing);
}

#[test]
fn the_sender_could_not_read_a_file() {
    let mut crossing = crossing("the sender may not read a file");
    let file = crossing.source.join("z/d0/f0");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
    mode(0o000).expect("a mode");
    if crate::harness::surroundings::is_root() {
        crossing.through[0].extend(MAY_NOT_READ_ALL);
    }
    fails(&mut crossing, "tree/z/d0/f0");
    mode(0o640).expect("a mode");
    brings_the_rest(crossing);
}

#[test]
fn the_receiver_may_not_write_into_a_directory() {
    let mut crossing = crossing("the receiver may not write into a directory");
    let closed = crossing.destination.join("tree/z/d0");
    fs::create_dir_all(&closed).expect("a directory");
    if !crate::harness::surroundings::is_root() {
        return crossing.case.not_shown();
    }
    // Another user's, and closed to others.
    std::os::unix::fs::chown(&closed, Some(65_534), None).expect("another owner");
    crossing.through[1].extend(MAY_NOT_READ_ALL);
    fails(&mut crossing, "tree/z/d0/f0");
    std::os::unix::fs::chown(&closed, Some(0), None).expect("its owner");
    brings_the_rest(crossing);
}

/// Another tree with the same names, sizes and times.
fn another_tree(crossing: &Crossing) -> PathBuf {
    let other = crossing.ground.beside().join("tree");
    let copied = Command::new("cp")
        .arg("-a")
        .args([&crossing.source, &other])
        .status();
    assert!(copied.expect("cp").success());
    let found = Command::new("find")
        .arg(&other)
        .args(["-type", "f", "-size", "+0"])
        .output();
    let found = String::from_utf8(found.expect("find").stdout).expect("plain names");
    for path in found.lines() {
        let mut file = File::options().read(true).write(true).open(path);
        let file = file.as_mut().expect("it is there");
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        let mut first = [0];
        file.read_exact_at(&mut first, 0).expect("a byte");
        file.write_all_at(&[!first[0]], 0).expect("another byte");
        file.set_modified(modified.expect("a time"))
            .expect("the same time");
    }
    other
}

#[test]
fn another_session_has_replaced_what_had_arrived() {
    let mut crossing = crossing("another tree of the same sizes and times comes in between");
    let in_the_way = crossing.destination.join("tree/z/d0/f0");
    fs::create_dir_all(&in_the_way).expect("a directory");
    fails(&mut crossing, "tree/z/d0/f0");
    fs::remove_dir(in_the_way).expect("it is empty");
    let other = another_tree(&crossing);
    let first = std::mem::replace(&mut crossing.source, other);
    let pair = crossing.start([None, None]);
    let (sender, receiver) = crossing.end(pair);
    sender.expect_code(0);
    receiver.expect_code(0);
    crossing.source = first;
    crossing.complete();
    crossing.report(3);
}

/// Both sides are killed on their way; answers with the partial file.
fn break_off(crossing: &mut Crossing) -> PathBuf {
    let mut pair = crossing.start([None, None]);
    pair.proxy.stop_after(3 * MEBIBYTE);
    wait_until_it_stands(&mut pair.receiver, &pair.proxy);
    pair.sender.kill();
    pair.receiver.kill();
    crossing.end(pair);
    partial_file(&crossing.destination.join("tree"))
}

/// Nothing stays of what was there of a large file that has become something else before the same command comes again.
#[test]
fn the_large_file_has_become_something_else() {
    let successors: [fn(&Path); 4] = [
        |path| fs::write(path, "").expect("a file"),
        |path| fs::write(path, "small").expect("a file"),
        |path| symlink("a", path).expect("a link"),
        |path| fs::create_dir(path).expect("a directory"),
    ];
    for succeed in successors {
        let mut crossing = crossing("the large file has become something else");
        break_off(&mut crossing);
        let large = crossing.source.join("large.bin");
        fs::remove_file(&large).expect("it is there");
        succeed(&large);
        crossing.complete();
        crossing.report(1);
    }
}

/// A directory that nobody may remove has the partial file's name: the file gets another one meanwhile.
#[test]
fn a_directory_has_the_name_of_a_partial_file() {
    let mut crossing = crossing("a directory has the name of a partial file");
    let part = break_off(&mut crossing);
    fs::remove_file(&part).expect("it is there");
    fs::create_dir_all(part.join("kept")).expect("a directory");
    let pair = crossing.start([None, None]);
    let (sender, receiver) = crossing.end(pair);
    sender.expect_code(0);
    receiver.expect_code(0);
    fs::remove_dir_all(part).expect("it is left alone");
    // Which has given the directory around it another time.
    crossing.complete();
    crossing.report(2);
}

/// Whoever does so meanwhile does not get its name for something else.
#[test]
fn somebody_has_put_another_file_in_the_place_of_a_partial_file() {
    let mut crossing = crossing("a partial file is another one when it is complete");
    let mut pair = crossing.start([None, None]);
    pair.proxy.stop_after(3 * MEBIBYTE);
    wait_until_it_stands(&mut pair.receiver, &pair.proxy);
    let part = partial_file(&crossing.destination.join("tree"));
    fs::remove_file(&part).expect("it is there");
    fs::write(&part, "something else").expect("there is room");
    pair.proxy.go_on();
    let (sender, receiver) = crossing.end(pair);
    sender.expect_code(1).expect_says("tree/large.bin");
    receiver.expect_code(1);
    assert!(!crossing.destination.join("tree/large.bin").exists());
    crossing.complete();
    crossing.report(2);
}

#[test]
fn somebody_has_written_behind_the_end_of_a_partial_file() {
    for reread in [false, true] {
        let mut crossing = crossing("a partial file has become longer than its file");
        let part = break_off(&mut crossing);
        let part = File::options().write(true).open(part).expect("it is there");
        part.write_all_at(b"more", LARGE).expect("there is room");
        if reread {
            crossing.options[1].push("--reread".to_owned());
        }
        // The first time.
        let pair = crossing.start([None, None]);
        let (sender, receiver) = crossing.end(pair);
        sender.expect_code(0);
        receiver.expect_code(0);
        crossing.assert_whole();
        crossing.report(1);
    }
}
