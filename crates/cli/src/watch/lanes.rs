//! `watch --lanes N`: what was written, what crossed, and what was read, side by side.

mod objects;
mod text;

use std::path::Path;

use packhorse_watch::capture;
use packhorse_watch::lanes::{Gatherer, Lanes, page};
use packhorse_watch::ledger::Reader;
use packhorse_watch::stream::{StreamId, Trace, trace};
use packhorse_watch::{Error, Limits, Source};

use super::args::Watch;
use super::ladder::write;
use super::{follow, input};
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
    let (trace, result) = trace(source, stream, &Limits::default(), |_| {});
    let Some(trace) = trace else {
        result.map_err(input::failure)?;
        return Err(follow::no_such_stream(stream));
    };
    let lanes = gather(ui, &trace, &args.how.ledger)?;
    let pictures = pictures(&format!("Stream {stream}"), "", &lanes);
    let drawn = draw(args, &format!("Stream {stream}"), &pictures)?;
    let written = if args.how.json {
        objects(ui, None, &lanes)
    } else if drawn {
        Ok(())
    } else {
        lines(ui, &lanes)
    };
    after_data(written, Exit::Done)?;
    result.map_err(input::failure)?;
    Ok(Exit::Done)
}

/// Each direction that has something, with its title.
pub(super) fn pictures(title: &str, caption: &str, lanes: &Lanes) -> Vec<(String, String)> {
    let ways = [&lanes.to_server, &lanes.to_client].into_iter();
    ways.filter(|way| !way.segments.is_empty())
        .map(|way| {
            let svg = lanes.svg(way.direction, title, caption);
            (title.to_owned(), svg)
        })
        .collect()
}

/// Writes the pictures that were asked for: as SVG the first, as a page all. Whether there was any.
pub(super) fn draw(
    args: &Watch,
    title: &str,
    pictures: &[(String, String)],
) -> Result<bool, Failure> {
    let how = &args.how;
    if let (Some(file), Some((_, svg))) = (&how.svg, pictures.first()) {
        write(file, svg)?;
    }
    if let Some(file) = &how.html {
        write(file, &page(title, pictures))?;
    }
    Ok(how.svg.is_some() || how.html.is_some())
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
