//! Connections that break while a tree crosses: both sides find each other again and go on.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::compare::{
    assert_nothing_left_over, assert_only_remains, assert_same_tree, partial_file,
};
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::tree::many_small_files;
use crate::harness::{Ended, Ground, Packhorse, Running};
use crate::resume::wait_until_it_stands;

pub(crate) const MEBIBYTE: u64 = 1 << 20;

/// What may have been on its way at each break, and is sent again.
pub(crate) const ON_ITS_WAY: u64 = 40 * MEBIBYTE;

/// A tree that is on its way through a proxy, from a sender and to a receiver that both do not give up.
pub(crate) struct Midway {
    pub(crate) ground: Ground,
    pub(crate) source: PathBuf,
    pub(crate) proxy: Proxy,
    pub(crate) sender: Running,
    pub(crate) receiver: Running,
}

impl Midway {
    /// Stands where so many bytes have passed.
    pub(crate) fn new(large: u64, options: &[&str], bytes: u64) -> Self {
        let ground = Ground::new();
        let mut random = Random::seeded();
        let content = random.bytes(usize::try_from(large).expect("it is in memory"));
        ground.source_file("tree/large.bin", content);
        many_small_files(ground.source().join("tree/a"), 300);
        many_small_files(ground.source().join("tree/z"), 300);
        let source = ground.source().join("tree");
        let receiver = Packhorse::patient_recv(&ground.destination()).args(options);
        let mut receiver = receiver.start();
        let proxy = Proxy::to(&receiver.address());
        proxy.stop_after(bytes);
        let sender = Packhorse::patient_send(&[&source], &proxy.address()).start();
        Self {
            ground,
            source,
            proxy,
            sender,
            receiver,
        }
    }

    /// Waits until the receiver has all that has passed; answers how many bytes of content it has.
    pub(crate) fn stand(&mut self) -> u64 {
        wait_until_it_stands(&mut self.receiver, &self.proxy)
    }

    /// Waits for both ends; what arrives has to be whole. Answers (sender, receiver).
    #[track_caller]
    pub(crate) fn complete(self) -> (Ended, Ended) {
        let (sender, receiver) = (self.sender.wait(), self.receiver.wait());
        sender.expect_code(0);
        receiver.expect_code(0);
        assert_arrived(&self.source, &self.ground.destination());
        (sender, receiver)
    }
}

#[track_caller]
fn assert_arrived(source: &Path, destination: &Path) {
    assert_same_tree(source, &destination.join("tree"));
    assert_nothing_left_over(destination);
}

fn resumed(ended: &Ended) -> u64 {
    ended.done()["resumed_bytes"].as_u64().expect("a number")
}

#[test]
fn a_connection_that_broke_is_made_again_and_the_transfer_goes_on() {
    for cut in [Proxy::reset, Proxy::close] {
        let mut midway = Midway::new(192 * MEBIBYTE, &[], 96 * MEBIBYTE);
        let had = midway.stand();
        cut(&midway.proxy);
        midway.proxy.go_on();
        let (sender, receiver) = midway.complete();
        assert_eq!(sender.events_named("reconnecting").len(), 1);
        assert_eq!(receiver.events_named("waiting").len(), 1);
        assert!(resumed(&sender) >= had - ON_ITS_WAY, "{}", resumed(&sender));
        assert_eq!(resumed(&sender), resumed(&receiver));
    }
}

/// The sender is killed outright, and its user gives the same command again, with the same code.
#[test]
fn the_same_command_again_finds_the_receiver_waiting() {
    let mut midway = Midway::new(128 * MEBIBYTE, &[], 64 * MEBIBYTE);
    let had = midway.stand();
    midway.sender.signal(Signal::KILL);
    midway.proxy.go_on();
    midway.receiver.wait_for("waiting", |_| true);
    let again = Packhorse::patient_send(&[&midway.source], &midway.proxy.address()).start();
    let killed = std::mem::replace(&mut midway.sender, again);
    killed.wait();
    midway.proxy.go_on();
    let (sender, _) = midway.complete();
    assert!(resumed(&sender) >= had - ON_ITS_WAY);
}

/// The same before the receiver has noticed that the other is dead.
#[test]
fn the_same_command_again_waits_until_the_receiver_is_free() {
    let mut midway = Midway::new(128 * MEBIBYTE, &[], 64 * MEBIBYTE);
    midway.stand();
    midway.sender.signal(Signal::STOP);
    midway.proxy.go_on();
    let came = midway.proxy.connections() as u64;
    let again = Packhorse::patient_send(&[&midway.source], &midway.proxy.address()).start();
    // It is refused, once at least.
    midway.proxy.wait_until_came(came + 2);
    midway.sender.signal(Signal::KILL);
    let killed = std::mem::replace(&mut midway.sender, again);
    killed.wait();
    midway.complete();
}

/// The receiver is killed outright and started again with the same code: the sender goes on by itself.
#[test]
fn a_receiver_that_comes_back_is_found_by_its_sender() {
    let mut midway = Midway::new(128 * MEBIBYTE, &[], 64 * MEBIBYTE);
    let had = midway.stand();
    midway.receiver.signal(Signal::KILL);
    midway.sender.wait_for("reconnecting", |_| true);
    let mut again = Packhorse::patient_recv(&midway.ground.destination()).start();
    midway.proxy.aim(&again.address());
    std::mem::replace(&mut midway.receiver, again).wait();
    midway.proxy.go_on();
    let (sender, _) = midway.complete();
    assert!(resumed(&sender) >= had - ON_ITS_WAY);
}

