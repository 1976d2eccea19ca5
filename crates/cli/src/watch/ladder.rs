//! `watch --ladder N`: a stream as a ladder.

use std::io;

use anstyle::{AnsiColor, Effects, Style};
use packhorse_watch::Source;
use packhorse_watch::ladder::{Fold, Folding, Ladder, Rung, Step, Tone};
use packhorse_watch::stream::{Direction, Notes, StreamId};
use serde::Serialize;

use super::args::Watch;
use super::traced::Traced;
use super::{frames, pictures};
use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::terminal;
use crate::ui::{Ui, Volume};

pub(super) fn run(
    ui: &Ui,
    args: &Watch,
    source: &mut dyn Source,
    stream: StreamId,
) -> Result<Exit, Failure> {
    let Traced { trace, ended } = Traced::read(source, stream, |_| {})?;
    let folding = if ui.volume() > Volume::Normal {
        Folding::Unfold
    } else {
        Folding::Fold
    };
    let ladder = Ladder::new(&trace, folding);
    let how = &args.how;
    let drawn = pictures::wanted(how);
    if drawn {
        pictures::write(ui, how, &[ladder.svg()], &ladder.html())?;
    }
    let written = if how.json {
        steps(ui, &ladder)
    } else if drawn {
        Ok(())
    } else {
        lines(ui, &ladder)
    };
    after_data(written, Exit::Done)?;
    ended.map(|()| Exit::Done)
}

fn lines(ui: &Ui, ladder: &Ladder) -> io::Result<()> {
    for line in ladder.text(terminal::columns()) {
        let style = style(line.tone);
        ui.data(format_args!("{style}{}{style:#}", line.text))?;
    }
    Ok(())
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Title => Style::new().bold(),
        Tone::Control => AnsiColor::Blue.on_default(),
        Tone::Plain => Style::new(),
        Tone::Trouble => AnsiColor::Yellow.on_default(),
        Tone::Reset => AnsiColor::Red.on_default(),
        Tone::Faint => Style::new().effects(Effects::DIMMED),
    }
}

/// A line a step, for programs.
fn steps(ui: &Ui, ladder: &Ladder) -> io::Result<()> {
    for step in &ladder.steps {
        let line = match step {
            Step::Segment(rung) => json::line(&RungObject::new(rung))?,
            Step::Folded(fold) => json::line(&FoldObject::new(fold))?,
        };
        ui.data(line)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct RungObject<'a> {
    v: u32,
    event: &'static str,
    frame: u64,
    time_ns: i64,
    direction: &'static str,
    flags: String,
    seq: u32,
    ack: u32,
    window: u64,
    offset: i64,
    len: u32,
    acknowledged: i64,
    packet_len: u32,
    label: &'a str,
    part: Option<&'a str>,
    remarks: &'a [String],
    first_sent: Option<u64>,
    notes: Vec<&'static str>,
}

impl<'a> RungObject<'a> {
    fn new(rung: &'a Rung) -> Self {
        let segment = &rung.segment;
        Self {
            v: 1,
            event: "segment",
            frame: segment.frame,
            time_ns: segment.time.0,
            direction: direction(segment.direction),
            flags: frames::flags(segment.flags),
            seq: segment.sequence,
            ack: segment.acknowledgment,
            window: segment.window,
            offset: segment.offset,
            len: segment.len,
            acknowledged: segment.acknowledged,
            packet_len: segment.packet_len,
            label: &rung.label,
            part: rung.part.as_deref(),
            remarks: &rung.remarks,
            first_sent: rung.first_sent,
            notes: notes(segment.notes),
        }
    }
}

/// The name of a direction, for programs.
pub(super) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "to_server",
        Direction::ToClient => "to_client",
    }
}

/// The names of what TCP did, for programs.
pub(super) fn notes(notes: Notes) -> Vec<&'static str> {
    const NAMES: [(Notes, &str); 15] = [
        (Notes::RETRANSMISSION, "retransmission"),
        (Notes::FAST_RETRANSMISSION, "fast_retransmission"),
        (Notes::SPURIOUS_RETRANSMISSION, "spurious_retransmission"),
        (Notes::OUT_OF_ORDER, "out_of_order"),
        (Notes::DUPLICATE_ACK, "duplicate_ack"),
        (Notes::PREVIOUS_NOT_CAPTURED, "previous_not_captured"),
        (Notes::ACK_OF_UNSEEN, "ack_of_unseen"),
        (Notes::ZERO_WINDOW, "zero_window"),
        (Notes::ZERO_WINDOW_PROBE, "zero_window_probe"),
        (Notes::ZERO_WINDOW_PROBE_ACK, "zero_window_probe_ack"),
        (Notes::WINDOW_FULL, "window_full"),
        (Notes::WINDOW_UPDATE, "window_update"),
        (Notes::KEEP_ALIVE, "keep_alive"),
        (Notes::KEEP_ALIVE_ACK, "keep_alive_ack"),
        (Notes::PORTS_REUSED, "ports_reused"),
    ];
    let set = NAMES.iter().filter(|(note, _)| notes.contains(*note));
    set.map(|(_, name)| *name).collect()
}

#[derive(Serialize)]
struct FoldObject {
    v: u32,
    event: &'static str,
    first_frame: u64,
    last_frame: u64,
    time_ns: i64,
    label: String,
}

impl FoldObject {
    fn new(fold: &Fold) -> Self {
        Self {
            v: 1,
            event: "folded",
            first_frame: fold.first_frame,
            last_frame: fold.last_frame,
            time_ns: fold.time.0,
            label: fold.label(),
        }
    }
}
