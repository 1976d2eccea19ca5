//! Hexadecimal digits.

/// Why a text is not pairs of digits. The first character is at position 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HexError {
    #[error("{found:?} at position {position} is none")]
    NoDigit { found: char, position: usize },
    #[error("the last of them, at position {position}, has no other to go with it")]
    Odd { position: usize },
}

/// The bytes that pairs of digits name, with white space anywhere.
pub(crate) fn read(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (found, position) in text.chars().zip(1..) {
        if found.is_ascii_whitespace() {
            continue;
        }
        let digit = found
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .ok_or(HexError::NoDigit { found, position })?;
        match high.take() {
            None => high = Some((digit, position)),
            Some((high, _)) => bytes.push(high << 4 | digit),
        }
    }
    match high {
        Some((_, position)) => Err(HexError::Odd { position }),
        None => Ok(bytes),
    }
}

/// Two digits for each byte, behind what is in `text` already.
pub(crate) fn write(bytes: &[u8], text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_are_written() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        write(&all, &mut text);
        assert_eq!(read(std::str::from_utf8(&text).unwrap()), Ok(all));
        assert_eq!(read(" 0\t0 fF\n7a "), Ok(vec![0, 255, 0x7a]));
        assert_eq!(read(""), Ok(vec![]));
    }

    #[test]
    fn what_is_none_is_said_with_its_position() {
        let (found, position) = ('g', 4);
        assert_eq!(read("00 g0"), Err(HexError::NoDigit { found, position }));
        let (found, position) = ('x', 2);
        assert_eq!(read("0x00"), Err(HexError::NoDigit { found, position }));
        assert_eq!(read("00 f "), Err(HexError::Odd { position: 4 }));
        let (found, position) = ('é', 1);
        assert_eq!(read("é0"), Err(HexError::NoDigit { found, position }));
    }
}
