//! Where frames come from.

mod ahead;
mod compressed;
pub mod live;
mod pcap;
mod pcapng;
mod reader;
mod writer;

use std::fmt;

pub use live::{Live, LiveConfig, LiveError};
pub use reader::Reader;
pub use writer::Writer;

use crate::Error;

/// Something that frames come from: a capture file, an interface.
pub trait Source {
    /// The next frame; `None` when there are no more.
    ///
    /// # Errors
    /// The input cannot be read or is damaged: there are no more frames.
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error>;

    /// The interfaces that were announced so far, by the number that frames name.
    fn interfaces(&self) -> &[Interface];
}

/// An interface, as a capture describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// What its frames begin with.
    pub link: LinkType,
    /// Its name, where the capture tells it.
    pub name: Option<String>,
    /// What the capture says about it.
    pub description: Option<String>,
    /// Bytes of each frame that were kept at most; 0: all.
    pub snaplen: u32,
}

/// A captured frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The first is 1, as in Wireshark's `frame.number`.
    pub number: u64,
    /// When it was captured. Frames without a time have the epoch.
    pub time: Timestamp,
    /// Which [interface](Source::interfaces) it was seen on.
    pub interface: u32,
    /// What it begins with.
    pub link: LinkType,
    /// Its length on the wire. At least as many as are in `data`.
    pub original_len: u32,
    /// Where its record begins: bytes from the beginning of the capture, after decompression. 0 when live.
    pub offset: u64,
    /// Where its data begin, counted likewise. 0 when live.
    pub data_offset: u64,
    /// What was kept of it.
    pub data: &'a [u8],
}

/// Nanoseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Nanoseconds from `earlier` to this; negative when this is the earlier one. Saturates.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a frame begins with: a number of the registry of LINKTYPE values
/// (<https://www.tcpdump.org/linktypes.html>, draft-ietf-opsawg-pcaplinktype).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the machine that captured.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// An IPv4 or IPv6 packet.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked", version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// For private use; packhorse's ledger, on an interface that is named for it.
    pub const USER0: Self = Self(147);
    /// An IPv4 packet.
    pub const IPV4: Self = Self(228);
    /// An IPv6 packet.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked", version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NULL => f.write_str("BSD loopback"),
            Self::ETHERNET => f.write_str("Ethernet"),
            // 12 and 14 are what some systems call DLT_RAW.
            Self::RAW | Self(12 | 14) => f.write_str("raw IP"),
            Self::LOOP => f.write_str("OpenBSD loopback"),
            Self::LINUX_SLL => f.write_str("Linux cooked v1"),
            Self::USER0 => f.write_str("private use"),
            Self::IPV4 => f.write_str("raw IPv4"),
            Self::IPV6 => f.write_str("raw IPv6"),
            Self::LINUX_SLL2 => f.write_str("Linux cooked v2"),
            Self(other) => write!(f, "link type {other}"),
        }
    }
}
