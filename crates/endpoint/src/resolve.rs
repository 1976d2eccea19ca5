//! From a name to addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use crate::host::Host;

/// A host for which no address was found.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the address of '{host}'")]
pub struct ResolveError {
    /// The host that was looked up.
    pub host: String,
    /// What the system's resolver said.
    #[source]
    pub source: io::Error,
}

impl ResolveError {
    /// What to do next.
    #[must_use]
    pub fn advice(&self) -> String {
        let host = &self.host;
        format!(
            "check the spelling, ask the system with `getent hosts {host}`, \
             or use an IP address"
        )
    }
}

/// Every address of the host, in the system's order of preference. Blocks while the system's resolver
/// works.
///
/// # Errors
/// The name does not exist, has no address, or could not be asked for.
pub fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    if let (Some(address), None) = (host.address(), host.zone()) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |source| ResolveError {
        host: host.to_string(),
        source,
    };
    let name = host.to_string();
    let found = (name.as_str(), port).to_socket_addrs().map_err(failed)?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(failed(io::Error::other("it has no address")));
    }
    Ok(addresses)
}

/// Whether an address is reachable from this machine only.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_text(text: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let destination: crate::Destination = text.parse().unwrap();
        resolve(&destination.host, destination.port)
    }

    #[test]
    fn an_address_is_its_own_answer() {
        let expected: SocketAddr = "[2001:db8::1]:9".parse().unwrap();
        assert_eq!(resolve_text("[2001:db8::1]:9").unwrap(), [expected]);
    }

    #[test]
    fn localhost_is_this_machine() {
        let addresses = resolve_text("localhost:9").unwrap();
        assert!(
            addresses
                .iter()
                .all(|a| is_loopback(a.ip()) && a.port() == 9)
        );
    }

    #[test]
    fn a_zone_becomes_a_scope() {
        let found = resolve_text("[fe80::1%1]:9").unwrap();
        assert!(matches!(found[..], [SocketAddr::V6(a)] if a.scope_id() == 1));
    }

    #[test]
    fn an_unknown_name_is_named() {
        let error = resolve_text("no-such-host.invalid").unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"));
        assert!(error.advice().contains("getent hosts no-such-host.invalid"));
    }
}
