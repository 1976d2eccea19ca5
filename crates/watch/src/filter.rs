//! Choosing frames: by host, port and protocol.
//!
//! ```text
//! filter    = term { "or" term }
//! term      = factor { ["and"] factor }
//! factor    = "not" factor | "(" filter ")" | primitive
//! primitive = [ "src" | "dst" ] ( "host" ADDRESS[/BITS] | "port" NUMBER )
//!           | "tcp" | "udp" | "icmp" | "icmp6" | "igmp" | "ip" | "ip6" | "arp"
//! ```

use std::net::IpAddr;
use std::str::FromStr;

use crate::link;
use crate::packet::{Packet, Transport};
use crate::{Frame, Packets};

/// A filter can be this deep: `not` and parentheses.
const DEEPEST: usize = 64;

/// Chooses frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Expression);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Host(Side, IpAddr, u8),
    Port(Side, u16),
    /// By its number in IP.
    Protocol(u8),
    /// By the version of IP.
    Version(u8),
    Arp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
    Either,
}

/// A text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at position {position}")]
pub struct ParseFilterError {
    /// What is wrong.
    pub what: String,
    /// Where: the first character is at 1.
    pub position: usize,
}

impl Filter {
    /// Whether the frame is wanted. Fragments match by host and protocol; of one put together, the fragment that
    /// completes it matches by port as well.
    pub fn matches(&self, frame: &Frame<'_>, packets: &mut Packets) -> bool {
        let packet = packets.read(frame);
        self.0.matches(frame, packet.as_ref())
    }

    /// Whether a frame, whose packet was read already, is wanted.
    pub fn matches_packet(&self, frame: &Frame<'_>, packet: Option<&Packet<'_>>) -> bool {
        self.0.matches(frame, packet)
    }
}

impl Expression {
    fn matches(&self, frame: &Frame<'_>, packet: Option<&Packet<'_>>) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(frame, packet)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(frame, packet)),
            Self::Not(part) => !part.matches(frame, packet),
            Self::Arp => link::is_arp(frame.link, frame.data),
            Self::Host(side, address, bits) => packet.is_some_and(|packet| {
                side.any(packet.source, packet.destination, |one| {
                    within(one, *address, *bits)
                })
            }),
            Self::Port(side, port) => packet
                .and_then(Packet::endpoints)
                .is_some_and(|(from, to)| side.any(from.port(), to.port(), |one| one == *port)),
            Self::Version(version) => {
                packet.is_some_and(|packet| packet.source.is_ipv4() == (*version == 4))
            }
            Self::Protocol(number) => packet.is_some_and(|packet| {
                *number
                    == match packet.transport {
                        Transport::Tcp(_) => 6,
                        Transport::Udp(_) => 17,
                        Transport::Fragment(piece) => piece.protocol,
                        Transport::Other { protocol, .. } => protocol,
                    }
            }),
        }
    }
}

impl Side {
    fn any<T>(self, source: T, destination: T, wanted: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => wanted(source),
            Self::Destination => wanted(destination),
            Self::Either => wanted(source) || wanted(destination),
        }
    }
}

/// Whether the first bits of two addresses are the same.
fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            differ.leading_zeros() >= u32::from(bits)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            differ.leading_zeros() >= u32::from(bits)
        }
        _ => false,
    }
}

impl FromStr for Filter {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parser = Parser {
            words: words(text),
            at: 0,
            end: text.chars().count() + 1,
            depth: 0,
        };
        let expression = parser.any()?;
        match parser.peek() {
            None => Ok(Self(expression)),
            Some(word) => Err(parser.wrong(format!("'{word}' does not go on a filter"))),
        }
    }
}

/// Words and parentheses, each with its position.
fn words(text: &str) -> Vec<(String, usize)> {
    let mut words: Vec<(String, usize)> = Vec::new();
    let mut open = false;
    for (character, position) in text.chars().zip(1..) {
        if character.is_whitespace() {
            open = false;
        } else if matches!(character, '(' | ')') {
            words.push((character.to_string(), position));
            open = false;
        } else if let (true, Some((word, _))) = (open, words.last_mut()) {
            word.push(character);
        } else {
            words.push((character.to_string(), position));
            open = true;
        }
    }
    words
}

struct Parser {
    words: Vec<(String, usize)>,
    at: usize,
    end: usize,
    depth: usize,
}

