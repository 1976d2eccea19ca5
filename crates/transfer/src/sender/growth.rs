//! How many lanes a sender has: more while that moves content faster.

use std::time::Duration;

use packhorse_proto::extent::EXTENT_SIZE;
use tokio::time::Instant;

/// What one more lane has to bring, to be kept.
const GAIN: f64 = 1.05;

/// Bytes of an extent, which goes whole on one lane.
#[allow(clippy::cast_precision_loss, reason = "it is small")]
const EXTENT: f64 = EXTENT_SIZE as f64;

/// What a file costs beside its content: bytes of a large file that take about as long.
const FILE: u64 = 16 << 10;

/// A step is at least this long, so that it is more than a burst.
const SHORTEST: Duration = Duration::from_millis(100);

/// Where lanes wait for a network, whose rate shakes more: as long as this.
const SHORTEST_WAITING: Duration = Duration::from_millis(400);

/// And so many round trips: a new connection has to find its rate first.
const ROUND_TRIPS: u32 = 10;

/// Steps that show no gain, one after the other, before a lane is given up: others use the machine as well.
const PATIENCE: u32 = 2;

/// Content changes: it is tried again after a pause, which doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// Lanes that use less than this share of a processor each wait for a network or a disk: there may be more of them than
/// cores.
const WAITING_SHARE: f64 = 0.25;

/// Bytes a second that long links carry, for all that is known at the start.
const LONG_LINK: f64 = 125e6;

/// The share of a send buffer that can be under way: the rest is the kernel's own (2.7 of 4 MiB were seen).
const UNDER_WAY: f64 = 0.6;

/// How long an extent may take on a lane. Where it takes longer, lanes are too many for what they carry together: the last
/// extents of a file are then waited for on connections that have found a small share of the link (245 of 250 MB took 21 s
/// on 16 lanes of 100 Mbit/s with extents of 2 MiB, and the rest 6).
const EXTENT_TIME: f64 = 1.0;

/// What to do about lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Stay,
    Add(u16),
    Drop(u16),
}

/// What bounds the number of lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Lanes that the peer takes.
    pub(super) peer: u16,
    /// Cores of this machine: more lanes that compute only take turns.
    pub(super) cores: u16,
    /// How long the peer takes to answer.
    pub(super) round_trip: Duration,
    /// Bytes that the kernel lets a connection's send buffer grow to.
    pub(super) send_buffer: u64,
}

/// How things stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) now: Instant,
    /// What was moved so far: see [`work`].
    pub(super) work: u64,
    /// Processor time that lanes have used so far, or waited for.
    pub(super) processor: Duration,
    /// Lanes that take files, those that are being opened among them.
    pub(super) lanes: u16,
    /// There are files or extents that no lane has begun with.
    pub(super) waiting: bool,
    /// How many more lanes the peer takes.
    pub(super) takes: u16,
}

/// Decides by what was moved.
#[derive(Debug)]
pub(super) struct Growth {
    bounds: Bounds,
    lanes: u16,
    /// Lanes that it takes to fill a long link at once, one connection's window being what it is.
    window_lanes: u16,
    step: Duration,
    next_look: Instant,
    /// How things stood when the step began.
    began: Option<Standing>,
    /// Work per second before lanes were added; `None`: none were added since the last pause.
    before: Option<f64>,
    /// How many that were.
    added: u16,
    /// Steps since then that showed no gain.
    in_vain: u32,
    /// Lanes were opened for a long link of which nothing was known: it may be that they are too many.
    doubtful: bool,
    /// Work per second before some of them were given up, and how many that were.
    given_up: Option<(f64, u16)>,
    pause: Duration,
}

/// What was moved: content, and what files cost beside it.
pub(super) fn work(bytes: u64, files: u64) -> u64 {
    bytes.saturating_add(files.saturating_mul(FILE))
}

fn share(part: u16, of: u16) -> f64 {
    f64::from(part) / f64::from(of.max(1))
}

