//! All output: data on standard output, talk on standard error.
//!
//! Nothing else in this program prints. What goes in is plain text of ours; names and texts from disks
//! and peers are escaped before, by their own `Display` or by [`Escaped`](packhorse_transfer::Escaped).

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anstream::AutoStream;
use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use indicatif::ProgressBar;
use rustyline::ExternalPrinter;

use crate::args::Talk;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const STRONG: Style = Style::new().bold();

/// Bytes of data that are gathered before they are written.
const GATHERED: usize = 64 << 10;

/// The one place where output goes; clones share it.
#[derive(Clone)]
pub(crate) struct Ui(Arc<Shared>);

struct Shared {
    volume: Volume,
    terminal: bool,
    streams: Mutex<Streams>,
}

struct Streams {
    out: AutoStream<io::Stdout>,
    /// Lines of data that wait to be written together; `None`: each is written at once.
    gathered: Option<Vec<u8>>,
    /// Why what was gathered could not be written, where nobody was told yet.
    failed: Option<io::Error>,
    err: AutoStream<io::Stderr>,
    bottom: Bottom,
}

/// What is drawn at the bottom of the terminal, and must step aside for a line of text.
enum Bottom {
    Nothing,
    Bar(ProgressBar),
    /// A line that somebody is typing.
    Editor(Box<dyn ExternalPrinter + Send>),
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// Only what is wrong.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// Every file.
    Verbose,
    /// Everything.
    Everything,
}

impl Ui {
    pub(crate) fn new(talk: &Talk) -> Self {
        let choice = match talk.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        let volume = match (talk.quiet, talk.verbose) {
            (true, _) => Volume::Quiet,
            (false, 0) => Volume::Normal,
            (false, 1) => Volume::Verbose,
            (false, _) => Volume::Everything,
        };
        Self(Arc::new(Shared {
            volume,
            terminal: io::stderr().is_terminal(),
            streams: Mutex::new(Streams {
                out: AutoStream::new(io::stdout(), choice),
                gathered: None,
                failed: None,
                err: AutoStream::new(io::stderr(), choice),
                bottom: Bottom::Nothing,
            }),
        }))
    }

    pub(crate) fn volume(&self) -> Volume {
        self.0.volume
    }

