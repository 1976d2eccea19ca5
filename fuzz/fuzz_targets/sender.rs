//! What a receiver may say from its first word on, in pieces, while a sender lists and sends.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use packhorse_proto::entry::{Entry, Kind, Metadata, Mode, Timestamp};
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{Assurance, Times};
use packhorse_proto::path::RelativePath;
use packhorse_proto::sender::{Sender, SenderConfig, SenderEvent};
use packhorse_proto::window::Content;

fn entry(number: u64) -> Entry {
    Entry {
        path: RelativePath::parse(format!("{number:05}").as_bytes()).unwrap(),
        kind: Kind::File { size: Some(1) },
        metadata: Metadata {
            mode: Mode::from_st_mode(0o644),
            modified: Timestamp::new(0, 0).unwrap(),
            change: None,
        },
    }
}

fn config() -> SenderConfig {
    SenderConfig {
        limits: Limits::default(),
        suites: Vec::new(),
        share: None,
        name: String::new(),
        subdirectory: None,
        source: None,
        wanted: Assurance::default(),
    }
}

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut sender = Sender::new(config(), Duration::ZERO);
    let (mut listed, mut out) = (0, Vec::new());
    for piece in pieces {
        let _ = sender.handle_bytes(&piece, Duration::ZERO);
        while let Some(event) = sender.poll_event() {
            if event == SenderEvent::Drained {
                sender.close(0, Times::default());
            }
        }
        while listed < 100 && sender.can_offer() {
            if let Some(number) = sender.offer(entry(listed)) {
                sender.content(
                    number,
                    Content {
                        size: 1,
                        hash: [0; 32],
                    },
                );
            }
            listed += 1;
        }
        if listed == 100 {
            sender.end_of_entries();
        }
        out.clear();
        let _ = sender.poll_transmit(&mut out);
    }
});
