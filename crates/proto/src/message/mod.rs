//! The messages of the control connection.
//!
//! A message is a header of [`HEADER`] bytes (its type, and the length of its body as a 24-bit
//! big-endian number) and a body: a CBOR map from small integers to values, as `docs/protocol.md` lists
//! them. Types and keys that a peer may add later without asking are those from
//! [`FIRST_OPTIONAL_TYPE`] up, and field keys from 64 up: a reader skips the ones it does not know.

mod decode;
mod encode;

use crate::cbor::CborError;
use crate::entry::{Entry, EntryNumber, Metadata};
use crate::escape::Escaped;
use crate::extent::{Hash, Subtree};
use crate::path::{PathError, RelativePath};

/// Bytes of a message's header.
pub const HEADER: usize = 4;

/// Message types from here up may be unknown to the reader, and are then skipped.
pub const FIRST_OPTIONAL_TYPE: u8 = 128;

/// Cipher suites a hello may offer.
pub const MAX_SUITES: usize = 16;

/// Entries that a message may hold, and runs that a settlement may.
pub const MAX_ITEMS: usize = 4096;

/// Files that a message may say are held, and subtrees of one file: a message of them stays below 64 KiB.
pub const MAX_HELD: usize = 1024;

/// The bytes of a session's name, drawn at random by the receiver.
pub type SessionId = [u8; 16];

/// What a sender says of its sources, opaque to everybody else: the same for the same command again.
pub type SourceId = [u8; 8];

/// One message of the control connection. `S` is sent by the sender of the tree, `R` by its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are named and bounded in docs/protocol.md, and below"
)]
pub enum Message {
    /// S: the first. Who sends, what it can do, its PAKE share.
    Hello {
        suites: Vec<u8>,
        share: Option<[u8; 32]>,
        name: Text,
    },
    /// R: the answer. The suite chosen (0 in an insecure session), its PAKE share.
    Welcome {
        suite: u8,
        share: Option<[u8; 32]>,
        name: Text,
    },
    /// S, then R: proof that the code is known.
    Confirm { tag: [u8; 64] },
    /// S: what it wants to do, and beneath which directory.
    Offer {
        subdirectory: Option<RelativePath>,
        source: Option<SourceId>,
        wanted: Assurance,
    },
    /// R: it may, within these bounds.
    Accept {
        session: SessionId,
        window: WindowSize,
        lanes: u16,
        resumes: bool,
    },
    /// S: the next entries of the manifest, the first of them with number `first`.
    Entries {
        first: EntryNumber,
        entries: Vec<Entry>,
    },
    /// S: there are no more entries than `count`.
    EntriesEnd { count: u64 },
    /// S: a file is not what the manifest said; it is sent anew, as this attempt.
    Revise {
        number: EntryNumber,
        attempt: u8,
        size: Option<u64>,
        metadata: Metadata,
    },
    /// S: an entry will not be sent (whole) after all.
    Withdraw {
        number: EntryNumber,
        failure: Failure,
    },
    /// R: these entries are stored and verified: first number and how many, ascending and apart.
    Settled { runs: Vec<(EntryNumber, u64)> },
    /// R: the file that was there is kept.
    Kept { number: EntryNumber },
    /// R: an entry could not be stored.
    Failed {
        number: EntryNumber,
        failure: Failure,
    },
    /// R: these files are there whole, from an earlier session: their numbers and hashes.
    Held { files: Vec<(EntryNumber, Hash)> },
    /// R: of this file, these extents are there from an earlier session.
    Partial {
        number: EntryNumber,
        subtrees: Vec<Subtree>,
    },
    /// R: of these files nothing is there.
    Missing { runs: Vec<(EntryNumber, u64)> },
    /// S: this lane broke, or stands still: it sends nothing more on it.
    LaneLost { lane: u16 },
    /// R: this lane is closed without its end, and so many values and ends came on it.
    LaneClosed { lane: u16, taken: u64 },
    /// R: a directory is there, with all that came into it, but its metadata could not be set.
    Flawed {
        path: RelativePath,
        failure: Failure,
    },
    /// Both: how far it is. Sent every second, so that silence means a dead peer.
    Progress(Counters),
    /// S: everything is settled; what it makes of it.
    Close {
        root: Hash,
        unlisted: u64,
        times: Times,
    },
    /// R: what arrived. The session is complete.
    Receipt {
        root: Hash,
        totals: Totals,
        elapsed: u64,
        sender: Times,
        receiver: Times,
        given: Assurance,
    },
    /// S: the receipt was read; the connection may close.
    Bye,
    /// Both: the session ends here, and why.
    Abort { code: AbortCode, text: Text },
}

