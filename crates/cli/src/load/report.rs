//! What a run found, for a person and for a program.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use packhorse_endpoint::Endpoint;
use packhorse_frame::FrameSpec;
use serde::Serialize;

use super::args::Rate;
use super::tally::{Counts, Notes};
use crate::report::Exit;
use crate::units;

/// The version of the JSON object.
const VERSION: u32 = 1;

/// All there is to say of a run.
pub(crate) struct Report {
    pub(crate) endpoint: Endpoint,
    pub(crate) frame: FrameSpec,
    pub(crate) connections: u32,
    pub(crate) size: usize,
    pub(crate) rate: Rate,
    /// From the first message's time to the last's.
    pub(crate) sending: Duration,
    pub(crate) counts: Counts,
    pub(crate) lost: u64,
    /// Due, and not sent before the time was over.
    pub(crate) unsent: u64,
    pub(crate) broken: u64,
    pub(crate) notes: Notes,
    pub(crate) latency: Histogram<u64>,
    pub(crate) interrupted: bool,
}

#[derive(Serialize)]
struct Json {
    v: u32,
    endpoint: String,
    frame: String,
    connections: u32,
    size: usize,
    /// Messages a second that were asked for; null: as many as come back.
    rate: Option<f64>,
    seconds: f64,
    sent: u64,
    answered: u64,
    lost: u64,
    wrong: u64,
    unsent: u64,
    broken: u64,
    sent_per_second: f64,
    answered_per_second: f64,
    latency_us: Option<Latency>,
    first_wrong: Option<String>,
    first_broken: Option<String>,
    interrupted: bool,
}

#[derive(Serialize)]
struct Latency {
    /// Whether it counts from when each message was due.
    corrected: bool,
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

impl Report {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self {
                interrupted: true, ..
            } => Exit::Interrupted,
            _ if self.counts.wrong > 0 => Exit::Protocol,
            _ if self.lost > 0 || self.broken > 0 => Exit::Network,
            _ => Exit::Done,
        }
    }

    fn per_second(&self, count: u64) -> f64 {
        let seconds = self.sending.as_secs_f64().max(1e-9);
        #[allow(clippy::cast_precision_loss, reason = "a rate to a few digits")]
        let count = count as f64;
        count / seconds
    }

    pub(crate) fn json(&self) -> impl Serialize {
        let microseconds = |nanoseconds: u64| units_of(nanoseconds, 1e3);
        let quantile = |q: f64| microseconds(self.latency.value_at_quantile(q));
        let latency = (!self.latency.is_empty()).then(|| Latency {
            corrected: self.rate != Rate::Max,
            min: microseconds(self.latency.min()),
            mean: self.latency.mean() / 1e3,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: microseconds(self.latency.max()),
        });
        Json {
            v: VERSION,
            endpoint: self.endpoint.to_string(),
            frame: self.frame.to_string(),
            connections: self.connections,
            size: self.size,
            rate: match self.rate {
                Rate::PerSecond(rate) => Some(rate),
                Rate::Max => None,
            },
            seconds: self.sending.as_secs_f64(),
            sent: self.counts.sent,
            answered: self.counts.answered,
            lost: self.lost,
            wrong: self.counts.wrong,
            unsent: self.unsent,
            broken: self.broken,
            sent_per_second: self.per_second(self.counts.sent),
            answered_per_second: self.per_second(self.counts.answered),
            latency_us: latency,
            first_wrong: self.notes.wrong.clone(),
            first_broken: self.notes.broken.clone(),
            interrupted: self.interrupted,
        }
    }

    /// A table.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{} to {}, {}-byte messages in {}, for {:.1} s\n",
            units::counted(self.connections.into(), "connection", "connections"),
            self.endpoint,
            units::count(self.size as u64),
            self.frame,
            self.sending.as_secs_f64(),
        );
        let asked = match self.rate {
            Rate::PerSecond(rate) => format!(" of {rate}/s"),
            Rate::Max => String::new(),
        };
        let mut row = |name: &str, count: u64, more: &str| {
            let _ = writeln!(text, "{name:<9} {:>15}{more}", units::count(count));
        };
        let per_second = |count| format!("  {:.0}/s", self.per_second(count));
        row(
            "sent",
            self.counts.sent,
            &format!("{}{asked}", per_second(self.counts.sent)),
        );
        row(
            "answered",
            self.counts.answered,
            &per_second(self.counts.answered),
        );
        row("lost", self.lost, "");
        row("wrong", self.counts.wrong, "");
        if self.unsent > 0 {
            row("unsent", self.unsent, "  due, and not sent in time");
        }
        if self.broken > 0 {
            row("broken", self.broken, "  connections");
        }
        text.push_str(&self.latency_text());
        text
    }

    fn latency_text(&self) -> String {
        if self.latency.is_empty() {
            return "latency   no answer".to_owned();
        }
        let from = match self.rate {
            Rate::PerSecond(_) => "from when each message was due",
            Rate::Max => "from when each message was sent, one at a time",
        };
        let mut text = format!("latency   {from}");
        let quantile = |q: f64| self.latency.value_at_quantile(q);
        for (name, nanoseconds) in [
            ("p50", quantile(0.5)),
            ("p90", quantile(0.9)),
            ("p99", quantile(0.99)),
            ("p99.9", quantile(0.999)),
            ("max", self.latency.max()),
        ] {
            let _ = write!(text, "\n  {name:<7} {:>15}", time(nanoseconds));
        }
        text
    }
}

