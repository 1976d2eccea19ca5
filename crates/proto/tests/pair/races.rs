//! What may cross on its way without harm.

use packhorse_proto::entry::Kind;
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{Assurance, Failure, FailureClass, Message, Times, Totals};
use packhorse_proto::receiver::ReceiverEvent;
use packhorse_proto::sender::SenderEvent;
use packhorse_proto::window::{Content, Outcome};

use crate::by_hand::{Side, bytes, entries, receiver_events, receiving, sender_events, sending};
use crate::tree::{entry, file};

fn gone() -> Failure {
    Failure::new(FailureClass::Changed, "it changed twice")
}

fn denied() -> Failure {
    Failure::new(FailureClass::Denied, "read-only")
}

fn withdraw(number: u64) -> Message {
    Message::Withdraw {
        number,
        failure: gone(),
    }
}

fn outcomes(number: u64) -> [Message; 2] {
    let failure = denied();
    [
        Message::Kept { number },
        Message::Failed { number, failure },
    ]
}

#[test]
fn an_outcome_meets_a_withdrawal_at_the_sender() {
    for late in outcomes(0) {
        let mut sender = sending(&[file("a", Some(5)), file("b", Some(5))]);
        sender.withdraw(0, gone());
        assert_eq!(sender.said(), [withdraw(0)]);
        sender.hear(&bytes(&late)).unwrap();
        let events = sender_events(&mut sender);
        let [SenderEvent::Finished(finished)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(finished.outcome, Outcome::Failed(gone()));
    }
}

#[test]
fn an_outcome_meets_the_last_withdrawal_when_the_sender_has_closed() {
    for late in outcomes(0) {
        let mut sender = sending(&[file("a", Some(5))]);
        sender.end_of_entries();
        sender.withdraw(0, gone());
        assert_eq!(
            sender_events(&mut sender).last(),
            Some(&SenderEvent::Drained)
        );
        sender.close(0, Times::default());
        let Some(&Message::Close { root, .. }) = sender.said().last() else {
            panic!("no close")
        };
        sender.hear(&bytes(&late)).unwrap();
        let times = Times::default();
        let receipt = Message::Receipt {
            root,
            totals: Totals::default(),
            elapsed: 1,
            sender: times,
            receiver: times,
            given: Assurance::default(),
        };
        sender.hear(&bytes(&receipt)).unwrap();
        assert_eq!(sender.said(), [Message::Bye]);
    }
}

#[test]
fn a_withdrawal_meets_an_outcome_at_the_receiver() {
    let mut receiver = receiving(Limits::default());
    let tree = [file("a", Some(5)), file("b", Some(5))];
    receiver.hear(&entries(0, &tree)).unwrap();
    receiver.kept(0);
    receiver.failed(1, denied());
    let [kept, _] = outcomes(0);
    let [_, failed] = outcomes(1);
    assert_eq!(receiver.said(), [kept, failed]);
    receiver_events(&mut receiver);
    for number in [0, 1] {
        receiver.hear(&bytes(&withdraw(number))).unwrap();
    }
    assert_eq!(receiver_events(&mut receiver), []);
    assert_eq!(receiver.said(), []);
}

#[test]
fn an_outcome_after_a_withdrawal_is_not_sent() {
    let mut receiver = receiving(Limits::default());
    receiver.hear(&entries(0, &[file("a", Some(5))])).unwrap();
    receiver.hear(&bytes(&withdraw(0))).unwrap();
    let events = receiver_events(&mut receiver);
    assert!(matches!(
        events[..],
        [
            ReceiverEvent::Entry { .. },
            ReceiverEvent::Withdrawn { number: 0 },
            ReceiverEvent::Finished(_)
        ]
    ));
    receiver.kept(0);
    receiver.failed(0, denied());
    receiver.stored(0, None);
    assert_eq!(receiver.said(), []);
}

#[test]
fn a_revision_meets_an_outcome_at_the_receiver() {
    let mut receiver = receiving(Limits::default());
    let tree = [file("a", Some(5))];
    receiver.hear(&entries(0, &tree)).unwrap();
    receiver.kept(0);
    receiver_events(&mut receiver);
    let revise = Message::Revise {
        number: 0,
        attempt: 1,
        size: None,
        metadata: tree[0].metadata,
    };
    receiver.hear(&bytes(&revise)).unwrap();
    assert_eq!(receiver_events(&mut receiver), []);
}

#[test]
fn an_outcome_meets_a_revision_at_the_sender() {
    let tree = [file("a", Some(5))];
    for (late, outcome) in outcomes(0)
        .into_iter()
        .zip([Outcome::Kept, Outcome::Failed(denied())])
    {
        let mut sender = sending(&tree);
        sender.revise(0, 1, None, tree[0].metadata);
        sender.hear(&bytes(&late)).unwrap();
        let events = sender_events(&mut sender);
        let [SenderEvent::Unwanted(0), SenderEvent::Finished(finished)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((&finished.outcome, finished.hash), (&outcome, None));
        // And a revision of what has its outcome is not sent.
        sender.take();
        sender.revise(0, 2, None, tree[0].metadata);
        sender.withdraw(0, gone());
        assert_eq!(sender.said(), []);
    }
}

#[test]
fn a_withdrawal_makes_room_for_the_entry_behind_it() {
    let limits = Limits {
        window_entries: 1,
        ..Limits::default()
    };
    let mut receiver = receiving(limits);
    let speech = [
        entries(0, &[file("a", Some(5))]),
        bytes(&withdraw(0)),
        entries(1, &[file("b", Some(5))]),
    ];
    receiver.hear(&speech.concat()).unwrap();
}

#[test]
fn entries_are_said_before_what_is_said_of_them() {
    let mut sender = sending(&[]);
    for name in ["a", "b"] {
        sender.offer(file(name, None)).unwrap();
    }
    sender.withdraw(1, gone());
    sender.offer(entry("c", Kind::Directory)).unwrap();
    sender.end_of_entries();
    let said = sender.said();
    assert!(
        matches!(
            &said[..],
            [
                Message::Entries { first: 0, entries: two },
                Message::Withdraw { number: 1, .. },
                Message::Entries { first: 2, entries: one },
                Message::EntriesEnd { count: 3 }
            ] if two.len() == 2 && one.len() == 1
        ),
        "{said:?}"
    );
}

#[test]
fn settlements_go_out_as_runs() {
    let mut receiver = receiving(Limits::default());
    let tree: Vec<_> = ["a", "b", "c", "d", "e"]
        .map(|name| entry(name, Kind::Directory))
        .into();
    receiver.hear(&entries(0, &tree)).unwrap();
    for number in [4, 0, 2, 1] {
        receiver.stored(number, None);
    }
    let runs = vec![(0, 3), (4, 1)];
    assert_eq!(receiver.said(), [Message::Settled { runs }]);
    receiver.stored(4, None);
    assert_eq!(receiver.said(), [], "an outcome is given once");
}

#[test]
fn content_may_be_known_before_or_after_the_settlement() {
    let (size, hash) = (5, [3; 32]);
    let settled = bytes(&Message::Settled { runs: vec![(0, 1)] });
    for early in [true, false] {
        let mut sender = sending(&[file("a", Some(5))]);
        if early {
            sender.content(0, Content { size, hash });
        }
        sender.hear(&settled).unwrap();
        if !early {
            assert_eq!(sender_events(&mut sender), []);
            sender.content(0, Content { size, hash });
        }
        let events = sender_events(&mut sender);
        let [SenderEvent::Finished(finished)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(finished.hash, Some(hash));
    }
}
