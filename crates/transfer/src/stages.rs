//! Where lane threads spend their time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use packhorse_proto::message::Times;
use rustix::time::{ClockId, clock_gettime};

use crate::receipt::StageTimes;

/// What a lane thread can be busy with, or blocked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Opening and reading source files.
    Read,
    /// BLAKE3.
    Hash,
    /// Sealing or opening records.
    Encrypt,
    /// In send or receive calls.
    Network,
    /// Creating, writing and naming files.
    Write,
    /// Waiting for work.
    Idle,
}

/// Who is told of each stage that a lane, or the placing thread, has been through, on the thread that was.
///
/// It is told between two pieces of work, so what it does is time that the transfer takes.
pub trait StageObserver: fmt::Debug + Send + Sync {
    /// The calling thread was at `stage` from `start` for so long.
    fn stage(&self, stage: Stage, start: Instant, took: Duration);
}

/// The sums of all lanes of one side, in nanoseconds by [`Stage`].
#[derive(Debug, Default)]
pub(crate) struct Stages {
    sums: [AtomicU64; 6],
    processor: AtomicU64,
    observer: Option<Arc<dyn StageObserver>>,
}

impl Stages {
    pub(crate) fn new(observer: Option<Arc<dyn StageObserver>>) -> Self {
        Self {
            sums: Default::default(),
            processor: AtomicU64::new(0),
            observer,
        }
    }

    /// Runs `work` and adds its time to `stage`. Two clock readings cost some 50 ns.
    pub(crate) fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        self.sums[stage as usize].fetch_add(nanoseconds(took), Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            observer.stage(stage, start, took);
        }
        outcome
    }

    /// Adds what the calling thread has used of processors since `meter` was looked at last, now and then: a look costs
    /// some microseconds.
    pub(crate) fn note_processor(&self, meter: &mut Meter) {
        if meter.looked.elapsed() >= BETWEEN_LOOKS {
            self.note_all_processor(meter);
        }
    }

    /// The same, at once: for a thread's end.
    pub(crate) fn note_all_processor(&self, meter: &mut Meter) {
        let before = std::mem::replace(meter, Meter::new());
        let used = meter.used.saturating_sub(before.used);
        self.processor
            .fetch_add(nanoseconds(used), Ordering::Relaxed);
    }

    /// The sums so far, as the protocol carries them.
    pub(crate) fn times(&self) -> Times {
        let sum = |stage: Stage| self.sums[stage as usize].load(Ordering::Relaxed);
        Times {
            read: sum(Stage::Read),
            hash: sum(Stage::Hash),
            encrypt: sum(Stage::Encrypt),
            network: sum(Stage::Network),
            write: sum(Stage::Write),
            idle: sum(Stage::Idle),
            processor: self.processor.load(Ordering::Relaxed),
        }
    }
}

/// How often a thread looks at what it has used of processors.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What a thread had used of processors when it looked last.
#[derive(Debug)]
pub(crate) struct Meter {
    used: Duration,
    looked: Instant,
}

impl Meter {
    /// Looks now, on the thread that it is for.
    pub(crate) fn new() -> Self {
        Self {
            used: used_of_processor(),
            looked: Instant::now(),
        }
    }
}

/// How long the calling thread has run, or was ready to run and had no processor: the second number of schedstat
/// (Linux's Documentation/scheduler/sched-stats.rst), nothing where the kernel does not count it.
fn used_of_processor() -> Duration {
    let ran = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_ascii_whitespace().nth(1);
    let waited = waited.and_then(|number| number.parse().ok()).unwrap_or(0);
    ran.saturating_add(Duration::from_nanos(waited))
}

/// Nanoseconds of a duration; 584 years at most.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<Times> for StageTimes {
    fn from(times: Times) -> Self {
        Self {
            read: Duration::from_nanos(times.read),
            hash: Duration::from_nanos(times.hash),
            encrypt: Duration::from_nanos(times.encrypt),
            network: Duration::from_nanos(times.network),
            write: Duration::from_nanos(times.write),
            idle: Duration::from_nanos(times.idle),
            processor: Duration::from_nanos(times.processor),
        }
    }
}
