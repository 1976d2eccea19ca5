//! Randomness that can be had again: the seed is printed, and taken from the environment.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64 (Steele, Lea and Flood 2014): small, fast and good enough for bytes and choices.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by PACKHORSE_TEST_SEED, else by the clock; says by what.
    #[allow(
        clippy::print_stdout,
        reason = "the test runner shows it when a test fails"
    )]
    pub(crate) fn seeded() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = match std::env::var("PACKHORSE_TEST_SEED") {
            Ok(seed) => seed.parse().expect("PACKHORSE_TEST_SEED is a number"),
            Err(_) => clock().map_or(0, |time| time.as_secs() ^ u64::from(time.subsec_nanos())),
        };
        println!("to have the same again: PACKHORSE_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("usize fits");
        usize::try_from(self.next() % end).expect("below a usize")
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
