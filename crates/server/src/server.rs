//! A server: sockets that wait, connections that run, and what bounds them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use packhorse_endpoint::{Bound, Direction};
use tokio::sync::{Semaphore, watch as signal};
use tokio::task::JoinSet;

use crate::accept;
use crate::connection::{Connection, ConnectionError, Framing, hush};
use crate::event::{End, Event, Record};
use crate::handler::{Handler, HandlerError};
use crate::sessions;
use crate::watch::{Cause, Clock, Watch};

/// What bounds a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections and sessions at a time. Further connections wait in the kernel's queue.
    pub connections: usize,
    /// Connections and sessions at a time of one IP address. Further ones are closed at once.
    pub per_address: usize,
    /// How long a connection may be without a byte in either direction. `None`: for ever; a session
    /// over datagrams, whose end nobody tells, then has [`SESSION_IDLE`].
    pub idle: Option<Duration>,
    /// How long a message may take from its first byte to its last.
    pub message: Option<Duration>,
    /// How long connections may take to finish when the server ends.
    pub drain: Duration,
}

/// How long a session over datagrams may be silent where nothing else is said.
pub const SESSION_IDLE: Duration = Duration::from_secs(60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: 20_000,
            idle: None,
            message: None,
            drain: Duration::from_secs(5),
        }
    }
}

/// What a server is about, as its sockets' tasks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes whoever comes.
    Serve,
    /// It lets those that are there finish.
    Drain,
    /// It waits no longer.
    Cut,
}

/// Waits for the tasks of connections, and drops those that are left when the server waits no longer:
/// their records say that they were cut off.
pub(crate) async fn finish<T: Send + 'static>(
    running: &mut JoinSet<T>,
    phases: &mut signal::Receiver<Phase>,
) {
    let finished = tokio::select! {
        () = async { while running.join_next().await.is_some() {} } => true,
        _ = phases.wait_for(|phase| *phase == Phase::Cut) => false,
    };
    if !finished {
        running.shutdown().await;
    }
}

type Observer = Box<dyn Fn(Event) + Send + Sync>;

/// Sockets that wait for peers, and how these are served.
pub struct Server {
    bound: Vec<Bound>,
    framing: Framing,
    limits: Limits,
    observer: Observer,
}

/// What a server did in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Connections and sessions that ended.
    pub connections: u64,
    /// Of those, the ones that were cut off at the end.
    pub cut_off: u64,
}

impl Server {
    /// A server for what waits at `bound`, of any kinds.
    #[must_use]
    pub fn new(bound: Vec<Bound>) -> Self {
        Self {
            bound,
            framing: Framing::default(),
            limits: Limits::default(),
            observer: Box::new(|_| {}),
        }
    }

    /// How messages travel. Default: as they come.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// What bounds it.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who is told what happens. Called from many tasks: it must not block.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Serves until `stop` ends, then lets connections finish for as long as
    /// [`drain`](Limits::drain) allows, and cuts off those that are left.
    pub async fn serve<H: Handler>(self, handler: H, stop: impl Future<Output = ()>) -> Served {
        let (phase, phases) = signal::channel(Phase::Serve);
        let house = House::new(self.framing, self.limits, self.observer, handler);
        let mut waiting = JoinSet::new();
        for bound in self.bound {
            house.tell(Event::Listening {
                kind: bound.kind,
                address: bound.local.clone(),
                pin: bound.tls.as_ref().map(packhorse_endpoint::TlsServer::pin),
            });
            let (house, phases) = (Arc::clone(&house), phases.clone());
            match bound.kind.is_connected() {
                true => _ = waiting.spawn(accept::run(house, bound, phases)),
                false => _ = waiting.spawn(sessions::run(house, bound, phases)),
            }
        }
        let sweeper = tokio::spawn(sweep(Arc::clone(&house)));
        stop.await;
        phase.send_replace(Phase::Drain);
        house.tell(Event::Draining {
            connections: house.connections(),
        });
        house.drain();
        let patience = tokio::time::sleep(house.limits.drain);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                ended = waiting.join_next() => if ended.is_none() { break },
                () = &mut patience, if *phase.borrow() == Phase::Drain => {
                    phase.send_replace(Phase::Cut);
                }
            }
        }
        sweeper.abort();
        house.served()
    }
}

/// What all connections of a server share.
pub(crate) struct House<H> {
    pub(crate) framing: Framing,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<Clock>,
    pub(crate) room: Arc<Semaphore>,
    handler: H,
    observer: Observer,
    numbers: AtomicU64,
    ended: AtomicU64,
    cut_off: AtomicU64,
    running: AtomicUsize,
    draining: std::sync::atomic::AtomicBool,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    connections: HashMap<u64, Entry>,
    addresses: HashMap<IpAddr, usize>,
}

/// How a connection is reached from outside its task.
pub(crate) struct Entry {
    pub(crate) watch: Arc<Watch>,
    pub(crate) idle: Option<Duration>,
    pub(crate) wake: Wake,
}

/// How a task that waits for its peer is woken.
pub(crate) enum Wake {
    /// By ending the stream.
    Stream(Arc<packhorse_endpoint::AsyncSocket>),
    /// By ending the session: the socket's own task does it.
    Session(tokio::sync::mpsc::UnboundedSender<u64>),
    /// It is told with the task's next look: TLS keeps its socket to itself.
    Notify(Arc<tokio::sync::Notify>),
}

