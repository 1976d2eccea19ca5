//! `watch --lanes N --ledger FILE`: what was written, what was on the wire, what was read.

use std::io;
use std::path::Path;

use packhorse_watch::capture::Reader;
use packhorse_watch::lanes::{Lane, Lanes, Moment};
use packhorse_watch::ledger::{self, Call};
use packhorse_watch::stream::{StreamId, trace};
use packhorse_watch::{Error, Limits, Source};
use serde::Serialize;

use super::args::Watch;
use super::ladder::{direction, write};
use super::{follow, input};
use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::terminal;
use crate::ui::Ui;

pub(super) fn run(
    ui: &Ui,
    args: &Watch,
    source: &mut dyn Source,
    stream: StreamId,
) -> Result<Exit, Failure> {
    let limits = Limits::default();
    let mut calls = Vec::new();
    for file in &args.how.ledger {
        read_ledger(file, &limits, &mut calls)?;
    }
    let (trace, result) = trace(source, stream, &limits, |_| {});
    let Some(trace) = trace else {
        result.map_err(input::failure)?;
        return Err(follow::no_such_stream(stream));
    };
    let lanes = Lanes::new(&trace, &calls);
    if lanes
        .iter()
        .all(|lanes| lanes.writes == 0 && lanes.reads == 0)
    {
        ui.warn(format_args!(
            "no ledger has a call on stream {stream}, between {} and {}",
            trace.client, trace.server
        ));
    }
    let title = format!("Stream {stream}");
    show(ui, args, &title, &lanes)?;
    result.map_err(input::failure)?;
    Ok(Exit::Done)
}

/// Shows both directions, as far as there is something in them.
pub(super) fn show(ui: &Ui, args: &Watch, title: &str, lanes: &[Lanes]) -> Result<(), Failure> {
    let how = &args.how;
    let shown: Vec<&Lanes> = lanes.iter().filter(|lanes| !lanes.is_empty()).collect();
    if let (Some(file), Some(first)) = (&how.svg, shown.first()) {
        write(file, &first.svg(title))?;
    }
    if let Some(file) = &how.html {
        let pictures: Vec<_> = shown
            .iter()
            .map(|lanes| (title, lanes.svg(title)))
            .collect();
        write(file, &packhorse_watch::lanes::page(title, &pictures))?;
    }
    let drawn = how.svg.is_some() || how.html.is_some();
    let written = shown.iter().try_for_each(|lanes| match (how.json, drawn) {
        (true, _) => objects(ui, title, lanes),
        (false, true) => Ok(()),
        (false, false) => text(ui, lanes),
    });
    after_data(written, Exit::Done).map(drop)
}

fn read_ledger(file: &Path, limits: &Limits, calls: &mut Vec<Call>) -> Result<(), Failure> {
    let failed = |error| match error {
        Error::Read(error) => Failure::file("read", file, &error),
        error => {
            let mut failure = input::failure(error);
            failure.what = format!("ledger '{}': {}", crate::report::shown(file), failure.what);
            failure
        }
    };
    let mut reader = Reader::open(file, limits).map_err(failed)?;
    ledger::read(&mut reader, limits.trace, calls).map_err(failed)
}

fn text(ui: &Ui, lanes: &Lanes) -> io::Result<()> {
    for line in lanes.text(terminal::columns()) {
        ui.data(line)?;
    }
    for lesson in lanes.lessons() {
        ui.data(format_args!("  {lesson}"))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct MomentObject<'a> {
    v: u32,
    event: &'static str,
    title: &'a str,
    direction: &'static str,
    lane: &'static str,
    number: usize,
    time_ns: i64,
    begin: i64,
    end: i64,
    /// The first write whose bytes it has, and one behind the last.
    writes: [usize; 2],
    frame: Option<u64>,
    again: bool,
}

#[derive(Serialize)]
struct LessonObject<'a> {
    v: u32,
    event: &'static str,
    title: &'a str,
    direction: &'static str,
    writes: usize,
    segments: usize,
    reads: usize,
    lessons: Vec<String>,
}

fn objects(ui: &Ui, title: &str, lanes: &Lanes) -> io::Result<()> {
    for moment in &lanes.moments {
        ui.data(json::line(&moment_object(title, lanes, moment))?)?;
    }
    ui.data(json::line(&LessonObject {
        v: 1,
        event: "lanes",
        title,
        direction: direction(lanes.direction),
        writes: lanes.writes,
        segments: lanes.segments,
        reads: lanes.reads,
        lessons: lanes.lessons(),
    })?)
}

fn moment_object<'a>(title: &'a str, lanes: &Lanes, moment: &Moment) -> MomentObject<'a> {
    MomentObject {
        v: 1,
        event: "moment",
        title,
        direction: direction(lanes.direction),
        lane: match moment.lane {
            Lane::Written => "written",
            Lane::Wire => "wire",
            Lane::Read => "read",
        },
        number: moment.number,
        time_ns: moment.time.0,
        begin: moment.begin,
        end: moment.end,
        writes: [moment.writes.start, moment.writes.end],
        frame: moment.frame,
        again: moment.again,
    }
}
