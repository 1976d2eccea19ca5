//! The end of a session: what is left is shared out so that all lanes are done at about the same time.
//!
//! Connections do not share a link evenly. One of them may have a fortieth of it, and take seconds to find more though the
//! others are done: BBR asks for a quarter more in every eight round trips. A session then waits for the extent that such a
//! lane took last. So lanes take no more when the others, at the rates that were seen, finish all that is left earlier than
//! they would finish one extent. It is list scheduling on machines of different speeds (R. L. Graham, "Bounds on
//! Multiprocessing Timing Anomalies", 1969): the next extent goes to the lane that will have done it first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use packhorse_proto::extent::EXTENT_SIZE;
use tokio::time::Instant;

/// How often lanes are looked at, at most, and how much later than the others a lane may be done at least.
const SHORTEST: Duration = Duration::from_millis(100);

/// Looks that a rate is taken over, and how many it takes to know one.
const LOOKS: usize = 16;
const FEWEST: usize = 5;

/// Extents for each lane that are the end: with more to do, each takes some more.
const NEAR: u64 = 64;

/// What is seen of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Bytes that its receiver has acknowledged.
    pub(super) acked: u64,
    /// Bytes of what it has taken that are not acknowledged.
    pub(super) backlog: u64,
}

/// Looks at lanes from time to time.
#[derive(Debug)]
pub(super) struct Tail {
    step: Duration,
    slack: Duration,
    next_look: Instant,
    /// What each lane had acknowledged at the last looks.
    acked: BTreeMap<u16, VecDeque<(Instant, u64)>>,
    /// When all will be done, where that is near.
    rest: Option<Duration>,
}

/// A lane in the plan.
#[derive(Debug)]
struct Planned {
    lane: u16,
    /// Seconds that an extent takes it.
    extent: f64,
    /// Seconds until it has done what was given to it.
    done: f64,
    /// It was given something.
    given: bool,
}

impl Tail {
    pub(super) fn new(round_trip: Duration, now: Instant) -> Self {
        let step = SHORTEST.max(round_trip / 2);
        Self {
            step,
            slack: SHORTEST.max(round_trip),
            next_look: now + step,
            acked: BTreeMap::new(),
            rest: None,
        }
    }

