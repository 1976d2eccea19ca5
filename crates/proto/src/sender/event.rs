//! What a sender tells its caller.

use crate::entry::EntryNumber;
use crate::extent::{ContentTree, Hash};
use crate::message::{AbortCode, Assurance, Counters, Failure, SessionId, Text, Times, Totals};
use crate::path::RelativePath;
use crate::window::Finished;

#[cfg(doc)]
use super::Sender;

/// Something that a sender's caller has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderEvent {
    /// The peer answered. In a session with a code, answer with [`Sender::confirm`].
    Welcomed {
        /// The cipher suite it chose: one that was offered; 0 in an insecure session.
        suite: u8,
        /// Its PAKE share.
        share: Option<[u8; 32]>,
        /// Its name for itself.
        name: Text,
    },
    /// The peer's tag came. Where it is right, answer with [`Sender::authenticated`].
    Confirmed {
        /// The tag.
        tag: [u8; 64],
    },
    /// Entries may be offered, and lanes opened.
    Accepted {
        /// The session's name.
        session: SessionId,
        /// Lanes that may be opened, at least one.
        lanes: u16,
        /// Whether the receiver has something of an earlier session: content of a file whose size is known may be sent
        /// when it has said what it has of it ([`Held`](Self::Held), [`Partial`](Self::Partial),
        /// [`Missing`](Self::Missing)).
        resumes: bool,
    },
    /// The receiver has this file whole: it is not sent, and gets its outcome like others.
    Held {
        /// Its number.
        number: EntryNumber,
        /// Bytes in it.
        size: u64,
    },
    /// The receiver has these extents of the file: the others are to be sent.
    Partial {
        /// Its number.
        number: EntryNumber,
        /// What it has.
        tree: ContentTree,
    },
    /// The receiver has nothing of these entries, so many from the first on.
    Missing {
        /// Number of the first.
        first: EntryNumber,
        /// How many.
        count: u64,
    },
    /// The receiver has closed this lane without its end, and takes no more of it. It took so many values and ends:
    /// what follows them on that lane it has not. Answer with [`Sender::lane_carried`].
    LaneClosed {
        /// The lane.
        lane: u16,
        /// Values and ends that it took, in the order in which they were sent.
        taken: u64,
    },
    /// An entry has an outcome before its content was sent: there is no use in sending it.
    Unwanted(EntryNumber),
    /// An entry is done with. In the manifest's order.
    Finished(Finished),
    /// A directory arrived, but its metadata could not be set there. It counts as failed, too.
    Flawed {
        /// The directory.
        path: RelativePath,
        /// Why.
        failure: Failure,
    },
    /// How far the receiver is.
    PeerProgress(Counters),
    /// Everything offered is settled: answer with [`Sender::close`].
    Drained,
    /// The receipt came: the session is complete.
    Receipt {
        /// The manifest's root, on which both sides agree.
        root: Hash,
        /// What was stored.
        totals: Totals,
        /// Nanoseconds from authenticated to done, by the receiver's clock.
        elapsed: u64,
        /// This side's times, as they were told.
        sender: Times,
        /// The receiver's times.
        receiver: Times,
        /// What the receiver has seen to: all that was wanted, or more.
        given: Assurance,
    },
    /// The peer ended the session.
    Aborted {
        /// Why.
        code: AbortCode,
        /// Why, in the peer's words.
        text: Text,
    },
}
