//! Each rule that a sender may break.

use packhorse_proto::entry::{Kind, LinkTarget, MAX_FILE_SIZE};
use packhorse_proto::limits::Limits;
use packhorse_proto::manifest::ManifestRoot;
use packhorse_proto::message::{Assurance, Failure, FailureClass, Message, Times};
use packhorse_proto::receiver::{Authentication, Receiver, ReceiverEvent};

use crate::by_hand::{
    NOW, Side, bytes, entries, hello, map, raw, raw_entries, receiver_events, receiving, refusal,
};
use crate::tree::{entry, file};

fn refused(speech: &[Vec<u8>]) -> String {
    refusal(receiving(Limits::default()), speech)
}

fn refused_within(limits: Limits, speech: &[Vec<u8>]) -> String {
    refusal(receiving(limits), speech)
}

fn end(count: u64) -> Vec<u8> {
    bytes(&Message::EntriesEnd { count })
}

fn close(root: [u8; 32]) -> Vec<u8> {
    let times = Times::default();
    bytes(&Message::Close {
        root,
        unlisted: 0,
        times,
    })
}

#[test]
fn entries_out_of_their_order() {
    let tree = [file("b", Some(1)), file("a", Some(1))];
    assert_eq!(
        refused(&[entries(0, &tree)]),
        "entry 'a': the path is out of order"
    );
    let again = [file("b", Some(1)), entry("b", Kind::Directory)];
    assert_eq!(
        refused(&[entries(0, &again)]),
        "entry 'b': the path comes twice"
    );
    let orphan = [entry("a", Kind::Directory), file("a/b/c", Some(1))];
    assert_eq!(
        refused(&[entries(0, &orphan)]),
        "entry 'a/b/c': its directory is not listed before it"
    );
    let inside = [file("a", Some(1)), file("a/b", Some(1))];
    assert_eq!(
        refused(&[entries(0, &inside)]),
        "entry 'a/b': its directory is listed as something else"
    );
}

#[test]
fn order_holds_across_messages() {
    let (one, other) = ([file("b", Some(1))], [file("a", Some(1))]);
    assert_eq!(
        refused(&[entries(0, &one), entries(1, &other)]),
        "entry 'a': the path is out of order"
    );
}

#[test]
fn a_link_is_no_directory() {
    let target = LinkTarget::new(b"/etc").unwrap();
    let tree = [entry("a", Kind::Symlink { target }), file("a/b", Some(1))];
    assert_eq!(
        refused(&[entries(0, &tree)]),
        "entry 'a/b': its directory is listed as something else"
    );
}

#[test]
fn paths_that_lead_out() {
    for (path, told) in [
        (&b".."[..], "entry '..': '.' or '..' as a path component"),
        (
            b"a/../../b",
            "entry 'a/../../b': '.' or '..' as a path component",
        ),
        (b"/etc/passwd", "entry '/etc/passwd': absolute path"),
        (b"a\0b", "entry 'a\\u{0}b': NUL byte in path"),
        (b"", "entry '': empty path component"),
        (b"a//b", "entry 'a//b': empty path component"),
    ] {
        assert_eq!(refused(&[raw_entries(0, &[(path, 2, 0o644)])]), told);
    }
    let long = [b'a'; 256];
    assert!(refused(&[raw_entries(0, &[(&long, 2, 0)])]).ends_with("longer than 255 bytes"));
    let long = b"a/".repeat(4095);
    assert!(refused(&[raw_entries(0, &[(&long, 2, 0)])]).ends_with("longer than 4095 bytes"));
}

#[test]
fn kinds_that_are_unknown_or_lack_their_fields() {
    let told = |kind| refused(&[raw_entries(0, &[(b"\x1b]0;x", kind, 0o644)])]);
    let lacking = "entry '\\u{1b}]0;x': fields that do not go with its kind";
    assert_eq!(told(3), lacking, "a link without a target");
    let unknown = "entry '\\u{1b}]0;x': a kind of entry that is not known here";
    assert_eq!((&*told(0), &*told(4)), (unknown, unknown));
}

#[test]
fn an_offer_that_leads_out() {
    let mut receiver = Receiver::new(Limits::default(), Authentication::None, NOW);
    receiver.hear(&bytes(&hello())).unwrap();
    receiver.welcome(0, None, "stable");
    let body = map(1, |e| {
        e.u64(0).unwrap().bytes(b"../up").unwrap();
    });
    let told = refusal(receiver, &[raw(4, &body)]);
    assert_eq!(told, "entry '../up': '.' or '..' as a path component");
}

