//! Test networks on one machine: two network namespaces, and a link between them that is as bad as asked for.
//!
//! Linux can delay and lose packets by itself (netem) only where its kernel was built so. This link needs nothing but
//! TUN devices: each namespace has one, and threads of this process carry packets from one to the other, each
//! direction with its own [`Conditions`]: delay and jitter, rate and queue, losses alone and in bursts, packets that
//! are reordered, duplicated or corrupted, times when it is down, and the MTU. They can be changed, and the link be
//! cut, while it runs.
//!
//! ```no_run
//! use std::process::Command;
//! use packhorse_netlab::{Conditions, Direction, Lab};
//!
//! let conditions = Conditions { delay: std::time::Duration::from_millis(25), ..Conditions::default() };
//! let lab = Lab::new(conditions, conditions)?;
//! // A process that is started inside stays there.
//! let ping = lab.left().run(|| Command::new("ping").args(["-c", "3", "10.77.0.2"]).status())?;
//! lab.cut(Direction::Both);
//! let ping = lab.left().run(|| Command::new("ping").args(["-c", "3", "10.77.0.2"]).status())?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! For tests and benchmarks only. Needs root, or a user namespace in which the caller is root, around the whole
//! process: `unshare -Ur cargo test`. A process cannot make that one itself once it has threads, as tests have
//! (`unshare(2)`). `/dev/net/tun` must be open to the caller then, which it is where udev made it (mode 0666). All of
//! the lab works there; programs in it lack what only root itself has, such as socket buffers beyond the system's
//! limit.

mod chances;
mod conditions;
mod control;
mod flow;
mod lab;
mod pump;
mod shaper;
mod side;

pub use conditions::{Bursts, Conditions, Counters, Schedule};
pub use lab::{Direction, Lab};
pub use side::Side;
