//! Two namespaces and the link between them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::conditions::{Conditions, Counters};
use crate::pump::Pump;
use crate::shaper::Shaper;

/// The device in each namespace.
const DEVICE: &str = "lab0";

/// Packets that wait in a device until they are carried: more than any link's queue, which is where they are to wait.
const DEVICE_QUEUE: &str = "20000";

/// Work for the thread that lives in a namespace.
type Work = Box<dyn FnOnce() + Send>;

/// A network of two namespaces. It goes when it is dropped; processes in it had better be gone by then.
#[derive(Debug)]
pub struct Lab {
    left: Side,
    right: Side,
    over: Arc<AtomicBool>,
    pumps: Vec<JoinHandle<io::Result<()>>>,
    counters: [Arc<Mutex<Counters>>; 2],
}

/// One of its namespaces, kept by a thread that is in it.
#[derive(Debug)]
pub struct Side {
    address: Ipv4Addr,
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Lab {
    /// Makes both namespaces and the link: `rightward` holds for what the left side sends.
    ///
    /// # Errors
    /// The caller is not root, or `ip` (iproute2) or TUN devices are missing.
    pub fn new(rightward: Conditions, leftward: Conditions) -> io::Result<Self> {
        let (left, at_left) = Side::new(Ipv4Addr::new(10, 77, 0, 1))?;
        let (right, at_right) = Side::new(Ipv4Addr::new(10, 77, 0, 2))?;
        let mut lab = Self {
            left,
            right,
            over: Arc::default(),
            pumps: Vec::new(),
            counters: Default::default(),
        };
        let [to_right, to_left] = lab.counters.each_ref().map(Arc::clone);
        lab.pump("rightward", (&at_left, &at_right), rightward, to_right)?;
        lab.pump("leftward", (&at_right, &at_left), leftward, to_left)?;
        Ok(lab)
    }

    fn pump(
        &mut self,
        name: &str,
        (from, to): (&Arc<SyncDevice>, &Arc<SyncDevice>),
        conditions: Conditions,
        counters: Arc<Mutex<Counters>>,
    ) -> io::Result<()> {
        let pump = Pump {
            from: Arc::clone(from),
            to: Arc::clone(to),
            shaper: Shaper::new(conditions),
            counters,
            over: Arc::clone(&self.over),
        };
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

    /// What became of packets so far: of those that the left side sent, and of those that the right side sent.
    #[must_use]
    pub fn counters(&self) -> [Counters; 2] {
        self.counters
            .each_ref()
            .map(|counters| *counters.lock().unwrap_or_else(PoisonError::into_inner))
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

impl Side {
    fn new(address: Ipv4Addr) -> io::Result<(Self, Arc<SyncDevice>)> {
        let (work, jobs) = mpsc::channel::<Work>();
        let (made, device) = mpsc::channel();
        let thread = thread::Builder::new().name(format!("at {address}"));
        let thread = thread.spawn(move || {
            let opened = enter(address);
            let failed = opened.is_err();
            if made.send(opened).is_err() || failed {
                return;
            }
            for job in jobs {
                job();
            }
        })?;
        let device = device.recv().map_err(io::Error::other)??;
        let side = Self {
            address,
            work: Some(work),
            thread: Some(thread),
        };
        Ok((side, Arc::new(device)))
    }

    /// Its address on the link.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// Does something in this namespace and waits for it: sockets that are made there, and processes that are started
    /// there, stay there.
    ///
    /// # Panics
    /// Where `what` panics.
    pub fn run<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let work: Work = Box::new(move || {
            let _ = tell.send(what());
        });
        let sent = self.work.as_ref().map(|queue| queue.send(work));
        assert!(
            matches!(sent, Some(Ok(()))),
            "the namespace's thread is gone"
        );
        told.recv().expect("the work has panicked")
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.work.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves this thread to a network namespace of its own, with a device on the link.
fn enter(address: Ipv4Addr) -> io::Result<SyncDevice> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let device = DeviceBuilder::new()
        .name(DEVICE)
        .layer(tun_rs::Layer::L3)
        .build_sync()?;
    device.set_nonblocking(true)?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &format!("{address}/24"), "dev", DEVICE])?;
    ip(&["link", "set", DEVICE, "txqueuelen", DEVICE_QUEUE, "up"])?;
    Ok(device)
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told = format!("ip {}: {}", arguments.join(" "), told.trim());
    Err(io::Error::other(told))
}
