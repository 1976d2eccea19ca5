//! Options that every connection here gets.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a connection may be silent before the kernel asks whether the peer is still there.
pub const KEEPALIVE: Duration = Duration::from_secs(15);

/// Unanswered questions, [`KEEPALIVE`] apart, after which the connection is broken.
const PROBES: u32 = 3;

/// Sends small messages at once (TCP_NODELAY), and notices within a minute when the other machine
/// is gone without a word (keepalive).
///
/// # Errors
/// The socket is not TCP, or no longer connected.
pub fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

/// Bytes that may wait in the kernel to be sent for the first time: two records.
const UNSENT: u32 = 256 << 10;

/// Lets no more be handed to the kernel than it sends soon (TCP_NOTSENT_LOWAT): what was handed over has nearly been sent,
/// so progress says what is true, whoever is to end has little left to wait for, and over loopback what is sent is
/// still in the processor's cache. What is under way is not bounded by it.
///
/// # Errors
/// The socket is not TCP.
pub fn send_soon(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT)
}

/// Whether the congestion control of a connection takes loss for congestion: all of Linux's but BBR, which goes by the
/// rate at which segments arrive. Where the kernel does not say: yes.
#[must_use]
pub fn minds_loss(socket: &impl AsFd) -> bool {
    let name = SockRef::from(socket).tcp_congestion().unwrap_or_default();
    !name.starts_with(b"bbr")
}

/// Bytes that the kernel lets the send buffer of a TCP connection grow to by itself: the last of the three numbers of
/// `net.ipv4.tcp_wmem` (tcp(7)), which holds for IPv6 too. Where it cannot be read, what Linux has had since 2.6: 4 MiB.
#[must_use]
pub fn largest_send_buffer() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap_or_default();
    let largest = text.split_ascii_whitespace().nth(2);
    largest
        .and_then(|number| number.parse().ok())
        .unwrap_or(4 << 20)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn options_are_set() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        tune(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
        send_soon(&stream).unwrap();
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
    }
}
