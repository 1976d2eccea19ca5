//! What classic transfers tell, within the one stream of events.

use std::net::SocketAddr;
use std::time::Duration;

use packhorse_proto::entry::{Metadata, Mode, Timestamp};
use packhorse_proto::path::RelativePath;

use super::Format;
use super::header::Md5Sum;

/// Something that happened to a classic file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClassicEvent {
    /// The sender reads the file for its MD5, before it connects.
    Hashing {
        /// The name it will be stored under.
        path: RelativePath,
        /// Bytes to read.
        size: u64,
    },
    /// The sender has handed over everything. Whether it was stored, no answer tells.
    Sent {
        /// What was sent.
        file: ClassicFile,
        /// Whether the receiver closed the connection in order afterwards, as it should.
        closed: bool,
    },
    /// The receiver stored a file: its size, and its MD5 where there is one, agree.
    Stored {
        /// How many were stored before it in this run.
        number: u64,
        /// What was stored.
        file: ClassicFile,
        /// What its permissions and time were set to.
        metadata: Metadata,
    },
    /// A file that was there was kept, as asked, and the client was cut off.
    Kept {
        /// How many were stored before it in this run.
        number: u64,
        /// The client.
        peer: SocketAddr,
        /// The file.
        path: RelativePath,
    },
    /// The receiver did not store a file.
    Failed {
        /// The client.
        peer: SocketAddr,
        /// The name it would have had; `None` where the header told no good one.
        path: Option<RelativePath>,
        /// What happened, what it means for the file: one line, escaped.
        message: String,
    },
    /// The receiver ends.
    Done(ClassicTotals),
}

/// A file that crossed in a classic format.
#[derive(Debug, Clone)]
pub struct ClassicFile {
    /// The other side.
    pub peer: SocketAddr,
    /// The format.
    pub format: Format,
    /// The name it is stored under.
    pub path: RelativePath,
    /// Bytes of content.
    pub size: u64,
    /// Its MD5, in the format that has it.
    pub md5: Option<Md5Sum>,
}

/// What a classic receiver did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassicTotals {
    /// Files stored.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that were there and were kept.
    pub kept: u64,
    /// Clients whose file was not stored.
    pub failed: u64,
    /// Since it listens.
    pub elapsed: Duration,
}

/// Permissions as a program's own new file would have them, and the time of now.
pub(crate) fn metadata_of_now() -> Metadata {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    let modified = Timestamp::new(seconds, now.subsec_nanos());
    Metadata {
        mode: Mode::from_st_mode(0o666 & !umask()),
        modified: modified.expect("a duration has less than a second of nanoseconds"),
        change: None,
    }
}

/// The process's umask, read without changing it (proc_pid_status(5), since Linux 4.7).
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o022)
}
