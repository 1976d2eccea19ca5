//! What a caller asks for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use packhorse_endpoint::{CallObserver, Destination};
use packhorse_proto::limits::Limits;
use packhorse_proto::message::Assurance;
use packhorse_proto::path::RelativePath;
use packhorse_trust::Code;

use crate::classic::ClassicLimits;
use crate::stages::StageObserver;

/// How long both sides try to go on after a connection broke, unless told otherwise.
pub const DEFAULT_RETRY_FOR: Duration = Duration::from_secs(300);

/// What to send, and where to.
#[derive(Debug)]
pub struct SendOptions {
    /// The sources; their names at the destination must differ.
    pub sources: Vec<Source>,
    /// The receiver.
    pub to: Destination,
    /// How to prove who is there.
    pub security: SendSecurity,
    /// What is expected of a peer at most.
    pub limits: Limits,
    /// What the receiver is to see to before it hands out the receipt; it may do more by itself.
    pub assurance: Assurance,
    /// How long to connect again after a connection broke; 0 ends with the first. What comes from standard input cannot
    /// be sent again, and ends with the first in any case.
    pub retry_for: Duration,
    /// Who is told of each write and read call on the transfer's sockets.
    pub calls: Option<Arc<dyn CallObserver>>,
    /// Who is told of each stage that content goes through.
    pub stages: Option<Arc<dyn StageObserver>>,
}

/// One thing to send.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, directory or link, stored under its own last component. A path that ends in `/` or in
    /// `.` or `..` names what the directory holds, without the directory.
    Path(PathBuf),
    /// A single file or link, stored under another name.
    Renamed {
        /// Where it is.
        path: PathBuf,
        /// The name to store it under.
        name: RelativePath,
    },
    /// Standard input until its end.
    Stdin {
        /// The name to store it under.
        name: RelativePath,
    },
}

/// How a sender proves that it is the one expected.
#[derive(Debug)]
pub enum SendSecurity {
    /// TLS, and this code phrase.
    Code(Code),
    /// No encryption and no authentication; content is still verified.
    Insecure,
}

/// Where to receive, from whom, and for how long.
#[derive(Debug)]
pub struct ReceiveOptions {
    /// Where trees land; made where it does not exist.
    pub directory: PathBuf,
    /// The address to listen on; port 0 lets the kernel choose. `None`: every address, dual-stack,
    /// at the default port; with [`ReceiveSecurity::Insecure`] or `classic`, on loopback.
    pub listen: Option<SocketAddr>,
    /// How senders prove that they are the ones expected.
    pub security: ReceiveSecurity,
    /// Whether to go on after the first session.
    pub sessions: Sessions,
    /// What happens to files that are already there.
    pub existing: Existing,
    /// What is seen to before a receipt is handed out; a sender may ask for more.
    pub assurance: Assurance,
    /// What a peer may ask for at most.
    pub limits: Limits,
    /// How long to wait for a sender whose connection broke; 0 gives it up at once.
    pub retry_for: Duration,
    /// Takes files in the classic formats on the same port as well, from whoever reaches it, without
    /// encryption or authentication. `None`: they are refused.
    pub classic: Option<ClassicLimits>,
    /// Who is told of each write and read call on the transfer's sockets.
    pub calls: Option<Arc<dyn CallObserver>>,
    /// Who is told of each stage that content goes through.
    pub stages: Option<Arc<dyn StageObserver>>,
    /// Where trees are stored: [`Disk`], but for tests.
    pub storage: Arc<dyn Storage>,
}

/// How a receiver knows its sender.
#[derive(Debug)]
pub enum ReceiveSecurity {
    /// TLS, and a fresh code phrase for each session.
    Generate,
    /// TLS, and this code phrase.
    Given(Code),
    /// No encryption and no authentication, on loopback addresses only.
    Insecure,
    /// No encryption and no authentication, wherever it listens.
    InsecureAnywhere,
}

/// How many sessions a receiver serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// It ends after the first completed session.
    One,
    /// It goes on until it is cancelled.
    Many,
}

pub use packhorse_tree::{Disk, Existing, Storage};
