//! What crossed the wire: capture files and live interfaces, frames taken apart layer by layer, TCP streams
//! put together, and which segment carried which message.
//!
//! The parts, in the order in which a byte meets them:
//!
//! - [`capture`]: where frames come from. A [`Source`] gives [`Frame`]s: a file ([`capture::Reader`]) or an
//!   interface.
//! - [`packet`]: the addresses, ports, numbers and payload of a frame, for all that looks at streams.
//! - [`dissect`]: a frame taken apart, layer by layer.
//! - [`stream`]: conversations, what TCP did in them, and their bytes in order.
//! - [`messages`]: which segment carried which message, and why they were glued or split.
//! - [`ladder`]: a conversation as text, as a picture, as a page.
//! - [`ledger`]: what a process wrote and read, call by call.
//! - [`lanes`]: what was written, what crossed, and what was read, side by side.
//!
//! Nothing here prints, and nothing that comes from a capture is believed: every length is held against the
//! bytes that are there, and what is kept is bounded by [`Limits`].

pub mod capture;
mod defragment;
pub mod dissect;
mod drawing;
mod error;
pub mod filter;
pub mod ladder;
pub mod lanes;
pub mod ledger;
mod limits;
mod link;
pub mod messages;
pub mod packet;
pub mod stream;

pub use capture::{Frame, LinkType, Source, Timestamp};
pub use defragment::Packets;
pub use error::Error;
pub use filter::Filter;
pub use limits::Limits;
