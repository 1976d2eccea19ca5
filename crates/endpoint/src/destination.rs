//! The one notation for where a receiver is.

use std::fmt;
use std::str::FromStr;

use crate::authority::{self, AuthorityError};
use crate::host::{Host, shortened};
use crate::percent::{self, Encoded};

/// The port that is meant where none is named.
pub const DEFAULT_PORT: u16 = 7225;

/// What stands before a `ph://` address.
const SCHEME: &str = "ph";

/// A receiver: host, port, and a directory beneath what it receives into.
///
/// Written `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`, a bare IPv6 address, or
/// `ph://HOST[:PORT]/SUBDIR` with `SUBDIR` percent-encoded. `Display` gives the shortest of these.
///
/// ```
/// use packhorse_endpoint::{DEFAULT_PORT, Destination};
///
/// let there: Destination = "ph://nas.local/photos/2024%20summer".parse()?;
/// assert_eq!(there.host.to_string(), "nas.local");
/// assert_eq!(there.port, DEFAULT_PORT);
/// assert_eq!(there.subdirectory.as_deref(), Some(&b"photos/2024 summer"[..]));
/// # Ok::<(), packhorse_endpoint::DestinationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The machine.
    pub host: Host,
    /// The TCP port, never 0.
    pub port: u16,
    /// The directory to send into, as bytes that nobody has checked yet.
    pub subdirectory: Option<Vec<u8>>,
}

/// Why a text is not a [`Destination`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// What names the machine does not.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A port at which nobody can listen.
    #[error("0 is not the port of a receiver: a port is a number from 1 to 65535")]
    PortZero,
    /// An address of some other kind.
    #[error("addresses of the kind {0:?} are not understood: use HOST, HOST:PORT or ph://HOST/DIR")]
    Scheme(String),
    /// A `%` without two hexadecimal digits after it.
    #[error("{0:?} holds a '%' without two hexadecimal digits after it: a '%' itself is %25")]
    Escape(String),
    /// A slash that is not meant to part names, which no name can hold.
    #[error("no name can hold a slash, not even as %2F")]
    EncodedSlash,
    /// A slash in an address without a scheme.
    #[error("to name a directory at the receiver, write ph://HOST/DIR")]
    DirectoryWithoutScheme,
    /// `?` or `#`, which stay free for options.
    #[error("'{0}' in a directory's name is written %{byte:02X}", byte = u32::from(*.0))]
    Reserved(char),
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.contains('/') {
                return Err(DestinationError::DirectoryWithoutScheme);
            }
            let (host, port) = authority::parse(text)?;
            return Self::new(host, port, None);
        };
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(DestinationError::Scheme(shortened(scheme)));
        }
        if let Some(reserved) = rest.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(DestinationError::Reserved(reserved));
        }
        let (authority, directory) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority::parse_in_uri(authority)?;
        let directory = directory.strip_suffix('/').unwrap_or(directory);
        if directory.to_ascii_lowercase().contains("%2f") {
            return Err(DestinationError::EncodedSlash);
        }
        let subdirectory = percent::decode(directory)
            .ok_or_else(|| DestinationError::Escape(shortened(directory)))?;
        Self::new(host, port, Some(subdirectory))
    }
}

