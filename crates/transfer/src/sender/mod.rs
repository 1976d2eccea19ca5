//! The sender: one control task, a walking thread and lane threads.

mod file;
mod growth;
mod lane;
mod lanes;
mod outbox;
mod queue;
mod session;
mod shared;
mod stream;
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
use tokio::time::timeout;

use self::session::Session;
pub use self::walker::list;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::Observer;
use crate::handshake;
use crate::options::{SendOptions, Source};
use crate::receipt::Receipt;

/// Sends the sources, and answers with the receipt when the receiver has verified everything.
///
/// Entries that could not be sent or stored are told as [`Event::Failed`](crate::Event::Failed) and
/// counted in the receipt; they do not end the transfer.
///
/// # Errors
/// What ended the transfer before its end.
pub async fn send(
    options: SendOptions,
    mut observer: Observer,
    cancel: Cancel,
) -> Result<Receipt, Error> {
    let sources = walker::open(&options.sources)?;
    packhorse_endpoint::raise_descriptor_limit();
    let subdirectory = subdirectory(&options.to)?;
    let limits = options.limits.clone();
    let work = async {
        let (stream, peer) =
            connect(&options.to, limits.authentication, options.calls.as_ref()).await?;
        let greeted = handshake::greet(stream, &options.security);
        let introduction = match timeout(limits.authentication, greeted).await {
            Ok(introduction) => introduction?,
            Err(_) => return Err(Error::Silent(limits.authentication)),
        };
        Ok((introduction, peer))
    };
    let introduced = tokio::select! {
        outcome = work => outcome,
        () = cancel.cancelled() => Err(Error::Interrupted),
    };
    let (introduction, peer) = introduced.map_err(Error::early)?;
    let mut session = Session::start(introduction, peer, options, subdirectory)?;
    let outcome = session.run(sources, &mut observer, &cancel).await;
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
