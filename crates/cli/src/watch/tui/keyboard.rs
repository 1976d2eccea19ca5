//! Keys, out of the bytes that a terminal sends.
//!
//! The libraries that do it were looked at: crossterm 0.29 reads for ever from a terminal that is gone and forgets keys
//! that come together with a resize, termion 4.0 panics over sequences that are cut.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    BackTab,
    Enter,
    Backspace,
    Esc,
    /// A letter with Ctrl.
    Ctrl(char),
    /// A character.
    Char(char),
}

/// What came from the terminal.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    /// The beginning of a character whose rest did not come yet.
    rest: Vec<u8>,
}

impl Keyboard {
    /// The keys in what was read.
    pub(super) fn keys(&mut self, read: &[u8]) -> Vec<Key> {
        self.rest.extend_from_slice(read);
        let bytes = std::mem::take(&mut self.rest);
        let mut left = bytes.as_slice();
        let mut keys = Vec::new();
        while let Some((first, behind)) = left.split_first() {
            left = match first {
                b'\x1b' => escape(behind, &mut keys),
                b'\r' | b'\n' => key(Key::Enter, behind, &mut keys),
                b'\t' => key(Key::Tab, behind, &mut keys),
                0x7f | 0x08 => key(Key::Backspace, behind, &mut keys),
                1..=26 => key(Key::Ctrl(char::from(b'a' - 1 + first)), behind, &mut keys),
                0..0x20 => behind,
                _ => match character(left) {
                    Character::Whole(character, len) => {
                        keys.push(Key::Char(character));
                        left.get(len..).unwrap_or_default()
                    }
                    Character::Cut => {
                        self.rest = left.to_vec();
                        &[]
                    }
                    Character::None => behind,
                },
            };
        }
        keys
    }
}

fn key<'a>(key: Key, behind: &'a [u8], keys: &mut Vec<Key>) -> &'a [u8] {
    keys.push(key);
    behind
}

/// What follows an escape: the key itself, or a sequence (ECMA-48 §5.4, and ctlseqs of xterm).
fn escape<'a>(bytes: &'a [u8], keys: &mut Vec<Key>) -> &'a [u8] {
    let Some((b'[' | b'O', sequence)) = bytes.split_first() else {
        return key(Key::Esc, bytes, keys);
    };
    let Some(end) = sequence.iter().position(|byte| matches!(byte, 0x40..=0x7e)) else {
        return &[];
    };
    let parameters = sequence.get(..end).unwrap_or_default();
    let first = parameters.split(|byte| *byte == b';').next();
    let found = match (sequence.get(end), first) {
        (Some(b'A'), _) => Some(Key::Up),
        (Some(b'B'), _) => Some(Key::Down),
        (Some(b'C'), _) => Some(Key::Right),
        (Some(b'D'), _) => Some(Key::Left),
        (Some(b'H'), _) | (Some(b'~'), Some(b"1" | b"7")) => Some(Key::Home),
        (Some(b'F'), _) | (Some(b'~'), Some(b"4" | b"8")) => Some(Key::End),
        (Some(b'~'), Some(b"5")) => Some(Key::PageUp),
        (Some(b'~'), Some(b"6")) => Some(Key::PageDown),
        (Some(b'Z'), _) => Some(Key::BackTab),
        _ => None,
    };
    keys.extend(found);
    sequence.get(end + 1..).unwrap_or_default()
}

/// What bytes begin with.
enum Character {
    Whole(char, usize),
    Cut,
    None,
}

fn character(bytes: &[u8]) -> Character {
    let head = bytes.get(..4).unwrap_or(bytes);
    let (valid, cut) = match std::str::from_utf8(head) {
        Ok(text) => (text, false),
        Err(error) => {
            let valid = head.get(..error.valid_up_to()).unwrap_or_default();
            let cut = error.error_len().is_none();
            (std::str::from_utf8(valid).unwrap_or_default(), cut)
        }
    };
    match valid.chars().next() {
        Some(character) => Character::Whole(character, character.len_utf8()),
        None if cut => Character::Cut,
        None => Character::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_bytes() {
        let keys = |bytes: &[u8]| Keyboard::default().keys(bytes);
        assert_eq!(
            keys(b"q\r\t\x7f\x03"),
            [
                Key::Char('q'),
                Key::Enter,
                Key::Tab,
                Key::Backspace,
                Key::Ctrl('c')
            ]
        );
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[1~\x1b[F\x1b[Z\x1b[1;5D"),
            [
                Key::Up,
                Key::Down,
                Key::PageUp,
                Key::PageDown,
                Key::Home,
                Key::End,
                Key::BackTab,
                Key::Left,
            ]
        );
        assert_eq!(keys(b"\x1b"), [Key::Esc]);
        assert_eq!(keys(b"\x1b1"), [Key::Esc, Key::Char('1')]);
        // What is not known does nothing, and neither does what is cut.
        assert_eq!(keys(b"\x1b[200~\x1b[<0;1;1Mx\x1b[12"), [Key::Char('x')]);
    }

    #[test]
    fn characters_may_come_in_pieces() {
        let mut keyboard = Keyboard::default();
        assert_eq!(keyboard.keys(&[b'a', 0xe2, 0x82]), [Key::Char('a')]);
        assert_eq!(
            keyboard.keys(&[0xac, b'b']),
            [Key::Char('€'), Key::Char('b')]
        );
        assert_eq!(keyboard.keys(&[0xff, 0xc0, b'c', 0x80]), [Key::Char('c')]);
    }

    #[test]
    fn any_bytes_are_read() {
        for seed in 0..2000_u32 {
            let mut keyboard = Keyboard::default();
            let mut state = seed.wrapping_mul(2_654_435_761) | 1;
            for _ in 0..50 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let byte = [
                    b'\x1b',
                    b'[',
                    b'O',
                    b';',
                    b'5',
                    b'~',
                    0xe2,
                    (state >> 24) as u8,
                ];
                keyboard.keys(&byte[(state >> 8) as usize % 8..]);
                assert!(keyboard.rest.len() < 4, "seed {seed}");
            }
        }
    }
}
