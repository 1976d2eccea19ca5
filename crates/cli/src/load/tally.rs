//! What all connections count together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Parts that are counted apart, so that threads do not wait for each other.
const SHARDS: usize = 8;

/// Latencies in nanoseconds to three digits, up to an hour.
const LONGEST: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// The counts of a run.
pub(crate) struct Tally {
    shards: [Shard; SHARDS],
    notes: Mutex<Notes>,
}

/// One connection's part of the tally.
#[repr(align(128))]
pub(crate) struct Shard {
    sent: AtomicU64,
    answered: AtomicU64,
    wrong: AtomicU64,
    latency: Mutex<Histogram<u64>>,
}

/// The first of each kind of trouble, in words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) wrong: Option<String>,
    pub(crate) broken: Option<String>,
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) wrong: u64,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds that are constants, and good")
}

impl Tally {
    pub(crate) fn new() -> Self {
        let shard = |_| Shard {
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            latency: Mutex::new(histogram()),
        };
        Self {
            shards: std::array::from_fn(shard),
            notes: Mutex::default(),
        }
    }

    /// Where a connection counts.
    pub(crate) fn shard(&self, connection: u32) -> &Shard {
        &self.shards[connection as usize % SHARDS]
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in &self.shards {
            counts.sent += shard.sent.load(Ordering::Relaxed);
            counts.answered += shard.answered.load(Ordering::Relaxed);
            counts.wrong += shard.wrong.load(Ordering::Relaxed);
        }
        counts
    }

    /// All latencies.
    pub(crate) fn latency(&self) -> Histogram<u64> {
        let mut all = histogram();
        for shard in &self.shards {
            let latency = shard.latency.lock().unwrap_or_else(PoisonError::into_inner);
            // All have the same bounds.
            let _ = all.add(&*latency);
        }
        all
    }

    pub(crate) fn note_wrong(&self, note: impl FnOnce() -> String) {
        self.notes().wrong.get_or_insert_with(note);
    }

    pub(crate) fn note_broken(&self, note: impl FnOnce() -> String) {
        self.notes().broken.get_or_insert_with(note);
    }

    pub(crate) fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wrong(&self) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(after.as_nanos()).unwrap_or(LONGEST);
        self.latency
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(nanoseconds);
    }
}
