//! What the kernel knows of a TCP connection (TCP_INFO), asked for over netlink's sock_diag.
//!
//! `getsockopt(TCP_INFO)` would be the short way, but no safe library offers it. `sock_diag(7)` gives the
//! same structure, and with it how much lies in the two queues.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt,
};

/// The state of a connection (RFC 9293 §3.3.2), numbered as Linux does (include/net/tcp_states.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "RFC 9293 tells what each is")]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    /// One that this version does not know, by its number.
    Other(u8),
}

impl TcpState {
    fn new(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Closed,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            number => Self::Other(number),
        }
    }

    /// Its name in RFC 9293, in small letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::FinWait1 => "fin-wait-1",
            Self::FinWait2 => "fin-wait-2",
            Self::TimeWait => "time-wait",
            Self::Closed => "closed",
            Self::CloseWait => "close-wait",
            Self::LastAck => "last-ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
            Self::Other(_) => "unknown",
        }
    }
}

/// What the kernel knows of a TCP connection at one moment.
///
/// Fields that are `None` are ones that this kernel does not tell, or has nothing to tell about yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpInfo {
    /// Where in its life it is.
    pub state: TcpState,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// How much the round-trip time varies.
    pub rttvar: Duration,
    /// The least round-trip time seen lately.
    pub min_rtt: Option<Duration>,
    /// How long an acknowledgement is waited for before a segment is sent again.
    pub rto: Duration,
    /// Congestion window, in segments of [`mss`](Self::mss).
    pub cwnd: u32,
    /// Slow start threshold, in segments; `None` before the first loss.
    pub ssthresh: Option<u32>,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
    /// Segments sent and not acknowledged. Of a listening socket: connections waiting to be accepted.
    pub unacked: u32,
    /// Probes of the peer's closed window that were sent and not answered.
    pub probes: u8,
    /// Segments held to be lost.
    pub lost: u32,
    /// Bytes in a segment that is sent.
    pub mss: u32,
    /// Bytes in a segment that is received, as far as the kernel can tell.
    pub receive_mss: u32,
    /// Bytes in a packet on the way there.
    pub path_mtu: u32,
    /// Bytes handed to the kernel and not acknowledged yet. Of a listening socket: its backlog.
    pub send_queue: u32,
    /// Bytes received and not read yet. Of a listening socket: connections waiting to be accepted. Linux looks at the
    /// queues a moment before all else, so what comes in between counts in `bytes_received` alone.
    pub receive_queue: u32,
    /// Bytes handed to the kernel and not sent for the first time yet.
    pub not_sent: Option<u32>,
    /// Bytes that the peer says it has room for.
    pub peer_window: Option<u32>,
    /// Bytes that this side says it has room for.
    pub receive_window: Option<u32>,
    /// Bytes that the peer acknowledged, SYN and FIN among them.
    pub bytes_acked: Option<u64>,
    /// Bytes received in order.
    pub bytes_received: Option<u64>,
    /// Bytes of data sent, those sent again among them.
    pub bytes_sent: Option<u64>,
    /// Bytes of data sent again.
    pub bytes_retransmitted: Option<u64>,
    /// Segments sent, with data or without.
    pub segments_sent: Option<u32>,
    /// Segments received, with data or without.
    pub segments_received: Option<u32>,
    /// Bytes a second that reached the peer, by the last measurement.
    pub delivery_rate: Option<u64>,
    /// Bytes a second at which the kernel paces what it sends; `None`: it does not pace.
    pub pacing_rate: Option<u64>,
    /// How long there was something to send.
    pub busy: Option<Duration>,
    /// How long of that the peer had no room.
    pub limited_by_peer: Option<Duration>,
    /// How long of that the send buffer was too small.
    pub limited_by_send_buffer: Option<Duration>,
}

/// Why there is no [`TcpInfo`].
#[derive(Debug, thiserror::Error)]
pub enum TcpInfoError {
    /// The kernel has no sock_diag for TCP, or does not let this process use it.
    #[error("this kernel does not tell about sockets (sock_diag)")]
    Unavailable(#[source] io::Error),
    /// The kernel does not find the socket: it is closed, or belongs to another network namespace.
    #[error(
        "the kernel does not find the connection: it is closed, or of another network namespace"
    )]
    NotFound,
    /// The socket is not one of TCP.
    #[error("the socket is not one of TCP")]
    NotTcp,
    /// The kernel's answer is shorter than any kernel's is.
    #[error("the kernel's answer about the connection is cut short")]
    Malformed,
}

/// Asks about one connection, any number of times: two system calls each, and no memory.
#[derive(Debug)]
pub struct TcpInfoReader {
    asker: Asker,
    question: Question,
}

/// A question about one connection.
#[derive(Debug)]
pub(crate) struct Question([u8; REQUEST]);

