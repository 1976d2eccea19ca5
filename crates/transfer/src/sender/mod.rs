//! The sender: one control task, a walking thread and lane threads.

mod again;
mod file;
mod growth;
mod lane;
mod lanes;
mod losses;
mod outbox;
mod pulse;
mod queue;
mod sent;
mod session;
mod shared;
mod stream;
mod tail;
mod waiting;
mod walker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use packhorse_endpoint::{self as endpoint, CallObserver, Destination, Observed};
use packhorse_proto::path::RelativePath;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use self::again::Again;
use self::session::Session;
pub use self::walker::list;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorClass};
use crate::event::{Event, Observer};
use crate::handshake;
use crate::options::{SendOptions, Source};
use crate::receipt::Receipt;

/// How long a receiver may take to notice that the sender before is gone, whether that was done or killed, and how often to
/// look.
const NOTICES: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);

/// Sends the sources, and answers with the receipt when the receiver has verified everything.
///
/// Entries that could not be sent or stored are told as [`Event::Failed`] and
/// counted in the receipt; they do not end the transfer.
///
/// # Errors
/// What ended the transfer before its end.
pub async fn send(
    options: SendOptions,
    mut observer: Observer,
    cancel: Cancel,
) -> Result<Receipt, Error> {
    let mut sources = walker::open(&options.sources)?;
    packhorse_endpoint::raise_descriptor_limit();
    let free_by = Instant::now() + NOTICES.min(options.retry_for);
    let (mut busy, mut broken): (Option<Error>, Option<(Error, Again)>) = (None, None);
    loop {
        let outcome = run_session(&options, sources, &mut observer, &cancel).await;
        let error = match outcome {
            Ok(receipt) => return Ok(receipt),
            Err(error) => error,
        };
        let had_session = !matches!(error, Error::Early(_));
        let message = error.to_string();
        let may_pass = error.may_pass() && can_be_sent_again(&options.sources);
        let (broke, mut again, last) = match broken.take() {
            Some((broke, again)) if !had_session => (broke, again, Some(error)),
            None if !had_session && error.is_busy() && Instant::now() < free_by => {
                wait_for(LOOK, &cancel).await.map_err(Error::early)?;
                sources = walker::open(&options.sources)?;
                busy = Some(error);
                continue;
            }
            // It was done, and served nobody else.
            None if !had_session && error.class() == ErrorClass::Network => {
                return Err(busy.unwrap_or(error));
            }
            None if !had_session => return Err(error),
            // However often it breaks: what counts is the time since it last held.
            _ => (error, Again::new(Instant::now(), options.retry_for), None),
        };
        let next = again.next(Instant::now()).filter(|_| may_pass);
        let Some((wait, left)) = next else {
            return Err(match last {
                Some(last) if last.class() == ErrorClass::Interrupted => Error::Interrupted,
                Some(last) => Error::NotAgain {
                    broke: Box::new(broke),
                    last: Box::new(last),
                },
                None if had_session && !can_be_sent_again(&options.sources) => {
                    Error::Stream(Box::new(broke))
                }
                None => broke,
            });
        };
        observer(&Event::Reconnecting {
            message,
            wait,
            left,
        });
        wait_for(wait, &cancel).await?;
        sources = match walker::open(&options.sources) {
            Ok(sources) => sources,
            // It is gone meanwhile; what arrived before stays.
            Err(last) => {
                return Err(Error::NotAgain {
                    broke: Box::new(broke),
                    last: Box::new(last),
                });
            }
        };
        broken = Some((broke, again));
    }
}

async fn wait_for(time: Duration, cancel: &Cancel) -> Result<(), Error> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        () = cancel.cancelled() => Err(Error::Interrupted),
    }
}

/// Whether what was sent can be had again: all but standard input.
fn can_be_sent_again(sources: &[Source]) -> bool {
    !sources
        .iter()
        .any(|source| matches!(source, Source::Stdin { .. }))
}

/// Connects, and sends all that the receiver does not have.
async fn run_session(
    options: &SendOptions,
    sources: walker::Sources,
    observer: &mut Observer,
    cancel: &Cancel,
) -> Result<Receipt, Error> {
    let subdirectory = subdirectory(&options.to)?;
    let patience = options.limits.authentication;
    let work = async {
        let (stream, peer) = connect(&options.to, patience, options.calls.as_ref()).await?;
        let greeted = handshake::greet(stream, &options.security);
        let introduction = match timeout(patience, greeted).await {
            Ok(introduction) => introduction?,
            Err(_) => return Err(Error::Silent(patience)),
        };
        Ok((introduction, peer))
    };
    let introduced = tokio::select! {
        outcome = work => outcome,
        () = cancel.cancelled() => Err(Error::Interrupted),
    };
    let (introduction, peer) = introduced.map_err(Error::early)?;
    let mut session = Session::start(introduction, peer, options, subdirectory)?;
    let outcome = session.run(sources, observer, cancel).await;
    session.end(outcome).await
}

/// Whether [`send`] could begin: every source is there, no two clash, and the subdirectory can be one.
///
/// # Errors
/// What keeps it from beginning.
pub fn check(sources: &[Source], to: &Destination) -> Result<(), Error> {
    walker::open(sources)?;
    subdirectory(to)?;
    Ok(())
}

fn subdirectory(to: &Destination) -> Result<Option<RelativePath>, Error> {
    let parse =
        |bytes: &Vec<u8>| RelativePath::parse(bytes).map_err(|error| Error::name(bytes, error));
    to.subdirectory.as_ref().map(parse).transpose()
}

/// Runs `work` on a thread of its own, and gives its outcome.
pub(crate) fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, Error> {
    let (outcome, receiver) = oneshot::channel();
    let run = move || {
        // Nobody waits for it where the session has ended meanwhile.
        let _ = outcome.send(work());
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|error| Error::Resources {
        what: "threads",
        error,
    })?;
    Ok(receiver)
}

/// Tries the receiver's addresses in turn.
pub(crate) async fn connect(
    to: &Destination,
    patience: Duration,
    calls: Option<&Arc<dyn CallObserver>>,
) -> Result<(Observed<TcpStream>, SocketAddr), Error> {
    let to = to.clone();
    let resolved = on_thread("resolve", move || endpoint::resolve(&to.host, to.port))?;
    let addresses = resolved
        .await
        .map_err(|_| Error::Lost(io::ErrorKind::Other.into()))??;
    let mut last = None;
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it small messages would wait for acks of the ones before.
                endpoint::tune(&stream).map_err(Error::Lost)?;
                return Ok((Observed::new(stream, calls), address));
            }
            Ok(Err(error)) => last = Some(Error::Connect { address, error }),
            Err(_) => {
                let error = io::ErrorKind::TimedOut.into();
                last = Some(Error::Connect { address, error });
            }
        }
    }
    Err(last.unwrap_or(Error::Lost(io::ErrorKind::NotFound.into())))
}
