//! Source files change while they are sent: what arrives under a name is a version of the file that there was.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::crossing::{Crossing, MEBIBYTE};
use super::report::Case;
use crate::harness::random::Random;
use crate::resume::wait_until_it_stands;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Truncated,
    Grown,
    Overwritten,
    Replaced,
    Deleted,
}

const CHANGES: [Change; 5] = [
    Change::Truncated,
    Change::Grown,
    Change::Overwritten,
    Change::Replaced,
    Change::Deleted,
];

/// The large file, which is under way, and two that are perhaps not begun.
const FILES: [&str; 3] = ["large.bin", "z/d0/f0", "z/d0/f99"];

fn change(file: &Path, how: Change, random: &mut Random) {
    let open = || {
        let opened = File::options().write(true).open(file);
        opened.expect("it is there")
    };
    let length = fs::metadata(file).expect("it is there").len();
    match how {
        Change::Truncated => open().set_len(length / 3).expect("it is cut"),
        Change::Grown => open()
            .write_all_at(&random.bytes(300_000), length)
            .expect("it grows"),
        Change::Overwritten => open()
            .write_all_at(&random.bytes(1), length / 4)
            .expect("it is written to"),
        Change::Replaced => {
            let beside = file.with_extension("new");
            fs::write(&beside, random.bytes(200_000)).expect("a file");
            fs::rename(beside, file).expect("it takes its place");
        }
        Change::Deleted => fs::remove_file(file).expect("it is there"),
    }
}

#[test]
fn files_that_change_while_they_are_sent() {
    for how in CHANGES {
        let what = format!("files are {how:?} while they are sent").to_lowercase();
        let mut crossing = Crossing::new(Case::new("sources", what), 24 * MEBIBYTE, 200);
        let mut random = Random::seeded();
        let before: Vec<_> = FILES
            .iter()
            .map(|name| fs::read(crossing.source.join(name)).expect("a file"))
            .collect();
        let mut pair = crossing.start([None, None]);
        pair.proxy.stop_after(8 * MEBIBYTE);
        wait_until_it_stands(&mut pair.receiver, &pair.proxy);
        for name in FILES {
            change(&crossing.source.join(name), how, &mut random);
        }
        pair.proxy.go_on();
        let (sender, receiver) = crossing.end(pair);
        // All of it, or all but what is named.
        sender.expect_code_in(&[0, 1]);
        receiver.expect_code_in(&[0, 1]);
        for (name, before) in FILES.into_iter().zip(before) {
            let arrived = crossing.destination.join("tree").join(name);
            let Ok(content) = fs::read(&arrived) else {
                continue;
            };
            let after = fs::read(crossing.source.join(name)).ok();
            assert!(
                content == before || Some(&content) == after.as_ref(),
                "{name} arrived as it never was, {how:?}"
            );
            // What has arrived stays when its source goes; here it would only differ.
            if after.is_none() {
                fs::remove_file(arrived).expect("it is there");
            }
        }
        crossing.complete();
        crossing.report(1);
    }
}
