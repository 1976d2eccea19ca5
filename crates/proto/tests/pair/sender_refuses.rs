//! Each rule that a receiver may break.

use packhorse_proto::entry::Kind;
use packhorse_proto::message::{
    Assurance, Failure, FailureClass, Message, Times, Totals, WindowSize,
};
use packhorse_proto::sender::{Sender, SenderConfig};
use packhorse_proto::window::Content;

use crate::by_hand::{
    NOW, ROOM, Side, accept, bytes, entries, raw, refusal, sender_config, sender_events, sending,
    welcome,
};
use crate::tree::{entry, file};

fn coded() -> Sender {
    let config = SenderConfig {
        suites: vec![1, 2],
        share: Some([9; 32]),
        ..sender_config()
    };
    Sender::new(config, NOW)
}

fn settled(runs: &[(u64, u64)]) -> Vec<u8> {
    let runs = runs.to_vec();
    bytes(&Message::Settled { runs })
}

fn failed(number: u64) -> Vec<u8> {
    let failure = Failure::new(FailureClass::Storage, "");
    bytes(&Message::Failed { number, failure })
}

fn receipt(root: [u8; 32]) -> Vec<u8> {
    let times = Times::default();
    bytes(&Message::Receipt {
        root,
        totals: Totals::default(),
        elapsed: 0,
        sender: times,
        receiver: times,
        given: Assurance::default(),
    })
}

/// A file, a directory.
fn two() -> Sender {
    sending(&[file("a", Some(1)), entry("b", Kind::Directory)])
}

#[test]
fn a_suite_that_was_not_offered() {
    let told = "something that does not belong here: a cipher suite that was not offered";
    for suite in [0, 3, 255] {
        assert_eq!(refusal(coded(), &[welcome(suite, Some([1; 32]))]), told);
    }
    let open = Sender::new(sender_config(), NOW);
    assert_eq!(refusal(open, &[welcome(1, None)]), told);
}

#[test]
fn a_welcome_without_a_share_or_with_one_too_many() {
    let told = "something that does not belong here: a welcome for another kind of session";
    assert_eq!(refusal(coded(), &[welcome(1, None)]), told);
    let open = Sender::new(sender_config(), NOW);
    assert_eq!(refusal(open, &[welcome(0, Some([1; 32]))]), told);
}

#[test]
fn an_acceptance_before_the_tags_are_checked() {
    let told = "something that does not belong here: the sender did not wait for it";
    let speech = [welcome(1, Some([1; 32])), accept(ROOM, 1)];
    assert_eq!(refusal(coded(), &speech), told);
    let confirm = bytes(&Message::Confirm { tag: [0; 64] });
    // One may come with the peer's tag, before the caller has judged it.
    let (first, second) = (accept(ROOM, 1), accept(ROOM, 1));
    let speech = [welcome(1, Some([1; 32])), confirm, first, second];
    assert_eq!(refusal(coded(), &speech), told);
}

#[test]
fn an_acceptance_without_room() {
    let none = |entries, bytes| WindowSize { entries, bytes };
    for (window, lanes) in [(none(0, 1), 1), (none(1, 0), 1), (none(1, 1), 0)] {
        let sender = Sender::new(sender_config(), NOW);
        let told = refusal(sender, &[welcome(0, None), accept(window, lanes)]);
        assert!(told.ends_with("an acceptance without room for anything"));
    }
}

#[test]
fn a_window_larger_than_the_sender_wants_to_hold() {
    let mut config = sender_config();
    config.limits.window_entries = 2;
    let mut sender = Sender::new(config, NOW);
    sender.hear(&welcome(0, None)).unwrap();
    sender.hear(&accept(ROOM, 1)).unwrap();
    let offered = |sender: &mut Sender, name| sender.offer(file(name, None)).is_some();
    assert!(offered(&mut sender, "a") && offered(&mut sender, "b"));
    assert!(!offered(&mut sender, "c") && !sender.can_offer());
    sender.hear(&failed(0)).unwrap();
    assert!(offered(&mut sender, "c"));
}

#[test]
fn settlements_of_what_was_never_listed() {
    let never =
        "something that does not belong here: a settlement of entries that were never listed";
    assert_eq!(refusal(two(), &[settled(&[(0, 3)])]), never);
    assert_eq!(refusal(two(), &[settled(&[(2, 1)])]), never);
    assert_eq!(refusal(two(), &[settled(&[(1, u64::MAX - 1)])]), never);
    let never = "something that does not belong here: an outcome of an entry that was never listed";
    assert_eq!(refusal(two(), &[failed(2)]), never);
    let kept = bytes(&Message::Kept { number: u64::MAX });
    assert_eq!(refusal(two(), &[kept]), never);
}

#[test]
fn settlements_that_overflow_repeat_or_do_not_ascend() {
    for runs in [
        &[(1, u64::MAX)][..],
        &[(0, 0)],
        &[(1, 1), (0, 1)],
        &[(0, 1), (0, 1)],
        &[(0, 2), (1, 1)],
    ] {
        let told = refusal(two(), &[settled(runs)]);
        assert_eq!(
            told,
            "a damaged message of type 10: field 0 is out of bounds"
        );
    }
}

#[test]
fn settlements_that_come_twice() {
    let twice = "entry 1 was settled before";
    assert_eq!(
        refusal(two(), &[settled(&[(1, 1)]), settled(&[(1, 1)])]),
        twice
    );
    assert_eq!(refusal(two(), &[failed(1), settled(&[(1, 1)])]), twice);
    // Also where it is long gone.
    let speech = [failed(0), failed(1), settled(&[(1, 1)])];
    assert_eq!(refusal(two(), &speech), twice);
}

#[test]
fn stored_files_whose_content_was_never_sent() {
    let mut sender = two();
    sender.hear(&settled(&[(0, 2)])).unwrap();
    sender.end_of_entries();
    assert_eq!(
        sender_events(&mut sender),
        [],
        "it waits for what it knows itself"
    );
    let violation = sender.all_content_sent().unwrap_err();
    assert_eq!(
        violation.to_string(),
        "both sides do not agree on which files were sent"
    );
    assert!(matches!(sender.said()[..], [.., Message::Abort { .. }]));
}

#[test]
fn another_root_in_the_receipt() {
    let mut sender = two();
    let (size, hash) = (1, [4; 32]);
    sender.content(0, Content { size, hash });
    sender.end_of_entries();
    sender.hear(&settled(&[(0, 2)])).unwrap();
    sender.close(0, Times::default());
    assert_eq!(
        refusal(sender, &[receipt([1; 32])]),
        "both sides do not agree on the manifest's root"
    );
}

#[test]
fn what_comes_too_early_or_too_late() {
    let unexpected = "something that does not belong here: the sender did not wait for it";
    let new = || Sender::new(sender_config(), NOW);
    for message in [
        settled(&[(0, 1)]),
        receipt([0; 32]),
        accept(ROOM, 1),
        failed(0),
    ] {
        assert_eq!(refusal(new(), &[message]), unexpected);
    }
    let waited = "something that does not belong here: the sender waited for outcomes";
    for message in [receipt([0; 32]), accept(ROOM, 1), welcome(0, None)] {
        assert_eq!(refusal(two(), &[message]), waited);
    }
}

#[test]
fn what_only_a_sender_says() {
    let told = refusal(two(), &[entries(0, &[file("x", None)])]);
    assert!(told.ends_with("the sender waited for outcomes"));
    assert!(refusal(two(), &[raw(127, &[])]).contains("may not be skipped"));
}
