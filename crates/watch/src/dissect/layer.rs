//! What a dissection is made of.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// One layer of a frame: a header, and what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its protocol's name.
    pub protocol: &'static str,
    /// What it is in the models.
    pub level: Level,
    /// Which bytes the ranges mean.
    pub of: Bytes,
    /// Its header.
    pub header: Range<usize>,
    /// The service data unit: what it carries for the layer above.
    pub sdu: Range<usize>,
    /// The fields of its header.
    pub fields: Vec<Field>,
    /// What is wrong with it, or not to be seen at once.
    pub notes: Vec<String>,
}

/// Which bytes a range means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bytes {
    /// Those of the frame.
    Frame,
    /// Those of the packet that was put together from fragments: [`Dissection::whole`](super::Dissection::whole).
    Whole,
}

/// Where a protocol stands in the models: OSI (ISO 7498-1) with seven layers, TCP/IP with four (RFC 1122 §1.1.3),
/// and the five that textbooks make of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// OSI 2: frames.
    Link,
    /// OSI 3: packets.
    Network,
    /// OSI 4, in segments.
    Stream,
    /// OSI 4, in datagrams.
    Datagram,
    /// OSI 6: what protects messages.
    Presentation,
    /// OSI 7: messages.
    Application,
}

impl Level {
    /// Its number in the OSI model.
    pub fn osi(self) -> u8 {
        match self {
            Self::Link => 2,
            Self::Network => 3,
            Self::Stream | Self::Datagram => 4,
            Self::Presentation => 6,
            Self::Application => 7,
        }
    }

    /// Its name in the OSI model.
    pub fn osi_name(self) -> &'static str {
        match self {
            Self::Link => "data link",
            Self::Network => "network",
            Self::Stream | Self::Datagram => "transport",
            Self::Presentation => "presentation",
            Self::Application => "application",
        }
    }

    /// Its number in the TCP/IP model of four layers.
    pub fn tcp_ip(self) -> u8 {
        match self {
            Self::Link => 1,
            Self::Network => 2,
            Self::Stream | Self::Datagram => 3,
            Self::Presentation | Self::Application => 4,
        }
    }

    /// Its name in the TCP/IP model of four layers.
    pub fn tcp_ip_name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Network => "internet",
            Self::Stream | Self::Datagram => "transport",
            Self::Presentation | Self::Application => "application",
        }
    }

    /// Its number in the model of five layers, in which bits are the first.
    pub fn five(self) -> u8 {
        self.tcp_ip() + 1
    }

    /// What its unit is called.
    pub fn pdu(self) -> &'static str {
        match self {
            Self::Link => "frame",
            Self::Network => "packet",
            Self::Stream => "segment",
            Self::Datagram => "datagram",
            Self::Presentation => "record",
            Self::Application => "message",
        }
    }
}

/// A field of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, for a person.
    pub name: &'static str,
    /// Its name, for programs: `ttl`, `source_port`.
    pub key: &'static str,
    /// What it holds.
    pub value: Value,
    /// What that means, where it has a name.
    pub meaning: Option<String>,
    /// Its bytes. A field of a few bits has the bytes that they are in.
    pub bytes: Range<usize>,
    /// Its parts.
    pub parts: Vec<Field>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A number that is read in hexadecimal digits: a checksum, a set of bits.
    Hex(u64),
    /// Whether a bit is set.
    Flag(bool),
    /// A text. It may have come from a peer: escape it before a terminal sees it.
    Text(String),
    /// An address of Ethernet.
    Mac([u8; 6]),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// Bytes that mean nothing here.
    Opaque(Vec<u8>),
    /// Nothing of its own: the parts are what counts.
    Parts,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Hex(number) => write!(f, "{number:#x}"),
            Self::Flag(set) => write!(f, "{}", if *set { "yes" } else { "no" }),
            Self::Text(text) => f.write_str(text),
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::Ipv6(address) => write!(f, "{address}"),
            Self::Mac(bytes) => write_bytes(f, bytes, ":"),
            Self::Opaque(bytes) => write_bytes(f, bytes, ""),
            Self::Parts => Ok(()),
        }
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8], between: &str) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        let between = if index > 0 { between } else { "" };
        write!(f, "{between}{byte:02x}")?;
    }
    Ok(())
}
