//! Everything is stored, and the connection breaks before both sides know it.

use rustix::process::Signal;

use super::crossing::{Crossing, MEBIBYTE};
use super::report::Case;
use crate::harness::proxy::Proxy;
use crate::harness::{Packhorse, Running};

/// What passes the proxy, to the receiver and from it.
const NOTHING_TO: [bool; 2] = [true, false];
const NOTHING_FROM: [bool; 2] = [false, true];
const ALL: [bool; 2] = [false, false];

/// A receiver that is about to say that everything is stored, and which of what is said from then on is lost.
fn at_the_receipt(
    crossing: &mut Crossing,
    lost: [bool; 2],
    patience: &str,
) -> (Proxy, Running, Running) {
    crossing.case.rounds += 1;
    let mut receiver = Packhorse::patient_recv(&crossing.destination)
        .args(["--retry-for", patience])
        .env("PACKHORSE_FAULT", "send.receipt:1:stop,sent.receipt:1:stop")
        .start();
    let proxy = Proxy::to(&receiver.address());
    let sender = Packhorse::patient_send(&[&crossing.source], &proxy.address()).start();
    receiver.wait_until_stopped();
    proxy.hold(lost);
    receiver.signal(Signal::CONT);
    receiver.wait_until_stopped();
    (proxy, sender, receiver)
}

/// The receiver waits until the sender has come again and has it; it tells of both sessions.
#[test]
fn a_receipt_that_is_lost() {
    let case = Case::new("receipt", "the connection breaks under the receipt");
    let mut crossing = Crossing::new(case, 4 * MEBIBYTE, 300);
    let (proxy, sender, receiver) = at_the_receipt(&mut crossing, NOTHING_FROM, "1s");
    proxy.reset();
    proxy.hold(ALL);
    receiver.signal(Signal::CONT);
    let (sender, receiver) = (sender.wait(), receiver.wait());
    sender.expect_code(0);
    receiver.expect_code(0);
    assert_eq!(sender.events_named("reconnecting").len(), 1);
    let done = receiver.events_named("done");
    assert_eq!(done.len(), 2);
    assert_eq!(done[1]["resumed_bytes"], crossing.size);
    crossing.case.rounds += 1;
    crossing.assert_whole();
    crossing.count(&proxy);
    crossing.report(1);
}

/// The receiver cannot know that the sender has the receipt. It waits for a while, and keeps what it knows of the files: nothing
/// is sent again if the sender has not.
#[test]
fn a_bye_that_is_lost() {
    let case = Case::new("bye", "the connection breaks under the sender's last word");
    let mut crossing = Crossing::new(case, 4 * MEBIBYTE, 300);
    let (proxy, sender, receiver) = at_the_receipt(&mut crossing, NOTHING_TO, "1s");
    receiver.signal(Signal::CONT);
    sender.wait().expect_code(0);
    proxy.reset();
    proxy.hold(ALL);
    let receiver = receiver.wait();
    receiver.expect_code(0);
    let waited = receiver.events_named("waiting");
    assert_eq!(waited.len(), 1);
    assert_eq!(waited[0]["at_most_seconds"], 1.0);
    assert_eq!(receiver.events_named("done").len(), 1);
    crossing.count(&proxy);
    assert_eq!(crossing.complete(), crossing.size);
    crossing.report(1);
}

/// Whatever a stranger does meanwhile: everything is stored.
#[test]
fn wrong_codes_while_nothing_but_a_bye_is_missing() {
    let case = Case::new("bye", "wrong codes come instead of the sender");
    let mut crossing = Crossing::new(case, 4 * MEBIBYTE, 300);
    let (proxy, sender, mut receiver) = at_the_receipt(&mut crossing, NOTHING_TO, "300s");
    receiver.signal(Signal::CONT);
    sender.wait().expect_code(0);
    proxy.reset();
    proxy.hold(ALL);
    receiver.wait_for("waiting", |_| true);
    for _ in 0..3 {
        let stranger = Packhorse::send(&[&crossing.source], &proxy.address());
        stranger.code("1-wrong-code").run().expect_code(4);
    }
    let receiver = receiver.wait();
    receiver.expect_code(0);
    receiver.done();
    crossing.complete();
    crossing.report(1);
}
