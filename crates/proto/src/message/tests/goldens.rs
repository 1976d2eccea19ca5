//! One example of each message, as bytes. They stand in `docs/protocol.md` too.

use crate::extent::{EXTENT_SIZE, Subtree};

use super::*;

fn one_of_each_kind() -> Vec<Entry> {
    let modified = Timestamp::new(1_700_000_000, 5).unwrap();
    let entry = |path: &[u8], mode, kind| Entry {
        path: RelativePath::parse(path).unwrap(),
        kind,
        metadata: Metadata {
            mode: Mode::from_st_mode(mode),
            modified,
            change: None,
        },
    };
    let target = LinkTarget::new(b"../b").unwrap();
    let mut entries = vec![
        entry(b"a", 0o755, Kind::Directory),
        entry(b"a/l", 0o777, Kind::Symlink { target }),
        entry(b"a/s", 0o600, Kind::File { size: None }),
        entry(b"b", 0o644, Kind::File { size: Some(1700) }),
    ];
    entries[3].metadata.change = Some(0x0123_4567_89ab_cdef);
    entries
}

const TIMES: Times = Times {
    read: 1,
    hash: 2,
    encrypt: 3,
    network: 4,
    write: 5,
    idle: 1_000_000,
    processor: 0,
};

fn greetings() -> Vec<(Message, &'static str)> {
    vec![
        (
            Message::Hello {
                suites: vec![1, 2],
                share: Some([0x11; 32]),
                name: Text::new("dray"),
            },
            "0100002ea3004201020158201111111111111111111111111111111111111111111111111111111111111111026464726179",
        ),
        (
            Message::Welcome {
                suite: 1,
                share: Some([0x22; 32]),
                name: Text::new("stable"),
            },
            "0200002ea3000101582022222222222222222222222222222222222222222222222222222222222222220266737461626c65",
        ),
        (
            Message::Confirm { tag: [0x33; 64] },
            "03000044a100584033333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
        ),
        (
            Message::Offer {
                subdirectory: Some(RelativePath::parse(b"in/box").unwrap()),
                source: Some([1, 2, 3, 4, 5, 6, 7, 8]),
                wanted: Assurance {
                    durable: true,
                    reread: true,
                },
            },
            "04000017a40046696e2f626f780148010203040506070802010301",
        ),
        (
            Message::Accept {
                session: [0x44; 16],
                window: WindowSize {
                    entries: 4096,
                    bytes: 2 << 20,
                },
                lanes: 16,
                resumes: true,
            },
            "05000021a500504444444444444444444444444444444401191000021a0020000003100401",
        ),
    ]
}

fn entries() -> Vec<(Message, &'static str)> {
    let metadata = one_of_each_kind()[0].metadata;
    vec![
        (
            Message::Entries {
                first: 0,
                entries: one_of_each_kind(),
            },
            "06000065a200000184a50041610101021901ed031a6553f1000405a60043612f6c0103021901ff031a6553f100040506442e2e2f62a50043612f73010202190180031a6553f1000405a70041620102021901a4031a6553f1000405051906a4071b0123456789abcdef",
        ),
        (Message::EntriesEnd { count: 4 }, "07000003a10004"),
        (
            Message::Revise {
                number: 3,
                attempt: 1,
                size: Some(1701),
                metadata,
            },
            "08000015a600030101021901ed031a6553f1000405051906a5",
        ),
        (
            Message::Withdraw {
                number: 2,
                failure: Failure::new(FailureClass::Changed, "it changed twice"),
            },
            "09000017a30002010202706974206368616e676564207477696365",
        ),
        (
            Message::Settled {
                runs: vec![(0, 2), (300, 1)],
            },
            "0a000009a10084000219012c01",
        ),
        (Message::Kept { number: 3 }, "0b000003a10003"),
        (
            Message::Failed {
                number: 3,
                failure: Failure::new(FailureClass::Denied, "permission denied"),
            },
            "0c000018a30003010402717065726d697373696f6e2064656e696564",
        ),
    ]
}

fn endings() -> Vec<(Message, &'static str)> {
    vec![
        (
            Message::Progress(Counters {
                bytes: 70_000,
                files: 3,
                bytes_known: 5_000_000_000,
                files_known: 24,
            }),
            "0d000016a4001a000111700103021b000000012a05f200031818",
        ),
        (
            Message::Close {
                root: [0x55; 32],
                unlisted: 1,
                times: TIMES,
            },
            "0e000038a30058205555555555555555555555555555555555555555555555555555555555555555010102a600010102020303040405051a000f4240",
        ),
        (
            Message::Receipt {
                root: [0x55; 32],
                totals: Totals {
                    files: 1,
                    directories: 1,
                    symlinks: 1,
                    bytes: 1701,
                    kept: 0,
                    failed: 2,
                    resumed: 0,
                },
                elapsed: 250_000_000,
                sender: TIMES,
                receiver: Times::default(),
                given: Assurance {
                    durable: true,
                    reread: false,
                },
            },
            "0f00005ca6005820555555555555555555555555555555555555555555555555555555555555555501a6000101010201031906a504000502021a0ee6b28003a600010102020303040405051a000f424004a60000010002000300040005000501",
        ),
        (Message::Bye, "10000001a0"),
        (
            Message::Abort {
                code: AbortCode::StorageFull,
                text: Text::new("no space left"),
            },
            "11000012a20004016d6e6f207370616365206c656674",
        ),
    ]
}

fn flawed() -> (Message, &'static str) {
    let message = Message::Flawed {
        path: RelativePath::parse(b"a").unwrap(),
        failure: Failure::new(FailureClass::Denied, "permission denied"),
    };
    (
        message,
        "12000019a3004161010402717065726d697373696f6e2064656e696564",
    )
}

fn remains() -> Vec<(Message, &'static str)> {
    let subtree = Subtree {
        offset: EXTENT_SIZE,
        length: EXTENT_SIZE,
        value: [0x88; 32],
    };
    vec![
        (
            Message::Held {
                files: vec![(2, [0x77; 32])],
            },
            "13000026a100820258207777777777777777777777777777777777777777777777777777777777777777",
        ),
        (
            Message::Partial {
                number: 2,
                subtrees: vec![subtree],
            },
            "14000031a2000201831a001000001a0010000058208888888888888888888888888888888888888888888888888888888888888888",
        ),
        (
            Message::Missing {
                runs: vec![(3, 2), (9, 1)],
            },
            "15000007a1008403020901",
        ),
    ]
}

fn lanes() -> Vec<(Message, &'static str)> {
    vec![
        (Message::LaneLost { lane: 2 }, "16000003a10002"),
        (
            Message::LaneClosed {
                lane: 2,
                taken: 300,
            },
            "17000007a200020119012c",
        ),
    ]
}

/// Each message, and its bytes in hexadecimal with its header.
pub(super) fn goldens() -> Vec<(Message, &'static str)> {
    [
        greetings(),
        entries(),
        endings(),
        vec![flawed()],
        remains(),
        lanes(),
    ]
    .concat()
}

fn hex(message: &Message) -> String {
    let mut out = Vec::new();
    message.encode(&mut out);
    out.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_message_has_its_golden_bytes() {
    for (message, golden) in goldens() {
        assert_eq!(hex(&message), golden);
    }
}

/// What the specification prints is what is spoken.
#[test]
fn the_specification_shows_the_golden_bytes() {
    let pages = include_str!("../../../../../docs/protocol.md");
    let pages: String = pages.split_whitespace().collect();
    for (message, golden) in goldens() {
        assert!(pages.contains(golden), "{golden} of {message:?}");
    }
}
