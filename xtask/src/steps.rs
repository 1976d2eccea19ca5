//! Everything CI runs, in order.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::faults;
use crate::run::{cargo, run, succeeds, top};
use crate::tally::{Tally, run_counted};
use crate::tools;

/// What to run.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run this step alone.
    #[arg(long, value_name = "STEP")]
    only: Option<Step>,
    /// Fail where the advisory database cannot be reached, instead of saying so and going on.
    #[arg(long)]
    advisories: bool,
}

/// One thing that CI runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting, as rustfmt has it.
    Fmt,
    /// Lints, with warnings denied.
    Clippy,
    /// The documentation builds without a warning.
    Doc,
    /// Unit and property tests: those inside the crates.
    Unit,
    /// Integration and end-to-end tests: those beside the crates, through the built binary.
    EndToEnd,
    /// The examples in the documentation.
    Doctest,
    /// Two minutes of random sessions with random faults.
    Soak,
    /// Instruction counts of the inner loops against the baseline.
    Instructions,
    /// Licences, bans and sources of the dependencies, and advisories where they can be reached.
    Deny,
}

impl Step {
    /// As it is typed after `--only`.
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// What a run has to tell at its end.
#[derive(Default)]
struct Outcome {
    tally: Tally,
    /// Why a test could not show what it is for, here.
    notes: Vec<String>,
    times: Vec<(Step, Duration)>,
}

/// Runs the steps, and stops at the first that fails.
pub(crate) fn test(args: &TestArgs) -> Result<()> {
    let steps = match args.only {
        Some(step) => vec![step],
        None => Step::value_variants().to_vec(),
    };
    let mut outcome = Outcome::default();
    let mut result = Ok(());
    for step in steps {
        println!("== {}", step.name());
        let start = Instant::now();
        result = perform(step, args, &mut outcome);
        outcome.times.push((step, start.elapsed()));
        println!("== {}: {:.1} s", step.name(), start.elapsed().as_secs_f64());
        if result.is_err() {
            let name = step.name();
            result = result.context(format!(
                "step {name} failed; to run it alone: cargo xtask test --only {name}"
            ));
            break;
        }
    }
    outcome.print();
    result
}

impl Outcome {
    fn print(&self) {
        println!();
        for (step, time) in &self.times {
            println!("{:>12} {:7.1} s", step.name(), time.as_secs_f64());
        }
        for note in &self.notes {
            println!("not shown here: {note}");
        }
        if self.tally != Tally::default() {
            println!("{}", self.tally);
        }
    }
}

fn perform(step: Step, args: &TestArgs, outcome: &mut Outcome) -> Result<()> {
    match step {
        Step::Fmt => {
            tools::ensure_component("fmt", "rustfmt")?;
            run(&mut cargo(["fmt", "--all", "--check"]))
        }
        Step::Clippy => {
            tools::ensure_component("clippy", "clippy")?;
            // As it is built for users, and as it is built for tests.
            for features in [&[][..], &FOR_TESTS] {
                run(
                    cargo(["clippy", "--workspace", "--all-targets", "--locked"])
                        .args(features)
                        .args(["--", "-D", "warnings"]),
                )?;
            }
            Ok(())
        }
        Step::Doc => run(cargo(["doc", "--workspace", "--no-deps", "--locked"])
            .arg("--document-private-items")
            .env("RUSTDOCFLAGS", "-D warnings")),
        Step::Unit => run_counted(test_runner().args(["--lib", "--bins"]), &mut outcome.tally),
        Step::EndToEnd => end_to_end(outcome),
        Step::Doctest => run_counted(
            cargo(["test", "--workspace", "--locked", "--doc"]).args(FOR_TESTS),
            &mut outcome.tally,
        ),
        Step::Soak => faults::soak(&faults::SoakArgs {
            minutes: 2,
            seed: None,
        }),
        Step::Instructions => crate::instructions::instructions(false),
        Step::Deny => deny(args),
    }
}

/// What tests are built with: points at which a process dies (docs/faults.md).
const FOR_TESTS: [&str; 2] = ["--features", "packhorse/faults"];

/// cargo-nextest where it is installed, else `cargo test`: both know the arguments used here.
fn test_runner() -> Command {
    let mut command = if tools::has_nextest() {
        cargo(["nextest", "run"])
    } else {
        cargo(["test"])
    };
    command.args(["--workspace", "--locked", "--no-fail-fast"]);
    command.args(FOR_TESTS);
    command
}

/// The same, of the end-to-end tests alone.
pub(crate) fn end_to_end_runner() -> Command {
    let mut command = test_runner();
    command.args(["--test", "end_to_end"]);
    command
}

fn end_to_end(outcome: &mut Outcome) -> Result<()> {
    tools::ensure(tools::FOR_TESTS)?;
    // Tests that cannot show what they are for add a line here: who passes in silence proves nothing.
    let notes = top().join("target/tests-not-shown");
    fs::write(&notes, "")?;
    let mut command = test_runner();
    command
        .args(["--test", "*"])
        .env("PACKHORSE_TEST_NOTES", &notes);
    match tools::from_registry("b3sum") {
        Ok(b3sum) => _ = command.env("PACKHORSE_B3SUM", b3sum),
        Err(error) => println!("  {error:#}; tests do without it"),
    }
    let result = run_counted(&mut command, &mut outcome.tally);
    let written = fs::read_to_string(&notes).context("the notes of the tests")?;
    outcome.notes = written.lines().map(str::to_owned).collect();
    outcome.notes.sort();
    outcome.notes.dedup();
    result
}

fn deny(args: &TestArgs) -> Result<()> {
    let cargo_deny = tools::from_registry("cargo-deny")?;
    let check = |what: &[&str]| {
        run(Command::new(&cargo_deny)
            .current_dir(top())
            .args(["--workspace", "--locked", "check"])
            .args(what))
    };
    check(&["bans", "licenses", "sources"])?;
    if args.advisories || advisories_reachable() {
        return check(&["advisories"]);
    }
    println!("  the advisory database cannot be reached from here: advisories were not checked");
    Ok(())
}

fn advisories_reachable() -> bool {
    // The probe is git's own, so that proxies and certificates count as they will for the fetch.
    const DATABASE: &str = "https://github.com/RustSec/advisory-db";
    succeeds(
        Command::new("timeout")
            .args(["10", "git", "ls-remote", "--exit-code", DATABASE, "HEAD"])
            .env("GIT_TERMINAL_PROMPT", "0"),
    )
}
