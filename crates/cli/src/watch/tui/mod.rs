//! `watch` on a terminal: streams, packets with their layers and bytes, ladders and messages, live or from a file.
//!
//! A thread reads ([`loader`]) into an index ([`store`]); this one draws ([`draw`]) what the keys ask for ([`app`]).
//! The terminal is given back as it was, however it ends ([`screen`]).

mod app;
mod conversations;
mod cursor;
mod detail;
mod draw;
mod keys;
mod loader;
mod packets;
mod pages;
mod prompt;
mod screen;
mod store;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use app::{App, Next};
use loader::{Loader, State};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec};
use screen::Screen;
use store::{Keep, Store};

use super::args::Watch;
use super::input;
use crate::report::{Exit, Failure};
use crate::runtime;
use crate::ui::Ui;

/// How long is waited for a key until what has come meanwhile is drawn.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(ui: &Ui, args: &Watch) -> Result<Exit, Failure> {
    let cannot = |error: io::Error| Failure::local("cannot show it on the terminal", &error);
    let interrupt = runtime::readable_at_interrupt().map_err(cannot)?;
    let (stop, running) = rustix::pipe::pipe().map_err(|error| cannot(error.into()))?;
    let input = input::open(args, Some(stop))?;
    let live = args.live.interface.as_deref();
    let source = match (live, &args.file) {
        (Some(interface), _) => interface.to_owned(),
        (None, Some(file)) => file.display().to_string(),
        (None, None) => String::new(),
    };
    let keep = if live.is_some() {
        Keep::Last
    } else {
        Keep::First
    };
    let store = Store::new(input.reread(), keep);
    let mut app = App::new(source, live.is_some(), args.how.frame);
    let loader = Loader::start(input, store).map_err(cannot)?;
    let shown =
        Screen::open().and_then(|mut screen| show(&mut screen, &mut app, &loader, &interrupt));
    drop(running);
    shown.map_err(cannot)?;
    // A pipe that nobody writes to may never end; what it would have given is not asked for any more.
    if live.is_none() && !loader.has_ended() {
        return Ok(Exit::Done);
    }
    match loader.join() {
        (Some(input), state) => {
            input.finish(ui)?;
            match state {
                State::Failed(error) => Err(input::failure(error)),
                _ => Ok(Exit::Done),
            }
        }
        (None, _) => Err(Failure::local(
            "cannot go on",
            &io::Error::other("reading broke off"),
        )),
    }
}

/// Draws, and does what keys say, until it is over.
fn show(
    screen: &mut Screen,
    app: &mut App,
    loader: &Loader,
    interrupt: &OwnedFd,
) -> io::Result<()> {
    let mut drawn = None;
    loop {
        let mut working = false;
        {
            let loaded = loader.loaded();
            working |= app.work(&loaded);
            let now = (loaded.frames, loader.has_ended());
            if working || drawn != Some(now) {
                screen.draw(|drawing| draw::draw(drawing, app, &loaded))?;
                drawn = Some(now);
            }
        }
        if is_readable(interrupt) {
            return Ok(());
        }
        let patience = if working { Duration::ZERO } else { TICK };
        if !event::poll(patience)? {
            continue;
        }
        // All that has come is done before it is drawn.
        let loaded = loader.loaded();
        while event::poll(Duration::ZERO)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if app.key(key, &loaded) == Next::Quit {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        drawn = None;
    }
}

/// Whether a signal asks to end.
fn is_readable(interrupt: &OwnedFd) -> bool {
    let mut wanted = [PollFd::new(interrupt, PollFlags::IN)];
    rustix::event::poll(&mut wanted, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
