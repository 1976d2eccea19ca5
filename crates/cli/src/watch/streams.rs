//! `watch --streams`: every conversation, with what TCP did in it.

use std::io;

use packhorse_watch::stream::{
    Conversation, Direction, How, Protocol, Rtt, StreamId, Streams, Traffic,
};
use packhorse_watch::{Limits, Packets, Source};
use serde::Serialize;

use super::args::Watch;
use super::input;
use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;
use crate::units::{bytes, count, counted};

pub(super) fn run(ui: &Ui, args: &Watch, source: &mut dyn Source) -> Result<Exit, Failure> {
    let limits = Limits::default();
    let mut packets = Packets::new(&limits);
    let mut streams = Streams::new(&limits);
    let show = |conversation: &Conversation| -> io::Result<()> {
        if args.how.json {
            return ui.data(json::line(&Object::new(conversation))?);
        }
        text(conversation, |line| ui.data(line))
    };
    let mut written = Ok(());
    let result = loop {
        let frame = match source.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(Exit::Done),
            Err(error) => break Err(input::failure(error)),
        };
        if let Some(packet) = packets.read(&frame) {
            streams.handle(&frame, &packet);
        }
        // What has to make room is told at once: nothing of it is kept.
        if streams.has_ended() {
            written = streams.ended().iter().try_for_each(&show);
            if written.is_err() {
                break Ok(Exit::Done);
            }
        }
    };
    let written = written.and_then(|()| streams.conversations().into_iter().try_for_each(&show));
    after_data(written, Exit::Done)?;
    result
}

/// A conversation, for a person.
pub(super) fn text(
    conversation: &Conversation,
    mut line: impl FnMut(String) -> io::Result<()>,
) -> io::Result<()> {
    let Conversation {
        id, client, server, ..
    } = conversation;
    let name = name(*id);
    let time = seconds(conversation.last.since(conversation.first));
    let mut head = format!("{name}  {client} -> {server}  {time}");
    if let Some(rtt) = conversation.handshake_rtt {
        head += &format!(", handshake {}", milliseconds(rtt));
    }
    if let Some(ended) = conversation.ended {
        head += &format!(", {} by the {}", how(ended.how), who(ended.by));
    }
    line(head)?;
    for (arrow, traffic) in [
        ("->", &conversation.to_server),
        ("<-", &conversation.to_client),
    ] {
        line(format!("    {arrow} {}", summary(traffic)))?;
        let troubles = troubles(traffic);
        if !troubles.is_empty() {
            line(format!("       {}", troubles.join(", ")))?;
        }
    }
    Ok(())
}

/// The name of a conversation, with its protocol.
pub(super) fn name(id: StreamId) -> String {
    match id.protocol {
        Protocol::Tcp => format!("tcp:{}", id.number),
        Protocol::Udp => id.to_string(),
    }
}

fn summary(traffic: &Traffic) -> String {
    let mut text = format!(
        "{}, {} ({} of payload)",
        counted(traffic.packets, "packet", "packets"),
        bytes(traffic.bytes),
        bytes(traffic.payload)
    );
    let rtt = &traffic.rtt;
    if let Some(mean) = rtt.mean() {
        text += &format!(
            ", acknowledged in {} (min {}, max {})",
            milliseconds(mean),
            milliseconds(rtt.min),
            milliseconds(rtt.max)
        );
    }
    text
}

/// What went wrong, in words.
fn troubles(traffic: &Traffic) -> Vec<String> {
    let mut told = Vec::new();
    if traffic.retransmissions > 0 {
        told.push(format!(
            "{} (fast {}, timeout {}, spurious {})",
            counted(
                traffic.retransmissions.into(),
                "retransmission",
                "retransmissions"
            ),
            count(traffic.fast_retransmissions.into()),
            count(traffic.timeout_retransmissions().into()),
            count(traffic.spurious_retransmissions.into()),
        ));
    }
    let counts = [
        (traffic.out_of_order, "out of order"),
        (traffic.previous_not_captured, "behind a gap in the capture"),
        (traffic.acks_of_unseen, "acks of what the capture has not"),
        (traffic.duplicate_acks, "duplicate acks"),
        (traffic.zero_windows, "zero windows"),
        (traffic.windows_full, "windows filled"),
        (traffic.zero_window_probes, "zero window probes"),
        (traffic.keep_alives, "keep-alives"),
        (traffic.resets, "resets"),
    ];
    for (number, what) in counts {
        if number > 0 {
            told.push(format!("{} {what}", count(number.into())));
        }
    }
    told
}

