//! Text that arrives in pieces.

/// Holds back a character of UTF-8 that was cut by the end of a piece, until the rest of it comes.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    held: Vec<u8>,
}

impl Carry {
    /// What can be shown now that `piece` has come: all but a character that is not whole. Bytes that
    /// are no beginning of a character are not held back.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        let whole = bytes.len() - cut_character(&bytes);
        self.held = bytes.split_off(whole);
        bytes
    }

    /// Bytes that are held back now.
    pub(crate) fn held(&self) -> u64 {
        self.held.len() as u64
    }

    /// What is left at the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end that begin a character and do not end it: 0 to 3.
fn cut_character(bytes: &[u8]) -> usize {
    // A character has at most four bytes: what is cut off begins in the last three.
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    for start in 0..tail.len() {
        let from = &tail[start..];
        match std::str::from_utf8(from) {
            // No error length: the bytes are good, and too few (`Utf8Error::error_len`).
            Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => {
                return from.len();
            }
            _ => {}
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole_wherever_they_are_cut() {
        let text = "我接受到了 é 🐎 a".as_bytes();
        for cut in 0..=text.len() {
            let mut carry = Carry::default();
            let first = carry.take(&text[..cut]);
            let second = carry.take(&text[cut..]);
            assert!(std::str::from_utf8(&first).is_ok(), "{cut}");
            assert_eq!([first, second].concat(), text, "{cut}");
            assert_eq!(carry.rest(), b"");
        }
    }

    #[test]
    fn what_is_no_text_is_not_held_back() {
        let mut carry = Carry::default();
        assert_eq!(carry.take(b"a\xff\xfe"), b"a\xff\xfe");
        assert_eq!(carry.take(b"\x80\x80"), b"\x80\x80");
        assert_eq!(carry.take(b"\xf0\x9f"), b"");
        assert_eq!(carry.take(b"x"), b"\xf0\x9fx");
        assert_eq!(carry.take(b"\xe6\x88"), b"");
        assert_eq!(carry.rest(), b"\xe6\x88");
    }
}
