//! `watch`: demo.

use super::args::Watch;
use crate::report::{Exit, Failure};
use crate::ui::Ui;

pub(super) fn run(_ui: &Ui, _args: &Watch) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet", "another view"))
}
