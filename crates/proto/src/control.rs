//! What both sides of a control connection share: messages in, messages out, and the timers.

use std::time::Duration;

use crate::lane::LaneError;
use crate::limits::Limits;
use crate::manifest::OrderError;
use crate::message::{AbortCode, Counters, Message, MessageError, MessageReader, Text};
use crate::record::RecordError;
use crate::window::WindowError;

/// How often each side says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A rule of the protocol that the peer broke, or a deadline that it missed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes that are no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message that does not belong here.
    #[error("something that does not belong here: {0}")]
    Unexpected(&'static str),
    /// An entry out of order.
    #[error("entry '{path}': {error}")]
    Order {
        /// Its path, escaped.
        path: String,
        /// The rule it breaks.
        error: OrderError,
    },
    /// An entry beyond a limit.
    #[error("entry '{path}': {rule}")]
    Entry {
        /// Its path, escaped.
        path: String,
        /// The limit.
        rule: &'static str,
    },
    /// Something about an entry that does not go with the window.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Bytes on a lane that are no records.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Items that break a lane's rules.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// Numbers that both sides should agree on and do not.
    #[error("both sides do not agree on {0}")]
    Disagreement(&'static str),
    /// Nothing was heard for too long.
    #[error("nothing was heard for {} seconds", .0.as_secs())]
    Silence(Duration),
    /// Authentication took too long.
    #[error("it did not authenticate within {} seconds", .0.as_secs())]
    Unauthenticated(Duration),
}

impl Violation {
    /// How it is told to the peer.
    pub(crate) fn abort_code(&self) -> AbortCode {
        match self {
            Self::Silence(_) | Self::Unauthenticated(_) => AbortCode::Deadline,
            Self::Disagreement(_) => AbortCode::Unverified,
            _ => AbortCode::Protocol,
        }
    }
}

/// When something has to happen though the peer says nothing.
#[derive(Debug, Clone, Copy)]
struct Timers {
    /// When the peer has been silent for too long.
    silence: Duration,
    /// When it has to be authenticated; `None` once it is.
    authentication: Option<Duration>,
    /// When to say how far this side is; `None` before the session is open.
    progress: Option<Duration>,
}

/// One side's end of a control connection.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) limits: Limits,
    reader: MessageReader,
    out: Vec<u8>,
    timers: Timers,
    counters: Counters,
    /// An abort was sent or received: nothing more is said.
    over: bool,
}

impl Control {
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        let timers = Timers {
            silence: now + limits.silence,
            authentication: Some(now + limits.authentication),
            progress: None,
        };
        let (reader, counters) = (MessageReader::default(), Counters::default());
        Self {
            limits,
            reader,
            out: Vec::new(),
            timers,
            counters,
            over: false,
        }
    }

    pub(crate) fn handle_bytes(&mut self, bytes: &[u8], now: Duration) {
        self.timers.silence = now + self.limits.silence;
        if !self.over {
            self.reader.extend(bytes);
        }
    }

    /// The next message; none after the end.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, Violation> {
        if self.over {
            Ok(None)
        } else {
            Ok(self.reader.next(self.limits.message)?)
        }
    }

    pub(crate) fn send(&mut self, message: &Message) {
        if !self.over {
            message.encode(&mut self.out);
        }
    }

    /// Appends what is to be written; `false` where that is nothing.
    pub(crate) fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.out.is_empty();
        out.append(&mut self.out);
        any
    }

    pub(crate) fn authenticated(&mut self, now: Duration) {
        self.timers.authentication = None;
        self.timers.progress = Some(now + PROGRESS_EVERY);
    }

    pub(crate) fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        if self.over {
            return None;
        }
        let Timers {
            silence,
            authentication,
            progress,
        } = self.timers;
        [Some(silence), authentication, progress]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) -> Result<(), Violation> {
        if self.over {
            return Ok(());
        }
        if self.timers.authentication.is_some_and(|at| now >= at) {
            return Err(Violation::Unauthenticated(self.limits.authentication));
        }
        if now >= self.timers.silence {
            return Err(Violation::Silence(self.limits.silence));
        }
        if self.timers.progress.is_some_and(|at| now >= at) {
            self.timers.progress = Some(now + PROGRESS_EVERY);
            self.send(&Message::Progress(self.counters));
        }
        Ok(())
    }

    /// Says that the session ends here; nothing is said or heard after it.
    pub(crate) fn abort(&mut self, code: AbortCode, text: &str) {
        self.send(&Message::Abort {
            code,
            text: Text::new(text),
        });
        self.over = true;
    }

    /// The peer ended the session.
    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }
}
