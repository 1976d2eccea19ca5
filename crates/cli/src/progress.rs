//! How far a transfer is, for a person: drawn on a terminal, or a plain line every few seconds.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use packhorse_transfer::Progress;

use crate::ui::{Ui, Volume};
use crate::units;

/// How often the terminal is drawn, a second.
const DRAWS: u8 = 8;

/// Without a terminal: no more than one line in this time.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The rate is that of the last seconds, so that it tells of now.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Shows progress in the way that suits where the talk goes.
pub(crate) struct Display {
    ui: Ui,
    view: View,
    pace: Pace,
}

enum View {
    Hidden,
    Drawn(Option<ProgressBar>),
    Lines { last: Duration },
}

impl Display {
    pub(crate) fn new(ui: &Ui) -> Self {
        let view = match (ui.volume(), ui.is_terminal()) {
            (Volume::Quiet, _) => View::Hidden,
            (_, true) => View::Drawn(None),
            (_, false) => View::Lines {
                last: Duration::ZERO,
            },
        };
        Self {
            ui: ui.clone(),
            view,
            pace: Pace::default(),
        }
    }

    pub(crate) fn update(&mut self, progress: &Progress) {
        self.pace.add(progress);
        match &mut self.view {
            View::Hidden => {}
            View::Drawn(bar) => {
                let bar = bar.get_or_insert_with(|| new_bar(&self.ui));
                draw(bar, progress, &self.pace);
            }
            View::Lines { last } => {
                if progress.elapsed.saturating_sub(*last) >= LINE_EVERY {
                    *last = progress.elapsed;
                    let (amounts, files) = (amounts(progress, &self.pace), files(progress));
                    self.ui.say(format_args!("{amounts}, {files}"));
                }
            }
        }
    }

    /// Clears the drawing, and is ready for another session.
    pub(crate) fn clear(&mut self) {
        self.pace = Pace::default();
        match &mut self.view {
            View::Hidden => {}
            View::Drawn(bar) => {
                if let Some(bar) = bar.take() {
                    self.ui.attach(None);
                    bar.finish_and_clear();
                }
            }
            View::Lines { last } => *last = Duration::ZERO,
        }
    }
}

fn new_bar(ui: &Ui) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(DRAWS));
    if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {prefix}\n{wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    ui.attach(Some(bar.clone()));
    bar
}

fn draw(bar: &ProgressBar, progress: &Progress, pace: &Pace) {
    // Of nothing, nothing is done yet: not a full bar.
    bar.set_length(progress.bytes_known.max(progress.bytes).max(1));
    bar.set_prefix(amounts(progress, pace));
    bar.set_message(match &progress.current {
        Some(path) => format!("{}: {path}", files(progress)),
        None => files(progress),
    });
    bar.set_position(progress.bytes);
}

/// `1.20 GB of 2.70 GB (44%), 310 MB/s, 5 s left`
fn amounts(progress: &Progress, pace: &Pace) -> String {
    let (done, known) = (progress.bytes, progress.bytes_known.max(progress.bytes));
    let rate = pace.rate();
    let speed = rate.map_or_else(|| "-".to_owned(), units::rate);
    if !progress.walked {
        let (done, known) = (units::bytes(done), units::bytes(known));
        return format!("{done} of {known} so far, {speed}, walking");
    }
    let percent = (u128::from(done) * 100).checked_div(u128::from(known));
    let percent = percent.unwrap_or(100);
    let left = match rate {
        Some(rate) if rate > 0 => {
            let left = Duration::from_secs((known - done).div_ceil(rate));
            format!(", {} left", units::remaining(left))
        }
        _ => String::new(),
    };
    let (done, known) = (units::bytes(done), units::bytes(known));
    format!("{done} of {known} ({percent}%), {speed}{left}")
}

/// `120 of 300 files`
fn files(progress: &Progress) -> String {
    let known = progress.files_known.max(progress.files);
    let so_far = if progress.walked { "" } else { " so far" };
    let known = units::counted(known, "file", "files");
    format!("{} of {known}{so_far}", units::count(progress.files))
}

/// Remembers a little of the past, to tell the rate of now. The session's own clock is all it knows.
#[derive(Default)]
struct Pace {
    samples: VecDeque<(Duration, u64)>,
}

impl Pace {
    fn add(&mut self, progress: &Progress) {
        let now = progress.elapsed;
        while let Some(&(then, _)) = self.samples.get(1)
            && now.saturating_sub(then) >= RATE_OVER
        {
            self.samples.pop_front();
        }
        // Not more than needed, however often progress comes.
        let last = self
            .samples
            .back()
            .map_or(Duration::ZERO, |(then, _)| *then);
        if self.samples.len() < 2 || now.saturating_sub(last) >= RATE_OVER / 50 {
            self.samples.push_back((now, progress.bytes));
        }
    }

    /// Bytes a second; `None` before there are two moments to compare.
    fn rate(&self) -> Option<u64> {
        let ((then, before), (now, after)) = (self.samples.front()?, self.samples.back()?);
        let time = now.checked_sub(*then).filter(|time| !time.is_zero())?;
        let bytes = u128::from(after.saturating_sub(*before));
        u64::try_from(bytes * 1_000_000_000 / time.as_nanos()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, bytes: u64) -> Progress {
        Progress {
            bytes,
            bytes_known: 10_000,
            files: 1,
            files_known: 3,
            walked: true,
            current: None,
            elapsed: Duration::from_secs(seconds),
        }
    }

    fn pace(points: &[(u64, u64)]) -> Pace {
        let mut pace = Pace::default();
        for &(seconds, bytes) in points {
            pace.add(&at(seconds, bytes));
        }
        pace
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        assert_eq!(pace(&[]).rate(), None);
        assert_eq!(pace(&[(1, 5)]).rate(), None);
        assert_eq!(pace(&[(0, 0), (2, 1000)]).rate(), Some(500));
        let slowed = pace(&[(0, 0), (1, 9000), (2, 9100), (6, 9500), (7, 9600)]);
        assert_eq!(slowed.rate(), Some(100));
        assert!(pace(&[(0, 0); 1000]).samples.len() < 10);
    }

    #[test]
    fn an_end_is_guessed_only_when_the_walk_is_over() {
        let pace = pace(&[(0, 0), (2, 1000)]);
        let mut progress = at(2, 1000);
        assert_eq!(
            amounts(&progress, &pace),
            "1.00 kB of 10.0 kB (10%), 500 B/s, 18 s left"
        );
        assert_eq!(files(&progress), "1 of 3 files");
        progress.walked = false;
        assert_eq!(
            amounts(&progress, &pace),
            "1.00 kB of 10.0 kB so far, 500 B/s, walking"
        );
        assert_eq!(files(&progress), "1 of 3 files so far");
    }

    #[test]
    fn nothing_to_send_is_all_of_it() {
        let nothing = Progress {
            walked: true,
            ..Progress::default()
        };
        assert_eq!(amounts(&nothing, &Pace::default()), "0 B of 0 B (100%), -");
    }
}
