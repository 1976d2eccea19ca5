//! packhorse: moves directory trees between machines (encrypted, verified, landing whole), and talks over
//! any socket with message boundaries.

mod args;
mod classic;
mod code;
mod completions;
mod demo;
mod events;
mod faults;
mod hex;
mod json;
mod ledger;
mod load;
mod pack;
mod partials;
mod progress;
mod receipt_output;
mod receipt_text;
mod recv;
mod report;
mod run;
mod runtime;
mod send;
mod sockopt;
mod talk;
mod terminal;
mod trace;
mod ui;
mod units;
mod verify;
mod watch;
mod watcher;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::main()
}
