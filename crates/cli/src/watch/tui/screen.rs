//! The terminal, taken over and given back.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    taken: Taken,
    colors: bool,
}

/// The terminal as it was. It is given back once: another time would take the cursor to where it was before.
#[derive(Clone)]
struct Taken {
    terminal: Terminal,
    given_back: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open(colors: bool) -> io::Result<Self> {
        let taken = Taken {
            terminal: Terminal::remember(),
            given_back: Arc::default(),
        };
        let before = panic::take_hook();
        let remembered = taken.clone();
        panic::set_hook(Box::new(move |what| {
            remembered.give_back();
            before(what);
        }));
        let backend = TermionBackend::new(BufWriter::new(io::stdout()));
        let screen = Self {
            drawn: Drawn::new(backend)?,
            taken,
            colors,
        };
        screen.taken.terminal.pass_bytes();
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
        self.taken.give_back();
    }
}

impl Taken {
    fn give_back(&self) {
        if self.given_back.swap(true, Ordering::Relaxed) {
            return;
        }
        // Where that fails the terminal is gone.
        let _ = write!(io::stdout(), "{}{ToMainScreen}", cursor::Show);
        let _ = io::stdout().flush();
        self.terminal.restore();
    }
}
