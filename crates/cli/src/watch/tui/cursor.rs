//! Which of many rows is selected, and which are seen.

use std::ops::Range;

use super::keyboard::Key;

/// A place in a list that is longer than its pane.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The selected row.
    pub(super) selected: usize,
    top: usize,
    height: usize,
    /// Columns of long rows that are hidden on the left.
    shift: usize,
}

/// Columns that a key hides or shows, and how many may be hidden.
const SHIFT: usize = 8;
const FARTHEST: usize = 400;

impl Cursor {
    /// The rows that are seen of `len`, in a pane of `height`: the selected one is among them.
    pub(super) fn window(&mut self, len: usize, height: usize) -> Range<usize> {
        self.height = height;
        self.selected = self.selected.min(len.saturating_sub(1));
        self.top = self.top.min(self.selected);
        if self.selected >= self.top.saturating_add(height) {
            self.top = (self.selected + 1).saturating_sub(height);
        }
        self.top = self.top.min(len.saturating_sub(height));
        self.top..len.min(self.top + height)
    }

    /// What is seen of a long row.
    pub(super) fn shifted<'a>(&self, row: &'a str) -> &'a str {
        let begin = row.char_indices().nth(self.shift);
        begin.map_or("", |(at, _)| row.get(at..).unwrap_or_default())
    }

    /// Moves by a key, down or to the side. `false`: it is not one that moves.
    pub(super) fn key(&mut self, key: Key, len: usize) -> bool {
        match key {
            Key::Left | Key::Char('h') => {
                self.shift = self.shift.saturating_sub(SHIFT);
                return true;
            }
            Key::Right | Key::Char('l') => {
                self.shift = (self.shift + SHIFT).min(FARTHEST);
                return true;
            }
            _ => {}
        }
        let last = len.saturating_sub(1);
        let page = self.height.saturating_sub(1).max(1);
        self.selected = match key {
            Key::Up | Key::Char('k') => self.selected.saturating_sub(1),
            Key::Down | Key::Char('j') => self.selected + 1,
            Key::PageUp => self.selected.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => self.selected + page,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            _ => return false,
        }
        .min(last);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_always_seen() {
        let mut cursor = Cursor::default();
        for (selected, len, height, seen) in [
            (0, 0, 5, 0..0),
            (0, 3, 5, 0..3),
            (9, 10, 4, 6..10),
            (2, 10, 4, 2..6),
            (99, 5, 4, 1..5),
            (4, 5, 0, 5..5),
        ] {
            cursor.selected = selected;
            assert_eq!(cursor.window(len, height), seen, "{selected} of {len}");
        }
    }

    #[test]
    fn keys_stop_at_both_ends() {
        let mut cursor = Cursor::default();
        cursor.window(3, 2);
        assert!(cursor.key(Key::Up, 3));
        assert_eq!(cursor.selected, 0);
        assert!(cursor.key(Key::PageDown, 3) && cursor.key(Key::Down, 3));
        assert_eq!(cursor.selected, 2);
        assert!(cursor.key(Key::Down, 3));
        assert_eq!(cursor.selected, 2);
        assert!(!cursor.key(Key::Enter, 3));
        assert!(cursor.key(Key::End, 0));
        assert_eq!(cursor.selected, 0);
    }
}
