//! What is shown of messages and of what happens to connections.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use packhorse_endpoint::{Address, Kind, Pin};
use packhorse_server::{End, Event, Message, Moved, Peer, Record, Side};
use packhorse_transfer::Escaped;
use serde::Serialize;

pub(super) use super::lines::Direction;
use super::lines::{
    EndedFields, FinishedFields, Line, ListeningFields, MessageFields, RefusedFields, VERSION,
    WarningFields, fields_of, moved,
};
use super::text::Carry;
use crate::json;
use crate::ui::{Ui, Volume};
use crate::units;

/// How messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The bytes, and nothing else.
    Raw,
    /// A line a message.
    Text,
    /// Offset, hexadecimal digits and characters.
    Hex,
    /// One JSON object a line.
    Json,
}

/// Whose messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    /// There is one peer: it needs no name.
    None,
    /// Each message names its peer.
    Peers,
}

/// Shows what is said and what happens. Clones share it.
#[derive(Clone)]
pub(crate) struct Show(Arc<Inner>);

struct Inner {
    ui: Ui,
    style: Style,
    tags: Tags,
    /// Whether what is shown could steer somebody's terminal.
    terminal: bool,
    /// Characters that are not whole yet, by peer.
    carries: Mutex<HashMap<u64, Carry>>,
}

impl Show {
    pub(crate) fn new(ui: &Ui, style: Style, tags: Tags) -> Self {
        Self(Arc::new(Inner {
            ui: ui.clone(),
            style,
            tags,
            terminal: io::stdout().is_terminal(),
            carries: Mutex::default(),
        }))
    }

    /// A message that came. `whole` says whether it is a message, or a piece of a stream that may end
    /// in the middle of a character.
    pub(crate) fn received(&self, peer: &Peer, message: &Message, whole: Whole) -> io::Result<()> {
        if message.lost > 0 {
            let all = message.payload.len() as u64 + message.lost;
            self.warn(format_args!(
                "a datagram of {all} bytes from {peer} did not fit: its last {} bytes are lost",
                message.lost
            ));
        }
        if whole == Whole::Yes || self.0.style == Style::Raw || self.0.style == Style::Hex {
            return self.message(peer, Direction::Received, message, &message.payload);
        }
        let (text, held_before) = {
            let mut carries = self.carries();
            let carry = carries.entry(peer.number).or_default();
            let held = carry.held();
            (carry.take(&message.payload), held)
        };
        if text.is_empty() {
            return Ok(());
        }
        let offset = message.offset.saturating_sub(held_before);
        let shown = Message {
            offset,
            ..message.clone()
        };
        self.message(peer, Direction::Received, &shown, &text)
    }

    /// A message that went.
    pub(crate) fn sent(&self, peer: &Peer, offset: u64, payload: &[u8]) -> io::Result<()> {
        // Who typed it has seen it.
        if self.0.style != Style::Json {
            return Ok(());
        }
        let message = Message {
            payload: bytes::Bytes::new(),
            offset,
            lost: 0,
        };
        self.message(peer, Direction::Sent, &message, payload)
    }

    fn message(
        &self,
        peer: &Peer,
        direction: Direction,
        message: &Message,
        payload: &[u8],
    ) -> io::Result<()> {
        match self.0.style {
            Style::Raw => self.0.ui.raw_data(payload),
            Style::Json => self.json(
                "message",
                MessageFields {
                    peer: peer.to_string(),
                    number: peer.number,
                    direction,
                    offset: message.offset,
                    length: payload.len(),
                    bytes: STANDARD.encode(payload),
                    text: str::from_utf8(payload).ok(),
                    lost: message.lost,
                },
            ),
            Style::Hex => {
                let tag = self.tag(peer);
                self.0.ui.data(format_args!(
                    "{tag}{}",
                    dump(message.offset, payload).trim_end()
                ))
            }
            Style::Text => self.text(peer, payload),
        }
    }

