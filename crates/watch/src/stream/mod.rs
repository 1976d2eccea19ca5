//! Conversations: what TCP did in them, and their bytes in order.

mod conversation;
mod flow;
mod id;
mod in_flight;
mod options;
mod reassembly;
mod seq;
mod table;
mod trace;
mod tracing;

pub use conversation::{Conversation, Ended, How, Rtt, Traffic};
pub use id::{ParseStreamIdError, StreamId};
pub use table::{Seen, Streams};
pub use trace::{Data, Delivered, Notes, SegmentOptions, SegmentRecord, Trace};
pub use tracing::{Tracer, trace};

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
    /// The client's 0, the server's 1.
    fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }

    /// The other way.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}
