//! What a frame carries between hosts: addresses, ports, sequence numbers, payload.
//!
//! This is the short view that everything about streams is built on. The long one, with every field, is a
//! dissection.

use std::net::{IpAddr, SocketAddr};

use etherparse::LaxIpSlice;

use crate::Frame;
use crate::link::network;

/// An IP packet, as far as streams care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// Bytes on the wire, from the IP header on: what an MTU is compared with.
    pub len: u32,
    /// What is in it.
    pub transport: Transport<'a>,
}

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// A UDP datagram.
    Udp(Datagram<'a>),
    /// A piece of a packet that was sent in fragments.
    Fragment(Fragment<'a>),
    /// Something without ports, or cut before them.
    Other {
        /// The number of its protocol (<https://www.iana.org/assignments/protocol-numbers>).
        protocol: u8,
        /// What was captured of it.
        payload: &'a [u8],
    },
}

/// A piece of an IP packet (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The number that all pieces of the packet have.
    pub identification: u32,
    /// Where it lies in the packet's payload, in bytes.
    pub offset: u32,
    /// Whether there is more behind it.
    pub more: bool,
    /// The protocol of the whole.
    pub protocol: u8,
    /// Bytes of it on the wire. More than are in `payload` when the frame was cut.
    pub payload_len: u32,
    /// What was captured of it.
    pub payload: &'a [u8],
}

/// A TCP segment (RFC 9293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The sequence number of the first byte of payload, or of SYN.
    pub sequence: u32,
    /// The next sequence number that the sender expects. Means something where `ACK` is set.
    pub acknowledgment: u32,
    /// Control bits.
    pub flags: Flags,
    /// The window as it is in the header, not scaled.
    pub window: u16,
    /// The options, as they are.
    pub options: &'a [u8],
    /// Bytes of payload on the wire. More than are in `payload` when the frame was cut.
    pub payload_len: u32,
    /// What was captured of the payload.
    pub payload: &'a [u8],
}

/// A UDP datagram (RFC 768).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Bytes of payload on the wire. More than are in `payload` when the frame was cut.
    pub payload_len: u32,
    /// What was captured of the payload.
    pub payload: &'a [u8],
}

/// The control bits of a segment, as byte 13 of its header has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Sequence numbers begin here.
    pub const SYN: Self = Self(0x02);
    /// The connection is reset.
    pub const RST: Self = Self(0x04);
    /// The sender had no more to send at this moment.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// ECN-Echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl<'a> Packet<'a> {
    /// The packet in a frame; `None` where there is no IP packet, or not enough of one.
    pub fn parse(frame: &Frame<'a>) -> Option<Self> {
        let at = network(frame.link, frame.data)?;
        let data = frame.data.get(at..)?;
        let on_wire = frame.original_len.saturating_sub(u32::try_from(at).ok()?);
        Self::parse_ip(data, on_wire)
    }

    /// The packet that begins with an IP header, of which `on_wire` bytes were sent at most.
    fn parse_ip(data: &'a [u8], on_wire: u32) -> Option<Self> {
        let (ip, _) = LaxIpSlice::from_slice(data).ok()?;
        let (header_len, claimed, fragment) = match &ip {
            LaxIpSlice::Ipv4(ip) => {
                let header = ip.header();
                let auth = ip.extensions().auth.map_or(0, |auth| auth.slice().len());
                let fragment = ip.is_payload_fragmented().then(|| Fragment {
                    identification: u32::from(header.identification()),
                    offset: u32::from(header.fragments_offset().value()) * 8,
                    more: header.more_fragments(),
                    protocol: 0,
                    payload_len: 0,
                    payload: &[],
                });
                // A length of nothing is what a sender leaves to its network card (TSO).
                let claimed = Some(u32::from(header.total_len())).filter(|len| *len >= 20);
                (header.slice().len() + auth, claimed, fragment)
            }
            LaxIpSlice::Ipv6(ip) => {
                let extensions = ip.extensions();
                let fragment = fragment_header(ip.header().next_header().0, extensions.slice());
                // 0: a jumbogram (RFC 2675), or left to the network card.
                let claimed = Some(u32::from(ip.header().payload_length()))
                    .filter(|len| *len > 0)
                    .map(|len| len + 40);
                (40 + extensions.slice().len(), claimed, fragment)
            }
        };
        let len = claimed.map_or(on_wire, |claimed| claimed.min(on_wire));
        let payload = ip.payload();
        let protocol = payload.ip_number.0;
        let payload = payload.payload;
        let payload_len = len.saturating_sub(u32::try_from(header_len).ok()?);
        let transport = match fragment {
            Some(fragment) => Transport::Fragment(Fragment {
                protocol,
                payload_len,
                payload,
                ..fragment
            }),
            None => Transport::parse(protocol, payload, payload_len),
        };
        Some(Self {
            source: ip.source_addr(),
            destination: ip.destination_addr(),
            len,
            transport,
        })
    }

    /// Sender and receiver with their ports, where there are ports.
    pub fn endpoints(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (source, destination) = match self.transport {
            Transport::Tcp(segment) => (segment.source_port, segment.destination_port),
            Transport::Udp(datagram) => (datagram.source_port, datagram.destination_port),
            Transport::Fragment(_) | Transport::Other { .. } => return None,
        };
        Some((
            SocketAddr::new(self.source, source),
            SocketAddr::new(self.destination, destination),
        ))
    }

    /// The packet that an ICMP error returns to its sender: what could not be delivered, or as much of it as
    /// the error quotes (RFC 792, RFC 4443 §3).
    pub fn returned(&self) -> Option<Packet<'a>> {
        let Transport::Other { protocol, payload } = self.transport else {
            return None;
        };
        let is_error = match (protocol, payload.first()?) {
            // Unreachable, source quench, redirect, time exceeded, parameter problem.
            (1, kind) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (58, kind) => matches!(kind, 1..=4),
            _ => false,
        };
        if !is_error {
            return None;
        }
        Self::parse_ip(payload.get(8..)?, u32::MAX)
    }
}

