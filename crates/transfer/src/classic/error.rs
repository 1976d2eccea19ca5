//! What can go wrong with one classic file, on either side.

use std::io;
use std::time::Duration;

use super::header::{HeaderError, Md5Sum};
use super::name::NameError;
use crate::error::ErrorClass;

/// Why a file did not arrive, or was not sent. Names and paths in it are escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassicError {
    /// The client's first bytes are no header that this side takes.
    #[error("the client was refused: {0}")]
    Header(#[from] HeaderError),
    /// The client closed before the header was whole.
    #[error("the client closed the connection in the middle of its header")]
    HalfHeader,
    /// The client closed before all content was there.
    #[error("'{name}': the client closed after {received} of {size} bytes")]
    Short {
        /// The file.
        name: String,
        /// What the header said.
        size: u64,
        /// What came.
        received: u64,
    },
    /// The client sent more than it had said.
    #[error("'{name}': the client sent more than the {size} bytes that its header says")]
    Long {
        /// The file.
        name: String,
        /// What the header said.
        size: u64,
    },
    /// The content is not the one of the header's MD5.
    #[error("'{name}': the content has the MD5 {actual}, and the header says {said}")]
    WrongMd5 {
        /// The file.
        name: String,
        /// The header's.
        said: Md5Sum,
        /// The content's.
        actual: Md5Sum,
    },
    /// The peer was silent for too long.
    #[error("nothing came from the client for {} seconds", .0.as_secs_f64())]
    Silent(Duration),
    /// The header took too long.
    #[error("the client's header was not whole after {} seconds", .0.as_secs_f64())]
    SlowHeader(Duration),
    /// The connection ended in the middle.
    #[error("the connection to the client was lost: {0}")]
    Lost(io::Error),
    /// This side's storage failed.
    #[error("'{name}' cannot be stored: {error}")]
    Store {
        /// The file.
        name: String,
        /// What the system said.
        error: String,
    },
    /// The receiver has no thread left for it.
    #[error("this machine is out of threads: {0}")]
    Threads(io::Error),

    /// The file to send cannot be read.
    #[error("'{path}' cannot be sent: {error}")]
    Source {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file to send changed meanwhile.
    #[error("'{0}' changed while it was sent")]
    Changed(String),
    /// The name cannot be in the header.
    #[error("'{name}' cannot be stored under its name by a classic receiver: {error}")]
    Name {
        /// The name.
        name: String,
        /// The rule that it breaks.
        error: NameError,
    },
    /// A name or path that is not UTF-8.
    #[error("'{0}' is not UTF-8, which the header of this format has to be")]
    NotUtf8(String),
    /// The receiver cut the connection.
    #[error(
        "the receiver cut the connection after {sent} of {size} bytes were handed to the network: {error}"
    )]
    Cut {
        /// Bytes of content that were written.
        sent: u64,
        /// Bytes of content in all.
        size: u64,
        /// What the system said.
        error: io::Error,
    },
    /// The receiver takes nothing any more.
    #[error("the receiver took nothing for {} seconds", .0.as_secs_f64())]
    NotReading(Duration),
}

impl ClassicError {
    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Header(_) | Self::Long { .. } | Self::WrongMd5 { .. } => ErrorClass::Protocol,
            Self::HalfHeader
            | Self::Short { .. }
            | Self::Silent(_)
            | Self::SlowHeader(_)
            | Self::Lost(_)
            | Self::Cut { .. }
            | Self::NotReading(_) => ErrorClass::Network,
            Self::Store { .. } | Self::Threads(_) | Self::Source { .. } | Self::Changed(_) => {
                ErrorClass::Storage
            }
            Self::Name { .. } | Self::NotUtf8(_) => ErrorClass::Usage,
        }
    }

    /// What it means for the data.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        match self {
            Self::Source { .. } | Self::Name { .. } | Self::NotUtf8(_) => "nothing was sent",
            Self::Changed(_) => {
                "its last bytes were held back, so that the receiver has a short file, which it must not keep"
            }
            Self::Cut { .. } | Self::NotReading(_) => {
                "a packhorse at the other end has stored nothing; another receiver may keep a part of it"
            }
            _ => "nothing was stored under the file's name, and nothing unfinished is left",
        }
    }

    /// What to do next, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Header(HeaderError::Native) => {
                Some("leave --classic out on both sides, or receive with --classic=also")
            }
            Self::Header(_) => Some("see docs/classic.md for what a header looks like"),
            Self::Short { .. } | Self::Long { .. } | Self::WrongMd5 { .. } => {
                Some("send the file again, and see that nothing writes to it meanwhile")
            }
            Self::Lost(_) | Self::Silent(_) | Self::HalfHeader | Self::SlowHeader(_) => {
                Some("have the client send it again")
            }
            Self::Store { .. } => {
                Some("make room there or change its permissions, and send the file again")
            }
            Self::Changed(_) => Some("send it again when nothing writes to it"),
            Self::Name { .. } => Some("say what to call it there: --name NEW"),
            Self::NotUtf8(_) => Some("give the file another name, or link to it: ln -s FILE NAME"),
            Self::Cut { .. } => Some(
                "read what the receiver says: it refuses a file that is there already, a name that is \
                 not plain, and content that does not agree with its header",
            ),
            Self::NotReading(_) => Some("see whether the receiver still runs, and send it again"),
            Self::Threads(_) | Self::Source { .. } => None,
        }
    }
}
