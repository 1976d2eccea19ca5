//! A ladder as lines of text.

use super::{Ladder, Rung, Step};
use crate::Timestamp;
use crate::stream::{Direction, Notes};

/// Columns before the left lifeline: a time in seconds.
const TIME: usize = 12;

/// The narrowest a ladder is drawn.
const NARROWEST: usize = 60;

/// A line, and how much it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
    /// The frame that it is about.
    pub frame: Option<u64>,
}

/// How a line is meant: what its colour should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Who is who.
    Title,
    /// Opening and closing.
    Control,
    /// All is well.
    Plain,
    /// Something had to be done twice, or waited.
    Trouble,
    /// Broken off.
    Reset,
    /// Said beside.
    Faint,
}

impl Ladder {
    /// Draws it in so many columns.
    pub fn text(&self, columns: usize) -> Vec<Line> {
        let room = columns.max(NARROWEST) - TIME - 2;
        let mut lines = vec![title(self, room)];
        for step in &self.steps {
            match step {
                Step::Segment(rung) => self.rung(rung, room, &mut lines),
                Step::Folded(fold) => {
                    let time = since(self.begin, fold.time);
                    let text = format!("{time}│{:^room$}│", fit(&fold.label(), room));
                    lines.push(line(text, Tone::Faint, Some(fold.first_frame)));
                }
            }
        }
        if self.dropped > 0 {
            let text = format!("and {} segments more, which are not drawn", self.dropped);
            lines.push(line(text, Tone::Faint, None));
        }
        lines
    }

    fn rung(&self, rung: &Rung, room: usize, lines: &mut Vec<Line>) {
        let (tone, frame) = (tone(rung), Some(rung.segment.frame));
        let time = since(self.begin, rung.segment.time);
        // Two strokes on either side, a point, and blanks about the label.
        let mut labels = wrapped(&rung.label, room - 7).into_iter();
        let label = labels.next().unwrap_or_default();
        let strokes = room - 3 - label.chars().count() - 2;
        let arrow = match rung.segment.direction {
            Direction::ToServer => format!("── {label} {}>", "─".repeat(strokes)),
            Direction::ToClient => format!("<{} {label} ──", "─".repeat(strokes)),
        };
        lines.push(line(format!("{time}│{arrow}│"), tone, frame));
        let (blank, inner) = (" ".repeat(TIME), room - 3);
        let part = rung.part.iter();
        let beside = labels
            .chain(part.cloned())
            .chain(rung.remarks.iter().cloned());
        for text in beside.flat_map(|text| wrapped(&text, room - 4)) {
            let text = match rung.segment.direction {
                Direction::ToServer => format!("{blank}│   {text:<inner$}│"),
                Direction::ToClient => format!("{blank}│{text:>inner$}   │"),
            };
            lines.push(line(text, tone, frame));
        }
    }
}

fn line(text: String, tone: Tone, frame: Option<u64>) -> Line {
    Line { text, tone, frame }
}

fn title(ladder: &Ladder, room: usize) -> Line {
    let client = ladder.client.to_string();
    let server = ladder.server.to_string();
    let between = (room + 2)
        .saturating_sub(client.len() + server.len())
        .max(2);
    let time = format!("{:>TIME$}", "seconds  ");
    line(
        format!("{time}{client}{:between$}{server}", ""),
        Tone::Title,
        None,
    )
}

pub(super) fn tone(rung: &Rung) -> Tone {
    let notes = rung.segment.notes;
    if rung.part.as_deref() == Some("reset") {
        Tone::Reset
    } else if !rung.remarks.is_empty() && notes != Notes::default() {
        Tone::Trouble
    } else if rung.part.is_some() {
        Tone::Control
    } else {
        Tone::Plain
    }
}

/// Seconds and microseconds, in the columns for them.
fn since(begin: Timestamp, time: Timestamp) -> String {
    let micros = time.since(begin) / 1000;
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let text = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    format!("{text:>0$}  ", TIME - 2)
}

/// As much of a text as there is room for.
fn fit(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A text in lines, broken between words where that can be.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in text.split(' ') {
        let longer = current.chars().count() + 1 + word.chars().count();
        if !current.is_empty() && longer > room {
            lines.push(std::mem::take(&mut current));
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current += &fit(word, room);
    }
    lines.push(current);
    lines
}