impl Destination {
    fn new(
        host: Host,
        port: Option<u16>,
        subdirectory: Option<Vec<u8>>,
    ) -> Result<Self, DestinationError> {
        if port == Some(0) {
            return Err(DestinationError::PortZero);
        }
        Ok(Self {
            host,
            port: port.unwrap_or(DEFAULT_PORT),
            subdirectory: subdirectory.filter(|bytes| !bytes.is_empty()),
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(subdirectory) = &self.subdirectory else {
            return self.write_authority(f, &self.host.to_string());
        };
        write!(f, "{SCHEME}://")?;
        self.write_authority(f, &self.host.to_string().replacen('%', "%25", 1))?;
        write!(f, "/{}", Encoded(subdirectory))
    }
}

impl Destination {
    fn write_authority(&self, f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
        match (self.host.is_ipv6(), self.port) {
            (_, DEFAULT_PORT) if !self.host.is_ipv6() => f.write_str(host),
            (true, DEFAULT_PORT) => write!(f, "[{host}]"),
            (true, port) => write!(f, "[{host}]:{port}"),
            (false, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::HostError;

    fn parse(text: &str) -> Result<Destination, DestinationError> {
        text.parse()
    }

    #[test]
    fn reads_every_notation() {
        for (text, host, port, subdirectory) in [
            ("nas", "nas", 7225, None),
            ("nas:80", "nas", 80, None),
            ("192.0.2.7:9", "192.0.2.7", 9, None),
            ("[2001:db8::1]", "2001:db8::1", 7225, None),
            ("[2001:db8::1]:81", "2001:db8::1", 81, None),
            ("2001:db8::1", "2001:db8::1", 7225, None),
            ("fe80::1%eth0", "fe80::1%eth0", 7225, None),
            ("[fe80::1%eth0]:5", "fe80::1%eth0", 5, None),
            ("ph://nas", "nas", 7225, None),
            ("PH://nas/", "nas", 7225, None),
            ("ph://nas:8/a/b%20c", "nas", 8, Some(&b"a/b c"[..])),
            ("ph://[fe80::1%25eth0]:5/x", "fe80::1%eth0", 5, Some(b"x")),
            ("ph://nas/%FF%2e%2E", "nas", 7225, Some(b"\xff..")),
        ] {
            let there = parse(text).unwrap();
            assert_eq!(there.host.to_string(), host, "{text}");
            assert_eq!(there.port, port, "{text}");
            assert_eq!(there.subdirectory.as_deref(), subdirectory, "{text}");
            assert_eq!(parse(&there.to_string()), Ok(there), "{text}");
        }
    }

    #[test]
    fn shows_the_shortest_form() {
        for (text, shown) in [
            ("nas:7225", "nas"),
            ("nas:80", "nas:80"),
            ("2001:DB8::1", "[2001:db8::1]"),
            ("ph://nas:7225/a%20b", "ph://nas/a%20b"),
            ("ph://[fe80::1%25eth0]/x", "ph://[fe80::1%25eth0]/x"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let port = |text: &str| Err(AuthorityError::Port(text.to_owned()).into());
        let empty = || Err(AuthorityError::from(HostError::Empty).into());
        assert_eq!(parse(""), empty());
        assert_eq!(parse(":80"), empty());
        assert_eq!(parse("ph:///x"), empty());
        assert_eq!(parse("nas:"), port(""));
        assert_eq!(parse("nas:0"), Err(DestinationError::PortZero));
        assert_eq!(parse("nas:+80"), port("+80"));
        assert_eq!(parse("nas:65536"), port("65536"));
        assert_eq!(parse("nas:dir"), port("dir"));
        assert_eq!(parse("[::1]:x"), port("x"));
        for text in ["[::1", "[::1]9"] {
            let brackets = AuthorityError::Brackets(text.to_owned());
            assert_eq!(parse(text), Err(brackets.into()));
        }
        assert!(matches!(
            parse("[nas]"),
            Err(DestinationError::Authority(AuthorityError::Host(_)))
        ));
        assert!(matches!(
            parse("ssh://nas"),
            Err(DestinationError::Scheme(_))
        ));
        assert!(matches!(
            parse("ph://nas/%4"),
            Err(DestinationError::Escape(_))
        ));
        assert_eq!(
            parse("nas/x"),
            Err(DestinationError::DirectoryWithoutScheme)
        );
        assert_eq!(parse("ph://nas/a%2Fb"), Err(DestinationError::EncodedSlash));
        assert_eq!(parse("ph://nas/a/"), parse("ph://nas/a"));
        assert_eq!(parse("ph://nas/a?b"), Err(DestinationError::Reserved('?')));
        let reserved = DestinationError::Reserved('#').to_string();
        assert_eq!(reserved, "'#' in a directory's name is written %23");
    }

    proptest! {
        #[test]
        fn never_panics_and_shows_what_reads_back(text in "\\PC{0,40}|(ph://)?[a-z0-9:%/.\\[\\]]{0,40}") {
            if let Ok(there) = parse(&text) {
                prop_assert_eq!(parse(&there.to_string()), Ok(there));
            }
        }

        #[test]
        fn any_bytes_can_be_a_subdirectory(bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
            // One slash at the end is dropped when it is read: it names the same directory.
            prop_assume!(bytes.last() != Some(&b'/'));
            let there = Destination { subdirectory: Some(bytes), ..parse("nas").unwrap() };
            prop_assert_eq!(parse(&there.to_string()), Ok(there));
        }
    }
}
