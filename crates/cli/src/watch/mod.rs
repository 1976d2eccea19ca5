//! `watch`: what crossed the wire.

pub(crate) mod args;
mod demo;
mod follow;
mod frames;
mod input;
mod ladder;
mod lanes;
mod layers;
mod messages;
mod pictures;
mod streams;
mod traced;
mod tui;

use std::io::{self, IsTerminal as _};

use args::Watch;
use packhorse_watch::Source;

use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;

pub(crate) fn run(ui: &Ui, args: &Watch) -> Result<Exit, Failure> {
    if let Some((what, of)) = args.ignored() {
        let what = format!("{what} would be ignored here: it belongs to {of}");
        return Err(Failure::usage(what, "packhorse watch --help"));
    }
    if args.view.demo {
        return demo::run(ui, args);
    }
    if args.wants_terminal() && io::stdout().is_terminal() && io::stdin().is_terminal() {
        return tui::run(ui, args);
    }
    let mut input = input::open(args, None)?;
    if !input.waits() {
        ui.gather_data();
    }
    let result = show(ui, args, &mut input);
    let written = after_data(ui.flush_data(), Exit::Done);
    input.finish(ui)?;
    // What was asked for did not come out: that is more than damage in what it was made of.
    written?;
    result
}

fn show(ui: &Ui, args: &Watch, source: &mut dyn Source) -> Result<Exit, Failure> {
    let view = &args.view;
    if view.layers {
        layers::run(ui, args, source)
    } else if view.streams {
        streams::run(ui, args, source)
    } else if let Some(stream) = view.ladder {
        ladder::run(ui, args, source, stream)
    } else if let Some(stream) = view.follow {
        follow::run(ui, args, source, stream)
    } else if let Some(stream) = view.messages {
        messages::run(ui, args, source, stream)
    } else if let Some(stream) = view.lanes {
        lanes::run(ui, args, source, stream)
    } else {
        frames::run(ui, args, source)
    }
}
