//! The header of both formats: bytes in, meaning out. No IO.
//!
//! A length `N` as four bytes, signed and little-endian, then `N` bytes of JSON in UTF-8. The keys tell
//! the formats apart: `md5` and `new_file_name` occur in one of them only.

use std::fmt;

use packhorse_proto::escape::Escaped;
use serde::{Deserialize, Serialize};

use super::Format;
use super::name::{NameError, PlainName};

/// Bytes of the length before the header.
pub(crate) const LENGTH_BYTES: usize = 4;

/// The longest header that is read or written, in bytes. A name has at most 255 bytes and a path 4,095,
/// and an escape in JSON takes six for one.
pub const MAX_HEADER: usize = 64 << 10;

/// As much of a peer's own words as goes into a message, in characters.
const QUOTED: usize = 120;

/// An MD5, shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Md5Sum(pub [u8; 16]);

impl Md5Sum {
    /// Reads 32 lower-case hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut sum = [0; 16];
        if digits.len() != 2 * sum.len() {
            return None;
        }
        for (byte, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Self(sum))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Md5Sum({self})")
    }
}

/// What stands before the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The name to store it under.
    pub(crate) name: PlainName,
    /// Bytes of content.
    pub(crate) size: u64,
    /// What the content is held against besides.
    pub(crate) check: Check,
}

/// What the content is held against, besides its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing.
    Size,
    /// Its MD5.
    Md5 {
        sum: Md5Sum,
        /// The file as the client names it: to be shown, and good for nothing else.
        path: String,
    },
}

/// Why bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No header is that long, or the length is not positive.
    #[error("its header cannot be {0} bytes long: 1 to {MAX_HEADER} is right")]
    Length(i32),
    /// The first bytes are those of packhorse's own protocol.
    #[error("it speaks packhorse's own protocol, not a classic format")]
    Native,
    /// The header is not UTF-8.
    #[error("its header is not UTF-8")]
    NotUtf8,
    /// The header is not a JSON object with these keys and types.
    #[error("its header is not what the format wants: {0}")]
    Json(String),
    /// A key is missing.
    #[error("its header has no '{0}'")]
    Missing(&'static str),
    /// The name to store under is not one plain name.
    #[error("{key} '{name}' is not a plain file name: {error}")]
    Name {
        /// The key it stands under.
        key: &'static str,
        /// Shortened and escaped.
        name: String,
        /// The rule that it breaks.
        error: NameError,
    },
    /// The MD5 is not 32 digits.
    #[error("its md5 '{0}' is not 32 lower-case hexadecimal digits")]
    Md5(String),
    /// A size that no file can have here.
    #[error("its file_size {0} is more than a file can hold here")]
    FileSize(u64),
}

impl Header {
    /// The format that has this header.
    pub(crate) fn format(&self) -> Format {
        match self.check {
            Check::Size => Format::Size,
            Check::Md5 { .. } => Format::Md5,
        }
    }

    /// The bytes on the wire, length and all.
    ///
    /// # Errors
    /// It comes out longer than [`MAX_HEADER`].
    pub(crate) fn emit(&self) -> Result<Vec<u8>, HeaderError> {
        let json = match &self.check {
            Check::Size => serde_json::to_string(&SizeFields {
                file_name: self.name.as_str(),
                file_size: self.size,
            }),
            Check::Md5 { sum, path } => serde_json::to_string(&Md5Fields {
                md5: sum.to_string(),
                file_name: path,
                file_size: self.size,
                new_file_name: self.name.as_str(),
            }),
        };
        let json = json.map_err(|error| HeaderError::Json(error.to_string()))?;
        let length = i32::try_from(json.len()).unwrap_or(i32::MAX);
        if json.len() > MAX_HEADER {
            return Err(HeaderError::Length(length));
        }
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        Ok(bytes)
    }

