//! Talking with one peer: what is typed goes there, what comes is shown, until one side is done.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use packhorse_endpoint::{Kind, Type};
use packhorse_frame::FrameSpec;
use packhorse_server::{Connection, ConnectionError, End, HandlerError, Peer, Receiver, Sender};
use tokio::time::Instant;

use super::args::{AtEof, Manners};
use super::input::{Input, Typed};
use super::show::{Show, Whole};

/// How long a peer is heard out where the socket's kind cannot say that it is done.
const NO_END_LINGER: Duration = Duration::from_secs(1);

/// What a conversation keeps to.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    at_eof: AtEof,
    idle: Option<Duration>,
    pause: Option<Duration>,
    count: Option<u64>,
    hex: bool,
    whole: Whole,
    /// Whether a 'q' ends it.
    q_ends: bool,
}

impl Plan {
    pub(crate) fn new(manners: &Manners, kind: Kind) -> Self {
        let has_end = matches!(kind.socket_type(), Type::Stream | Type::SequencedPacket);
        let unframed = manners.frame == FrameSpec::default();
        let default_eof = match has_end {
            true => AtEof::HalfClose,
            false => AtEof::Linger(NO_END_LINGER),
        };
        Self {
            at_eof: manners.eof.unwrap_or(default_eof),
            idle: manners.idle_timeout,
            pause: manners.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            count: manners.count,
            hex: manners.hex,
            whole: match unframed && !kind.socket_type().keeps_boundaries() {
                true => Whole::No,
                false => Whole::Yes,
            },
            q_ends: kind == Kind::Udp && unframed && !manners.hex,
        }
    }

    /// Whether what arrives is a stream without messages.
    pub(crate) fn whole(&self) -> Whole {
        self.whole
    }

    /// Whether this message ends a chat.
    pub(crate) fn is_goodbye(&self, message: &[u8]) -> bool {
        self.q_ends && matches!(message, b"q" | b"Q")
    }

    /// What a piece of input says. On a stream without messages a line keeps its end.
    pub(crate) fn message_of(&self, typed: Typed) -> io::Result<Bytes> {
        match typed {
            Typed::Piece(bytes) => Ok(bytes),
            Typed::Line(line) if self.hex => read_hex(&line),
            Typed::Line(line) if self.whole == Whole::No => Ok([&line[..], b"\n"].concat().into()),
            Typed::Line(line) => Ok(line),
        }
    }
}

fn read_hex(line: &[u8]) -> io::Result<Bytes> {
    let wrong = |why: String| {
        let what = format!("a line is not pairs of hexadecimal digits: {why}");
        io::Error::new(io::ErrorKind::InvalidInput, what)
    };
    let text = str::from_utf8(line).map_err(|error| wrong(error.to_string()))?;
    let bytes = crate::hex::read(text).map_err(|error| wrong(error.to_string()))?;
    Ok(bytes.into())
}

/// How a conversation ended, when nothing broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer was done first.
    Peer,
    /// This side was done first.
    Here,
    /// Nothing moved for too long.
    Idle,
    /// As many messages have come as were asked for.
    Counted,
}

/// Why a conversation broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// What is typed cannot be read, or is no message.
    #[error(transparent)]
    Input(io::Error),
    /// What comes cannot be shown.
    #[error(transparent)]
    Output(io::Error),
}

/// What both directions know of each other.
#[derive(Debug)]
struct Shared {
    first: Option<Ending>,
    last_moved: Instant,
    last_heard: Instant,
    /// Nobody was there for the last datagram.
    refused: bool,
}

struct Side<'a> {
    peer: &'a Peer,
    plan: &'a Plan,
    show: &'a Show,
    shared: &'a Mutex<Shared>,
    /// A person sits here.
    interactive: bool,
}

/// Talks until one side is done.
pub(crate) async fn converse(
    connection: &mut Connection,
    input: &mut Input,
    plan: &Plan,
    show: &Show,
) -> Result<Ending, Broken> {
    let peer = connection.peer().clone();
    let now = Instant::now();
    let shared = Mutex::new(Shared {
        first: None,
        last_moved: now,
        last_heard: now,
        refused: false,
    });
    let side = Side {
        peer: &peer,
        plan,
        show,
        shared: &shared,
        interactive: input.is_interactive(),
    };
    let (receiver, sender) = connection.split_mut();
    let hear = side.hear(receiver);
    let speak = side.speak(sender, input);
    tokio::pin!(hear, speak);
    let ending = tokio::select! {
        heard = &mut hear => match heard? {
            // The other direction goes on: whoever sends no more may still read.
            Ending::Peer if !side.interactive && !side.has_finished() => {
                tokio::select! {
                    spoken = &mut speak => spoken?,
                    () = side.idle() => Ending::Idle,
                }
            }
            ending => ending,
        },
        spoken = &mut speak => spoken?,
        () = side.idle() => Ending::Idle,
    };
    if side.shared().refused {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        return Err(ConnectionError::Io(refused).into());
    }
    let first = side.shared().first;
    Ok(match ending {
        Ending::Peer | Ending::Here => first.unwrap_or(ending),
        other => other,
    })
}

