//! The terminal's own settings, to be given back as they were.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

/// How long a reader may take from its prompt until it has the terminal.
const READER_TAKES: Duration = Duration::from_secs(1);

/// The terminal as it was before something else than its own line editing took it over.
#[derive(Clone)]
pub(crate) struct Terminal(Option<(Arc<File>, Termios)>);

impl Terminal {
    /// Its settings now. Where there is no terminal, nothing is there to be restored.
    pub(crate) fn remember() -> Self {
        let terminal = File::open("/dev/tty").ok();
        Self(terminal.and_then(|file| {
            tcgetattr(&file)
                .ok()
                .map(|settings| (Arc::new(file), settings))
        }))
    }

    /// Lets keys through as they are typed, unseen, until [`restore`](Self::restore). A line editor takes
    /// the terminal over for one line at a time: what is typed or pasted between two lines would be cut
    /// into lines and shown by the terminal itself, and of a long paste it keeps 4,095 bytes (termios(3)).
    pub(crate) fn pass_keys(&self) {
        if let Some((file, settings)) = &self.0 {
            let mut settings = settings.clone();
            settings.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO);
            settings.special_codes[SpecialCodeIndex::VMIN] = 1;
            settings.special_codes[SpecialCodeIndex::VTIME] = 0;
            // Where that fails the terminal is gone.
            let _ = tcsetattr(&**file, OptionalActions::Now, &settings);
        }
    }

    /// Lets every byte through as it comes, those of Ctrl-C too, until [`restore`](Self::restore).
    pub(crate) fn pass_bytes(&self) {
        if let Some((file, settings)) = &self.0 {
            let mut settings = settings.clone();
            settings.make_raw();
            // Where that fails the terminal is gone.
            let _ = tcsetattr(&**file, OptionalActions::Now, &settings);
        }
    }

    /// Makes them what they were, where a thread that cannot be stopped is about to take the terminal over: waits until it
    /// has, since whoever comes later has it.
    pub(crate) fn restore_from_reader(&self) {
        if let Some((file, settings)) = &self.0 {
            let until = Instant::now() + READER_TAKES;
            let untouched = |now: &Termios| now.local_modes == settings.local_modes;
            while tcgetattr(&**file).is_ok_and(|now| untouched(&now)) && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.restore();
    }

    /// Makes them what they were.
    pub(crate) fn restore(&self) {
        if let Some((file, settings)) = &self.0 {
            // Where that fails the terminal is gone.
            let _ = tcsetattr(&**file, OptionalActions::Now, settings);
        }
    }
}

/// Columns of standard output: what a terminal has, else `COLUMNS`, else 80.
pub(crate) fn columns() -> usize {
    let size = tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col);
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = size.filter(|columns| *columns > 0).or_else(told);
    columns.map_or(80, |columns| usize::from(columns.min(400)))
}
