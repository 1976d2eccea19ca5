//! TCP (RFC 9293) and UDP (RFC 768).

use std::net::IpAddr;

use super::application::{self, Carrier};
use super::layer::{Field, Value};
use super::taker::{Taker, bits};
use super::{Between, Dissector, Level, cut};

/// The numbers of the protocols, for checksums.
const TCP: u8 = 6;
const UDP: u8 = 17;

pub(super) fn tcp(dissector: &mut Dissector<'_>, at: usize, on_wire: usize, between: Between) {
    let data_end = dissector.data.len();
    let mut taker = dissector.taker(at..on_wire.min(data_end));
    let mut notes = Vec::new();
    let taken = tcp_header(&mut taker, &mut notes);
    if taken.is_none() {
        notes.extend(cut());
    }
    if let Some(sum) = verify(dissector, at, on_wire, TCP, between) {
        tell_sum(&mut taker.fields, &sum, &mut notes);
    }
    let behind = taker.at();
    let end = on_wire.min(data_end).max(behind);
    let missing = on_wire.saturating_sub(data_end.max(behind));
    if missing > 0 {
        notes.push(format!("{missing} bytes of it were not captured"));
    }
    if !dissector.add("TCP", Level::Stream, taker, end, notes) {
        return;
    }
    if let Some(ports) = taken
        && behind < end
    {
        application::dissect(dissector, behind, end, Carrier::Stream, ports);
    }
}

fn tcp_header(taker: &mut Taker<'_>, notes: &mut Vec<String>) -> Option<[u16; 2]> {
    let begin = taker.at();
    let ports = ports(taker, Carrier::Stream)?;
    taker.number(4, "sequence number", "seq")?;
    taker.number(4, "acknowledgment number", "ack")?;
    let word = taker.hex(2, "header length and flags", "offset_flags")?;
    let header_len = usize::try_from(word >> 12).ok()? * 4;
    let field = taker.fields.last_mut()?;
    let flag = |name, key, bit: u64| bits(field, name, key, Value::Flag(word >> bit & 1 == 1));
    let mut parts = vec![bits(
        field,
        "header length",
        "header_len",
        Value::Number(word >> 12 << 2),
    )];
    parts.extend([
        flag("CWR", "cwr", 7),
        flag("ECE", "ece", 6),
        flag("URG", "urg", 5),
        flag("ACK", "ack_flag", 4),
        flag("PSH", "psh", 3),
        flag("RST", "rst", 2),
        flag("SYN", "syn", 1),
        flag("FIN", "fin", 0),
    ]);
    field.parts = parts;
    taker.number(2, "window", "window")?;
    taker.hex(2, "checksum", "checksum")?;
    taker.number(2, "urgent pointer", "urgent_pointer")?;
    if header_len < 20 {
        notes.push(format!(
            "its header claims {header_len} bytes, and has 20 at least"
        ));
        return None;
    }
    options(taker, begin + header_len, notes)?;
    Some(ports)
}

fn ports(taker: &mut Taker<'_>, carrier: Carrier) -> Option<[u16; 2]> {
    let name = |port| {
        let port = u16::try_from(port).ok()?;
        application::port_name(port, carrier).map(str::to_owned)
    };
    let source = taker.named(2, "source port", "source_port", name)?;
    let destination = taker.named(2, "destination port", "destination_port", name)?;
    Some([
        u16::try_from(source).ok()?,
        u16::try_from(destination).ok()?,
    ])
}

/// The options up to `end` (<https://www.iana.org/assignments/tcp-parameters>).
fn options(taker: &mut Taker<'_>, end: usize, notes: &mut Vec<String>) -> Option<()> {
    while taker.at() < end {
        let from = taker.at();
        let kind = taker.peek(0, 1)?;
        let len = if kind < 2 {
            1
        } else {
            usize::try_from(taker.peek(1, 1)?).ok()?
        };
        if len > end - from || (kind > 1 && len < 2) {
            notes.push(format!("option {kind} claims {len} bytes"));
            taker.skip(end - from)?;
            return Some(());
        }
        option(taker, kind, len)?;
        if kind == 0 && taker.at() < end {
            taker.opaque(end - taker.at(), "padding", "padding")?;
        }
    }
    Some(())
}

