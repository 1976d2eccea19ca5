//! How messages are marked in a stream.

use std::num::NonZeroUsize;

use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::error::Delimiter;
use crate::length::LengthType;
use crate::limits::Limits;

/// How messages are marked in a stream: the notation is that of docs/frames.md.
///
/// ```
/// use packhorse_frame::FrameSpec;
///
/// let spec: FrameSpec = "header:4,2le,0".parse()?;
/// assert_eq!(spec.to_string(), "header:4,2le,0");
/// assert_eq!(FrameSpec::default().to_string(), "none");
/// # Ok::<(), packhorse_frame::FrameSpecError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrameSpec {
    /// `none`: no marks. A message is whatever bytes are there, and never empty.
    #[default]
    None,
    /// `line` and `nul`: a byte ends each message, and is in none.
    Delimited(Delimiter),
    /// `u8` to `u64le`, and `i32le`: the payload's length comes first.
    Length(LengthType),
    /// `varint`: the payload's length comes first, seven bits a byte (LEB128).
    Varint,
    /// `fixed:N`: every message has as many bytes.
    Fixed(NonZeroUsize),
    /// `header:off,len,adj`: a length within a larger header.
    Header(HeaderSpec),
}

impl FrameSpec {
    /// Whether any bytes can be a message, if they are not too long.
    #[must_use]
    pub fn carries_any_bytes(&self) -> bool {
        matches!(self, Self::None | Self::Length(_) | Self::Varint)
    }

    /// What finds the messages of a stream, from its first byte.
    #[must_use]
    pub fn decoder(&self, limits: Limits) -> Decoder {
        Decoder::new(*self, limits)
    }

    /// What makes frames of messages.
    #[must_use]
    pub fn encoder(&self, limits: Limits) -> Encoder {
        Encoder::new(*self, limits)
    }
}

/// A length within a larger header: `header:off,len,adj`.
///
/// `off` bytes come first, then an unsigned length of `len` bytes (1, 2, 3, 4 or 8; with `le` behind it
/// the least significant first). That length, with `adj` added, is how many bytes follow the length field.
/// A message is the whole frame, header included, in both directions: what is in the rest of the header
/// belongs to whoever speaks that protocol.
///
/// A DNS message over TCP is `header:0,2,0`, a frame of HTTP/2 `header:0,3,6`: its length counts the
/// payload alone, and six more bytes of header come between.
///
/// ```
/// use bytes::BytesMut;
/// use packhorse_frame::{FrameSpec, Limits};
///
/// // Two bytes of a kind, then a length that counts the whole frame: the four bytes before its end too.
/// let spec: FrameSpec = "header:2,2,-4".parse()?;
/// let mut input = BytesMut::from(&b"hi\x00\x09there"[..]);
/// let message = spec.decoder(Limits::default()).decode(&mut input)?.unwrap();
/// assert_eq!(&message.payload[..], b"hi\x00\x09there");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderSpec {
    /// Bytes before the length field.
    pub offset: u32,
    /// The length field.
    pub field: Field,
    /// What is added to the length to give the bytes behind the field.
    pub adjust: i64,
}

impl HeaderSpec {
    /// Bytes up to the end of the length field.
    #[must_use]
    pub(crate) fn head(&self) -> u64 {
        u64::from(self.offset) + self.field.width() as u64
    }
}

/// A length field within a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Of one, two, four or eight bytes. A signed one is none of these.
    Whole(LengthType),
    /// Three bytes, the most significant first.
    U24Be,
    /// Three bytes, the least significant first.
    U24Le,
}

impl Field {
    /// Bytes it takes.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::Whole(length) => length.width(),
            Self::U24Be | Self::U24Le => 3,
        }
    }

    /// What the first bytes say; `None` when they are too few.
    #[inline]
    pub(crate) fn read(self, bytes: &[u8]) -> Option<u64> {
        Some(match self {
            Self::Whole(length) => length.read(bytes)?,
            Self::U24Be => {
                let &[a, b, c] = bytes.first_chunk()?;
                u64::from(u32::from_be_bytes([0, a, b, c]))
            }
            Self::U24Le => {
                let &[a, b, c] = bytes.first_chunk()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
        })
    }
}
