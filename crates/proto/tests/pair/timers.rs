//! Silence, deadlines and progress.

use std::time::Duration;

use packhorse_proto::control::Violation;
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{AbortCode, Counters, Message};
use packhorse_proto::receiver::{Authentication, Receiver, ReceiverEvent};
use packhorse_proto::sender::{Sender, SenderEvent};

use crate::by_hand::{
    NOW, ROOM, Side, accept, bytes, hello, receiver_events, receiving, sender_config,
    sender_events, sending, welcome,
};
use crate::dice::Dice;
use crate::play::{Pair, Setup};
use crate::tree::file;

const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);
const SILENCE: Duration = Duration::from_secs(30);
const AUTHENTICATION: Duration = Duration::from_secs(15);

fn assert_deadline(said: &[Message]) {
    let last = said.last();
    let code = AbortCode::Deadline;
    assert!(matches!(last, Some(Message::Abort { code: c, .. }) if *c == code));
}

#[test]
fn a_receiver_notices_silence_at_the_deadline() {
    let mut receiver = receiving(Limits::default());
    receiver.handle_timeout(SILENCE - INSTANT).unwrap();
    assert_eq!(
        receiver.handle_timeout(SILENCE),
        Err(Violation::Silence(SILENCE))
    );
    assert_deadline(&receiver.said());
    assert_eq!(receiver.poll_timeout(), None);
    assert_eq!(receiver.handle_timeout(2 * SILENCE), Ok(()));
}

#[test]
fn a_sender_notices_silence_at_the_deadline() {
    let mut sender = sending(&[file("a", None)]);
    sender.handle_timeout(SILENCE - INSTANT).unwrap();
    assert_eq!(
        sender.handle_timeout(SILENCE),
        Err(Violation::Silence(SILENCE))
    );
    assert_deadline(&sender.said());
    assert_eq!(sender.poll_timeout(), None);
}

#[test]
fn anything_said_breaks_the_silence() {
    let mut receiver = receiving(Limits::default());
    let progress = bytes(&Message::Progress(Counters::default()));
    receiver.handle_bytes(&progress, SILENCE - INSTANT).unwrap();
    receiver.handle_timeout(SILENCE).unwrap();
    let end = 2 * SILENCE - INSTANT;
    assert_eq!(
        receiver.handle_timeout(end),
        Err(Violation::Silence(SILENCE))
    );
}

#[test]
fn an_unauthenticated_sender_is_dropped_whatever_it_trickles() {
    let mut receiver = Receiver::new(Limits::default(), Authentication::Code, NOW);
    // A type that is skipped, so that nothing in it can be wrong.
    let trickle = [&[200, 0, 255, 255][..], &[0; 100]].concat();
    let (mut now, mut dropped) = (NOW, None);
    for byte in trickle {
        assert!(receiver.poll_timeout().unwrap() <= AUTHENTICATION);
        receiver.handle_bytes(&[byte], now).unwrap();
        if let Err(violation) = receiver.handle_timeout(now) {
            dropped = Some((now, violation));
            break;
        }
        now += SECOND;
    }
    let violation = Violation::Unauthenticated(AUTHENTICATION);
    assert_eq!(dropped, Some((AUTHENTICATION, violation)));
    assert_deadline(&receiver.said());
}

#[test]
fn a_hello_does_not_extend_the_deadline() {
    let mut receiver = Receiver::new(Limits::default(), Authentication::None, NOW);
    let late = AUTHENTICATION - INSTANT;
    receiver.handle_bytes(&bytes(&hello()), late).unwrap();
    receiver.welcome(0, None, "stable");
    assert_eq!(receiver.poll_timeout(), Some(AUTHENTICATION));
    assert!(receiver.handle_timeout(AUTHENTICATION).is_err());
}

#[test]
fn a_receiver_that_does_not_authenticate_is_left() {
    let mut sender = Sender::new(sender_config(), NOW);
    assert_eq!(sender.poll_timeout(), Some(AUTHENTICATION));
    assert_eq!(
        sender.handle_timeout(AUTHENTICATION),
        Err(Violation::Unauthenticated(AUTHENTICATION))
    );
    assert_deadline(&sender.said());
}

#[test]
fn progress_goes_each_second() {
    let mut sender = sending(&[file("a", None)]);
    let counters = Counters {
        bytes: 1,
        files: 2,
        bytes_known: 3,
        files_known: 4,
    };
    sender.set_counters(counters);
    for seconds in 1..20 {
        assert_eq!(sender.poll_timeout(), Some(seconds * SECOND));
        sender.handle_timeout(seconds * SECOND - INSTANT).unwrap();
        assert_eq!(sender.said(), []);
        sender.handle_timeout(seconds * SECOND).unwrap();
        assert_eq!(sender.said(), [Message::Progress(counters)]);
    }
}

#[test]
fn nobody_tells_progress_before_the_session_is_open() {
    let mut receiver = Receiver::new(Limits::default(), Authentication::Code, NOW);
    let mut sender = Sender::new(sender_config(), NOW);
    sender.take();
    for seconds in 1..15 {
        receiver.handle_timeout(seconds * SECOND).unwrap();
        sender.handle_timeout(seconds * SECOND).unwrap();
    }
    assert_eq!((receiver.said(), sender.said()), (vec![], vec![]));
}

#[test]
fn both_hear_how_far_the_other_is_through_a_long_wait() {
    let mut dice = Dice::new(3);
    let mut pair = Pair::new(Setup {
        authentication: Authentication::Code,
        tree: vec![file("a", Some(1))],
        ..Setup::default()
    });
    pair.settle_links(&mut dice).unwrap();
    // The receiver's owner thinks about it for ten seconds.
    for _ in 0..10 {
        pair.pass_time(SECOND).unwrap();
        pair.settle_links(&mut dice).unwrap();
    }
    assert_eq!(pair.sender.peer_progress.len(), 10);
    assert_eq!(pair.receiver.peer_progress.len(), 10);
    pair.open(&mut dice);
    for _ in 0..1000 {
        pair.pass_time(SECOND).unwrap();
        pair.settle_links(&mut dice).unwrap();
    }
    assert_eq!(pair.sender.peer_progress.len(), 1010);
    pair.play(&mut dice);
}

#[test]
fn a_dead_network_is_noticed_on_both_sides() {
    let mut dice = Dice::new(3);
    let mut pair = Pair::new(Setup {
        authentication: Authentication::Code,
        ..Setup::default()
    });
    pair.settle_links(&mut dice).unwrap();
    let mut elapsed = NOW;
    // Bytes go out and none arrive.
    let violation = loop {
        elapsed += SECOND;
        if let Err(violation) = pair.pass_time(SECOND) {
            break violation;
        }
        pair.drain();
    };
    assert_eq!((violation, elapsed), (Violation::Silence(SILENCE), SILENCE));
}

#[test]
fn progress_of_the_peer_is_told() {
    let counters = Counters {
        bytes: u64::MAX,
        ..Counters::default()
    };
    let progress = bytes(&Message::Progress(counters));
    let mut receiver = receiving(Limits::default());
    receiver.hear(&progress).unwrap();
    let told = receiver_events(&mut receiver);
    assert_eq!(told, [ReceiverEvent::PeerProgress(counters)]);

    let mut sender = Sender::new(sender_config(), NOW);
    sender.hear(&welcome(0, None)).unwrap();
    sender_events(&mut sender);
    sender.hear(&progress).unwrap();
    let told = sender_events(&mut sender);
    assert_eq!(told, [SenderEvent::PeerProgress(counters)]);
    sender.hear(&accept(ROOM, 1)).unwrap();
}
