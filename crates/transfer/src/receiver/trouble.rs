//! What goes wrong while something is stored, sorted by how far it reaches.

use std::io;

use packhorse_proto::control::Violation;
use packhorse_proto::entry::EntryNumber;
use packhorse_proto::message::{Failure, FailureClass};
use packhorse_proto::path::RelativePath;
use packhorse_tree::{Directory, PlaceError};
use rustix::fs::fstatvfs;

use super::report::Report;
use crate::units;

/// Something that went wrong.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// One entry cannot be stored; others can.
    Entry(Failure),
    /// The storage is full: nothing can be stored any more.
    Full(String),
    /// The peer broke a rule.
    Violation(Violation),
}

impl Trouble {
    /// What the control task is told of it.
    pub(crate) fn into_report(self, number: EntryNumber) -> Report {
        match self {
            Self::Entry(failure) => Report::Failed(number, failure),
            Self::Full(text) => Report::Full(text),
            Self::Violation(violation) => Report::Violation(violation),
        }
    }
}

/// What an error of the storage means for the entry at `path`.
pub(crate) fn of_io(path: &RelativePath, error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Trouble::Full(format!("'{path}': {error}"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let text = format!("the receiver may not store it: {error}");
            Trouble::Entry(Failure::new(FailureClass::Denied, &text))
        }
        _ => {
            let text = format!("the receiver cannot store it: {error}");
            Trouble::Entry(Failure::new(FailureClass::Storage, &text))
        }
    }
}

/// How a storage is full that has no room.
pub(crate) fn full(destination: &Directory) -> &'static str {
    match fstatvfs(destination) {
        Ok(found) if found.f_files > 0 && found.f_favail == 0 && found.f_bavail > 0 => {
            "has no inodes left: it takes no more files until others are removed, whatever room there is"
        }
        _ => "is full",
    }
}

/// A file is larger than what is free: smaller ones may fit.
pub(crate) fn no_room(size: u64, free: u64) -> Trouble {
    let (mut takes, mut has) = (units::bytes(size), units::bytes(free));
    if takes == has {
        // Rounded, it would fit.
        (takes, has) = (format!("{size} bytes"), format!("{free}"));
    }
    let text = format!(
        "it does not fit: it takes {takes}, and {has} are free at the destination; make room there, and run the same \
         command again"
    );
    Trouble::Entry(Failure::new(FailureClass::NoRoom, &text))
}

/// What a refusal of the tree means for the entry at `path`.
pub(crate) fn of_place(path: &RelativePath, error: &PlaceError) -> Trouble {
    match error {
        PlaceError::Obstructed { by, .. } => {
            let text = format!("{by} is in the way at the destination");
            Trouble::Entry(Failure::new(FailureClass::InTheWay, &text))
        }
        PlaceError::Io { error, .. } => of_io(path, error),
    }
}
