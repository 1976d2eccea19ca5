//! `watch` on a terminal: streams, packets with their layers and bytes, ladders and messages, live or from a file.
//!
//! A thread reads ([`loader`]) into an index ([`store`]); this one draws ([`draw`]) what the keys ask for ([`app`]).
//! The terminal is given back as it was, however it ends ([`screen`]).

mod app;
mod conversations;
mod cursor;
mod detail;
mod draw;
mod help;
mod keyboard;
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
use keyboard::Keyboard;
use loader::{Loader, State};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use screen::Screen;
use store::{Keep, Store};

use super::args::Watch;
use super::input;
use crate::report::{Exit, Failure};
use crate::runtime;
use crate::ui::Ui;

/// How long is waited for a key until what has come meanwhile is drawn, in nanoseconds.
const TICK: i64 = 100_000_000;

/// A terminal that takes no output any more, or is gone, holds the program this long after a signal.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(ui: &Ui, args: &Watch) -> Result<Exit, Failure> {
    let cannot = |error: io::Error| Failure::local("cannot show it on the terminal", &error);
    let interrupt = runtime::readable_at_interrupt().map_err(cannot)?;
    runtime::end_at_the_latest(PATIENCE);
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
    let shown = Screen::open(ui.has_colors())
        .and_then(|mut screen| show(&mut screen, &mut app, &loader, &interrupt));
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
    let mut keyboard = Keyboard::default();
    let mut typed = [0; 1024];
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
        match wait(interrupt, if working { 0 } else { TICK })? {
            Waited::Over => return Ok(()),
            Waited::Typed => {}
            Waited::Nothing => {
                if screen.is_resized()? {
                    drawn = None;
                }
                continue;
            }
        }
        let len = rustix::io::read(io::stdin(), &mut typed)?;
        if len == 0 {
            return Ok(());
        }
        let loaded = loader.loaded();
        for key in keyboard.keys(typed.get(..len).unwrap_or_default()) {
            if app.key(key, &loaded) == Next::Quit {
                return Ok(());
            }
        }
        drawn = None;
    }
}

/// What was waited for.
enum Waited {
    Nothing,
    /// Keys.
    Typed,
    /// A signal asks to end, or the terminal is gone.
    Over,
}

/// Waits for keys, so many nanoseconds at most.
fn wait(interrupt: &OwnedFd, nanoseconds: i64) -> io::Result<Waited> {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    let terminal = io::stdin();
    let mut wanted = [
        PollFd::new(interrupt, PollFlags::IN),
        PollFd::new(&terminal, PollFlags::IN),
    ];
    match rustix::event::poll(&mut wanted, Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => return Ok(Waited::Nothing),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let [interrupt, terminal] = wanted.map(|wanted| wanted.revents());
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(if !interrupt.is_empty() || terminal.intersects(gone) {
        Waited::Over
    } else {
        Waited::Typed
    })
}
