//! The lines of classic transfers.

use std::net::SocketAddr;

use packhorse_transfer::classic::{ClassicEvent, ClassicFile, ClassicTotals};
use packhorse_transfer::receipt_file::{EntryFields, PathFields};
use packhorse_transfer::{Entry, Kind, Metadata};
use serde::Serialize;

use super::{Events, Refused};

#[derive(Serialize)]
struct Hashing<'a> {
    #[serde(flatten)]
    path: PathFields<'a>,
    size: u64,
}

#[derive(Serialize)]
struct Sent<'a> {
    peer: SocketAddr,
    format: &'static str,
    #[serde(flatten)]
    path: PathFields<'a>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    closed: bool,
    confirmed: bool,
}

#[derive(Serialize)]
struct Stored<'a> {
    number: u64,
    #[serde(flatten)]
    entry: EntryFields<'a>,
    peer: SocketAddr,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
}

#[derive(Serialize)]
struct Kept<'a> {
    number: u64,
    #[serde(flatten)]
    path: PathFields<'a>,
    peer: SocketAddr,
}

#[derive(Serialize)]
struct Failed<'a> {
    path: String,
    message: &'a str,
    peer: SocketAddr,
}

#[derive(Serialize)]
struct Done {
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    kept: u64,
    failed: u64,
    elapsed_seconds: f64,
}

impl Events {
    pub(super) fn classic(&mut self, event: &ClassicEvent) {
        match event {
            ClassicEvent::Hashing { path, size } => {
                let (path, size) = (PathFields::of(path), *size);
                self.line("hashing", Hashing { path, size });
            }
            ClassicEvent::Sent { file, closed } => self.line("sent", sent(file, *closed)),
            ClassicEvent::Stored {
                number,
                file,
                metadata,
            } => self.stored_classic(*number, file, *metadata),
            ClassicEvent::Kept { number, peer, path } => {
                let (number, path, peer) = (*number, PathFields::of(path), *peer);
                self.line("kept", Kept { number, path, peer });
            }
            ClassicEvent::Failed {
                peer,
                path: None,
                message: reason,
            } => {
                let peer = *peer;
                self.line("refused", Refused { peer, reason });
            }
            ClassicEvent::Failed {
                peer,
                path: Some(path),
                message,
            } => {
                let (path, peer) = (path.to_string(), *peer);
                self.line(
                    "failed",
                    Failed {
                        path,
                        message,
                        peer,
                    },
                );
            }
            ClassicEvent::Done(totals) => self.line("done", done(totals)),
            // The enum may grow before this program knows what to say of it.
            _ => {}
        }
    }

    fn stored_classic(&mut self, number: u64, file: &ClassicFile, metadata: Metadata) {
        let entry = Entry {
            path: file.path.clone(),
            kind: Kind::File {
                size: Some(file.size),
            },
            metadata,
        };
        let fields = Stored {
            number,
            entry: EntryFields::of(&entry, None),
            peer: file.peer,
            format: file.format.name(),
            md5: file.md5.map(|sum| sum.to_string()),
        };
        self.line("file", fields);
    }
}

fn sent(file: &ClassicFile, closed: bool) -> Sent<'_> {
    Sent {
        peer: file.peer,
        format: file.format.name(),
        path: PathFields::of(&file.path),
        size: file.size,
        md5: file.md5.map(|sum| sum.to_string()),
        closed,
        // Said in every line, for whoever reads only this one.
        confirmed: false,
    }
}

fn done(totals: &ClassicTotals) -> Done {
    Done {
        files: totals.files,
        directories: 0,
        symlinks: 0,
        bytes: totals.bytes,
        kept: totals.kept,
        failed: totals.failed,
        elapsed_seconds: totals.elapsed.as_secs_f64(),
    }
}
