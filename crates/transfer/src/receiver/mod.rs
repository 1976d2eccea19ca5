//! The receiver: listens, greets, and serves one session after the other.

mod door;
mod greeting;
mod inbox;
mod keeper;
mod lane;
mod lanes;
mod parent;
mod placer;
mod reception;
mod report;
mod session;
mod setting;
mod syncer;
mod trouble;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_endpoint as endpoint;
use packhorse_proto::entry::Mode;
use packhorse_proto::escape::Escaped;
use packhorse_proto::message::Assurance;
use packhorse_proto::preface::Security;
use packhorse_tree::{Directory, Existing, Storage};
use packhorse_trust::Code;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::door::Door;
use self::reception::{Authenticated, News, Reception};
use self::session::Farewell;
use self::setting::Setting;
use crate::cancel::Cancel;
use crate::classic::{Desk, Failed, Hall, Report};
use crate::error::{Error, ErrorClass};
use crate::event::{CodeReason, Event, Observer, PROGRESS_EVERY};
use crate::options::{ReceiveOptions, ReceiveSecurity, Sessions};
use crate::receipt::Receipt;

/// Receives into a directory: one session, or one after the other until cancelled.
///
/// Answers with the last session's receipt; `None` where it was cancelled before there was any, or where
/// a classic file was all that was waited for. With
/// [`Sessions::Many`] a session that fails is told as [`Event::SessionFailed`], and the receiver goes on.
///
/// # Errors
/// What ended the receiver, or with [`Sessions::One`] its session, before the end.
pub async fn receive(
    options: ReceiveOptions,
    observer: Observer,
    cancel: Cancel,
) -> Result<Option<Receipt>, Error> {
    packhorse_endpoint::raise_descriptor_limit();
    let listener = endpoint::listen(address_to_listen_on(&options))?;
    let address = listener.local_addr().map_err(Error::Lost)?;
    let (security, given) = match options.security {
        ReceiveSecurity::Insecure if !address.ip().to_canonical().is_loopback() => {
            return Err(Error::InsecureAddress(address));
        }
        ReceiveSecurity::Insecure | ReceiveSecurity::InsecureAnywhere => (Security::Insecure, None),
        ReceiveSecurity::Generate => (Security::Tls, None),
        ReceiveSecurity::Given(code) => (Security::Tls, Some(Arc::new(code))),
    };
    let destination = open_destination(Arc::clone(&options.storage), &options.directory)?;
    let listener = TcpListener::from_std(listener).map_err(Error::Lost)?;
    let (news_to, news) = mpsc::unbounded_channel();
    let desk = options.classic.map(|limits| {
        let (hall, reports) = Hall::new(Arc::clone(&destination), options.existing, limits);
        Desk::new(hall, reports)
    });
    let hall = desk.as_ref().map(Desk::hall);
    let reception = Arc::new(Reception::new(
        options.limits,
        security,
        hall,
        news_to,
        options.calls,
        options.stages,
    ));
    let mut receiver = Receiver {
        storage: options.storage,
        destination,
        directory: options.directory,
        door: Door::new(listener, Arc::clone(&reception)),
        reception,
        news,
        given,
        generation: 0,
        held: VecDeque::new(),
        existing: options.existing,
        assurance: options.assurance,
        sessions: options.sessions,
        retry_for: options.retry_for,
        observer: Arc::new(Mutex::new(observer)),
        desk,
    };
    let outcome = receiver.run(address, &cancel).await;
    receiver.close().await;
    outcome
}

/// What may only be reached from here listens only here, unless an address is named.
fn address_to_listen_on(options: &ReceiveOptions) -> Option<SocketAddr> {
    let local = matches!(options.security, ReceiveSecurity::Insecure) || options.classic.is_some();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint::DEFAULT_PORT));
    options.listen.or(local.then_some(loopback))
}

