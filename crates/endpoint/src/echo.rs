//! Echo requests and replies of ICMP (RFC 792) and ICMPv6 (RFC 4443 §4): bytes only, no sockets.

use std::ops::Range;

use crate::socket::{Family, Type};

/// Type, code, checksum, identifier and sequence number stand before the data.
const HEADER: usize = 8;
const CHECKSUM: Range<usize> = 2..4;
const IDENTIFIER: Range<usize> = 4..6;
const SEQUENCE: Range<usize> = 6..8;

/// The shortest IPv4 header (RFC 791 §3.1).
const IPV4_HEADER: usize = 20;

/// Makes a message the data of an echo request, and finds the data of the reply to it.
///
/// ```
/// use packhorse_endpoint::{Echo, Family, Type};
///
/// let mut echo = Echo::new(Family::Ipv6, Type::Datagram, 7);
/// let mut packet = echo.request(b"are you there?");
/// packet[0] = 129; // what the other side does
/// assert_eq!(echo.reply(&packet), Some(&b"are you there?"[..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    version: Version,
    /// Whether packets arrive with the IPv4 header in front.
    has_ip_header: bool,
    identifier: u16,
    sequence: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

impl Version {
    fn request(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    fn reply(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }
}

impl Echo {
    /// For a socket of this family and type. `identifier` tells this socket's replies from others': a
    /// ping socket's ([`Type::Datagram`]) is the port that it is bound to, a raw socket's any number.
    #[must_use]
    pub fn new(family: Family, kind: Type, identifier: u16) -> Self {
        let version = match family {
            Family::Ipv6 => Version::V6,
            Family::Ipv4 | Family::Unix => Version::V4,
        };
        Self {
            version,
            // raw(7): "the IP header is always included in received packets"; for IPv6 it never is
            // (RFC 3542 §3), and ping sockets give none.
            has_ip_header: version == Version::V4 && kind == Type::Raw,
            identifier,
            sequence: 0,
        }
    }

    /// The next request, with `data` to be sent back.
    #[must_use]
    pub fn request(&mut self, data: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = Vec::with_capacity(HEADER + data.len());
        packet.extend_from_slice(&[self.version.request(), 0, 0, 0]);
        packet.extend_from_slice(&self.identifier.to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(data);
        // ICMPv6 sums the addresses as well, which the kernel knows: it fills in the sum (RFC 3542 §3.1).
        if self.version == Version::V4 {
            let sum = checksum(&packet);
            packet[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// The sequence number of the last request; the first one's is 1.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        self.sequence
    }

    /// The data of a reply to this socket, in a packet as the socket received it. `None`: something else,
    /// to be passed over; raw sockets see every ICMP packet of the peer's.
    #[must_use]
    pub fn reply<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let packet = match self.has_ip_header {
            true => without_ip_header(packet)?,
            false => packet,
        };
        let (header, data) = packet.split_at_checked(HEADER)?;
        let is_reply = header[..2] == [self.version.reply(), 0];
        let is_ours = header[IDENTIFIER] == self.identifier.to_be_bytes();
        // The sum of what carries its own sum is zero. The kernel has looked at ICMPv6's.
        let is_whole = self.version == Version::V6 || checksum(packet) == 0;
        (is_reply && is_ours && is_whole).then_some(data)
    }

    /// The sequence number in a packet that [`reply`](Self::reply) found to be one.
    #[must_use]
    pub fn reply_sequence(&self, packet: &[u8]) -> Option<u16> {
        self.reply(packet)?;
        let packet = match self.has_ip_header {
            true => without_ip_header(packet)?,
            false => packet,
        };
        let number = packet.get(SEQUENCE)?.try_into().ok()?;
        Some(u16::from_be_bytes(number))
    }
}

/// What follows an IPv4 header, options and all.
fn without_ip_header(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let length = usize::from(first & 0x0f) * 4;
    let good = first >> 4 == 4 && length >= IPV4_HEADER;
    packet.get(length..).filter(|_| good)
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a peer makes of a request: another type, and its own sum.
    fn answered(mut packet: Vec<u8>) -> Vec<u8> {
        packet[0] = match packet[0] {
            8 => 0,
            _ => 129,
        };
        packet[CHECKSUM].fill(0);
        let sum = checksum(&packet);
        packet[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn with_ip_header(words: u8, packet: &[u8]) -> Vec<u8> {
        let mut whole = vec![0xa5; usize::from(words) * 4];
        whole[0] = 0x40 | words;
        whole.extend_from_slice(packet);
        whole
    }

    #[test]
    fn the_sum_is_rfc_1071_s() {
        // The example of its section 3, complemented.
        assert_eq!(
            checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0x12]), !0x1200);
    }

    #[test]
    fn a_request_is_what_ping_sends() {
        let mut echo = Echo::new(Family::Ipv4, Type::Raw, 0x1234);
        let packet = echo.request(b"abc");
        assert_eq!(packet[..2], [8, 0]);
        assert_eq!(packet[4..], [0x12, 0x34, 0, 1, b'a', b'b', b'c']);
        assert_eq!(checksum(&packet), 0);
        assert_eq!(echo.request(b"")[6..], [0, 2]);
        let packet = Echo::new(Family::Ipv6, Type::Raw, 1).request(b"");
        assert_eq!(packet, [128, 0, 0, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn replies_lose_their_ip_header_on_raw_sockets_of_ipv4_only() {
        for (family, kind) in [
            (Family::Ipv4, Type::Datagram),
            (Family::Ipv6, Type::Datagram),
            (Family::Ipv6, Type::Raw),
        ] {
            let mut echo = Echo::new(family, kind, 9);
            let reply = answered(echo.request(b"data"));
            assert_eq!(
                echo.reply(&reply),
                Some(&b"data"[..]),
                "{family:?} {kind:?}"
            );
        }
        let mut echo = Echo::new(Family::Ipv4, Type::Raw, 9);
        let reply = answered(echo.request(b"data"));
        for words in [5, 6, 15] {
            let packet = with_ip_header(words, &reply);
            assert_eq!(echo.reply(&packet), Some(&b"data"[..]));
            assert_eq!(echo.reply_sequence(&packet), Some(1));
        }
        assert_eq!(echo.reply(&with_ip_header(4, &reply)), None);
        assert_eq!(echo.reply(&reply), None);
    }

    #[test]
    fn what_is_no_reply_to_us_is_passed_over() {
        let mut echo = Echo::new(Family::Ipv4, Type::Datagram, 9);
        let request = echo.request(b"data");
        assert_eq!(echo.reply(&request), None, "our own request, over loopback");
        let mut stranger = Echo::new(Family::Ipv4, Type::Datagram, 8);
        assert_eq!(echo.reply(&answered(stranger.request(b"data"))), None);
        let mut damaged = answered(request);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(echo.reply(&damaged), None);
    }

    proptest! {
        #[test]
        fn any_data_comes_back_and_any_packet_is_survived(
            data in proptest::collection::vec(any::<u8>(), 0..64),
            raw in any::<bool>(),
        ) {
            let kind = if raw { Type::Raw } else { Type::Datagram };
            let mut echo = Echo::new(Family::Ipv4, kind, 3);
            let _ = echo.reply(&data);
            let _ = echo.reply_sequence(&data);
            let reply = answered(echo.request(&data));
            let packet = if raw { with_ip_header(5, &reply) } else { reply };
            prop_assert_eq!(echo.reply(&packet), Some(&data[..]));
        }
    }
}
