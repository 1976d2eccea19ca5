//! Names and texts from peers and disks, made safe for a terminal.

use std::fmt::{self, Write as _};

/// Bytes whose `Display` shows text as text and everything that could steer a terminal, or fool a
/// reader, as an escape: control characters, bidirectional controls, zero-width and other invisible
/// characters, bytes that are not UTF-8, and the backslash itself, so that the escape is unambiguous.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    '\\' => f.write_str("\\\\")?,
                    _ if is_unsafe(character) => write!(f, "\\u{{{:x}}}", u32::from(character))?,
                    _ => f.write_char(character)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character could steer a terminal or fool a reader.
///
/// Invisible or able to reorder, recolour or move: Unicode's Cc, Cf, Zl and Zp, the fillers that
/// print as nothing, and the private and unassigned areas where no glyph can be expected.
#[must_use]
#[inline]
pub fn is_unsafe(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{10ffff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escape(bytes: &[u8]) -> String {
        Escaped(bytes).to_string()
    }

    #[test]
    fn shows_text_and_hides_steering() {
        assert_eq!(escape("naïve 名前 🐎".as_bytes()), "naïve 名前 🐎");
        assert_eq!(escape(b"\x1b[31mred\x07"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(
            escape("a\u{202e}b\u{200b}c".as_bytes()),
            "a\\u{202e}b\\u{200b}c"
        );
        assert_eq!(escape(b"\xff\xc3\n\\"), "\\xff\\xc3\\n\\\\");
    }

    proptest! {
        #[test]
        fn never_lets_a_control_through(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!escape(&bytes).chars().any(is_unsafe));
        }
    }
}