    fn text(&self, peer: &Peer, payload: &[u8]) -> io::Result<()> {
        if !self.0.terminal && self.0.tags == Tags::None {
            let mut line = payload.to_vec();
            line.push(b'\n');
            return self.0.ui.raw_data(&line);
        }
        let tag = self.tag(peer);
        let lines = payload.strip_suffix(b"\n").unwrap_or(payload);
        let mut shown = String::new();
        for (number, line) in lines.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let separator = if number == 0 { "" } else { "\n" };
            let _ = write!(shown, "{separator}{tag}{}", Escaped(line));
        }
        self.0.ui.data(shown)
    }

    fn tag(&self, peer: &Peer) -> String {
        match self.0.tags {
            Tags::None => String::new(),
            Tags::Peers => format!("[{} {peer}] ", peer.number),
        }
    }

    /// Something that a server told.
    pub(crate) fn event(&self, event: &Event) {
        let told = match event {
            Event::Listening { kind, address, pin } => self.listening(*kind, address, pin.as_ref()),
            Event::Arrived(peer) => self.arrived(peer),
            Event::Ended(record) => self.ended(record),
            Event::Refused { address, reason } => self.refused(address, &reason.to_string()),
            Event::OutOfDescriptors { error, pause } => {
                let pause = units::duration(*pause);
                self.warn(format_args!(
                    "no connection can be taken ({error}): those that come wait; trying again in {pause}"
                ));
                Ok(())
            }
            Event::Draining { connections: 0 } => Ok(()),
            Event::Draining { connections } => {
                let those = units::counted(*connections as u64, "connection", "connections");
                self.0
                    .ui
                    .say(format_args!("Stopping; waiting for {those} to finish"));
                Ok(())
            }
            // The enum may grow before this program knows what to say of it.
            _ => Ok(()),
        };
        // Nobody reads any more: whoever sends the next message finds out.
        drop(told);
    }

    fn listening(&self, kind: Kind, address: &Address, pin: Option<&Pin>) -> io::Result<()> {
        let endpoint = endpoint_of(kind, address);
        if self.0.style == Style::Json {
            return self.json(
                "listening",
                ListeningFields {
                    kind: kind.to_string(),
                    addr: address.to_string(),
                    pin: pin.map(ToString::to_string),
                    endpoint,
                },
            );
        }
        self.0.ui.titled("Listening on ", &endpoint);
        if let Some(pin) = pin {
            self.0
                .ui
                .say(format_args!("Clients know this server by ?pin={pin}"));
        }
        Ok(())
    }

    pub(crate) fn arrived(&self, peer: &Peer) -> io::Result<()> {
        if self.0.style == Style::Json {
            return self.json("connected", fields_of(peer));
        }
        match self.0.tags {
            Tags::Peers => self
                .0
                .ui
                .say(format_args!("[{} {peer}] is here", peer.number)),
            Tags::None => self.0.ui.say(format_args!("Connected to {peer}")),
        }
        Ok(())
    }

    /// A side says that no more comes from it.
    pub(crate) fn finished(&self, peer: &Peer, side: Side) -> io::Result<()> {
        if self.0.style == Style::Json {
            let (peer, number) = (peer.to_string(), peer.number);
            let side = match side {
                Side::Here => "here",
                Side::Peer => "peer",
            };
            return self.json("finished", FinishedFields { peer, number, side });
        }
        let line = match side {
            Side::Here => format!("{peer} was told that no more comes"),
            Side::Peer => format!("{peer} sends no more"),
        };
        self.0.ui.at(Volume::Verbose, line);
        Ok(())
    }

    /// The record of a connection that ended.
    pub(crate) fn ended(&self, record: &Record) -> io::Result<()> {
        let rest = self.carries().remove(&record.peer.number);
        if let Some(rest) = rest
            .map(|mut carry| carry.rest())
            .filter(|rest| !rest.is_empty())
        {
            let offset = record.received.bytes.saturating_sub(rest.len() as u64);
            let message = Message {
                payload: bytes::Bytes::new(),
                offset,
                lost: 0,
            };
            self.message(&record.peer, Direction::Received, &message, &rest)?;
        }
        if self.0.style == Style::Json {
            return self.json(
                "ended",
                EndedFields {
                    peer: fields_of(&record.peer),
                    received: moved(record.received),
                    sent: moved(record.sent),
                    dropped: record.dropped,
                    seconds: record.duration.as_secs_f64(),
                    end: record.end.name(),
                    message: record.end.to_string(),
                },
            );
        }
        let tag = match self.0.tags {
            Tags::Peers => self.tag(&record.peer),
            Tags::None => format!("{}: ", record.peer),
        };
        let dropped = match record.dropped {
            0 => String::new(),
            dropped => format!(
                "; {} dropped",
                units::counted(dropped, "datagram", "datagrams")
            ),
        };
        self.0.ui.say(format_args!(
            "{tag}{}; received {}, sent {}{dropped}; {}",
            how_it_ended(record),
            amount(record.received),
            amount(record.sent),
            units::duration(record.duration),
        ));
        Ok(())
    }

    fn refused(&self, address: &Address, reason: &str) -> io::Result<()> {
        let peer = address.to_string();
        if self.0.style == Style::Json {
            return self.json("refused", RefusedFields { peer, reason });
        }
        let reason = Escaped(reason.as_bytes());
        self.0.ui.at(
            Volume::Normal,
            format_args!("{peer} was sent away: {reason}"),
        );
        Ok(())
    }

    /// Something that is wrong, while the rest goes on.
    pub(crate) fn warn(&self, message: impl std::fmt::Display) {
        let message = message.to_string();
        if self.0.style == Style::Json {
            let _ = self.json("warning", WarningFields { message: &message });
        } else {
            self.0.ui.warn(Escaped(message.as_bytes()));
        }
    }

    /// An answer to a command of the person who types.
    pub(crate) fn tell(&self, line: impl std::fmt::Display) {
        self.0.ui.say(line);
    }

    fn json(&self, event: &'static str, fields: impl Serialize) -> io::Result<()> {
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        self.0.ui.data(json::line(&Line {
            v: VERSION,
            event,
            time,
            fields,
        })?)
    }

    fn carries(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Carry>> {
        self.0
            .carries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something is a message, or a piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Yes,
    No,
}

/// What a client would type to come here.
fn endpoint_of(kind: Kind, address: &Address) -> String {
    match address {
        Address::Inet(inet) if kind == Kind::Raw => format!("{kind}://{}", inet.ip()),
        Address::Inet(_) => format!("{kind}://{address}"),
        _ => format!("{kind}:{address}"),
    }
}

/// Who closed first, and by which flag, where the kind of socket has such.
fn how_it_ended(record: &Record) -> String {
    let flag = match (&record.end, record.peer.kind.is_connected()) {
        (End::ByPeer | End::ByHandler, true) => " first (FIN)",
        (End::Reset, true) => " (RST)",
        _ => "",
    };
    format!("{}{flag}", Escaped(record.end.to_string().as_bytes()))
}

fn amount(moved: Moved) -> String {
    let messages = units::counted(moved.messages, "message", "messages");
    format!("{} in {messages}", units::bytes(moved.bytes))
}

/// Lines of sixteen bytes: where they are in the stream, their digits, their characters.
fn dump(offset: u64, payload: &[u8]) -> String {
    let mut lines = String::new();
    if payload.is_empty() {
        let _ = writeln!(lines, "{offset:08x}  (empty)");
    }
    for (number, bytes) in payload.chunks(16).enumerate() {
        let _ = write!(lines, "{:08x}  ", offset + 16 * number as u64);
        for column in 0..16 {
            match bytes.get(column) {
                Some(byte) => _ = write!(lines, "{byte:02x} "),
                None => lines.push_str("   "),
            }
            if column == 7 {
                lines.push(' ');
            }
        }
        let visible = |&byte: &u8| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        };
        let _ = writeln!(
            lines,
            " |{}|",
            bytes.iter().map(visible).collect::<String>()
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_as_hexdump_does() {
        let bytes: Vec<u8> = (b'a'..=b'r').collect();
        let expected = "\
00000010  61 62 63 64 65 66 67 68  69 6a 6b 6c 6d 6e 6f 70  |abcdefghijklmnop|
00000020  71 72                                             |qr|
";
        assert_eq!(dump(16, &bytes), expected);
        assert_eq!(dump(0, b""), "00000000  (empty)\n");
    }
}
