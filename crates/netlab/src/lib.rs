//! Test networks on one machine: two network namespaces, and a link between them that takes time.
//!
//! Linux can delay and lose packets by itself (netem) only where its kernel was built so. This link needs nothing but TUN
//! devices: each namespace has one, and threads of this process carry packets from one to the other, each direction with
//! its own delay, rate, queue and loss.
//!
//! ```no_run
//! use std::process::Command;
//! use packhorse_netlab::{Conditions, Lab};
//!
//! let conditions = Conditions { delay: std::time::Duration::from_millis(25), ..Conditions::default() };
//! let lab = Lab::new(conditions, conditions)?;
//! // A process that is started inside stays there.
//! let ping = lab.left().run(|| Command::new("ping").args(["-c", "3", "10.77.0.2"]).status())?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! For tests and benchmarks only. Needs root, or a user namespace in which the caller is root (`unshare -Ur`).

mod conditions;
mod lab;
mod pump;
mod shaper;

pub use conditions::{Conditions, Counters};
pub use lab::{Lab, Side};
