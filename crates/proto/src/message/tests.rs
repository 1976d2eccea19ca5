use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::cbor::CborError;
use crate::entry::{Kind, LinkTarget, MAX_FILE_SIZE, Mode, Timestamp};

mod goldens;

/// A number that is likely to stand at the edge of an encoding's length.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        proptest::sample::select(vec![
            0,
            23,
            24,
            0xff,
            0x100,
            0xffff,
            0x1_0000,
            0xffff_ffff,
            0x1_0000_0000,
            u64::MAX,
        ]),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        ".{0,40}".prop_map(|text| Text::new(&text)),
        (0usize..600).prop_map(|length| Text::new(&"x".repeat(length))),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 1..255)
        .prop_map(|mut name| {
            name.iter_mut()
                .filter(|b| **b == b'/')
                .for_each(|b| *b = b'.');
            name
        })
        .prop_filter("dots", |name| !matches!(&name[..], b"." | b".."))
}

fn path() -> impl Strategy<Value = RelativePath> {
    vec(name(), 1..16).prop_map(|names| RelativePath::parse(&names.join(&b'/')).unwrap())
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let seconds = prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -300i64..300];
    (0u32..0o1000, seconds, 0u32..1_000_000_000).prop_map(|(mode, seconds, nanoseconds)| Metadata {
        mode: Mode::from_st_mode(mode),
        modified: Timestamp::new(seconds, nanoseconds).unwrap(),
        change: (seconds % 2 == 0).then_some(seconds.unsigned_abs()),
    })
}

fn size() -> impl Strategy<Value = Option<u64>> {
    option::of(prop_oneof![
        0..=MAX_FILE_SIZE,
        Just(MAX_FILE_SIZE),
        0u64..300
    ])
}