impl<H: Handler> House<H> {
    fn new(framing: Framing, limits: Limits, observer: Observer, handler: H) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            framing,
            limits,
            clock: Clock::new(),
            handler,
            observer,
            numbers: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            draining: false.into(),
            book: Mutex::default(),
        })
    }

    pub(crate) fn tell(&self, event: Event) {
        (self.observer)(event);
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a peer's address, unless it has as many connections as it may.
    pub(crate) fn admit(&self, ip: Option<IpAddr>) -> Result<(), usize> {
        let Some(ip) = ip else { return Ok(()) };
        let mut book = self.book();
        let count = book.addresses.entry(ip).or_default();
        if *count >= self.limits.per_address {
            return Err(*count);
        }
        *count += 1;
        Ok(())
    }

    pub(crate) fn dismiss(&self, ip: Option<IpAddr>) {
        let Some(ip) = ip else { return };
        let mut book = self.book();
        if let Some(count) = book.addresses.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                book.addresses.remove(&ip);
            }
        }
    }

    /// Runs the handler on a connection, from its arrival to its record.
    pub(crate) async fn run(
        &self,
        mut connection: Connection,
        entry: Entry,
        dropped: Arc<AtomicU64>,
    ) {
        let number = connection.peer().number;
        let watch = Arc::clone(&entry.watch);
        let notify = match &entry.wake {
            Wake::Notify(notify) => Some(Arc::clone(notify)),
            _ => None,
        };
        self.book().connections.insert(number, entry);
        self.running.fetch_add(1, Ordering::Relaxed);
        self.tell(Event::Arrived(connection.peer().clone()));
        if self.draining.load(Ordering::Acquire) {
            self.drain();
        }
        let start = Instant::now();
        let mut leaving = Leaving {
            house: self,
            connection: &mut connection,
            start,
            dropped,
            end: None,
        };
        let handled = leaving.house.handler.handle(leaving.connection);
        let outcome = match notify {
            None => handled.await,
            Some(notify) => tokio::select! {
                outcome = handled => outcome,
                () = notify.notified() => Err(ConnectionError::from(watch.cause().unwrap_or(Cause::Drain)).into()),
            },
        };
        let outcome = match outcome {
            // What the handler fed and did not flush still goes out.
            Ok(()) => leaving.connection.close().await.map_err(HandlerError::from),
            error => error,
        };
        leaving.end = Some(match watch.cause() {
            Some(Cause::Drain) if outcome.is_ok() => End::Drained,
            Some(Cause::Idle) => End::Idle,
            Some(Cause::Slow) => End::Slow,
            _ => End::of(outcome, leaving.connection.first_to_finish()),
        });
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    fn served(&self) -> Served {
        Served {
            connections: self.ended.load(Ordering::Relaxed),
            cut_off: self.cut_off.load(Ordering::Relaxed),
        }
    }

    /// Lets every connection finish what it has received, and no more.
    fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        for (number, entry) in &self.book().connections {
            entry.end(*number, Cause::Drain);
        }
    }

    /// Ends the connections whose time is over.
    fn end_overdue(&self) {
        let now = self.clock.set();
        for (number, entry) in &self.book().connections {
            if let Some(cause) = entry.watch.overdue(now, entry.idle, self.limits.message) {
                entry.end(*number, cause);
            }
        }
    }
}

impl Entry {
    fn end(&self, number: u64, cause: Cause) {
        self.watch.end(cause);
        match &self.wake {
            Wake::Stream(socket) => hush(
                socket,
                match cause {
                    Cause::Drain => Direction::Receive,
                    Cause::Idle | Cause::Slow => Direction::Both,
                },
            ),
            Wake::Session(ending) => drop(ending.send(number)),
            Wake::Notify(notify) => notify.notify_one(),
        }
    }
}

/// Writes the record when a connection's task ends, and when it is dropped.
struct Leaving<'a, H: Handler> {
    house: &'a House<H>,
    connection: &'a mut Connection,
    start: Instant,
    dropped: Arc<AtomicU64>,
    end: Option<End>,
}

impl<H: Handler> Drop for Leaving<'_, H> {
    fn drop(&mut self) {
        let house = self.house;
        let peer = self.connection.peer().clone();
        house.book().connections.remove(&peer.number);
        house.running.fetch_sub(1, Ordering::Relaxed);
        house.ended.fetch_add(1, Ordering::Relaxed);
        let end = self.end.take().unwrap_or(End::CutOff);
        if matches!(end, End::CutOff) {
            house.cut_off.fetch_add(1, Ordering::Relaxed);
        }
        house.tell(Event::Ended(Box::new(Record {
            received: self.connection.received(),
            sent: self.connection.sent(),
            dropped: self.dropped.load(Ordering::Relaxed),
            duration: self.start.elapsed(),
            peer,
            end,
        })));
    }
}

/// Looks at the clock, and at who is late, often enough for the shortest deadline.
async fn sweep<H: Handler>(house: Arc<House<H>>) {
    let deadlines = [house.limits.idle, house.limits.message, Some(SESSION_IDLE)];
    let shortest = deadlines
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(SESSION_IDLE);
    let period = (shortest / 8).clamp(Duration::from_millis(10), Duration::from_millis(500));
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        house.end_overdue();
    }
}
