//! ICMP (RFC 792) and ICMPv6 (RFC 4443), with neighbour discovery (RFC 4861).

use super::taker::Taker;
use super::transport::{tell_sum, verify};
use super::{Between, Dissector, Level, cut, ip};

/// ICMPv6, for its checksum.
const ICMPV6: u8 = 58;

pub(super) fn dissect(dissector: &mut Dissector<'_>, at: usize, on_wire: usize) {
    let end = on_wire.min(dissector.data.len());
    let mut taker = dissector.taker(at..end);
    let taken = header(&mut taker, type_name, code_name);
    let quoted = taken.is_some_and(|(kind, _)| matches!(kind, 3 | 4 | 5 | 11 | 12));
    finish(
        dissector,
        "ICMP",
        taker,
        end,
        taken.is_none(),
        quoted,
        Vec::new(),
    );
}

fn header(
    taker: &mut Taker<'_>,
    kinds: impl Fn(u64) -> Option<&'static str>,
    codes: impl Fn(u64, u64) -> Option<&'static str>,
) -> Option<(u64, u64)> {
    let kind = taker.named(1, "type", "type", |kind| kinds(kind).map(str::to_owned))?;
    let code = taker.named(1, "code", "code", |code| {
        codes(kind, code).map(str::to_owned)
    })?;
    taker.hex(2, "checksum", "checksum")?;
    match kinds(kind) {
        Some("echo request" | "echo reply" | "timestamp request" | "timestamp reply") => {
            taker.number(2, "identifier", "identifier")?;
            taker.number(2, "sequence", "sequence")?;
        }
        Some("redirect") if kind == 5 => {
            taker.ipv4("gateway", "gateway")?;
        }
        Some("packet too big") => {
            taker.number(4, "MTU", "mtu")?;
        }
        Some("destination unreachable") if kind == 3 && code == 4 => {
            taker.number(2, "unused", "unused")?;
            taker.number(2, "MTU", "mtu")?;
        }
        Some("neighbour solicitation" | "neighbour advertisement") => {
            taker.hex(4, "flags", "flags")?;
            taker.ipv6("target", "target")?;
            discovery_options(taker)?;
        }
        Some("router solicitation") => {
            taker.hex(4, "reserved", "reserved")?;
            discovery_options(taker)?;
        }
        Some("router advertisement") => {
            taker.number(1, "hop limit", "hop_limit")?;
            taker.hex(1, "flags", "flags")?;
            taker.number(2, "router lifetime", "router_lifetime")?;
            taker.number(4, "reachable time", "reachable_time")?;
            taker.number(4, "retransmission timer", "retrans_timer")?;
            discovery_options(taker)?;
        }
        _ => {
            taker.hex(4, "rest of header", "rest")?;
        }
    }
    Some((kind, code))
}

/// Options in units of eight bytes (RFC 4861 §4.6).
fn discovery_options(taker: &mut Taker<'_>) -> Option<()> {
    while !taker.rest().is_empty() {
        let kind = taker.peek(0, 1)?;
        let len = usize::try_from(taker.peek(1, 1)?).ok()? * 8;
        if len == 0 {
            return Some(());
        }
        let name = match kind {
            1 => "source link-layer address",
            2 => "target link-layer address",
            3 => "prefix",
            5 => "MTU",
            _ => "option",
        };
        taker.group(name, "option", |taker| {
            taker.number(1, "kind", "kind")?;
            taker.number(1, "length", "length")?;
            match (kind, len) {
                (1 | 2, 8) => taker.mac("address", "mac"),
                (5, 8) => {
                    taker.skip(2)?;
                    taker.number(4, "MTU", "mtu").map(|_| ())
                }
                _ => taker.opaque(len - 2, "data", "data").map(|_| ()),
            }
        })?;
    }
    Some(())
}

fn finish(
    dissector: &mut Dissector<'_>,
    name: &'static str,
    taker: Taker<'_>,
    end: usize,
    was_cut: bool,
    quoted: bool,
    mut notes: Vec<String>,
) {
    let behind = taker.at();
    if was_cut {
        notes.extend(cut());
    }
    if dissector.add(name, Level::Network, taker, end.max(behind), notes) && quoted && !was_cut {
        // What could not be delivered; whole packets are longer than what is quoted of them.
        let before = dissector.on_wire;
        dissector.on_wire = usize::MAX >> 1;
        ip::dissect(dissector, behind, 0);
        dissector.on_wire = before;
    }
}

pub(super) fn dissect_6(
    dissector: &mut Dissector<'_>,
    at: usize,
    on_wire: usize,
    between: Between,
) {
    let end = on_wire.min(dissector.data.len());
    let mut taker = dissector.taker(at..end);
    let taken = header(&mut taker, type_name_6, code_name_6);
    let mut notes = Vec::new();
    if let Some(sum) = verify(dissector, at, on_wire, ICMPV6, between) {
        tell_sum(&mut taker.fields, &sum, &mut notes);
    }
    let quoted = taken.is_some_and(|(kind, _)| matches!(kind, 1..=4));
    finish(
        dissector,
        "ICMPv6",
        taker,
        end,
        taken.is_none(),
        quoted,
        notes,
    );
}

fn type_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0 => "echo reply",
        3 => "destination unreachable",
        4 => "source quench",
        5 => "redirect",
        8 => "echo request",
        9 => "router advertisement (IPv4)",
        10 => "router solicitation (IPv4)",
        11 => "time exceeded",
        12 => "parameter problem",
        13 => "timestamp request",
        14 => "timestamp reply",
        _ => return None,
    })
}

fn code_name(kind: u64, code: u64) -> Option<&'static str> {
    Some(match (kind, code) {
        (3, 0) => "network unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, 13) => "prohibited",
        (11, 0) => "on the way",
        (11, 1) => "while fragments were put together",
        _ => return None,
    })
}

fn type_name_6(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "destination unreachable",
        2 => "packet too big",
        3 => "time exceeded",
        4 => "parameter problem",
        128 => "echo request",
        129 => "echo reply",
        130 => "listener query",
        131 => "listener report",
        132 => "listener done",
        133 => "router solicitation",
        134 => "router advertisement",
        135 => "neighbour solicitation",
        136 => "neighbour advertisement",
        137 => "redirect (IPv6)",
        143 => "listener report v2",
        _ => return None,
    })
}

fn code_name_6(kind: u64, code: u64) -> Option<&'static str> {
    Some(match (kind, code) {
        (1, 0) => "no route",
        (1, 1) => "prohibited",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (3, 0) => "on the way",
        (3, 1) => "while fragments were put together",
        _ => return None,
    })
}
