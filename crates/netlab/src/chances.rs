//! What happens to a packet by chance. Each kind of it has a random stream of its own, and draws for every packet:
//! what one kind does to the packets does not depend on which other kinds there are.

use fastrand::Rng;

use crate::conditions::{Bursts, Conditions};

/// What chance has in store for one packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fate {
    pub(crate) lost: bool,
    /// Which part of the jitter is added to the delay, from -1 to 1.
    pub(crate) lateness: f64,
    pub(crate) ahead: bool,
    pub(crate) twice: bool,
    /// The bit that arrives wrong, counted from the first byte's lowest.
    pub(crate) wrong_bit: Option<usize>,
}

/// The random streams of one direction.
#[derive(Debug)]
pub(crate) struct Chances {
    loss: Rng,
    bursts: Rng,
    /// Whether the link is in the bad state of [`Bursts`].
    bad: bool,
    jitter: Rng,
    order: Rng,
    copies: Rng,
    bits: Rng,
}

impl Chances {
    pub(crate) fn new(seed: u64) -> Self {
        let stream = |name: &[u8; 8]| Rng::with_seed(seed ^ u64::from_be_bytes(*name));
        Self {
            loss: Rng::with_seed(seed),
            bursts: stream(b"bursts  "),
            bad: false,
            jitter: stream(b"jitter  "),
            order: stream(b"order   "),
            copies: stream(b"copies  "),
            bits: stream(b"bits    "),
        }
    }

    /// The fate of the next packet, which has so many bytes.
    pub(crate) fn next(&mut self, conditions: &Conditions, bytes: usize) -> Fate {
        let lost = self.loss.f64() < conditions.loss;
        let lost_in_burst = conditions
            .bursts
            .is_some_and(|bursts| self.next_in_bursts(bursts));
        let corrupted = self.bits.f64() < conditions.corrupted && bytes > 0;
        Fate {
            lost: lost || lost_in_burst,
            lateness: self.jitter.f64() * 2.0 - 1.0,
            ahead: self.order.f64() < conditions.reordered,
            twice: self.copies.f64() < conditions.duplicated,
            wrong_bit: corrupted.then(|| self.bits.usize(0..bytes * 8)),
        }
    }

