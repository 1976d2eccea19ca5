//! Who is at the other end.

use std::fmt;
use std::net::IpAddr;

use packhorse_endpoint::{Address, Kind};

/// One peer of a server, or the one peer of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Counted from 1 in the order of arrival; never used twice in a run.
    pub number: u64,
    /// What connects it.
    pub kind: Kind,
    /// Its address.
    pub address: Address,
    /// The address at which it reached us.
    pub local: Address,
}

impl Peer {
    /// What limits per address count by. Unix sockets have none: all their peers are on this machine.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address
            .inet()
            .map(|address| address.ip().to_canonical())
    }
}

/// The address, and for a Unix client without a name its number: `unix peer 3`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Unix(packhorse_endpoint::UnixName::Unnamed) => {
                write!(f, "{} peer {}", self.kind, self.number)
            }
            address => address.fmt(f),
        }
    }
}
