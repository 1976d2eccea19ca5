//! Percent-encoding of bytes in the path of a `ph://` address (RFC 3986 §2.1).

use std::fmt::{self, Write as _};

/// Decodes every `%XX`; `None` where a `%` is not followed by two hexadecimal digits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            bytes.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Bytes whose `Display` is their encoding: RFC 3986's unreserved characters and `/` as they are.
pub(crate) struct Encoded<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => f.write_char(char::from(byte))?,
                b'-' | b'.' | b'_' | b'~' | b'/' => f.write_char(char::from(byte))?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&Encoded(&all).to_string()), Some(all));
        assert_eq!(decode("a%2fb%C3%A9"), Some("a/bé".into()));
    }

    #[test]
    fn refuses_broken_escapes() {
        for text in ["%", "%4", "a%zz", "%4\u{e9}", "%%41"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
