//! Three lanes as lines of text.

use std::io;

use packhorse_watch::Timestamp;
use packhorse_watch::lanes::{Lanes, Offsets, OneWay};
use packhorse_watch::stream::Direction;

use crate::terminal;
use crate::ui::Ui;
use crate::units::counted;

/// Columns of the time and the space behind it.
const TIME: usize = 11;

/// The narrowest a lane gets.
const NARROWEST: usize = 20;

/// The widest that is of use.
const WIDEST: usize = 40;

/// Shows all of it, a line an event.
pub(in crate::watch) fn lines(ui: &Ui, lanes: &Lanes) -> io::Result<()> {
    for way in [&lanes.to_server, &lanes.to_client] {
        if way.writes.is_empty() && way.segments.is_empty() && way.reads.is_empty() {
            continue;
        }
        one_way(ui, lanes, way)?;
    }
    if lanes.dropped > 0 {
        let more = counted(
            lanes.dropped,
            "more segment or call is",
            "more segments or calls are",
        );
        ui.data(format_args!("{more} not shown: the limit was reached"))?;
    }
    Ok(())
}

/// Shows one direction.
pub(in crate::watch) fn one_way(ui: &Ui, lanes: &Lanes, way: &OneWay) -> io::Result<()> {
    let (from, to) = match way.direction {
        Direction::ToServer => (lanes.client, lanes.server),
        Direction::ToClient => (lanes.server, lanes.client),
    };
    ui.data(format_args!("{from} -> {to}"))?;
    ui.data(format_args!("  {}", summary(way)))?;
    if way.offsets == Offsets::Unknown {
        ui.data("  the capture begins later than the stream: side by side by time alone")?;
    }
    let width = terminal::columns().saturating_sub(TIME) / 3;
    let width = width.clamp(NARROWEST, WIDEST);
    let head = format!(
        "{:>9}  {:width$}{:width$}read",
        "time", "written", "on the wire"
    );
    ui.data(head)?;
    let events = events(way);
    let start = start_of(lanes);
    for event in &events {
        let time = seconds(event.time.since(start));
        let indent = event.lane * width;
        for (row, part) in wrapped(&event.text, width.saturating_sub(1))
            .iter()
            .enumerate()
        {
            let time = if row == 0 { &*time } else { "" };
            ui.data(format_args!("{time:>9}  {:indent$}{part}", ""))?;
        }
    }
    if way.writes.iter().any(|write| write.outstanding > Some(0)) {
        ui.data("  out: bytes on their way and not acknowledged when the write was made")?;
    }
    Ok(())
}

/// When the first of anything happened: both directions count from there.
fn start_of(lanes: &Lanes) -> Timestamp {
    let first_of = |way: &OneWay| {
        let writes = way.writes.iter().map(|write| write.call.time);
        let segments = way.segments.iter().map(|segment| segment.record.time);
        let reads = way.reads.iter().map(|read| read.call.ended());
        writes.chain(segments).chain(reads).min()
    };
    let both = [&lanes.to_server, &lanes.to_client];
    both.into_iter()
        .filter_map(first_of)
        .min()
        .unwrap_or_default()
}

fn summary(way: &OneWay) -> String {
    let counted = |number: usize, one, many| counted(number as u64, one, many);
    format!(
        "{}, {}, {}; {} glued, {} split",
        counted(way.writes.len(), "write", "writes"),
        counted(way.segments.len(), "segment", "segments"),
        counted(way.reads.len(), "read", "reads"),
        counted(way.glued(), "segment", "segments"),
        counted(way.split(), "write", "writes"),
    )
}

/// Something that happened in a lane.
struct Event {
    time: Timestamp,
    /// 0, 1 or 2, from the left.
    lane: usize,
    text: String,
}

fn events(way: &OneWay) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, write) in way.writes.iter().enumerate() {
        let call = &write.call;
        let mut text = format!("w{number} {} B at {}", call.done(), call.offset);
        if call.done() < call.asked {
            text += &format!(" of {}", call.asked);
        }
        if let Some(bytes @ 1..) = write.outstanding {
            text += &format!(", {bytes} out");
        }
        events.push(Event {
            time: call.time,
            lane: 0,
            text,
        });
    }
    for segment in &way.segments {
        let record = &segment.record;
        let mut text = format!("#{} {} B at {}", record.frame, record.len, record.offset);
        if segment.is_resend() {
            text += " again";
        }
        if !segment.writes.is_empty() {
            text += &format!(" <- {}", run(segment.writes.clone(), 'w'));
        }
        events.push(Event {
            time: record.time,
            lane: 1,
            text,
        });
    }
    for (number, read) in way.reads.iter().enumerate() {
        let call = &read.call;
        let mut text = format!("r{number} {} B at {}", call.done(), call.offset);
        if !read.segments.is_empty() {
            let frames = read
                .segments
                .iter()
                .filter_map(|&place| way.segments.get(place));
            let frames: Vec<u64> = frames.map(|segment| segment.record.frame).collect();
            text += &format!(" <- {}", frames_text(&frames));
        }
        events.push(Event {
            time: call.ended(),
            lane: 2,
            text,
        });
    }
    events.sort_by_key(|event| (event.time, event.lane));
    events
}

/// `w3`, or `w3-w7`.
fn run(places: std::ops::Range<usize>, letter: char) -> String {
    let last = places.end.saturating_sub(1);
    match places.len() {
        0 | 1 => format!("{letter}{}", places.start),
        _ => format!("{letter}{}-{letter}{last}", places.start),
    }
}

/// `#4`, `#4 #6 #7`, or `#4 ... #19`.
fn frames_text(frames: &[u64]) -> String {
    match frames {
        [first, .., last] if frames.len() > 3 => format!("#{first} ... #{last}"),
        _ => {
            let named: Vec<String> = frames.iter().map(|frame| format!("#{frame}")).collect();
            named.join(" ")
        }
    }
}

/// Seconds with six digits after the point.
fn seconds(nanos: i64) -> String {
    let micros = nanos / 1000;
    format!("{}.{:06}", micros / 1_000_000, (micros % 1_000_000).abs())
}

/// A text on as many lines as it takes, cut between words; longer words are left whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match rows.last_mut() {
            Some(row) if row.len() + 1 + word.len() <= width => {
                row.push(' ');
                row.push_str(word);
            }
            Some(_) => rows.push(format!("  {word}")),
            None => rows.push(word.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_cells_go_on_below() {
        assert_eq!(wrapped("w1 6 B at 6", 21), ["w1 6 B at 6"]);
        let long = wrapped("w100 60000 B at 600000, 6 out", 21);
        assert_eq!(long, ["w100 60000 B at", "  600000, 6 out"]);
    }

    #[test]
    fn what_belongs_together_is_named_shortly() {
        assert_eq!(
            (run(3..4, 'w'), run(3..8, 'w')),
            ("w3".into(), "w3-w7".into())
        );
        assert_eq!(frames_text(&[4, 6, 7]), "#4 #6 #7");
        assert_eq!(frames_text(&[4, 6, 7, 19]), "#4 ... #19");
        assert_eq!(
            (seconds(1_000_042_999), seconds(-1500)),
            ("1.000042".into(), "0.000001".into())
        );
    }
}
