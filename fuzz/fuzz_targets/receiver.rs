//! What an accepted sender may say, in pieces, while entries are stored as they come.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{Assurance, Message, Text};
use packhorse_proto::receiver::{Authentication, Receiver, ReceiverEvent};

fn accepted() -> Receiver {
    let mut receiver = Receiver::new(Limits::default(), Authentication::None, Duration::ZERO);
    let hello = Message::Hello {
        suites: Vec::new(),
        share: None,
        name: Text::new(""),
    };
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    receiver.handle_bytes(&bytes, Duration::ZERO).unwrap();
    receiver.welcome(0, None, "");
    receiver.accept([0; 16], true);
    bytes.clear();
    Message::Offer {
        subdirectory: None,
        source: None,
        wanted: Assurance::default(),
    }.encode(&mut bytes);
    receiver.handle_bytes(&bytes, Duration::ZERO).unwrap();
    receiver
}

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut receiver = accepted();
    let mut out = Vec::new();
    for piece in pieces {
        let _ = receiver.handle_bytes(&piece, Duration::ZERO);
        while let Some(event) = receiver.poll_event() {
            if let ReceiverEvent::Entry { number, .. } = event {
                receiver.stored(number, None);
            }
        }
        out.clear();
        let _ = receiver.poll_transmit(&mut out);
    }
});
