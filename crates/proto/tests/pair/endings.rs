//! Whole dialogues, message by message, and how they end.

use packhorse_proto::entry::Kind;
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{
    AbortCode, Assurance, Counters, Failure, FailureClass, Message, Text, Times, WindowSize,
};
use packhorse_proto::receiver::{Authentication, Receiver};
use packhorse_proto::record::Attempt;
use packhorse_proto::sender::{Sender, SenderConfig};
use packhorse_proto::window::Content;

use crate::by_hand::{NOW, Side, bytes, receiving, sender_config, sender_events, sending};
use crate::dice::{Dice, play_seeds};
use crate::link::Lane;
use crate::play::{Pair, Setup};
use crate::receiving_side::SESSION;
use crate::tree::{entry, file};

/// Carries what `from` says to `to`, and tells what it was.
fn carry(from: &mut impl Side, to: &mut impl Side) -> Vec<Message> {
    let said = from.said();
    let bytes: Vec<u8> = said.iter().flat_map(bytes).collect();
    to.hear(&bytes).unwrap();
    said
}

fn pair_of(authentication: Authentication) -> (Sender, Receiver) {
    let coded = authentication == Authentication::Code;
    let config = SenderConfig {
        suites: if coded { vec![2, 1] } else { vec![] },
        share: coded.then_some([9; 32]),
        ..sender_config()
    };
    let receiver = Receiver::new(Limits::default(), authentication, NOW);
    (Sender::new(config, NOW), receiver)
}

/// From the acceptance on, every session goes alike.
fn rest_of_the_dialogue(mut sender: Sender, mut receiver: Receiver) {
    assert_eq!(
        sender.said(),
        [],
        "nothing is offered before it is accepted"
    );
    receiver.accept(SESSION, false);
    let window = WindowSize {
        entries: 4096,
        bytes: 2 << 20,
    };
    let (session, lanes) = (SESSION, 16);
    let accept = Message::Accept {
        session,
        window,
        lanes,
        resumes: false,
    };
    assert_eq!(carry(&mut receiver, &mut sender), [accept]);
    let offer = Message::Offer {
        subdirectory: None,
        source: None,
        wanted: Assurance::default(),
    };
    assert_eq!(carry(&mut sender, &mut receiver), [offer]);

    let tree = vec![entry("a", Kind::Directory), file("a/b", Some(3))];
    for entry in &tree {
        sender.offer(entry.clone()).unwrap();
    }
    sender.end_of_entries();
    let listed = Message::Entries {
        first: 0,
        entries: tree,
    };
    let end = Message::EntriesEnd { count: 2 };
    assert_eq!(carry(&mut sender, &mut receiver), [listed, end]);
    let content = Content {
        size: 3,
        hash: *blake3::hash(b"abc").as_bytes(),
    };
    sender.content(1, content);
    receiver.stored(0, None);
    receiver.stored(1, Some(content));
    let runs = vec![(0, 2)];
    assert_eq!(
        carry(&mut receiver, &mut sender),
        [Message::Settled { runs }]
    );
    farewell(sender, receiver);
}

fn farewell(mut sender: Sender, mut receiver: Receiver) {
    let times = Times::default();
    sender.close(0, times);
    let closed = carry(&mut sender, &mut receiver);
    let [Message::Close { root, .. }] = closed[..] else {
        panic!("{closed:?}")
    };
    let handover = receiver.receipt(7, times, Assurance::default()).unwrap();
    assert_eq!(handover.root, root);
    let receipt = Message::Receipt {
        root,
        totals: handover.totals,
        elapsed: 7,
        sender: times,
        receiver: times,
        given: Assurance::default(),
    };
    assert_eq!(carry(&mut receiver, &mut sender), [receipt]);
    assert_eq!(carry(&mut sender, &mut receiver), [Message::Bye]);
    assert_eq!((sender.said(), receiver.said()), (vec![], vec![]));
    assert_eq!(
        (sender.poll_timeout(), receiver.poll_timeout()),
        (None, None)
    );
}

#[test]
fn a_session_with_a_code() {
    let (mut sender, mut receiver) = pair_of(Authentication::Code);
    let (suites, name) = (vec![2, 1], Text::new("dray"));
    let share = Some([9; 32]);
    let hello = Message::Hello {
        suites,
        share,
        name,
    };
    assert_eq!(carry(&mut sender, &mut receiver), [hello]);
    let share = Some([7; 32]);
    receiver.welcome(2, share, "stable");
    let (suite, name) = (2, Text::new("stable"));
    let welcome = Message::Welcome { suite, share, name };
    assert_eq!(carry(&mut receiver, &mut sender), [welcome]);
    sender.confirm([1; 64]);
    let confirm = |tag| [Message::Confirm { tag: [tag; 64] }];
    assert_eq!(carry(&mut sender, &mut receiver), confirm(1));
    assert_eq!(receiver.said(), [], "the receiver confirms last");
    receiver.authenticated([2; 64], NOW);
    assert_eq!(carry(&mut receiver, &mut sender), confirm(2));
    assert_eq!(sender.said(), [], "nothing is offered to a stranger");
    sender.authenticated(NOW);
    rest_of_the_dialogue(sender, receiver);
}

