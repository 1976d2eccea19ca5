//! What was typed for `connect` and `listen`: types and help, no effects.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args as ClapArgs;
use packhorse_endpoint::{Endpoint, parse_size};
use packhorse_frame::FrameSpec;
use packhorse_server::Builtin;

const NOTATION: &str = "\
Addresses:
  tcp://HOST:PORT  tls://HOST:PORT  udp://HOST:PORT  unix:PATH  unix:@NAME
  unixgram:PATH    seqpacket:PATH   icmp://HOST      raw://HOST/PROTOCOL
  with options, as in tcp://HOST:PORT?nodelay&sndbuf=1M&timeout=5s

Frames:
  none, line, nul, u8, u16be, u16le, u32be, u32le, u64be, u64le, i32le, varint,
  fixed:N, header:OFF,LEN,ADJ";

/// How messages travel and are shown, on both sides.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Manners {
    /// How messages are told apart on a stream, for what is typed and for what is shown
    #[arg(long, value_name = "SPEC", default_value = "none")]
    pub(crate) frame: FrameSpec,
    /// The longest message that is taken, with K, M or G for powers of 1024
    #[arg(long, value_name = "BYTES", default_value = "16M", value_parser = parse_limit)]
    pub(crate) max_message: usize,
    /// Show messages as hexadecimal digits, and read them so
    #[arg(long, conflicts_with = "json")]
    pub(crate) hex: bool,
    /// One JSON object a line for each message and each event
    #[arg(long)]
    pub(crate) json: bool,
    /// What happens when the input ends: half-close (say so and listen on), close, or
    /// linger:TIME (close after that long without a message). Default: half-close, and
    /// linger:1s where the kind of socket has no end
    #[arg(long, value_name = "HOW")]
    pub(crate) eof: Option<AtEof>,
    /// End a connection on which nothing moves for this long, as in 30s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) idle_timeout: Option<Duration>,
    /// Send at most this many messages a second
    #[arg(long, value_name = "PER_SECOND", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// End after this many messages have come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Log each write and read call on its sockets into this file: offset, length, time, TCP_INFO. It is
    /// pcapng; 'packhorse watch CAPTURE --lanes N --ledger FILE' shows it beside what crossed the wire
    #[arg(long, value_name = "FILE.pcapng")]
    pub(crate) ledger: Option<PathBuf>,
}

/// What happens when the input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtEof {
    /// The peer is told, and listened to until it is done.
    HalfClose,
    /// The connection is closed.
    Close,
    /// The connection is closed once nothing has come for so long.
    Linger(Duration),
}

impl FromStr for AtEof {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("linger:")) {
            ("half-close", _) => Ok(Self::HalfClose),
            ("close", _) => Ok(Self::Close),
            (_, Some(time)) => humantime::parse_duration(time)
                .map(Self::Linger)
                .map_err(|error| format!("'{time}' is not a time such as 2s: {error}")),
            _ => Err("expected half-close, close, or linger:TIME as in linger:2s".into()),
        }
    }
}

/// Connect to any socket, and talk: what is typed is sent, what comes is shown
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("\
Without a terminal it is a pipe: standard input goes there, what comes goes to
standard output, byte by byte; with --frame, and over datagrams, a line is a message.

Examples:
  packhorse connect tcp://127.0.0.1:9090
  packhorse connect tls://example.org:443?timeout=5s < request
  packhorse connect udp://127.0.0.1:8081         one line is one datagram; 'q' ends it
  packhorse connect unix:/run/app.sock --frame u32be --json
  echo hello | packhorse connect icmp://127.0.0.1

{NOTATION}

Exit codes: 0 closed in order (FIN), by whichever side; 3 reset (RST), or nobody there;
2, 4, 5, 6 and 130 as for every verb"))]
pub(crate) struct Connect {
    /// Where to
    pub(crate) endpoint: Endpoint,
    #[command(flatten)]
    pub(crate) manners: Manners,
}

/// Wait at any socket, and talk with whoever comes, or serve them
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("\
Many can come at once. What is typed goes to who spoke last; lines that begin with
a slash say otherwise:
  /to N TEXT  to number N      /all TEXT  to everybody     /peers  who is there
  /quit       end              //TEXT     a line that begins with a slash
Over udp:// a 'q' from a client ends its chat, and so does a 'q' sent to it.

Handlers (--handler): echo, discard, chargen, time, counter[:PAUSE] (hello0 to hello199),
exec:COMMAND (a process for each connection), broker (everybody hears everybody else),
file:PATH

Examples:
  packhorse listen tcp://0.0.0.0:9090 --greet '我接受到了'
  packhorse listen udp://:8081
  packhorse listen tcp://127.0.0.1:9000 --once > file
  packhorse listen tcp://:7000 unix:@room --handler broker --frame line
  packhorse listen tls://:8443 --handler exec:'cat /etc/motd'   prints the pin for clients

{NOTATION}

Ctrl-C or SIGTERM: nobody new is taken, those that are there may finish (--drain), and
it ends with 0. With --once: exit codes as for connect"))]
pub(crate) struct Listen {
    /// Where to wait; several, of any kinds
    #[arg(required = true, value_name = "ENDPOINT")]
    pub(crate) endpoints: Vec<Endpoint>,
    #[command(flatten)]
    pub(crate) manners: Manners,
    /// Serve one connection, then end
    #[arg(long)]
    pub(crate) once: bool,
    /// Serve by one of the built-in handlers instead of by hand
    #[arg(long, value_name = "NAME", conflicts_with_all = ["greet", "rate", "count", "eof", "hex"])]
    pub(crate) handler: Option<String>,
    /// Send this to everybody who comes, first of all
    #[arg(long, value_name = "TEXT")]
    pub(crate) greet: Option<String>,
    /// Connections at a time; more wait until one ends
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// Connections at a time of one IP address; more are closed
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_address: u32,
    /// End a connection whose message does not get whole in this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) message_timeout: Option<Duration>,
    /// How long connections may take to finish when this ends
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,
}

impl Listen {
    /// The handler that was named, where it is one.
    pub(crate) fn builtin(&self) -> Result<Option<Builtin>, packhorse_server::BuiltinError> {
        self.handler.as_deref().map(str::parse).transpose()
    }
}

fn parse_limit(text: &str) -> Result<usize, String> {
    // A length field of four bytes reaches no further.
    let size = parse_size(text).filter(|&size| (1..=u64::from(u32::MAX)).contains(&size));
    size.and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| {
            "expected bytes from 1 to 4294967295, with K, M or G for powers of 1024".into()
        })
}

/// A time in which something can happen.
fn parse_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("expected a time such as 500ms, 30s or 2m".into()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("expected messages a second, from 0.001 to 1000000000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_input_are_read() {
        assert_eq!("close".parse(), Ok(AtEof::Close));
        assert_eq!("half-close".parse(), Ok(AtEof::HalfClose));
        let linger = "linger:2s".parse();
        assert_eq!(linger, Ok(AtEof::Linger(Duration::from_secs(2))));
        for text in ["", "linger", "linger:", "linger:x", "open"] {
            assert!(text.parse::<AtEof>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(parse_limit("64K"), Ok(65536));
        for text in ["0", "-1", "x", "4G", "99999999999999999999"] {
            assert!(parse_limit(text).is_err(), "{text}");
        }
        assert_eq!(parse_time("1500ms"), Ok(Duration::from_millis(1500)));
        for text in ["0s", "0", "x", "-1s"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert_eq!(parse_rate("2.5"), Ok(2.5));
        for text in ["0", "-1", "nan", "inf", "x"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
