//! `watch FILE` without a view, where there is no terminal: a line a frame.

use std::fmt::Write as _;

use packhorse_watch::packet::{Flags, Packet, Segment, Transport};
use packhorse_watch::{Frame, Limits, Packets, Source, Timestamp};
use serde::Serialize;

use super::args::Watch;
use super::input;
use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;

pub(super) fn run(ui: &Ui, args: &Watch, source: &mut dyn Source) -> Result<Exit, Failure> {
    let mut packets = Packets::new(&Limits::default());
    let mut first = None;
    loop {
        let frame = match source.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Exit::Done),
            Err(error) => return Err(input::failure(error)),
        };
        let packet = packets.read(&frame);
        let begin = *first.get_or_insert(frame.time);
        let written = if args.how.json {
            let object = Object::new(&frame, packet.as_ref());
            json::line(&object).and_then(|line| ui.data(line))
        } else {
            ui.data(text(&frame, packet.as_ref(), begin))
        };
        if written.is_err() {
            return after_data(written, Exit::Done);
        }
    }
}

/// One frame, for a person.
fn text(frame: &Frame<'_>, packet: Option<&Packet<'_>>, begin: Timestamp) -> String {
    let seconds = seconds(frame.time.since(begin));
    format!("{:>5} {seconds}  {}", frame.number, told(frame, packet))
}

/// Nanoseconds as seconds, to the microsecond.
pub(super) fn seconds(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let micros = nanoseconds.unsigned_abs() / 1000;
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// What a frame carries, short.
pub(super) fn told(frame: &Frame<'_>, packet: Option<&Packet<'_>>) -> String {
    let Some(packet) = packet else {
        return format!("{}, {} bytes", frame.link, frame.original_len);
    };
    let (from, to) = match packet.endpoints() {
        Some((source, destination)) => (source.to_string(), destination.to_string()),
        None => (packet.source.to_string(), packet.destination.to_string()),
    };
    let what = match packet.transport {
        Transport::Tcp(segment) => format!("TCP {}", account(&segment)),
        Transport::Udp(datagram) => format!("UDP len {}", datagram.payload_len),
        Transport::Fragment(piece) => format!(
            "{} fragment {:#x} at {}, len {}",
            protocol(piece.protocol),
            piece.identification,
            piece.offset,
            piece.payload_len
        ),
        Transport::Other {
            protocol: number, ..
        } => format!("{}, {} bytes", protocol(number), packet.len),
    };
    format!("{from} -> {to}  {what}")
}

/// What a segment says, short.
fn account(segment: &Segment<'_>) -> String {
    let mut text = format!("{} seq {}", flags(segment.flags), segment.sequence);
    if segment.flags.contains(Flags::ACK) {
        let _ = write!(text, " ack {}", segment.acknowledgment);
    }
    let _ = write!(text, " win {} len {}", segment.window, segment.payload_len);
    text
}

/// The names of control bits, as RFC 9293 has them.
pub(super) fn flags(flags: Flags) -> String {
    const NAMES: [(Flags, &str); 8] = [
        (Flags::SYN, "SYN"),
        (Flags::FIN, "FIN"),
        (Flags::RST, "RST"),
        (Flags::PSH, "PSH"),
        (Flags::ACK, "ACK"),
        (Flags::URG, "URG"),
        (Flags::ECE, "ECE"),
        (Flags::CWR, "CWR"),
    ];
    let set = NAMES.iter().filter(|(flag, _)| flags.contains(*flag));
    let names: Vec<&str> = set.map(|(_, name)| *name).collect();
    format!("[{}]", names.join(" "))
}

/// The name of a protocol of IP (<https://www.iana.org/assignments/protocol-numbers>).
fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        2 => "IGMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        number => format!("IP protocol {number}"),
    }
}

/// One frame, for programs.
#[derive(Serialize)]
struct Object {
    v: u32,
    event: &'static str,
    frame: u64,
    /// Nanoseconds since 1970.
    time_ns: i64,
    interface: u32,
    link: u16,
    len: u32,
    captured: usize,
    #[serde(flatten)]
    packet: Option<PacketObject>,
}

#[derive(Serialize)]
struct PacketObject {
    source: String,
    destination: String,
    protocol: String,
    #[serde(flatten)]
    ports: Option<PortsObject>,
    #[serde(flatten)]
    tcp: Option<TcpObject>,
}

#[derive(Serialize)]
struct PortsObject {
    source_port: u16,
    destination_port: u16,
    payload_len: u32,
}

#[derive(Serialize)]
struct TcpObject {
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
}

impl Object {
    fn new(frame: &Frame<'_>, packet: Option<&Packet<'_>>) -> Self {
        Self {
            v: 1,
            event: "frame",
            frame: frame.number,
            time_ns: frame.time.0,
            interface: frame.interface,
            link: frame.link.0,
            len: frame.original_len,
            captured: frame.data.len(),
            packet: packet.map(PacketObject::new),
        }
    }
}

impl PacketObject {
    fn new(packet: &Packet<'_>) -> Self {
        let (name, ports, tcp) = match packet.transport {
            Transport::Tcp(segment) => (
                "tcp".to_owned(),
                Some((
                    segment.source_port,
                    segment.destination_port,
                    segment.payload_len,
                )),
                Some(TcpObject {
                    flags: segment.flags.0,
                    seq: segment.sequence,
                    ack: segment.acknowledgment,
                    window: segment.window,
                }),
            ),
            Transport::Udp(datagram) => (
                "udp".to_owned(),
                Some((
                    datagram.source_port,
                    datagram.destination_port,
                    datagram.payload_len,
                )),
                None,
            ),
            Transport::Fragment(piece) => (protocol(piece.protocol), None, None),
            Transport::Other {
                protocol: number, ..
            } => (protocol(number), None, None),
        };
        Self {
            source: packet.source.to_string(),
            destination: packet.destination.to_string(),
            protocol: name.to_lowercase(),
            ports: ports.map(|(source_port, destination_port, payload_len)| PortsObject {
                source_port,
                destination_port,
                payload_len,
            }),
            tcp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bits_have_their_names() {
        assert_eq!(flags(Flags(0x12)), "[SYN ACK]");
        assert_eq!(flags(Flags(0)), "[]");
    }
}
