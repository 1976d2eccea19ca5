//! What the kernel knew.

/// What the kernel knew of a TCP connection (`TCP_INFO`, tcp(7)). `None`: it had nothing to tell, or is too old to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kernel {
    /// Smoothed round-trip time, in microseconds.
    pub rtt: u32,
    /// How much that varies, in microseconds.
    pub rttvar: u32,
    /// Congestion window, in segments.
    pub cwnd: u32,
    /// Slow start threshold, in segments; `None` before the first loss.
    pub ssthresh: Option<u32>,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Bytes handed to the kernel and not sent for the first time yet.
    pub not_sent: Option<u32>,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
    /// Bytes of data in a segment that is sent.
    pub mss: u32,
    /// Bytes that the peer says it has room for.
    pub send_window: Option<u32>,
    /// Bytes that this side says it has room for.
    pub receive_window: Option<u32>,
    /// Bytes handed to the kernel and not acknowledged yet.
    pub send_queue: u32,
    /// Bytes received and not read yet. Linux looks at this a moment before all else: what comes in between counts in
    /// `bytes_received` alone.
    pub receive_queue: u32,
    /// Bytes of data sent, those sent again among them.
    pub bytes_sent: Option<u64>,
    /// Bytes of data sent again.
    pub bytes_retransmitted: Option<u64>,
    /// Bytes that the peer acknowledged, SYN and FIN among them.
    pub bytes_acked: Option<u64>,
    /// Bytes received in order.
    pub bytes_received: Option<u64>,
}