#[test]
fn a_session_without() {
    let (mut sender, mut receiver) = pair_of(Authentication::None);
    let hello = carry(&mut sender, &mut receiver);
    assert!(matches!(hello[..], [Message::Hello { share: None, .. }]));
    receiver.welcome(0, None, "stable");
    let welcome = carry(&mut receiver, &mut sender);
    assert!(matches!(
        welcome[..],
        [Message::Welcome {
            suite: 0,
            share: None,
            ..
        }]
    ));
    rest_of_the_dialogue(sender, receiver);
}

#[test]
fn an_abort_reaches_the_other_side_at_any_time() {
    play_seeds(300, |dice| {
        let mut pair = Pair::new(Setup {
            authentication: *dice.pick(&[Authentication::Code, Authentication::None]),
            tree: vec![file("a", Some(1)), file("b", None)],
            ..Setup::default()
        });
        for _ in 0..dice.within(0..200) {
            pair.step(dice).unwrap();
        }
        if pair.sender.is_done() || pair.receiver.is_done() {
            return;
        }
        let (code, text) = (AbortCode::StorageFull, "no room left");
        let by_sender = dice.percent(50);
        match by_sender {
            true => pair.sender.machine.abort(code, text),
            false => pair.receiver.machine.abort(code, text),
        }
        pair.settle_links(dice).unwrap();
        let told = Some((code, Text::new(text)));
        if by_sender {
            assert_eq!(pair.receiver.aborted, told);
        } else if !pair.sender.is_done() {
            assert_eq!(pair.sender.aborted, told);
        }
        silent_from_now_on(&mut pair, dice);
    });
}

fn silent_from_now_on(pair: &mut Pair, dice: &mut Dice) {
    for _ in 0..100 {
        pair.sender.act(dice, &mut [Lane::default()]);
        pair.receiver.act(dice);
        pair.pass_time(std::time::Duration::from_secs(9)).unwrap();
        assert_eq!(
            (pair.sender.machine.take(), pair.receiver.machine.take()),
            (vec![], vec![])
        );
    }
    assert_eq!(pair.sender.machine.poll_timeout(), None);
    assert_eq!(pair.receiver.machine.poll_timeout(), None);
}

#[test]
fn nothing_is_said_after_an_abort_whatever_is_asked() {
    let tree = [file("a", None), file("b", None)];
    let mut sender = sending(&tree);
    sender.abort(AbortCode::Interrupted, "");
    assert!(matches!(sender.said()[..], [Message::Abort { .. }]));
    assert!(!sender.can_offer());
    assert_eq!(sender.offer(tree[0].clone()), None);
    sender.revise(0, 1, None, tree[0].metadata);
    sender.withdraw(0, Failure::new(FailureClass::Changed, ""));
    sender.end_of_entries();
    sender.abort(AbortCode::Interrupted, "again");
    sender.close(0, Times::default());
    assert_eq!(sender.said(), []);

    let mut receiver = receiving(Limits::default());
    receiver.hear(&crate::by_hand::entries(0, &tree)).unwrap();
    receiver.abort(AbortCode::Interrupted, "");
    assert!(matches!(receiver.said()[..], [Message::Abort { .. }]));
    receiver.kept(0);
    receiver.failed(1, Failure::new(FailureClass::Denied, ""));
    receiver.abort(AbortCode::Interrupted, "again");
    assert_eq!(receiver.said(), []);
}

#[test]
fn what_follows_an_abort_is_not_heard() {
    let (code, text) = (AbortCode::Other(200), Text::new("later"));
    let abort = bytes(&Message::Abort { code, text });
    let mut sender = sending(&[]);
    sender.hear(&[&abort[..], &[0xff; 100]].concat()).unwrap();
    sender.hear(&[0xff; 100]).unwrap();
    assert_eq!(sender_events(&mut sender).len(), 1);
}

#[test]
fn long_words_are_cut_between_characters() {
    let mut sender = sending(&[]);
    sender.abort(AbortCode::Storage, &"é".repeat(300));
    let said = sender.said();
    let [Message::Abort { text, .. }] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(text.as_str(), "é".repeat(256));
}

#[test]
fn a_violation_on_a_lane_ends_the_session() {
    use packhorse_proto::control::Violation;
    use packhorse_proto::lane::LaneError;
    let of = Attempt {
        entry: 3,
        attempt: 0,
    };
    let mut receiver = receiving(Limits::default());
    receiver.violated(&Violation::from(LaneError::BeyondEnd(of.entry)));
    let said = receiver.said();
    let [Message::Abort { code, text }] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(*code, AbortCode::Protocol);
    assert!(
        text.as_str()
            .starts_with("content for entry 3 beyond the end")
    );
}

#[test]
fn counters_start_at_zero_and_may_be_set_at_any_time() {
    let mut sender = Sender::new(sender_config(), NOW);
    sender.set_counters(Counters::default());
    sender.take();
    assert_eq!(sender.said(), []);
}