pub(super) fn how(how: How) -> &'static str {
    match how {
        How::Fin => "closed",
        How::Reset => "reset",
    }
}

pub(super) fn who(by: Direction) -> &'static str {
    match by {
        Direction::ToServer => "client",
        Direction::ToClient => "server",
    }
}

fn seconds(nanos: i64) -> String {
    format!(
        "{}.{:06} s",
        nanos / 1_000_000_000,
        nanos % 1_000_000_000 / 1000
    )
}

fn milliseconds(nanos: i64) -> String {
    let micros = nanos / 1000;
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}

/// A conversation, for programs. Times are in nanoseconds.
#[derive(Serialize)]
struct Object {
    v: u32,
    event: &'static str,
    protocol: &'static str,
    /// Wireshark's number.
    stream: u32,
    client: String,
    server: String,
    /// Nanoseconds since 1970.
    first_ns: i64,
    duration_ns: i64,
    handshake_rtt_ns: Option<i64>,
    closed_first: Option<&'static str>,
    closed_how: Option<&'static str>,
    /// Both directions together.
    packets: u64,
    bytes: u64,
    retransmissions: u64,
    to_server: TrafficObject,
    to_client: TrafficObject,
}

#[derive(Serialize)]
struct TrafficObject {
    packets: u64,
    bytes: u64,
    payload_bytes: u64,
    retransmissions: u32,
    fast_retransmissions: u32,
    timeout_retransmissions: u32,
    spurious_retransmissions: u32,
    out_of_order: u32,
    previous_not_captured: u32,
    acks_of_unseen: u32,
    duplicate_acks: u32,
    zero_windows: u32,
    windows_full: u32,
    zero_window_probes: u32,
    keep_alives: u32,
    resets: u32,
    fins: u32,
    ack_rtt: Option<RttObject>,
}

/// How long the other side took to acknowledge.
#[derive(Serialize)]
struct RttObject {
    count: u64,
    min_ns: i64,
    mean_ns: i64,
    max_ns: i64,
}

/// The version of the object.
const VERSION: u32 = 1;

impl Object {
    fn new(conversation: &Conversation) -> Self {
        let (up, down) = (&conversation.to_server, &conversation.to_client);
        Self {
            v: VERSION,
            event: "conversation",
            protocol: match conversation.id.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            },
            stream: conversation.id.number,
            client: conversation.client.to_string(),
            server: conversation.server.to_string(),
            first_ns: conversation.first.0,
            duration_ns: conversation.last.since(conversation.first),
            handshake_rtt_ns: conversation.handshake_rtt,
            closed_first: conversation.ended.map(|ended| who(ended.by)),
            closed_how: conversation.ended.map(|ended| match ended.how {
                How::Fin => "fin",
                How::Reset => "rst",
            }),
            packets: up.packets + down.packets,
            bytes: up.bytes + down.bytes,
            retransmissions: u64::from(up.retransmissions) + u64::from(down.retransmissions),
            to_server: TrafficObject::new(up),
            to_client: TrafficObject::new(down),
        }
    }
}

impl TrafficObject {
    fn new(traffic: &Traffic) -> Self {
        Self {
            packets: traffic.packets,
            bytes: traffic.bytes,
            payload_bytes: traffic.payload,
            retransmissions: traffic.retransmissions,
            fast_retransmissions: traffic.fast_retransmissions,
            timeout_retransmissions: traffic.timeout_retransmissions(),
            spurious_retransmissions: traffic.spurious_retransmissions,
            out_of_order: traffic.out_of_order,
            previous_not_captured: traffic.previous_not_captured,
            acks_of_unseen: traffic.acks_of_unseen,
            duplicate_acks: traffic.duplicate_acks,
            zero_windows: traffic.zero_windows,
            windows_full: traffic.windows_full,
            zero_window_probes: traffic.zero_window_probes,
            keep_alives: traffic.keep_alives,
            resets: traffic.resets,
            fins: traffic.fins,
            ack_rtt: rtt(&traffic.rtt),
        }
    }
}

fn rtt(rtt: &Rtt) -> Option<RttObject> {
    Some(RttObject {
        count: rtt.count,
        min_ns: rtt.min,
        mean_ns: rtt.mean()?,
        max_ns: rtt.max,
    })
}
