//! The Address Resolution Protocol (RFC 826): which hardware has an address.

use super::{Dissector, Level, cut};

const ETHERNET: u64 = 1;
const IPV4: u64 = 0x0800;

pub(super) fn dissect(dissector: &mut Dissector<'_>, at: usize) {
    let end = dissector.data.len();
    let mut taker = dissector.taker(at..end);
    let mut take = || {
        let hardware = taker.number(2, "hardware", "hardware")?;
        let protocol = taker.hex(2, "protocol", "protocol")?;
        let hardware_len = taker.number(1, "hardware address length", "hardware_len")?;
        let protocol_len = taker.number(1, "protocol address length", "protocol_len")?;
        taker.named(2, "operation", "operation", |number| {
            let name = match number {
                1 => "request",
                2 => "reply",
                _ => return None,
            };
            Some(name.to_owned())
        })?;
        if (hardware, protocol, hardware_len, protocol_len) != (ETHERNET, IPV4, 6, 4) {
            let rest = 2 * (hardware_len + protocol_len);
            return taker
                .opaque(usize::try_from(rest).ok()?, "addresses", "addresses")
                .map(|_| ());
        }
        taker.mac("sender hardware address", "sender_mac")?;
        taker.ipv4("sender address", "sender")?;
        taker.mac("target hardware address", "target_mac")?;
        taker.ipv4("target address", "target").map(|_| ())
    };
    let notes = if take().is_none() { cut() } else { Vec::new() };
    dissector.add("ARP", Level::Network, taker, end, notes);
}
