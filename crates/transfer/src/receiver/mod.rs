//! The receiver: listens, greets, and serves one session after the other.

mod greeting;
mod inbox;
mod lane;
mod placer;
mod session;
mod trouble;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_endpoint as endpoint;
use packhorse_proto::escape::Escaped;
use packhorse_proto::limits::Limits;
use packhorse_proto::preface::Security;
use packhorse_tree::Directory;
use packhorse_trust::{Code, SessionKeys};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use self::greeting::{Authenticated, Greeting};
use self::session::LaneArrival;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{CodeReason, Event, Observer};
use crate::options::{ReceiveOptions, ReceiveSecurity, Sessions};
use crate::receipt::Receipt;

/// What greetings share with the receiver.
pub(crate) struct Reception {
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    state: Mutex<State>,
    pub(crate) news: UnboundedSender<News>,
}

struct State {
    code: Option<CurrentCode>,
    session: Option<ActiveSession>,
}

struct CurrentCode {
    code: Arc<Code>,
    /// Tells codes apart: a proof that was begun with an older one does not count.
    generation: u64,
    wrong: u32,
}

/// The session that is served at this moment.
pub(crate) struct ActiveSession {
    pub(crate) id: [u8; 16],
    /// `None` in an insecure session.
    pub(crate) keys: Option<SessionKeys>,
    pub(crate) suite: Option<packhorse_trust::Suite>,
    pub(crate) lanes: UnboundedSender<LaneArrival>,
    /// Numbers of the lanes so far: each serves once.
    pub(crate) lanes_opened: BTreeSet<u16>,
}

/// What greetings tell the receiver.
pub(crate) enum News {
    /// Somebody is authenticated.
    Authenticated(Box<Authenticated>),
    /// A guess was wrong; so many are left.
    WrongCode { peer: SocketAddr, left: u32 },
    /// A connection came to nothing.
    Refused { peer: SocketAddr, reason: String },
}

/// What a guess at the code was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    Right,
    Wrong {
        left: u32,
    },
    /// The code it was made at is not in use any more.
    TooLate,
}

impl Reception {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and the state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The code to prove, and its generation; `None` while none can be proved.
    pub(crate) fn code(&self) -> Option<(Arc<Code>, u64)> {
        let state = self.lock();
        let current = state
            .code
            .as_ref()
            .filter(|current| current.wrong < self.limits.wrong_guesses)?;
        Some((Arc::clone(&current.code), current.generation))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.lock().session.is_some()
    }

    /// Takes the verdict on a guess. It is made under a lock and before anything is answered, so that
    /// guesses made side by side are counted one by one. `right` is only asked while guesses are left.
    pub(crate) fn judge(&self, generation: u64, right: impl FnOnce() -> bool) -> Guess {
        let mut state = self.lock();
        let most = self.limits.wrong_guesses;
        let Some(current) = state
            .code
            .as_mut()
            .filter(|current| current.generation == generation)
        else {
            return Guess::TooLate;
        };
        if current.wrong >= most {
            return Guess::TooLate;
        }
        if right() {
            // A code serves once: nobody else can prove it while this session is served.
            state.code = None;
            return Guess::Right;
        }
        current.wrong += 1;
        Guess::Wrong {
            left: most - current.wrong,
        }
    }

    /// Opens the session for lanes; `false` where another is open.
    pub(crate) fn begin(&self, session: ActiveSession) -> bool {
        let mut state = self.lock();
        if state.session.is_some() {
            return false;
        }
        state.session = Some(session);
        true
    }

    pub(crate) fn end(&self) {
        self.lock().session = None;
    }

    /// Lets `admit` look at the session that is open.
    pub(crate) fn with_session<T>(&self, admit: impl FnOnce(&mut ActiveSession) -> T) -> Option<T> {
        self.lock().session.as_mut().map(admit)
    }

    fn set_code(&self, code: Arc<Code>, generation: u64) {
        self.lock().code = Some(CurrentCode {
            code,
            generation,
            wrong: 0,
        });
    }
}