impl Growth {
    /// One lane, from now on.
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        let Bounds {
            peer,
            round_trip,
            send_buffer,
            ..
        } = bounds;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small number, rounded; casts saturate"
        )]
        let window_lanes = {
            let window = (send_buffer as f64 * UNDER_WAY).max(1.0);
            (LONG_LINK * round_trip.as_secs_f64() / window).ceil() as u16
        };
        let window_lanes = window_lanes.min(peer);
        Self {
            bounds,
            lanes: 1,
            window_lanes,
            step: SHORTEST.max(round_trip.saturating_mul(ROUND_TRIPS)),
            // By then the first lane has filled its buffer, where it waits for a link. A long link is known to be one.
            next_look: now
                + SHORTEST / 2
                + if window_lanes > 1 {
                    Duration::ZERO
                } else {
                    round_trip
                },
            began: None,
            before: None,
            added: 0,
            in_vain: 0,
            doubtful: false,
            given_up: None,
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

    /// Decides by how things stand.
    pub(super) fn look(&mut self, standing: Standing) -> Decision {
        let Standing { now, waiting, .. } = standing;
        // Some may have ended otherwise.
        self.lanes = standing.lanes.max(1);
        let windows = std::mem::take(&mut self.window_lanes);
        if waiting && windows > self.lanes {
            self.doubtful = true;
            return self.add(windows - self.lanes, None, standing);
        }
        let Some(began) = self.began else {
            self.next_look = now + self.step;
            self.began = (standing.work > 0).then_some(standing);
            return Decision::Stay;
        };
        let seconds = (now - began.now).as_secs_f64().max(1e-9);
        #[allow(clippy::cast_precision_loss, reason = "a rate, to be compared")]
        let rate = standing.work.saturating_sub(began.work) as f64 / seconds;
        let used = standing.processor.saturating_sub(began.processor);
        let waits = used.as_secs_f64() < WAITING_SHARE * f64::from(self.lanes) * seconds;
        if waits {
            self.step = self.step.max(SHORTEST_WAITING);
        }
        self.next_look = now + self.step;
        self.began = Some(standing);
        if let Some((before, less)) = self.given_up.take()
            && waiting
            && rate < before * (1.0 - share(less, self.lanes + less) / 2.0)
        {
            // They were missed.
            self.doubtful = false;
            return self.add(less, None, standing);
        }
        let crowded = f64::from(self.lanes) * EXTENT > rate * EXTENT_TIME;
        self.doubtful &= crowded && self.lanes > 1;
        if self.doubtful {
            return self.give_up_half(rate, now);
        }
        // Where lanes are many for what they carry, one more has to bring half of what it would at best.
        let wanted = match crowded {
            true => 1.0 + share(self.added, self.lanes - self.added.min(self.lanes - 1)) / 2.0,
            false => GAIN,
        };
        let gained = self.before.is_none_or(|before| rate > before * wanted);
        let (most, more) = if waits {
            (self.bounds.peer, (self.lanes / 2).max(1))
        } else {
            (self.bounds.cores.min(self.bounds.peer), 1)
        };
        if gained && waiting && self.lanes < most && standing.takes > 0 {
            return self.add(more.min(most - self.lanes), Some(rate), standing);
        }
        if gained || !waiting {
            self.rest(now);
            return Decision::Stay;
        }
        self.in_vain += 1;
        if self.in_vain < PATIENCE && !crowded {
            return Decision::Stay;
        }
        let vain = self.added.min(self.lanes - 1);
        self.lanes -= vain;
        self.rest(now);
        Decision::Drop(vain)
    }

    /// Gives up half of the lanes, to see whether they are missed.
    fn give_up_half(&mut self, rate: f64, now: Instant) -> Decision {
        let less = self.lanes / 2;
        self.lanes -= less;
        self.given_up = Some((rate, less));
        self.before = None;
        self.postpone(now);
        Decision::Drop(less)
    }

    fn add(&mut self, more: u16, rate: Option<f64>, standing: Standing) -> Decision {
        let more = more.min(standing.takes);
        self.lanes += more;
        self.added = more;
        self.before = rate;
        self.in_vain = 0;
        // The new ones get half a step to find their rate.
        self.began = None;
        self.next_look = standing.now + self.step / 2;
        Decision::Add(more)
    }

    /// It is too early: looks half a step later.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.began = None;
        self.next_look = now + self.step / 2;
    }

    /// Lanes take no more: there is little left.
    pub(super) fn some_retired(&mut self, now: Instant) {
        self.rest(now);
    }

    /// Whether so little time is left that another lane would hardly find its rate.
    pub(super) fn is_too_late(&self, left: Duration) -> bool {
        left < 2 * self.step
    }

    /// A lane could not be had.
    pub(super) fn refused(&mut self, now: Instant) {
        self.lanes = self.lanes.saturating_sub(1).max(1);
        self.bounds.peer = self.lanes;
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

    const LOCAL: Bounds = Bounds {
        peer: 16,
        cores: 8,
        round_trip: Duration::ZERO,
        send_buffer: 4 << 20,
    };

    const LONG: Bounds = Bounds {
        round_trip: Duration::from_millis(200),
        ..LOCAL
    };

    /// Lets it decide for a while, where this is what so many lanes move in a second, and so many processors each of them
    /// uses; answers how many lanes it had, step by step.
    fn play(
        growth: &mut Growth,
        mut now: Instant,
        (seconds, processors): (u64, f64),
        rate: impl Fn(u16) -> u64,
    ) -> Vec<u16> {
        let end = now + Duration::from_secs(seconds);
        let (mut work, mut processor) = (0, Duration::ZERO);
        let (mut lanes, mut had) = (1, vec![1]);
        while now < end {
            let passed = growth.next_look() - now;
            work += rate(lanes) * u64::try_from(passed.as_millis()).unwrap() / 1000;
            processor += passed.mul_f64(processors * f64::from(lanes));
            now = growth.next_look();
            let standing = Standing {
                now,
                work,
                processor,
                lanes,
                waiting: true,
                takes: 16 - lanes,
            };
            match growth.look(standing) {
                Decision::Stay => continue,
                Decision::Add(more) => lanes += more,
                Decision::Drop(less) => lanes -= less,
            }
            assert_eq!(lanes, growth.lanes());
            had.push(lanes);
        }
        had
    }

    fn new(bounds: Bounds) -> (Growth, Instant) {
        let now = Instant::now();
        (Growth::new(bounds, now), now)
    }

    #[test]
    fn lanes_that_help_are_added_until_one_does_not() {
        let (mut growth, now) = new(LOCAL);
        let had = play(&mut growth, now, (2, 1.0), |lanes| {
            1_000_000 * u64::from(lanes.min(4))
        });
        assert!(had.starts_with(&[1, 2, 3, 4, 5, 4]), "{had:?}");
    }

    #[test]
    fn a_lane_that_does_not_help_is_dropped_and_tried_again_ever_more_seldom() {
        let (mut growth, now) = new(LOCAL);
        let had = play(&mut growth, now, (60, 1.0), |_| 1_000_000);
        assert!((4..16).contains(&had.len()), "{had:?}");
        assert!(had.iter().all(|&lanes| lanes <= 2), "{had:?}");
    }

    #[test]
    fn lanes_that_compute_are_never_more_than_cores() {
        let (mut growth, now) = new(Bounds { cores: 3, ..LOCAL });
        let had = play(&mut growth, now, (60, 0.9), |lanes| {
            1_000_000 * u64::from(lanes)
        });
        assert_eq!(had, [1, 2, 3]);
    }

    #[test]
    fn lanes_that_wait_may_be_more_than_cores_but_never_more_than_the_peer_takes() {
        let (mut growth, now) = new(Bounds { cores: 1, ..LOCAL });
        let had = play(&mut growth, now, (60, 0.01), |lanes| {
            1_000_000 * u64::from(lanes)
        });
        assert_eq!(had, [1, 2, 3, 4, 6, 9, 13, 16]);
    }

    #[test]
    fn nothing_is_tried_where_no_file_waits() {
        let (mut growth, now) = new(LONG);
        for step in 1..1000 {
            let standing = Standing {
                now: now + Duration::from_secs(10 * step),
                work: step << 20,
                processor: Duration::ZERO,
                lanes: 1,
                waiting: false,
                takes: 15,
            };
            assert_eq!(growth.look(standing), Decision::Stay);
        }
        growth.refused(now);
        assert_eq!(growth.lanes(), 1);
    }

    #[test]
    fn long_links_get_at_once_what_their_windows_ask_for() {
        // 4 MiB hold 2.5 MB under way, which a fifth of a second makes 12.6 MB/s.
        for (milliseconds, expected) in [(1, 1), (10, 1), (50, 3), (200, 10), (2000, 16)] {
            let (mut growth, now) = new(Bounds {
                round_trip: Duration::from_millis(milliseconds),
                ..LOCAL
            });
            let had = play(&mut growth, now, (1, 0.0), |_| 0);
            assert_eq!(*had.last().unwrap(), expected, "{milliseconds} ms: {had:?}");
        }
    }

    #[test]
    fn lanes_that_a_slow_link_does_not_need_are_given_up() {
        let (mut growth, now) = new(LONG);
        // A twentieth of a gigabit, whoever shares it.
        let had = play(&mut growth, now, (60, 0.0), |_| 6_000_000);
        assert!(had.starts_with(&[1, 10, 5]), "{had:?}");
        // What is tried beyond goes at once.
        assert_eq!(growth.lanes(), 5, "{had:?}");
        assert!(had[2..].iter().all(|&lanes| lanes <= 7), "{had:?}");
    }

    #[test]
    fn lanes_that_have_a_rate_each_stay_however_small_it_is() {
        let (mut growth, now) = new(LONG);
        let had = play(&mut growth, now, (60, 0.0), |lanes| {
            90_000 * u64::from(lanes)
        });
        assert!(had.starts_with(&[1, 10, 5, 10]), "{had:?}");
        assert_eq!(growth.lanes(), 16, "{had:?}");
    }

    #[test]
    fn a_fast_link_keeps_what_it_was_given() {
        let (mut growth, now) = new(LONG);
        let had = play(&mut growth, now, (10, 0.0), |lanes| {
            10_000_000 * u64::from(lanes.min(12))
        });
        assert!(had.iter().skip(1).all(|&lanes| lanes >= 10), "{had:?}");
    }

    #[test]
    fn long_round_trips_make_long_steps() {
        let (growth, _) = new(LONG);
        assert_eq!(growth.step, Duration::from_secs(2));
    }
}
