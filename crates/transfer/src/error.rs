//! What can end a transfer, whose fault it is, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use packhorse_endpoint::{ListenError, ResolveError};
use packhorse_proto::control::Violation;
use packhorse_proto::escape::Escaped;
use packhorse_proto::message::{AbortCode, Text};
use packhorse_proto::path::PathError;
use packhorse_proto::preface::{PrefaceError, Refusal};
use packhorse_tree::SourceError;
use packhorse_trust::{ChannelError, PairingError};
use rustix::io::Errno;

use crate::classic::ClassicError;

/// What ended a transfer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source is missing, or two clash.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A subdirectory or name that no path can be.
    #[error("'{name}' cannot be a path at the receiver: {error}")]
    Name {
        /// As it was given, escaped.
        name: String,
        /// The rule it breaks.
        error: PathError,
    },
    /// The receiver's name has no address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Nothing answers.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// The address tried last.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Nothing can listen there.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Without encryption, on an address that others can reach.
    #[error("{0} can be reached by other machines, and this session would have no encryption")]
    InsecureAddress(SocketAddr),
    /// The destination directory cannot be used.
    #[error("cannot receive into '{directory}': {}", Refusing(error))]
    Destination {
        /// The directory, escaped.
        directory: String,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody has removed the destination directory while it was received into.
    #[error("the destination directory '{0}' was removed or renamed")]
    DestinationRemoved(
        /// The directory, escaped.
        String,
    ),
    /// Whoever answered does not speak the protocol.
    #[error(transparent)]
    Preface(#[from] PrefaceError),
    /// The receiver refused before anything was said.
    #[error("the receiver refused the connection: {0}")]
    Refused(Refusal),
    /// The TLS channel failed.
    #[error("the encrypted channel failed: {0}")]
    Channel(#[from] ChannelError),
    /// The code phrase was not proved.
    #[error(transparent)]
    Pairing(#[from] PairingError),
    /// The receiver did not take this side's code.
    #[error("the receiver says that the code is wrong")]
    WrongCode,
    /// A code that was given was guessed wrong too often.
    #[error("the code was guessed wrong {0} times and is burnt")]
    CodeBurnt(u32),
    /// The peer ended the session.
    #[error("the other side ended the session: {}", told(code, text))]
    PeerAborted {
        /// Why.
        code: AbortCode,
        /// Why, in its words.
        text: Text,
    },
    /// The peer broke the protocol.
    #[error("the other side broke the protocol: {0}")]
    Violation(Violation),
    /// The peer was silent for too long.
    #[error("nothing was heard from the other side for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// The peer does not take what it is told.
    #[error("the other side does not read what it is told")]
    NotReading,
    /// The connection ended in the middle.
    #[error("the connection to the other side was lost: {0}")]
    Lost(io::Error),
    /// The receiver's disk is full: how, and what that left out.
    #[error("the destination {0}")]
    Full(String),
    /// This side's storage failed altogether.
    #[error("{0}")]
    Storage(String),
    /// This side has no thread, descriptor or randomness left.
    #[error("this machine is out of {what}: {error}")]
    Resources {
        /// What ran out.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// A file in a classic format did not arrive, or was not sent.
    #[error(transparent)]
    Classic(#[from] ClassicError),
    /// A connection that broke could not be made again.
    #[error("{broke}; the connection could not be made again: {last}")]
    NotAgain {
        /// What broke it.
        broke: Box<Error>,
        /// What ended the last try.
        last: Box<Error>,
    },
    /// Whatever it was, it came before the first entry.
    #[error(transparent)]
    Early(Box<Error>),
    /// Whatever it was, the receiver had told of no entry by then.
    #[error(transparent)]
    Unanswered(Box<Error>),
    /// Whatever it was, what was read from standard input cannot be read again.
    #[error(transparent)]
    Stream(Box<Error>),
    /// This side was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Why a directory cannot be used.
struct Refusing<'a>(&'a io::Error);

impl fmt::Display for Refusing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            // A directory may be there already: it is something else.
            io::ErrorKind::AlreadyExists => f.write_str("it is not a directory"),
            _ => self.0.fmt(f),
        }
    }
}

/// Whether something else is there, or on the way to it.
fn is_no_directory(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}

/// An abort's words, or where there are none, what its code means.
fn told(code: &AbortCode, text: &Text) -> String {
    match code {
        AbortCode::Interrupted => "it was interrupted there".to_owned(),
        AbortCode::Other(code) if text.as_str().is_empty() => format!("reason {code}"),
        _ => text.to_string(),
    }
}

/// What to do about too many open files.
pub const MORE_DESCRIPTORS: &str = "let it open more files, for example with 'ulimit -n 1024'";

/// Whether this process, or the machine, has no more of them.
fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// The class of an error: what a caller, or a script that reads the exit code, can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// What was asked for makes no sense.
    Usage,
    /// The network, or the peer on it, is gone.
    Network,
    /// One side did not authenticate, or refused the other.
    Refused,
    /// Input and output of this machine, or storage on either side: full, denied, failing, a port in use.
    Storage,
    /// The peer broke the protocol, or content did not verify.
    Protocol,
    /// Somebody interrupted it here.
    Interrupted,
}

impl Error {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Early(error) | Self::Unanswered(error) | Self::Stream(error) => error.class(),
            Self::NotAgain { last, .. } => last.class(),
            Self::Classic(error) => error.class(),
            Self::Name { .. }
            | Self::InsecureAddress(_)
            | Self::Source(SourceError::SameName { .. }) => ErrorClass::Usage,
            Self::Source(SourceError::NameIsPath { .. }) => ErrorClass::Usage,
            Self::Resolve(_) | Self::Connect { .. } | Self::Silent(_) | Self::NotReading => {
                ErrorClass::Network
            }
            Self::Lost(error) if lacks_descriptors(error) => ErrorClass::Storage,
            Self::Lost(_) => ErrorClass::Network,
            Self::Refused(_) | Self::Pairing(_) | Self::WrongCode | Self::CodeBurnt(_) => {
                ErrorClass::Refused
            }
            Self::Source(_)
            | Self::Listen(_)
            | Self::Destination { .. }
            | Self::DestinationRemoved(_)
            | Self::Full(_)
            | Self::Storage(_)
            | Self::Resources { .. } => ErrorClass::Storage,
            Self::Preface(_) | Self::Channel(_) | Self::Violation(_) => ErrorClass::Protocol,
            Self::PeerAborted { code, .. } => abort_class(*code),
            Self::Interrupted => ErrorClass::Interrupted,
        }
    }

    /// What it means for the data.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::Early(_) => "nothing was transferred",
            Self::Unanswered(_) => {
                "the receiver has said of nothing that it is there: the same command again sends what is not"
            }
            Self::Stream(_) => {
                "nothing is kept at the destination of what came from standard input, unless all of it was verified; files \
                 that were verified are complete there"
            }
            Self::Classic(error) => error.consequence(),
            Self::Source(_)
            | Self::Name { .. }
            | Self::Resolve(_)
            | Self::Connect { .. }
            | Self::Refused(_) => "nothing was sent",
            Self::Preface(_) | Self::Pairing(_) | Self::WrongCode => "nothing was sent",
            Self::Listen(_)
            | Self::InsecureAddress(_)
            | Self::Destination { .. }
            | Self::CodeBurnt(_) => "nothing was received",
            Self::DestinationRemoved(_) => {
                "what had been received is where it is now, if it still is"
            }
            Self::PeerAborted {
                code: AbortCode::Storage,
                ..
            } => {
                "what had been received may be lost with what failed there: the same command again sends what is not there"
            }
            _ => {
                "files that were verified are complete under their names at the destination, and verified parts \
                 of large ones are kept there: the same command again goes on from them"
            }
        }
    }

    /// What to do next, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Early(error) | Self::Unanswered(error) => return error.hint(),
            Self::Stream(error) if error.is_full() => {
                "make room there, and run the same command again, with what writes into it"
            }
            Self::Stream(_) => {
                "run the same command again, with what writes into it: a pipe cannot be sent from where it broke"
            }
            Self::NotAgain { last, .. } => return last.hint(),
            Self::Classic(error) => return error.hint().map(str::to_owned),
            Self::Resolve(error) => return Some(error.advice()),
            Self::Listen(error) => return Some(error.advice()),
            Self::Connect { address, .. } => {
                return Some(format!(
                    "see that `packhorse recv` runs there, and that nothing between blocks port {}",
                    address.port()
                ));
            }
            Self::InsecureAddress(_) => {
                "leave --insecure out, listen on 127.0.0.1, or say --insecure=anywhere"
            }
            Self::Lost(error) | Self::Destination { error, .. } if lacks_descriptors(error) => {
                MORE_DESCRIPTORS
            }
            Self::DestinationRemoved(_) => {
                "start the receiver again, and give the sender's command again"
            }
            Self::Destination { error, .. } if is_no_directory(error) => "name a directory",
            Self::Destination { .. } => "choose another directory, or change its permissions",
            Self::Preface(PrefaceError::Version(_)) | Self::Refused(Refusal::Version) => {
                "install the same version of packhorse on both sides"
            }
            Self::Preface(_) => "check the port: another program listens there",
            Self::Refused(Refusal::WantsTls) => "leave --insecure out",
            Self::Refused(Refusal::WantsInsecure) => {
                "add --insecure, or restart the receiver without it"
            }
            Self::Refused(Refusal::Busy) => "try again when it is done",
            Self::Pairing(_) | Self::WrongCode => "read the code off the receiver's screen again",
            Self::CodeBurnt(_) => "start again with another code; somebody may be guessing",
            Self::Full(_) => "make room there, and run the same command again",
            Self::PeerAborted { code, .. } => return abort_hint(*code).map(str::to_owned),
            Self::Silent(_) | Self::Lost(_) => {
                "run the same command again when the network is back"
            }
            Self::Violation(_) => "see that both sides are the same version of packhorse",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether it may be over when the connection is made again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Early(error) | Self::Unanswered(error) | Self::Stream(error) => error.may_pass(),
            Self::Connect { .. } | Self::Resolve(_) | Self::Refused(Refusal::Busy) => true,
            Self::Silent(_) | Self::NotReading | Self::Lost(_) => true,
            Self::PeerAborted { code, .. } => {
                use AbortCode::{Deadline, LaneLost, Refused};
                matches!(code, Deadline | LaneLost | Refused)
            }
            _ => false,
        }
    }

    /// Whether the destination has no room.
    fn is_full(&self) -> bool {
        let code = match self {
            Self::PeerAborted { code, .. } => *code,
            Self::Unanswered(error) => return error.is_full(),
            other => other.abort_code(),
        };
        code == AbortCode::StorageFull
    }

    /// Whether the receiver is serving another sender.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Early(error) | Self::Unanswered(error) => error.is_busy(),
            Self::Refused(refusal) => *refusal == Refusal::Busy,
            Self::PeerAborted { code, .. } => *code == AbortCode::Refused,
            _ => false,
        }
    }

    /// Says that nothing was transferred before it.
    pub(crate) fn early(self) -> Self {
        Self::Early(Box::new(self))
    }

    /// How the peer is told, where it has to be.
    pub(crate) fn abort_code(&self) -> AbortCode {
        match self {
            Self::Early(error) | Self::Unanswered(error) | Self::Stream(error) => {
                error.abort_code()
            }
            Self::NotAgain { last, .. } => last.abort_code(),
            Self::Interrupted => AbortCode::Interrupted,
            Self::Full(_) => AbortCode::StorageFull,
            Self::NotReading => AbortCode::Deadline,
            Self::Lost(_) => AbortCode::LaneLost,
            Self::Pairing(_) | Self::WrongCode => AbortCode::WrongCode,
            Self::CodeBurnt(_) => AbortCode::CodeBurnt,
            Self::Refused(_) => AbortCode::Refused,
            _ => AbortCode::Storage,
        }
    }

    /// Bytes that no path can be.
    pub(crate) fn name(bytes: &[u8], error: PathError) -> Self {
        Self::Name {
            name: Escaped(bytes).to_string(),
            error,
        }
    }
}

