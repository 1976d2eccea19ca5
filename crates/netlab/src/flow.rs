//! What tells flows apart.

/// Protocol, addresses and ports as they are in the packet.
pub(crate) type Flow = [u8; 13];

/// The flow of an IP packet; what is not IPv4 or IPv6 with ports is one flow (RFC 791, RFC 8200: where the fields
/// lie).
pub(crate) fn flow_of(packet: &[u8]) -> Flow {
    let mut flow = [0; 13];
    let (protocol, addresses, ports) = match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let header = usize::from(packet[0] & 0x0f) * 4;
            (
                packet.get(9),
                packet.get(12..20),
                packet.get(header..header + 4),
            )
        }
        // The ends of the addresses: all that differs within a lab.
        Some(6) => (packet.get(6), packet.get(20..24), packet.get(40..44)),
        _ => (None, None, None),
    };
    flow[0] = protocol.copied().unwrap_or(0);
    for (into, from) in [(1, addresses), (9, ports)] {
        let from = from.unwrap_or(&[]);
        flow[into..into + from.len()].copy_from_slice(from);
    }
    flow
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_packets_have_a_flow_too() {
        for length in 0..60 {
            for first in [0x00, 0x45, 0x4f, 0x60] {
                let mut packet = vec![0xff; length];
                if let Some(byte) = packet.first_mut() {
                    *byte = first;
                }
                let _ = flow_of(&packet);
            }
        }
    }
}