#[test]
fn more_entries_than_the_window_holds() {
    let limits = Limits {
        window_entries: 2,
        ..Limits::default()
    };
    let tree: Vec<_> = ["a", "b", "c"].map(|name| file(name, Some(1))).into();
    let told = refused_within(limits.clone(), &[entries(0, &tree)]);
    assert_eq!(told, "more entries than the window holds");
    // Two and then one that was made room for.
    let mut receiver = receiving(limits);
    receiver.hear(&entries(0, &tree[..2])).unwrap();
    receiver.kept(0);
    receiver.hear(&entries(2, &tree[2..])).unwrap();
}

#[test]
fn more_bytes_of_entries_than_the_window_holds() {
    let limits = Limits {
        window_bytes: 2 * 48 + 2,
        ..Limits::default()
    };
    let tree: Vec<_> = ["a", "b", "c"].map(|name| file(name, Some(1))).into();
    let told = refused_within(limits, &[entries(0, &tree[..2]), entries(2, &tree[2..])]);
    assert_eq!(told, "more entries than the window holds");
}

#[test]
fn more_entries_than_a_receiver_takes() {
    let limits = Limits {
        entries: 1,
        ..Limits::default()
    };
    let tree = [file("a", Some(1)), file("b", Some(1))];
    assert_eq!(
        refused_within(limits, &[entries(0, &tree)]),
        "entry 'b': more entries than this receiver takes"
    );
}

#[test]
fn files_larger_than_a_receiver_takes() {
    let limits = Limits {
        file_size: 10,
        ..Limits::default()
    };
    let (good, bad) = ([file("a", Some(10))], [file("b", Some(11))]);
    assert_eq!(
        refused_within(limits.clone(), &[entries(0, &good), entries(1, &bad)]),
        "entry 'b': larger than this receiver takes"
    );
    let revise = Message::Revise {
        number: 0,
        attempt: 1,
        size: Some(11),
        metadata: good[0].metadata,
    };
    assert_eq!(
        refused_within(limits, &[entries(0, &good), bytes(&revise)]),
        "something that does not belong here: a revision to a size over the limit"
    );
    let beyond = [file("a", Some(MAX_FILE_SIZE + 1))];
    assert_eq!(
        refused(&[entries(0, &beyond)]),
        "entry 'a': larger than a file can be"
    );
}

#[test]
fn messages_over_the_limit() {
    let limits = Limits {
        message: 100,
        ..Limits::default()
    };
    // The header alone is enough.
    let header = raw(6, &[0; 101])[..4].to_vec();
    assert_eq!(
        refused_within(limits, &[header]),
        "a message of 101 bytes, over the limit of 100"
    );
}

#[test]
fn wrong_numbering() {
    let tree = [file("a", Some(1))];
    for first in [1, u64::MAX] {
        assert_eq!(
            refused(&[entries(first, &tree)]),
            "something that does not belong here: entries that do not follow the ones before"
        );
    }
    assert!(refused(&[entries(0, &tree), entries(0, &[file("b", None)])]).contains("follow"));
    assert!(
        refused(&[entries(0, &tree), end(1), entries(1, &[file("b", None)])]).contains("follow")
    );
}

#[test]
fn a_wrong_count_at_the_end() {
    for count in [0, 2] {
        assert_eq!(
            refused(&[entries(0, &[file("a", Some(1))]), end(count)]),
            "both sides do not agree on the number of entries"
        );
    }
    assert!(refused(&[end(0), end(0)]).contains("the number of entries"));
}

#[test]
fn a_close_before_everything_is_settled() {
    let early = "something that does not belong here: a close before everything is settled";
    let root = ManifestRoot::new().finish();
    assert_eq!(refused(&[close(root)]), early);
    let tree = [file("a", Some(1))];
    assert_eq!(refused(&[entries(0, &tree), end(1), close(root)]), early);
}

#[test]
fn another_root() {
    let told = refused(&[end(0), close([1; 32])]);
    assert_eq!(told, "both sides do not agree on the manifest's root");
}

#[test]
fn revisions_that_do_not_follow() {
    let tree = [entry("a", Kind::Directory), file("b", Some(1))];
    let revise = |number, attempt| {
        bytes(&Message::Revise {
            number,
            attempt,
            size: Some(2),
            metadata: tree[0].metadata,
        })
    };
    let listed = entries(0, &tree);
    let bad = "a revision of entry 1 that does not follow the one before";
    assert_eq!(refused(&[listed.clone(), revise(1, 0)]), bad);
    assert_eq!(refused(&[listed.clone(), revise(1, 1), revise(1, 1)]), bad);
    assert_eq!(
        refused(&[listed.clone(), revise(0, 1)]),
        bad.replace('1', "0")
    );
    assert_eq!(refused(&[listed, revise(2, 1)]), "entry 2 was never listed");
}

