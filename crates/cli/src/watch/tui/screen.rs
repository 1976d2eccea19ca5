//! The terminal, taken over and given back.

use std::io;

use ratatui::DefaultTerminal;

/// A terminal in its second screen, where keys come as they are pressed. It is given back as it was when this goes,
/// and when something panics.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(ratatui::try_init()?))
    }

    /// Draws, and shows what was drawn.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where that fails the terminal is gone.
        let _ = ratatui::try_restore();
    }
}
