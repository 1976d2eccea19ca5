//! `watch --lanes N`: what was written, what crossed, and what was read, side by side.

mod objects;
mod text;

use std::path::Path;

use packhorse_watch::capture;
use packhorse_watch::lanes::{Gatherer, Lanes, page};
use packhorse_watch::ledger::Reader;
use packhorse_watch::stream::{StreamId, Trace};
use packhorse_watch::{Error, Limits, Source};

use super::args::{How, Watch};
use super::traced::Traced;
use super::{input, pictures};
use crate::report::{Exit, Failure, after_data, shown};
use crate::ui::Ui;

pub(super) use objects::objects;
pub(super) use text::{lines, one_way};

pub(super) fn run(
    ui: &Ui,
    args: &Watch,
    source: &mut dyn Source,
    stream: StreamId,
) -> Result<Exit, Failure> {
    let Traced { trace, ended } = Traced::read(source, stream, |_| {})?;
    let lanes = gather(ui, &trace, &args.how.ledger)?;
    let title = format!("Stream {stream}");
    let drawn = draw(ui, &args.how, &title, &drawings(&title, "", &lanes))?;
    let written = if args.how.json {
        objects(ui, None, &lanes)
    } else if drawn {
        Ok(())
    } else {
        lines(ui, &lanes)
    };
    after_data(written, Exit::Done)?;
    ended.map(|()| Exit::Done)
}

/// Each direction that has something, with its title.
pub(super) fn drawings(title: &str, caption: &str, lanes: &Lanes) -> Vec<(String, String)> {
    let ways = [&lanes.to_server, &lanes.to_client].into_iter();
    ways.filter(|way| !way.segments.is_empty())
        .map(|way| {
            let svg = lanes.svg(way.direction, title, caption);
            (title.to_owned(), svg)
        })
        .collect()
}

/// Writes the pictures that were asked for, in files of their own and on a page together. Whether any were.
pub(super) fn draw(
    ui: &Ui,
    how: &How,
    title: &str,
    drawings: &[(String, String)],
) -> Result<bool, Failure> {
    let drawn = pictures::wanted(how);
    if drawn {
        let each: Vec<String> = drawings.iter().map(|(_, svg)| svg.clone()).collect();
        pictures::write(ui, how, &each, &page(title, drawings))?;
    }
    Ok(drawn)
}

/// Lines up a stream with the calls that ledgers have of it.
fn gather(ui: &Ui, trace: &Trace, ledgers: &[impl AsRef<Path>]) -> Result<Lanes, Failure> {
    let mut gatherer = Gatherer::new(trace, Limits::default().trace);
    for path in ledgers {
        let path = path.as_ref();
        if !read(ui, path, &mut gatherer)? {
            ui.warn(format_args!(
                "'{}' has no calls between {} and {}",
                shown(path),
                trace.client,
                trace.server
            ));
        }
    }
    Ok(gatherer.finish(trace))
}

/// Takes the calls of a ledger; whether there was one of the stream.
fn read(ui: &Ui, path: &Path, gatherer: &mut Gatherer) -> Result<bool, Failure> {
    let no_ledger = |failure: Failure| {
        let what = format!("'{}' is no ledger: {}", shown(path), failure.what);
        Failure { what, ..failure }
            .hint("name a file that --ledger of connect, listen, send or recv wrote")
    };
    let reader = capture::Reader::open(path, &Limits::default()).map_err(|error| match error {
        Error::Read(error) => Failure::file("read", path, &error),
        error => no_ledger(input::failure(error)),
    })?;
    let mut reader = Reader::new(reader);
    let mut found = false;
    loop {
        match reader.next_call() {
            Ok(Some(call)) => found |= gatherer.take(call),
            Ok(None) => break,
            Err(error @ Error::Damaged { .. }) if reader.calls() > 0 => {
                ui.warn(format_args!(
                    "the ledger '{}' is {error}; what is before that is shown",
                    shown(path)
                ));
                break;
            }
            Err(error) => return Err(no_ledger(input::failure(error))),
        }
    }
    if reader.is_ledger() {
        return Ok(found);
    }
    let what = "no interface of it is called 'packhorse ledger v1'";
    Err(no_ledger(Failure::usage(what, "")))
}