type Parsed = Result<Expression, ParseFilterError>;

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(|(word, _)| word.as_str())
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// An error about the next word.
    fn wrong(&self, what: impl Into<String>) -> ParseFilterError {
        let position = self.words.get(self.at).map_or(self.end, |(_, at)| *at);
        ParseFilterError {
            what: what.into(),
            position,
        }
    }

    fn any(&mut self) -> Parsed {
        let mut parts = vec![self.all()?];
        while self.take("or") || self.take("||") {
            parts.push(self.all()?);
        }
        Ok(single(parts, Expression::Or))
    }

    fn all(&mut self) -> Parsed {
        let mut parts = vec![self.one()?];
        loop {
            let said = self.take("and") || self.take("&&");
            let goes_on = self
                .peek()
                .is_some_and(|word| !matches!(word, "or" | "||" | ")"));
            if !said && !goes_on {
                return Ok(single(parts, Expression::And));
            }
            parts.push(self.one()?);
        }
    }

    fn one(&mut self) -> Parsed {
        if self.take("not") || self.take("!") {
            return self.deeper(|parser| Ok(Expression::Not(Box::new(parser.one()?))));
        }
        if self.take("(") {
            return self.deeper(|parser| {
                let inner = parser.any()?;
                if parser.take(")") {
                    return Ok(inner);
                }
                Err(parser.wrong("a parenthesis is not closed"))
            });
        }
        self.primitive()
    }

    fn deeper(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth == DEEPEST {
            return Err(self.wrong(format!("more than {DEEPEST} levels")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn primitive(&mut self) -> Parsed {
        let side = if self.take("src") {
            Side::Source
        } else if self.take("dst") {
            Side::Destination
        } else {
            Side::Either
        };
        if self.take("host") || self.take("net") {
            return self.host(side);
        }
        if self.take("port") {
            let port = self.peek().and_then(|word| word.parse().ok());
            let port = port.ok_or_else(|| self.wrong("'port' takes a number up to 65535"))?;
            self.at += 1;
            return Ok(Expression::Port(side, port));
        }
        if side != Side::Either {
            return Err(self.wrong("'src' and 'dst' take 'host' or 'port'"));
        }
        let expression = match self.peek() {
            Some("tcp") => Expression::Protocol(6),
            Some("udp") => Expression::Protocol(17),
            Some("icmp") => Expression::Protocol(1),
            Some("igmp") => Expression::Protocol(2),
            Some("icmp6") => Expression::Protocol(58),
            Some("ip") => Expression::Version(4),
            Some("ip6") => Expression::Version(6),
            Some("arp") => Expression::Arp,
            Some(word) => {
                return Err(self.wrong(format!(
                    "'{word}' is not known: there are host, port, src, dst, tcp, udp, icmp, icmp6, igmp, ip, \
                     ip6, arp, and, or, not"
                )));
            }
            None => return Err(self.wrong("something is missing")),
        };
        self.at += 1;
        Ok(expression)
    }

    fn host(&mut self, side: Side) -> Parsed {
        let wrong = "'host' takes an address such as 192.0.2.7, 2001:db8::7 or 192.0.2.0/24";
        let word = self.peek().ok_or_else(|| self.wrong(wrong))?;
        let (address, bits) = word
            .split_once('/')
            .map_or((word, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| self.wrong(wrong))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => match bits.parse() {
                Ok(bits) if bits <= most => bits,
                _ => return Err(self.wrong(wrong)),
            },
        };
        self.at += 1;
        Ok(Expression::Host(side, address, bits))
    }
}

fn single(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            many(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_filters_tell_where() {
        for (text, position, part) in [
            ("", 1, "missing"),
            ("tcp and", 8, "missing"),
            ("port http", 6, "65535"),
            ("port 70000", 6, "65535"),
            ("host 1.2.3", 6, "address"),
            ("host 1.2.3.4/33", 6, "address"),
            ("tcp or (udp", 12, "not closed"),
            ("tcp ) udp", 5, "does not go on"),
            ("src tcp", 5, "take 'host' or 'port'"),
            ("tcp portt 7", 5, "'portt' is not known"),
            (&"(".repeat(100), 66, "levels"),
            (&"not ".repeat(100), 261, "levels"),
        ] {
            let error = text.parse::<Filter>().unwrap_err();
            assert!(error.what.contains(part), "{text}: {error}");
            assert_eq!(error.position, position, "{text}: {error}");
        }
    }

    #[test]
    fn and_binds_closer_than_or() {
        let parse = |text: &str| text.parse::<Filter>().unwrap();
        assert_eq!(parse("tcp port 9 or udp"), parse("(tcp and port 9) or udp"));
        assert_ne!(parse("tcp port 9 or udp"), parse("tcp and (port 9 or udp)"));
        assert_eq!(parse("not tcp and udp"), parse("(not tcp) and udp"));
    }
}
