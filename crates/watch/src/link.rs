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

/// Whether the frame carries ARP.
pub(crate) fn is_arp(link: LinkType, data: &[u8]) -> bool {
    let at = match link {
        LinkType::ETHERNET => 12,
        LinkType::LINUX_SLL => 14,
        LinkType::LINUX_SLL2 => 0,
        _ => return false,
    };
    let mut kinds = data
        .get(at..)
        .unwrap_or_default()
        .chunks_exact(2)
        .step_by(2);
    let arp = EtherType::ARP.0.to_be_bytes();
    let mut tags = kinds.by_ref().take(VLAN_TAGS + 1);
    tags.find(|kind| !is_tag(kind))
        .is_some_and(|kind| kind == arp)
}

fn is_tag(kind: &[u8]) -> bool {
    let tags = [VLAN_TAG, SERVICE_TAG, OLD_SERVICE_TAG];
    tags.iter().any(|tag| kind == tag.0.to_be_bytes())
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