fn units_of(nanoseconds: u64, unit: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "three digits are known of it")]
    let nanoseconds = nanoseconds as f64;
    nanoseconds / unit
}

/// Three digits, as the histogram has them.
fn time(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        0..1_000_000 => (units_of(nanoseconds, 1e3), "µs"),
        1_000_000..1_000_000_000 => (units_of(nanoseconds, 1e6), "ms"),
        _ => (units_of(nanoseconds, 1e9), "s"),
    };
    match value {
        0.0..10.0 => format!("{value:.2} {unit}"),
        0.0..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(wrong: u64, lost: u64, broken: u64, interrupted: bool) -> Report {
        let mut latency = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        for milliseconds in 1..=1000 {
            latency.record(milliseconds * 1_000_000).unwrap();
        }
        Report {
            endpoint: "tcp://127.0.0.1:1".parse().unwrap(),
            frame: "u32be".parse().unwrap(),
            connections: 10_000,
            size: 64,
            rate: Rate::PerSecond(500.0),
            sending: Duration::from_secs(2),
            counts: Counts {
                sent: 1000,
                answered: 1000 - lost,
                wrong,
            },
            lost,
            unsent: 0,
            broken,
            notes: Notes::default(),
            latency,
            interrupted,
        }
    }

    #[test]
    fn the_exit_code_tells_the_worst() {
        for (report, code) in [
            (report(0, 0, 0, false), 0),
            (report(0, 1, 0, false), 3),
            (report(0, 0, 1, false), 3),
            (report(1, 1, 1, false), 6),
            (report(1, 0, 0, true), 130),
        ] {
            assert_eq!(report.exit().code(), code);
        }
    }

    #[test]
    fn a_person_gets_a_table() {
        let text = report(0, 0, 0, false).text();
        assert_eq!(
            text,
            "10,000 connections to tcp://127.0.0.1:1, 64-byte messages in u32be, for 2.0 s\n\
             sent                1,000  500/s of 500/s\n\
             answered            1,000  500/s\n\
             lost                    0\n\
             wrong                   0\n\
             latency   from when each message was due\n\
             \x20 p50              500 ms\n\
             \x20 p90              900 ms\n\
             \x20 p99              990 ms\n\
             \x20 p99.9            999 ms\n\
             \x20 max              1.00 s"
        );
    }

    #[test]
    fn times_have_three_digits() {
        for (nanoseconds, text) in [
            (999, "1.00 µs"),
            (45_678, "45.7 µs"),
            (123_456_789, "123 ms"),
            (2_000_000_000, "2.00 s"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }
}
