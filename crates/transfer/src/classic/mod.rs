//! Two plain file formats that many small programs speak: a length, a JSON header, the content.
//!
//! ```text
//! +----------------------+---------------------+----------------------+
//! | N: 4 bytes, signed,  | N bytes of JSON in  | content, file_size   |
//! | little-endian        | UTF-8               | bytes, then closed   |
//! +----------------------+---------------------+----------------------+
//! ```
//!
//! One connection carries one file, and no answer travels back. **There is neither secrecy nor
//! authentication**: whoever reaches the port can store files, and whoever sees the network can read and
//! change them. Nothing here runs unless it is asked for. docs/classic.md has every byte and rule.
//!
//! - `header` understands bytes and does no IO.
//! - `send` reads a file once for its MD5 where the format wants it, and once more to send it.
//! - `hall` holds the clients that are there at once, each on a thread of its own (`client`); `beside`
//!   hashes on another core while the next bytes are read and written.
//! - `receive` listens for classic clients alone. The receiver of the native protocol hands such clients
//!   to its own hall, where that is switched on.

mod beside;
mod client;
mod error;
mod event;
mod hall;
mod header;
mod md5;
mod name;
mod progress;
mod receive;
mod send;

use std::time::Duration;

pub use self::error::ClassicError;
pub use self::event::{ClassicEvent, ClassicFile, ClassicTotals};
pub use self::header::{HeaderError, MAX_HEADER, Md5Sum};
pub use self::name::{NameError, PlainName};
pub use self::receive::{ClassicReceiveOptions, receive as receive_classic};
pub use self::send::{ClassicSendOptions, send as send_classic};

pub(crate) use self::event::metadata_of_now;
pub(crate) use self::hall::{Hall, Report};
pub(crate) use self::header::{LENGTH_BYTES, header_length};
pub(crate) use self::receive::{Desk, Failed};

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The header tells the file's name and size; nothing tells whether the content is right.
    Size,
    /// The header tells the content's MD5 as well, which finds accidents and no attacks.
    Md5,
}

impl Format {
    /// `size` or `md5`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Md5 => "md5",
        }
    }
}

/// Bounds on what a classic peer can cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicLimits {
    /// Clients that are served at once; more wait until one is done. Default 256, which with a buffer of
    /// 128 KiB for each stays below 64 MiB in all.
    pub clients: usize,
    /// From accepted to the first byte. Default 15 s.
    pub first_byte: Duration,
    /// From accepted to the whole header. Default 60 s, so that a client that sends byte by byte has
    /// time.
    pub header: Duration,
    /// Without a byte from the client, or without the receiver taking any. Default 30 s.
    pub silence: Duration,
    /// How long the end of the connection is waited for once all content is there. Default 5 s.
    pub end: Duration,
    /// Bytes of one file. Default: what a file offset can reach.
    pub file_size: u64,
}

impl Default for ClassicLimits {
    fn default() -> Self {
        Self {
            clients: 256,
            first_byte: Duration::from_secs(15),
            header: Duration::from_secs(60),
            silence: Duration::from_secs(30),
            end: Duration::from_secs(5),
            file_size: packhorse_proto::entry::MAX_FILE_SIZE,
        }
    }
}
