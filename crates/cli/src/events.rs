//! `--events`: what happens, one JSON object a line. docs/events.md describes every line.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use packhorse_transfer::receipt_file::{EntryFields, PathFields, Totals};
use packhorse_transfer::{CodeReason, Event, Kind, LaneChange, Progress, local_addresses};
use serde::Serialize;

use crate::json;
use crate::report::Failure;

/// The version of every line.
const VERSION: u32 = 1;

/// Writes lines, each at once.
pub(crate) struct Events {
    to: Box<dyn Write + Send>,
    failure: Option<io::Error>,
}

#[derive(Serialize)]
struct Line<T> {
    v: u32,
    event: &'static str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct Listening {
    addr: String,
    addrs: Vec<String>,
    reachable: Vec<String>,
}

#[derive(Serialize)]
struct CodeShown {
    reason: &'static str,
}

#[derive(Serialize)]
struct WrongCode {
    peer: SocketAddr,
    left: u32,
}

#[derive(Serialize)]
struct Refused<'a> {
    peer: SocketAddr,
    reason: &'a str,
}

#[derive(Serialize)]
struct Reconnecting<'a> {
    message: &'a str,
    wait_seconds: f64,
    left_seconds: f64,
}

#[derive(Serialize)]
struct Waiting<'a> {
    peer: SocketAddr,
    message: &'a str,
    at_most_seconds: f64,
}

#[derive(Serialize)]
struct NothingNoted<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct SessionFailed<'a> {
    peer: SocketAddr,
    message: &'a str,
}

#[derive(Serialize)]
struct Connected<'a> {
    peer: SocketAddr,
    name: &'a str,
    protection: &'a str,
}

#[derive(Serialize)]
struct Lanes {
    lanes: u16,
    elapsed_seconds: f64,
}

#[derive(Serialize)]
struct Lane<'a> {
    lane: u16,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Offered<'a> {
    subdirectory: Option<PathFields<'a>>,
}

#[derive(Serialize)]
struct ProgressFields<'a> {
    bytes: u64,
    bytes_known: u64,
    files: u64,
    files_known: u64,
    walked: bool,
    current: Option<PathFields<'a>>,
    elapsed_seconds: f64,
}

#[derive(Serialize)]
struct Stored<'a> {
    number: u64,
    #[serde(flatten)]
    entry: EntryFields<'a>,
}

#[derive(Serialize)]
struct Kept<'a> {
    number: u64,
    #[serde(flatten)]
    path: PathFields<'a>,
}

#[derive(Serialize)]
struct Failed<'a> {
    path: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    class: &'static str,
    exit_code: u8,
    message: &'a str,
    consequence: Option<&'a str>,
    hint: Option<&'a str>,
}

