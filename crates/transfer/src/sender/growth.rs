//! How many lanes a sender has: one more while that moves content faster.

use std::time::Duration;

use tokio::time::Instant;

/// What one more lane has to bring, to be kept.
const GAIN: f64 = 1.05;

/// What a file costs beside its content: bytes of a large file that take about as long.
const FILE: u64 = 16 << 10;

/// A step is at least this long, so that it is more than a burst.
const SHORTEST: Duration = Duration::from_millis(100);

/// And so many round trips: a new connection has to find its rate first.
const ROUND_TRIPS: u32 = 10;

/// Steps that show no gain, one after the other, before a lane is given up: others use the machine as well.
const PATIENCE: u32 = 2;

/// Content changes: it is tried again after a pause, which doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// What to do about lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Stay,
    Add,
    Drop,
}

/// Decides by what was moved.
#[derive(Debug)]
pub(super) struct Growth {
    most: u16,
    lanes: u16,
    step: Duration,
    next_look: Instant,
    /// When the step began, and what had been moved by then.
    began: Option<(Instant, u64)>,
    /// Per second, before the last lane was added; `None`: none was added since the last pause.
    before: Option<f64>,
    /// Steps since then that showed no gain.
    in_vain: u32,
    pause: Duration,
}

/// What was moved: content, and what files cost beside it.
pub(super) fn work(bytes: u64, files: u64) -> u64 {
    bytes.saturating_add(files.saturating_mul(FILE))
}

impl Growth {
    /// One lane, and at most so many; `round_trip` is how long the peer takes to answer.
    pub(super) fn new(most: u16, round_trip: Duration, now: Instant) -> Self {
        let step = SHORTEST.max(round_trip.saturating_mul(ROUND_TRIPS));
        Self {
            most,
            lanes: 1,
            step,
            next_look: now + step / 2,
            began: None,
            before: None,
            in_vain: 0,
            pause: PAUSE,
        }
    }

    /// Lanes that there are, or are about to be.
    pub(super) fn lanes(&self) -> u16 {
        self.lanes
    }

    /// When to [`look`](Self::look) next.
    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Takes what was moved so far. `waiting`: there are files that no lane has begun with; `may_add`: the peer takes
    /// another lane.
    pub(super) fn look(
        &mut self,
        now: Instant,
        work: u64,
        waiting: bool,
        may_add: bool,
    ) -> Decision {
        let Some((began, had)) = self.began else {
            self.next_look = now + self.step;
            self.began = (work > 0).then_some((now, work));
            return Decision::Stay;
        };
        let moved = work.saturating_sub(had);
        #[allow(clippy::cast_precision_loss, reason = "a rate, to be compared")]
        let rate = moved as f64 / (now - began).as_secs_f64().max(1e-9);
        self.next_look = now + self.step;
        self.began = Some((now, work));
        let gained = self.before.is_none_or(|before| rate > before * GAIN);
        if gained && waiting && may_add && self.lanes < self.most {
            self.lanes += 1;
            self.before = Some(rate);
            self.in_vain = 0;
            // The new one gets half a step to find its rate.
            self.began = None;
            self.next_look = now + self.step / 2;
            return Decision::Add;
        }
        if gained || !waiting {
            self.rest(now);
            return Decision::Stay;
        }
        self.in_vain += 1;
        if self.in_vain < PATIENCE {
            return Decision::Stay;
        }
        self.lanes -= 1;
        self.rest(now);
        Decision::Drop
    }

    /// It is too early: looks half a step later.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.began = None;
        self.next_look = now + self.step / 2;
    }

    /// A lane could not be had.
    pub(super) fn refused(&mut self, now: Instant) {
        self.lanes = self.lanes.saturating_sub(1).max(1);
        self.most = self.lanes;
        self.rest(now);
    }

    fn rest(&mut self, now: Instant) {
        self.before = None;
        self.began = None;
        self.in_vain = 0;
        self.next_look = now + self.pause;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets it decide for a while, where this is what so many lanes move in a second; answers how many it had, step by step.
    fn play(
        growth: &mut Growth,
        mut now: Instant,
        seconds: u64,
        rate: impl Fn(u16) -> u64,
    ) -> Vec<u16> {
        let end = now + Duration::from_secs(seconds);
        let (mut work, mut lanes, mut had) = (0, 1, vec![1]);
        while now < end {
            let next = growth.next_look();
            let passed = u64::try_from((next - now).as_millis()).unwrap();
            work += rate(lanes) * passed / 1000;
            now = next;
            match growth.look(now, work, true, true) {
                Decision::Stay => continue,
                Decision::Add => lanes += 1,
                Decision::Drop => lanes -= 1,
            }
            had.push(lanes);
        }
        had
    }

    fn new(most: u16) -> (Growth, Instant) {
        let now = Instant::now();
        (Growth::new(most, Duration::ZERO, now), now)
    }

    #[test]
    fn lanes_that_help_are_added_until_one_does_not() {
        let (mut growth, now) = new(16);
        let had = play(&mut growth, now, 2, |lanes| {
            1_000_000 * u64::from(lanes.min(4))
        });
        assert!(had.starts_with(&[1, 2, 3, 4, 5, 4]), "{had:?}");
    }

    #[test]
    fn a_lane_that_does_not_help_is_dropped_and_tried_again_ever_more_seldom() {
        let (mut growth, now) = new(16);
        let had = play(&mut growth, now, 60, |_| 1_000_000);
        assert!((4..16).contains(&had.len()), "{had:?}");
        assert!(had.iter().all(|&lanes| lanes <= 2), "{had:?}");
    }

    #[test]
    fn there_are_never_more_than_the_most() {
        let (mut growth, now) = new(3);
        let had = play(&mut growth, now, 60, |lanes| 1_000_000 * u64::from(lanes));
        assert_eq!(had, [1, 2, 3]);
    }

    #[test]
    fn nothing_is_tried_where_no_file_waits() {
        let (mut growth, mut now) = new(16);
        for work in 1..1000 {
            now = growth.next_look();
            assert_eq!(growth.look(now, work << 20, false, true), Decision::Stay);
        }
        growth.refused(now);
    }

    #[test]
    fn long_round_trips_make_long_steps() {
        let now = Instant::now();
        let mut growth = Growth::new(16, Duration::from_millis(200), now);
        let first = growth.next_look();
        assert_eq!(growth.look(first, 1, true, true), Decision::Stay);
        assert_eq!(growth.next_look() - first, Duration::from_secs(2));
    }
}
