//! Either side may end at any moment: the other learns at once, and nothing half done has a name.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::compare::{assert_nothing_left_over, assert_only_remains};
use crate::harness::random::Random;
use crate::harness::{Ended, Ground, Packhorse, Running};

/// More than crosses before a test has had its say.
const LONG: u64 = 16 << 30;

/// A transfer that is on its way and will not end by itself soon.
struct Midway {
    ground: Ground,
    sender: Running,
    receiver: Running,
}

impl Midway {
    fn new() -> Self {
        let ground = Ground::new();
        ground.source_file("tree/a small one first", "content");
        ground.sparse_file("tree/long.img", LONG);
        let mut receiver = Packhorse::recv(&ground.destination()).start();
        let source = ground.source().join("tree");
        let mut sender = Packhorse::send(&[&source], &receiver.address()).start();
        sender.wait_until_moving();
        receiver.wait_until_moving();
        Self {
            ground,
            sender,
            receiver,
        }
    }

    /// Waits for both ends; gives what is needed to judge: (ground, sender, receiver).
    fn end(self) -> (Ground, Ended, Ended) {
        (self.ground, self.sender.wait(), self.receiver.wait())
    }
}

fn unfinished(ground: &Ground) -> PathBuf {
    ground.destination().join("tree/long.img")
}

#[track_caller]
fn assert_nothing_half_done(ground: &Ground) {
    assert!(
        !unfinished(ground).exists(),
        "half a file under its final name"
    );
    assert_only_remains(&ground.destination(), 1);
    // What was reserved and never came takes no room.
    let there = Command::new("du")
        .args(["--summarize", "--block-size=1"])
        .arg(ground.destination())
        .output()
        .expect("du");
    let there = String::from_utf8(there.stdout).expect("a number");
    let there: u64 = there
        .split('\t')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert!(there < LONG / 2, "{there}");
}

#[test]
fn interrupted_sender_leaves_what_the_next_one_goes_on_from() {
    let midway = Midway::new();
    midway.sender.signal(Signal::INT);
    let (ground, sender, receiver) = midway.end();
    sender.expect_code(130);
    receiver.expect_code(3).expect_says("interrupted");
    assert_nothing_half_done(&ground);
}

#[test]
fn terminated_receiver_leaves_what_the_next_one_goes_on_from() {
    let midway = Midway::new();
    midway.receiver.signal(Signal::TERM);
    let (ground, sender, receiver) = midway.end();
    receiver.expect_code(130);
    sender.expect_code(3).expect_says("interrupted");
    assert_nothing_half_done(&ground);
}

#[test]
fn interrupted_receiver_tells_the_sender() {
    let midway = Midway::new();
    midway.receiver.signal(Signal::INT);
    let (ground, sender, receiver) = midway.end();
    receiver.expect_code(130);
    sender.expect_code(3).expect_says("interrupted");
    assert_nothing_half_done(&ground);
}

#[test]
fn sender_killed_midway_receiver_reports_peer_gone() {
    let midway = Midway::new();
    midway.sender.signal(Signal::KILL);
    let (ground, sender, receiver) = midway.end();
    assert_eq!(sender.code(), None, "killed");
    receiver.expect_code(3);
    assert!(
        !unfinished(&ground).exists(),
        "half a file under its final name"
    );
}

#[test]
fn receiver_killed_midway_sender_reports_peer_gone() {
    let midway = Midway::new();
    midway.receiver.signal(Signal::KILL);
    let (ground, sender, receiver) = midway.end();
    assert_eq!(receiver.code(), None, "killed");
    sender.expect_code(3);
    assert!(
        !unfinished(&ground).exists(),
        "half a file under its final name"
    );
}

#[test]
fn receiver_that_waits_for_somebody_can_be_interrupted() {
    let ground = Ground::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut receiver = Packhorse::recv(&ground.destination()).start();
        receiver.address();
        receiver.signal(signal);
        receiver.wait().expect_code(130);
    }
    assert_nothing_left_over(&ground.destination());
}

