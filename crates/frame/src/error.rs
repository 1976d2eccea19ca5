//! What can be wrong with a stream of frames, and with a message that is to become one.

use std::fmt;

/// Why a stream cannot be read on. Every variant says where in the stream the bad frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame claims more than the limit.
    #[error("message of {length} bytes at stream offset {offset}, more than the limit of {limit}")]
    TooLong {
        /// Where the frame begins.
        offset: u64,
        /// What it claims; the largest number where the claim is larger than any.
        length: u64,
        /// [`Limits::max_message`](crate::Limits::max_message).
        limit: usize,
    },
    /// As many bytes as the limit allows came without the delimiter.
    #[error("no {delimiter} within {limit} bytes from stream offset {offset}, which is the limit")]
    NoDelimiter {
        /// Where the frame begins.
        offset: u64,
        /// What did not come.
        delimiter: Delimiter,
        /// [`Limits::max_message`](crate::Limits::max_message).
        limit: usize,
    },
    /// A signed length is below zero.
    #[error("negative length {length} at stream offset {offset}")]
    NegativeLength {
        /// Where the frame begins.
        offset: u64,
        /// What it claims.
        length: i32,
    },
    /// A variable-length integer does not end within ten bytes, or holds more than 64 bits.
    #[error("length at stream offset {offset} is not a variable-length integer of 64 bits")]
    BadVarint {
        /// Where the frame begins.
        offset: u64,
    },
    /// The length in a header, adjusted, is below zero.
    #[error(
        "length {length} in the header at stream offset {offset} is below zero when {adjust} is added"
    )]
    NegativeAdjusted {
        /// Where the frame begins.
        offset: u64,
        /// What the header claims.
        length: u64,
        /// What [`HeaderSpec`](crate::HeaderSpec) adds to it.
        adjust: i64,
    },
    /// The stream ended within a frame.
    #[error("stream ended within the message at offset {offset}: {received} bytes of it came")]
    Truncated {
        /// Where the frame begins.
        offset: u64,
        /// Bytes of it that came, its header included.
        received: u64,
    },
}

impl FrameError {
    /// Where in the stream the frame begins that is wrong.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match *self {
            Self::TooLong { offset, .. }
            | Self::NoDelimiter { offset, .. }
            | Self::NegativeLength { offset, .. }
            | Self::BadVarint { offset }
            | Self::NegativeAdjusted { offset, .. }
            | Self::Truncated { offset, .. } => offset,
        }
    }
}

/// Why a message cannot be sent in this framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// More bytes than the limit.
    #[error("message of {length} bytes, more than the limit of {limit}")]
    OverLimit {
        /// Bytes of the message.
        length: usize,
        /// [`Limits::max_message`](crate::Limits::max_message).
        limit: usize,
    },
    /// More bytes than the length field can say.
    #[error("message of {length} bytes, more than the {largest} that the length field can say")]
    OverField {
        /// Bytes of the message.
        length: usize,
        /// The largest length that the field can say.
        largest: u64,
    },
    /// The message holds what would end it.
    #[error("message holds a {delimiter} at byte {at}, which would end it")]
    HoldsDelimiter {
        /// What ends messages.
        delimiter: Delimiter,
        /// The first of them in the message.
        at: usize,
    },
    /// A message of another size than all must have.
    #[error("message of {length} bytes where all have {fixed}")]
    NotFixed {
        /// Bytes of the message.
        length: usize,
        /// Bytes that every message has.
        fixed: usize,
    },
    /// The message does not even hold the header that it should begin with.
    #[error("message of {length} bytes, shorter than its header of {header}")]
    ShorterThanHeader {
        /// Bytes of the message.
        length: usize,
        /// Bytes up to the end of the length field.
        header: usize,
    },
    /// The length in the message's header is not its length.
    #[error("header says {claimed} where a message of {length} bytes has to say {right}")]
    WrongHeader {
        /// Bytes of the message.
        length: usize,
        /// What its header says.
        claimed: u64,
        /// What it would have to say.
        right: i128,
    },
}

/// What ends a message, where no length tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiter {
    /// A line feed, 0x0a.
    Newline,
    /// A zero byte.
    Nul,
}

impl Delimiter {
    /// The byte itself.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Newline => b'\n',
            Self::Nul => 0,
        }
    }

    /// The byte as what is written behind a payload.
    pub(crate) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Newline => b"\n",
            Self::Nul => b"\0",
        }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Newline => "line feed",
            Self::Nul => "zero byte",
        })
    }
}
