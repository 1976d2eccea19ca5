//! When each message is due, and who says so.
//!
//! Message k of a run is due at k/rate seconds, and belongs to connection k modulo their number. A thread
//! of its own keeps the time: the runtime's timers know milliseconds only, and their error would be
//! counted as latency.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long the thread sleeps at most before it looks whether the run is over.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// When messages are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) start: Instant,
    /// Messages a second, over all connections.
    pub(crate) rate: f64,
    pub(crate) connections: NonZeroU32,
    /// Messages of the whole run.
    pub(crate) messages: u64,
}

impl Schedule {
    pub(crate) fn new(
        start: Instant,
        rate: f64,
        connections: NonZeroU32,
        duration: Duration,
    ) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 1e7 a second for a week: it fits, and is positive"
        )]
        let messages = (rate * duration.as_secs_f64()).ceil() as u64;
        Self {
            start,
            rate,
            connections,
            messages: messages.max(1),
        }
    }

    /// When message `sequence` of `connection` is due.
    pub(crate) fn due(&self, connection: u32, sequence: u64) -> Instant {
        let number = u64::from(connection) + sequence * u64::from(self.connections.get());
        self.start + self.after(number)
    }

    fn after(&self, number: u64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// How many messages of one connection are due.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    due: AtomicU64,
    changed: Notify,
}

impl Gate {
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }

    /// Waits for a change since the last wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn open_for_one(&self) {
        self.due.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// Lets whoever waits look again.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }
}

/// Opens the gates in time, until all is due or the run is over. Blocks.
pub(crate) fn keep(schedule: &Schedule, gates: &[Arc<Gate>], over: &AtomicBool) {
    for number in 0..schedule.messages {
        let due = schedule.start + schedule.after(number);
        loop {
            if over.load(Ordering::Acquire) {
                return;
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(LONGEST_SLEEP));
        }
        let turn = number % u64::from(schedule.connections.get());
        if let Some(gate) = usize::try_from(turn).ok().and_then(|turn| gates.get(turn)) {
            gate.open_for_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_in_turns() {
        let start = Instant::now();
        let connections = NonZeroU32::new(3).unwrap();
        let schedule = Schedule::new(start, 1000.0, connections, Duration::from_millis(6));
        assert_eq!(schedule.messages, 6);
        assert_eq!(schedule.due(0, 0), start);
        assert_eq!(schedule.due(2, 1), start + Duration::from_millis(5));
        let gates: Vec<Arc<Gate>> = (0..3).map(|_| Arc::default()).collect();
        keep(&schedule, &gates, &AtomicBool::new(false));
        assert!(start.elapsed() >= Duration::from_millis(5));
        assert!(gates.iter().all(|gate| gate.due() == 2));
    }
}