    fn parse(json: &[u8]) -> Result<Self, HeaderError> {
        let text = std::str::from_utf8(json).map_err(|_| HeaderError::NotUtf8)?;
        // The derived reader would take a list of the values for the object.
        if !text.trim_start().starts_with('{') {
            return Err(HeaderError::Json("a JSON object belongs here".to_owned()));
        }
        let fields: Fields = serde_json::from_str(text)
            .map_err(|error| HeaderError::Json(quoted(&error.to_string())))?;
        let missing = HeaderError::Missing;
        let file_name = fields.file_name.ok_or(missing("file_name"))?;
        let size = fields.file_size.ok_or(missing("file_size"))?;
        if fields.md5.is_none() && fields.new_file_name.is_none() {
            let name = plain("file_name", &file_name)?;
            let check = Check::Size;
            return Ok(Self { name, size, check });
        }
        let md5 = fields.md5.ok_or(missing("md5"))?;
        let sum = Md5Sum::parse(&md5).ok_or_else(|| HeaderError::Md5(quoted(&md5)))?;
        let new_name = fields.new_file_name.ok_or(missing("new_file_name"))?;
        Ok(Self {
            name: plain("new_file_name", &new_name)?,
            size,
            check: Check::Md5 {
                sum,
                path: file_name,
            },
        })
    }
}

fn plain(key: &'static str, text: &str) -> Result<PlainName, HeaderError> {
    PlainName::parse(text).map_err(|error| HeaderError::Name {
        key,
        name: quoted(text),
        error,
    })
}

/// A peer's words, shortened and escaped.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED).collect();
    Escaped(short.as_bytes()).to_string()
}

/// What both formats may hold. Keys that are not known are skipped; one that comes twice is refused, for
/// readers differ in which they would take.
#[derive(Deserialize)]
struct Fields {
    file_name: Option<String>,
    file_size: Option<u64>,
    md5: Option<String>,
    new_file_name: Option<String>,
}

#[derive(Serialize)]
struct SizeFields<'a> {
    file_name: &'a str,
    file_size: u64,
}

#[derive(Serialize)]
struct Md5Fields<'a> {
    md5: String,
    file_name: &'a str,
    file_size: u64,
    new_file_name: &'a str,
}

/// The length of a header, from its four bytes.
///
/// # Errors
/// No header has it.
pub(crate) fn header_length(bytes: [u8; LENGTH_BYTES]) -> Result<usize, HeaderError> {
    if bytes == packhorse_proto::preface::MAGIC {
        return Err(HeaderError::Native);
    }
    let length = i32::from_le_bytes(bytes);
    usize::try_from(length)
        .ok()
        .filter(|length| (1..=MAX_HEADER).contains(length))
        .ok_or(HeaderError::Length(length))
}

/// Puts a header together from pieces of any size.
///
/// It never holds more than [`MAX_HEADER`] bytes, and never more than have come.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    /// Known once the first four bytes are there.
    length: Option<usize>,
    held: Vec<u8>,
}

impl HeaderReader {
    /// Takes what belongs to the header from the front of `bytes`; the rest is content. Gives the header
    /// once it is whole.
    ///
    /// # Errors
    /// The bytes are no header; more must not be handed in then.
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &mut &[u8],
    ) -> Result<Option<Header>, HeaderError> {
        let length = match self.length {
            Some(length) => length,
            None => {
                self.hold(LENGTH_BYTES, bytes);
                let Ok(prefix) = <[u8; LENGTH_BYTES]>::try_from(&self.held[..]) else {
                    return Ok(None);
                };
                // What was held stays where it is no length: something has come.
                let length = header_length(prefix)?;
                self.held.clear();
                *self.length.insert(length)
            }
        };
        self.hold(length, bytes);
        if self.held.len() < length {
            return Ok(None);
        }
        Header::parse(&self.held).map(Some)
    }

    /// Whether nothing has come yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.length.is_none() && self.held.is_empty()
    }

    /// Moves bytes over until `whole` are held.
    fn hold(&mut self, whole: usize, bytes: &mut &[u8]) {
        let (taken, rest) = bytes.split_at(bytes.len().min(whole - self.held.len()));
        self.held.extend_from_slice(taken);
        *bytes = rest;
    }
}

#[cfg(test)]
mod tests;
