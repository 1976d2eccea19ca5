//! What a peer may ask for at most, in one place.

use std::time::Duration;

/// Bounds on everything that a peer or an unauthenticated stranger can cause. Every number that comes
/// from outside is held against one of these before it sizes or delays anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one control message's body. Default 64 KiB, which is what senders may count on: less is
    /// for tests.
    pub message: usize,
    /// Entries of the manifest that are not settled yet. Default 4,096.
    pub window_entries: usize,
    /// Bytes that those entries take on the wire. Default 2 MiB.
    pub window_bytes: usize,
    /// Lanes of one session. Default 16.
    pub lanes: u16,
    /// Files of one session whose content has begun to arrive and is not complete. Default 64.
    pub open_files: usize,
    /// Bytes of one file. Default [`crate::entry::MAX_FILE_SIZE`].
    pub file_size: u64,
    /// Entries of one manifest. Default 2^40.
    pub entries: u64,
    /// From accepted to authenticated, everything included. Default 15 s.
    pub authentication: Duration,
    /// Without a word from the peer on the control connection. Peers send progress every second, so
    /// this is how long a dead network goes unnoticed. Default 30 s.
    pub silence: Duration,
    /// Wrong guesses that burn a code. Default 3.
    pub wrong_guesses: u32,
    /// Connections that are not authenticated yet; the oldest makes room for one more. Default 64.
    pub pending_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 64 << 10,
            window_entries: 4096,
            window_bytes: 2 << 20,
            lanes: 16,
            open_files: 64,
            file_size: crate::entry::MAX_FILE_SIZE,
            entries: 1 << 40,
            authentication: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            wrong_guesses: 3,
            pending_connections: 64,
        }
    }
}