impl Events {
    /// Opens `path`, where `-` is standard output.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::to(Box::new(io::stdout())));
        }
        let failed = |error| Failure::file("write events to", path, &error);
        Ok(Self::to(Box::new(File::create(path).map_err(failed)?)))
    }

    fn to(to: Box<dyn Write + Send>) -> Self {
        Self { to, failure: None }
    }

    fn lane(&mut self, lane: u16, change: &LaneChange) {
        let (change, message) = match change {
            LaneChange::Lost { message } => ("lost", Some(&**message)),
            LaneChange::Replaced => ("replaced", None),
        };
        let fields = Lane {
            lane,
            change,
            message,
        };
        self.line("lane", fields);
    }

    /// Writes the line of `event`.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Listening { addresses } => self.line("listening", listening(addresses)),
            // The phrase itself is for a person's eyes: lines like these end up in logs.
            Event::Code { reason, .. } => {
                let reason = reason_name(*reason);
                self.line("code", CodeShown { reason });
            }
            &Event::WrongCode { peer, left } => self.line("wrong_code", WrongCode { peer, left }),
            Event::Refused { peer, reason } => {
                let peer = *peer;
                self.line("refused", Refused { peer, reason });
            }
            Event::Reconnecting {
                message,
                wait,
                left,
            } => self.line(
                "reconnecting",
                Reconnecting {
                    message,
                    wait_seconds: wait.as_secs_f64(),
                    left_seconds: left.as_secs_f64(),
                },
            ),
            Event::Waiting {
                peer,
                message,
                at_most,
            } => self.line(
                "waiting",
                Waiting {
                    peer: *peer,
                    message,
                    at_most_seconds: at_most.as_secs_f64(),
                },
            ),
            Event::NothingNoted { message } => self.line("nothing_noted", NothingNoted { message }),
            Event::SessionFailed { peer, message } => {
                let peer = *peer;
                self.line("session_failed", SessionFailed { peer, message });
            }
            Event::Connected {
                peer,
                name,
                protection,
            } => self.line(
                "connected",
                Connected {
                    peer: *peer,
                    name,
                    protection,
                },
            ),
            Event::Offered { subdirectory } => {
                let subdirectory = subdirectory.as_ref().map(PathFields::of);
                self.line("offered", Offered { subdirectory });
            }
            Event::Lanes { lanes, elapsed } => self.line(
                "lanes",
                Lanes {
                    lanes: *lanes,
                    elapsed_seconds: elapsed.as_secs_f64(),
                },
            ),
            Event::Lane { lane, change } => self.lane(*lane, change),
            Event::Progress(progress) => self.line("progress", progress_fields(progress)),
            Event::Stored {
                number,
                entry,
                hash,
            } => {
                let name = match entry.kind {
                    Kind::File { .. } => "file",
                    Kind::Directory => "directory",
                    Kind::Symlink { .. } => "symlink",
                };
                let entry = EntryFields::of(entry, hash.as_ref());
                let number = *number;
                self.line(name, Stored { number, entry });
            }
            Event::Kept { number, path } => {
                let (number, path) = (*number, PathFields::of(path));
                self.line("kept", Kept { number, path });
            }
            Event::Failed { path, message } => self.line("failed", Failed { path, message }),
            Event::Done(receipt) => self.line("done", Totals::of(receipt)),
            Event::Classic(event) => self.classic(event),
            // The enum may grow before this program knows what to say of it.
            _ => {}
        }
    }

    /// Writes the line of what ended the program.
    pub(crate) fn error(&mut self, failure: &Failure) {
        let fields = ErrorFields {
            class: failure.exit.name(),
            exit_code: failure.exit.code(),
            message: &failure.what,
            consequence: failure.consequence.as_deref(),
            hint: failure.hint.as_deref(),
        };
        self.line("error", fields);
    }

    /// The first error in writing, after which nothing was written any more. A reader that is gone is
    /// none.
    pub(crate) fn failure(&self) -> Option<&io::Error> {
        let failure = self.failure.as_ref()?;
        (failure.kind() != io::ErrorKind::BrokenPipe).then_some(failure)
    }

    fn line(&mut self, event: &'static str, fields: impl Serialize) {
        if self.failure.is_some() {
            return;
        }
        let line = Line {
            v: VERSION,
            event,
            fields,
        };
        if let Err(error) = self.write(&line) {
            self.failure = Some(error);
        }
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        // In one call, so that a reader of a pipe or file never sees half a line.
        let mut text = json::line(line)?;
        text.push('\n');
        self.to.write_all(text.as_bytes())?;
        self.to.flush()
    }
}

fn listening(addresses: &[SocketAddr]) -> Listening {
    let texts = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect();
    let addrs: Vec<String> = texts(addresses);
    let reachable = addresses.iter().copied().flat_map(local_addresses);
    Listening {
        addr: addrs.first().cloned().unwrap_or_default(),
        addrs,
        reachable: reachable.map(|address| address.to_string()).collect(),
    }
}

fn reason_name(reason: CodeReason) -> &'static str {
    match reason {
        CodeReason::First => "first",
        CodeReason::Burnt => "burnt",
        CodeReason::NextSession => "next_session",
    }
}

fn progress_fields(progress: &Progress) -> ProgressFields<'_> {
    ProgressFields {
        bytes: progress.bytes,
        bytes_known: progress.bytes_known,
        files: progress.files,
        files_known: progress.files_known,
        walked: progress.walked,
        current: progress.current.as_ref().map(PathFields::of),
        elapsed_seconds: progress.elapsed.as_secs_f64(),
    }
}

mod classic;
#[cfg(test)]
mod tests;