/// What the fragment header of an IPv6 packet says, where it is only a piece of one: extension headers from the one
/// with this number on (RFC 8200 §4). They are walked here because etherparse 0.21 goes through those of a cut packet
/// without looking how many bytes there are.
fn fragment_header<'a>(mut number: u8, mut headers: &[u8]) -> Option<Fragment<'a>> {
    loop {
        let [next, len, ..] = *headers.first_chunk::<8>()?;
        let header_len = match number {
            // Hop by hop, routing, destination options, mobility, HIP, Shim6.
            0 | 43 | 60 | 135 | 139 | 140 => (usize::from(len) + 1) * 8,
            // Authentication (RFC 4302 §2.2).
            51 => (usize::from(len) + 2) * 4,
            44 => {
                let [_, _, high, low, identification @ ..] = *headers.first_chunk::<8>()?;
                let word = u16::from_be_bytes([high, low]);
                let (offset, more) = (u32::from(word & !7), word & 1 != 0);
                return (offset > 0 || more).then(|| Fragment {
                    identification: u32::from_be_bytes(identification),
                    offset,
                    more,
                    protocol: 0,
                    payload_len: 0,
                    payload: &[],
                });
            }
            _ => return None,
        };
        headers = headers.get(header_len..)?;
        number = next;
    }
}

impl<'a> Transport<'a> {
    /// Takes apart what an IP packet carries, of which `on_wire` bytes were sent.
    pub(crate) fn parse(protocol: u8, data: &'a [u8], on_wire: u32) -> Self {
        match protocol {
            TCP => Segment::parse(data, on_wire).map(Self::Tcp),
            UDP => Datagram::parse(data, on_wire).map(Self::Udp),
            _ => None,
        }
        .unwrap_or(Self::Other {
            protocol,
            payload: data,
        })
    }
}

/// The protocol numbers of what is looked into.
const TCP: u8 = 6;
const UDP: u8 = 17;

impl<'a> Segment<'a> {
    /// `None`: there is no whole header. Options may be cut.
    fn parse(data: &'a [u8], on_wire: u32) -> Option<Self> {
        let header = data.first_chunk::<20>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
        let header_len = usize::from(header[12] >> 4) * 4;
        let payload_len = on_wire.checked_sub(u32::try_from(header_len).ok()?)?;
        if header_len < 20 {
            return None;
        }
        let captured = usize::try_from(on_wire).map_or(data.len(), |len| len.min(data.len()));
        let data = &data[..captured];
        let options_end = header_len.min(captured);
        Some(Self {
            source_port: word(0),
            destination_port: word(2),
            sequence: long(4),
            acknowledgment: long(8),
            flags: Flags(header[13]),
            window: word(14),
            options: data.get(20..options_end).unwrap_or_default(),
            payload_len,
            payload: data.get(header_len..).unwrap_or_default(),
        })
    }
}

impl<'a> Datagram<'a> {
    /// `None`: there is no whole header.
    fn parse(data: &'a [u8], on_wire: u32) -> Option<Self> {
        let header = data.first_chunk::<8>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // A length of 0 is a jumbogram's (RFC 2675 §4): as much as there is.
        let claimed = match word(4) {
            0 => on_wire,
            claimed => u32::from(claimed).min(on_wire),
        };
        let payload_len = claimed.saturating_sub(8);
        let captured = data.get(8..).unwrap_or_default();
        let kept =
            usize::try_from(payload_len).map_or(captured.len(), |len| len.min(captured.len()));
        Some(Self {
            source_port: word(0),
            destination_port: word(2),
            payload_len,
            payload: captured.get(..kept).unwrap_or_default(),
        })
    }
}
