//! IPv4 (RFC 791) and IPv6 (RFC 8200) with their extension headers.

use std::net::IpAddr;

use super::layer::Value;
use super::taker::{Taker, bits};
use super::{Between, Bytes, Dissector, Level, cut, icmp, igmp, transport};

/// Extension headers that are taken apart at most.
const EXTENSIONS: usize = 16;

/// The packet that begins at `at`. `version` is what the link said, 0 where it did not.
pub(super) fn dissect(dissector: &mut Dissector<'_>, at: usize, version: u8) {
    let said = dissector.data.get(at).map(|byte| byte >> 4);
    match (version, said) {
        (0 | 4, Some(4)) => ipv4(dissector, at),
        (0 | 6, Some(6)) => ipv6(dissector, at),
        (_, None) => {}
        (version, Some(said)) => {
            let end = dissector.data.len();
            let taker = dissector.taker(at..end);
            let note = format!("the version is {said}, which the link does not say ({version})");
            dissector.add("IP", Level::Network, taker, end, vec![note]);
        }
    }
}

/// The name of a protocol (<https://www.iana.org/assignments/protocol-numbers>).
pub(super) fn protocol_name(number: u64) -> Option<String> {
    let name = match number {
        0 => "IPv6 hop-by-hop options",
        1 => "ICMP",
        2 => "IGMP",
        4 => "IPv4",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6",
        43 => "IPv6 routing",
        44 => "IPv6 fragment",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        59 => "nothing",
        60 => "IPv6 destination options",
        89 => "OSPF",
        132 => "SCTP",
        _ => return None,
    };
    Some(name.to_owned())
}

fn ipv4(dissector: &mut Dissector<'_>, at: usize) {
    let mut taker = dissector.taker(at..dissector.data.len());
    let mut notes = Vec::new();
    let header = ipv4_header(&mut taker, &mut notes);
    let data_end = dissector.data.len();
    let Some(header) = header else {
        notes.extend(cut());
        dissector.add("IPv4", Level::Network, taker, data_end, notes);
        return;
    };
    let behind = taker.at();
    let on_wire = match header.total {
        0 => {
            notes.push("its length is left to the network card (0)".to_owned());
            dissector.on_wire
        }
        total => at + total,
    };
    if on_wire > dissector.on_wire {
        notes.push("it claims to be longer than the frame".to_owned());
    } else if on_wire > data_end {
        notes.push(format!(
            "{} bytes of it were not captured",
            on_wire - data_end
        ));
    }
    let end = on_wire.min(data_end).max(behind);
    let more = dissector.add("IPv4", Level::Network, taker, end, notes);
    let piece = header.fragment.then_some(header.protocol);
    if more {
        carried(
            dissector,
            header.protocol,
            behind,
            on_wire,
            header.between,
            piece,
        );
    }
}

struct Header {
    total: usize,
    protocol: u64,
    fragment: bool,
    between: Between,
}

fn ipv4_header(taker: &mut Taker<'_>, notes: &mut Vec<String>) -> Option<Header> {
    let begin = taker.at();
    let first = taker.hex(1, "version and header length", "version_ihl")?;
    let field = taker.fields.last_mut()?;
    let header_len = usize::try_from(first & 15).ok()? * 4;
    field.parts = [
        ("version", "version", Value::Number(first >> 4)),
        (
            "header length",
            "header_len",
            Value::Number(4 * (first & 15)),
        ),
    ]
    .map(|(name, key, value)| bits(field, name, key, value))
    .into();
    let service = taker.hex(1, "service", "dsfield")?;
    let field = taker.fields.last_mut()?;
    field.parts = [
        (
            "differentiated services",
            "dscp",
            Value::Number(service >> 2),
        ),
        ("congestion", "ecn", Value::Number(service & 3)),
    ]
    .map(|(name, key, value)| bits(field, name, key, value))
    .into();
    let total = taker.number(2, "total length", "total_len")?;
    taker.hex(2, "identification", "identification")?;
    let word = taker.hex(2, "flags and fragment offset", "flags_offset")?;
    let field = taker.fields.last_mut()?;
    let offset = (word & 0x1fff) * 8;
    let more = word & 0x2000 != 0;
    field.parts = [
        (
            "don't fragment",
            "dont_fragment",
            Value::Flag(word & 0x4000 != 0),
        ),
        ("more fragments", "more_fragments", Value::Flag(more)),
        ("fragment offset", "fragment_offset", Value::Number(offset)),
    ]
    .map(|(name, key, value)| bits(field, name, key, value))
    .into();
    taker.number(1, "time to live", "ttl")?;
    let protocol = taker.named(1, "protocol", "protocol", protocol_name)?;
    taker.hex(2, "header checksum", "checksum")?;
    let source = taker.ipv4("source", "source")?;
    let destination = taker.ipv4("destination", "destination")?;
    if header_len < 20 {
        notes.push(format!(
            "its header claims {header_len} bytes, and has 20 at least"
        ));
    } else {
        let end = begin + header_len;
        options(taker, end, notes)?;
    }
    Some(Header {
        total: usize::try_from(total).ok()?,
        protocol,
        fragment: more || offset > 0,
        between: Between {
            source: IpAddr::V4(source),
            destination: IpAddr::V4(destination),
        },
    })
}