/// A missed deadline is the network's fault, everything else the peer's.
impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::Silence(time) | Violation::Unauthenticated(time) => Self::Silent(time),
            other => Self::Violation(other),
        }
    }
}

fn abort_class(code: AbortCode) -> ErrorClass {
    match code {
        AbortCode::Interrupted | AbortCode::Deadline | AbortCode::LaneLost => ErrorClass::Network,
        AbortCode::WrongCode | AbortCode::CodeBurnt | AbortCode::Refused => ErrorClass::Refused,
        AbortCode::StorageFull | AbortCode::Storage => ErrorClass::Storage,
        AbortCode::Protocol | AbortCode::Unverified | AbortCode::Other(_) => ErrorClass::Protocol,
    }
}

fn abort_hint(code: AbortCode) -> Option<&'static str> {
    match code {
        AbortCode::StorageFull => Some("make room there, and run the same command again"),
        AbortCode::Storage => Some("see to it there, and run the same command again"),
        AbortCode::Interrupted => Some("run the same command again"),
        AbortCode::Deadline | AbortCode::LaneLost => {
            Some("run the same command again when the network is back")
        }
        AbortCode::CodeBurnt => Some("ask for the receiver's new code"),
        AbortCode::Refused => Some("try again when it is done"),
        _ => None,
    }
}
