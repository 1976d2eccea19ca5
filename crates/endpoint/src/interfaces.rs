//! The addresses under which other machines find this one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::resolve::is_loopback;

/// Where a listener bound to `bound` can be reached, the likeliest first.
///
/// For a wildcard these are the addresses of this machine's interfaces: link-local ones only where
/// there is no other, loopback last. For any other address it is that address.
#[must_use]
pub fn local_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().to_canonical().is_unspecified() {
        return vec![bound];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let found: Vec<IpAddr> = interfaces
        .iter()
        .filter(|interface| interface.is_oper_up() || interface.is_loopback())
        .map(if_addrs::Interface::ip)
        .filter(|address| address.is_ipv4() || bound.is_ipv6())
        .collect();
    reachable(found)
        .into_iter()
        .map(|address| with_scope(address, bound.port(), &interfaces))
        .collect()
}

/// Chooses and orders: addresses of one kind stay in the system's order.
fn reachable(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    found.retain(|address| !is_loopback(*address));
    found.sort_by_key(IpAddr::is_ipv6);
    let any_beyond = found.iter().any(|address| !is_link_local(*address));
    found.retain(|address| !any_beyond || !is_link_local(*address));
    found.dedup();
    // A dual-stack wildcard is reached under this one as well, which everybody knows.
    found.push(Ipv4Addr::LOCALHOST.into());
    found
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// A link-local address means nothing without its interface.
fn with_scope(address: IpAddr, port: u16, interfaces: &[if_addrs::Interface]) -> SocketAddr {
    let mut reached = SocketAddr::new(address, port);
    if let SocketAddr::V6(reached) = &mut reached
        && is_link_local(address)
    {
        let interface = interfaces.iter().find(|i| i.ip() == address);
        reached.set_scope_id(interface.and_then(|i| i.index).unwrap_or(0));
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_bound_address_is_itself() {
        let bound: SocketAddr = "192.0.2.1:5".parse().unwrap();
        assert_eq!(local_addresses(bound), [bound]);
    }

    #[test]
    fn a_wildcard_ends_with_loopback_and_keeps_the_port() {
        let found = local_addresses("[::]:5".parse().unwrap());
        assert_eq!(found.last(), Some(&"127.0.0.1:5".parse().unwrap()));
        assert!(found.iter().all(|address| address.port() == 5));
        let found = local_addresses("0.0.0.0:5".parse().unwrap());
        assert!(found.iter().all(SocketAddr::is_ipv4));
    }

    #[test]
    fn link_local_only_where_there_is_nothing_else() {
        let all = addresses(&["::1", "fe80::1", "2001:db8::1", "192.0.2.1", "169.254.0.1"]);
        let expected = addresses(&["192.0.2.1", "2001:db8::1", "127.0.0.1"]);
        assert_eq!(reachable(all), expected);
        let local = addresses(&["::1", "fe80::1", "127.0.0.1"]);
        assert_eq!(reachable(local), addresses(&["fe80::1", "127.0.0.1"]));
    }
}
