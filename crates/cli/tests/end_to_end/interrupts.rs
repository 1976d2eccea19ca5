//! Either side may end at any moment: the other learns at once, and nothing half done stays.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::harness::compare::assert_nothing_left_over;
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
    assert_nothing_left_over(&ground.destination());
}

#[test]
fn interrupt_leaves_no_temporary() {
    let midway = Midway::new();
    midway.sender.signal(Signal::INT);
    let (ground, sender, receiver) = midway.end();
    sender.expect_code(130);
    receiver.expect_code(3).expect_says("interrupted");
    assert_nothing_half_done(&ground);
}

#[test]
fn terminated_receiver_leaves_no_temporary() {
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
    // Nothing was under way: that is how a receiver that goes on is ended.
    receiver.wait().expect_code(0);
    assert!(!ground.destination().join("long.img").exists());
    assert_nothing_left_over(&ground.destination());
}
