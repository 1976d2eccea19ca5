//! Receivers that mean harm, against `packhorse send`.

use std::time::{Duration, Instant};

use super::{AT_ONCE, assert_decent, expect_error};
use crate::harness::peer::{insecure_send, peer};
use crate::harness::{Ended, Ground};

/// Sends a small tree to a hostile receiver: (sender, receiver, how long it took).
#[track_caller]
fn serve(scenario: &str) -> Option<(Ended, Ended, Duration)> {
    let ground = Ground::new();
    ground.source_file("tree/a", "content");
    ground.source_file("tree/b\x1b[31m", "content");
    let receiver = peer(scenario, "hostile_receiver.py")?.arg(scenario);
    let mut receiver = receiver.start();
    let begun = Instant::now();
    let tree = ground.source().join("tree");
    let sender = insecure_send(&[&tree], &receiver.address()).run();
    let took = begun.elapsed();
    assert_decent(&sender);
    // What it serves is over when the sender is.
    Some((sender, receiver.wait(), took))
}

/// The sender ends with 6 and tells the receiver why.
#[track_caller]
fn breach(scenario: &str, says: &str) {
    let Some((sender, receiver, took)) = serve(scenario) else {
        return;
    };
    sender.expect_code(6);
    expect_error(&sender, says);
    let aborted = receiver.events_named("aborted");
    let told = aborted
        .first()
        .is_some_and(|event| event["code"] == 6 || event["code"] == 7);
    assert!(told, "no abort: {}\n{}", receiver.told(), sender.told());
    assert!(took < AT_ONCE, "{took:?}");
}

breaches! {
    settlement_of_never_listed: "never listed";
    settlement_of_all_numbers: "protocol";
    settlement_beyond_numbers: "protocol";
    settlement_twice: "settled";
    lane_that_took_more_than_was_sent: "what a lane carried";
    end_of_a_lane_that_never_was: "never was";
    end_of_a_lane_twice: "came before";
    settlements_that_overlap: "protocol";
    settlement_of_none: "protocol";
    settlement_of_odd_length: "protocol";
    failure_of_never_listed: "never listed";
    kept_directory: "protocol";
    receipt_early: "protocol";
    message_of_a_sender: "protocol";
    second_accept: "protocol";
    unknown_mandatory_message: "99";
    flaw_of_a_bad_path: "../x";
    text_too_long: "protocol";
    window_of_no_entries: "protocol";
    window_of_no_bytes: "protocol";
    no_lanes: "protocol";
    window_beyond_its_bound: "protocol";
    session_name_of_15_bytes: "protocol";
    suite_without_encryption: "protocol";
    share_without_encryption: "protocol";
    wrong_root_in_the_receipt: "root";
    right_root_and_wrong_totals: "agree";
}

#[test]
fn bytes_on_a_lane() {
    // They are not read, or refused; they harm nobody.
    if let Some((sender, _, took)) = serve("bytes_on_a_lane") {
        sender.expect_code_in(&[0, 6]);
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn receipt_twice() {
    // The first one completes the session; what follows is not read, or refused.
    if let Some((sender, _, took)) = serve("receipt_twice") {
        sender.expect_code_in(&[0, 6]);
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn abort_with_terminal_escapes() {
    if let Some((sender, _, took)) = serve("abort_with_terminal_escapes") {
        sender.expect_code(4).expect_says("\\u{1b}[2Jboo");
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn abort_of_a_later_version() {
    if let Some((sender, _, took)) = serve("abort_of_a_later_version") {
        sender.expect_code(6).expect_says("of another kind");
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn failures_with_terminal_escapes() {
    if let Some((sender, receiver, took)) = serve("failures_with_terminal_escapes") {
        sender
            .expect_code(1)
            .expect_says("b\\u{1b}[31m")
            .expect_says("\\u{1b}[31mred");
        receiver.expect_code(0);
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn closes_lanes() {
    if let Some((sender, _, took)) = serve("closes_lanes") {
        sender.expect_code(3).expect_says("lost");
        assert!(!sender.events_named("lane").is_empty(), "{}", sender.told());
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn garbage_instead_of_a_preface() {
    if let Some((sender, _, took)) = serve("garbage_instead_of_a_preface") {
        sender.expect_code(6).expect_says("port");
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn receiver_that_stops_reading_ends_the_session() {
    let ground = Ground::new();
    // More than the kernel's buffers take in.
    ground.sparse_file("tree/long.img", 1 << 30);
    let scenario = "stops_reading";
    let Some(receiver) = peer(scenario, "hostile_receiver.py") else {
        return;
    };
    let mut receiver = receiver.arg(scenario).start();
    let tree = ground.source().join("tree");
    let sender = insecure_send(&[&tree], &receiver.address()).start();
    let begun = Instant::now();
    let sender = sender.wait();
    sender.expect_code(3).expect_says("30 seconds");
    assert!(
        begun.elapsed() < Duration::from_secs(45),
        "{:?}",
        begun.elapsed()
    );
    assert_decent(&sender);
}