/// What a receiver has seen to before it hands out the receipt, beyond writing what came and holding it against its hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Assurance {
    /// Content, names and directories are on stable storage: a power cut takes nothing of it.
    pub durable: bool,
    /// The content was read again from its storage, past what is held in memory of it.
    pub reread: bool,
}

impl Assurance {
    /// What both ask for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            durable: self.durable || other.durable,
            reread: self.reread || other.reread,
        }
    }

    /// Whether everything that `other` asks for is here.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.and(other) == self
    }
}

/// How many entries, and how many bytes of them, may be unsettled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Entries.
    pub entries: u32,
    /// Bytes of their encoding.
    pub bytes: u32,
}

/// How far one side is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of content sent, or written.
    pub bytes: u64,
    /// Files sent, or stored.
    pub files: u64,
    /// Bytes of content known to be in the tree so far. 0 from a receiver.
    pub bytes_known: u64,
    /// Files known to be in the tree so far. 0 from a receiver.
    pub files_known: u64,
}

/// The key of [`Times::processor`]: one that who does not know it skips.
const TIMES_PROCESSOR: u64 = 64;

/// Nanoseconds spent in each stage, summed over a side's lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Reading source files.
    pub read: u64,
    /// Hashing.
    pub hash: u64,
    /// Sealing or opening records.
    pub encrypt: u64,
    /// In send or receive calls.
    pub network: u64,
    /// Writing files.
    pub write: u64,
    /// Waiting for work.
    pub idle: u64,
    /// Of all that, on a processor or waiting for one; 0 where it was not measured.
    pub processor: u64,
}

/// What a session stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files stored.
    pub files: u64,
    /// Directories made or found.
    pub directories: u64,
    /// Symbolic links stored.
    pub symlinks: u64,
    /// Bytes of content in the files stored.
    pub bytes: u64,
    /// Existing files kept.
    pub kept: u64,
    /// Entries that did not arrive, with those that never got into the manifest.
    pub failed: u64,
    /// Bytes of content in the files stored that were there from an earlier session.
    pub resumed: u64,
}

impl Totals {
    /// Whether both say the same of what was stored. What was kept or failed is the receiver's to say:
    /// an outcome may have crossed a withdrawal on its way.
    pub(crate) fn stores_as_much_as(&self, other: &Self) -> bool {
        let stored = |totals: &Self| {
            let Self {
                files,
                directories,
                symlinks,
                bytes,
                ..
            } = *totals;
            (files, directories, symlinks, bytes)
        };
        stored(self) == stored(other)
    }
}

/// Text from one side for the person at the other: at most [`Text::MAX`] bytes of UTF-8.
///
/// Its `Display` is escaped for a terminal.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Box<str>);

impl Text {
    /// Bytes of a text at most.
    pub const MAX: usize = 512;

    /// Cuts `text` to the length that a text may have, at a character's boundary.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let end = text.floor_char_boundary(Self::MAX);
        Self(text[..end].into())
    }

    /// The text as it came: not escaped.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Escaped(self.0.as_bytes()).fmt(f)
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Why one entry did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of reason.
    pub class: FailureClass,
    /// The reason in words.
    pub text: Text,
}

impl Failure {
    /// A failure with words for a person.
    #[must_use]
    pub fn new(class: FailureClass, text: &str) -> Self {
        Self {
            class,
            text: Text::new(text),
        }
    }
}

