//! Length fields: integers of fixed width, and of variable width.

use bytes::{BufMut as _, BytesMut};

/// The integer before each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LengthType {
    /// One byte.
    U8,
    /// Two bytes, the most significant first.
    U16Be,
    /// Two bytes, the least significant first.
    U16Le,
    /// Four bytes, the most significant first.
    U32Be,
    /// Four bytes, the least significant first.
    U32Le,
    /// Eight bytes, the most significant first.
    U64Be,
    /// Eight bytes, the least significant first.
    U64Le,
    /// Four bytes with a sign, the least significant first: `i` of struct formats on most machines.
    I32Le,
}

impl LengthType {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::U8,
        Self::U16Be,
        Self::U16Le,
        Self::U32Be,
        Self::U32Le,
        Self::U64Be,
        Self::U64Le,
        Self::I32Le,
    ];

    /// How the notation calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16Be => "u16be",
            Self::U16Le => "u16le",
            Self::U32Be => "u32be",
            Self::U32Le => "u32le",
            Self::U64Be => "u64be",
            Self::U64Le => "u64le",
            Self::I32Le => "i32le",
        }
    }

    /// Bytes it takes.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16Be | Self::U16Le => 2,
            Self::U32Be | Self::U32Le | Self::I32Le => 4,
            Self::U64Be | Self::U64Le => 8,
        }
    }

    /// The largest length it can say.
    #[must_use]
    pub const fn largest(self) -> u64 {
        match self {
            Self::U8 => 0xff,
            Self::U16Be | Self::U16Le => 0xffff,
            Self::U32Be | Self::U32Le => 0xffff_ffff,
            Self::U64Be | Self::U64Le => u64::MAX,
            Self::I32Le => 0x7fff_ffff,
        }
    }

    /// What the first bytes say; `None` when they are too few. A sign is not looked at: a negative
    /// `i32le` comes out above [`largest`](Self::largest).
    #[inline]
    pub(crate) fn read(self, bytes: &[u8]) -> Option<u64> {
        Some(match self {
            Self::U8 => u64::from(*bytes.first()?),
            Self::U16Be => u64::from(u16::from_be_bytes(*bytes.first_chunk()?)),
            Self::U16Le => u64::from(u16::from_le_bytes(*bytes.first_chunk()?)),
            Self::U32Be => u64::from(u32::from_be_bytes(*bytes.first_chunk()?)),
            Self::U32Le | Self::I32Le => u64::from(u32::from_le_bytes(*bytes.first_chunk()?)),
            Self::U64Be => u64::from_be_bytes(*bytes.first_chunk()?),
            Self::U64Le => u64::from_le_bytes(*bytes.first_chunk()?),
        })
    }

    /// Writes `length`, which is at most [`largest`](Self::largest).
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "`length` is at most `largest`, which the caller has checked"
    )]
    pub(crate) fn put(self, length: u64, out: &mut BytesMut) {
        match self {
            Self::U8 => out.put_u8(length as u8),
            Self::U16Be => out.put_u16(length as u16),
            Self::U16Le => out.put_u16_le(length as u16),
            Self::U32Be => out.put_u32(length as u32),
            Self::U32Le | Self::I32Le => out.put_u32_le(length as u32),
            Self::U64Be => out.put_u64(length),
            Self::U64Le => out.put_u64_le(length),
        }
    }

    /// `length`, which is at most [`largest`](Self::largest), as it stands before a message.
    #[inline]
    pub(crate) fn head(self, length: u64) -> Head {
        // Shifted so that the bytes that count come first in big-endian order.
        let from_top = |bits: u32| (length << (64 - bits)).to_be_bytes();
        let bytes = match self {
            Self::U8 | Self::U16Le | Self::U32Le | Self::U64Le | Self::I32Le => {
                length.to_le_bytes()
            }
            Self::U16Be => from_top(16),
            Self::U32Be => from_top(32),
            Self::U64Be => length.to_be_bytes(),
        };
        Head::of(bytes, self.width())
    }
}

/// What is written before a payload: at most ten bytes, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    bytes: [u8; MAX_VARINT],
    length: u8,
}

/// Bytes of the longest variable-length integer: 64 bits, seven a byte.
pub(crate) const MAX_VARINT: usize = 10;

impl Head {
    /// Nothing.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; MAX_VARINT],
        length: 0,
    };

    /// The first `length` of `eight`.
    #[inline]
    fn of(eight: [u8; 8], length: usize) -> Self {
        let mut bytes = [0; MAX_VARINT];
        bytes[..8].copy_from_slice(&eight);
        #[allow(clippy::cast_possible_truncation, reason = "a width, at most 8")]
        let length = length as u8;
        Self { bytes, length }
    }

    /// `value` as a variable-length integer: seven bits a byte from the lowest, the top bit of a byte
    /// says that more come (LEB128, as in protocol buffers).
    #[inline]
    pub(crate) fn varint(mut value: u64) -> Self {
        let mut head = Self::EMPTY;
        loop {
            #[allow(clippy::cast_possible_truncation, reason = "seven bits")]
            let low = (value & 0x7f) as u8;
            value >>= 7;
            let more = if value == 0 { 0 } else { 0x80 };
            head.bytes[usize::from(head.length)] = low | more;
            head.length += 1;
            if value == 0 {
                return head;
            }
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What the first bytes say as a variable-length integer.
pub(crate) enum Varint {
    /// A value, and how many bytes it took.
    Whole(u64, usize),
    /// More bytes are needed.
    Partial,
    /// More than ten bytes, or more than 64 bits.
    Bad,
}

/// Reads a variable-length integer.
#[inline]
pub(crate) fn read_varint(bytes: &[u8]) -> Varint {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(MAX_VARINT).enumerate() {
        // The tenth byte has room for the 64th bit alone.
        if at == MAX_VARINT - 1 && byte > 1 {
            return Varint::Bad;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Varint::Whole(value, at + 1);
        }
    }
    Varint::Partial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_says_its_largest_and_no_neighbour_shows() {
        for length in LengthType::ALL {
            for value in [0, 1, 0x7f, length.largest() / 3, length.largest()] {
                let head = length.head(value);
                let bytes = head.as_slice();
                assert_eq!(bytes.len(), length.width(), "{}", length.name());
                let mut dirty = vec![0xa5; 24];
                dirty[..bytes.len()].copy_from_slice(bytes);
                assert_eq!(length.read(&dirty), Some(value), "{}", length.name());
                assert_eq!(length.read(&dirty[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn varints_are_those_of_protocol_buffers() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            assert_eq!(Head::varint(value).as_slice(), bytes);
            assert!(
                matches!(read_varint(bytes), Varint::Whole(v, n) if v == value && n == bytes.len())
            );
            let cut = &bytes[..bytes.len() - 1];
            assert!(matches!(read_varint(cut), Varint::Partial));
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_bad() {
        let mut bytes = [0xff; 10];
        for last in [2, 0x7f, 0x80, 0x81, 0xff] {
            bytes[9] = last;
            assert!(matches!(read_varint(&bytes), Varint::Bad), "{last}");
        }
    }
}
