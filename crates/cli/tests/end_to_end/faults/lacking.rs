//! Some entries of a tree do not arrive. Once what hindered them has gone, the same command brings them, and only them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::crossing::{Crossing, MEBIBYTE};
use super::report::Case;

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