/// A table between an enum and its numbers on the wire; a number that is not in it is kept as it is.
macro_rules! wire_codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A number that is not known here.
            Other(u8),
        }

        impl $name {
            /// The number on the wire.
            #[must_use]
            pub fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// What a number on the wire means.
            #[must_use]
            pub fn from_code(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

wire_codes! {
    /// The kind of reason for which one entry did not arrive.
    FailureClass {
        /// The sender could not read it.
        Unreadable = 1,
        /// It changed while it was read, twice.
        Changed = 2,
        /// Something at the destination is in its way.
        InTheWay = 3,
        /// The receiver may not write there.
        Denied = 4,
        /// The receiver's storage failed.
        Storage = 5,
        /// Its content did not verify.
        Unverified = 6,
        /// Its directory could not be made.
        Parent = 7,
        /// It is larger than the room that the receiver has left.
        NoRoom = 8,
    }
}

wire_codes! {
    /// Why a session ends before its end.
    AbortCode {
        /// Somebody interrupted it.
        Interrupted = 1,
        /// The code phrase was wrong.
        WrongCode = 2,
        /// The code phrase was burnt by wrong guesses.
        CodeBurnt = 3,
        /// The receiver's storage is full.
        StorageFull = 4,
        /// One side's storage failed altogether.
        Storage = 5,
        /// The peer broke the protocol.
        Protocol = 6,
        /// Both sides do not agree on what was sent.
        Unverified = 7,
        /// The peer was silent, or too slow to authenticate.
        Deadline = 8,
        /// A lane broke.
        LaneLost = 9,
        /// What is asked for is refused.
        Refused = 10,
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A body longer than the limit.
    #[error("a message of {length} bytes, over the limit of {limit}")]
    TooLong {
        /// What the header says.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A mandatory message of a later version.
    #[error("a message of type {0}, which is not known here and may not be skipped")]
    UnknownType(u8),
    /// The body breaks a rule.
    #[error("a damaged message of type {0}: {1}")]
    Body(u8, CborError),
    /// An entry with a path that is not allowed.
    #[error("entry '{path}': {error}")]
    Path {
        /// The path, escaped.
        path: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// An entry that breaks another rule.
    #[error("entry '{path}': {rule}")]
    Entry {
        /// The path, escaped.
        path: String,
        /// The rule.
        rule: &'static str,
    },
}

impl Message {
    /// Appends the message as it goes on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        encode::encode(self, out);
        let length = out.len() - start - HEADER;
        debug_assert!(
            length < 1 << 24,
            "senders keep messages below the limit of their peer"
        );
        let [_, a, b, c] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        out[start..start + HEADER].copy_from_slice(&[self.kind(), a, b, c]);
    }

    /// The number of its type.
    fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Welcome { .. } => 2,
            Self::Confirm { .. } => 3,
            Self::Offer { .. } => 4,
            Self::Accept { .. } => 5,
            Self::Entries { .. } => 6,
            Self::EntriesEnd { .. } => 7,
            Self::Revise { .. } => 8,
            Self::Withdraw { .. } => 9,
            Self::Settled { .. } => 10,
            Self::Kept { .. } => 11,
            Self::Failed { .. } => 12,
            Self::Progress(_) => 13,
            Self::Close { .. } => 14,
            Self::Receipt { .. } => 15,
            Self::Bye => 16,
            Self::Abort { .. } => 17,
            Self::Flawed { .. } => 18,
            Self::Held { .. } => 19,
            Self::Partial { .. } => 20,
            Self::Missing { .. } => 21,
            Self::LaneLost { .. } => 22,
            Self::LaneClosed { .. } => 23,
        }
    }

    /// Reads the body of a message of type `kind`; `None` for an unknown one that may be skipped.
    ///
    /// # Errors
    /// The rule that the body breaks.
    pub fn decode(kind: u8, bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        decode::decode(kind, bytes)
    }
}

/// Bytes that an entry counts beyond those of its path and link target.
pub const ENTRY_OVERHEAD: usize = 48;

/// How many bytes an entry counts in the window: at least as many as it takes on the wire. Both sides
/// have to count alike.
pub(crate) fn entry_length(entry: &Entry) -> usize {
    let target = match &entry.kind {
        crate::entry::Kind::Symlink { target } => target.as_bytes().len(),
        _ => 0,
    };
    // Map, keys, and integers at their longest; strings have headers of at most three bytes.
    ENTRY_OVERHEAD + entry.path.as_bytes().len() + target
}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    buffer: Vec<u8>,
    /// Bytes at the start of the buffer that are done with.
    consumed: usize,
}

impl MessageReader {
    /// Takes bytes as they came.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message that is there whole. Those that may be skipped are.
    pub(crate) fn next(&mut self, limit: usize) -> Result<Option<Message>, MessageError> {
        loop {
            let pending = &self.buffer[self.consumed..];
            let Some(([kind, a, b, c], rest)) = pending.split_first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if length > limit {
                return Err(MessageError::TooLong { length, limit });
            }
            let Some(body) = rest.get(..length) else {
                return Ok(None);
            };
            let message = Message::decode(*kind, body)?;
            self.consumed += HEADER + length;
            if message.is_some() {
                return Ok(message);
            }
        }
    }
}

#[cfg(test)]
mod tests;
