//! What is before the network layer: finding the IP packet in a frame.

use etherparse::EtherType;

use crate::LinkType;

/// VLAN tags that are looked through. More are taken for nonsense.
const VLAN_TAGS: usize = 4;

/// Where the IP packet of a frame begins; `None` when it carries something else or is too short.
pub(crate) fn network(link: LinkType, data: &[u8]) -> Option<usize> {
    match link {
        LinkType::ETHERNET => behind_tags(data, 12),
        LinkType::LINUX_SLL => behind_tags(data, 14),
        LinkType::LINUX_SLL2 => {
            let protocol = u16::from_be_bytes(*data.first_chunk()?);
            match EtherType(protocol) {
                EtherType::IPV4 | EtherType::IPV6 => Some(20),
                // The type behind the tag is two bytes into what follows the header.
                VLAN_TAG | SERVICE_TAG => behind_tags(data, 22),
                _ => None,
            }
        }
        // The number of the family differs by system; the first digit of the packet does not.
        LinkType::NULL | LinkType::LOOP => Some(4),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => Some(0),
        _ => None,
    }
}

const VLAN_TAG: EtherType = EtherType::VLAN_TAGGED_FRAME;
const SERVICE_TAG: EtherType = EtherType::PROVIDER_BRIDGING;
const OLD_SERVICE_TAG: EtherType = EtherType::VLAN_DOUBLE_TAGGED_FRAME;

/// Follows VLAN tags from the type at `at` to the end of the last type, where that is IP's.
fn behind_tags(data: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..=VLAN_TAGS {
        let kind = data.get(at..at + 2)?;
        match EtherType(u16::from_be_bytes([kind[0], kind[1]])) {
            EtherType::IPV4 | EtherType::IPV6 => return Some(at + 2),
            VLAN_TAG | SERVICE_TAG | OLD_SERVICE_TAG => at += 4,
            _ => return None,
        }
    }
    None
}