    /// When to [`look`](Self::look) next.
    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// When all will be done, by the last look; `None` where that is far, or not known.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.rest
    }

    /// Looks at lanes that take extents; answers with those that are to take no more. So many bytes are left that no lane
    /// has begun with; `None` where that is not known yet.
    pub(super) fn look(
        &mut self,
        now: Instant,
        lanes: &BTreeMap<u16, Progress>,
        left: Option<u64>,
    ) -> Vec<u16> {
        self.next_look = now + self.step;
        self.rest = None;
        self.acked.retain(|lane, _| lanes.contains_key(lane));
        for (&lane, progress) in lanes {
            let looks = self.acked.entry(lane).or_default();
            if looks.len() == LOOKS {
                looks.pop_front();
            }
            looks.push_back((now, progress.acked));
        }
        let count = u64::try_from(lanes.len()).unwrap_or(u64::MAX);
        let extents = left.map(|left| left.div_ceil(EXTENT_SIZE));
        let Some(extents) = extents.filter(|&extents| extents <= NEAR.saturating_mul(count)) else {
            return Vec::new();
        };
        // One whose rate nobody knows may be the fastest.
        let plan: Option<Vec<Planned>> = lanes.iter().map(|lane| self.plan(lane)).collect();
        let Some(mut plan) = plan else {
            return Vec::new();
        };
        for _ in 0..extents {
            let next = plan
                .iter_mut()
                .min_by(|a, b| (a.done + a.extent).total_cmp(&(b.done + b.extent)));
            let Some(next) = next else { break };
            next.done += next.extent;
            next.given = true;
        }
        let given = plan.iter().filter(|lane| lane.given);
        let last = given.map(|lane| lane.done).fold(0.0, f64::max);
        self.rest = Duration::try_from_secs_f64(last).ok();
        let late = last + self.slack.as_secs_f64();
        plan.retain(|lane| extents > 0 && !lane.given && lane.done + lane.extent > late);
        plan.into_iter().map(|lane| lane.lane).collect()
    }

    /// What to reckon with of a lane; `None` where that is not known.
    #[allow(clippy::cast_precision_loss, reason = "rates, to be compared")]
    fn plan(&self, (&lane, progress): (&u16, &Progress)) -> Option<Planned> {
        let looks = self.acked.get(&lane)?;
        if looks.len() < FEWEST {
            return None;
        }
        let (&(since, before), &(now, acked)) = (looks.front()?, looks.back()?);
        // A lane that stands still does nothing in a thousand years.
        let rate = acked.saturating_sub(before) as f64 / (now - since).as_secs_f64();
        let rate = rate.max(1e-3);
        Some(Planned {
            lane,
            extent: EXTENT_SIZE as f64 / rate,
            done: progress.backlog as f64 / rate,
            given: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    /// Lanes that send a tenth of so many extents a second, each busy with one; answers how many extents nobody had begun
    /// with when each lane was told to take no more, if it was.
    fn play(rates: &[u64], extents: u64) -> Vec<Option<u64>> {
        let mut tail = Tail::new(ROUND_TRIP, Instant::now());
        let mut told = vec![None; rates.len()];
        let (mut left, mut steps) = (extents, 0);
        // Of each lane: what it had of all extents that it took, and the first of them.
        let mut taken = vec![1; rates.len()];
        while left > 0 {
            steps += 1;
            let mut seen = BTreeMap::new();
            for (lane, (rate, taken)) in (0..).zip(rates.iter().zip(&mut taken)) {
                // A look is a tenth of a second later than the one before.
                let acked = steps * rate * EXTENT_SIZE / 100;
                let is_told = told[usize::from(lane)].is_some();
                while acked >= *taken * EXTENT_SIZE && left > 0 && !is_told {
                    *taken += 1;
                    left -= 1;
                }
                let backlog = (*taken * EXTENT_SIZE).saturating_sub(acked);
                if !is_told {
                    seen.insert(lane, Progress { acked, backlog });
                }
            }
            for lane in tail.look(tail.next_look(), &seen, Some(left * EXTENT_SIZE)) {
                told[usize::from(lane)] = Some(left);
            }
        }
        told
    }

    #[test]
    fn a_slow_lane_takes_no_more_when_the_others_will_be_done_before() {
        // An extent takes it five seconds, in which the others do a hundred.
        let told = play(&[100, 2, 100], 400);
        assert_eq!((told[0], told[2]), (None, None), "{told:?}");
        let left = told[1].unwrap();
        assert!((50..=130).contains(&left), "{told:?}");
    }

    #[test]
    fn lanes_that_are_as_fast_as_each_other_take_what_there_is() {
        for extents in [100, 101, 102, 103] {
            assert_eq!(play(&[100, 90, 100, 95], extents), [None; 4]);
        }
    }

    #[test]
    fn one_lane_takes_all_and_so_do_those_of_which_nothing_is_known() {
        assert_eq!(play(&[3], 20), [None]);
        let now = Instant::now();
        let mut tail = Tail::new(ROUND_TRIP, now);
        let lanes = [(0, 1 << 30), (1, 0)].map(|(lane, acked)| {
            (
                lane,
                Progress {
                    acked,
                    backlog: 1 << 20,
                },
            )
        });
        let lanes = lanes.into_iter().collect();
        for _ in 1..FEWEST {
            assert!(
                tail.look(tail.next_look(), &lanes, Some(EXTENT_SIZE))
                    .is_empty()
            );
        }
        assert_eq!(tail.rest(), None);
    }

    #[test]
    fn nothing_is_decided_far_from_the_end() {
        let told = play(&[10_000, 1], 100_000);
        assert!(told[1].unwrap() <= 2 * NEAR, "{told:?}");
        let now = Instant::now();
        let mut tail = Tail::new(ROUND_TRIP, now);
        let mut acked = 0;
        for _ in 0..LOOKS {
            acked += EXTENT_SIZE;
            let lanes =
                [(0, acked), (1, 0)].map(|(lane, acked)| (lane, Progress { acked, backlog: 0 }));
            let lanes = lanes.into_iter().collect();
            assert!(tail.look(tail.next_look(), &lanes, None).is_empty());
        }
    }

    #[test]
    fn somebody_is_always_left() {
        // All stand still.
        let now = Instant::now();
        let mut tail = Tail::new(ROUND_TRIP, now);
        let lanes: BTreeMap<_, _> = (0..5)
            .map(|lane| {
                (
                    lane,
                    Progress {
                        acked: 7,
                        backlog: 1 << 20,
                    },
                )
            })
            .collect();
        for _ in 0..2 * LOOKS {
            let told = tail.look(tail.next_look(), &lanes, Some(3 * EXTENT_SIZE));
            assert!(told.len() < 5, "{told:?}");
        }
    }
}
