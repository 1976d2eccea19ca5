//! What was typed for `load`: types and help, no effects.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use clap::Args as ClapArgs;
use packhorse_endpoint::{Endpoint, parse_size};
use packhorse_frame::FrameSpec;

use super::message::MAX_CONNECTIONS;

/// Messages a second that are asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    /// So many over all connections, whether answers come or not: an open loop.
    PerSecond(f64),
    /// As many as come back: each connection sends its next message when the last one was answered.
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(Self::PerSecond(rate)),
            _ => Err("expected messages a second, from 0.001 to 10000000, or max".into()),
        }
    }
}

/// Load an echo server: many connections, every answer compared, latencies
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Every message holds the number of its connection, its own number, and bytes that follow
from both; every answer is compared whole. The server must send back what it gets, as
'packhorse listen ENDPOINT --handler echo' does.

With a rate, message k is due at k/rate seconds, whatever the answers do, and its latency
counts from then: a server that stalls is charged for all that had to wait (no coordinated
omission). With --rate max each connection has one message under way, and its latency
counts from the sending: it says nothing of what would have waited.

Examples:
  packhorse load tcp://127.0.0.1:9090
  packhorse load tcp://127.0.0.1:9090 --connections 10000 --rate 20000 --duration 60s
  packhorse load unix:/run/app.sock --frame line --rate max --json
  packhorse load 'tls://127.0.0.1:8443?pin=sha256:…' --size 16K

Exit codes: 0 every answer came and was right; 3 some are lost, or connections broke;
5 this machine has no more ports or descriptors; 6 an answer was not what was sent;
130 interrupted, with the report so far")]
pub(crate) struct Load {
    /// The server
    pub(crate) endpoint: Endpoint,
    /// How messages are told apart. Default: u32be, and none over datagrams
    #[arg(long, value_name = "SPEC")]
    pub(crate) frame: Option<FrameSpec>,
    /// Connections at the same time
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_connections)]
    pub(crate) connections: NonZeroU32,
    /// Messages a second over all connections, or max
    #[arg(long, value_name = "PER_SECOND", default_value = "1000")]
    pub(crate) rate: Rate,
    /// Bytes of a message without its frame, with K or M for powers of 1024. Default: 64
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) size: Option<usize>,
    /// How long messages are sent
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// The report as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_connections(text: &str) -> Result<NonZeroU32, String> {
    let number = text.parse().ok();
    number
        .filter(|number: &NonZeroU32| number.get() <= MAX_CONNECTIONS)
        .ok_or_else(|| format!("expected a number from 1 to {MAX_CONNECTIONS}"))
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    // What an echo server takes by default.
    const LARGEST: u64 = 16 << 20;
    let size = parse_size(text).filter(|&size| size <= LARGEST);
    size.and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| "expected bytes from 0 to 16M".into())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time.is_zero() || time > Duration::from_secs(7 * 24 * 3600) {
        true => Err("expected a time from 1ms to 7days".into()),
        false => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_has_bounds() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("0.5".parse(), Ok(Rate::PerSecond(0.5)));
        for text in ["0", "-1", "nan", "inf", "Max", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!(parse_bytes("0"), Ok(0));
        assert_eq!(parse_bytes("16K"), Ok(16384));
        assert!(parse_bytes("17M").is_err());
        assert!(parse_connections("0").is_err());
        assert!(parse_connections("16777217").is_err());
        assert!(parse_duration("0s").is_err());
    }
}
