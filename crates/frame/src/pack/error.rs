//! What can be wrong with a format, with values, and with bytes. Every position is in the format, in
//! characters, and the first is 1.

/// Why a text is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// No code has this letter.
    #[error("no code is written {letter:?}, at position {position} of the format")]
    UnknownCode {
        /// What was written.
        letter: char,
        /// Where.
        position: usize,
    },
    /// `n`, `N` or `P` where sizes are the same everywhere.
    #[error(
        "the code '{letter}' at position {position} of the format exists in native mode only, \
         which is '@' or no order"
    )]
    NativeOnly {
        /// Which of them.
        letter: char,
        /// Where.
        position: usize,
    },
    /// A byte order behind the beginning.
    #[error(
        "the order '{order}' at position {position} of the format has to be its first character"
    )]
    OrderNotFirst {
        /// Which order.
        order: char,
        /// Where.
        position: usize,
    },
    /// The format ends with a count.
    #[error("the count at position {position} of the format has no code behind it")]
    CountWithoutCode {
        /// Where the count begins.
        position: usize,
    },
    /// White space between a count and its code.
    #[error("white space at position {position} of the format parts a count from its code")]
    SpaceBehindCount {
        /// Where the white space is.
        position: usize,
    },
    /// All of it would be longer than [`MAX_SIZE`](super::MAX_SIZE).
    #[error(
        "the code '{letter}' at position {position} makes the format longer than the limit of \
         {limit} bytes",
        limit = super::MAX_SIZE
    )]
    TooLong {
        /// The code that reaches beyond the limit.
        letter: char,
        /// Where it is, or its count.
        position: usize,
    },
}

impl FormatError {
    /// Where in the format; the first character is at 1.
    #[must_use]
    pub fn position(&self) -> usize {
        match *self {
            Self::UnknownCode { position, .. }
            | Self::NativeOnly { position, .. }
            | Self::OrderNotFirst { position, .. }
            | Self::CountWithoutCode { position }
            | Self::SpaceBehindCount { position }
            | Self::TooLong { position, .. } => position,
        }
    }
}

/// Why values cannot be packed. The first value is number 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Fewer values than fields.
    #[error(
        "wrong number of values: the format needs {needed} and got {given}, none for '{letter}' at \
         position {position}"
    )]
    TooFew {
        /// Fields that have a value.
        needed: usize,
        /// Values that there are.
        given: usize,
        /// The first code without a value.
        letter: char,
        /// Where it is.
        position: usize,
    },
    /// More values than fields.
    #[error("wrong number of values: the format needs {needed} and got {given}")]
    TooMany {
        /// Fields that have a value.
        needed: usize,
        /// Values that there are.
        given: usize,
    },
    /// A value of another kind than the code's.
    #[error("value {value} is {found}, but '{letter}' at position {position} takes {takes}")]
    WrongKind {
        /// Which value.
        value: usize,
        /// The code.
        letter: char,
        /// Where it is.
        position: usize,
        /// What the value is.
        found: &'static str,
        /// What the code takes.
        takes: &'static str,
    },
    /// An integer that the code has no bits for.
    #[error(
        "value {value} is {number}, out of range for '{letter}' at position {position}: \
         {lowest} to {highest}"
    )]
    OutOfRange {
        /// Which value.
        value: usize,
        /// The code.
        letter: char,
        /// Where it is.
        position: usize,
        /// The value itself.
        number: i128,
        /// The smallest that fits.
        lowest: i128,
        /// The largest that fits.
        highest: i128,
    },
    /// A finite float that the code could only store as infinite.
    #[error("value {value} is {number:e}, too large for '{letter}' at position {position}")]
    FloatTooLarge {
        /// Which value.
        value: usize,
        /// The code.
        letter: char,
        /// Where it is.
        position: usize,
        /// The value itself.
        number: f64,
    },
    /// Not one byte for `c`.
    #[error("value {value} has {length} bytes, but '{letter}' at position {position} takes one")]
    NotOneByte {
        /// Which value.
        value: usize,
        /// The code.
        letter: char,
        /// Where it is.
        position: usize,
        /// Bytes of the value.
        length: usize,
    },
}

/// Why bytes cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// Fewer bytes than the format has.
    #[error(
        "wrong number of bytes: the format needs {needed} and got {given}, which end before '{letter}' at \
         position {position} does, at byte {end}"
    )]
    TooShort {
        /// Bytes of the format.
        needed: usize,
        /// Bytes that there are.
        given: usize,
        /// The first code that is not whole.
        letter: char,
        /// Where it is.
        position: usize,
        /// Bytes up to its end.
        end: usize,
    },
    /// More bytes than the format has.
    #[error("wrong number of bytes: the format needs {needed} and got {given}")]
    TooLong {
        /// Bytes of the format.
        needed: usize,
        /// Bytes that there are.
        given: usize,
    },
}