fn option(taker: &mut Taker<'_>, kind: u64, len: usize) -> Option<()> {
    let (name, key) = match kind {
        0 => ("end of options", "end"),
        1 => ("no operation", "nop"),
        2 => ("maximum segment size", "mss_option"),
        3 => ("window scale", "window_scale_option"),
        4 => ("selective acknowledgment permitted", "sack_permitted"),
        5 => ("selective acknowledgment", "sack"),
        8 => ("timestamps", "timestamps"),
        19 => ("MD5 signature", "md5"),
        28 => ("user timeout", "user_timeout"),
        30 => ("multipath TCP", "mptcp"),
        34 => ("fast open", "fast_open"),
        _ => ("option", "option"),
    };
    taker.group(name, key, |taker| {
        taker.number(1, "kind", "kind")?;
        if kind < 2 {
            return Some(());
        }
        taker.number(1, "length", "length")?;
        match (kind, len) {
            (2, 4) => taker.number(2, "maximum segment size", "mss").map(|_| ()),
            (3, 3) => taker
                .named(1, "shift", "window_scale", |shift| {
                    1_u64
                        .checked_shl(u32::try_from(shift).ok()?)
                        .map(|by| format!("times {by}"))
                })
                .map(|_| ()),
            (5, len) if len % 8 == 2 => (0..len / 8).try_for_each(|_| {
                taker.number(4, "left edge", "left")?;
                taker.number(4, "right edge", "right").map(|_| ())
            }),
            (8, 10) => {
                taker.number(4, "value", "tsval")?;
                taker.number(4, "echo", "tsecr").map(|_| ())
            }
            (_, 2) => Some(()),
            (_, len) => taker.opaque(len - 2, "data", "data").map(|_| ()),
        }
    })
}

pub(super) fn udp(dissector: &mut Dissector<'_>, at: usize, on_wire: usize, between: Between) {
    let data_end = dissector.data.len();
    let mut taker = dissector.taker(at..on_wire.min(data_end));
    let mut take = || {
        let ports = ports(&mut taker, Carrier::Datagram)?;
        let len = taker.number(2, "length", "length")?;
        taker.hex(2, "checksum", "checksum")?;
        Some((ports, usize::try_from(len).ok()?))
    };
    let Some((ports, len)) = take() else {
        dissector.add("UDP", Level::Datagram, taker, data_end, cut());
        return;
    };
    let mut notes = Vec::new();
    let claimed = if len == 0 { on_wire } else { at + len };
    if len > 0 && len < 8 {
        notes.push(format!("it claims {len} bytes, and has 8 at least"));
    }
    if claimed > on_wire {
        notes.push("it claims to be longer than its packet".to_owned());
    }
    if taker
        .fields
        .last()
        .is_some_and(|field| field.value == Value::Hex(0))
    {
        notes.push("it has no checksum".to_owned());
    } else if let Some(sum) = verify(dissector, at, claimed.min(on_wire), UDP, between) {
        tell_sum(&mut taker.fields, &sum, &mut notes);
    }
    let behind = taker.at();
    let end = claimed.min(on_wire).min(data_end).max(behind);
    if dissector.add("UDP", Level::Datagram, taker, end, notes) && behind < end {
        application::dissect(dissector, behind, end, Carrier::Datagram, ports);
    }
}

/// How a checksum came out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Right,
    /// Only the addresses and the length are summed: the network card was to do the rest.
    LeftToTheCard,
    Wrong,
}

/// Checks the checksum that covers a pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1). `None`: not all was captured.
pub(super) fn verify(
    dissector: &Dissector<'_>,
    at: usize,
    on_wire: usize,
    protocol: u8,
    between: Between,
) -> Option<Sum> {
    let covered = dissector.data.get(at..on_wire)?;
    let place = match protocol {
        TCP => 16,
        UDP => 6,
        _ => 2,
    };
    let found = u16::from_be_bytes(*covered.get(place..)?.first_chunk()?);
    let mut sum = pseudo_header(between, protocol, covered.len());
    let partial = fold(sum);
    for pair in covered.chunks(2) {
        let low = pair.get(1).copied().unwrap_or_default();
        sum += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    Some(match fold(sum) {
        0xffff => Sum::Right,
        _ if found == partial => Sum::LeftToTheCard,
        _ => Sum::Wrong,
    })
}

fn pseudo_header(between: Between, protocol: u8, len: usize) -> u64 {
    let mut sum = u64::from(protocol) + len as u64;
    for address in [between.source, between.destination] {
        match address {
            IpAddr::V4(address) => {
                let number = address.to_bits();
                sum += u64::from(number >> 16) + u64::from(number & 0xffff);
            }
            IpAddr::V6(address) => {
                let words = address.segments();
                sum += words.iter().map(|word| u64::from(*word)).sum::<u64>();
            }
        }
    }
    sum
}

/// The ones' complement sum in 16 bits (RFC 1071).
fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or_default()
}

pub(super) fn tell_sum(fields: &mut [Field], sum: &Sum, notes: &mut Vec<String>) {
    let (meaning, note) = match sum {
        Sum::Right => ("right", None),
        Sum::LeftToTheCard => ("left to the network card", None),
        Sum::Wrong => ("wrong", Some("its checksum is wrong")),
    };
    if let Some(field) = fields.iter_mut().find(|field| field.key == "checksum") {
        field.meaning = Some(meaning.to_owned());
    }
    notes.extend(note.map(str::to_owned));
}