    /// Whether talk goes to a person's terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.0.terminal
    }

    /// Whether data may have colours.
    pub(crate) fn has_colors(&self) -> bool {
        self.streams().out.current_choice() != anstream::ColorChoice::Never
    }

    /// A line of talk, unless quiet.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        self.at(Volume::Normal, line);
    }

    /// A line of talk for those who asked for `volume`.
    pub(crate) fn at(&self, volume: Volume, line: impl fmt::Display) {
        if self.0.volume >= volume {
            self.line(&line);
        }
    }

    /// A line that nobody may miss, quiet or not: a code, say.
    pub(crate) fn always(&self, line: impl fmt::Display) {
        self.line(&line);
    }

    /// A line with a word in bold before it, unless quiet.
    pub(crate) fn titled(&self, title: &str, line: impl fmt::Display) {
        self.say(format_args!("{STRONG}{title}{STRONG:#}{line}"));
    }

    /// Something that is wrong, while the rest goes on.
    pub(crate) fn warn(&self, line: impl fmt::Display) {
        self.line(&format_args!("{WARNING}warning:{WARNING:#} {line}"));
    }

    /// What ended the program. For `report` alone.
    pub(crate) fn error(&self, line: impl fmt::Display) {
        self.line(&format_args!("{ERROR}error:{ERROR:#} {line}"));
    }

    /// What to do next. For `report` alone.
    pub(crate) fn hint(&self, line: impl fmt::Display) {
        self.line(&format_args!("  {HINT}try:{HINT:#} {line}"));
    }

    /// A line of data on standard output.
    ///
    /// # Errors
    /// Nobody reads it any more, or it cannot be stored: the caller should stop.
    pub(crate) fn data(&self, line: impl fmt::Display) -> io::Result<()> {
        let mut streams = self.streams();
        if let Bottom::Editor(printer) = &mut streams.bottom {
            return printer.print(format!("{line}\n")).map_err(io::Error::other);
        }
        let Some(gathered) = &streams.gathered else {
            return writeln!(streams.out, "{line}");
        };
        let full = gathered.len() >= GATHERED;
        streams.gather(&line.to_string());
        if full { streams.flush() } else { Ok(()) }
    }

    /// From now on lines of data are written many at a time. For data that comes without a pause.
    pub(crate) fn gather_data(&self) {
        self.streams().gathered.get_or_insert_default();
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub(crate) fn flush_data(&self) -> io::Result<()> {
        self.streams().flush()
    }

    /// A line of data that names what comes behind it.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub(crate) fn heading(&self, line: impl fmt::Display) -> io::Result<()> {
        self.data(format_args!("{STRONG}{line}{STRONG:#}"))
    }

    /// Data on standard output that is complete as it is.
    ///
    /// # Errors
    /// As for [`data`](Self::data).
    pub(crate) fn raw_data(&self, bytes: &[u8]) -> io::Result<()> {
        let mut streams = self.streams();
        streams.flush()?;
        streams.out.as_inner().lock().write_all(bytes)?;
        streams.out.flush()
    }

    /// Keeps lines of text above `bar` from now on.
    pub(crate) fn attach(&self, bar: Option<ProgressBar>) {
        self.streams().bottom = bar.map_or(Bottom::Nothing, Bottom::Bar);
    }

    /// Keeps lines of text above the line that somebody types from now on.
    pub(crate) fn attach_editor(&self, printer: Box<dyn ExternalPrinter + Send>) {
        self.streams().bottom = Bottom::Editor(printer);
    }

    /// Nothing is typed any more: what comes next begins where the line was.
    pub(crate) fn detach_editor(&self) {
        let mut streams = self.streams();
        if let Bottom::Editor(printer) = &mut streams.bottom {
            // What was printed last may still be on its way to the editor's thread, which takes one message
            // at a time: when it has taken the first of these, it has shown all before. They show nothing
            // (one line up, one down).
            for _ in 0..2 {
                let _ = printer.print("\x1b[1A\n".to_owned());
            }
            streams.bottom = Bottom::Nothing;
            // Carriage return, erase to the end of the line (ECMA-48 §8.3.41), and no more marks around what is
            // pasted, which the editor may have asked for.
            let _ = write!(streams.out, "\r\x1b[K\x1b[?2004l");
            let _ = streams.out.flush();
        }
    }

    fn line(&self, line: &dyn fmt::Display) {
        let mut streams = self.streams();
        // Somebody who reads both has them in their order.
        streams.failed = streams.flush().err();
        let Streams { err, bottom, .. } = &mut *streams;
        // Nobody to talk to is no reason to stop.
        match bottom {
            Bottom::Nothing => drop(writeln!(err, "{line}")),
            Bottom::Bar(bar) => drop(bar.suspend(|| writeln!(err, "{line}"))),
            Bottom::Editor(printer) => drop(printer.print(format!("{line}\n"))),
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn gather(&mut self, line: &str) {
        let Some(gathered) = &mut self.gathered else {
            return;
        };
        let plain = self.out.current_choice() == anstream::ColorChoice::Never;
        // Most lines have no styles to take off.
        if plain && line.contains('\x1b') {
            gathered.extend(strip_str(line).flat_map(str::bytes));
        } else {
            gathered.extend(line.as_bytes());
        }
        gathered.push(b'\n');
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(gathered) = &mut self.gathered else {
            return Ok(());
        };
        let written = self.out.as_inner().lock().write_all(gathered);
        // What could not be written is not tried again.
        gathered.clear();
        written
    }
}
