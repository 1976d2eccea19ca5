//! A framing by its notation, and a stream of bytes in pieces.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use packhorse_frame::{FrameSpec, Limits};

/// Small, so that inputs reach it.
const LIMIT: usize = 300;

fuzz_target!(|data: (&str, Vec<Vec<u8>>)| {
    let (notation, pieces) = data;
    let Ok(spec) = notation.parse::<FrameSpec>() else {
        return;
    };
    assert_eq!(spec.to_string().parse(), Ok(spec));
    let limits = Limits { max_message: LIMIT };
    let (mut decoder, encoder) = (spec.decoder(limits), spec.encoder(limits));
    let mut input = BytesMut::new();
    for piece in &pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(message)) => {
                    assert!(message.payload.len() <= LIMIT);
                    // What was a message can be sent as one again.
                    assert!(encoder.encode(message.payload).is_ok());
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    while let Ok(Some(message)) = decoder.finish(&mut input) {
        assert!(message.payload.len() <= LIMIT);
    }
});
