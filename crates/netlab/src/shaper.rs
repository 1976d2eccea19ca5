//! When a packet arrives, if it does: arithmetic on times, without any input or output.

use std::collections::HashMap;
use std::time::Duration;

use crate::chances::{Chances, Fate};
use crate::conditions::{Conditions, Counters};
use crate::flow::{Flow, flow_of};

/// Flows that are remembered at most; beyond that all begin anew.
const MOST_FLOWS: usize = 65_536;

/// When a packet and its copy arrive, where they do.
pub(crate) type Arrivals = [Option<Duration>; 2];

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Shaper {
    conditions: Conditions,
    /// When they began to hold.
    since: Duration,
    cut: bool,
    chances: Chances,
    line: Line,
    flows: HashMap<Flow, Line>,
    counters: Counters,
}

/// What transmits packets one after another.
#[derive(Debug, Default)]
struct Line {
    /// When it has transmitted what it took so far.
    free_at: Duration,
    /// When the last of that arrives.
    latest: Duration,
}

impl Shaper {
    pub(crate) fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            since: Duration::ZERO,
            cut: false,
            chances: Chances::new(conditions.seed),
            line: Line::default(),
            flows: HashMap::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Other conditions from now on. Random streams and the schedule begin anew; what waits or is under way stays so.
    pub(crate) fn set(&mut self, now: Duration, conditions: Conditions) {
        self.conditions = conditions;
        self.since = now;
        self.chances = Chances::new(conditions.seed);
    }

    /// Whether everything is lost from now on, whatever the conditions are.
    pub(crate) fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// When a packet that is sent now arrives, and its copy, if they do; a bit of it may be wrong then. `now` counts
    /// from any moment, and never goes back.
    pub(crate) fn pass(&mut self, now: Duration, packet: &mut [u8]) -> Arrivals {
        let fate = self.chances.next(&self.conditions, packet.len());
        let since = now.saturating_sub(self.since);
        let schedule = self.conditions.schedule;
        if self.cut || schedule.is_some_and(|schedule| schedule.is_down(since)) {
            self.counters.while_down += 1;
            return [None; 2];
        }
        // What is lost has used the link all the same, but then so few packets are lost that nobody can tell.
        if fate.lost {
            self.counters.lost += 1;
            return [None; 2];
        }
        let Some(first) = self.carry(now, packet, fate) else {
            return [None; 2];
        };
        let copy = fate.twice.then(|| self.carry(now, packet, fate)).flatten();
        self.counters.duplicated += u64::from(copy.is_some());
        if let Some(bit) = fate.wrong_bit {
            packet[bit / 8] ^= 1 << (bit % 8);
            self.counters.corrupted += 1;
        }
        [Some(first), copy]
    }

    /// When a packet arrives that is not lost on purpose; `None`: it found the queue full.
    fn carry(&mut self, now: Duration, packet: &[u8], fate: Fate) -> Option<Duration> {
        let Some(arrival) = self.arrival(now, packet, fate) else {
            self.counters.overflowed += 1;
            return None;
        };
        self.counters.packets += 1;
        self.counters.bytes += packet.len() as u64;
        self.counters.reordered += u64::from(fate.ahead);
        Some(arrival)
    }

    fn arrival(&mut self, now: Duration, packet: &[u8], fate: Fate) -> Option<Duration> {
        let Conditions {
            rate,
            flow_rate,
            queue,
            ..
        } = self.conditions;
        let bytes = packet.len() as u64;
        let mut sent = now;
        let mut flow = None;
        if let Some(rate) = flow_rate {
            if self.flows.len() >= MOST_FLOWS {
                self.flows.clear();
            }
            let line = self.flows.entry(flow_of(packet)).or_default();
            sent = line.transmit(now, (bytes, rate, queue))?;
            flow = Some(line);
        }
        if let Some(rate) = rate {
            sent = self.line.transmit(sent, (bytes, rate, queue))?;
        }
        if fate.ahead {
            return Some(now);
        }
        let arrival = sent + flight(&self.conditions, fate.lateness);
        // Where flows have queues of their own, one does not wait for another.
        let arrival = arrival.max(flow.as_ref().map_or(self.line.latest, |flow| flow.latest));
        if let Some(flow) = flow {
            flow.latest = arrival;
        }
        self.line.latest = self.line.latest.max(arrival);
        Some(arrival)
    }
}