impl Side<'_> {
    /// Shows what comes, until the peer is done.
    async fn hear(&self, receiver: &mut Receiver) -> Result<Ending, Broken> {
        let mut heard = 0;
        loop {
            let message = match receiver.receive().await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    self.done(Ending::Peer);
                    return Ok(Ending::Peer);
                }
                Err(error) if self.is_passing(&error) => {
                    self.nobody(&error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.moved();
            self.shared().last_heard = Instant::now();
            self.show
                .received(self.peer, &message, self.plan.whole)
                .map_err(Broken::Output)?;
            heard += 1;
            if self.plan.count == Some(heard) {
                return Ok(Ending::Counted);
            }
            if self.interactive && self.plan.is_goodbye(&message.payload) {
                self.done(Ending::Peer);
                return Ok(Ending::Here);
            }
        }
    }

    fn nobody(&self, error: &ConnectionError) {
        self.shared().refused = true;
        let peer = self.peer;
        self.show
            .warn(format_args!("nobody listens at {peer}: {error}"));
    }

    /// Over datagrams a refused one says that nobody was there for it, not that nobody ever will be.
    fn is_passing(&self, error: &ConnectionError) -> bool {
        let datagrams = matches!(self.peer.kind.socket_type(), Type::Datagram | Type::Raw);
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        datagrams && matches!(error, ConnectionError::Io(error) if refused(error))
    }

    /// Sends what is typed, until that ends; then what was asked for happens.
    async fn speak(&self, sender: &mut Sender, input: &mut Input) -> Result<Ending, Broken> {
        let mut next = Instant::now();
        while let Some(typed) = input.next().await {
            let message = self.plan.message_of(typed.map_err(Broken::Input)?);
            let message = match message {
                // Who types can type it again.
                Err(error) if self.interactive => {
                    self.show.warn(format_args!("not sent: {error}"));
                    continue;
                }
                message => message.map_err(Broken::Input)?,
            };
            if let Some(pause) = self.plan.pause {
                tokio::time::sleep_until(next).await;
                next = next.max(Instant::now()) + pause;
            }
            let offset = sender.moved().bytes;
            match sender.send(message.clone()).await {
                Err(error) if self.is_passing(&error) => {
                    self.nobody(&error);
                    // That was the answer to the last one: this one was not sent.
                    sender.send(message.clone()).await?;
                }
                // Who types can say it in another way.
                Err(error @ (ConnectionError::Encode(_) | ConnectionError::TooLong(_)))
                    if self.interactive =>
                {
                    self.show.warn(format_args!("not sent: {error}"));
                    continue;
                }
                sent => sent?,
            }
            self.shared().refused = false;
            self.moved();
            self.show
                .sent(self.peer, offset, &message)
                .map_err(Broken::Output)?;
            if self.interactive && self.plan.is_goodbye(&message) {
                self.done(Ending::Here);
                return Ok(Ending::Here);
            }
        }
        let peer_is_done = self.shared().first == Some(Ending::Peer);
        self.done(Ending::Here);
        sender.finish().await?;
        match self.plan.at_eof {
            AtEof::HalfClose if !peer_is_done => std::future::pending().await,
            AtEof::HalfClose | AtEof::Close => Ok(Ending::Here),
            AtEof::Linger(time) => {
                self.shared().last_heard = Instant::now();
                self.until_silent(time).await;
                Ok(Ending::Here)
            }
        }
    }

    async fn until_silent(&self, time: Duration) {
        loop {
            let until = self.shared().last_heard + time;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Ends when nothing has moved for too long; without such a bound, never.
    async fn idle(&self) {
        let Some(idle) = self.plan.idle else {
            return std::future::pending().await;
        };
        loop {
            let until = self.shared().last_moved + idle;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Whether this side has said that no more comes.
    fn has_finished(&self) -> bool {
        self.shared().first == Some(Ending::Here)
    }

    fn moved(&self) {
        self.shared().last_moved = Instant::now();
    }

    fn done(&self, ending: Ending) {
        self.shared().first.get_or_insert(ending);
        let side = match ending {
            Ending::Peer => packhorse_server::Side::Peer,
            _ => packhorse_server::Side::Here,
        };
        // Whoever reads no more is found out by the next message.
        let _ = self.show.finished(self.peer, side);
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the record tells an ending.
pub(crate) fn end_of(outcome: &Result<Ending, Broken>) -> End {
    match outcome {
        Ok(Ending::Peer) => End::ByPeer,
        Ok(Ending::Here | Ending::Counted) => End::ByHandler,
        Ok(Ending::Idle) => End::Idle,
        Err(Broken::Connection(ConnectionError::Reset)) => End::Reset,
        // Whoever reads has enough.
        Err(Broken::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => End::ByHandler,
        // A person wants to go.
        Err(Broken::Input(error)) if error.kind() == io::ErrorKind::Interrupted => End::ByHandler,
        Err(error) => End::Failed(error.to_string()),
    }
}

/// As a server's handler tells it.
pub(crate) fn as_handler(broken: &Broken) -> Result<(), HandlerError> {
    match broken {
        Broken::Connection(ConnectionError::Reset) => Err(ConnectionError::Reset.into()),
        other => Err(HandlerError::own(other.to_string())),
    }
}
