//! How a stream is named.

use std::fmt;
use std::str::FromStr;

use super::Protocol;

/// A conversation of a capture: `3`, `tcp:3`, `udp:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number among those of its protocol, from 0, in the order of their first packet: Wireshark's
    /// `tcp.stream` or `udp.stream`.
    pub number: u32,
}

/// Not the name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("streams are named by a number, such as 0, tcp:0 or udp:0")]
pub struct ParseStreamIdError;

impl FromStr for StreamId {
    type Err = ParseStreamIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (protocol, number) = match text.split_once(':') {
            None => (Protocol::Tcp, text),
            Some(("tcp", number)) => (Protocol::Tcp, number),
            Some(("udp", number)) => (Protocol::Udp, number),
            Some(_) => return Err(ParseStreamIdError),
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseStreamIdError);
        }
        let number = number.parse().map_err(|_| ParseStreamIdError)?;
        Ok(Self { protocol, number })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "{}", self.number),
            Protocol::Udp => write!(f, "udp:{}", self.number),
        }
    }
}
