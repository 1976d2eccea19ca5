//! What one direction of a link does to packets.

use std::time::Duration;

/// One direction of a link. The default changes nothing: no delay, as fast as it goes, nothing lost.
///
/// Shares go from 0 to 1. Each of them, and the jitter, draws from a random stream of its own that follows from
/// [`seed`](Self::seed): what is lost stays the same where packets are also delayed. Packets arrive in the order in
/// which they were sent, those of each flow where flows have a rate, unless [`reordered`](Self::reordered) is asked
/// for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// From the end of a packet's transmission until it arrives.
    pub delay: Duration,
    /// How much longer or shorter than `delay` that takes at most: uniformly distributed from `delay - jitter` to
    /// `delay + jitter`, as netem does it where it is given no table. A packet that would overtake another arrives
    /// with it instead, so packets that come closer together than the jitter arrive later than `delay` in the mean.
    pub jitter: Duration,
    /// Bits a second of IP packets, all together; `None`: not limited.
    pub rate: Option<u64>,
    /// Bits a second for each flow (protocol, addresses and ports), as links of several paths have it; `None`: not
    /// limited.
    pub flow_rate: Option<u64>,
    /// Bytes that wait for transmission at most, where there is a rate; what comes then is lost. Of each flow, where
    /// flows have a rate.
    pub queue: u64,
    /// The share of packets that is lost, each independently of the others.
    pub loss: f64,
    /// Losses that come in bursts; `None`: none of that kind. A packet is lost where either kind takes it.
    pub bursts: Option<Bursts>,
    /// The share of packets that go ahead of the queue: they take their part of the rate, but arrive at once, before
    /// all that wait or are under way (netem's `reorder`). Nothing is overtaken where there is neither delay nor
    /// rate.
    pub reordered: f64,
    /// The share of packets that arrive twice. The second is transmitted after the first, and takes its part of the
    /// rate too.
    pub duplicated: f64,
    /// The share of packets that arrive with one bit wrong, any of them. The devices offload nothing, so the
    /// receiver's kernel checks every sum: it drops all of these, but for bits that no checksum covers (those of an
    /// IPv6 header that are not in the pseudo header, RFC 8200 section 8.1).
    pub corrupted: f64,
    /// When the link is down; `None`: never.
    pub schedule: Option<Schedule>,
    /// Bytes of the largest IP packet that the sending side's device takes: 68 at least (RFC 791), 1,280 for IPv6.
    pub mtu: u16,
    /// What all that is random follows from. Two directions with one seed have the same fate, packet for packet.
    pub seed: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            flow_rate: None,
            queue: 256 << 10,
            loss: 0.0,
            bursts: None,
            reordered: 0.0,
            duplicated: 0.0,
            corrupted: 0.0,
            schedule: None,
            mtu: 1500,
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

/// Losses in bursts: a link that is in a good or in a bad state, and may change with each packet.
///
/// E. N. Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39 (1960), where the good state
/// loses nothing; E. O. Elliott, "Estimates of error rates for codes on burst-noise channels", the same 42 (1963),
/// where it may. The four probabilities are those of netem's `loss gemodel p r 1-h 1-k`, in this order; a link begins
/// in the good state, and a packet is lost by the state in which it finds the link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    /// That the link goes from good to bad with a packet: netem's `p`.
    pub worsens: f64,
    /// That it goes from bad to good: netem's `r`.
    pub recovers: f64,
    /// That the bad state loses a packet: netem's `1-h`.
    pub lost_in_bad: f64,
    /// That the good state loses a packet: netem's `1-k`.
    pub lost_in_good: f64,
}

impl Bursts {
    /// Gilbert's link whose bad state loses everything: `loss` of all packets, in bursts of `length` packets in the
    /// mean.
    ///
    /// # Panics
    /// There is no such link: `loss` is not within 0 and 1, `length` is less than 1, or so many losses do not fit in
    /// bursts so short, with a packet between any two of them (`loss / (1 - loss)` is at most `length`).
    #[must_use]
    pub fn of(loss: f64, length: f64) -> Self {
        assert!((0.0..1.0).contains(&loss), "a share of losses: {loss}");
        assert!(length >= 1.0, "packets in a burst: {length}");
        // A burst ends with each of its packets alike; and in the long run as many begin as end.
        let recovers = 1.0 / length;
        let worsens = recovers * loss / (1.0 - loss);
        assert!(
            worsens <= 1.0,
            "bursts of {length} packets cannot be {loss} of all"
        );
        Self {
            worsens,
            recovers,
            lost_in_bad: 1.0,
            lost_in_good: 0.0,
        }
    }

    /// The share of packets that is lost in the long run.
    #[must_use]
    pub fn mean_loss(self) -> f64 {
        let changes = self.worsens + self.recovers;
        let bad = if changes > 0.0 {
            self.worsens / changes
        } else {
            // It stays where it began.
            0.0
        };
        bad * self.lost_in_bad + (1.0 - bad) * self.lost_in_good
    }
}

/// A link that is up, then down, and so on from when its conditions begin to hold. What is sent while it is down is
/// lost; what was sent before arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// How long it is up each time, at first too.
    pub up: Duration,
    /// How long it is down each time.
    pub down: Duration,
}

impl Schedule {
    /// Whether the link is down so long after it first came up.
    pub(crate) fn is_down(self, since: Duration) -> bool {
        let period = (self.up + self.down).as_nanos();
        period > 0 && since.as_nanos() % period >= self.up.as_nanos()
    }
}

/// What became of the packets of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were delivered, or are on their way; copies too.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Packets that were lost by chance, alone or in bursts.
    pub lost: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
    /// Packets that were lost because the link was down, by its schedule or because it was cut.
    pub while_down: u64,
    /// Packets among `packets` that went ahead of the queue.
    pub reordered: u64,
    /// Packets among `packets` that are the second of the same.
    pub duplicated: u64,
    /// Packets that were sent on with one bit wrong; a copy of one is not counted again.
    pub corrupted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_mean_they_were_made_of() {
        for (loss, length) in [(0.0, 1.0), (0.01, 3.0), (0.1, 1.0 / 0.9), (0.5, 8.0)] {
            let bursts = Bursts::of(loss, length);
            assert!((bursts.mean_loss() - loss).abs() < 1e-12, "{bursts:?}");
            assert!((bursts.recovers * length - 1.0).abs() < 1e-12, "{bursts:?}");
        }
    }

    #[test]
    #[should_panic(expected = "cannot be 0.9 of all")]
    fn bursts_that_cannot_be() {
        let _ = Bursts::of(0.9, 2.0);
    }

    #[test]
    fn a_schedule_repeats() {
        let schedule = Schedule {
            up: Duration::from_millis(3),
            down: Duration::from_millis(2),
        };
        for period in 0..4 {
            let down: Vec<_> = (0..5)
                .map(|at| schedule.is_down(Duration::from_millis(5 * period + at)))
                .collect();
            assert_eq!(down, [false, false, false, true, true]);
        }
        let never = Schedule {
            up: Duration::ZERO,
            down: Duration::ZERO,
        };
        assert!(!never.is_down(Duration::from_secs(1)));
    }
}
