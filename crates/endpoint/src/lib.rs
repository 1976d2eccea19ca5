//! Where a peer is, and the sockets to reach it or wait for it.
//!
//! No async here: a listener comes out non-blocking, so that a runtime can take it over.

mod destination;
mod host;
mod interfaces;
mod listen;
mod percent;
mod resolve;
mod tune;

pub use destination::{DEFAULT_PORT, Destination, DestinationError};
pub use host::{Host, HostError};
pub use interfaces::local_addresses;
pub use listen::{ListenError, listen};
pub use resolve::{ResolveError, resolve};
pub use tune::{KEEPALIVE, tune};
