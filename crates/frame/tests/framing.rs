//! Any list of messages, encoded, cut anywhere and glued anyhow, decodes to the same list; limits and
//! lies are errors that say where.

use bytes::{Buf as _, Bytes, BytesMut};
use packhorse_frame::{Decoder, EncodeError, FrameError, FrameSpec, Limits};
use proptest::prelude::*;

const LIMITS: Limits = Limits { max_message: 1000 };

fn spec(text: &str) -> FrameSpec {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A framing, and a list of messages that it can carry.
fn framed() -> impl Strategy<Value = (String, Vec<Vec<u8>>)> {
    let any_message = || prop::collection::vec(any::<u8>(), 0..300);
    let lists = |message: BoxedStrategy<Vec<u8>>| prop::collection::vec(message, 0..12);
    let short = || prop::collection::vec(any::<u8>(), 0..256).boxed();
    let named = |names: &'static [&'static str], message: BoxedStrategy<Vec<u8>>| {
        (
            prop::sample::select(names).prop_map(str::to_owned),
            lists(message),
        )
    };
    prop_oneof![
        named(
            &[
                "u16be", "u16le", "u32be", "u32le", "u64be", "u64le", "i32le", "varint"
            ],
            any_message().boxed()
        ),
        named(&["u8"], short()),
        named(&["line"], any_message().prop_map(without(b'\n')).boxed()),
        named(&["nul"], any_message().prop_map(without(0)).boxed()),
        (1..40usize).prop_flat_map(move |size| {
            let message = prop::collection::vec(any::<u8>(), size).boxed();
            (
                Just(format!("fixed:{size}")),
                prop::collection::vec(message, 0..12),
            )
        }),
        (
            0..6usize,
            prop::sample::select(&["2", "2le", "3", "3le", "4", "4le", "8", "8le"][..]),
            -9..9i64
        )
            .prop_flat_map(|(offset, width, adjust)| {
                let message = any_frame_body()
                    .prop_map(move |body| with_header(offset, width, adjust, &body));
                let text = format!("header:{offset},{width},{adjust}");
                (Just(text), prop::collection::vec(message, 0..12))
            }),
    ]
}

fn any_frame_body() -> impl Strategy<Value = Vec<u8>> {
    // Long enough that no adjustment here makes a length negative.
    prop::collection::vec(any::<u8>(), 9..200)
}

fn without(byte: u8) -> impl Fn(Vec<u8>) -> Vec<u8> + Clone {
    move |mut message| {
        message.retain(|&b| b != byte);
        message
    }
}

/// A frame whose length field says how long `body` is, less `adjust`.
fn with_header(offset: usize, width: &str, adjust: i64, body: &[u8]) -> Vec<u8> {
    let claimed = u64::try_from(i64::try_from(body.len()).unwrap() - adjust).unwrap();
    let mut frame = vec![0x55; offset];
    let (digits, little) = match width.strip_suffix("le") {
        Some(digits) => (digits, true),
        None => (width, false),
    };
    let size: usize = digits.parse().unwrap();
    match little {
        true => frame.extend_from_slice(&claimed.to_le_bytes()[..size]),
        false => frame.extend_from_slice(&claimed.to_be_bytes()[8 - size..]),
    }
    frame.extend_from_slice(body);
    frame
}

/// Feeds `stream` in pieces, and gives what comes out; checks that offsets follow each other.
fn decode_in_pieces(
    decoder: &mut Decoder,
    stream: &[u8],
    pieces: impl Iterator<Item = usize>,
) -> Result<Vec<Bytes>, FrameError> {
    let mut messages = Vec::new();
    let mut input = BytesMut::new();
    let mut rest = stream;
    let mut offset = 0;
    let mut take = |message: packhorse_frame::Message| {
        assert_eq!(message.offset, offset);
        offset += message.wire_length;
        messages.push(message.payload);
    };
    for piece in pieces {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
        rest = later;
        input.extend_from_slice(now);
        while let Some(message) = decoder.decode(&mut input)? {
            take(message);
        }
    }
    input.extend_from_slice(rest);
    while let Some(message) = decoder.finish(&mut input)? {
        take(message);
    }
    assert!(input.is_empty());
    assert_eq!(decoder.offset(), stream.len() as u64);
    Ok(messages)
}

