//! Any type and body: a message that can be said again, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhorse_proto::message::{HEADER, Message};

fuzz_target!(|data: (u8, Vec<u8>)| {
    let (kind, body) = data;
    if let Ok(Some(message)) = Message::decode(kind, &body) {
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(
            Message::decode(again[0], &again[HEADER..]),
            Ok(Some(message))
        );
    }
});
