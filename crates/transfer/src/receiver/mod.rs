//! The receiver: listens, greets, and serves one session after the other.

mod door;
mod greeting;
mod inbox;
mod lane;
mod parent;
mod placer;
mod reception;
mod report;
mod session;
mod trouble;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packhorse_endpoint as endpoint;
use packhorse_proto::escape::Escaped;
use packhorse_proto::preface::Security;
use packhorse_tree::{Directory, Existing};
use packhorse_trust::Code;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use self::door::Door;
use self::reception::{Authenticated, News, Reception};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorClass};
use crate::event::{CodeReason, Event, Observer};
use crate::options::{ReceiveOptions, ReceiveSecurity, Sessions};
use crate::receipt::Receipt;

/// Receives into a directory: one session, or one after the other until cancelled.
///
/// Answers with the last session's receipt; `None` where it was cancelled before there was any. With
/// [`Sessions::Many`] a session that fails is told as [`Event::SessionFailed`], and the receiver goes on.
///
/// # Errors
/// What ended the receiver, or with [`Sessions::One`] its session, before the end.
pub async fn receive(
    options: ReceiveOptions,
    observer: Observer,
    cancel: Cancel,
) -> Result<Option<Receipt>, Error> {
    crate::descriptors::raise_limit();
    let listen = match (options.listen, &options.security) {
        // What may only be reached from here listens only here.
        (None, ReceiveSecurity::Insecure) => Some(SocketAddr::from((
            Ipv4Addr::LOCALHOST,
            endpoint::DEFAULT_PORT,
        ))),
        (listen, _) => listen,
    };
    let listener = endpoint::listen(listen)?;
    let address = listener.local_addr().map_err(Error::Lost)?;
    let (security, given) = match options.security {
        ReceiveSecurity::Insecure if !address.ip().to_canonical().is_loopback() => {
            return Err(Error::InsecureAddress(address));
        }
        ReceiveSecurity::Insecure | ReceiveSecurity::InsecureAnywhere => (Security::Insecure, None),
        ReceiveSecurity::Generate => (Security::Tls, None),
        ReceiveSecurity::Given(code) => (Security::Tls, Some(Arc::new(code))),
    };
    let destination = open_destination(&options.directory)?;
    let listener = TcpListener::from_std(listener).map_err(Error::Lost)?;
    let (news_to, news) = mpsc::unbounded_channel();
    let reception = Arc::new(Reception::new(options.limits, security, news_to));
    let receiver = Receiver {
        destination,
        directory: options.directory,
        door: Door::new(listener, Arc::clone(&reception)),
        reception,
        news,
        given,
        generation: 0,
        held: VecDeque::new(),
        existing: options.existing,
        sessions: options.sessions,
        observer,
    };
    receiver.run(address, &cancel).await
}

fn open_destination(directory: &Path) -> Result<Arc<Directory>, Error> {
    let failed = |error| Error::Destination {
        directory: Escaped(directory.as_os_str().as_encoded_bytes()).to_string(),
        error,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let root = Arc::new(Directory::open_root(directory).map_err(failed)?);
    // A place that cannot be written shows now, and not file by file.
    drop(root.create_file().map_err(failed)?);
    Ok(root)
}

/// Things at the door that are remembered during a session; of more than that there is no end.
const HELD_NEWS: usize = 1000;

struct Receiver {
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
    sessions: Sessions,
    observer: Observer,
}

impl Receiver {
    async fn run(mut self, address: SocketAddr, cancel: &Cancel) -> Result<Option<Receipt>, Error> {
        (self.observer)(&Event::Listening {
            addresses: vec![address],
        });
        let mut last = None;
        let mut reason = CodeReason::First;
        loop {
            self.show_code(reason)?;
            let outcome = tokio::select! {
                outcome = self.next_session() => outcome,
                () = cancel.cancelled() => return self.cancelled(last),
            };
            let authenticated = outcome?;
            let peer = authenticated.peer;
            let outcome = self.serve(authenticated, cancel).await;
            match (outcome, self.sessions) {
                (outcome, Sessions::One) => return outcome.map(Some),
                (Ok(receipt), Sessions::Many) => last = Some(receipt),
                (Err(error), Sessions::Many) if error.class() == ErrorClass::Interrupted => {
                    return Err(error);
                }
                (Err(error), Sessions::Many) => {
                    let message = error.to_string();
                    (self.observer)(&Event::SessionFailed { peer, message });
                }
            }
            reason = CodeReason::NextSession;
        }
    }

    /// Being interrupted is how a receiver that goes on is ended; one that waited for its only session
    /// did not get it.
    fn cancelled(&self, last: Option<Receipt>) -> Result<Option<Receipt>, Error> {
        match self.sessions {
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
                (self.observer)(&Event::Code {
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
    async fn next_session(&mut self) -> Result<Box<Authenticated>, Error> {
        loop {
            let news = match self.held.pop_front() {
                Some(news) => news,
                None => tokio::select! {
                    () = self.door.stand_open() => continue,
                    Some(news) = self.news.recv() => news,
                },
            };
            if let Some(authenticated) = self.handle_news(news)? {
                return Ok(authenticated);
            }
        }
    }

    fn handle_news(&mut self, news: News) -> Result<Option<Box<Authenticated>>, Error> {
        match news {
            News::Authenticated(authenticated) => return Ok(Some(authenticated)),
            News::Refused { peer, reason } => (self.observer)(&Event::Refused { peer, reason }),
            News::WrongCode { peer, left } => {
                (self.observer)(&Event::WrongCode { peer, left });
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

    /// Serves one session, and goes on accepting: its lanes come by the same door.
    async fn serve(
        &mut self,
        authenticated: Box<Authenticated>,
        cancel: &Cancel,
    ) -> Result<Receipt, Error> {
        let setting = session::Setting {
            destination: Arc::clone(&self.destination),
            directory: self.directory.clone(),
            reception: Arc::clone(&self.reception),
            existing: self.existing,
        };
        // The session needs the observer, and so does what happens at the door meanwhile.
        let mut observer = std::mem::replace(&mut self.observer, Box::new(|_| {}));
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
                }
            }
        };
        self.observer = observer;
        self.reception.end();
        outcome
    }
}