pub(crate) fn open_destination(
    storage: Arc<dyn Storage>,
    directory: &Path,
) -> Result<Arc<Directory>, Error> {
    let failed = |error| Error::Destination {
        directory: Escaped(directory.as_os_str().as_encoded_bytes()).to_string(),
        error,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let root = Arc::new(Directory::open_root_on(storage, directory).map_err(failed)?);
    // The working directory may be one that has no name any more.
    if root.is_removed() {
        return Err(failed(io::Error::other("the directory was removed")));
    }
    // A place that cannot be written shows now, and not file by file.
    drop(
        root.create_file(Mode::from_st_mode(0o600))
            .map_err(failed)?,
    );
    Ok(root)
}

/// Things at the door that are remembered during a session; of more than that there is no end.
const HELD_NEWS: usize = 1000;

struct Receiver {
    storage: Arc<dyn Storage>,
    destination: Arc<Directory>,
    directory: PathBuf,
    door: Door,
    reception: Arc<Reception>,
    news: UnboundedReceiver<News>,
    given: Option<Arc<Code>>,
    generation: u64,
    /// What came up at the door while a session was served, to be told after it.
    held: VecDeque<News>,
    existing: Existing,
    assurance: Assurance,
    sessions: Sessions,
    retry_for: Duration,
    /// Shared by the session that is served and what goes on beside it.
    observer: Arc<Mutex<Observer>>,
    /// Where outcomes of classic clients come in; `None` where they are refused.
    desk: Option<Desk>,
}

/// How long a sender may come again for a receipt that it may not have: it has noticed that the connection broke when this side
/// has, and tries again at once.
const LINGER: Duration = Duration::from_secs(10);

/// A session whose connection broke.
struct Broken {
    peer: SocketAddr,
    /// How it ends where its sender does not come again: with its receipt where everything is stored.
    outcome: Result<Receipt, Error>,
    /// How long its sender may come again.
    until: Instant,
}

/// What comes of a session that was served.
enum Settled {
    /// It is over.
    Over(Result<Receipt, Error>),
    /// Its sender is waited for.
    Broken(Broken),
}

/// What was waited for.
enum Next {
    Session(Box<Authenticated>),
    /// A classic file is over, and it was the only one wanted.
    File(Result<(), Error>),
}

impl Receiver {
    async fn run(
        &mut self,
        address: SocketAddr,
        cancel: &Cancel,
    ) -> Result<Option<Receipt>, Error> {
        self.tell(&Event::Listening {
            addresses: vec![address],
        });
        let mut last = None;
        let mut reason = CodeReason::First;
        let mut broken: Option<Broken> = None;
        loop {
            if broken.is_none() {
                self.show_code(reason)?;
            }
            reason = CodeReason::NextSession;
            let until = broken.as_ref().map(|broken| broken.until);
            let (peer, outcome) = match self.next_until(until, cancel).await {
                Ok(Some(Next::Session(authenticated))) => {
                    // It may be another sender's; where it is the same, both are told.
                    last = self.done_before(&mut broken).or(last);
                    let peer = authenticated.peer;
                    let served = self.serve(authenticated, cancel).await;
                    match self.settle(peer, served) {
                        Settled::Over(outcome) => (peer, outcome),
                        Settled::Broken(session) => {
                            broken = Some(session);
                            continue;
                        }
                    }
                }
                Ok(Some(Next::File(outcome))) => {
                    self.finish_files(cancel).await;
                    return outcome.map(|()| None);
                }
                Ok(None) => match broken.take() {
                    Some(broken) => (broken.peer, broken.outcome),
                    None => continue,
                },
                Err(error) => {
                    let was_broken = broken.is_some();
                    let done = self.done_before(&mut broken);
                    return match (done, self.sessions) {
                        // Nothing is missing but a sender that says so.
                        (Some(receipt), Sessions::One) => Ok(Some(receipt)),
                        (done, _) if error.class() == ErrorClass::Interrupted => {
                            self.cancelled(done.or(last), was_broken)
                        }
                        _ => Err(error),
                    };
                }
            };
            let outcome = outcome.map(|receipt| self.done(receipt));
            match (outcome, self.sessions) {
                (outcome, Sessions::One) => {
                    self.finish_files(cancel).await;
                    return outcome.map(Some);
                }
                (Ok(receipt), Sessions::Many) => last = Some(receipt),
                (Err(error), Sessions::Many) if error.class() == ErrorClass::Interrupted => {
                    return Err(error);
                }
                (Err(error), Sessions::Many) => {
                    let message = error.to_string();
                    self.tell(&Event::SessionFailed { peer, message });
                }
            }
        }
    }

    /// Tells of a session of which everything is stored, and whose sender was waited for.
    fn done_before(&self, broken: &mut Option<Broken>) -> Option<Receipt> {
        let receipt = broken.take()?.outcome.ok()?;
        Some(self.done(receipt))
    }

    fn done(&self, receipt: Receipt) -> Receipt {
        self.tell(&Event::Done(Box::new(receipt.clone())));
        receipt
    }

    /// What comes of a session that was served.
    fn settle(&self, peer: SocketAddr, served: Result<(Receipt, Farewell), Error>) -> Settled {
        let (outcome, message, at_most) = match served {
            Ok((receipt, Farewell::Missed(error))) if !self.retry_for.is_zero() => {
                let message = format!(
                    "everything is stored, but the sender did not say that it knows: {error}"
                );
                (Ok(receipt), message, self.retry_for.min(LINGER))
            }
            Ok((receipt, _)) => return Settled::Over(Ok(receipt)),
            Err(error) if self.waits_after(&error) => {
                let message = error.to_string();
                (Err(error), message, self.retry_for)
            }
            Err(error) => return Settled::Over(Err(error)),
        };
        self.tell(&Event::Waiting {
            peer,
            message,
            at_most,
        });
        self.reception.use_code_again();
        Settled::Broken(Broken {
            peer,
            outcome,
            until: Instant::now() + at_most,
        })
    }

    /// Whether the sender of a session that ended like this may come again, and is waited for.
    fn waits_after(&self, error: &Error) -> bool {
        !self.retry_for.is_zero() && error.may_pass()
    }

    /// The next session; `None` where there was none in time.
    async fn next_until(
        &mut self,
        until: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Option<Next>, Error> {
        tokio::select! {
            outcome = self.next_session() => outcome.map(Some),
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => Ok(None),
            () = cancel.cancelled() => Err(Error::Interrupted),
        }
    }

    /// Being interrupted is how a receiver that goes on is ended; one that waited for its only session
    /// did not get it.
    fn cancelled(&self, last: Option<Receipt>, broken: bool) -> Result<Option<Receipt>, Error> {
        match self.sessions {
            Sessions::One if broken => Err(Error::Interrupted),
            Sessions::One => Err(Error::Interrupted.early()),
            Sessions::Many => Ok(last),
        }
    }

    /// Puts a code to use: the one that was given, or a fresh one, which is shown.
    fn show_code(&mut self, reason: CodeReason) -> Result<(), Error> {
        if self.reception.security == Security::Insecure {
            return Ok(());
        }
        self.generation += 1;
        let code = match &self.given {
            Some(given) => Arc::clone(given),
            None => {
                let no_randomness = |error| Error::Resources {
                    what: "randomness",
                    error: io::Error::other(error),
                };
                let code = Arc::new(Code::generate().map_err(no_randomness)?);
                self.tell(&Event::Code {
                    code: Arc::clone(&code),
                    reason,
                });
                code
            }
        };
        self.reception.set_code(code, self.generation);
        Ok(())
    }

    /// Greets whoever comes, until one is authenticated.
    async fn next_session(&mut self) -> Result<Next, Error> {
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let news = match self.held.pop_front() {
                Some(news) => news,
                None => tokio::select! {
                    () = self.door.stand_open() => continue,
                    Some(news) = self.news.recv() => news,
                    report = next_report(&mut self.desk) => {
                        let outcome = tell_report(report, self.desk.as_mut(), &self.observer);
                        match outcome {
                            Some(outcome) if self.sessions == Sessions::One => {
                                return Ok(Next::File(outcome.map_err(|failed| failed.error.into())));
                            }
                            outcome => tell_failed(outcome, &self.observer),
                        }
                        continue;
                    }
                    _ = ticks.tick(), if self.desk.is_some() => {
                        self.tell_progress_of_files();
                        continue;
                    }
                },
            };
            if let Some(authenticated) = self.handle_news(news)? {
                return Ok(Next::Session(authenticated));
            }
        }
    }

    fn tell(&self, event: &Event) {
        tell(event, &self.observer);
    }

    fn tell_progress_of_files(&self) {
        if let Some(progress) = self.desk.as_ref().and_then(Desk::progress) {
            self.tell(&Event::Progress(progress));
        }
    }

    /// Waits for classic files that are under way. They have deadlines of their own.
    async fn finish_files(&mut self, cancel: &Cancel) {
        while self.desk.as_ref().is_some_and(Desk::is_busy) {
            tokio::select! {
                report = next_report(&mut self.desk) => {
                    let outcome = tell_report(report, self.desk.as_mut(), &self.observer);
                    tell_failed(outcome, &self.observer);
                }
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Cuts classic clients who are left.
    async fn close(mut self) {
        if let Some(desk) = &mut self.desk {
            desk.close(&mut forwarding_to(&self.observer)).await;
        }
    }

    fn handle_news(&mut self, news: News) -> Result<Option<Box<Authenticated>>, Error> {
        match news {
            News::Authenticated(authenticated) => return Ok(Some(authenticated)),
            News::Refused { peer, reason } => self.tell(&Event::Refused { peer, reason }),
            News::WrongCode { peer, left } => {
                self.tell(&Event::WrongCode { peer, left });
                if left == 0 {
                    if self.given.is_some() {
                        return Err(Error::CodeBurnt(self.reception.limits.wrong_guesses));
                    }
                    self.show_code(CodeReason::Burnt)?;
                }
            }
        }
        Ok(None)
    }

    /// Opens what the destination's name stands for, and makes it anew where it is not there any more: somebody may have removed or
    /// renamed it since the last session. Where that cannot be done, the next one says so.
    fn reopen_destination(&mut self) {
        if !self.destination.is_at(&self.directory)
            && let Ok(made) = open_destination(Arc::clone(&self.storage), &self.directory)
        {
            self.destination = made;
        }
    }

    /// Serves one session, and goes on accepting: its lanes come by the same door.
    async fn serve(
        &mut self,
        authenticated: Box<Authenticated>,
        cancel: &Cancel,
    ) -> Result<(Receipt, Farewell), Error> {
        self.reopen_destination();
        let setting = Setting {
            destination: Arc::clone(&self.destination),
            directory: self.directory.clone(),
            reception: Arc::clone(&self.reception),
            existing: self.existing,
            assurance: self.assurance,
        };
        let mut observer = forwarding_to(&self.observer);
        let outcome = {
            let mut serving =
                std::pin::pin!(session::run(setting, *authenticated, &mut observer, cancel));
            loop {
                tokio::select! {
                    outcome = &mut serving => break outcome,
                    () = self.door.stand_open() => {}
                    Some(news) = self.news.recv() => if self.held.len() < HELD_NEWS {
                        self.held.push_back(news);
                    },
                    report = next_report(&mut self.desk) => {
                        let outcome = tell_report(report, self.desk.as_mut(), &self.observer);
                        tell_failed(outcome, &self.observer);
                    }
                }
            }
        };
        self.reception.end();
        outcome
    }
}

/// The next outcome of a classic client; waits for ever where there are none.
async fn next_report(desk: &mut Option<Desk>) -> Report {
    match desk {
        Some(desk) => desk.report().await,
        None => std::future::pending().await,
    }
}

fn tell_report(
    report: Report,
    desk: Option<&mut Desk>,
    observer: &Arc<Mutex<Observer>>,
) -> Option<Result<(), Failed>> {
    desk?.handle_report(report, &mut forwarding_to(observer))
}

fn tell_failed(outcome: Option<Result<(), Failed>>, observer: &Arc<Mutex<Observer>>) {
    if let Some(Err(failed)) = outcome {
        failed.tell(&mut forwarding_to(observer));
    }
}

fn tell(event: &Event, observer: &Mutex<Observer>) {
    // An observer that panicked has nothing to keep whole for anybody here.
    let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
    (*observer)(event);
}

/// An observer of its own for somebody who runs beside others.
fn forwarding_to(observer: &Arc<Mutex<Observer>>) -> Observer {
    let observer = Arc::clone(observer);
    Box::new(move |event| tell(event, &observer))
}

#[cfg(test)]
mod tests {
    use packhorse_proto::limits::Limits;

    use super::*;
    use crate::classic::ClassicLimits;
    use crate::options::Disk;

    #[test]
    fn what_takes_anybody_is_reached_from_here_alone_unless_an_address_is_named() {
        let mut options = ReceiveOptions {
            directory: PathBuf::from("."),
            listen: None,
            security: ReceiveSecurity::Generate,
            sessions: Sessions::One,
            existing: Existing::Replace,
            assurance: Assurance::default(),
            limits: Limits::default(),
            retry_for: Duration::ZERO,
            classic: None,
            calls: None,
            stages: None,
            storage: Arc::new(Disk),
        };
        assert_eq!(address_to_listen_on(&options), None);
        options.classic = Some(ClassicLimits::default());
        let address = address_to_listen_on(&options).unwrap();
        assert!(address.ip().is_loopback());
        options.classic = None;
        options.security = ReceiveSecurity::Insecure;
        assert_eq!(address_to_listen_on(&options), Some(address));
        let named = "192.0.2.7:1".parse().unwrap();
        options.listen = Some(named);
        assert_eq!(address_to_listen_on(&options), Some(named));
    }
}
