//! Connections with message boundaries on any socket, and serving many of them.

/// The examples of the page on serving are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/serving.md")]
struct Serving;

mod accept;
mod builtin;
mod connection;
mod event;
mod handler;
mod house;
mod limits;
mod peer;
mod phase;
mod receiver;
mod room;
mod sender;
mod server;
mod sessions;
mod watch;

pub use builtin::{Broker, Builtin, BuiltinError, COUNTER_PAUSE, Chargen, Counter, Exec, File};
pub use connection::{Connection, ConnectionError, Framing, Message, Moved, Side};
pub use event::{End, Event, Record, Refusal};
pub use handler::{Handler, HandlerError};
pub use house::Served;
pub use limits::{Limits, SESSION_IDLE};
pub use peer::Peer;
pub use receiver::Receiver;
pub use sender::Sender;
pub use server::Server;
