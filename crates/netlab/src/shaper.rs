//! When a packet arrives, if it does: arithmetic on times, without any input or output.

use std::collections::HashMap;
use std::time::Duration;

use crate::conditions::{Conditions, Counters};

/// What tells flows apart: protocol, addresses and ports as they are in the packet.
type Flow = [u8; 13];

/// Flows that are remembered at most; beyond that all begin anew.
const MOST_FLOWS: usize = 65_536;

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Shaper {
    conditions: Conditions,
    random: fastrand::Rng,
    /// When the link has transmitted what it took so far, and each flow's share of it.
    free_at: Duration,
    flows: HashMap<Flow, Duration>,
    counters: Counters,
}

impl Shaper {
    pub(crate) fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            random: fastrand::Rng::with_seed(conditions.seed),
            free_at: Duration::ZERO,
            flows: HashMap::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// When a packet that is sent now arrives; `None`: it does not. `now` counts from any moment, and never goes back.
    pub(crate) fn pass(&mut self, now: Duration, packet: &[u8]) -> Option<Duration> {
        let Conditions {
            delay,
            rate,
            flow_rate,
            queue,
            loss,
            ..
        } = self.conditions;
        // What is lost has used the link all the same, but then so few packets are lost that nobody can tell.
        if loss > 0.0 && self.random.f64() < loss {
            self.counters.lost += 1;
            return None;
        }
        let bytes = packet.len() as u64;
        let mut sent = now;
        if let Some(rate) = flow_rate {
            if self.flows.len() >= MOST_FLOWS {
                self.flows.clear();
            }
            let free_at = self.flows.entry(flow_of(packet)).or_default();
            sent = transmit(free_at, now, (bytes, rate, queue)).or_else(|| {
                self.counters.overflowed += 1;
                None
            })?;
        }
        if let Some(rate) = rate {
            sent = transmit(&mut self.free_at, sent, (bytes, rate, queue)).or_else(|| {
                self.counters.overflowed += 1;
                None
            })?;
        }
        self.counters.packets += 1;
        self.counters.bytes += bytes;
        Some(sent + delay)
    }
}

/// When something that transmits at `rate` bits a second is done with `bytes` more; `None` where those before it, that
/// wait, are more than the queue holds.
fn transmit(
    free_at: &mut Duration,
    now: Duration,
    (bytes, rate, queue): (u64, u64, u64),
) -> Option<Duration> {
    let begins = (*free_at).max(now);
    let time_of = |bytes: u64| {
        let nanoseconds = u128::from(bytes) * 8_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    };
    if begins - now > time_of(queue) {
        return None;
    }
    *free_at = begins + time_of(bytes);
    Some(*free_at)
}

/// The flow of an IP packet; what is not IPv4 or IPv6 with ports is one flow (RFC 791, RFC 8200: where the fields lie).
fn flow_of(packet: &[u8]) -> Flow {
    let mut flow = [0; 13];
    let (protocol, addresses, ports) = match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let header = usize::from(packet[0] & 0x0f) * 4;
            (
                packet.get(9),
                packet.get(12..20),
                packet.get(header..header + 4),
            )
        }
        // The ends of the addresses: all that differs within a lab.
        Some(6) => (packet.get(6), packet.get(20..24), packet.get(40..44)),
        _ => (None, None, None),
    };
    flow[0] = protocol.copied().unwrap_or(0);
    for (into, from) in [(1, addresses), (9, ports)] {
        let from = from.unwrap_or(&[]);
        flow[into..into + from.len()].copy_from_slice(from);
    }
    flow
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// An IPv4 packet of TCP from this port, and nothing else of sense in it.
    fn packet(port: u16, length: usize) -> Vec<u8> {
        let mut packet = vec![0; length];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        packet
    }

    #[test]
    fn nothing_asked_nothing_changed() {
        let mut shaper = Shaper::new(Conditions::default());
        for at in 0..1000 {
            let now = MILLISECOND * at;
            assert_eq!(shaper.pass(now, &packet(1, 1500)), Some(now));
        }
    }

    #[test]
    fn a_rate_spaces_packets_and_a_full_queue_loses_them() {
        let conditions = Conditions {
            rate: Some(8_000_000),
            queue: 10_000,
            delay: 5 * MILLISECOND,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        let arrivals: Vec<_> = (0..20)
            .map(|_| shaper.pass(Duration::ZERO, &packet(1, 1000)))
            .collect();
        // A kilobyte takes a millisecond; one is under way and ten wait.
        for (number, arrival) in (1..).zip(&arrivals[..11]) {
            assert_eq!(*arrival, Some(MILLISECOND * (number + 5)));
        }
        assert!(arrivals[11..].iter().all(Option::is_none));
        assert_eq!(shaper.counters().overflowed, 9);
        assert_eq!(
            shaper.pass(MILLISECOND * 2, &packet(1, 1000)),
            Some(MILLISECOND * (12 + 5))
        );
    }

    #[test]
    fn each_flow_has_its_own_rate() {
        let conditions = Conditions {
            flow_rate: Some(8_000_000),
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        for port in 1..5 {
            for number in 1..11 {
                let arrival = shaper.pass(Duration::ZERO, &packet(port, 1000));
                assert_eq!(arrival, Some(MILLISECOND * number));
            }
        }
    }

    #[test]
    fn as_many_are_lost_as_was_asked_for() {
        let conditions = Conditions {
            loss: 0.01,
            seed: 7,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        let lost = (0..100_000)
            .filter(|_| shaper.pass(Duration::ZERO, &packet(1, 100)).is_none())
            .count();
        assert!((900..1100).contains(&lost), "{lost}");
    }

    #[test]
    fn cut_packets_have_a_flow_too() {
        for length in 0..60 {
            for first in [0x00, 0x45, 0x4f, 0x60] {
                let mut packet = vec![0xff; length];
                if let Some(byte) = packet.first_mut() {
                    *byte = first;
                }
                let _ = flow_of(&packet);
            }
        }
    }
}
