//! A conversation as a ladder: two lifelines, and what went between them.
//!
//! [`Ladder::new`] decides what there is to tell of each segment, and folds long runs of plain ones. Drawing is
//! for others: [`text`](Ladder::text) for a terminal, [`svg`](Ladder::svg) and [`html`](Ladder::html).

mod html;
mod role;
mod svg;
mod text;

use std::net::SocketAddr;

pub use text::{Line, Tone};

use crate::Timestamp;
use crate::stream::{Direction, SegmentRecord, StreamId, Trace};

/// A run of plain segments at least this long is folded.
const FOLD: usize = 8;

/// So many of a run are shown before and behind the fold.
const SHOWN: usize = 2;

/// Whether long runs are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folding {
    /// Runs of plain segments become one step.
    Fold,
    /// Each segment is a step.
    Unfold,
}

/// A conversation, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// Which conversation it is.
    pub id: StreamId,
    /// The left lifeline.
    pub client: SocketAddr,
    /// The right lifeline.
    pub server: SocketAddr,
    /// When the first step was.
    pub begin: Timestamp,
    /// What happened, in the order of the capture.
    pub steps: Vec<Step>,
    /// Segments that were left out, because there were more than the limit.
    pub dropped: u64,
}

/// One rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A segment or datagram.
    Segment(Box<Rung>),
    /// Several plain ones.
    Folded(Fold),
}

/// A segment, and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The segment.
    pub segment: SegmentRecord,
    /// What it is, short: what is written on the arrow.
    pub label: String,
    /// What else there is to say, a sentence each.
    pub remarks: Vec<String>,
    /// Its part in opening or closing the stream: `open 1 of 3`, `close 2 of 4`.
    pub part: Option<String>,
    /// For what was sent again, the frame that carried it first.
    pub first_sent: Option<u64>,
}

/// A run of plain segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// When the first was captured.
    pub time: Timestamp,
    /// The frame of the first.
    pub first_frame: u64,
    /// The frame of the last.
    pub last_frame: u64,
    /// What the client sent.
    pub to_server: Run,
    /// What the server sent.
    pub to_client: Run,
}

/// One direction of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// Segments with data.
    pub segments: u64,
    /// Bytes of data.
    pub bytes: u64,
    /// Segments without data.
    pub acks: u64,
}

impl Ladder {
    /// Decides what to tell of a conversation.
    pub fn new(trace: &Trace, folding: Folding) -> Self {
        let rungs = role::rungs(trace);
        let steps = match folding {
            Folding::Unfold => rungs.into_iter().map(segment).collect(),
            Folding::Fold => fold(rungs),
        };
        Self {
            id: trace.id,
            client: trace.client,
            server: trace.server,
            begin: trace.segments.first().map(|s| s.time).unwrap_or_default(),
            steps,
            dropped: trace.dropped,
        }
    }
}

fn segment(rung: Rung) -> Step {
    Step::Segment(Box::new(rung))
}

impl Rung {
    /// Whether there is nothing to say but that it was there.
    fn is_plain(&self) -> bool {
        self.part.is_none() && self.remarks.is_empty()
    }
}

/// Folds each long run of plain rungs.
fn fold(rungs: Vec<Rung>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(rungs.len().min(1024));
    let mut run = Vec::new();
    for rung in rungs {
        if rung.is_plain() {
            run.push(rung);
            continue;
        }
        close(&mut run, &mut steps);
        steps.push(segment(rung));
    }
    close(&mut run, &mut steps);
    steps
}

/// Moves a run to the steps, folded where it is long.
fn close(run: &mut Vec<Rung>, steps: &mut Vec<Step>) {
    let hidden = match run.len() {
        len @ FOLD.. => SHOWN..len - SHOWN,
        len => len..len,
    };
    let folded = run.get(hidden.clone()).and_then(|rungs| {
        let (first, last) = (rungs.first()?, rungs.last()?);
        let mut fold = Fold {
            time: first.segment.time,
            first_frame: first.segment.frame,
            last_frame: last.segment.frame,
            to_server: Run::default(),
            to_client: Run::default(),
        };
        for rung in rungs {
            match rung.segment.direction {
                Direction::ToServer => fold.to_server.count(&rung.segment),
                Direction::ToClient => fold.to_client.count(&rung.segment),
            }
        }
        Some(fold)
    });
    for (index, rung) in run.drain(..).enumerate() {
        if !hidden.contains(&index) {
            steps.push(segment(rung));
        } else if index == hidden.start {
            steps.extend(folded.map(Step::Folded));
        }
    }
}

impl Run {
    fn count(&mut self, segment: &SegmentRecord) {
        if segment.len > 0 {
            self.segments += 1;
            self.bytes += u64::from(segment.len);
        } else {
            self.acks += 1;
        }
    }
}

impl Fold {
    /// What is folded, in words.
    pub fn label(&self) -> String {
        let mut parts = Vec::new();
        for (run, arrow) in [(self.to_server, "->"), (self.to_client, "<-")] {
            if run.segments > 0 {
                let (segments, bytes) = (run.segments, run.bytes);
                parts.push(format!("{arrow} {segments} with {bytes} bytes"));
            }
            if run.acks > 0 {
                parts.push(format!("{arrow} {} without data", run.acks));
            }
        }
        let (first, last) = (self.first_frame, self.last_frame);
        format!("frames {first} to {last}: {}", parts.join(", "))
    }
}
