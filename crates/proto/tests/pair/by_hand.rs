//! One side alone, and a peer that is played by hand and may lie.

use std::time::Duration;

use minicbor::Encoder;

use packhorse_proto::control::Violation;
use packhorse_proto::entry::Entry;
use packhorse_proto::limits::Limits;
use packhorse_proto::message::{AbortCode, Assurance, HEADER, Message, Text, WindowSize};
use packhorse_proto::receiver::{Authentication, Receiver, ReceiverEvent};
use packhorse_proto::sender::{Sender, SenderConfig, SenderEvent};

use crate::receiving_side::SESSION;

pub(crate) const NOW: Duration = Duration::ZERO;
pub(crate) const ROOM: WindowSize = WindowSize {
    entries: 100,
    bytes: 10_000,
};

/// A side as these tests see it: bytes and time in, bytes out.
pub(crate) trait Side {
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Violation>;
    fn take(&mut self) -> Vec<u8>;

    /// What it has to say.
    fn said(&mut self) -> Vec<Message> {
        parse(&self.take())
    }
}

impl Side for Receiver {
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.handle_bytes(bytes, NOW)
    }
    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let any = self.poll_transmit(&mut out);
        assert_eq!(any, !out.is_empty());
        out
    }
}

impl Side for Sender {
    fn hear(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.handle_bytes(bytes, NOW)
    }
    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let any = self.poll_transmit(&mut out);
        assert_eq!(any, !out.is_empty());
        out
    }
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(([kind, length @ ..], rest)) = bytes.split_first_chunk::<HEADER>() {
        let length = usize::from(length[0]) << 16 | usize::from(length[1]) << 8;
        let length = length | usize::from(bytes[3]);
        messages.push(Message::decode(*kind, &rest[..length]).unwrap().unwrap());
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    messages
}

/// A message of any type with any body.
pub(crate) fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, _, _, _, _, a, b, c] = (body.len() as u64).to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

/// A body of one map, written by `fill`.
pub(crate) fn map(fields: u64, fill: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut body = Vec::new();
    let mut encoder = Encoder::new(&mut body);
    encoder.map(fields).unwrap();
    fill(&mut encoder);
    body
}

/// Entries as no honest sender writes them: any path, kind and mode.
pub(crate) fn raw_entries(first: u64, entries: &[(&[u8], u64, u32)]) -> Vec<u8> {
    let body = map(2, |e| {
        e.u64(0).unwrap().u64(first).unwrap();
        e.u64(1).unwrap().array(entries.len() as u64).unwrap();
        for (path, kind, mode) in entries {
            e.map(5).unwrap().u64(0).unwrap().bytes(path).unwrap();
            e.u64(1).unwrap().u64(*kind).unwrap();
            e.u64(2).unwrap().u32(*mode).unwrap();
            e.u64(3).unwrap().i64(-1).unwrap();
            e.u64(4).unwrap().u32(0).unwrap();
        }
    });
    raw(6, &body)
}

pub(crate) fn entries(first: u64, entries: &[Entry]) -> Vec<u8> {
    bytes(&Message::Entries {
        first,
        entries: entries.to_vec(),
    })
}

pub(crate) fn hello() -> Message {
    Message::Hello {
        suites: Vec::new(),
        share: None,
        name: Text::new("dray"),
    }
}

/// A receiver that has accepted, and has nothing more to say.
pub(crate) fn receiving(limits: Limits) -> Receiver {
    let mut receiver = Receiver::new(limits, Authentication::None, NOW);
    receiver.hear(&bytes(&hello())).unwrap();
    receiver.welcome(0, None, "stable");
    receiver.accept(SESSION, false);
    let offer = Message::Offer {
        subdirectory: None,
        source: None,
        wanted: Assurance::default(),
    };
    receiver.hear(&bytes(&offer)).unwrap();
    receiver.take();
    while receiver.poll_event().is_some() {}
    receiver
}

pub(crate) fn sender_config() -> SenderConfig {
    SenderConfig {
        limits: Limits::default(),
        suites: Vec::new(),
        share: None,
        name: "dray".to_owned(),
        subdirectory: None,
        source: None,
        wanted: Assurance::default(),
    }
}

pub(crate) fn welcome(suite: u8, share: Option<[u8; 32]>) -> Vec<u8> {
    bytes(&Message::Welcome {
        suite,
        share,
        name: Text::new("stable"),
    })
}

pub(crate) fn accept(window: WindowSize, lanes: u16) -> Vec<u8> {
    bytes(&Message::Accept {
        session: SESSION,
        window,
        lanes,
        resumes: false,
    })
}

/// A sender that was accepted and has offered `tree`.
pub(crate) fn sending(tree: &[Entry]) -> Sender {
    let mut sender = Sender::new(sender_config(), NOW);
    sender.hear(&welcome(0, None)).unwrap();
    sender.hear(&accept(ROOM, 4)).unwrap();
    for entry in tree {
        sender.offer(entry.clone()).unwrap();
    }
    sender.take();
    while sender.poll_event().is_some() {}
    sender
}

pub(crate) fn sender_events(sender: &mut Sender) -> Vec<SenderEvent> {
    std::iter::from_fn(|| sender.poll_event()).collect()
}

pub(crate) fn receiver_events(receiver: &mut Receiver) -> Vec<ReceiverEvent> {
    std::iter::from_fn(|| receiver.poll_event()).collect()
}

/// Says all of it; the last is refused, the peer is told so, and then there is silence.
pub(crate) fn refusal(mut side: impl Side, speech: &[Vec<u8>]) -> String {
    let (last, before) = speech.split_last().unwrap();
    for bytes in before {
        side.hear(bytes).unwrap();
    }
    side.take();
    let violation = side.hear(last).unwrap_err();
    let said = side.said();
    let Some(Message::Abort { code, text }) = said.last() else {
        panic!("{said:?}")
    };
    assert_eq!(text.as_str(), Text::new(&violation.to_string()).as_str());
    assert_eq!(*code == AbortCode::Unverified, is_disagreement(&violation));
    assert_eq!(side.hear(last), Ok(()), "nothing is heard after the end");
    assert_eq!(side.said(), [], "nothing is said after the end");
    violation.to_string()
}

fn is_disagreement(violation: &Violation) -> bool {
    matches!(violation, Violation::Disagreement(_))
}