/// Who asks about any connection of this network namespace.
#[derive(Debug)]
pub(crate) struct Asker {
    netlink: OwnedFd,
    sequence: u32,
    answer: Box<[u8; 4096]>,
}

/// nlmsghdr of netlink(7), inet_diag_req_v2 of sock_diag(7).
const NETLINK_HEADER: usize = 16;
const REQUEST: usize = NETLINK_HEADER + 56;
/// inet_diag_msg.
const MESSAGE: usize = 72;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const INET_DIAG_INFO: u16 = 2;
const TCP: u8 = 6;

impl TcpInfoReader {
    /// For this socket, as it is bound and connected now.
    ///
    /// # Errors
    /// It is not TCP's, or the kernel does not tell about sockets.
    pub fn new(socket: &impl AsFd) -> Result<Self, TcpInfoError> {
        Ok(Self {
            question: Question::new(socket)?,
            asker: Asker::new()?,
        })
    }

    /// What the kernel knows now.
    ///
    /// # Errors
    /// The kernel does not find the socket, or does not tell about sockets.
    pub fn read(&mut self) -> Result<TcpInfo, TcpInfoError> {
        self.asker.ask(&self.question)
    }
}

fn unavailable(error: rustix::io::Errno) -> TcpInfoError {
    TcpInfoError::Unavailable(error.into())
}

impl Question {
    /// About this socket, as it is bound and connected now.
    pub(crate) fn new(socket: &impl AsFd) -> Result<Self, TcpInfoError> {
        let protocol = sockopt::socket_protocol(socket).map_err(unavailable)?;
        let local = net::getsockname(socket)
            .ok()
            .and_then(|name| SocketAddr::try_from(name).ok());
        let (Some(local), Some(net::ipproto::TCP)) = (local, protocol) else {
            return Err(TcpInfoError::NotTcp);
        };
        let peer = net::getpeername(socket)
            .ok()
            .and_then(|name| SocketAddr::try_from(name?).ok());
        let cookie = sockopt::socket_cookie(socket).unwrap_or(u64::MAX);
        Ok(Self(request(local, peer, cookie)))
    }
}

impl Asker {
    pub(crate) fn new() -> Result<Self, TcpInfoError> {
        let netlink = net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        );
        Ok(Self {
            netlink: netlink.map_err(unavailable)?,
            sequence: 0,
            answer: Box::new([0; 4096]),
        })
    }

    pub(crate) fn ask(&mut self, question: &Question) -> Result<TcpInfo, TcpInfoError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = question.0;
        request[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        net::send(&self.netlink, &request, SendFlags::empty()).map_err(unavailable)?;
        loop {
            // The kernel answers within the call that asks: there is nothing to wait for.
            let flags = RecvFlags::DONTWAIT;
            let (length, _) =
                net::recv(&self.netlink, &mut self.answer[..], flags).map_err(unavailable)?;
            if let Some(answer) = parse_message(&self.answer[..length], self.sequence) {
                return answer;
            }
        }
    }
}

