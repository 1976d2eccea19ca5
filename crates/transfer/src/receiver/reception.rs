//! What greetings share with the receiver: the code, the session that is open, and news.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_endpoint::{CallObserver, Observed};
use packhorse_proto::limits::Limits;
use packhorse_proto::message::AbortCode;
use packhorse_proto::preface::{Refusal, Security};
use packhorse_proto::receiver::Receiver;
use packhorse_trust::{Code, Opener, SessionKeys, Suite};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::classic::Hall;
use crate::error::Error;
use crate::stages::StageObserver;
use crate::wire::Wire;

/// What greetings share with the receiver.
pub(crate) struct Reception {
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    /// Where classic clients go; `None` where they are refused.
    pub(crate) classic: Option<Arc<Hall>>,
    state: Mutex<State>,
    pub(crate) news: UnboundedSender<News>,
    /// Who is told of calls on sockets.
    pub(crate) calls: Option<Arc<dyn CallObserver>>,
    pub(crate) stages: Option<Arc<dyn StageObserver>>,
}

struct State {
    code: Option<CurrentCode>,
    /// The one that the last session was opened with.
    used: Option<CurrentCode>,
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
    pub(crate) suite: Option<Suite>,
    pub(crate) lanes: UnboundedSender<LaneArrival>,
    /// Numbers of the lanes so far: each serves once.
    pub(crate) lanes_opened: BTreeSet<u16>,
    /// How many of them are open.
    pub(crate) lanes_open: Arc<AtomicUsize>,
}

/// A lane that has proved that it belongs to the session.
pub(crate) struct LaneArrival {
    pub(crate) number: u16,
    pub(crate) stream: Observed<TcpStream>,
    pub(crate) opener: Option<Opener>,
    pub(crate) place: LanePlace,
}

/// One of the places that a session has for lanes; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct LanePlace(Arc<AtomicUsize>);

impl LanePlace {
    /// `None` where all of so many are taken. To be asked for by one thread at a time.
    pub(crate) fn take(open: &Arc<AtomicUsize>, most: u16) -> Option<Self> {
        if open.load(Ordering::Acquire) >= usize::from(most) {
            return None;
        }
        open.fetch_add(1, Ordering::AcqRel);
        Some(Self(Arc::clone(open)))
    }
}

impl Drop for LanePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A sender who has proved the code, or needs none.
pub(crate) struct Authenticated {
    pub(crate) wire: Wire,
    /// Plaintext that is not handled yet.
    pub(crate) plaintext: Vec<u8>,
    pub(crate) proto: Receiver,
    /// When the protocol's clock began.
    pub(crate) started: Instant,
    pub(crate) peer: SocketAddr,
    pub(crate) name: String,
    pub(crate) suite: Option<Suite>,
    pub(crate) keys: Option<SessionKeys>,
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
    pub(super) fn new(
        limits: Limits,
        security: Security,
        classic: Option<Arc<Hall>>,
        news: UnboundedSender<News>,
        calls: Option<Arc<dyn CallObserver>>,
        stages: Option<Arc<dyn StageObserver>>,
    ) -> Self {
        let state = Mutex::new(State {
            code: None,
            used: None,
            session: None,
        });
        Self {
            limits,
            security,
            classic,
            state,
            news,
            calls,
            stages,
        }
    }

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

    /// Why none can be proved: somebody has, and is served, or there were too many wrong guesses.
    pub(crate) fn no_code(&self) -> Error {
        match self.lock().used {
            Some(_) => Error::Refused(Refusal::Busy),
            None => Error::CodeBurnt(self.limits.wrong_guesses),
        }
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
            state.used = state.code.take();
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

    /// Puts a code to use.
    pub(super) fn set_code(&self, code: Arc<Code>, generation: u64) {
        let state = &mut *self.lock();
        state.used = None;
        state.code = Some(CurrentCode {
            code,
            generation,
            wrong: 0,
        });
    }

    /// The session broke: its code serves once more, with as many guesses as were left.
    pub(super) fn use_code_again(&self) {
        let state = &mut *self.lock();
        state.code = state.used.take();
    }
}

/// What the peer is told when it comes at the wrong moment.
pub(crate) const BUSY: (AbortCode, &str) = (AbortCode::Refused, "it is serving another sender");