#[test]
fn keeping_receiver_survives_an_interrupted_sender() {
    let ground = Ground::new();
    let long = ground.sparse_file("long.img", LONG);
    let small = ground.source_file("small", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).arg("--keep").start();
    let address = receiver.address();
    let mut sender = Packhorse::send(&[&long], &address).start();
    sender.wait_until_moving();
    sender.signal(Signal::INT);
    sender.wait().expect_code(130);
    Packhorse::send(&[&small], &address).run().expect_code(0);
    receiver.signal(Signal::TERM);
    // Between sessions nothing is interrupted: this is how a receiver that goes on is ended.
    receiver.wait().expect_code(0);
    assert!(!ground.destination().join("long.img").exists());
    assert_only_remains(&ground.destination(), 1);
}

/// Many small files are on their way at any moment: in a record, in a socket, in the lane's hands.
#[test]
fn small_files_are_whole_or_absent_however_it_ends() {
    const FILES: usize = 1_500;
    let mut random = Random::seeded();
    let ground = Ground::new();
    for number in 0..FILES {
        let length = 1 + random.below(9_000);
        ground.source_file(
            &format!("tree/{}/{number}", number % 7),
            random.bytes(length),
        );
    }
    for round in 0..16 {
        let destination = ground.beside().join(format!("round {round}"));
        let mut receiver = Packhorse::recv(&destination).start();
        let source = ground.source().join("tree");
        let sender = Packhorse::send(&[&source], &receiver.address()).start();
        let after = 1 + random.below(FILES / 2);
        let seen = Cell::new(0);
        receiver.wait_for("file", |_| seen.replace(seen.get() + 1) >= after);
        let signal = random.pick(&[Signal::INT, Signal::TERM, Signal::KILL]);
        let ended = random.pick(&[&sender, &receiver]);
        ended.signal(signal);
        sender.wait();
        receiver.wait();
        assert_whole_or_absent(&source, &destination.join("tree"));
        assert_only_remains(&destination, 0);
    }
}

fn assert_whole_or_absent(source: &Path, arrived: &Path) {
    for directory in fs::read_dir(arrived).expect("it began") {
        let directory = directory.expect("an entry").path();
        for file in fs::read_dir(&directory).expect("a directory") {
            let file = file.expect("an entry").path();
            let original = source.join(file.strip_prefix(arrived).expect("beneath"));
            let same = fs::read(&file).expect("a file") == fs::read(original).expect("its source");
            assert!(same, "{} is not what was sent", file.display());
        }
    }
}

/// Starts it with a pipe as its input. When there is a file of that name, it is interrupted, and whoever writes into the pipe ends
/// at the same moment, as with Ctrl-C in a terminal.
const INTERRUPTED_WITH_ITS_INPUT: &str = r#"
    cd "$BESIDE" && mkfifo pipe
    "$0" "$@" < pipe & packhorse=$!
    exec 3> pipe
    head -c 6000000 /dev/zero >&3
    until [ -e interrupt ]; do sleep 0.01; done
    kill -INT $packhorse
    exec 3>&-
    wait $packhorse
"#;

/// What a program had written until it was interrupted is no whole file.
#[test]
fn input_that_ends_with_ctrl_c_is_not_stored() {
    for _ in 0..8 {
        let ground = Ground::new();
        let mut receiver = Packhorse::recv(&ground.destination()).start();
        let sender = Packhorse::send(&[Path::new("-")], &receiver.address())
            .args(["--name", "dump"])
            .env("BESIDE", ground.beside())
            .through(&["bash", "-c", INTERRUPTED_WITH_ITS_INPUT])
            .start();
        receiver.wait_until_moving();
        fs::write(ground.beside().join("interrupt"), "").expect("there is room");
        sender.wait().expect_code(130);
        receiver.wait().expect_code(3);
        assert!(!ground.destination().join("dump").exists());
    }
}