/// The options up to `end` (<https://www.iana.org/assignments/ip-parameters>).
fn options(taker: &mut Taker<'_>, end: usize, notes: &mut Vec<String>) -> Option<()> {
    while taker.at() < end {
        let from = taker.at();
        let kind = taker.peek(0, 1)?;
        let name = match kind {
            0 => "end of options",
            1 => "no operation",
            7 => "record route",
            68 => "timestamps",
            131 => "loose source route",
            137 => "strict source route",
            148 => "router alert",
            _ => "option",
        };
        let len = if kind < 2 {
            1
        } else {
            usize::try_from(taker.peek(1, 1)?).ok()?
        };
        if len == 0 || len > end - from || (kind > 1 && len < 2) {
            notes.push(format!("option {kind} claims {len} bytes"));
            taker.skip(end - from)?;
            return Some(());
        }
        taker.group(name, "option", |taker| {
            taker.number(1, "kind", "kind")?;
            if kind > 1 {
                taker.number(1, "length", "length")?;
                taker.opaque(len - 2, "data", "data")?;
            }
            Some(())
        })?;
        if kind == 0 {
            let padding = end - taker.at();
            if padding > 0 {
                taker.opaque(padding, "padding", "padding")?;
            }
        }
    }
    Some(())
}

fn ipv6(dissector: &mut Dissector<'_>, at: usize) {
    let data_end = dissector.data.len();
    let mut taker = dissector.taker(at..data_end);
    let mut take = || {
        let first = taker.hex(4, "version, class and flow", "version_class_flow")?;
        let field = taker.fields.last_mut()?;
        field.parts = [
            ("version", "version", Value::Number(first >> 28)),
            (
                "traffic class",
                "traffic_class",
                Value::Hex(first >> 20 & 0xff),
            ),
            ("flow label", "flow_label", Value::Hex(first & 0xf_ffff)),
        ]
        .map(|(name, key, value)| bits(field, name, key, value))
        .into();
        let len = taker.number(2, "payload length", "payload_len")?;
        let next = taker.named(1, "next header", "next_header", protocol_name)?;
        taker.number(1, "hop limit", "hop_limit")?;
        let source = taker.ipv6("source", "source")?;
        let destination = taker.ipv6("destination", "destination")?;
        let between = Between {
            source: IpAddr::V6(source),
            destination: IpAddr::V6(destination),
        };
        Some((usize::try_from(len).ok()?, next, between))
    };
    let Some((len, mut next, between)) = take() else {
        dissector.add("IPv6", Level::Network, taker, data_end, cut());
        return;
    };
    let mut notes = Vec::new();
    let on_wire = if len == 0 {
        dissector.on_wire
    } else {
        at + 40 + len
    };
    if on_wire > dissector.on_wire {
        notes.push("it claims to be longer than the frame".to_owned());
    }
    let mut fragment = false;
    taker.limit(on_wire);
    for _ in 0..EXTENSIONS {
        match extension(&mut taker, next) {
            Extension::None => break,
            Extension::Cut => {
                notes.extend(cut());
                dissector.add("IPv6", Level::Network, taker, data_end, notes);
                return;
            }
            Extension::Next(behind, piece) => {
                next = behind;
                fragment |= piece;
                if piece {
                    break;
                }
            }
        }
    }
    let behind = taker.at();
    let end = on_wire.min(data_end).max(behind);
    if dissector.add("IPv6", Level::Network, taker, end, notes) {
        let piece = fragment.then_some(next);
        carried(dissector, next, behind, on_wire, between, piece);
    }
}

