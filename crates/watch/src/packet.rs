//! What a frame carries between hosts: addresses, ports, sequence numbers, payload.
//!
//! This is the short view that everything about streams is built on. The long one, with every field, is a
//! dissection.

use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, IpNumber, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use crate::LinkType;

/// An IP packet, as far as streams care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
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
    /// Something without ports, or cut before them: the number of its protocol.
    Other(u8),
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
    pub fn parse(link: LinkType, data: &'a [u8]) -> Option<Self> {
        let sliced = slice(link, data)?;
        let (source, destination, number) = match &sliced.net {
            Some(LaxNetSlice::Ipv4(ip)) => (
                IpAddr::V4(ip.header().source_addr()),
                IpAddr::V4(ip.header().destination_addr()),
                ip.payload_ip_number(),
            ),
            Some(LaxNetSlice::Ipv6(ip)) => (
                IpAddr::V6(ip.header().source_addr()),
                IpAddr::V6(ip.header().destination_addr()),
                ip.payload().ip_number,
            ),
            Some(LaxNetSlice::Arp(_)) | None => return None,
        };
        let IpNumber(number) = number;
        let transport = match sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let header = tcp.header_slice();
                Transport::Tcp(Segment {
                    source_port: tcp.source_port(),
                    destination_port: tcp.destination_port(),
                    sequence: tcp.sequence_number(),
                    acknowledgment: tcp.acknowledgment_number(),
                    flags: Flags(header[13]),
                    window: tcp.window_size(),
                    options: header.get(20..).unwrap_or_default(),
                    payload_len: u32::try_from(tcp.slice().len() - header.len()).ok()?,
                    payload: tcp.slice().get(header.len()..).unwrap_or_default(),
                })
            }
            Some(TransportSlice::Udp(udp)) => Transport::Udp(Datagram {
                source_port: udp.source_port(),
                destination_port: udp.destination_port(),
                payload_len: u32::try_from(udp.payload().len()).ok()?,
                payload: udp.slice().get(8..).unwrap_or_default(),
            }),
            _ => Transport::Other(number),
        };
        Some(Self {
            source,
            destination,
            transport,
        })
    }

    /// Sender and receiver with their ports, where there are ports.
    pub fn endpoints(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (source, destination) = match self.transport {
            Transport::Tcp(segment) => (segment.source_port, segment.destination_port),
            Transport::Udp(datagram) => (datagram.source_port, datagram.destination_port),
            Transport::Other(_) => return None,
        };
        Some((
            SocketAddr::new(self.source, source),
            SocketAddr::new(self.destination, destination),
        ))
    }
}

/// Takes the link's header off, and the rest apart.
fn slice(link: LinkType, data: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let ether = |at: usize, number: usize| {
        let kind = data.get(number..number + 2)?;
        let kind = EtherType(u16::from_be_bytes([kind[0], kind[1]]));
        Some(LaxSlicedPacket::from_ether_type(kind, data.get(at..)?))
    };
    match link {
        LinkType::ETHERNET => LaxSlicedPacket::from_ethernet(data).ok(),
        LinkType::LINUX_SLL => ether(16, 14),
        LinkType::LINUX_SLL2 => ether(20, 0),
        // The family's number differs by system; the packet's first digit does not.
        LinkType::NULL | LinkType::LOOP => LaxSlicedPacket::from_ip(data.get(4..)?).ok(),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => {
            LaxSlicedPacket::from_ip(data).ok()
        }
        _ => None,
    }
}
