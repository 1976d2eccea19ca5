//! Two namespaces and the link between them.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tun_rs::SyncDevice;

use crate::conditions::{Conditions, Counters};
use crate::control::Control;
use crate::pump::Pump;
use crate::shaper::Shaper;
use crate::side::Side;

/// A network of two namespaces. It goes when it is dropped; processes in it had better be gone by then.
#[derive(Debug)]
pub struct Lab {
    left: Side,
    right: Side,
    over: Arc<AtomicBool>,
    pumps: Vec<JoinHandle<io::Result<()>>>,
    rightward: Steering,
    leftward: Steering,
}

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What the left side sends.
    Rightward,
    /// What the right side sends.
    Leftward,
    /// Either.
    Both,
}

/// What a lab and the pump of one direction share.
#[derive(Debug, Default)]
struct Steering {
    control: Arc<Control>,
    counters: Arc<Mutex<Counters>>,
}

impl Lab {
    /// Makes both namespaces and the link: `rightward` holds for what the left side sends.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied): the caller may not make network namespaces, or not use
    /// `/dev/net/tun`; the crate's documentation tells how to do without root. Others: `ip` (iproute2) or TUN devices
    /// are missing, or conditions have an MTU that no device takes.
    pub fn new(rightward: Conditions, leftward: Conditions) -> io::Result<Self> {
        let (left, at_left) = Side::new(Ipv4Addr::new(10, 77, 0, 1), rightward.mtu)?;
        let (right, at_right) = Side::new(Ipv4Addr::new(10, 77, 0, 2), leftward.mtu)?;
        let mut lab = Self {
            left,
            right,
            over: Arc::default(),
            pumps: Vec::new(),
            rightward: Steering::default(),
            leftward: Steering::default(),
        };
        let pump = lab
            .rightward
            .pump((&at_left, &at_right), rightward, &lab.over);
        lab.start("rightward", pump)?;
        let pump = lab
            .leftward
            .pump((&at_right, &at_left), leftward, &lab.over);
        lab.start("leftward", pump)?;
        Ok(lab)
    }

    fn start(&mut self, name: &str, pump: Pump) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned());
        self.pumps.push(thread.spawn(|| pump.run())?);
        Ok(())
    }

    /// Where 10.77.0.1 is.
    #[must_use]
    pub fn left(&self) -> &Side {
        &self.left
    }

    /// Where 10.77.0.2 is.
    #[must_use]
    pub fn right(&self) -> &Side {
        &self.right
    }

    /// Changes the conditions while the lab runs: they hold for every packet that is sent after this. Random streams
    /// and schedules begin anew. What waits in the queue or is under way arrives when it would have, and before what
    /// is sent after it; what waits in a device, because it was sent faster than the link takes packets, meets the
    /// new conditions.
    ///
    /// # Errors
    /// A device does not take the MTU: nothing has changed then, but perhaps the left one's.
    pub fn set(&self, direction: Direction, conditions: Conditions) -> io::Result<()> {
        if direction != Direction::Leftward {
            self.left.set_mtu(conditions.mtu)?;
        }
        if direction != Direction::Rightward {
            self.right.set_mtu(conditions.mtu)?;
        }
        for steering in self.steerings(direction) {
            let control = &steering.control;
            control.change(|changes| changes.conditions = Some(conditions));
        }
        Ok(())
    }

    /// Cuts the link: what is sent after this is lost, and counted ([`Counters::while_down`]), until it is restored.
    /// The devices stay up, as those of a machine do whose router lost its line; what is under way arrives.
    pub fn cut(&self, direction: Direction) {
        for steering in self.steerings(direction) {
            steering.control.change(|changes| changes.cut = true);
        }
    }

    /// Restores what was cut; schedules have gone on meanwhile.
    pub fn restore(&self, direction: Direction) {
        for steering in self.steerings(direction) {
            steering.control.change(|changes| changes.cut = false);
        }
    }

    /// What became of packets so far: of those that the left side sent, and of those that the right side sent.
    #[must_use]
    pub fn counters(&self) -> [Counters; 2] {
        [&self.rightward, &self.leftward].map(|steering| {
            let counters = steering.counters.lock();
            *counters.unwrap_or_else(PoisonError::into_inner)
        })
    }

    fn steerings(&self, direction: Direction) -> impl Iterator<Item = &Steering> {
        let rightward = (direction != Direction::Leftward).then_some(&self.rightward);
        let leftward = (direction != Direction::Rightward).then_some(&self.leftward);
        rightward.into_iter().chain(leftward)
    }
}

impl Steering {
    /// The pump that listens to it.
    fn pump(
        &self,
        (from, to): (&Arc<SyncDevice>, &Arc<SyncDevice>),
        conditions: Conditions,
        over: &Arc<AtomicBool>,
    ) -> Pump {
        Pump {
            from: Arc::clone(from),
            to: Arc::clone(to),
            shaper: Shaper::new(conditions),
            control: Arc::clone(&self.control),
            counters: Arc::clone(&self.counters),
            over: Arc::clone(over),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for pump in self.pumps.drain(..) {
            // A link that broke has shown itself by then.
            let _ = pump.join();
        }
    }
}
