//! What one direction of a link does to packets.

use std::time::Duration;

/// One direction of a link. The default changes nothing: no delay, as fast as it goes, nothing lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// From the end of a packet's transmission until it arrives.
    pub delay: Duration,
    /// Bits a second of IP packets, all together; `None`: not limited.
    pub rate: Option<u64>,
    /// Bits a second for each flow (protocol, addresses and ports), as links of several paths have it; `None`: not limited.
    pub flow_rate: Option<u64>,
    /// Bytes that wait for transmission at most, where there is a rate; what comes then is lost. Of each flow, where flows
    /// have a rate.
    pub queue: u64,
    /// The share of packets that is lost, from 0 to 1, each independently of the others.
    pub loss: f64,
    /// What the losses follow from.
    pub seed: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            rate: None,
            flow_rate: None,
            queue: 256 << 10,
            loss: 0.0,
            seed: 0,
        }
    }
}

impl Conditions {
    /// With a queue that holds what the link carries in this time: that of a round trip is what TCP asks for.
    #[must_use]
    pub fn with_queue_of(self, time: Duration) -> Self {
        let rate = u128::from(self.rate.or(self.flow_rate).unwrap_or(0));
        let bytes = rate * time.as_nanos() / 8_000_000_000;
        // Less than some packets would lose every burst.
        let queue = u64::try_from(bytes).unwrap_or(u64::MAX).max(64 << 10);
        Self { queue, ..self }
    }
}

/// What became of the packets of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were delivered, or are on their way.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Packets that were lost on purpose.
    pub lost: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
}
