//! What all connections of a server share: its limits, its book of who is there, and how one is run.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{Connection, ConnectionError, Framing};
use crate::event::{End, Event, Record};
use crate::handler::{Handler, HandlerError};
use crate::limits::{Limits, SESSION_IDLE};
use crate::watch::{Cause, Deadlines, Looks, Watch};

pub(crate) type Observer = Box<dyn Fn(Event) + Send + Sync>;

/// What all connections of a server share.
pub(crate) struct House<H> {
    pub(crate) framing: Framing,
    pub(crate) limits: Limits,
    pub(crate) room: Arc<Semaphore>,
    handler: H,
    observer: Observer,
    numbers: AtomicU64,
    ended: AtomicU64,
    cut_off: AtomicU64,
    draining: AtomicBool,
    book: Mutex<Book>,
}

/// Who is there.
/// What a server did in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Connections and sessions that ended.
    pub connections: u64,
    /// Of those, the ones that were cut off at the end.
    pub cut_off: u64,
}

#[derive(Default)]
struct Book {
    connections: HashMap<u64, Looks>,
    addresses: HashMap<IpAddr, usize>,
}

/// A place among the connections that there may be. It is free again when this is dropped, however the
/// connection's task ended.
pub(crate) struct Place<H: Handler> {
    house: Arc<House<H>>,
    ip: Option<IpAddr>,
    _room: OwnedSemaphorePermit,
}

impl<H: Handler> Drop for Place<H> {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut book = self.house.book();
        if let Some(count) = book.addresses.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                book.addresses.remove(&ip);
            }
        }
    }
}

/// A connection whose handler is about to run.
pub(crate) struct Arrival<H: Handler> {
    pub(crate) connection: Connection,
    pub(crate) watch: Arc<Watch>,
    pub(crate) idle: Option<Duration>,
    /// Datagrams that the handler was too slow for.
    pub(crate) dropped: Arc<AtomicU64>,
    pub(crate) place: Place<H>,
}

impl<H: Handler> House<H> {
    pub(crate) fn new(
        framing: Framing,
        limits: Limits,
        observer: Observer,
        handler: H,
    ) -> Arc<Self> {
        let room = limits.connections.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            room: Arc::new(Semaphore::new(room)),
            framing,
            limits,
            handler,
            observer,
            numbers: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            book: Mutex::default(),
        })
    }

    pub(crate) fn tell(&self, event: Event) {
        (self.observer)(event);
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A place for a peer of this address, unless it has as many connections as it may.
    pub(crate) fn admit(
        self: &Arc<Self>,
        ip: Option<IpAddr>,
        room: OwnedSemaphorePermit,
    ) -> Result<Place<H>, usize> {
        if let Some(ip) = ip {
            let mut book = self.book();
            let count = book.addresses.get(&ip).copied().unwrap_or_default();
            if count >= self.limits.per_address {
                return Err(count);
            }
            book.addresses.insert(ip, count + 1);
        }
        Ok(Place {
            house: Arc::clone(self),
            ip,
            _room: room,
        })
    }

    /// Runs the handler on a connection, from its arrival to its record.
    pub(crate) fn run(&self, arrival: Arrival<H>) -> impl Future<Output = ()> + Send + '_ {
        // On the heap, and made before anything waits: what a task is given it holds twice.
        let leaving = Box::new(self.enter(arrival));
        self.serve(leaving)
    }

    async fn serve(&self, mut leaving: Box<Leaving<'_, H>>) {
        let watch = Arc::clone(&leaving.watch);
        let handled = {
            let mut handled = pin!(self.handler.handle(&mut leaving.connection));
            poll_fn(|context| watch.poll_unless_cut(context, handled.as_mut())).await
        };
        let outcome = match handled {
            // What the handler fed and did not flush still goes out.
            Some(Ok(())) => leaving.connection.finish().await.map_err(Into::into),
            Some(error) => error,
            None => Err(ConnectionError::from(watch.cause().unwrap_or(Cause::Drain)).into()),
        };
        let in_order = outcome.is_ok();
        leaving.end = Some(leaving.end_of(outcome));
        if in_order {
            leaving.connection.hear_out().await;
        }
    }

    fn enter(&self, arrival: Arrival<H>) -> Leaving<'_, H> {
        let Arrival {
            connection,
            watch,
            idle,
            dropped,
            place,
        } = arrival;
        let deadlines = Deadlines {
            idle,
            message: self.limits.message,
        };
        let looks = Looks::new(Arc::clone(&watch), deadlines);
        let number = connection.peer().number;
        {
            // Draining is begun under the same lock: either it finds the connection in the book, or this
            // finds it begun.
            let mut book = self.book();
            if self.draining.load(Ordering::Relaxed) {
                looks.drain();
            }
            book.connections.insert(number, looks);
        }
        self.tell(Event::Arrived(connection.peer().clone()));
        Leaving {
            house: self,
            connection,
            watch,
            start: Instant::now(),
            dropped,
            place: Some(place),
            end: None,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn served(&self) -> Served {
        Served {
            connections: self.ended.load(Ordering::Relaxed),
            cut_off: self.cut_off.load(Ordering::Relaxed),
        }
    }

    /// How many connections have a handler.
    pub(crate) fn connections(&self) -> usize {
        self.book().connections.len()
    }

    /// Lets every connection finish what it has received, and no more.
    pub(crate) fn drain(&self) {
        let book = self.book();
        self.draining.store(true, Ordering::Relaxed);
        book.connections.values().for_each(Looks::drain);
    }

    /// Looks at every connection, often enough for the shortest deadline, for ever.
    pub(crate) async fn keep_watch(self: Arc<Self>) {
        let deadlines = [self.limits.idle, self.limits.message, Some(SESSION_IDLE)];
        let shortest = deadlines.into_iter().flatten().min();
        let period = shortest.unwrap_or(SESSION_IDLE) / 8;
        let period = period.clamp(Duration::from_millis(10), Duration::from_millis(500));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            for looks in self.book().connections.values_mut() {
                looks.look(now);
            }
        }
    }
}

/// A connection that is served. Its record is written when this is dropped: at its end, or when its task
/// is cut off or panics.
struct Leaving<'a, H: Handler> {
    house: &'a House<H>,
    connection: Connection,
    watch: Arc<Watch>,
    start: Instant,
    dropped: Arc<AtomicU64>,
    place: Option<Place<H>>,
    end: Option<End>,
}

impl<H: Handler> Leaving<'_, H> {
    fn end_of(&self, outcome: Result<(), HandlerError>) -> End {
        match self.watch.cause() {
            Some(Cause::Drain) if outcome.is_ok() => End::Drained,
            Some(Cause::Idle) => End::Idle,
            Some(Cause::Slow) => End::Slow,
            _ => End::of(outcome, self.connection.first_to_finish()),
        }
    }
}

impl<H: Handler> Drop for Leaving<'_, H> {
    fn drop(&mut self) {
        let house = self.house;
        let peer = self.connection.peer().clone();
        // Before it is told: who hears of the end and sends again is a new peer, and has a place.
        self.connection.receiver.close();
        drop(self.place.take());
        house.book().connections.remove(&peer.number);
        house.ended.fetch_add(1, Ordering::Relaxed);
        let end = self
            .end
            .take()
            .unwrap_or_else(|| match std::thread::panicking() {
                true => End::Failed("the handler panicked".to_owned()),
                false => End::CutOff,
            });
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
