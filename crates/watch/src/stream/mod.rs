//! Conversations: what TCP did in them, and their bytes in order.

mod id;
mod trace;

pub use id::{ParseStreamIdError, StreamId};
pub use trace::{Data, Delivered, Notes, SegmentOptions, SegmentRecord, Trace};

/// Which transport a conversation speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP streams.
    Tcp,
    /// UDP conversations.
    Udp,
}

/// Which way a segment went. The client is who sent the first SYN; where the capture begins later, who is
/// seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}