/// The one socket that is meant, in the order of `inet_diag_req_v2` and `inet_diag_sockid`.
fn request(local: SocketAddr, peer: Option<SocketAddr>, cookie: u64) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &u32::try_from(REQUEST).unwrap_or_default().to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    let family = match local {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    put(16, &[family, TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    put(20, &u32::MAX.to_ne_bytes()); // in whatever state
    put(24, &local.port().to_be_bytes());
    put(26, &peer.map_or(0, |peer| peer.port()).to_be_bytes());
    put(28, &octets(local.ip()));
    if let Some(peer) = peer {
        put(44, &octets(peer.ip()));
    }
    // The interface that link-local addresses belong to.
    if let SocketAddr::V6(address) = peer.unwrap_or(local) {
        put(60, &address.scope_id().to_ne_bytes());
    }
    let [low, high] = [cookie & 0xffff_ffff, cookie >> 32];
    put(64, &u32::try_from(low).unwrap_or_default().to_ne_bytes());
    put(68, &u32::try_from(high).unwrap_or_default().to_ne_bytes());
    request
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
    }
}

/// `None`: the answer to an earlier question.
fn parse_message(bytes: &[u8], sequence: u32) -> Option<Result<TcpInfo, TcpInfoError>> {
    const ENOENT: i32 = 2;
    const ESTALE: i32 = 116;
    let view = View(bytes);
    if view.u32(8) != Some(sequence) && bytes.len() >= NETLINK_HEADER {
        return None;
    }
    Some(match view.u16(4) {
        Some(SOCK_DIAG_BY_FAMILY) => parse_answer(bytes).ok_or(TcpInfoError::Malformed),
        Some(NLMSG_ERROR) => match view.u32(NETLINK_HEADER).map(u32::cast_signed) {
            Some(number) if [ENOENT, ESTALE].contains(&-number) => Err(TcpInfoError::NotFound),
            Some(number) => {
                let error = io::Error::from_raw_os_error(number.saturating_neg());
                Err(TcpInfoError::Unavailable(error))
            }
            None => Err(TcpInfoError::Malformed),
        },
        _ => Err(TcpInfoError::Malformed),
    })
}

fn parse_answer(bytes: &[u8]) -> Option<TcpInfo> {
    let message = View(bytes.get(NETLINK_HEADER..NETLINK_HEADER + MESSAGE)?);
    let queues = (message.u32(56)?, message.u32(60)?);
    let mut attributes = &bytes[NETLINK_HEADER + MESSAGE..];
    // rtattr of rtnetlink(7): length with its header, type, payload, padding to four bytes.
    while let Some(length) = View(attributes).u16(0) {
        let length = usize::from(length);
        let payload = attributes.get(4..length)?;
        if View(attributes).u16(2) == Some(INET_DIAG_INFO) {
            return parse_info(View(payload), queues);
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    None
}

/// `struct tcp_info` of include/uapi/linux/tcp.h. It has grown at its end ever since.
fn parse_info(info: View<'_>, (receive_queue, send_queue): (u32, u32)) -> Option<TcpInfo> {
    /// TCP_INFINITE_SSTHRESH.
    const NO_THRESHOLD: u32 = 0x7fff_ffff;
    let time = |micros: u32| Duration::from_micros(micros.into());
    let long_time = |at: usize| info.u64(at).map(Duration::from_micros);
    Some(TcpInfo {
        state: TcpState::new(*info.0.first()?),
        rto: time(info.u32(8)?),
        mss: info.u32(16)?,
        receive_mss: info.u32(20)?,
        unacked: info.u32(24)?,
        probes: *info.0.get(3)?,
        lost: info.u32(32)?,
        path_mtu: info.u32(60)?,
        rtt: time(info.u32(68)?),
        rttvar: time(info.u32(72)?),
        ssthresh: Some(info.u32(76)?).filter(|&segments| segments < NO_THRESHOLD),
        cwnd: info.u32(80)?,
        retransmits: info.u32(100)?,
        send_queue,
        receive_queue,
        pacing_rate: info.u64(104).filter(|&rate| rate != u64::MAX),
        bytes_acked: info.u64(120),
        bytes_received: info.u64(128),
        segments_sent: info.u32(136),
        segments_received: info.u32(140),
        not_sent: info.u32(144),
        min_rtt: info.u32(148).filter(|&micros| micros != u32::MAX).map(time),
        delivery_rate: info.u64(160),
        busy: long_time(168),
        limited_by_peer: long_time(176),
        limited_by_send_buffer: long_time(184),
        bytes_sent: info.u64(200),
        bytes_retransmitted: info.u64(208),
        peer_window: info.u32(228),
        receive_window: info.u32(232),
    })
}

/// Bytes whose end is checked at every access.
#[derive(Clone, Copy)]
struct View<'a>(&'a [u8]);

impl View<'_> {
    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_ne_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_ne_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_to_earlier_questions_are_passed_over() {
        let mut message = [0; 20];
        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        message[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        message[16..].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert!(parse_message(&message, 8).is_none());
        let error = parse_message(&message, 7).unwrap().unwrap_err();
        assert!(matches!(error, TcpInfoError::NotFound), "{error}");
        message[16..].copy_from_slice(&(-1_i32).to_ne_bytes());
        let error = parse_message(&message, 7).unwrap().unwrap_err();
        assert!(matches!(error, TcpInfoError::Unavailable(_)), "{error}");
    }

    #[test]
    fn older_kernels_tell_less() {
        let mut bytes = vec![0; 104];
        bytes[0] = 1;
        bytes[80..84].copy_from_slice(&10_u32.to_ne_bytes());
        let info = parse_info(View(&bytes), (0, 0)).unwrap();
        assert_eq!((info.state, info.cwnd), (TcpState::Established, 10));
        assert_eq!((info.bytes_acked, info.peer_window), (None, None));
        bytes.pop();
        assert_eq!(parse_info(View(&bytes), (0, 0)), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..3_u8) {
            let mut bytes = bytes;
            if bytes.len() > 12 && kind > 0 {
                let number = [SOCK_DIAG_BY_FAMILY, NLMSG_ERROR][usize::from(kind - 1)];
                bytes[4..6].copy_from_slice(&number.to_ne_bytes());
                bytes[8..12].copy_from_slice(&1_u32.to_ne_bytes());
            }
            let _ = parse_message(&bytes, 1);
            let _ = parse_answer(&bytes);
        }
    }
}
