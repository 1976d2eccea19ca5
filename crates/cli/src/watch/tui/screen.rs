//! The terminal, taken over and given back.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::panic;

use ratatui::Terminal as Drawn;
use ratatui::backend::TermionBackend;
use ratatui::style::Color;
use ratatui::termion::cursor;
use ratatui::termion::screen::{ToAlternateScreen, ToMainScreen};

use crate::terminal::Terminal;

/// A terminal in its second screen, where keys come as they are pressed. It is given back as it was when this goes,
/// and when something panics.
pub(super) struct Screen {
    drawn: Drawn<TermionBackend<BufWriter<Stdout>>>,
    terminal: Terminal,
    colors: bool,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open(colors: bool) -> io::Result<Self> {
        let terminal = Terminal::remember();
        let before = panic::take_hook();
        let remembered = terminal.clone();
        panic::set_hook(Box::new(move |what| {
            give_back(&remembered);
            before(what);
        }));
        let backend = TermionBackend::new(BufWriter::new(io::stdout()));
        let screen = Self {
            drawn: Drawn::new(backend)?,
            terminal,
            colors,
        };
        screen.terminal.pass_bytes();
        write!(io::stdout(), "{ToAlternateScreen}{}", cursor::Hide)?;
        io::stdout().flush()?;
        Ok(screen)
    }

    /// Whether the terminal has another size than what was drawn.
    pub(super) fn is_resized(&mut self) -> io::Result<bool> {
        let now = self.drawn.size()?;
        Ok(self.drawn.get_frame().area().as_size() != now)
    }

    /// Draws, and shows what was drawn.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        let colors = self.colors;
        self.drawn.draw(|frame| {
            draw(frame);
            if !colors {
                for cell in &mut frame.buffer_mut().content {
                    cell.set_fg(Color::Reset);
                }
            }
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(&self.terminal);
    }
}

fn give_back(terminal: &Terminal) {
    // Where that fails the terminal is gone.
    let _ = write!(io::stdout(), "{}{ToMainScreen}", cursor::Show);
    let _ = io::stdout().flush();
    terminal.restore();
}
