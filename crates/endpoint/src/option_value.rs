//! What stands behind the `=` of an option.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{Address, UnixName};
use crate::endpoint::Kind;
use crate::host::{Host, shortened};
use crate::options::{OptionError, OptionName as Name};
use crate::percent;
use crate::pin::Pin;
use crate::resolve::resolve;

/// One option as it was written.
pub(crate) struct Given<'a> {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) value: Option<&'a str>,
}

impl Given<'_> {
    fn wrong(&self, expected: &'static str) -> OptionError {
        OptionError::Value {
            option: self.name,
            expected,
            given: shortened(self.value.unwrap_or_default()),
        }
    }

    pub(crate) fn switch(&self) -> Result<bool, OptionError> {
        match self.value {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(_) => Err(self.wrong("'on', 'off' or no value")),
        }
    }

    pub(crate) fn number<T: std::str::FromStr>(
        &self,
        expected: &'static str,
    ) -> Result<T, OptionError> {
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let number = self.value.filter(digits).and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.wrong(expected))
    }

    pub(crate) fn hops(&self) -> Result<u8, OptionError> {
        const EXPECTED: &str = "a number from 1 to 255";
        match self.number(EXPECTED)? {
            0 => Err(self.wrong(EXPECTED)),
            hops => Ok(hops),
        }
    }

    pub(crate) fn size(&self) -> Result<u32, OptionError> {
        const EXPECTED: &str = "a number of bytes up to 1G, with K, M or G for powers of 1024";
        let text = self.value.unwrap_or_default();
        // Twice that is the most that SO_SNDBUF's int can hold.
        let size = parse_size(text).filter(|&size| (1..=1 << 30).contains(&size));
        let size = size.and_then(|size| u32::try_from(size).ok());
        size.ok_or_else(|| self.wrong(EXPECTED))
    }

    pub(crate) fn duration(&self) -> Result<Duration, OptionError> {
        let time = self
            .value
            .and_then(|text| humantime::parse_duration(text).ok());
        // A year: more is a slip, and some of the kernel's clocks would run over.
        time.filter(|time| !time.is_zero() && *time <= Duration::from_secs(365 * 86400))
            .ok_or_else(|| self.wrong("a time such as 500ms, 30s or 2m"))
    }

    pub(crate) fn whole_seconds(&self) -> Result<Duration, OptionError> {
        const EXPECTED: &str = "whole seconds from 1s to 32767s";
        // The kernel's bound for TCP_KEEPIDLE (MAX_TCP_KEEPIDLE in include/net/tcp.h).
        let time = self.duration().map_err(|_| self.wrong(EXPECTED))?;
        match (time.subsec_nanos(), time.as_secs()) {
            (0, 1..=32767) => Ok(time),
            _ => Err(self.wrong(EXPECTED)),
        }
    }

    pub(crate) fn congestion(&self) -> Result<String, OptionError> {
        // TCP_CA_NAME_MAX, with the NUL.
        let good = |text: &&str| {
            (1..16).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let name = self.value.filter(good);
        name.map(str::to_owned)
            .ok_or_else(|| self.wrong("a name of up to 15 letters, as in 'bbr' or 'cubic'"))
    }

    pub(crate) fn address(&self) -> Result<Address, OptionError> {
        let text = self.value.unwrap_or_default();
        if self.kind.is_unix() {
            let name = percent::decode(text).and_then(|name| UnixName::parse(&name).ok());
            return name
                .map(Address::Unix)
                .ok_or_else(|| self.wrong("a path, or @ and a name"));
        }
        let address = own_address(text).map(Address::Inet);
        let address = address.filter(|_| self.kind.has_port() || !has_port(text));
        address.ok_or_else(|| match self.kind.has_port() {
            true => self.wrong("an IP address of this machine, with or without a port"),
            false => self.wrong("an IP address of this machine"),
        })
    }

    pub(crate) fn path(&self) -> Result<PathBuf, OptionError> {
        let bytes = self.value.and_then(percent::decode);
        let bytes = bytes.filter(|bytes| !bytes.is_empty() && !bytes.contains(&0));
        bytes
            .map(|bytes| std::ffi::OsString::from_vec(bytes).into())
            .ok_or_else(|| self.wrong("the path of a PEM file"))
    }

    pub(crate) fn pin(&self) -> Result<Pin, OptionError> {
        self.value
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                self.wrong("sha256: and 64 hexadecimal digits, as the server prints them")
            })
    }
}

/// `IP`, `[IPV6]`, `IP:PORT` or `[IPV6]:PORT`, with or without the zone of a link-local address.
fn own_address(text: &str) -> Option<SocketAddr> {
    // As in a host, the zone may be set off by %25 (RFC 6874).
    let text = &text.replace("%25", "%");
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0));
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = match text.strip_prefix('[') {
        None => (text.as_str(), 0),
        Some(rest) => match rest.split_once(']')? {
            (host, "") => (host, 0),
            (host, rest) => (host, rest.strip_prefix(':')?.parse().ok()?),
        },
    };
    let host: Host = host
        .parse()
        .ok()
        .filter(|host: &Host| host.zone().is_some())?;
    // The interface's number, which only the system knows.
    resolve(&host, port).ok()?.first().copied()
}

fn has_port(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok() || text.contains("]:")
}

/// Bytes as a number with an optional K, M or G, powers of 1024.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 1 << 10),
        b'M' | b'm' => (&text[..text.len() - 1], 1 << 20),
        b'G' | b'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| good)?;
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_have_ports_and_zones_or_not() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1:0"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:80", "[::1]:80"),
            ("fe80::1%1", "[fe80::1%1]:0"),
            ("fe80::1%lo", "[fe80::1%1]:0"),
            ("[fe80::1%25lo]:80", "[fe80::1%1]:80"),
        ] {
            let address = own_address(text).map(|address| address.to_string());
            assert_eq!(address.as_deref(), Some(shown), "{text}");
        }
        for text in [
            "",
            "nas",
            "nas:80",
            "[fe80::1%lo",
            "[fe80::1%lo]80",
            "fe80::1%nosuch0",
        ] {
            assert_eq!(own_address(text), None, "{text}");
        }
    }
}
