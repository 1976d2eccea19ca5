//! The data link layer.

use super::{Dissector, Level, arp, cut, ip};
use crate::LinkType;
use crate::dissect::layer::Value;

const IPV4: u64 = 0x0800;
const ARP: u64 = 0x0806;
const VLAN: u64 = 0x8100;
const IPV6: u64 = 0x86dd;
const SERVICE_VLAN: u64 = 0x88a8;
const OLD_SERVICE_VLAN: u64 = 0x9100;

/// Below this the type of Ethernet is a length (IEEE 802.3).
const FIRST_TYPE: u64 = 0x600;

pub(super) fn dissect(dissector: &mut Dissector<'_>, link: LinkType) {
    match link {
        LinkType::ETHERNET => ethernet(dissector),
        LinkType::LINUX_SLL => cooked(dissector),
        LinkType::LINUX_SLL2 => cooked_2(dissector),
        LinkType::NULL | LinkType::LOOP => loopback(dissector, link),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => {
            ip::dissect(dissector, 0, 0);
        }
        _ => {
            let end = dissector.data.len();
            let taker = dissector.taker(0..end);
            let note = format!("{link} is not taken apart");
            dissector.add("unknown link", Level::Link, taker, end, vec![note]);
        }
    }
}

/// What an EtherType stands for (<https://www.iana.org/assignments/ieee-802-numbers>).
fn type_name(number: u64) -> Option<String> {
    let name = match number {
        IPV4 => "IPv4",
        ARP => "ARP",
        VLAN => "VLAN (802.1Q)",
        IPV6 => "IPv6",
        SERVICE_VLAN => "service VLAN (802.1ad)",
        OLD_SERVICE_VLAN => "service VLAN (old)",
        0x8847 => "MPLS",
        0x8863 => "PPPoE discovery",
        0x8864 => "PPPoE session",
        0x888e => "802.1X",
        0x88cc => "LLDP",
        number if number < FIRST_TYPE => "length of an 802.3 frame",
        _ => return None,
    };
    Some(name.to_owned())
}

fn ethernet(dissector: &mut Dissector<'_>) {
    let end = dissector.data.len();
    let mut taker = dissector.taker(0..end);
    let mut take = || {
        taker.mac("destination", "destination")?;
        taker.mac("source", "source")?;
        taker.named(2, "type", "type", type_name)
    };
    let Some(kind) = take() else {
        dissector.add("Ethernet II", Level::Link, taker, end, cut());
        return;
    };
    if let Some(field) = taker.fields.last_mut() {
        field.value = Value::Hex(kind);
    }
    let name = if kind < FIRST_TYPE {
        "IEEE 802.3"
    } else {
        "Ethernet II"
    };
    let at = taker.at();
    if dissector.add(name, Level::Link, taker, end, Vec::new()) {
        ether(dissector, kind, at);
    }
}

/// What follows an EtherType.
fn ether(dissector: &mut Dissector<'_>, mut kind: u64, mut at: usize) {
    loop {
        match kind {
            IPV4 => return ip::dissect(dissector, at, 4),
            IPV6 => return ip::dissect(dissector, at, 6),
            ARP => return arp::dissect(dissector, at),
            VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN => {}
            _ => return,
        }
        let Some((next, behind)) = vlan(dissector, at) else {
            return;
        };
        (kind, at) = (next, behind);
    }
}

fn vlan(dissector: &mut Dissector<'_>, at: usize) -> Option<(u64, usize)> {
    let end = dissector.data.len();
    let mut taker = dissector.taker(at..end);
    let mut take = || {
        let tag = taker.hex(2, "tag", "tci")?;
        let field = taker.fields.last_mut()?;
        let parts = [
            ("priority", "priority", Value::Number(tag >> 13)),
            ("may be dropped", "dei", Value::Flag(tag >> 12 & 1 == 1)),
            ("VLAN", "vlan", Value::Number(tag & 0xfff)),
        ];
        field.parts = parts
            .map(|(name, key, value)| super::taker::bits(field, name, key, value))
            .into();
        let kind = taker.named(2, "type", "type", type_name)?;
        taker.fields.last_mut()?.value = Value::Hex(kind);
        Some(kind)
    };
    let kind = take();
    let behind = taker.at();
    let notes = if kind.is_none() { cut() } else { Vec::new() };
    dissector
        .add("VLAN", Level::Link, taker, end, notes)
        .then_some((kind?, behind))
}

fn cooked(dissector: &mut Dissector<'_>) {
    let end = dissector.data.len();
    let mut taker = dissector.taker(0..end);
    let mut take = || {
        taker.named(2, "direction", "packet_type", direction)?;
        taker.number(2, "hardware", "hardware")?;
        taker.number(2, "address length", "address_len")?;
        taker.opaque(8, "address", "address")?;
        let kind = taker.named(2, "type", "type", type_name)?;
        taker.fields.last_mut()?.value = Value::Hex(kind);
        Some(kind)
    };
    let kind = take();
    let at = taker.at();
    let notes = if kind.is_none() { cut() } else { Vec::new() };
    if dissector.add("Linux cooked v1", Level::Link, taker, end, notes)
        && let Some(kind) = kind
    {
        ether(dissector, kind, at);
    }
}

fn cooked_2(dissector: &mut Dissector<'_>) {
    let end = dissector.data.len();
    let mut taker = dissector.taker(0..end);
    let mut take = || {
        let kind = taker.named(2, "type", "type", type_name)?;
        taker.fields.last_mut()?.value = Value::Hex(kind);
        taker.skip(2)?;
        taker.number(4, "interface", "interface")?;
        taker.number(2, "hardware", "hardware")?;
        taker.named(1, "direction", "packet_type", direction)?;
        taker.number(1, "address length", "address_len")?;
        taker.opaque(8, "address", "address")?;
        Some(kind)
    };
    let kind = take();
    let at = taker.at();
    let notes = if kind.is_none() { cut() } else { Vec::new() };
    if dissector.add("Linux cooked v2", Level::Link, taker, end, notes)
        && let Some(kind) = kind
    {
        ether(dissector, kind, at);
    }
}

/// How the kernel names where a frame went (packet(7)).
fn direction(number: u64) -> Option<String> {
    let name = match number {
        0 => "to this machine",
        1 => "to all",
        2 => "to many",
        3 => "to another machine",
        4 => "sent by this machine",
        _ => return None,
    };
    Some(name.to_owned())
}

fn loopback(dissector: &mut Dissector<'_>, link: LinkType) {
    let end = dissector.data.len();
    let mut taker = dissector.taker(0..end);
    let family = taker.number(4, "address family", "family");
    // BSD writes it in the byte order of its machine, of which only the small half is ever used.
    if let (LinkType::NULL, Some(family)) = (link, family)
        && let (Some(field), Ok(number)) = (taker.fields.last_mut(), u32::try_from(family))
        && number > 0xffff
    {
        field.value = Value::Number(u64::from(number.swap_bytes()));
    }
    let notes = if family.is_none() { cut() } else { Vec::new() };
    if dissector.add("loopback", Level::Link, taker, end, notes) && family.is_some() {
        ip::dissect(dissector, 4, 0);
    }
}
