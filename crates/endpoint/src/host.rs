//! A host as it was named: a name to look up, or an address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host name (RFC 1035 §2.3.4, as text without the final dot).
const MAX_NAME: usize = 253;

/// The longest zone: Linux's IFNAMSIZ without its NUL.
const MAX_ZONE: usize = 15;

/// A machine: a name, or an IP address, IPv6 with an optional zone (`fe80::1%eth0`).
///
/// A name holds only letters, digits, `-`, `_` and `.`. It is never something that merely looks like a
/// name: resolvers read `127.1` or `8080` as IPv4 addresses, which nobody means who types them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host(Repr);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Repr {
    Name(String),
    Address(IpAddr),
    Scoped(Ipv6Addr, String),
}

/// Why a text is not a [`Host`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing where a host belongs.
    #[error("no host is named")]
    Empty,
    /// A name longer than any name can be.
    #[error("the host name is longer than {MAX_NAME} characters")]
    TooLong,
    /// A character that no host name has.
    #[error("{0:?} cannot be part of a host name")]
    Character(char),
    /// An empty label, or a label with `-` at an end.
    #[error("'{0}' is not a host name")]
    Label(String),
    /// Digits that resolvers would take for an address.
    #[error("'{0}' is neither a host name nor a whole IP address")]
    Numeric(String),
    /// What stands in brackets, or holds colons, is not IPv6.
    #[error("{0:?} is not an IPv6 address")]
    Ipv6(String),
    /// What follows `%` is not the name or number of an interface.
    #[error("{0:?} is not a network interface's name")]
    Zone(String),
}

impl Host {
    /// The address, where the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match &self.0 {
            Repr::Name(_) => None,
            Repr::Address(address) => Some(*address),
            Repr::Scoped(address, _) => Some(IpAddr::V6(*address)),
        }
    }

    /// The interface that a link-local address belongs to.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        match &self.0 {
            Repr::Scoped(_, zone) => Some(zone),
            Repr::Name(_) | Repr::Address(_) => None,
        }
    }

    /// Whether the host is an IPv6 address, which stands in brackets before a port.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        matches!(self.address(), Some(IpAddr::V6(_)))
    }

    /// `ADDRESS` or `ADDRESS%ZONE`, without brackets.
    pub(crate) fn parse_ipv6(text: &str) -> Result<Self, HostError> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| HostError::Ipv6(shortened(text)))?;
        let Some(zone) = zone else {
            return Ok(Self(Repr::Address(IpAddr::V6(address))));
        };
        if !is_zone(zone) {
            return Err(HostError::Zone(shortened(zone)));
        }
        Ok(Self(Repr::Scoped(address, zone.to_owned())))
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.contains(':') {
            return Self::parse_ipv6(text);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self(Repr::Address(IpAddr::V4(address))));
        }
        check_name(text)?;
        Ok(Self(Repr::Name(text.to_owned())))
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self(Repr::Address(address))
    }
}

/// The host alone: no brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Name(name) => f.write_str(name),
            Repr::Address(address) => address.fmt(f),
            Repr::Scoped(address, zone) => write!(f, "{address}%{zone}"),
        }
    }
}

fn check_name(name: &str) -> Result<(), HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(bad) = name.chars().find(|&c| !good(c)) {
        return Err(HostError::Character(bad));
    }
    if name.len() > MAX_NAME {
        return Err(HostError::TooLong);
    }
    // One dot at the end says that the name is complete.
    let labels = name.strip_suffix('.').unwrap_or(name);
    let bad_label = |l: &str| l.is_empty() || l.starts_with('-') || l.ends_with('-');
    if labels.split('.').any(bad_label) {
        return Err(HostError::Label(name.to_owned()));
    }
    if labels.rsplit('.').next().is_some_and(is_number) {
        return Err(HostError::Numeric(name.to_owned()));
    }
    Ok(())
}

/// What inet_aton(3) reads as a number: decimal, octal, or hexadecimal.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or(label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.chars().all(|c| c.is_ascii_hexdigit()),
        None => label.chars().all(|c| c.is_ascii_digit()),
    }
}

fn is_zone(zone: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    (1..=MAX_ZONE).contains(&zone.len()) && zone.chars().all(good)
}

/// Enough of `text` to recognise it in a message.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn tells_names_from_addresses() {
        assert_eq!(host("nas.local").address(), None);
        assert_eq!(
            host("192.0.2.1").address(),
            Some(Ipv4Addr::new(192, 0, 2, 1).into())
        );
        assert!(host("2001:db8::1").is_ipv6());
        assert_eq!(host("fe80::1%eth0").zone(), Some("eth0"));
        assert_eq!(host("fe80::1%eth0").to_string(), "fe80::1%eth0");
        assert_eq!(host("example.org.").to_string(), "example.org.");
        assert_eq!(host("a_b-c").to_string(), "a_b-c");
    }

    #[test]
    fn refuses_what_a_resolver_would_misread() {
        for text in [
            "127.1",
            "8080",
            "0x7f000001",
            "1.2.3.4.5",
            "10.0.0.256",
            "0x",
        ] {
            let error = text.parse::<Host>().unwrap_err();
            assert_eq!(error, HostError::Numeric(text.to_owned()));
        }
    }

    #[test]
    fn refuses_hostile_text() {
        assert_eq!("".parse::<Host>(), Err(HostError::Empty));
        for text in [
            "a b",
            "a\0b",
            "a/b",
            "user@host",
            "-x",
            "a..b",
            ".",
            "x-",
            "é",
            "a\nb",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
        assert_eq!("a".repeat(254).parse::<Host>(), Err(HostError::TooLong));
        for text in [
            "fe80::1%",
            "fe80::1%a/b",
            "fe80::1%sixteen-letters-",
            "fe80::1% ",
        ] {
            assert!(matches!(text.parse::<Host>(), Err(HostError::Zone(_))));
        }
        assert!(matches!(":::".parse::<Host>(), Err(HostError::Ipv6(_))));
    }
}
