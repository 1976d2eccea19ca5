//! Whoever comes to the door, or into a session, and stays too long: an honest sender is served all
//! the same, and nobody takes memory or time without a bound.

use std::time::{Duration, Instant};

use super::{Attack, assert_decent, assert_unharmed, trapped_ground};
use crate::harness::peer::{insecure_recv, insecure_send, peer};
use crate::harness::{Ground, Packhorse, Running, assert_untouched};

/// What a receiver holds on to at most.
const MEMORY: u64 = 64 << 20;

/// One test for each scenario at whose end an honest session is served.
macro_rules! survived {
    ($($scenario:ident;)*) => {
        $(#[test]
        fn $scenario() {
            if let Some(attack) = Attack::run(stringify!($scenario)) {
                attack.receiver.expect_code(0);
                attack.served().holds("good", b"abc");
            }
        })*
    };
}

survived! {
    deep_nesting_is_skipped;
    garbage_at_the_door;
    tls_behind_a_preface_without;
    lanes_of_strangers;
    lane_number_twice;
    more_lanes_than_told;
    second_sender_meanwhile;
    lane_that_stays_open;
}

#[test]
fn lane_is_closed_when_it_has_ended() {
    let ground = Ground::new();
    ground.source_file("tree/file", "content");
    let test = "lane_is_closed_when_it_has_ended";
    let Some(sender) = peer(test, "sender.py") else {
        return;
    };
    let mut receiver = insecure_recv(&ground.destination()).start();
    let sender = sender
        .arg("--await-lanes")
        .arg(ground.source().join("tree"));
    sender.arg(receiver.address()).run().expect_code(0);
    receiver.wait().expect_code(0);
}

/// A hostile sender that was started, and has said this event.
fn started(scenario: &str, address: &str, event: &str) -> Option<Running> {
    let sender = peer(scenario, "hostile_sender.py")?.args([scenario, address]);
    let mut sender = sender.start();
    sender.wait_for(event, |_| true);
    Some(sender)
}

#[test]
fn crowd_that_says_nothing_does_not_keep_others_out() {
    let ground = trapped_ground();
    let file = ground.source_file("file", "content");
    let mut receiver = insecure_recv(&ground.destination()).start();
    let address = receiver.address();
    let Some(_crowd) = started("idle_crowd", &address, "crowded") else {
        return;
    };
    let begun = Instant::now();
    // The crowd is sent away at its deadline at the latest.
    let sender = insecure_send(&[&file], &address).run();
    let receiver = receiver.wait();
    sender.expect_code(0);
    receiver.expect_code(0);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert_decent(&receiver);
    assert_unharmed(&ground);
}

#[test]
fn slow_hello_runs_into_the_deadline() {
    let ground = trapped_ground();
    let mut receiver = insecure_recv(&ground.destination()).start();
    let scenario = "slow_hello";
    let Some(slow) = peer(scenario, "hostile_sender.py") else {
        return;
    };
    let mut slow = slow.args([scenario, &receiver.address()]).start();
    let closed = slow.wait_for("closed", |_| true);
    let seconds = closed["seconds"].as_f64().expect("a number");
    assert!((10.0..25.0).contains(&seconds), "{seconds}");
    receiver.wait_for("refused", |event| {
        event["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("15"))
    });
}

#[test]
fn sender_that_falls_silent_ends_the_session() {
    let ground = trapped_ground();
    let mut receiver = insecure_recv(&ground.destination()).start();
    let address = receiver.address();
    let Some(_silent) = started("falls_silent", &address, "silent") else {
        return;
    };
    let begun = Instant::now();
    let receiver = receiver.wait();
    receiver.expect_code(3).expect_says("30 seconds");
    assert!(
        begun.elapsed() < Duration::from_secs(45),
        "{:?}",
        begun.elapsed()
    );
    assert_unharmed(&ground);
    assert!(!ground.destination().join("file").exists());
}

#[test]
fn many_entries_take_little_memory() {
    let ground = trapped_ground();
    let mut receiver = insecure_recv(&ground.destination()).arg("-q").start();
    let address = receiver.address();
    let Some(_sender) = started("many_entries", &address, "settled") else {
        return;
    };
    assert_peak(&receiver);
}

#[test]
fn sender_that_reads_nothing_ends_the_session() {
    let ground = trapped_ground();
    let mut receiver = insecure_recv(&ground.destination()).arg("-q").start();
    let address = receiver.address();
    let scenario = "many_failures_that_nobody_reads";
    let Some(_sender) = started(scenario, &address, "stopped") else {
        return;
    };
    assert_peak(&receiver);
    // It still says how far it is, each second; but what it is told does not get through.
    let begun = Instant::now();
    let receiver = receiver.wait();
    let took = begun.elapsed();
    receiver.expect_code_in(&[3, 6]);
    assert!(took < Duration::from_secs(45), "{took:?}");
    assert_unharmed(&ground);
}

#[track_caller]
fn assert_peak(running: &Running) {
    // A receiver that has ended already has set its bound by ending.
    if let Some(peak) = running.peak_memory() {
        assert!(peak < MEMORY, "{} MiB", peak >> 20);
    }
}

/// Nothing that a stranger says reaches the destination.
#[test]
fn nothing_is_made_for_strangers() {
    let ground = Ground::new();
    let Some(garbage) = peer("nothing_is_made_for_strangers", "hostile_sender.py") else {
        return;
    };
    let receiver = Packhorse::recv(&ground.destination());
    let mut receiver = receiver.start();
    // With encryption asked for, a session without it is refused.
    let garbage = garbage.args(["special_bits", &receiver.address()]).run();
    garbage.expect_code(3);
    receiver.wait_for("refused", |_| true);
    assert_untouched(&ground.destination());
}
