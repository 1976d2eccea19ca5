//! `packhorse completions`: scripts for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;

pub(crate) fn run(ui: &Ui, shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "packhorse", &mut script);
    after_data(ui.raw_data(&script), Exit::Done)
}
