//! What a server tells while it runs.

use std::io;
use std::time::Duration;

use packhorse_endpoint::{Address, Kind, Pin};

use crate::connection::{ConnectionError, Moved, Side};
use crate::handler::HandlerError;
use crate::peer::Peer;

/// Something that happened at a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Peers can come now.
    Listening {
        /// What they connect with.
        kind: Kind,
        /// Where.
        address: Address,
        /// For TLS: what clients can know this server by.
        pin: Option<Pin>,
    },
    /// A peer came.
    Arrived(Peer),
    /// A connection ended.
    Ended(Box<Record>),
    /// A peer was sent away.
    Refused {
        /// Who.
        address: Address,
        /// Why.
        reason: Refusal,
    },
    /// No connection can be accepted for now. Those that come wait in the kernel's queue.
    OutOfDescriptors {
        /// What the kernel says.
        error: io::Error,
        /// How long it is waited for.
        pause: Duration,
    },
    /// The server takes nobody any more and lets those that are there finish.
    Draining {
        /// How many.
        connections: usize,
    },
}

/// Why a peer was sent away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its address has as many connections as one may have.
    #[error("this address has {0} connections already")]
    TooManyFromAddress(usize),
    /// There are as many sessions as there may be. (Connections wait instead.)
    #[error("there are {0} sessions already")]
    TooManySessions(usize),
    /// No TLS with it.
    #[error("no TLS: {0}")]
    Handshake(String),
}

/// All there is to say of a connection that ended.
#[derive(Debug)]
pub struct Record {
    /// Who was there.
    pub peer: Peer,
    /// What came.
    pub received: Moved,
    /// What went.
    pub sent: Moved,
    /// Datagrams that were dropped because the handler was behind.
    pub dropped: u64,
    /// From its arrival.
    pub duration: Duration,
    /// How it ended.
    pub end: End,
}

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The peer said that no more comes (FIN), and the handler was done.
    ByPeer,
    /// The handler was done first.
    ByHandler,
    /// The peer reset it (RST).
    Reset,
    /// Nothing moved for too long.
    Idle,
    /// A message began and did not get whole in time.
    Slow,
    /// The server ended, and let it finish.
    Drained,
    /// The server ended, and could not wait any longer.
    CutOff,
    /// The peer's bytes were no frames, or something else failed.
    Failed(String),
}

impl End {
    /// As programs read it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ByPeer => "peer",
            Self::ByHandler => "handler",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Drained => "drained",
            Self::CutOff => "cut_off",
            Self::Failed(_) => "failed",
        }
    }

    pub(crate) fn of(outcome: Result<(), HandlerError>, first: Option<Side>) -> Self {
        match outcome {
            Ok(()) if first == Some(Side::Peer) => Self::ByPeer,
            Ok(()) => Self::ByHandler,
            Err(HandlerError::Connection(ConnectionError::Reset)) => Self::Reset,
            Err(HandlerError::Connection(ConnectionError::Idle)) => Self::Idle,
            Err(HandlerError::Connection(ConnectionError::Slow)) => Self::Slow,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// As a person reads it.
impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ByPeer => "closed by the peer",
            Self::ByHandler => "closed here",
            Self::Reset => "reset by the peer",
            Self::Idle => "ended: nothing moved for too long",
            Self::Slow => "ended: a message began and did not get whole in time",
            Self::Drained => "ended with the server",
            Self::CutOff => "cut off: the server could not wait any longer",
            Self::Failed(why) => return write!(f, "failed: {why}"),
        })
    }
}
