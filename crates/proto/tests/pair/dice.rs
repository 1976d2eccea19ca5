//! Chance that can be played again.

use std::ops::Range;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose by.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn within(&mut self, range: Range<usize>) -> usize {
        let width = (range.end - range.start) as u64;
        range.start + usize::try_from(self.roll() % width).unwrap()
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.within(0..100) < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.within(0..from.len())]
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll().to_le_bytes()[0]).collect()
    }
}

/// Plays `game` with as many seeds, and says which one failed.
pub(crate) fn play_seeds(count: u64, game: impl Fn(&mut Dice)) {
    if let Some(seed) = std::env::var_os("PACKHORSE_SEED") {
        return game(&mut Dice::new(seed.to_str().unwrap().parse().unwrap()));
    }
    let rounds = std::env::var("PACKHORSE_ROUNDS").map_or(1, |n| n.parse().unwrap());
    for seed in 0..count * rounds {
        let told = TellSeed(seed);
        game(&mut Dice::new(seed));
        std::mem::forget(told);
    }
}

/// Dropped while a failure unwinds.
struct TellSeed(u64);

impl Drop for TellSeed {
    #[allow(clippy::print_stderr, reason = "shown where the test fails")]
    fn drop(&mut self) {
        eprintln!("failed with PACKHORSE_SEED={}", self.0);
    }
}
