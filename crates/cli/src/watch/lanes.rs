//! `watch --lanes`.

use packhorse_watch::Source;
use packhorse_watch::stream::StreamId;

use super::args::Watch;
use crate::report::{Exit, Failure};
use crate::ui::Ui;

pub(super) fn run(
    _ui: &Ui,
    _args: &Watch,
    _source: &mut dyn Source,
    _stream: StreamId,
) -> Result<Exit, Failure> {
    Err(Failure::usage("not built yet", "another view"))
}
