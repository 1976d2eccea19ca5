//! The receipt as both sides print it.

use std::time::Duration;

use packhorse_transfer::receipt_file::hex;
use packhorse_transfer::{Assurance, Receipt, StageTimes, limited_by, rate};

use crate::units;

/// One line each, the same on both sides.
pub(crate) fn lines(receipt: &Receipt) -> Vec<String> {
    let mut lines = vec![
        line("files", units::count(receipt.files)),
        line("directories", units::count(receipt.directories)),
        line("links", units::count(receipt.symlinks)),
        line("bytes", bytes(receipt.bytes)),
    ];
    if receipt.resumed > 0 {
        lines.push(line(
            "resumed",
            format!("{} were there already", bytes(receipt.resumed)),
        ));
    }
    if receipt.kept > 0 {
        lines.push(line(
            "kept",
            format!("{} that were there", units::count(receipt.kept)),
        ));
    }
    if receipt.failed > 0 {
        lines.push(line("failed", units::count(receipt.failed)));
    }
    lines.extend([
        line("durable", durable(receipt.assurance)),
        line("root", hex(&receipt.root)),
        line("elapsed", units::duration(receipt.elapsed)),
        line("rate", units::rate(rate(receipt))),
        line("lanes", format!("{} at most", receipt.lanes)),
        line("sender", stages(&receipt.sender)),
        line("receiver", stages(&receipt.receiver)),
    ]);
    let verdict = limited_by(receipt);
    lines.push(line("limited by", verdict.to_string()));
    if let Some(advice) = verdict.bottleneck.advice() {
        lines.push(line("to speed up", advice));
    }
    lines
}

fn durable(assurance: Assurance) -> &'static str {
    match (assurance.durable, assurance.reread) {
        (false, false) => "no: a power cut may take what was not written back yet",
        (false, true) => "its content is: it was read again; names may be lost in a power cut",
        (true, false) => "yes: on stable storage",
        (true, true) => "yes: on stable storage, and read again from there",
    }
}

fn line(name: &str, value: impl AsRef<str>) -> String {
    format!("  {name:<12} {}", value.as_ref())
}

fn bytes(count: u64) -> String {
    match count {
        0..1000 => units::count(count),
        _ => format!("{} ({})", units::count(count), units::bytes(count)),
    }
}

/// Where one side's time went: every stage that took any, with its share.
fn stages(times: &StageTimes) -> String {
    let stages = [
        ("read", times.read),
        ("hash", times.hash),
        ("encrypt", times.encrypt),
        ("network", times.network),
        ("write", times.write),
        ("waiting", times.idle),
    ];
    let all: Duration = stages.iter().map(|(_, time)| *time).sum();
    if all.is_zero() {
        return "not measured".to_owned();
    }
    let share = |time: Duration| (time.as_nanos() * 100 + all.as_nanos() / 2) / all.as_nanos();
    let shown = stages.iter().filter(|(_, time)| !time.is_zero());
    let texts =
        shown.map(|(name, time)| format!("{name} {} ({}%)", units::duration(*time), share(*time)));
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            files: 1234,
            directories: 56,
            symlinks: 7,
            bytes: 2_147_483_648,
            kept: 0,
            failed: 0,
            resumed: 0,
            assurance: Assurance::default(),
            root: [0xab; 32],
            elapsed: Duration::from_millis(2500),
            lanes: 2,
            sender: StageTimes {
                read: Duration::from_millis(1800),
                network: Duration::from_millis(600),
                ..StageTimes::default()
            },
            network: None,
            receiver: StageTimes::default(),
        }
    }

    #[test]
    fn says_all_of_it() {
        let expected = format!(
            "  files        1,234
  directories  56
  links        7
  bytes        2,147,483,648 (2.14 GB)
  durable      no: a power cut may take what was not written back yet
  root         {}
  elapsed      2.50 s
  rate         858 MB/s
  lanes        2 at most
  sender       read 1.80 s (75%), network 600 ms (25%)
  receiver     not measured
  limited by   source disk (75% of the time)
  to speed up  a faster disk at the source, or files that the page cache holds already",
            "ab".repeat(32)
        );
        assert_eq!(lines(&receipt()).join("\n"), expected);
    }

    #[test]
    fn what_did_not_arrive_is_a_line_of_its_own() {
        let mut receipt = receipt();
        (receipt.kept, receipt.failed) = (3, 4);
        let text = lines(&receipt).join("\n");
        assert!(
            text.contains("  kept         3 that were there\n  failed       4\n"),
            "{text}"
        );
    }
}
