//! `HOST`, `HOST:PORT`, `[IPV6]` and `[IPV6]:PORT`: what every notation has in the middle.

use crate::host::{Host, HostError, shortened};

/// Why a text is not a host with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The host is not one.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What follows the colon is not a port.
    #[error("{0:?} is not a port: a port is a number up to 65535")]
    Port(String),
    /// An opening bracket without its closing one, or text after it that is no port.
    #[error("{0:?}: an IPv6 address with a port is written [ADDRESS]:PORT")]
    Brackets(String),
}

/// Host and port as they were named.
pub(crate) fn parse(text: &str) -> Result<(Host, Option<u16>), AuthorityError> {
    if let Some(rest) = text.strip_prefix('[') {
        let brackets = || AuthorityError::Brackets(shortened(text));
        let (address, after) = rest.split_once(']').ok_or_else(brackets)?;
        let host = Host::parse_ipv6(address)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(parse_port(port)?))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(brackets()),
        };
    }
    match text.split_once(':') {
        // Two colons or more: IPv6 without brackets, which leaves no room for a port.
        Some((_, rest)) if rest.contains(':') => Ok((text.parse()?, None)),
        Some((host, port)) => {
            let host = host.parse()?;
            Ok((host, Some(parse_port(port)?)))
        }
        None => Ok((text.parse()?, None)),
    }
}

/// RFC 6874: the zone's `%` is itself percent-encoded in a URI; it may stand bare as well.
pub(crate) fn parse_in_uri(text: &str) -> Result<(Host, Option<u16>), AuthorityError> {
    parse(&text.replacen("%25", "%", 1))
}

pub(crate) fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits => Ok(port),
        _ => Err(AuthorityError::Port(shortened(text))),
    }
}
