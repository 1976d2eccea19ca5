//! What becomes of a destination when the power fails, and when bytes are altered at the places where one part hands them
//! to the next.
//!
//! - [`record`] is a storage that does what it is told and writes it down; [`replay`] makes, of such a record, the
//!   directories that may be found when the power fails meanwhile, and says by which rules.
//! - [`power`] samples those, and receives into each of them again.
//! - [`corruption`] alters bytes before, in and behind the storage, on the wire, and in the sender.
//! - [`durable`] holds the order of a durable session's calls against what it promises.
//! - [`scene`] makes trees, runs sessions and compares.

#![allow(clippy::print_stdout, reason = "seeds and figures")]

mod corruption;
mod durable;
mod power;
mod record;
mod replay;
mod scene;