enum Extension {
    /// It is none.
    None,
    Cut,
    /// What comes behind it, and whether the packet is a fragment.
    Next(u64, bool),
}

fn extension(taker: &mut Taker<'_>, kind: u64) -> Extension {
    let (name, key) = match kind {
        0 => ("hop-by-hop options", "hop_by_hop"),
        43 => ("routing", "routing"),
        44 => ("fragment", "fragment"),
        51 => ("authentication", "authentication"),
        60 => ("destination options", "destination_options"),
        _ => return Extension::None,
    };
    let taken = taker.group(name, key, |taker| {
        let next = taker.named(1, "next header", "next_header", protocol_name)?;
        let length = taker.number(1, if kind == 44 { "reserved" } else { "length" }, "length")?;
        let units = usize::try_from(length).ok()?;
        match kind {
            44 => {
                let word = taker.hex(2, "offset and flags", "offset_flags")?;
                let field = taker.fields.last_mut()?;
                field.parts = [
                    (
                        "fragment offset",
                        "fragment_offset",
                        Value::Number(word & 0xfff8),
                    ),
                    (
                        "more fragments",
                        "more_fragments",
                        Value::Flag(word & 1 == 1),
                    ),
                ]
                .map(|(name, key, value)| bits(field, name, key, value))
                .into();
                taker.hex(4, "identification", "identification")?;
                return Some((next, word & 0xfff9 != 0));
            }
            51 => {
                taker.number(2, "reserved", "reserved")?;
                taker.hex(4, "parameters", "spi")?;
                taker.number(4, "sequence", "sequence")?;
                // In words of four bytes, minus two (RFC 4302 §2.2).
                taker.opaque(((units + 2) * 4).saturating_sub(12), "check value", "icv")?;
            }
            43 => {
                taker.number(1, "routing type", "routing_type")?;
                taker.number(1, "segments left", "segments_left")?;
                taker.opaque(units * 8 + 4, "data", "data")?;
            }
            _ => {
                taker.opaque(units * 8 + 6, "options", "options")?;
            }
        }
        Some((next, false))
    });
    match taken {
        Some((next, fragment)) => Extension::Next(next, fragment),
        None => Extension::Cut,
    }
}

/// What an IP packet carries, from `at` to where it ended on the wire. `piece`: it is a fragment of such.
pub(super) fn carried(
    dissector: &mut Dissector<'_>,
    protocol: u64,
    at: usize,
    on_wire: usize,
    between: Between,
    piece: Option<u64>,
) {
    if let Some(protocol) = piece {
        let Some(whole) = dissector.whole else {
            dissector.note("a fragment: what it carries is shown where the last of them comes");
            return;
        };
        let len = whole.len();
        dissector.note(format!("the fragment that completes {len} bytes"));
        let (data, before) = (dissector.data, dissector.on_wire);
        (dissector.data, dissector.of, dissector.on_wire) = (whole, Bytes::Whole, len);
        dissector.whole = None;
        carried(dissector, protocol, 0, len, between, None);
        (dissector.data, dissector.of, dissector.on_wire) = (data, Bytes::Frame, before);
        return;
    }
    match protocol {
        1 => icmp::dissect(dissector, at, on_wire),
        2 => igmp::dissect(dissector, at, on_wire),
        4 => dissect(dissector, at, 4),
        6 => transport::tcp(dissector, at, on_wire, between),
        17 => transport::udp(dissector, at, on_wire, between),
        41 => dissect(dissector, at, 6),
        58 => icmp::dissect_6(dissector, at, on_wire, between),
        _ => {}
    }
}