proptest! {
    #[test]
    fn any_list_cut_anywhere_and_glued_anyhow_is_the_same_list(
        (text, messages) in framed(),
        pieces in prop::collection::vec(1..50usize, 0..100),
    ) {
        let spec = spec(&text);
        prop_assert_eq!(spec.to_string(), text);
        let encoder = spec.encoder(LIMITS);
        // Behind other bytes, as a buffer in use has them.
        let mut stream = BytesMut::from(&[0xa5; 3][..]);
        for message in &messages {
            let payload = Bytes::from(message.clone());
            let at = payload.as_ptr();
            let copied = stream.len();
            encoder.encode_into(&payload, &mut stream).unwrap();
            let mut frame = encoder.encode(payload).unwrap();
            prop_assert_eq!(frame.len(), stream.len() - copied);
            // A vectored write sees the same bytes, and the payload where it was.
            let mut slices = [std::io::IoSlice::new(&[]); 3];
            let count = frame.chunks_vectored(&mut slices);
            let glued: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            prop_assert_eq!(&glued[..], &stream[copied..]);
            let whole = message.is_empty() || slices[..count].iter().any(|s| s.as_ptr() == at);
            prop_assert!(whole, "the payload was copied");
            let mut put = BytesMut::new();
            frame.put_into(&mut put);
            prop_assert_eq!(&put[..], &stream[copied..]);
            prop_assert_eq!(frame.copy_to_bytes(frame.len()), &stream[copied..]);
        }
        let decoded = decode_in_pieces(&mut spec.decoder(LIMITS), &stream[3..], pieces.into_iter());
        let decoded: Vec<Vec<u8>> = decoded.unwrap().into_iter().map(Vec::from).collect();
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn hostile_bytes_never_panic_and_never_pass_a_limit(
        text in prop::sample::select(&[
            "none", "line", "nul", "u8", "u16be", "u32le", "u64be", "i32le", "varint", "fixed:7",
            "header:3,8le,-5", "header:0,4,9223372036854775807", "header:1,1,-9223372036854775808",
        ][..]),
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..200),
        pieces in prop::collection::vec(1..20usize, 0..50),
    ) {
        let limits = Limits { max_message: 50 };
        let mut decoder = spec(text).decoder(limits);
        match decode_in_pieces(&mut decoder, &bytes, pieces.into_iter()) {
            Ok(messages) => prop_assert!(messages.iter().all(|message| message.len() <= 50)),
            Err(error) => {
                prop_assert!(error.offset() <= bytes.len() as u64);
                // Once wrong, always wrong.
                prop_assert_eq!(decoder.decode(&mut BytesMut::from(&b"\0\0"[..])), Err(error));
            }
        }
    }

    #[test]
    fn notations_never_panic_and_read_back(text in "[a-z0-9:,+-]{0,20}|header:\\PC{0,12}") {
        if let Ok(spec) = text.parse::<FrameSpec>() {
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }
}

fn decode_all(text: &str, limits: Limits, bytes: &[u8]) -> Result<Vec<Bytes>, FrameError> {
    decode_in_pieces(
        &mut spec(text).decoder(limits),
        bytes,
        std::iter::repeat(usize::MAX),
    )
}

#[test]
fn a_message_as_long_as_the_limit_passes_and_one_byte_more_does_not() {
    let limits = Limits { max_message: 4 };
    for (text, good, bad) in [
        ("line", &b"abcd\n"[..], &b"abcde\n"[..]),
        ("nul", b"abcd\0", b"abcde\0"),
        ("u8", b"\x04abcd", b"\x05abcde"),
        ("u32be", b"\0\0\0\x04abcd", b"\0\0\0\x05abcde"),
        ("varint", b"\x04abcd", b"\x05abcde"),
        ("header:0,1,0", b"\x03abc", b"\x04abcd"),
    ] {
        assert_eq!(decode_all(text, limits, good).unwrap().len(), 1, "{text}");
        let error = decode_all(text, limits, bad).unwrap_err();
        assert_eq!(error.offset(), 0, "{text}");
        // The second message is where the offset points.
        let error = decode_all(text, limits, &[good, bad].concat()).unwrap_err();
        assert_eq!(error.offset(), good.len() as u64, "{text}");
    }
}

#[test]
fn a_long_claim_is_refused_before_its_bytes_come_and_reserves_nothing() {
    for (text, head) in [
        ("u64le", &[0xff; 8][..]),
        ("u64be", &[0x7f; 8]),
        ("u32be", &[0xff; 4]),
        ("i32le", &[0xff, 0xff, 0xff, 0x7f]),
        (
            "varint",
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ),
        ("header:0,8,9223372036854775807", &[0xff; 8]),
    ] {
        let mut input = BytesMut::from(head);
        let before = input.capacity();
        let error = spec(text).decoder(LIMITS).decode(&mut input).unwrap_err();
        assert!(
            matches!(
                error,
                FrameError::TooLong {
                    offset: 0,
                    limit: 1000,
                    ..
                }
            ),
            "{text}: {error}"
        );
        assert_eq!(input.capacity(), before);
    }
    // A claim within the limit is waited for, and nothing is reserved for it either.
    let mut input = BytesMut::from(&[0, 0, 3, 0xe8, b'x'][..]);
    let before = input.capacity();
    assert_eq!(spec("u32be").decoder(LIMITS).decode(&mut input), Ok(None));
    assert_eq!(input.capacity(), before);
}

#[test]
fn lies_are_named_with_their_offset() {
    let negative = decode_all("i32le", LIMITS, b"\x01\0\0\0x\xff\xff\xff\xff").unwrap_err();
    assert_eq!(
        negative,
        FrameError::NegativeLength {
            offset: 5,
            length: -1
        }
    );
    let varint = decode_all("varint", LIMITS, &[0x80; 11]).unwrap_err();
    assert_eq!(varint, FrameError::BadVarint { offset: 0 });
    let adjusted = decode_all("header:0,1,-4", LIMITS, b"\x03abc").unwrap_err();
    let expected = FrameError::NegativeAdjusted {
        offset: 0,
        length: 3,
        adjust: -4,
    };
    assert_eq!(adjusted, expected);
    let cut = decode_all("u16be", LIMITS, b"\0\x01a\0\x05bc").unwrap_err();
    assert_eq!(
        cut,
        FrameError::Truncated {
            offset: 3,
            received: 4
        }
    );
    let unended = decode_all("line", LIMITS, &[b'x'; 1002]).unwrap_err();
    assert!(matches!(
        unended,
        FrameError::NoDelimiter {
            offset: 0,
            limit: 1000,
            ..
        }
    ));
}

#[test]
fn a_last_line_needs_no_end() {
    let lines = decode_all("line", LIMITS, b"one\r\n\ntwo").unwrap();
    assert_eq!(lines, ["one\r", "", "two"]);
}

#[test]
fn what_does_not_fit_a_frame_is_not_sent() {
    let encode = |text: &str, payload: &'static [u8]| {
        let encoder = spec(text).encoder(Limits { max_message: 300 });
        let mut out = BytesMut::new();
        let whole = encoder.encode(Bytes::from_static(payload)).map(drop);
        let into = encoder.encode_into(payload, &mut out);
        assert_eq!(whole, into);
        assert!(into.is_ok() || out.is_empty(), "half a frame");
        into
    };
    assert!(matches!(
        encode("u8", &[0; 256]),
        Err(EncodeError::OverField {
            length: 256,
            largest: 255
        })
    ));
    assert!(matches!(
        encode("u16be", &[0; 301]),
        Err(EncodeError::OverLimit { length: 301, .. })
    ));
    assert!(matches!(
        encode("line", b"a\nb"),
        Err(EncodeError::HoldsDelimiter { at: 1, .. })
    ));
    assert!(matches!(
        encode("nul", b"ab\0"),
        Err(EncodeError::HoldsDelimiter { at: 2, .. })
    ));
    assert!(matches!(
        encode("fixed:3", b"ab"),
        Err(EncodeError::NotFixed {
            length: 2,
            fixed: 3
        })
    ));
    let short = encode("header:2,2,0", b"abc");
    assert!(matches!(
        short,
        Err(EncodeError::ShorterThanHeader {
            length: 3,
            header: 4
        })
    ));
    let wrong = encode("header:0,1,0", b"\x05abc");
    assert!(matches!(
        wrong,
        Err(EncodeError::WrongHeader {
            claimed: 5,
            right: 3,
            ..
        })
    ));
    assert_eq!(encode("header:0,1,0", b"\x03abc"), Ok(()));
    // Bytes without messages have no limit for messages.
    assert_eq!(encode("none", &[0; 301]), Ok(()));
}

#[test]
fn a_long_line_in_small_pieces_is_searched_once() {
    // Searched anew each time, this would look at two million million bytes.
    let limits = Limits {
        max_message: 4 << 20,
    };
    let mut decoder = spec("line").decoder(limits);
    let mut input = BytesMut::new();
    for _ in 0..2 << 20 {
        input.extend_from_slice(b"x");
        assert_eq!(decoder.decode(&mut input), Ok(None));
    }
    input.extend_from_slice(b"\n");
    assert_eq!(
        decoder.decode(&mut input).unwrap().unwrap().payload.len(),
        2 << 20
    );
}
