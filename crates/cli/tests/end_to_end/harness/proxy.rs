//! A network that fails on command: a TCP proxy whose connections can be reset, closed, or left hanging, and that stops
//! where a test wants to look.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How long the end of a process goes unnoticed by who waits for bytes.
const LOOK: Duration = Duration::from_millis(20);

/// Forwards connections to one address, until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<String>,
    /// Both ends of each connection, in the order in which they came.
    open: Mutex<Vec<[TcpStream; 2]>>,
    /// Clients that have ended their direction by themselves.
    ended: Mutex<Vec<SocketAddr>>,
    /// Whether bytes are held back, in each direction: to the target, and from it.
    held: Mutex<[bool; 2]>,
    released: Condvar,
    /// Bytes that went to the target, and how many may.
    carried: AtomicU64,
    most: AtomicU64,
    /// Bytes a second to the target, on each connection.
    rate: AtomicU64,
    came: AtomicUsize,
    over: AtomicBool,
}

impl Shared {
    fn is_full(&self) -> bool {
        self.carried.load(Ordering::SeqCst) >= self.most.load(Ordering::SeqCst)
    }

    fn open(&self) -> MutexGuard<'_, Vec<[TcpStream; 2]>> {
        self.open.lock().expect("no thread panics with it")
    }
}

impl Proxy {
    pub(crate) fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            target: Mutex::new(target.to_owned()),
            open: Mutex::new(Vec::new()),
            ended: Mutex::new(Vec::new()),
            held: Mutex::new([false; 2]),
            released: Condvar::new(),
            carried: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            rate: AtomicU64::new(u64::MAX),
            came: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || serve(&listener, &serving));
        Self { address, shared }
    }

    /// Where a client connects.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Forwards further connections to another address.
    pub(crate) fn aim(&self, target: &str) {
        target.clone_into(&mut self.shared.target.lock().expect("no thread panics with it"));
    }

    /// Resets every connection, at both ends.
    pub(crate) fn reset(&self) {
        for ends in self.shared.open().drain(..) {
            ends.iter().for_each(reset);
        }
    }

    /// The connection that came last, but for the first of all, on which messages go.
    fn take_last(&self) -> Option<[TcpStream; 2]> {
        let ended = self.shared.ended.lock().expect("no thread panics with it");
        let mut open = self.shared.open();
        let is_open = |[client, _]: &[TcpStream; 2]| {
            client
                .peer_addr()
                .is_ok_and(|address| !ended.contains(&address))
        };
        let last = open.iter().rposition(is_open).filter(|&last| last > 0)?;
        Some(open.remove(last))
    }

    /// Resets the lane that came last.
    pub(crate) fn reset_last(&self) {
        if let Some(ends) = self.take_last() {
            ends.iter().for_each(reset);
        }
    }

    /// Resets every lane. The last one may be one that nobody misses yet.
    #[cfg(feature = "faults")]
    pub(crate) fn reset_lanes(&self) {
        while let Some(ends) = self.take_last() {
            ends.iter().for_each(reset);
        }
    }

    /// Closes the lane that came last as a program that ends does.
    pub(crate) fn close_last(&self) {
        if let Some(ends) = self.take_last() {
            for end in &ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// How many connections came so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.came.load(Ordering::SeqCst)
    }

    /// Waits until so many connections have come.
    pub(crate) fn wait_until_came(&self, connections: u64) {
        let mut held = self.shared.held.lock().expect("no thread panics with it");
        while (self.connections() as u64) < connections {
            let waited = self.shared.released.wait_timeout(held, LOOK);
            held = waited.expect("no thread panics with it").0;
        }
    }

    /// Bytes that went to the target so far, on all connections.
    pub(crate) fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::SeqCst)
    }

    /// Closes every connection as a program that ends does.
    pub(crate) fn close(&self) {
        for ends in self.shared.open().drain(..) {
            for end in &ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// Stops when so many bytes have gone to the target.
    pub(crate) fn stop_after(&self, bytes: u64) {
        let held = self.shared.held.lock().expect("no thread panics with it");
        self.shared.most.store(bytes, Ordering::SeqCst);
        drop(held);
        self.shared.released.notify_all();
    }

    /// Waits until so many bytes have gone to the target, or `over` says that no more will.
    pub(crate) fn wait_until_carried(&self, bytes: u64, mut over: impl FnMut() -> bool) {
        let mut held = self.shared.held.lock().expect("no thread panics with it");
        while self.carried() < bytes && !over() {
            // Whoever ends wakes nobody here.
            let waited = self.shared.released.wait_timeout(held, LOOK);
            held = waited.expect("no thread panics with it").0;
        }
    }

    /// Takes no more than so many bytes a second from each client, as a reader does that is slow.
    pub(crate) fn throttle(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::SeqCst);
    }

    /// Whether it has stopped there.
    pub(crate) fn has_stopped(&self) -> bool {
        self.shared.is_full()
    }

    /// Goes on for ever.
    pub(crate) fn go_on(&self) {
        self.stop_after(u64::MAX);
        self.hold([false; 2]);
    }

    /// Holds bytes back, in either direction: to the target, and from it.
    pub(crate) fn hold(&self, held: [bool; 2]) {
        *self.shared.held.lock().expect("no thread panics with it") = held;
        self.shared.released.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.go_on();
        self.reset();
        // Wakes the accept.
        let _ = TcpStream::connect(self.address);
    }
}

/// Ends a connection with RST (SO_LINGER of 0), whoever still holds it.
fn reset(end: &TcpStream) {
    let _ = set_socket_linger(end.as_fd(), Some(Duration::ZERO));
    let _ = end.shutdown(Shutdown::Both);
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.over.load(Ordering::Relaxed) {
            return;
        }
        let target = shared
            .target
            .lock()
            .expect("no thread panics with it")
            .clone();
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else {
            continue;
        };
        for (from, to, direction) in [(&client, &server, 0), (&server, &client, 1)] {
            let ends = (from.try_clone(), to.try_clone());
            let (Ok(from), Ok(to)) = ends else { continue };
            let shared = Arc::clone(shared);
            thread::spawn(move || forward(from, to, direction, &shared));
        }
        shared.open().push([client, server]);
        shared.came.fetch_add(1, Ordering::SeqCst);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, direction: usize, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let rate = shared.rate.load(Ordering::SeqCst);
        let slow = direction == 0 && rate < u64::MAX;
        // A quarter of a second's worth at a time.
        let share = if slow {
            usize::try_from(rate / 4)
                .unwrap_or(usize::MAX)
                .min(buffer.len())
        } else {
            buffer.len()
        };
        let read = match from.read(&mut buffer[..share]) {
            Ok(0) if direction == 0 => {
                let mut ended = shared.ended.lock().expect("no thread panics with it");
                ended.extend(from.peer_addr());
                break;
            }
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        if slow {
            // The time that a line of this rate takes: what is simulated, not waited for.
            thread::sleep(Duration::from_secs_f64(read as f64 / rate as f64));
        }
        let held = shared.held.lock().expect("no thread panics with it");
        let waits = |held: &mut [bool; 2]| held[direction] || (direction == 0 && shared.is_full());
        drop(shared.released.wait_while(held, waits));
        if direction == 0 {
            shared.carried.fetch_add(read as u64, Ordering::SeqCst);
            shared.released.notify_all();
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
