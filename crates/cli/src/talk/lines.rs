//! Lines of JSON, as docs/talking.md describes them.

use packhorse_server::{Moved, Peer};
use serde::Serialize;

/// The version of every line.
pub(super) const VERSION: u32 = 1;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Received,
    Sent,
}

#[derive(Serialize)]
pub(super) struct Line<T> {
    pub(super) v: u32,
    pub(super) event: &'static str,
    pub(super) time: String,
    #[serde(flatten)]
    pub(super) fields: T,
}

#[derive(Serialize)]
pub(super) struct MessageFields<'a> {
    pub(super) peer: String,
    pub(super) number: u64,
    pub(super) direction: Direction,
    pub(super) offset: u64,
    pub(super) length: usize,
    pub(super) bytes: String,
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) lost: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
pub(super) struct ListeningFields {
    pub(super) kind: String,
    pub(super) addr: String,
    pub(super) endpoint: String,
    pub(super) pin: Option<String>,
}

#[derive(Serialize)]
pub(super) struct PeerFields {
    pub(super) kind: String,
    pub(super) peer: String,
    pub(super) local: String,
    pub(super) number: u64,
}

#[derive(Serialize)]
pub(super) struct EndedFields {
    #[serde(flatten)]
    pub(super) peer: PeerFields,
    pub(super) received: MovedFields,
    pub(super) sent: MovedFields,
    pub(super) dropped: u64,
    pub(super) seconds: f64,
    pub(super) end: &'static str,
    pub(super) message: String,
}

#[derive(Serialize)]
pub(super) struct MovedFields {
    pub(super) bytes: u64,
    pub(super) messages: u64,
}

#[derive(Serialize)]
pub(super) struct FinishedFields {
    pub(super) peer: String,
    pub(super) number: u64,
    pub(super) side: &'static str,
}

#[derive(Serialize)]
pub(super) struct RefusedFields<'a> {
    pub(super) peer: String,
    pub(super) reason: &'a str,
}

#[derive(Serialize)]
pub(super) struct WarningFields<'a> {
    pub(super) message: &'a str,
}

pub(super) fn fields_of(peer: &Peer) -> PeerFields {
    PeerFields {
        kind: peer.kind.to_string(),
        peer: peer.to_string(),
        local: peer.local.to_string(),
        number: peer.number,
    }
}

pub(super) fn moved(moved: Moved) -> MovedFields {
    let Moved { bytes, messages } = moved;
    MovedFields { bytes, messages }
}