    /// Whether a burst takes the next packet.
    fn next_in_bursts(&mut self, bursts: Bursts) -> bool {
        let (leaves, loses) = if self.bad {
            (bursts.recovers, bursts.lost_in_bad)
        } else {
            (bursts.worsens, bursts.lost_in_good)
        };
        let lost = self.bursts.f64() < loses;
        self.bad ^= self.bursts.f64() < leaves;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIALS: usize = 100_000;

    fn fates(conditions: &Conditions) -> Vec<Fate> {
        let mut chances = Chances::new(conditions.seed);
        (0..TRIALS)
            .map(|_| chances.next(conditions, 1000))
            .collect()
    }

    /// Whether so many of all are a share, as far as chance goes: five standard deviations of a binomial
    /// distribution.
    fn is_share(count: usize, share: f64) -> bool {
        let trials = TRIALS as f64;
        let deviation = (trials * share * (1.0 - share)).sqrt();
        (count as f64 - trials * share).abs() <= 5.0 * deviation
    }

    fn all_kinds(seed: u64) -> Conditions {
        Conditions {
            loss: 0.05,
            reordered: 0.1,
            duplicated: 0.2,
            corrupted: 0.3,
            seed,
            ..Conditions::default()
        }
    }

    #[test]
    fn shares_are_what_was_asked_for() {
        for seed in 0..10 {
            let fates = fates(&all_kinds(seed));
            let count = |what: fn(&Fate) -> bool| fates.iter().filter(|fate| what(fate)).count();
            assert!(is_share(count(|fate| fate.lost), 0.05), "seed {seed}");
            assert!(is_share(count(|fate| fate.ahead), 0.1), "seed {seed}");
            assert!(is_share(count(|fate| fate.twice), 0.2), "seed {seed}");
            let wrong = count(|fate| fate.wrong_bit.is_some());
            assert!(is_share(wrong, 0.3), "seed {seed}");
            assert!(is_share(count(|fate| fate.lateness < -0.5), 0.25));
            // Each kind by itself: two of them come together as often as chance has it.
            let both = count(|fate| fate.lost && fate.ahead);
            assert!(is_share(both, 0.005), "seed {seed}: {both}");
            let both = count(|fate| fate.ahead && fate.twice);
            assert!(is_share(both, 0.02), "seed {seed}: {both}");
            let both = count(|fate| fate.twice && fate.lateness < -0.5);
            assert!(is_share(both, 0.05), "seed {seed}: {both}");
            let both = count(|fate| fate.twice && fate.wrong_bit.is_some());
            assert!(is_share(both, 0.06), "seed {seed}: {both}");
        }
    }

    #[test]
    fn one_kind_does_not_move_another() {
        let alone = Conditions {
            loss: 0.05,
            seed: 9,
            ..Conditions::default()
        };
        let with_others = Conditions {
            bursts: Some(Bursts::of(0.0, 1.0)),
            ..all_kinds(9)
        };
        let lost = |conditions| fates(&conditions).into_iter().map(|fate| fate.lost);
        assert!(lost(alone).eq(lost(with_others)));
    }

    #[test]
    fn bursts_are_as_long_and_as_many_as_was_asked_for() {
        for seed in 0..10 {
            let conditions = Conditions {
                bursts: Some(Bursts::of(0.1, 4.0)),
                seed,
                ..Conditions::default()
            };
            let fates = fates(&conditions);
            let lost = fates.iter().filter(|fate| fate.lost).count() as f64;
            let runs = fates.chunk_by(|one, next| one.lost == next.lost);
            let bursts = runs.filter(|run| run[0].lost).count() as f64;
            // Lengths are geometric: their variance is (1 - r) / r^2, 12 here, so that of 2,500 deviates by 0.07.
            assert!((lost / bursts - 4.0).abs() < 0.35, "seed {seed}");
            // 2,500 bursts of 4 packets that deviate by 3.5, after gaps that deviate by 36: 0.0025 of all packets.
            let share = lost / TRIALS as f64;
            assert!((share - 0.1).abs() < 0.0125, "seed {seed}: {share}");
        }
    }

    #[test]
    fn both_states_lose_their_share() {
        let bursts = Bursts {
            worsens: 0.1,
            recovers: 0.3,
            lost_in_bad: 0.8,
            lost_in_good: 0.04,
        };
        let conditions = Conditions {
            bursts: Some(bursts),
            ..Conditions::default()
        };
        let lost = fates(&conditions).iter().filter(|fate| fate.lost).count();
        let mean = 0.25 * 0.8 + 0.75 * 0.04;
        assert!((bursts.mean_loss() - mean).abs() < 1e-12);
        // The state holds on for some packets, which widens the spread: by (1 + c) / (1 - c), c = 1 - 0.1 - 0.3.
        let deviation = (mean * (1.0 - mean) * 4.0 / TRIALS as f64).sqrt();
        let share = lost as f64 / TRIALS as f64;
        assert!((share - mean).abs() < 5.0 * deviation, "{share}");
    }

    #[test]
    fn any_bit_may_be_wrong() {
        let conditions = Conditions {
            corrupted: 1.0,
            ..Conditions::default()
        };
        let mut chances = Chances::new(3);
        let mut seen = [false; 16];
        for _ in 0..1000 {
            let bit = chances.next(&conditions, 2).wrong_bit;
            seen[bit.expect("all are corrupted")] = true;
        }
        assert_eq!(seen, [true; 16]);
        assert_eq!(chances.next(&conditions, 0).wrong_bit, None);
    }
}
