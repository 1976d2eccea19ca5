//! A receiver for classic clients alone.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_endpoint::{self as endpoint, CallObserver, Observed};
use packhorse_proto::path::RelativePath;
use packhorse_tree::{Disk, Existing};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

use super::ClassicLimits;
use super::client::Outcome;
use super::error::ClassicError;
use super::event::{ClassicEvent, ClassicTotals};
use super::hall::{Hall, Place, Report};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, Observer, PROGRESS_EVERY, Progress};
use crate::options::Sessions;

/// How long nothing is accepted when the system has no descriptor left for it.
const PAUSE: Duration = Duration::from_millis(50);

/// Where to receive classic files, and for how long.
#[derive(Debug)]
pub struct ClassicReceiveOptions {
    /// Where files land; made where it does not exist.
    pub directory: PathBuf,
    /// The address to listen on; port 0 lets the kernel choose. `None`: on loopback, at the default
    /// port. Whoever reaches another address can store files here.
    pub listen: Option<SocketAddr>,
    /// Whether to go on after the first file.
    pub sessions: Sessions,
    /// What happens to files that are already there.
    pub existing: Existing,
    /// What clients may ask for at most.
    pub limits: ClassicLimits,
    /// Who is told of each write and read call on the transfer's sockets.
    pub calls: Option<Arc<dyn CallObserver>>,
}

/// Receives files in both classic formats, from any number of clients at once.
///
/// With [`Sessions::One`] nobody is let in after the first file is over, whole or not; files that are
/// under way then are still received. Connections that come and go without a byte do not count.
///
/// # Errors
/// What ended the receiver, or with [`Sessions::One`] the first file, before the end.
pub async fn receive(
    options: ClassicReceiveOptions,
    mut observer: Observer,
    cancel: Cancel,
) -> Result<ClassicTotals, Error> {
    packhorse_endpoint::raise_descriptor_limit();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint::DEFAULT_PORT));
    let listener = endpoint::listen(Some(options.listen.unwrap_or(loopback)))?;
    let address = listener.local_addr().map_err(Error::Lost)?;
    let destination = crate::receiver::open_destination(Arc::new(Disk), &options.directory)?;
    let listener = TcpListener::from_std(listener).map_err(Error::Lost)?;
    let (hall, reports) = Hall::new(destination, options.existing, options.limits);
    let mut desk = Desk::new(hall, reports);
    observer(&Event::Listening {
        addresses: vec![address],
    });
    let outcome = desk
        .run(
            listener,
            (options.sessions, options.calls),
            &mut observer,
            &cancel,
        )
        .await;
    desk.close(&mut observer).await;
    let totals = desk.totals();
    if outcome.is_ok() {
        observer(&Event::Classic(ClassicEvent::Done(totals)));
    }
    outcome.map(|()| totals)
}

/// Where clients' outcomes are told and counted.
pub(crate) struct Desk {
    hall: Arc<Hall>,
    reports: UnboundedReceiver<Report>,
    totals: ClassicTotals,
    started: Instant,
}

impl Desk {
    pub(crate) fn new(hall: Arc<Hall>, reports: UnboundedReceiver<Report>) -> Self {
        Self {
            hall,
            reports,
            totals: ClassicTotals::default(),
            started: Instant::now(),
        }
    }

