//! The packhorse transfer protocol, as state machines.
//!
//! This crate knows no sockets, files, clocks, threads or async: it takes bytes and events, and gives
//! bytes and events. `docs/protocol.md` is the specification of what it speaks.

pub mod entry;
pub mod escape;
pub mod extent;
pub mod lane;
pub mod limits;
pub mod manifest;
pub mod message;
pub mod path;
pub mod preface;
pub mod record;
pub mod remains;
pub mod window;

mod cbor;
pub mod control;
pub mod receiver;
pub mod sender;
