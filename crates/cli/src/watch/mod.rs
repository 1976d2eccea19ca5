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
mod streams;
mod tui;

use std::io::{self, IsTerminal as _};

use args::Watch;

use crate::report::{Exit, Failure};
use crate::ui::Ui;

pub(crate) fn run(ui: &Ui, args: &Watch) -> Result<Exit, Failure> {
    let view = &args.view;
    if view.demo {
        return demo::run(ui, args);
    }
    let mut source = input::open(args)?;
    let source = &mut *source;
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
    } else if io::stdout().is_terminal() && io::stdin().is_terminal() {
        tui::run(ui, args)
    } else {
        frames::run(ui, args, source)
    }
}
