//! Counting tests from what the test runners print.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::run::describe;

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Runs a test runner, passes on what it prints, and adds what it counted to `total`.
pub(crate) fn run_counted(command: &mut Command, total: &mut Tally) -> Result<()> {
    println!("  $ {}", describe(command));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|s| Box::new(s) as _),
        child.stderr.take().map(|s| Box::new(s) as _),
    ];
    let readers =
        streams.map(|stream| thread::spawn(move || stream.map_or_else(Tally::default, pass_on)));
    for reader in readers {
        *total += reader.join().expect("reading lines does not panic");
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the test runner ended with {status}");
    }
    Ok(())
}

fn pass_on(stream: impl Read) -> Tally {
    let mut total = Tally::default();
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(tally) = parse(&line) {
            total += tally;
        }
    }
    total
}

/// Reads the closing line of cargo-nextest or of the standard test harness. Where the latter is indented, the former shows
/// what a failed test printed, which it counts itself.
fn parse(line: &str) -> Option<Tally> {
    let counts = if line.trim_start().starts_with("Summary [") {
        line.split_once(" run: ")?.1
    } else {
        line.strip_prefix("test result: ")?.split_once(". ")?.1
    };
    let mut tally = Tally::default();
    for part in without_parentheses(counts).split([',', ';']) {
        let Some((number, what)) = part.trim().split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else {
            continue;
        };
        match what.trim() {
            "passed" => tally.passed += number,
            "skipped" | "ignored" => tally.skipped += number,
            "failed" | "exec failed" | "timed out" => tally.failed += number,
            _ => {}
        }
    }
    Some(tally)
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0;
    text.chars()
        .filter(|&c| {
            depth += i32::from(c == '(');
            let keep = depth == 0;
            depth -= i32::from(c == ')');
            keep
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Option<Tally> {
        Some(Tally {
            passed,
            failed,
            skipped,
        })
    }

    #[test]
    fn nextest_summaries_are_counted() {
        let line = "     Summary [  90.002s] 6 tests run: 4 passed (1 slow, 1 leaky), 1 failed, 1 timed out, 19 skipped";
        assert_eq!(parse(line), tally(4, 2, 19));
        let line = "     Summary [   0.002s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(parse(line), tally(1, 0, 0));
        let line = "     Summary [   0.1s] 3/9 tests run: 2 passed, 1 exec failed, 0 skipped";
        assert_eq!(parse(line), tally(2, 1, 0));
    }

    #[test]
    fn harness_results_are_counted() {
        let line = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.00s";
        assert_eq!(parse(line), tally(3, 1, 2));
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(
            parse("        PASS [   0.005s] nextest-tests tests::passed"),
            None
        );
        assert_eq!(parse("4 tests run: 4 passed"), None);
        let shown = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 473 filtered out; finished in 1.35s";
        assert_eq!(parse(shown), None);
    }
}
