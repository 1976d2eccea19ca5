//! packhorse's sender and receiver: the protocol driven over sockets, files and keys.
//!
//! A sender is one control task, a walking thread and lane threads; a receiver is one control task, a
//! placing thread and lane threads. The control task of each drives a state machine of
//! [`packhorse_proto`]; content never passes through it.

pub mod classic;
pub mod event;
pub mod options;
pub mod receipt;
pub mod receipt_file;

mod bottleneck;
mod cancel;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
#[cfg(not(feature = "faults"))]
mod faults;
mod handshake;
mod partials;
mod receiver;
mod sender;
mod stages;
pub mod units;
mod verify;
mod wire;

pub use bottleneck::{Bottleneck, Processing, Verdict, limited_by, rate};
pub use cancel::Cancel;
pub use error::{Error, ErrorClass, MORE_DESCRIPTORS};
pub use event::{CodeReason, Event, LaneChange, Observer, Progress};
pub use options::{
    DEFAULT_RETRY_FOR, Disk, Existing, ReceiveOptions, ReceiveSecurity, SendOptions, SendSecurity,
    Sessions, Source, Storage,
};
pub use partials::{
    Partial, PartialEvent, PartialFate, PartialKind, PartialsError, PartialsSummary,
    clean_partials, list_partials,
};
pub use receipt::{NetworkUse, Receipt, StageTimes};
pub use receiver::receive;
pub use sender::{check, list, send};
pub use stages::{Stage, StageObserver};
pub use verify::{Difference, Differs, VerifyError, VerifySummary, verify};

// What a caller names in options and events, so that it needs none of the crates beneath.
pub use packhorse_endpoint::{DEFAULT_PORT, Destination, local_addresses};
pub use packhorse_proto::entry::{Entry, Kind, LinkTarget, Metadata, Mode, Timestamp};
pub use packhorse_proto::escape::{Escaped, is_unsafe};
pub use packhorse_proto::limits::Limits;
pub use packhorse_proto::message::Assurance;
pub use packhorse_proto::path::RelativePath;
pub use packhorse_trust::{Code, CodeError};
