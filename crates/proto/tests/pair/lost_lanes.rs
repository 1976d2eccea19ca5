//! Lanes that are lost: what each side says of them, and what it does not take.

use packhorse_proto::limits::Limits;
use packhorse_proto::message::{Message, Times};
use packhorse_proto::receiver::ReceiverEvent;
use packhorse_proto::sender::{Sender, SenderEvent};
use packhorse_proto::window::Content;

use crate::by_hand::{
    Side, bytes, entries, raw, receiver_events, receiving, refusal, sender_events, sending,
};
use crate::dice::Dice;
use crate::play::{Pair, Setup};
use crate::tree::file;

fn lost(lane: u16) -> Vec<u8> {
    bytes(&Message::LaneLost { lane })
}

fn closed(lane: u16, taken: u64) -> Vec<u8> {
    bytes(&Message::LaneClosed { lane, taken })
}

/// A sender that has listed a file and opened lanes 0 and 1.
fn two_lanes() -> Sender {
    let mut sender = sending(&[file("a", Some(1))]);
    sender.lane_opened(0);
    sender.lane_opened(1);
    sender
}

#[test]
fn a_lane_that_the_sender_loses_is_answered_once() {
    let mut sender = two_lanes();
    let mut receiver = receiving(Limits::default());
    receiver.hear(&entries(0, &[file("a", Some(1))])).unwrap();
    receiver_events(&mut receiver);
    sender.lane_lost(1);
    receiver.hear(&sender.take()).unwrap();
    assert_eq!(
        receiver_events(&mut receiver),
        [ReceiverEvent::LaneLost { lane: 1 }]
    );
    receiver.lane_closed(1, 7);
    receiver.lane_closed(1, 8);
    sender.hear(&receiver.take()).unwrap();
    let (lane, taken) = (1, 7);
    assert_eq!(
        sender_events(&mut sender),
        [SenderEvent::LaneClosed { lane, taken }]
    );
    sender.lane_carried(7, taken).unwrap();
}

#[test]
fn a_loss_that_both_sides_notice_is_told_once_by_each() {
    let mut sender = two_lanes();
    let mut receiver = receiving(Limits::default());
    receiver.lane_closed(0, 3);
    sender.lane_lost(0);
    receiver.hear(&sender.take()).unwrap();
    assert_eq!(receiver_events(&mut receiver), [], "it was told already");
    sender.hear(&receiver.take()).unwrap();
    assert_eq!(sender_events(&mut sender).len(), 1);
    // Where the receiver was first, there is nothing to be said.
    receiver.lane_closed(1, 0);
    sender.hear(&receiver.take()).unwrap();
    sender.lane_lost(1);
    assert_eq!(sender.said(), []);
}

#[test]
fn an_answer_may_cross_the_close() {
    let mut sender = two_lanes();
    let (size, hash) = (1, [4; 32]);
    sender.content(0, Content { size, hash });
    sender.end_of_entries();
    sender.lane_lost(0);
    sender
        .hear(&bytes(&Message::Settled { runs: vec![(0, 1)] }))
        .unwrap();
    sender.close(0, Times::default());
    sender.hear(&closed(0, 1)).unwrap();
    sender.lane_lost(1);
    let said = sender.said();
    assert!(
        matches!(said.last(), Some(Message::Close { .. })),
        "{said:?}"
    );
}

#[test]
fn what_a_sender_may_not_say_of_lanes() {
    let told = "something that does not belong here: the loss of a lane that was lost";
    let again = [lost(4), lost(4)];
    assert_eq!(refusal(receiving(Limits::default()), &again), told);
    let mut answered = receiving(Limits::default());
    answered.lane_closed(4, 1);
    assert_eq!(refusal(answered, &again), told);
    let theirs = refusal(receiving(Limits::default()), &[closed(0, 0)]);
    assert!(
        theirs.ends_with("the receiver waited for entries"),
        "{theirs}"
    );
    let wide = refusal(
        receiving(Limits::default()),
        &[raw(22, &[0xa1, 0, 0x1a, 0, 1, 0, 0])],
    );
    assert_eq!(
        wide,
        "a damaged message of type 22: field 0 is out of bounds"
    );
}

#[test]
fn what_a_receiver_may_not_say_of_lanes() {
    let never = "something that does not belong here: the end of a lane that never was";
    for lane in [2, u16::MAX] {
        assert_eq!(refusal(two_lanes(), &[closed(lane, 0)]), never);
    }
    let twice = "something that does not belong here: the end of a lane that came before";
    let again = [closed(1, 0), closed(1, 0)];
    assert_eq!(refusal(two_lanes(), &again), twice);
    let mut sender = two_lanes();
    sender.lane_lost(1);
    assert_eq!(refusal(sender, &again), twice);
    let theirs = refusal(two_lanes(), &[lost(0)]);
    assert!(
        theirs.ends_with("the sender waited for outcomes"),
        "{theirs}"
    );
}

#[test]
fn a_receiver_that_took_more_than_was_sent() {
    let mut sender = two_lanes();
    sender.hear(&closed(0, 9)).unwrap();
    let violation = sender.lane_carried(8, 9).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "both sides do not agree on what a lane carried"
    );
    assert!(matches!(sender.said()[..], [Message::Abort { .. }]));
}

#[test]
fn lanes_are_lost_only_while_a_session_is_open() {
    let mut receiver = receiving(Limits::default());
    receiver
        .hear(&bytes(&Message::EntriesEnd { count: 0 }))
        .unwrap();
    let root = packhorse_proto::manifest::ManifestRoot::new().finish();
    let close = bytes(&Message::Close {
        root,
        unlisted: 0,
        times: Times::default(),
    });
    receiver.hear(&close).unwrap();
    receiver.lane_closed(3, 0);
    assert_eq!(receiver.said(), [], "nobody needs it any more");
    let told = refusal(receiver, &[lost(0)]);
    assert!(told.ends_with("the receiver did not wait for it"), "{told}");
}

/// What chance does in `sessions` reaches what it is there for.
#[test]
fn files_on_lanes_that_are_lost_by_chance_are_sent_again_and_settled_once() {
    let again = (0..50).map(|seed| {
        let mut dice = Dice::new(seed);
        let mut pair = Pair::new(Setup {
            tree: (0..60)
                .map(|n| file(&format!("{n:02}"), Some(n + 1)))
                .collect(),
            lanes: 3,
            ..Setup::default()
        });
        pair.play(&mut dice);
        pair.sender.again
    });
    assert!(again.sum::<u64>() > 50);
}
