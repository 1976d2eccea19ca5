//! When to try again after a connection broke.

use std::time::Duration;

use tokio::time::Instant;

/// Before the first try, which is doubled with each one, up to the second.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The tries after one break.
#[derive(Debug)]
pub(super) struct Again {
    until: Instant,
    wait: Duration,
}

impl Again {
    pub(super) fn new(now: Instant, within: Duration) -> Self {
        Self {
            until: now + within,
            wait: WAITS.0,
        }
    }

    /// How long to wait before the next try, and for how long there are tries; `None` when there were enough.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Duration, Duration)> {
        let left = self.until.checked_duration_since(now)?;
        if left.is_zero() {
            return None;
        }
        // The last try is at the end of the time, so that none of it is given away.
        let wait = self.wait.min(left);
        self.wait = (2 * self.wait).min(WAITS.1);
        Some((wait, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_seconds_and_end_with_the_time() {
        let start = Instant::now();
        let mut again = Again::new(start, Duration::from_secs(20));
        let (mut now, mut waits) = (start, Vec::new());
        while let Some((wait, left)) = again.next(now) {
            assert_eq!(left, Duration::from_secs(20) - (now - start));
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 3700]);
        assert!(Again::new(start, Duration::ZERO).next(start).is_none());
    }
}
