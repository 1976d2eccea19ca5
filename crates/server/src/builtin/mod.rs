//! Handlers that come with the server.

mod broker;
mod chargen;
mod counter;
mod exec;
mod file;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use packhorse_endpoint::Type;

use crate::connection::Connection;
use crate::handler::{Handler, HandlerError};

pub use broker::Broker;
pub use chargen::Chargen;
pub use counter::Counter;
pub use exec::Exec;
pub use file::File;

/// The pause of [`Counter`] where nothing else is said: that of the program it comes from.
pub const COUNTER_PAUSE: Duration = Duration::from_millis(500);

/// A handler that comes with the server, by its name: `echo`, `discard`, `chargen`, `time`,
/// `counter[:PAUSE]`, `exec:COMMAND`, `broker`, `file:PATH`.
#[derive(Debug)]
pub enum Builtin {
    /// Sends every message back (RFC 862).
    Echo,
    /// Receives and forgets (RFC 863).
    Discard,
    /// Sends lines of characters for as long as the peer listens (RFC 864).
    Chargen(Chargen),
    /// Says what time it is, in UTC (RFC 3339).
    Time,
    /// Sends `hello0` to `hello199`, each after an answer.
    Counter(Counter),
    /// Runs a command for each connection.
    Exec(Exec),
    /// Relays every message to all other peers.
    Broker(Broker),
    /// Sends a file.
    File(File),
}

/// A text that names no [`Builtin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuiltinError {
    /// There is none of this name.
    #[error(
        "there is no handler '{0}': there are echo, discard, chargen, time, counter[:PAUSE], exec:COMMAND, broker and file:PATH"
    )]
    Unknown(String),
    /// The handler needs to be told more.
    #[error("'{0}' is not whole: write {0}:{1}")]
    Missing(&'static str, &'static str),
    /// The handler takes nothing behind a colon.
    #[error("'{0}' takes nothing behind a colon")]
    Surplus(String),
    /// What follows `counter:` is no time.
    #[error("'{0}' is not a time such as 50ms or 2s")]
    Pause(String),
}

impl FromStr for Builtin {
    type Err = BuiltinError;

    fn from_str(text: &str) -> Result<Self, BuiltinError> {
        let (name, more) = match text.split_once(':') {
            Some((name, more)) => (name, Some(more)),
            None => (text, None),
        };
        let needed = |name, what| {
            more.filter(|more| !more.is_empty())
                .ok_or(BuiltinError::Missing(name, what))
        };
        let handler = match name {
            "echo" => Self::Echo,
            "discard" => Self::Discard,
            "chargen" => Self::Chargen(Chargen),
            "time" => Self::Time,
            "broker" => Self::Broker(Broker::default()),
            "exec" => return Ok(Self::Exec(Exec::new(needed("exec", "COMMAND")?))),
            "file" => {
                return Ok(Self::File(File::new(PathBuf::from(needed(
                    "file", "PATH",
                )?))));
            }
            "counter" => return counter(more),
            _ => return Err(BuiltinError::Unknown(name.to_owned())),
        };
        match more {
            None => Ok(handler),
            Some(_) => Err(BuiltinError::Surplus(name.to_owned())),
        }
    }
}

fn counter(pause: Option<&str>) -> Result<Builtin, BuiltinError> {
    let pause = match pause {
        None => COUNTER_PAUSE,
        Some("0") => Duration::ZERO,
        Some(text) => {
            humantime::parse_duration(text).map_err(|_| BuiltinError::Pause(text.to_owned()))?
        }
    };
    Ok(Builtin::Counter(Counter { pause }))
}

/// As it is written.
impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen(_) => "chargen",
            Self::Time => "time",
            Self::Counter(_) => "counter",
            Self::Exec(_) => "exec",
            Self::Broker(_) => "broker",
            Self::File(_) => "file",
        })
    }
}

impl Builtin {
    /// Whether it sends bytes that are not its own, so that some frames cannot carry them.
    #[must_use]
    pub fn sends_any_bytes(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::File(_))
    }
}

impl Handler for Builtin {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        match self {
            Self::Echo => echo(connection).await,
            Self::Discard => discard(connection).await,
            Self::Time => time(connection).await,
            Self::Chargen(chargen) => Box::pin(chargen.handle(connection)).await,
            Self::Counter(counter) => counter.handle(connection).await,
            // As large as the others together: who only echoes does not pay for them.
            Self::Exec(exec) => Box::pin(exec.handle(connection)).await,
            Self::Broker(broker) => Box::pin(broker.handle(connection)).await,
            Self::File(file) => Box::pin(file.handle(connection)).await,
        }
    }
}

async fn echo(connection: &mut Connection) -> Result<(), HandlerError> {
    while let Some(message) = connection.receive().await? {
        connection.feed(message.payload).await?;
    }
    Ok(())
}

async fn discard(connection: &mut Connection) -> Result<(), HandlerError> {
    while connection.receive().await?.is_some() {}
    Ok(())
}

/// On a connection at once; over datagrams somebody must ask first, or nobody is there.
async fn time(connection: &mut Connection) -> Result<(), HandlerError> {
    // Where nothing else marks its end, a line does.
    let end = if connection.has_boundaries() {
        ""
    } else {
        "\n"
    };
    let now = || {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        format!("{now}{end}")
    };
    if is_connection(connection) {
        connection.send(now().into()).await?;
        return Ok(());
    }
    while connection.receive().await?.is_some() {
        connection.send(now().into()).await?;
    }
    Ok(())
}

/// Whether the peer came by connecting, and not by sending a datagram.
pub(crate) fn is_connection(connection: &Connection) -> bool {
    let kind = connection.peer().kind.socket_type();
    matches!(kind, Type::Stream | Type::SequencedPacket)
}

/// What a command learns of the connection it serves.
pub(crate) fn environment(connection: &Connection) -> [(OsString, OsString); 4] {
    let peer = connection.peer();
    [
        ("PACKHORSE_PEER", peer.address.to_string()),
        ("PACKHORSE_LOCAL", peer.local.to_string()),
        ("PACKHORSE_KIND", peer.kind.to_string()),
        ("PACKHORSE_NUMBER", peer.number.to_string()),
    ]
    .map(|(name, value)| (name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        for name in ["echo", "discard", "chargen", "time", "counter", "broker"] {
            assert_eq!(name.parse::<Builtin>().unwrap().to_string(), name);
        }
        assert!(matches!("exec:cat -n a:b".parse(), Ok(Builtin::Exec(_))));
        assert!(matches!("file:/a:b".parse(), Ok(Builtin::File(_))));
        let Ok(Builtin::Counter(counter)) = "counter:50ms".parse() else {
            panic!("a pause is read");
        };
        assert_eq!(counter.pause, Duration::from_millis(50));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("ecko", "there is no handler 'ecko'"),
            ("echo:x", "'echo' takes nothing"),
            ("exec", "write exec:COMMAND"),
            ("file:", "write file:PATH"),
            ("counter:x", "'x' is not a time"),
        ] {
            let error = text.parse::<Builtin>().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