    async fn run(
        &mut self,
        listener: TcpListener,
        (sessions, calls): (Sessions, Option<Arc<dyn CallObserver>>),
        observer: &mut Observer,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        let mut listener = Some(listener);
        let mut first = None;
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                (place, stream, peer) = next_client(&self.hall, listener.as_ref(), calls.as_ref()) => {
                    self.hall.admit(place, stream, peer, Vec::new());
                }
                Some(report) = self.reports.recv() => {
                    let outcome = self.handle_report(report, observer);
                    match (outcome, sessions) {
                        (Some(outcome), Sessions::One) if first.is_none() => {
                            first = Some(outcome);
                            listener = None;
                        }
                        (Some(Err(failed)), _) => failed.tell(observer),
                        _ => {}
                    }
                }
                _ = ticks.tick() => if let Some(progress) = self.progress() {
                    observer(&Event::Progress(progress));
                },
                () = cancel.cancelled() => return match sessions {
                    Sessions::One => Err(Error::Interrupted.early()),
                    Sessions::Many => Ok(()),
                },
            }
            if listener.is_none() && !self.is_busy() {
                return first
                    .unwrap_or(Ok(()))
                    .map_err(|failed| failed.error.into());
            }
        }
    }

    /// The next report; waits for ever where nobody is served.
    pub(crate) async fn report(&mut self) -> Report {
        match self.reports.recv().await {
            Some(report) => report,
            None => std::future::pending().await,
        }
    }

    /// Tells of a file that was stored or kept, and counts. Gives `None` for a stranger who said nothing,
    /// and leaves it to the caller to tell what failed.
    pub(crate) fn handle_report(
        &mut self,
        report: Report,
        observer: &mut Observer,
    ) -> Option<Result<(), Failed>> {
        let peer = report.peer;
        let number = self.totals.files + self.totals.kept;
        match report.outcome {
            Outcome::Stranger(reason) => {
                observer(&Event::Refused { peer, reason });
                return None;
            }
            Outcome::Stored(file, metadata) => {
                self.totals.files += 1;
                self.totals.bytes = self.totals.bytes.saturating_add(file.size);
                observer(&Event::Classic(ClassicEvent::Stored {
                    number,
                    file,
                    metadata,
                }));
            }
            Outcome::Kept(path) => {
                self.totals.kept += 1;
                observer(&Event::Classic(ClassicEvent::Kept { number, peer, path }));
            }
            Outcome::Failed(path, error) => {
                self.totals.failed += 1;
                return Some(Err(Failed { peer, path, error }));
            }
        }
        Some(Ok(()))
    }

    /// Where clients are served.
    pub(crate) fn hall(&self) -> Arc<Hall> {
        Arc::clone(&self.hall)
    }

    /// Whether anybody is served, or has a report that nobody has looked at.
    pub(crate) fn is_busy(&self) -> bool {
        self.hall.clients() > 0
    }

    /// How far the files are that are under way; `None` where there are none.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.hall.tally.progress()
    }

    /// Cuts who is left, and tells of them.
    pub(crate) async fn close(&mut self, observer: &mut Observer) {
        self.hall.cut();
        while self.is_busy() {
            let report = self.report().await;
            if let Some(Err(failed)) = self.handle_report(report, observer) {
                failed.tell(observer);
            }
        }
    }

    fn totals(&self) -> ClassicTotals {
        ClassicTotals {
            elapsed: self.started.elapsed(),
            ..self.totals
        }
    }
}

/// A file that was not stored.
pub(crate) struct Failed {
    peer: SocketAddr,
    path: Option<RelativePath>,
    pub(crate) error: ClassicError,
}

impl Failed {
    /// Tells of it, while the receiver goes on.
    pub(crate) fn tell(self, observer: &mut Observer) {
        let Self { peer, path, error } = self;
        observer(&Event::Classic(ClassicEvent::Failed {
            peer,
            path,
            message: error.to_string(),
        }));
    }
}

/// The next client, once there is room for it; waits for ever where nobody is let in any more. Safe to
/// cancel.
async fn next_client(
    hall: &Hall,
    listener: Option<&TcpListener>,
    calls: Option<&Arc<dyn CallObserver>>,
) -> (Place, Observed<TcpStream>, SocketAddr) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let place = hall.room().await;
    loop {
        let accepted = listener.accept().await.and_then(|(stream, peer)| {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            Ok((Observed::new(stream, calls), peer))
        });
        match accepted {
            Ok((stream, peer)) => return (place, stream, peer),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests;
