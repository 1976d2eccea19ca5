//! The project's own tasks: `cargo xtask test` is what CI runs, `cargo xtask bench` measures.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to whoever runs it is this program's whole purpose"
)]

mod bench;
mod bench_echo;
mod bench_watch;
mod faults;
mod inetd;
mod instructions;
mod measure;
mod pictures;
mod run;
mod sshd;
mod steps;
mod tally;
mod tools;

use std::process::ExitCode;

use clap::Parser;

/// The project's own tasks.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Run everything CI runs, in order, until something fails.
    Test(steps::TestArgs),
    /// Measure packhorse beside others that move trees, over loopback, and print a table for each work set.
    Bench(bench::BenchArgs),
    /// Measure echo servers under load, packhorse's and others, and print a table.
    BenchEcho(bench_echo::BenchEchoArgs),
    /// Measure packhorse beside scp and rsync over long and lossy links, made between two namespaces.
    BenchNetwork(bench::network::BenchNetworkArgs),
    /// Measure how fast captures are read, beside tshark, and print a table.
    BenchWatch(bench_watch::BenchWatchArgs),
    /// Kill, cut, fill, damage: the whole matrix of faults through the real binary, and print a row for each case.
    Faults(faults::FaultsArgs),
    /// Run random sessions with random faults for a long time, and look that nothing leaks.
    Soak(faults::SoakArgs),
    /// Draw the pictures in the documents anew.
    Pictures,
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Test(args) => steps::test(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::BenchEcho(args) => bench_echo::bench_echo(&args),
        Task::BenchNetwork(args) => bench::network::bench_network(&args),
        Task::BenchWatch(args) => bench_watch::bench_watch(&args),
        Task::Faults(args) => faults::faults(&args),
        Task::Soak(args) => faults::soak(&args),
        Task::Pictures => pictures::pictures(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
