//! The notation of framings: `line`, `u32be`, `fixed:512`, `header:4,2le,0`.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use crate::error::Delimiter;
use crate::length::LengthType;
use crate::spec::{Field, FrameSpec, HeaderSpec};

/// What exists, for whoever wrote something else.
const KNOWN: &str = "none, line, nul, u8, u16be, u16le, u32be, u32le, u64be, u64le, i32le, varint, \
                     fixed:N, header:off,len,adj";

/// Why a text names no framing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameSpecError {
    /// No framing has this name.
    #[error("no framing is called {name:?}: there are {KNOWN}")]
    Unknown {
        /// What was written.
        name: String,
    },
    /// `fixed` without a size that makes sense.
    #[error(
        "fixed:{size} is no framing: N in fixed:N is a number of bytes from 1 up, as in fixed:512"
    )]
    Fixed {
        /// What was written for N.
        size: String,
    },
    /// `header` without its three parts.
    #[error(
        "header:{parts} is no framing: header:off,len,adj has three parts, as in header:4,2le,0"
    )]
    HeaderParts {
        /// What was written behind the colon.
        parts: String,
    },
    /// The first part of `header` is no number.
    #[error("{offset:?} in header:off,len,adj is no number of bytes before the length field")]
    HeaderOffset {
        /// What was written for `off`.
        offset: String,
    },
    /// The second part of `header` is no width.
    #[error(
        "{width:?} in header:off,len,adj is no width: there are 1, 2, 3, 4, 8, and 2le, 3le, 4le, 8le"
    )]
    HeaderWidth {
        /// What was written for `len`.
        width: String,
    },
    /// The third part of `header` is no number.
    #[error("{adjust:?} in header:off,len,adj is no number to add to the length, as 0 or -4")]
    HeaderAdjust {
        /// What was written for `adj`.
        adjust: String,
    },
}

impl FromStr for FrameSpec {
    type Err = FrameSpecError;

    fn from_str(text: &str) -> Result<Self, FrameSpecError> {
        if let Some(length) = LengthType::ALL.into_iter().find(|l| l.name() == text) {
            return Ok(Self::Length(length));
        }
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "line" => Ok(Self::Delimited(Delimiter::Newline)),
            None if text == "nul" => Ok(Self::Delimited(Delimiter::Nul)),
            None if text == "varint" => Ok(Self::Varint),
            None if text == "fixed" => fixed(""),
            None if text == "header" => header(""),
            Some(("fixed", size)) => fixed(size),
            Some(("header", parts)) => header(parts),
            _ => Err(FrameSpecError::Unknown {
                name: text.to_owned(),
            }),
        }
    }
}

fn fixed(size: &str) -> Result<FrameSpec, FrameSpecError> {
    let error = || FrameSpecError::Fixed {
        size: size.to_owned(),
    };
    let number = number(size).ok_or_else(error)?;
    let size = NonZeroUsize::new(number).ok_or_else(error)?;
    Ok(FrameSpec::Fixed(size))
}

fn header(parts: &str) -> Result<FrameSpec, FrameSpecError> {
    let pieces: Vec<&str> = parts.split(',').collect();
    let &[offset, width, adjust] = &pieces[..] else {
        return Err(FrameSpecError::HeaderParts {
            parts: parts.to_owned(),
        });
    };
    Ok(FrameSpec::Header(HeaderSpec {
        offset: number(offset).ok_or_else(|| FrameSpecError::HeaderOffset {
            offset: offset.to_owned(),
        })?,
        field: field(width).ok_or_else(|| FrameSpecError::HeaderWidth {
            width: width.to_owned(),
        })?,
        adjust: number(adjust).ok_or_else(|| FrameSpecError::HeaderAdjust {
            adjust: adjust.to_owned(),
        })?,
    }))
}

fn field(width: &str) -> Option<Field> {
    Some(match width {
        "1" => Field::Whole(LengthType::U8),
        "2" => Field::Whole(LengthType::U16Be),
        "2le" => Field::Whole(LengthType::U16Le),
        "3" => Field::U24Be,
        "3le" => Field::U24Le,
        "4" => Field::Whole(LengthType::U32Be),
        "4le" => Field::Whole(LengthType::U32Le),
        "8" => Field::Whole(LengthType::U64Be),
        "8le" => Field::Whole(LengthType::U64Le),
        _ => return None,
    })
}

/// A number in its one notation: no plus sign, which `str::parse` would take.
fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for FrameSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Delimited(Delimiter::Newline) => f.write_str("line"),
            Self::Delimited(Delimiter::Nul) => f.write_str("nul"),
            Self::Length(length) => f.write_str(length.name()),
            Self::Varint => f.write_str("varint"),
            Self::Fixed(size) => write!(f, "fixed:{size}"),
            Self::Header(header) => {
                let HeaderSpec {
                    offset,
                    field,
                    adjust,
                } = header;
                write!(f, "header:{offset},{field},{adjust}")
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let little = match self {
            Self::Whole(length) => matches!(
                length,
                LengthType::U16Le | LengthType::U32Le | LengthType::U64Le | LengthType::I32Le
            ),
            Self::U24Be => false,
            Self::U24Le => true,
        };
        let order = if little { "le" } else { "" };
        write!(f, "{}{order}", self.width())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_framing_is_written_as_it_is_read() {
        for text in [
            "none",
            "line",
            "nul",
            "u8",
            "u16be",
            "u16le",
            "u32be",
            "u32le",
            "u64be",
            "u64le",
            "i32le",
            "varint",
            "fixed:1",
            "fixed:512",
            "header:0,1,0",
            "header:4,2,-4",
            "header:4,2le,0",
            "header:9,3,6",
            "header:9,3le,6",
            "header:0,4,0",
            "header:0,4le,1",
            "header:4294967295,8,-9223372036854775808",
            "header:0,8le,9223372036854775807",
        ] {
            let spec: FrameSpec = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn there_is_one_way_to_write_each() {
        for text in [
            "",
            "None",
            " line",
            "line ",
            "lines",
            "i",
            "u16",
            "u32BE",
            "u24be",
            "i32be",
            "line:1",
            "fixed",
            "fixed:",
            "fixed:0",
            "fixed:-1",
            "fixed:+1",
            "fixed:1.5",
            "fixed:1,2",
            "fixed:99999999999999999999",
            "header",
            "header:",
            "header:1,2",
            "header:1,2,3,4",
            "header:-1,2,0",
            "header:+1,2,0",
            "header:1,5,0",
            "header:1,1le,0",
            "header:1,2be,0",
            "header:1,2,",
            "header:1,2,+3",
            "header:1,2,x",
            "header:4294967296,2,0",
        ] {
            assert!(text.parse::<FrameSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_exists() {
        for (text, part) in [
            (
                "u24be",
                "no framing is called \"u24be\": there are none, line, nul, u8",
            ),
            ("fixed:0", "N in fixed:N is a number of bytes from 1 up"),
            ("header:1,5,0", "\"5\" in header:off,len,adj is no width"),
            (
                "header:x,2,0",
                "\"x\" in header:off,len,adj is no number of bytes before",
            ),
            (
                "header:1,2,z",
                "\"z\" in header:off,len,adj is no number to add",
            ),
            ("header:1", "has three parts, as in header:4,2le,0"),
        ] {
            let error = text.parse::<FrameSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
