//! What a transfer tells while it runs: the one stream that the terminal, `--events` and tests read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use packhorse_proto::entry::{Entry, EntryNumber};
use packhorse_proto::extent::Hash;
use packhorse_proto::message::Failure;
use packhorse_proto::path::RelativePath;
use packhorse_proto::window::{Finished, Outcome};
use packhorse_trust::Code;

use crate::classic::ClassicEvent;
use crate::receipt::Receipt;

/// Something that happened in a transfer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The receiver accepts connections at these addresses.
    Listening {
        /// Addresses bound, with the real port where port 0 was asked for.
        addresses: Vec<SocketAddr>,
    },
    /// The code phrase to show to whoever sends. A secret: shown to the person, never logged.
    Code {
        /// The phrase.
        code: Arc<Code>,
        /// Why it is shown now.
        reason: CodeReason,
    },
    /// Somebody at `peer` gave a wrong code.
    WrongCode {
        /// Where the guess came from.
        peer: SocketAddr,
        /// Wrong guesses left before the code is burnt.
        left: u32,
    },
    /// A connection that ended before it was authenticated, or was refused.
    Refused {
        /// Where it came from.
        peer: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The connection broke, and the sender connects again in a moment. The session then goes on where it was, and tells
    /// of what was stored from the beginning.
    Reconnecting {
        /// What broke it, or kept it from being made again.
        message: String,
        /// Before the next try.
        wait: Duration,
        /// For so long there are further ones.
        left: Duration,
    },
    /// The connection broke, and the receiver waits for the sender to come again, with the same code. Where everything is stored
    /// and only the sender's last word is missing, it waits for some seconds, and what it is done with is told after them.
    Waiting {
        /// The sender's address.
        peer: SocketAddr,
        /// What broke it.
        message: String,
        /// How long it waits.
        at_most: Duration,
    },
    /// The receiver cannot note which files are complete: a session that ends before its end sends them again.
    NothingNoted {
        /// What is wrong with the place where it would.
        message: String,
    },
    /// A session ended before its end, and the receiver goes on waiting for the next.
    SessionFailed {
        /// The sender's address.
        peer: SocketAddr,
        /// What ended it.
        message: String,
    },
    /// Both sides have proved that they know the code (or run without one).
    Connected {
        /// The other side's address.
        peer: SocketAddr,
        /// The other side's name for itself: text from a peer, to be escaped.
        name: String,
        /// How the content is protected, e.g. `TLS 1.3, AES-128-GCM`.
        protection: String,
    },
    /// The sender's first message about its tree.
    Offered {
        /// The directory beneath the destination that it wants to send into.
        subdirectory: Option<RelativePath>,
    },
    /// The sender has one lane more, because lanes made it faster so far, or one less, because the last did not.
    Lanes {
        /// Lanes from now on.
        lanes: u16,
        /// Since the session was authenticated.
        elapsed: Duration,
    },
    /// A lane broke, or stood still, or another took its place. What was on its way on it is sent again.
    Lane {
        /// The lane's number.
        lane: u16,
        /// What happened.
        change: LaneChange,
    },
    /// How far the transfer is; sent a few times a second.
    Progress(Progress),
    /// An entry is at its final place, and its content agreed. In the manifest's order.
    Stored {
        /// The number of the entry in the manifest.
        number: EntryNumber,
        /// What was stored.
        entry: Entry,
        /// The BLAKE3 hash of its content, where it is a file.
        hash: Option<Hash>,
    },
    /// An existing file was kept, as asked. In the manifest's order.
    Kept {
        /// Its number.
        number: EntryNumber,
        /// Its path.
        path: RelativePath,
    },
    /// An entry did not arrive. In the manifest's order where it has a number.
    Failed {
        /// Its path beneath the destination, or as the source names it where it never got one: escaped.
        path: String,
        /// What happened, what it means for the file: one line, escaped.
        message: String,
    },
    /// Everything is done; the receipt says what arrived.
    Done(Box<Receipt>),
    /// Something that happened to a file in one of the classic formats.
    Classic(ClassicEvent),
}

/// Why a code is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeReason {
    /// The first one.
    First,
    /// Three wrong guesses burnt the one before.
    Burnt,
    /// The one before was used by a session that is over.
    NextSession,
}

/// What happened to a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneChange {
    /// It is lost.
    Lost {
        /// Why.
        message: String,
    },
    /// It is in the place of one that was lost.
    Replaced,
}

/// How far a transfer is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Bytes of content sent, or written.
    pub bytes: u64,
    /// Bytes known to be in the tree so far.
    pub bytes_known: u64,
    /// Files finished.
    pub files: u64,
    /// Files known to be in the tree so far.
    pub files_known: u64,
    /// Whether the walk is over, so that what is known is all there is.
    pub walked: bool,
    /// A file that is on its way at this moment.
    pub current: Option<RelativePath>,
    /// Since the session was authenticated.
    pub elapsed: Duration,
}

/// Takes the events of one transfer, in order.
pub type Observer = Box<dyn FnMut(&Event) + Send>;

/// How often progress is told.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Tells what became of an entry.
pub(crate) fn tell_finished(finished: Finished, observer: &mut Observer) {
    let Finished {
        number,
        entry,
        hash,
        outcome,
    } = finished;
    observer(&match outcome {
        Outcome::Stored => Event::Stored {
            number,
            entry,
            hash,
        },
        Outcome::Kept => Event::Kept {
            number,
            path: entry.path,
        },
        Outcome::Failed(failure) => return tell_failed(&entry.path, &failure, observer),
    });
}

/// Tells of an entry that did not arrive, or not quite.
pub(crate) fn tell_failed(path: &RelativePath, failure: &Failure, observer: &mut Observer) {
    observer(&Event::Failed {
        path: path.to_string(),
        message: failure.text.to_string(),
    });
}
