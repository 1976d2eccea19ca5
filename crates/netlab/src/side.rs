//! One of the two namespaces, and its device on the link.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The device in each namespace.
const DEVICE: &str = "lab0";

/// Packets that wait in a device until they are carried: more than any link's queue, which is where they are to wait.
const DEVICE_QUEUE: &str = "20000";

/// Lets an address that was added later stay where the first of its network is removed.
const PROMOTE: &str = "/proc/sys/net/ipv4/conf/lab0/promote_secondaries";

/// How long the kernel may take to make a route to an address.
const ROUTE: Duration = Duration::from_secs(5);

/// Work for the thread that lives in a namespace.
type Work = Box<dyn FnOnce() + Send>;

/// A namespace, kept by a thread that is in it. Its device on the link is called `lab0`.
#[derive(Debug)]
pub struct Side {
    address: Ipv4Addr,
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Side {
    pub(crate) fn new(address: Ipv4Addr, mtu: u16) -> io::Result<(Self, Arc<SyncDevice>)> {
        let (work, jobs) = mpsc::channel::<Work>();
        let (made, device) = mpsc::channel();
        let thread = thread::Builder::new().name(format!("at {address}"));
        let thread = thread.spawn(move || {
            let opened = enter(address, mtu);
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

    /// The address on the link that it has from the beginning.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// Does something in this namespace and waits for it: sockets that are made there, and processes that are started
    /// there, stay there.
    ///
    /// That is all that rules of a firewall, routes or settings of the kernel need, for this side alone:
    ///
    /// ```no_run
    /// # use std::process::Command;
    /// # fn drop_at(side: &packhorse_netlab::Side) -> std::io::Result<()> {
    /// let rules = "add table ip lab
    ///     add chain ip lab input { type filter hook input priority 0; }
    ///     add rule ip lab input tcp dport 9000 drop";
    /// side.run(move || Command::new("nft").arg(rules).status())?;
    /// # Ok(())
    /// # }
    /// ```
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

    /// Gives its device another address, beside those that it has; `prefix` are the bits of its network. The other
    /// side reaches it where it has a route: it has one to 10.77.0.0/24, and to the network of any address of its
    /// own.
    ///
    /// # Errors
    /// The device has the address already, or the system does not take it.
    pub fn add_address(&self, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.run(move || {
            let network = format!("{address}/{prefix}");
            let arguments = ["address", "add", &network, "dev", DEVICE];
            if address.is_ipv6() {
                // Nobody else is on the link: without asking for duplicates it can be used at once (RFC 4862).
                ip(&[&arguments[..], &["nodad"]].concat())?;
                return wait_for_route_to(address);
            }
            std::fs::write(PROMOTE, "1")
                .map_err(|error| about(&format!("cannot write {PROMOTE}"), &error))?;
            ip(&arguments)?;
            Ok(())
        })
    }

    /// Takes an address from its device: connections from and to it hang from then on. `prefix` is that with which it
    /// was given; the first one's is 24.
    ///
    /// # Errors
    /// The device has no such address.
    pub fn remove_address(&self, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.run(move || {
            let network = format!("{address}/{prefix}");
            ip(&["address", "delete", &network, "dev", DEVICE])?;
            Ok(())
        })
    }

    /// Lets its device take packets of so many bytes at most.
    pub(crate) fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        self.run(move || ip(&["link", "set", DEVICE, "mtu", &mtu.to_string()]))?;
        Ok(())
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
fn enter(address: Ipv4Addr, mtu: u16) -> io::Result<SyncDevice> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
        let hint = "cannot make a network namespace: it takes root, or `unshare -Ur` around it";
        about(hint, &errno.into())
    })?;
    let device = DeviceBuilder::new()
        .name(DEVICE)
        .layer(tun_rs::Layer::L3)
        .build_sync()
        .map_err(|error| {
            let hint = "cannot make a TUN device: it takes /dev/net/tun, readable and writable";
            about(hint, &error)
        })?;
    device.set_nonblocking(true)?;
    let mtu = mtu.to_string();
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &format!("{address}/24"), "dev", DEVICE])?;
    ip(&["link", "set", DEVICE, "mtu", &mtu])?;
    ip(&["link", "set", DEVICE, "txqueuelen", DEVICE_QUEUE, "up"])?;
    Ok(device)
}

/// An error of the same kind that says what could not be done.
fn about(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Waits until packets to an IPv6 address of this namespace reach it: the kernel makes the route later, by itself.
fn wait_for_route_to(address: IpAddr) -> io::Result<()> {
    let address = address.to_string();
    let deadline = Instant::now() + ROUTE;
    while ip(&["-6", "route", "show", "table", "local", &address])?.is_empty() {
        if Instant::now() > deadline {
            let told = format!("{address} has no route after {} s", ROUTE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, told));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What `ip` tells when it is run with these arguments.
fn ip(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| about("cannot run `ip` (iproute2)", &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told = format!("ip {}: {}", arguments.join(" "), told.trim());
    Err(io::Error::other(told))
}
