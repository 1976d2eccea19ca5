//! Time, processor time and memory of other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

/// A program under `/usr/bin/time`, and where that reports to.
pub(crate) struct Measured {
    report: PathBuf,
}

/// What one process, with the children it waited for, used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) processor: Duration,
    /// Peak resident memory of the largest process, in bytes.
    pub(crate) peak_memory: u64,
}

impl Usage {
    /// This and another process at the same time.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            processor: self.processor + other.processor,
            peak_memory: self.peak_memory + other.peak_memory,
        }
    }
}

impl Measured {
    /// Wraps `program`; its report goes to `report`.
    pub(crate) fn new(program: impl AsRef<Path>, report: PathBuf) -> (Self, Command) {
        let mut command = Command::new("/usr/bin/time");
        command.args(["-f", "%U %S %M", "-o"]).arg(&report);
        command.arg(program.as_ref());
        (Self { report }, command)
    }

    /// What was used, once the program has ended.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let report = fs::read_to_string(&self.report).context("the report of /usr/bin/time")?;
        parse(&report).with_context(|| format!("not a report of /usr/bin/time: {report:?}"))
    }
}

/// The last line counts: one about the exit status may precede it.
fn parse(report: &str) -> Option<Usage> {
    let mut fields = report.lines().last()?.split(' ');
    let mut seconds = || Duration::try_from_secs_f64(fields.next()?.parse().ok()?).ok();
    let processor = seconds()? + seconds()?;
    let kibibytes: u64 = fields.next()?.parse().ok()?;
    Some(Usage {
        processor,
        peak_memory: kibibytes * 1024,
    })
}

/// Median and extremes of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` where nothing was measured.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_after_a_failure_is_read() {
        let report = "Command exited with non-zero status 3\n1.25 0.50 2048\n";
        let usage = parse(report).expect("a usage");
        assert_eq!(usage.processor, Duration::from_millis(1750));
        assert_eq!(usage.peak_memory, 2048 * 1024);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).expect("a spread");
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([7.0]).map(|spread| spread.median), Some(7.0));
        assert_eq!(Spread::of([]), None);
    }
}
