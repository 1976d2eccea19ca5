//! The terminal's own settings, to be given back as they were.

use std::fs::File;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal as it was before something else than its own line editing took it over.
pub(crate) struct Terminal(Option<(File, Termios)>);

impl Terminal {
    /// Its settings now. Where there is no terminal, nothing is there to be restored.
    pub(crate) fn remember() -> Self {
        let terminal = File::open("/dev/tty").ok();
        Self(terminal.and_then(|file| tcgetattr(&file).ok().map(|settings| (file, settings))))
    }

    /// Makes them what they were.
    pub(crate) fn restore(&self) {
        if let Some((file, settings)) = &self.0 {
            // Where that fails the terminal is gone.
            let _ = tcsetattr(file, OptionalActions::Now, settings);
        }
    }
}
