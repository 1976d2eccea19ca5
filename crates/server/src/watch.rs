//! What a server knows of a connection while its handler runs: when it last moved, and why it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A clock that is set from time to time, and read for the price of a load.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Milliseconds since the start; never 0, which stands for "not at all".
    now: AtomicU32,
}

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            now: AtomicU32::new(1),
        })
    }

    pub(crate) fn set(&self) -> u32 {
        let elapsed = u32::try_from(self.start.elapsed().as_millis()).unwrap_or(u32::MAX);
        let now = elapsed.saturating_add(1);
        self.now.store(now, Ordering::Relaxed);
        now
    }

    fn read(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }
}

/// Why the server ends a connection whose handler still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cause {
    /// Nothing moved for too long.
    Idle = 1,
    /// A message began and did not get whole in time.
    Slow = 2,
    /// The server is ending.
    Drain = 3,
}

/// One connection, seen from outside.
#[derive(Debug)]
pub(crate) struct Watch {
    clock: Arc<Clock>,
    last: AtomicU32,
    /// When the message that is now on its way began; 0: there is none.
    begun: AtomicU32,
    cause: AtomicU8,
}

impl Watch {
    pub(crate) fn new(clock: &Arc<Clock>) -> Arc<Self> {
        Arc::new(Self {
            last: AtomicU32::new(clock.read()),
            begun: AtomicU32::new(0),
            cause: AtomicU8::new(0),
            clock: Arc::clone(clock),
        })
    }

    /// Bytes moved.
    pub(crate) fn moved(&self) {
        self.last.store(self.clock.read(), Ordering::Relaxed);
    }

    /// The message that is received now is not whole yet.
    pub(crate) fn begin_message(&self) {
        if self.begun.load(Ordering::Relaxed) == 0 {
            self.begun.store(self.clock.read(), Ordering::Relaxed);
        }
    }

    /// No message is under way.
    pub(crate) fn end_message(&self) {
        self.begun.store(0, Ordering::Relaxed);
    }

    /// The first cause stays.
    pub(crate) fn end(&self, cause: Cause) {
        let none = (0, cause as u8);
        let _ = self
            .cause
            .compare_exchange(none.0, none.1, Ordering::AcqRel, Ordering::Relaxed);
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        match self.cause.load(Ordering::Acquire) {
            1 => Some(Cause::Idle),
            2 => Some(Cause::Slow),
            3 => Some(Cause::Drain),
            _ => None,
        }
    }

    /// What a look at the clock says of this connection.
    pub(crate) fn overdue(
        &self,
        now: u32,
        idle: Option<Duration>,
        message: Option<Duration>,
    ) -> Option<Cause> {
        let over = |since: u32, limit: Option<Duration>| {
            let waited = Duration::from_millis(now.saturating_sub(since).into());
            limit.is_some_and(|limit| waited > limit)
        };
        let begun = self.begun.load(Ordering::Relaxed);
        if begun != 0 && over(begun, message) {
            return Some(Cause::Slow);
        }
        over(self.last.load(Ordering::Relaxed), idle).then_some(Cause::Idle)
    }
}