impl Line {
    /// When it is done with `bytes` more at `rate` bits a second; `None` where those before it, that wait, are more
    /// than the queue holds.
    fn transmit(
        &mut self,
        now: Duration,
        (bytes, rate, queue): (u64, u64, u64),
    ) -> Option<Duration> {
        let begins = self.free_at.max(now);
        let time_of = |bytes: u64| {
            let nanoseconds = u128::from(bytes) * 8_000_000_000 / u128::from(rate.max(1));
            Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
        };
        if begins - now > time_of(queue) {
            return None;
        }
        self.free_at = begins + time_of(bytes);
        Some(self.free_at)
    }
}

/// How long a packet is under way, with so much of the jitter, from -1 to 1.
fn flight(conditions: &Conditions, lateness: f64) -> Duration {
    let offset = conditions.jitter.mul_f64(lateness.abs());
    if lateness < 0.0 {
        conditions.delay.saturating_sub(offset)
    } else {
        conditions.delay + offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Schedule;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// An IPv4 packet of TCP from this port, and nothing else of sense in it.
    fn packet(port: u16, length: usize) -> Vec<u8> {
        let mut packet = vec![0; length];
        packet[0] = 0x45;
        packet[9] = 6;
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        packet
    }

    /// When a kilobyte from this port arrives that is sent now, where no copy of it does.
    fn sent(shaper: &mut Shaper, now: Duration, port: u16) -> Option<Duration> {
        let [arrival, copy] = shaper.pass(now, &mut packet(port, 1000));
        assert_eq!(copy, None);
        arrival
    }

    #[test]
    fn nothing_asked_nothing_changed() {
        let mut shaper = Shaper::new(Conditions::default());
        for at in 0..1000 {
            let now = MILLISECOND * at;
            let mut bytes = packet(1, 1500);
            assert_eq!(shaper.pass(now, &mut bytes), [Some(now), None]);
            assert_eq!(bytes, packet(1, 1500));
        }
        let counters = Counters {
            packets: 1000,
            bytes: 1_500_000,
            ..Counters::default()
        };
        assert_eq!(shaper.counters(), counters);
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
            .map(|_| sent(&mut shaper, Duration::ZERO, 1))
            .collect();
        // A kilobyte takes a millisecond; one is under way and ten wait.
        for (number, arrival) in (1..).zip(&arrivals[..11]) {
            assert_eq!(*arrival, Some(MILLISECOND * (number + 5)));
        }
        assert!(arrivals[11..].iter().all(Option::is_none));
        assert_eq!(shaper.counters().overflowed, 9);
        let arrival = sent(&mut shaper, MILLISECOND * 2, 1);
        assert_eq!(arrival, Some(MILLISECOND * (12 + 5)));
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
                let arrival = sent(&mut shaper, Duration::ZERO, port);
                assert_eq!(arrival, Some(MILLISECOND * number));
            }
        }
    }

    #[test]
    fn jitter_is_uniform_where_packets_are_far_apart() {
        let conditions = Conditions {
            delay: 20 * MILLISECOND,
            jitter: 8 * MILLISECOND,
            seed: 4,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        let mut eighths = [0_u32; 8];
        for at in 0..80_000 {
            let now = 16 * MILLISECOND * at;
            let arrival = sent(&mut shaper, now, 1).expect("nothing is lost");
            let early = arrival - now - 12 * MILLISECOND;
            eighths[usize::try_from(early.as_micros() / 2000).expect("small")] += 1;
        }
        // Each is binomial, of 80,000 with a share of an eighth: five deviations are 468.
        assert!(
            eighths.iter().all(|eighth| eighth.abs_diff(10_000) < 468),
            "{eighths:?}"
        );
    }

    #[test]
    fn jitter_keeps_the_order_and_is_never_negative() {
        let conditions = Conditions {
            delay: 2 * MILLISECOND,
            jitter: 10 * MILLISECOND,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        let mut before = Duration::ZERO;
        for at in 0..10_000 {
            let now = MILLISECOND * at;
            let arrival = sent(&mut shaper, now, 1).expect("nothing is lost");
            assert!(arrival >= before.max(now) && arrival <= now + 12 * MILLISECOND);
            before = arrival;
        }
    }

    #[test]
    fn one_flow_does_not_wait_for_another_with_jitter() {
        let conditions = Conditions {
            flow_rate: Some(8_000_000),
            jitter: MILLISECOND,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        let long = (0..50).filter_map(|_| sent(&mut shaper, Duration::ZERO, 1));
        assert!(long.last() >= Some(50 * MILLISECOND));
        assert!(sent(&mut shaper, Duration::ZERO, 2) <= Some(2 * MILLISECOND));
    }

    #[test]
    fn what_goes_ahead_arrives_at_once_and_takes_its_part_of_the_rate() {
        let conditions = Conditions {
            delay: 10 * MILLISECOND,
            rate: Some(8_000_000),
            reordered: 1.0,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        for _ in 0..3 {
            let arrival = sent(&mut shaper, MILLISECOND, 1);
            assert_eq!(arrival, Some(MILLISECOND));
        }
        let in_order = Conditions {
            reordered: 0.0,
            ..conditions
        };
        shaper.set(MILLISECOND, in_order);
        let arrival = sent(&mut shaper, MILLISECOND, 1);
        assert_eq!(arrival, Some((1 + 4 + 10) * MILLISECOND));
        assert_eq!(shaper.counters().reordered, 3);
    }

    #[test]
    fn a_copy_is_transmitted_too() {
        let conditions = Conditions {
            rate: Some(8_000_000),
            duplicated: 1.0,
            queue: 1000,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        let mut pass = || shaper.pass(Duration::ZERO, &mut packet(1, 1000));
        assert_eq!(pass(), [Some(MILLISECOND), Some(2 * MILLISECOND)]);
        // One is under way and one waits, which is all that the queue holds.
        assert_eq!(pass(), [None, None]);
        let counters = shaper.counters();
        assert_eq!((counters.packets, counters.duplicated), (2, 1));
        assert_eq!(counters.overflowed, 1);
    }

    #[test]
    fn one_bit_is_wrong() {
        let conditions = Conditions {
            corrupted: 1.0,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        for _ in 0..1000 {
            let mut bytes = packet(1, 1000);
            shaper.pass(Duration::ZERO, &mut bytes);
            let pairs = bytes.iter().zip(packet(1, 1000));
            let wrong: u32 = pairs.map(|(one, other)| (one ^ other).count_ones()).sum();
            assert_eq!(wrong, 1);
        }
        assert_eq!(shaper.counters().corrupted, 1000);
    }

    #[test]
    fn what_is_sent_while_down_is_lost() {
        let conditions = Conditions {
            delay: 100 * MILLISECOND,
            schedule: Some(Schedule {
                up: 3 * MILLISECOND,
                down: 2 * MILLISECOND,
            }),
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(conditions);
        // Set at any time: it is up at first.
        shaper.set(MILLISECOND, conditions);
        for at in 0..20 {
            let arrival = sent(&mut shaper, MILLISECOND * (1 + at), 1);
            assert_eq!(arrival.is_some(), at % 5 < 3, "{at}");
        }
        assert_eq!(shaper.counters().while_down, 8);
        shaper.set_cut(true);
        assert_eq!(sent(&mut shaper, 21 * MILLISECOND, 1), None);
        shaper.set_cut(false);
        assert!(sent(&mut shaper, 21 * MILLISECOND, 1).is_some());
        assert_eq!(shaper.counters().while_down, 9);
    }

    #[test]
    fn a_shorter_delay_keeps_the_order() {
        let delayed = |milliseconds| Conditions {
            delay: milliseconds * MILLISECOND,
            ..Conditions::default()
        };
        let mut shaper = Shaper::new(delayed(50));
        let arrival = sent(&mut shaper, MILLISECOND, 1);
        assert_eq!(arrival, Some(51 * MILLISECOND));
        shaper.set(2 * MILLISECOND, delayed(10));
        let arrival = sent(&mut shaper, 2 * MILLISECOND, 1);
        assert_eq!(arrival, Some(51 * MILLISECOND));
        let arrival = sent(&mut shaper, 60 * MILLISECOND, 1);
        assert_eq!(arrival, Some(70 * MILLISECOND));
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
            .filter(|_| sent(&mut shaper, Duration::ZERO, 1).is_none())
            .count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert_eq!(shaper.counters().lost, lost as u64);
    }
}