/// Receives into a directory: one session, or one after the other until cancelled.
///
/// Answers with the last session's receipt; `None` where it was cancelled before there was any. With
/// [`Sessions::Many`] a session that fails is told as [`Event::Refused`], and the receiver goes on.
///
/// # Errors
/// What ended the receiver, or with [`Sessions::One`] its session, before the end.
pub async fn receive(
    options: ReceiveOptions,
    observer: Observer,
    cancel: Cancel,
) -> Result<Option<Receipt>, Error> {
    crate::descriptors::raise_limit();
    let destination = open_destination(&options.directory)?;
    let listener = endpoint::listen(options.listen)?;
    let address = listener.local_addr().map_err(Error::Lost)?;
    let (security, given) = match options.security {
        ReceiveSecurity::Insecure if !address.ip().to_canonical().is_loopback() => {
            return Err(Error::InsecureAddress(address));
        }
        ReceiveSecurity::Insecure | ReceiveSecurity::InsecureAnywhere => (Security::Insecure, None),
        ReceiveSecurity::Generate => (Security::Tls, None),
        ReceiveSecurity::Given(code) => (Security::Tls, Some(Arc::new(code))),
    };
    let listener = TcpListener::from_std(listener).map_err(Error::Lost)?;
    let (news_to, news) = mpsc::unbounded_channel();
    let limits = options.limits.clone();
    let state = Mutex::new(State {
        code: None,
        session: None,
    });
    let reception = Arc::new(Reception {
        limits,
        security,
        state,
        news: news_to,
    });
    let receiver = Receiver {
        destination: Arc::new(destination),
        directory: options.directory,
        listener,
        reception,
        news,
        given,
        generation: 0,
        greetings: JoinSet::new(),
        existing: options.existing,
        sessions: options.sessions,
        observer,
    };
    receiver.run(address, &cancel).await
}

fn open_destination(directory: &Path) -> Result<Directory, Error> {
    let failed = |error| Error::Destination {
        directory: Escaped(directory.as_os_str().as_encoded_bytes()).to_string(),
        error,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    Directory::open_root(directory).map_err(failed)
}

struct Receiver {
    destination: Arc<Directory>,
    directory: std::path::PathBuf,
    listener: TcpListener,
    reception: Arc<Reception>,
    news: UnboundedReceiver<News>,
    given: Option<Arc<Code>>,
    generation: u64,
    greetings: JoinSet<()>,
    existing: packhorse_tree::Existing,
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
                (Err(Error::Interrupted), Sessions::Many) => return Err(Error::Interrupted),
                (Err(error), Sessions::Many) => {
                    let reason = error.to_string();
                    (self.observer)(&Event::Refused { peer, reason });
                }
            }
            reason = CodeReason::NextSession;
        }
    }

    /// Being interrupted is how a receiver that goes on is ended; one that waited for its only session
    /// did not get it.
    fn cancelled(&self, last: Option<Receipt>) -> Result<Option<Receipt>, Error> {
        match self.sessions {
            Sessions::One => Err(Error::Interrupted),
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
            tokio::select! {
                accepted = self.listener.accept() => self.greet(accepted).await,
                Some(news) = self.news.recv() => if let Some(authenticated) = self.handle_news(news)? {
                    return Ok(authenticated);
                },
                Some(_) = self.greetings.join_next() => {}
            }
        }
    }

    async fn greet(&mut self, accepted: io::Result<(tokio::net::TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, peer)) => {
                while self.greetings.try_join_next().is_some() {}
                // A stranger can hold this many connections, and no more, for the deadline's length.
                if self.greetings.len() < self.reception.limits.pending_connections {
                    let greeting = Greeting {
                        reception: Arc::clone(&self.reception),
                        peer,
                    };
                    self.greetings.spawn(greeting::run(greeting, stream));
                }
            }
            // Out of descriptors, most likely: waiting for some to be closed is all there is to do.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
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
                    accepted = self.listener.accept() => self.greet(accepted).await,
                    Some(_) = self.greetings.join_next() => {}
                }
            }
        };
        self.observer = observer;
        self.reception.end();
        outcome
    }
}