#[test]
fn a_receiver_that_goes_on_waits_for_the_sender_that_broke_first() {
    let mut midway = Midway::new(128 * MEBIBYTE, &["--keep"], 64 * MEBIBYTE);
    midway.stand();
    midway.proxy.reset();
    midway.proxy.go_on();
    let sender = midway.sender.wait();
    sender.expect_code(0);
    assert_arrived(&midway.source, &midway.ground.destination());
    midway.receiver.signal(Signal::TERM);
    midway.receiver.wait().expect_code(0);
}

/// What it was is told with what kept it from being made again.
#[test]
fn both_sides_give_up_after_the_time_they_were_given() {
    for killed in [Signal::KILL, Signal::INT] {
        let ground = Ground::new();
        let source = ground.sparse_file("tree/long.img", 16 << 30);
        let receiver = Packhorse::patient_recv(&ground.destination());
        let mut receiver = receiver.args(["--retry-for", "700ms"]).start();
        let sender = Packhorse::patient_send(&[&source], &receiver.address());
        let sender = sender.args(["--retry-for", "700ms"]).start();
        receiver.wait_until_moving();
        sender.signal(killed);
        receiver.wait().expect_code(3);
        sender.wait();
        assert_only_remains(&ground.destination(), 1);
        let mut receiver = Packhorse::patient_recv(&ground.destination()).start();
        let sender = Packhorse::patient_send(&[&source], &receiver.address());
        let sender = sender.args(["--retry-for", "700ms"]).start();
        receiver.wait_until_moving();
        receiver.signal(killed);
        let sender = sender.wait();
        sender.expect_code(3);
        receiver.wait();
        // Who was interrupted says so, and nobody tries to find it again.
        let tries = sender.events_named("reconnecting").len();
        assert_eq!(tries > 0, killed == Signal::KILL, "{tries}");
        if tries > 0 {
            sender.expect_says("could not be made again");
        }
    }
}

#[test]
fn a_receiver_that_waits_can_be_interrupted() {
    let mut midway = Midway::new(128 * MEBIBYTE, &[], 64 * MEBIBYTE);
    midway.stand();
    midway.sender.signal(Signal::KILL);
    midway.proxy.go_on();
    midway.receiver.wait_for("waiting", |_| true);
    midway.receiver.signal(Signal::INT);
    midway
        .receiver
        .wait()
        .expect_code(130)
        .expect_says("goes on from them");
    midway.sender.wait();
}

/// Standard input is gone when it was read.
#[test]
fn standard_input_is_not_sent_again() {
    let ground = Ground::new();
    let mut receiver = Packhorse::patient_recv(&ground.destination()).start();
    let proxy = Proxy::to(&receiver.address());
    let sender = Packhorse::patient_send(&[Path::new("-")], &proxy.address());
    let sender = sender
        .args(["--name", "dump"])
        .input(vec![7; 512 << 20])
        .start();
    receiver.wait_until_moving();
    proxy.reset();
    let sender = sender.wait();
    sender.expect_code(3);
    assert!(sender.events_named("reconnecting").is_empty());
    receiver.signal(Signal::INT);
    receiver.wait().expect_code(130);
    assert!(!ground.destination().join("dump").exists());
    assert_only_remains(&ground.destination(), 0);
}

/// One direction hangs, and then the other: nothing is lost when it comes back before anybody gives up.
#[test]
fn a_network_that_hangs_for_a_moment_changes_nothing() {
    let mut midway = Midway::new(128 * MEBIBYTE, &[], 32 * MEBIBYTE);
    midway.stand();
    midway.proxy.go_on();
    for held in [[true, false], [false, true], [true, true], [false, false]] {
        midway.proxy.hold(held);
        // How long it hangs is what is tested.
        thread::sleep(Duration::from_millis(300));
    }
    let (sender, _) = midway.complete();
    assert!(sender.events_named("reconnecting").is_empty());
    assert_eq!(resumed(&sender), 0);
}

/// How long after a partial file was left a change of it is noticed: docs/architecture.md.
const UNNOTICED: i64 = 20_000_000;

/// When the filesystem says that this was changed last, in nanoseconds.
fn changed_at(path: &Path) -> i64 {
    let known = std::fs::metadata(path).expect("it is there");
    known.ctime() * 1_000_000_000 + known.ctime_nsec()
}

/// What somebody else wrote into a partial file while its receiver waited is not believed, whatever times he gave it.
#[test]
fn a_partial_file_that_is_changed_while_its_receiver_waits_is_read_again() {
    let mut midway = Midway::new(64 * MEBIBYTE, &[], 32 * MEBIBYTE);
    midway.stand();
    midway.proxy.reset();
    midway.receiver.wait_for("waiting", |_| true);
    let part = partial_file(&midway.ground.destination().join("tree"));
    let left_at = changed_at(&part);
    let clock = midway.ground.beside().join("clock");
    loop {
        std::fs::write(&clock, "tick").expect("there is room");
        if changed_at(&clock) > left_at + 2 * UNNOTICED {
            break;
        }
    }
    let file = File::options().read(true).write(true).open(part);
    let file = file.expect("it is there");
    let modified = file.metadata().and_then(|known| known.modified());
    let mut first = [0];
    file.read_exact_at(&mut first, 4096).expect("it is there");
    file.write_all_at(&[!first[0]], 4096).expect("a byte");
    file.set_modified(modified.expect("a time"))
        .expect("it is ours");
    midway.proxy.go_on();
    midway.complete();
}
