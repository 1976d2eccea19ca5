//! What threads of a receiver tell its control task.

use packhorse_proto::control::Violation;
use packhorse_proto::entry::EntryNumber;
use packhorse_proto::message::Failure;
use packhorse_proto::path::RelativePath;
use packhorse_proto::window::Content;

/// What threads of a receiver tell its control task.
///
/// The channel is not bounded, but what is in it is: by the protocol's window.
#[derive(Debug)]
pub(crate) enum Report {
    /// An entry is at its place; with its content where it is a file.
    Stored(EntryNumber, Option<Content>),
    /// A directory is there; its metadata is set when all that comes into it is done.
    DirectoryMade(EntryNumber),
    /// A directory is finished.
    DirectoryDone,
    /// A directory is finished, but for its metadata.
    DirectoryFlawed(RelativePath, Failure),
    /// The file that was there was kept.
    Kept(EntryNumber),
    /// An entry could not be stored.
    Failed(EntryNumber, Failure),
    /// Nothing more can be stored.
    Full(String),
    /// The peer broke a rule on a lane.
    Violation(Violation),
    /// A lane ended, in order or not.
    LaneEnded(std::io::Result<()>),
}
