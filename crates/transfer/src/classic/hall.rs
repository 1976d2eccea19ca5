//! Where classic clients are served: so many at once, each on a thread of its own.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use packhorse_endpoint::Observed;
use packhorse_tree::{Directory, Existing};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::beside::Hasher;
use super::client::{Client, Outcome};
use super::error::ClassicError;
use super::header::{Check, Header};
use super::md5::Md5;
use super::progress::Tally;
use super::{ClassicLimits, Format};

/// Clients that get a second thread for their MD5. With more than these the cores are busy anyway, and
/// the buffers of all would be too many.
const BESIDE: usize = 8;

/// From this size on a second thread is worth its start, in bytes.
const BESIDE_FROM: u64 = 1 << 20;

/// Clients that are served at this moment, and what they share.
pub(crate) struct Hall {
    pub(super) destination: Arc<Directory>,
    pub(super) existing: Existing,
    pub(super) limits: ClassicLimits,
    pub(super) tally: Tally,
    room: Arc<Semaphore>,
    beside: Arc<Semaphore>,
    reports: UnboundedSender<Report>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Nobody is let in any more.
    closed: bool,
    sockets: Vec<Weak<Observed<TcpStream>>>,
}

/// Room for one client.
pub(crate) struct Place(
    #[expect(dead_code, reason = "it counts by being there")] OwnedSemaphorePermit,
);

/// What became of a client. Its place is free when this is dropped, so that no more of these can pile up
/// than there are places.
pub(crate) struct Report {
    pub(super) peer: SocketAddr,
    pub(super) outcome: Outcome,
    /// Held until somebody has looked at the report.
    #[expect(dead_code, reason = "it counts by being there")]
    place: Option<Place>,
}

impl Hall {
    /// An empty hall, and where it tells what became of its clients.
    pub(crate) fn new(
        destination: Arc<Directory>,
        existing: Existing,
        limits: ClassicLimits,
    ) -> (Arc<Self>, UnboundedReceiver<Report>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        let hall = Self {
            destination,
            existing,
            tally: Tally::default(),
            room: Arc::new(Semaphore::new(limits.clients.max(1))),
            beside: Arc::new(Semaphore::new(BESIDE)),
            limits,
            reports,
            open: Mutex::default(),
        };
        (Arc::new(hall), receiver)
    }

    /// Waits until there is room for one more.
    pub(crate) async fn room(&self) -> Place {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        Place(permit.expect("nobody closes this semaphore"))
    }

    /// How many are being served, or have a report that nobody has looked at.
    pub(crate) fn clients(&self) -> usize {
        self.limits.clients.max(1) - self.room.available_permits()
    }

    /// Serves a client, of which `early` was read already. The socket is blocking.
    pub(crate) fn admit(
        self: &Arc<Self>,
        place: Place,
        stream: Observed<TcpStream>,
        peer: SocketAddr,
        early: Vec<u8>,
    ) {
        // What cannot be tuned is about to end.
        let _ = packhorse_endpoint::tune(&*stream);
        let stream = Arc::new(stream);
        {
            let mut open = self.open();
            if open.closed {
                return;
            }
            open.sockets.retain(|socket| socket.strong_count() > 0);
            open.sockets.push(Arc::downgrade(&stream));
        }
        let client = Client {
            stream,
            peer,
            early,
        };
        let hall = Arc::clone(self);
        let serve = move || {
            let outcome = client.serve(&hall);
            let place = Some(place);
            hall.report(Report {
                peer,
                outcome,
                place,
            });
        };
        let name = "classic client".to_owned();
        if let Err(error) = thread::Builder::new().name(name).spawn(serve) {
            self.report(Report {
                peer,
                outcome: Outcome::Failed(None, ClassicError::Threads(error)),
                place: None,
            });
        }
    }

    fn report(&self, report: Report) {
        // Nobody listens only when everything ends.
        let _ = self.reports.send(report);
    }

    /// How a file of this header is hashed.
    pub(super) fn hasher(&self, header: &Header) -> Hasher {
        match header.check {
            Check::Size => Hasher::Nothing,
            Check::Md5 { .. } if header.size < BESIDE_FROM => Hasher::Here(Md5::new()),
            Check::Md5 { .. } => match Arc::clone(&self.beside).try_acquire_owned() {
                Ok(place) => Hasher::beside(place),
                Err(_) => Hasher::Here(Md5::new()),
            },
        }
    }

    /// Lets nobody in any more, and cuts those who are there: their threads end, and their unfinished
    /// files are gone.
    pub(crate) fn cut(&self) {
        let mut open = self.open();
        open.closed = true;
        for socket in open.sockets.drain(..).filter_map(|socket| socket.upgrade()) {
            // One that is gone already needs no cutting.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Format {
    /// How its content is protected, for a person.
    pub(super) fn protection(self) -> String {
        format!("classic {}: no encryption, no authentication", self.name())
    }
}
