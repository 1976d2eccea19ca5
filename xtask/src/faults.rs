//! The fault matrix at full length, and the soak: tests of the end-to-end suite, driven by their environment.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::run::{run, top};
use crate::steps::end_to_end_runner;
use crate::tally::{Tally, run_counted};
use crate::tools;

/// How much of the matrix.
#[derive(Args)]
pub(crate) struct FaultsArgs {
    /// Kills of each side at random moments.
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u64,
    /// What everything random follows from; without it each test has one of its own, which it prints.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Only the cases of this module (clocks, kills, network, points, sources, storage), or one test: MODULE::TEST.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// What the tests are asked for, beside kills: in CI they do with less.
const AT_FULL_LENGTH: [(&str, &str); 5] = [
    ("PACKHORSE_SMALL_FILES", "20000"),
    ("PACKHORSE_CUTS", "1,10,60"),
    ("PACKHORSE_TIMES", "5"),
    ("PACKHORSE_RESETS", "40"),
    ("PACKHORSE_DAMAGES", "100"),
];

/// How long.
#[derive(Args)]
pub(crate) struct SoakArgs {
    /// Minutes.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) minutes: u64,
    /// What everything random follows from.
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
}

/// Runs the matrix, and prints a row for each case.
pub(crate) fn faults(args: &FaultsArgs) -> Result<()> {
    tools::ensure(tools::FOR_TESTS)?;
    let table = top().join("target/faults-table");
    fs::create_dir_all(top().join("target"))?;
    fs::write(&table, "")?;
    let mut command = long_runner(
        &format!("faults::{}", args.only.as_deref().unwrap_or("")),
        args.seed,
    );
    command
        .env("PACKHORSE_FAULTS_TABLE", &table)
        .env("PACKHORSE_KILLS", args.kills.to_string())
        .envs(AT_FULL_LENGTH);
    let mut tally = Tally::default();
    let result = run_counted(&mut command, &mut tally);
    print_table(&table)?;
    println!("{tally}");
    result
}

/// Runs the soak, which prints what it did.
pub(crate) fn soak(args: &SoakArgs) -> Result<()> {
    tools::ensure(tools::FOR_TESTS)?;
    let mut command = long_runner("soak::", args.seed);
    if tools::has_nextest() {
        command.arg("--no-capture");
    } else {
        command.arg("--nocapture");
    }
    command.env("PACKHORSE_SOAK_MINUTES", args.minutes.to_string());
    run(&mut command)
}

/// What runs these tests, those that only run when they are asked for among them.
fn long_runner(tests: &str, seed: Option<u64>) -> Command {
    let mut command = end_to_end_runner();
    if tools::has_nextest() {
        command.args(["--profile", "long", "--run-ignored", "all", tests]);
    } else {
        command.args([tests, "--", "--include-ignored"]);
    }
    if let Some(seed) = seed {
        command.env("PACKHORSE_TEST_SEED", seed.to_string());
    }
    command
}

/// Prints the rows that the cases wrote, in the order of their names.
fn print_table(table: &Path) -> Result<()> {
    let text = fs::read_to_string(table).context("the table of the cases")?;
    let mut rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    rows.sort();
    let heads = vec!["case", "what was done", "rounds", "sent twice", "result"];
    rows.insert(0, heads);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3].map(width);
    for row in &rows {
        if let [case, what, rounds, twice, result] = row[..] {
            let [a, b, c, d] = widths;
            println!("{case:a$}  {what:b$}  {rounds:>c$}  {twice:>d$}  {result}");
        }
    }
    Ok(())
}