fn kind() -> impl Strategy<Value = Kind> {
    let target = vec(1u8.., 1..4096).prop_map(|target| Kind::Symlink {
        target: LinkTarget::new(&target).unwrap(),
    });
    prop_oneof![
        Just(Kind::Directory),
        size().prop_map(|size| Kind::File { size }),
        target
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (path(), kind(), metadata()).prop_map(|(path, kind, metadata)| Entry {
        path,
        kind,
        metadata,
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    (any::<u8>(), text()).prop_map(|(class, text)| Failure {
        class: FailureClass::from_code(class),
        text,
    })
}

fn times() -> impl Strategy<Value = Times> {
    [(); 7].map(|()| number()).prop_map(|numbers| {
        let [read, hash, encrypt, network, write, idle, processor] = numbers;
        Times {
            processor,
            read,
            hash,
            encrypt,
            network,
            write,
            idle,
        }
    })
}

fn assurance() -> impl Strategy<Value = Assurance> {
    any::<(bool, bool)>().prop_map(|(durable, reread)| Assurance { durable, reread })
}

fn totals() -> impl Strategy<Value = Totals> {
    [(); 7].map(|()| number()).prop_map(|numbers| {
        let [files, directories, symlinks, bytes, kept, failed, resumed] = numbers;
        Totals {
            files,
            directories,
            symlinks,
            bytes,
            kept,
            failed,
            resumed,
        }
    })
}

fn counters() -> impl Strategy<Value = Counters> {
    [(); 4].map(|()| number()).prop_map(|numbers| {
        let [bytes, files, bytes_known, files_known] = numbers;
        Counters {
            bytes,
            files,
            bytes_known,
            files_known,
        }
    })
}

/// Runs that ascend and do not overlap.
fn runs() -> impl Strategy<Value = Vec<(EntryNumber, u64)>> {
    vec((0u64..1 << 40, 1u64..1 << 40), 1..30).prop_map(|gaps| {
        let mut next = 0;
        gaps.into_iter()
            .map(|(gap, count)| {
                let first = next + gap;
                next = first + count;
                (first, count)
            })
            .collect()
    })
}

fn subtree() -> impl Strategy<Value = Subtree> {
    (0..1u64 << 63, 0..1u64 << 63, any::<[u8; 32]>()).prop_map(|(offset, length, value)| Subtree {
        offset,
        length,
        value,
    })
}

fn greeting() -> impl Strategy<Value = Message> {
    let share = || option::of(any::<[u8; 32]>());
    prop_oneof![
        (vec(any::<u8>(), 0..=MAX_SUITES), share(), text()).prop_map(|(suites, share, name)| {
            Message::Hello {
                suites,
                share,
                name,
            }
        }),
        (any::<u8>(), share(), text()).prop_map(|(suite, share, name)| Message::Welcome {
            suite,
            share,
            name
        }),
        any::<[u8; 64]>().prop_map(|tag| Message::Confirm { tag }),
        (
            option::of(path()),
            option::of(any::<[u8; 8]>()),
            assurance()
        )
            .prop_map(|(subdirectory, source, wanted)| Message::Offer {
                subdirectory,
                source,
                wanted,
            }),
        (any::<[u8; 16]>(), any::<(u32, u32, u16, bool)>()).prop_map(|(session, numbers)| {
            let (entries, bytes, lanes, resumes) = numbers;
            Message::Accept {
                session,
                window: WindowSize { entries, bytes },
                lanes,
                resumes,
            }
        }),
    ]
}

fn manifest() -> impl Strategy<Value = Message> {
    prop_oneof![
        (number(), vec(entry(), 1..6))
            .prop_map(|(first, entries)| Message::Entries { first, entries }),
        number().prop_map(|count| Message::EntriesEnd { count }),
        (number(), any::<u8>(), size(), metadata()).prop_map(
            |(number, attempt, size, metadata)| Message::Revise {
                number,
                attempt,
                size,
                metadata,
            }
        ),
        (number(), failure()).prop_map(|(number, failure)| Message::Withdraw { number, failure }),
        runs().prop_map(|runs| Message::Settled { runs }),
        number().prop_map(|number| Message::Kept { number }),
        (number(), failure()).prop_map(|(number, failure)| Message::Failed { number, failure }),
        (path(), failure()).prop_map(|(path, failure)| Message::Flawed { path, failure }),
        vec((number(), any::<[u8; 32]>()), 1..30).prop_map(|files| Message::Held { files }),
        (number(), vec(subtree(), 1..30))
            .prop_map(|(number, subtrees)| Message::Partial { number, subtrees }),
        runs().prop_map(|runs| Message::Missing { runs }),
    ]
}

fn ending() -> impl Strategy<Value = Message> {
    prop_oneof![
        counters().prop_map(Message::Progress),
        (any::<Hash>(), number(), times()).prop_map(|(root, unlisted, times)| Message::Close {
            root,
            unlisted,
            times,
        }),
        (
            any::<Hash>(),
            totals(),
            number(),
            (times(), times()),
            assurance()
        )
            .prop_map(|(root, totals, elapsed, (sender, receiver), given)| {
                Message::Receipt {
                    root,
                    totals,
                    elapsed,
                    sender,
                    receiver,
                    given,
                }
            }),
        Just(Message::Bye),
        (any::<u8>(), text()).prop_map(|(code, text)| Message::Abort {
            code: AbortCode::from_code(code),
            text,
        }),
    ]
}

fn lane() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<u16>().prop_map(|lane| Message::LaneLost { lane }),
        (any::<u16>(), number()).prop_map(|(lane, taken)| Message::LaneClosed { lane, taken }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![greeting(), manifest(), ending(), lane()]
}

/// Its type and its body, written behind bytes that were there before.
fn encoded(message: &Message) -> (u8, Vec<u8>) {
    let mut out = vec![0xa5; 3];
    message.encode(&mut out);
    let ([kind, a, b, c], body) = out[3..].split_first_chunk().unwrap();
    assert_eq!(u32::from_be_bytes([0, *a, *b, *c]) as usize, body.len());
    (*kind, body.to_vec())
}

proptest! {
    #[test]
    fn every_message_decodes_to_itself(message in message()) {
        let (kind, body) = encoded(&message);
        prop_assert_eq!(Message::decode(kind, &body), Ok(Some(message)));
    }

    #[test]
    fn a_body_cut_short_or_too_long_is_an_error(message in message(), cut in any::<prop::sample::Index>()) {
        let (kind, mut body) = encoded(&message);
        let cut = cut.index(body.len());
        prop_assert!(Message::decode(kind, &body[..cut]).is_err(), "cut at {}", cut);
        body.push(0);
        let trailing = Message::decode(kind, &body);
        prop_assert_eq!(trailing, Err(MessageError::Body(kind, CborError::Trailing)));
    }

    /// Whatever is taken means the same when it is said again, without what was skipped.
    #[test]
    fn what_is_taken_can_be_said_again(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (kind, mut body) = encoded(&message);
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(Some(taken)) = Message::decode(kind, &body) {
            let (kind, again) = encoded(&taken);
            prop_assert!(again.len() <= body.len());
            prop_assert_eq!(Message::decode(kind, &again), Ok(Some(taken)));
        }
    }

    #[test]
    fn any_body_is_a_message_or_an_error(kind in 0u8..20, body in vec(any::<u8>(), 0..100)) {
        let _ = Message::decode(kind, &body);
    }

    #[test]
    fn an_entry_counts_at_least_its_bytes(entry in entry()) {
        let count = entry_length(&entry);
        let entries = vec![entry];
        // Without the type, the map, its two keys, the number 0 and the array.
        let (_, body) = encoded(&Message::Entries { first: 0, entries });
        prop_assert!(body.len() - 5 <= count);
    }
}

/// A length in two bytes that has room in the header.
#[test]
fn strings_with_long_headers_are_refused() {
    let refused = MessageError::Body(17, CborError::NotShortest);
    let abort = [0xa2, 0, 1, 1, 0x78, 1, b'x'];
    assert_eq!(Message::decode(17, &abort), Err(refused));
}

#[test]
fn every_prefix_of_every_golden_is_an_error() {
    for (message, hex) in goldens::goldens() {
        let (kind, body) = encoded(&message);
        for length in 0..body.len() {
            assert!(
                Message::decode(kind, &body[..length]).is_err(),
                "{length} bytes of {hex}"
            );
        }
    }
}

#[test]
fn lists_are_bounded() {
    let too_many = |key, kind, header: &[u8]| {
        let error = MessageError::Body(kind, CborError::OutOfBounds(key));
        assert_eq!(Message::decode(kind, header), Err(error), "{header:x?}");
    };
    // No entries; one more than there may be; an absurd number, none of which is there.
    too_many(1, 6, &[0xa2, 0, 0, 1, 0x80]);
    too_many(1, 6, &[0xa2, 0, 0, 1, 0x99, 0x10, 0x01]);
    too_many(
        1,
        6,
        &[0xa2, 0, 0, 1, 0x9b, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    too_many(0, 10, &[0xa1, 0, 0x80]);
    too_many(0, 10, &[0xa1, 0, 0x81, 0]);
    too_many(0, 10, &[0xa1, 0, 0x99, 0x20, 0x02]);
    // Suites, a text, a tag.
    too_many(0, 1, &[&[0xa1, 0, 0x51][..], &[0; 17]].concat());
    too_many(
        1,
        17,
        &[&[0xa2, 0, 1, 1, 0x79, 2, 1][..], &[b'x'; 513]].concat(),
    );
    too_many(0, 3, &[&[0xa1, 0, 0x58, 63][..], &[0; 63]].concat());
}

/// Nothing that a peer sends makes the reader hold more than a message at its limit, and one read.
#[test]
fn the_reader_holds_one_message_and_one_read_at_most() {
    const LIMIT: usize = 1000;
    const READ: usize = 333;
    let mut reader = MessageReader::default();
    let mut stream = Vec::new();
    for length in [0u32, 1, 999, 1000, 1000, 7].iter().cycle().take(600) {
        let [_, a, b, c] = length.to_be_bytes();
        stream.extend([200, a, b, c]);
        stream.extend(vec![0xff; *length as usize]);
    }
    for read in stream.chunks(READ) {
        reader.extend(read);
        assert!(reader.buffer.len() <= HEADER + LIMIT + READ);
        assert_eq!(reader.next(LIMIT), Ok(None));
    }
    assert!(reader.buffer.capacity() <= 4 * (HEADER + LIMIT + READ));
}
