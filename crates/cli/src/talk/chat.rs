//! Many peers and one keyboard: who is there, who spoke last, and what a line that is typed means.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use packhorse_endpoint::Kind;
use packhorse_server::{Connection, Handler, HandlerError, Peer, Receiver, Sender};
use tokio::sync::{Notify, mpsc};

use super::args::Manners;
use super::converse::Plan;
use super::input::{Input, Typed};
use super::show::Show;
use crate::units;

/// Lines that wait for a peer that does not read.
const QUEUE: usize = 64;

/// What is needed to talk with everybody. Clones share it.
#[derive(Clone)]
pub(crate) struct Chat(Arc<Inner>);

struct Inner {
    manners: Manners,
    show: Show,
    greeting: Option<Bytes>,
    table: Mutex<Table>,
    /// Somebody came.
    arrival: Notify,
}

#[derive(Default)]
struct Table {
    peers: BTreeMap<u64, Entry>,
    last_speaker: Option<u64>,
}

struct Entry {
    peer: Peer,
    lines: mpsc::Sender<Bytes>,
    last_heard: Instant,
}

/// What a line that was typed means.
#[derive(Debug, PartialEq, Eq)]
enum Command<'a> {
    /// To who spoke last.
    Answer(&'a [u8]),
    To(u64, &'a [u8]),
    All(&'a [u8]),
    Peers,
    Quit,
    Wrong(String),
}

/// Why the keyboard's part is over.
pub(crate) enum Over {
    /// Nothing more is typed: peers are still listened to.
    EndOfInput,
    /// The person wants to go.
    Quit,
    /// What is typed cannot be read.
    Failed(std::io::Error),
}

impl Chat {
    pub(crate) fn new(manners: Manners, show: Show, greeting: Option<Bytes>) -> Self {
        Self(Arc::new(Inner {
            manners,
            show,
            greeting,
            table: Mutex::default(),
            arrival: Notify::new(),
        }))
    }

    /// Reads what is typed and sends it to whom it is for.
    pub(crate) async fn keyboard(&self, mut input: Input) -> Over {
        loop {
            // Piped input waits until somebody is there to hear it.
            if !input.is_interactive() {
                self.somebody().await;
            }
            let typed = match input.next().await {
                // Who sits at a terminal says by it that they go.
                None if input.is_interactive() => return Over::Quit,
                None => return Over::EndOfInput,
                Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
                    return Over::Quit;
                }
                Some(Err(error)) => return Over::Failed(error),
                Some(Ok(Typed::Line(line) | Typed::Piece(line))) => line,
            };
            match Command::parse(&typed) {
                Command::Quit => return Over::Quit,
                Command::Peers => self.list(),
                Command::Wrong(why) => self.0.show.warn(why),
                Command::Answer(text) => match self.target() {
                    Some(number) => self.send(&[number], typed.slice_ref(text)).await,
                    None => self.0.show.warn("nobody is here to hear that"),
                },
                Command::To(number, text) => self.send(&[number], typed.slice_ref(text)).await,
                Command::All(text) => {
                    let everybody: Vec<u64> = self.table().peers.keys().copied().collect();
                    if everybody.is_empty() {
                        self.0.show.warn("nobody is here to hear that");
                    }
                    self.send(&everybody, typed.slice_ref(text)).await;
                }
            }
        }
    }

    fn plan(&self, kind: Kind) -> Plan {
        Plan::new(&self.0.manners, kind)
    }

    async fn somebody(&self) {
        loop {
            let arrival = self.0.arrival.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            if !self.table().peers.is_empty() {
                return;
            }
            arrival.await;
        }
    }

    /// Who spoke last, or came last where nobody has spoken.
    fn target(&self) -> Option<u64> {
        let table = self.table();
        let speaker = table
            .last_speaker
            .filter(|number| table.peers.contains_key(number));
        speaker.or_else(|| table.peers.keys().next_back().copied())
    }

    async fn send(&self, numbers: &[u64], line: Bytes) {
        for number in numbers {
            let entry = |entry: &Entry| (entry.peer.kind, entry.lines.clone());
            let entry = self.table().peers.get(number).map(entry);
            let Some((kind, lines)) = entry else {
                self.0.show.warn(format_args!(
                    "number {number} is not here: /peers tells who is"
                ));
                continue;
            };
            // On a stream a line keeps its end, as a datagram it has none.
            let message = match self.plan(kind).message_of(Typed::Line(line.clone())) {
                Ok(message) => message,
                Err(error) => return self.0.show.warn(format_args!("not sent: {error}")),
            };
            match lines.try_send(message) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(message)) => {
                    // Piped input waits; others are served meanwhile by their own tasks.
                    if lines.send(message).await.is_err() {
                        self.0.show.warn(format_args!("number {number} has gone"));
                    }
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.0.show.warn(format_args!("number {number} has gone"));
                }
            }
        }
    }

    fn list(&self) {
        let table = self.table();
        if table.peers.is_empty() {
            self.0.show.tell("nobody is here");
        }
        for (number, entry) in &table.peers {
            let silent = units::duration(entry.last_heard.elapsed());
            let mark = if table.last_speaker == Some(*number) {
                "; spoke last"
            } else {
                ""
            };
            let (peer, kind) = (&entry.peer, entry.peer.kind);
            self.0.show.tell(format_args!(
                "{number}  {peer}  ({kind})  silent for {silent}{mark}"
            ));
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, number: u64) {
        let mut table = self.table();
        table.last_speaker = Some(number);
        if let Some(entry) = table.peers.get_mut(&number) {
            entry.last_heard = Instant::now();
        }
    }

    async fn hear(&self, peer: &Peer, receiver: &mut Receiver) -> Result<(), HandlerError> {
        let plan = self.plan(peer.kind);
        while let Some(message) = receiver.receive().await? {
            self.heard(peer.number);
            self.0
                .show
                .received(peer, &message, plan.whole())
                .map_err(HandlerError::own)?;
            if plan.is_goodbye(&message.payload) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn speak(
        &self,
        peer: &Peer,
        mut lines: mpsc::Receiver<Bytes>,
        sender: &mut Sender,
    ) -> Result<(), HandlerError> {
        let plan = self.plan(peer.kind);
        while let Some(line) = lines.recv().await {
            let offset = sender.moved().bytes;
            sender.send(line.clone()).await?;
            self.0
                .show
                .sent(peer, offset, &line)
                .map_err(HandlerError::own)?;
            if plan.is_goodbye(&line) {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Handler for Chat {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        let peer = connection.peer().clone();
        if let Some(greeting) = &self.0.greeting {
            connection.send(greeting.clone()).await?;
            self.0
                .show
                .sent(&peer, 0, greeting)
                .map_err(HandlerError::own)?;
        }
        let (sender, lines) = mpsc::channel(QUEUE);
        let last_heard = Instant::now();
        let entry = Entry {
            peer: peer.clone(),
            lines: sender,
            last_heard,
        };
        self.table().peers.insert(peer.number, entry);
        self.0.arrival.notify_waiters();
        let _leaving = Leaving {
            chat: self,
            number: peer.number,
        };
        let (receiver, sender) = connection.split_mut();
        tokio::select! {
            ended = self.hear(&peer, receiver) => ended,
            ended = self.speak(&peer, lines, sender) => ended,
        }
    }
}

/// Takes a peer off the table when its handler ends or is dropped.
struct Leaving<'a> {
    chat: &'a Chat,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.chat.table().peers.remove(&self.number);
    }
}

impl<'a> Command<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let Some(command) = line.strip_prefix(b"/") else {
            return Self::Answer(line);
        };
        // Two slashes are one that is meant.
        if command.starts_with(b"/") {
            return Self::Answer(command);
        }
        let (name, rest) = word(command);
        match name {
            b"peers" if rest.is_empty() => Self::Peers,
            b"quit" if rest.is_empty() => Self::Quit,
            b"all" => Self::All(rest),
            b"to" => {
                let (number, text) = word(rest);
                let number = str::from_utf8(number).ok().and_then(|text| text.parse().ok());
                match number {
                    Some(number) => Self::To(number, text),
                    None => Self::Wrong("/to needs a number: /peers tells who is which".into()),
                }
            }
            _ => Self::Wrong(
                "there are /to N TEXT, /all TEXT, /peers and /quit; a line that begins with a slash is typed with two"
                    .into(),
            ),
        }
    }
}

/// The first word, and what follows the one space behind it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b' ') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_mean_what_they_say() {
        for (line, meaning) in [
            ("hello", Command::Answer(b"hello")),
            ("", Command::Answer(b"")),
            ("//etc", Command::Answer(b"/etc")),
            ("/to 3 hi there", Command::To(3, b"hi there")),
            ("/to 3", Command::To(3, b"")),
            ("/all  two spaces", Command::All(b" two spaces")),
            ("/peers", Command::Peers),
            ("/quit", Command::Quit),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), meaning, "{line}");
        }
        for line in ["/to x y", "/to", "/too 3 x", "/peers now", "/"] {
            assert!(
                matches!(Command::parse(line.as_bytes()), Command::Wrong(_)),
                "{line}"
            );
        }
    }
}
