//! What bounds a server.

use std::time::Duration;

/// What bounds a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections and sessions at a time. Further connections wait in the kernel's queue.
    pub connections: usize,
    /// Connections and sessions at a time of one IP address. Further ones are closed at once. An IPv4
    /// address counts the same whether it comes through an IPv4 socket or an IPv6 one.
    pub per_address: usize,
    /// How long a connection may be without a byte in either direction. `None`: for ever; a session
    /// over datagrams, whose end nobody tells, then has [`SESSION_IDLE`].
    pub idle: Option<Duration>,
    /// How long a message may take from its first byte to its last.
    pub message: Option<Duration>,
    /// How long connections may take to finish when the server ends.
    pub drain: Duration,
}

/// How long a session over datagrams may be silent where nothing else is said.
pub const SESSION_IDLE: Duration = Duration::from_secs(60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: 20_000,
            idle: None,
            message: None,
            drain: Duration::from_secs(5),
        }
    }
}