#[test]
fn a_withdrawal_of_what_was_never_listed() {
    let failure = Failure::new(FailureClass::Unreadable, "");
    let told = refused(&[bytes(&Message::Withdraw { number: 0, failure })]);
    assert!(told.ends_with("a withdrawal of an entry that was never listed"));
}

#[test]
fn what_only_a_receiver_says() {
    let kept = bytes(&Message::Kept { number: 0 });
    let told = refused(&[entries(0, &[file("a", None)]), kept]);
    assert!(told.ends_with("the receiver waited for entries"));
}

#[test]
fn what_comes_too_early() {
    let new = |authentication| Receiver::new(Limits::default(), authentication, NOW);
    let unexpected = "something that does not belong here: the receiver did not wait for it";
    let confirm = bytes(&Message::Confirm { tag: [0; 64] });
    let offer = bytes(&Message::Offer {
        subdirectory: None,
        source: None,
        wanted: Assurance::default(),
    });
    for message in [entries(0, &[file("a", None)]), offer, confirm, end(0)] {
        assert_eq!(refusal(new(Authentication::None), &[message]), unexpected);
    }
    // Nobody gets past the code.
    let shared = Message::Hello {
        suites: vec![1],
        share: Some([1; 32]),
        name: Default::default(),
    };
    let mut receiver = new(Authentication::Code);
    receiver.hear(&bytes(&shared)).unwrap();
    receiver.welcome(1, Some([2; 32]), "stable");
    let offer = bytes(&Message::Offer {
        subdirectory: None,
        source: None,
        wanted: Assurance::default(),
    });
    assert_eq!(refusal(receiver, &[offer]), unexpected);
}

#[test]
fn a_hello_for_another_kind_of_session() {
    let told = "something that does not belong here: a hello for another kind of session";
    let receiver = Receiver::new(Limits::default(), Authentication::Code, NOW);
    assert_eq!(refusal(receiver, &[bytes(&hello())]), told);
}

#[test]
fn a_second_hello() {
    let receiver = Receiver::new(Limits::default(), Authentication::None, NOW);
    let told = refusal(receiver, &[bytes(&hello()), bytes(&hello())]);
    assert!(told.ends_with("the receiver did not wait for it"));
}

#[test]
fn unknown_types_and_fields_that_may_not_be_skipped() {
    assert_eq!(
        refused(&[raw(127, &[0xa0])]),
        "a message of type 127, which is not known here and may not be skipped"
    );
    assert_eq!(
        refused(&[raw(0, &[0xa0])]),
        "a message of type 0, which is not known here and may not be skipped"
    );
    assert_eq!(
        refused(&[raw(7, &[0xa2, 0, 0, 0x18, 63, 1])]),
        "a damaged message of type 7: field 63 is not known here and may not be skipped"
    );
}

#[test]
fn skips_types_and_fields_that_may_be_unknown() {
    let mut receiver = receiving(Limits::default());
    // Of any content: a reader that does not know a type knows nothing of its body.
    receiver.hear(&raw(128, &[0xff, 0xff])).unwrap();
    receiver.hear(&raw(255, &[])).unwrap();
    receiver
        .hear(&raw(7, &[0xa2, 0, 0, 0x18, 64, 0x81, 0xa0]))
        .unwrap();
    assert_eq!(
        receiver_events(&mut receiver),
        [ReceiverEvent::ManifestEnded]
    );
}

#[test]
fn special_bits_of_a_mode_are_dropped() {
    let mut receiver = receiving(Limits::default());
    receiver
        .hear(&raw_entries(0, &[(b"a", 2, 0o7755), (b"b", 1, 0o1777)]))
        .unwrap();
    let modes: Vec<_> = receiver_events(&mut receiver)
        .into_iter()
        .map(|event| match event {
            ReceiverEvent::Entry { entry, .. } => entry.metadata.mode.bits(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(modes, [0o755, 0o777]);
    let told = refused(&[raw_entries(0, &[(b"a", 2, 0o10_000)])]);
    assert_eq!(
        told,
        "a damaged message of type 6: field 2 is out of bounds"
    );
}
