//! The disk of the receiver fills, descriptors run out, and what lies there between two sessions is damaged.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::crossing::{Crossing, MEBIBYTE, asked};
use super::report::Case;
use crate::harness::random::Random;
use crate::harness::surroundings::SmallDisk;
use crate::harness::{Ground, Packhorse, not_shown};
use crate::resume::{wait_until_it_is_later, wait_until_it_stands};

#[test]
fn a_disk_that_fills_and_has_room_again() {
    let ground = Ground::new();
    let Some(_disk) = SmallDisk::mount(ground.destination(), "100m") else {
        return not_shown(
            "a_disk_that_fills",
            "mounting a small filesystem needs privileges",
        );
    };
    let mut random = Random::seeded();
    for name in ["a", "b", "c"] {
        ground.source_file(&format!("tree/{name}.bin"), random.bytes(24 << 20));
    }
    for number in 0..20 {
        ground.source_file(&format!("tree/d/{number}.bin"), random.bytes(1 << 20));
    }
    let ballast = ground.destination().join("ballast");
    // Room for two large ones, which reserve theirs, and not for the small ones behind them.
    fs::write(&ballast, vec![1; 45 << 20]).expect("room for it");
    let source = ground.source().join("tree");
    let case = Case::new("disk", "the receiver's disk is full, then has room");
    let mut crossing = Crossing::of(case, ground, source);
    let pair = crossing.start([None, None]);
    let (sender, receiver) = crossing.end(pair);
    sender.expect_code(5).expect_says("full");
    receiver.expect_code(5).expect_says("full");
    fs::remove_file(ballast).expect("it is there");
    let had = there(&crossing.destination);
    assert!(had > 0);
    let resumed = crossing.complete();
    // How much it is depends on when the file that does not fit was begun.
    assert!(resumed >= had, "{resumed} of {had}");
    crossing.report(1);
}

/// Bytes of a destination that need not be sent again: files that have their names, and what `packhorse partials` says is held
/// of others.
fn there(destination: &Path) -> u64 {
    let list = Packhorse::verb("partials").args(["list", "--json"]);
    let listed = list.arg(destination).run();
    let lines = listed.expect_code(0).events();
    let held = lines.iter().filter_map(|line| line["held"].as_u64());
    let named = Command::new("find")
        .arg(destination)
        .args(["-name", ".packhorse*", "-prune", "-o"])
        .args(["-type", "f", "-printf", r"%s\n"])
        .output()
        .expect("find");
    let sizes = String::from_utf8(named.stdout).expect("digits");
    let sizes = sizes
        .lines()
        .map(|size| size.parse::<u64>().expect("a number"));
    sizes.chain(held).sum()
}

/// Whatever either side makes of so few descriptors: with enough of them the tree arrives.
#[test]
fn descriptors_that_run_out() {
    let limits = [
        ["prlimit", "--nofile=8"],
        ["prlimit", "--nofile=16"],
        ["prlimit", "--nofile=24"],
    ];
    for limit in limits {
        for (side, name) in ["sender", "receiver"].into_iter().enumerate() {
            let what = format!("{} {} of the {name}", limit[0], limit[1]);
            let mut crossing = Crossing::new(Case::new("descriptors", what), 8 * MEBIBYTE, 400);
            crossing.through[side].extend(limit);
            let codes = crossing
                .try_start()
                .map(|pair| crossing.end_of_sender(pair));
            crossing.case.ended(codes);
            crossing.through[side].clear();
            if codes == Some([Some(0); 2]) {
                crossing.assert_whole();
            } else {
                crossing.complete();
            }
            crossing.report(1);
        }
    }
}

/// What the program keeps at a destination for the next session.
fn remains(destination: &Path) -> Vec<PathBuf> {
    let listed = Command::new("find")
        .arg(destination)
        .args(["-name", ".packhorse-*", "-o", "-name", "*.stored"])
        .output()
        .expect("find");
    let listed = String::from_utf8(listed.stdout).expect("names are plain");
    listed.lines().map(PathBuf::from).collect()
}

/// What can become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// One bit of each MiB, or one bit of a small file, is turned.
    Turned,
    Cut,
    Overwritten,
    Removed,
    Replaced,
}

const DAMAGES: [Damage; 5] = [
    Damage::Turned,
    Damage::Cut,
    Damage::Overwritten,
    Damage::Removed,
    Damage::Replaced,
];

/// Whatever becomes of what lies there between two sessions, the tree arrives as it is: of one file at a time, so that what
/// the others say is believed.
#[test]
fn remains_that_are_damaged_between_sessions() {
    let rounds = asked("PACKHORSE_DAMAGES", 6);
    let mut random = Random::seeded();
    let what = format!("partial file, journal or roll is damaged, {rounds} times");
    let mut crossing = Crossing::new(Case::new("damage", what), 24 * MEBIBYTE, 600);
    for round in 0..rounds {
        let mut pair = crossing.start([None, None]);
        pair.proxy.stop_after(10 * MEBIBYTE);
        wait_until_it_stands(&mut pair.receiver, &pair.proxy);
        pair.receiver.kill();
        pair.proxy.go_on();
        crossing.end(pair);
        let mut remains = remains(&crossing.destination);
        assert!(remains.len() >= 3, "{remains:?}");
        wait_until_it_is_later(&crossing.ground.beside().join("clock"));
        // Journal, part, roll, by the ends of their names.
        let ending = |path: &PathBuf| path.extension().map(ToOwned::to_owned);
        remains.retain(|path| path.is_file());
        remains.sort_by_key(ending);
        let kinds = u64::try_from(remains.len()).expect("few");
        let own = &remains[usize::try_from((round + 1) % kinds).expect("few")];
        // Each kind of damage to each in turn, and beyond that at random.
        let turn = usize::try_from(round / kinds).expect("few");
        let how = DAMAGES.get(turn).copied();
        damage(
            own,
            how.unwrap_or_else(|| random.pick(&DAMAGES)),
            &mut random,
        );
        crossing.complete();
        crossing.start_over();
    }
    crossing.report(rounds);
}

fn damage(path: &Path, how: Damage, random: &mut Random) {
    let length = fs::metadata(path).expect("it is there").len().max(1);
    let place = random.next() % length;
    let file = fs::File::options().read(true).write(true).open(path);
    let file = file.expect("it is there");
    match how {
        Damage::Turned => {
            for start in (0..length).step_by(1 << 20) {
                let place = start + random.next() % (length - start).min(MEBIBYTE);
                let mut byte = [0];
                file.read_exact_at(&mut byte, place).expect("it is read");
                byte[0] ^= 1 << random.below(8);
                file.write_all_at(&byte, place).expect("it is overwritten");
            }
        }
        Damage::Cut => file.set_len(place).expect("it is cut"),
        Damage::Overwritten => file
            .write_all_at(&random.bytes(64), place)
            .expect("it is overwritten"),
        Damage::Removed => fs::remove_file(path).expect("it is removed"),
        Damage::Replaced => {
            fs::remove_file(path).expect("it is removed");
            fs::write(path, random.bytes(10_000)).expect("it is replaced");
        }
    }
}
