//! `watch --demo`: why messages stick together, on loopback, with evidence.

mod capturing;
mod ground;
mod lesson;
mod reason;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_endpoint::{Call, CallObserver};
use packhorse_watch::lanes::{Gatherer, Lanes};
use packhorse_watch::stream::{Protocol, StreamId, Trace, trace};
use packhorse_watch::{Limits, ledger};
use serde::Serialize;

use self::capturing::{Captured, Capturing};
use self::ground::Ground;
use self::lesson::Lesson;
use self::reason::{Reason, reason};
use super::args::Watch;
use super::{lanes, pictures};
use crate::ledger::record;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;
use crate::{json, terminal};

/// Calls that are kept at most: far more than the lessons make.
const MOST_CALLS: usize = 100_000;

pub(super) fn run(ui: &Ui, args: &Watch) -> Result<Exit, Failure> {
    let ground = Ground::enter()?;
    let cannot = |error: io::Error| Failure::local("the demonstration cannot use loopback", &error);
    let listener = lesson::listen().map_err(cannot)?;
    let capturing = Capturing::begin(listener.local_addr().map_err(cannot)?)?;
    let book = Arc::new(Book::default());
    let calls = Arc::clone(&book) as Arc<dyn CallObserver>;
    let mut held = Vec::new();
    for &lesson in Lesson::all(ground) {
        let ends = lesson.run(ground, &listener, &calls).map_err(|error| {
            Failure::local(
                format!("the lesson '{}' came to nothing", lesson.name()),
                &error,
            )
        })?;
        held.push((lesson, ends));
    }
    let mut captured = capturing.end()?;
    let calls = book.close();
    let mut exit = Exit::Done;
    let drawn = pictures::wanted(&args.how);
    let mut drawings = Vec::new();
    for (number, (lesson, ends)) in (0..).zip(held) {
        let trace = trace_of(&mut captured, number)?;
        if (trace.client, trace.server) != ends {
            return Err(missed());
        }
        let lanes = lanes_of(&trace, &calls);
        let reason = reason(lesson, ground, &trace, &lanes.to_server);
        if !reason.shown {
            exit = Exit::SomeFailed;
        }
        let written = if args.how.json {
            object(ui, (lesson, ground), &lanes, &reason)
        } else if drawn {
            Ok(())
        } else {
            text(ui, number, lesson, &lanes, &reason)
        };
        after_data(written, Exit::Done)?;
        let title = format!("{}. {}", number + 1, lesson.title());
        drawings.extend(lanes::drawings(&title, &reason.text, &lanes));
    }
    lanes::draw(ui, &args.how, "Why messages stick together", &drawings)?;
    Ok(exit)
}

fn trace_of(captured: &mut Captured, number: u32) -> Result<Trace, Failure> {
    let id = StreamId {
        protocol: Protocol::Tcp,
        number,
    };
    let (trace, _) = trace(captured.rewind(), id, &Limits::default(), |_| {});
    trace.ok_or_else(missed)
}

fn missed() -> Failure {
    Failure {
        exit: Exit::Local,
        what: "the capture missed a part of what crossed loopback".to_owned(),
        consequence: None,
        hint: Some("run it again".to_owned()),
    }
}

fn lanes_of(trace: &Trace, calls: &[ledger::Call]) -> Lanes {
    let mut gatherer = Gatherer::new(trace, MOST_CALLS);
    for call in calls {
        gatherer.take(call.clone());
    }
    gatherer.finish(trace)
}

fn text(ui: &Ui, number: u32, lesson: Lesson, lanes: &Lanes, reason: &Reason) -> io::Result<()> {
    if number > 0 {
        ui.data("")?;
    }
    ui.data(format_args!("{}. {}", number + 1, lesson.title()))?;
    ui.data("")?;
    lanes::one_way(ui, lanes, &lanes.to_server)?;
    ui.data("")?;
    for line in paragraph(&reason.text, terminal::columns().min(100)) {
        ui.data(line)?;
    }
    Ok(())
}

/// A text in lines of at most so many columns.
fn paragraph(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[derive(Serialize)]
struct LessonObject<'a> {
    v: u32,
    event: &'static str,
    lesson: &'static str,
    title: &'static str,
    mtu: u32,
    /// Bytes of each message.
    messages: Vec<usize>,
    writes: usize,
    segments: usize,
    reads: usize,
    /// Segments that carried more than one write.
    glued: usize,
    /// Writes that needed more than one segment.
    split: usize,
    shown: bool,
    why: &'a str,
}

fn object(
    ui: &Ui,
    (lesson, ground): (Lesson, Ground),
    lanes: &Lanes,
    reason: &Reason,
) -> io::Result<()> {
    let way = &lanes.to_server;
    ui.data(json::line(&LessonObject {
        v: 1,
        event: "lesson",
        lesson: lesson.name(),
        title: lesson.title(),
        mtu: ground.mtu(),
        messages: lesson.messages(ground),
        writes: way.writes.len(),
        segments: way.segments.len(),
        reads: way.reads.len(),
        glued: way.glued(),
        split: way.split(),
        shown: reason.shown,
        why: &reason.text,
    })?)?;
    lanes::objects(ui, Some(lesson.name()), lanes)
}

/// The ledger of both sides, in memory.
#[derive(Debug, Default)]
struct Book(Mutex<Vec<ledger::Call>>);

impl Book {
    fn close(&self) -> Vec<ledger::Call> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CallObserver for Book {
    fn called(&self, call: &Call<'_>) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < MOST_CALLS {
            calls.push(record(call, std::process::id()));
        }
    }
}
