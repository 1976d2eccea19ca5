//! `watch --messages N --frame SPEC`: which segments carried which message, and why.

use std::collections::HashSet;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use packhorse_transfer::Escaped;
use packhorse_watch::messages::{
    Cause, Collector, Counts, Evidence, Failure as Lost, Message, Messages, Shape,
};
use packhorse_watch::stream::{Direction, StreamId, Trace};
use packhorse_watch::{Limits, Source};
use serde::Serialize;

use super::args::Watch;
use super::ladder::direction;
use super::traced::Traced;
use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;
use crate::units::{count, counted};

pub(super) fn run(
    ui: &Ui,
    args: &Watch,
    source: &mut dyn Source,
    stream: StreamId,
) -> Result<Exit, Failure> {
    let spec = args.how.frame.unwrap_or_default();
    let mut collector = Collector::new(spec, stream.protocol, &Limits::default());
    let Traced { trace, ended } = Traced::read(source, stream, |delivered| {
        collector.add(&delivered);
    })?;
    let messages = collector.finish(&trace);
    let written = if args.how.json {
        objects(ui, &messages)
    } else {
        text(&trace, &messages, |line, _| ui.data(line))
    };
    after_data(written, Exit::Done)?;
    ended?;
    Ok(if messages.failures.is_empty() {
        Exit::Done
    } else {
        Exit::SomeFailed
    })
}

/// The messages, for a person: lines, and the frame that each is about.
pub(super) fn text(
    trace: &Trace,
    messages: &Messages,
    mut line: impl FnMut(String, Option<u64>) -> io::Result<()>,
) -> io::Result<()> {
    let sides = [
        (
            Direction::ToServer,
            &messages.to_server,
            trace.client,
            trace.server,
        ),
        (
            Direction::ToClient,
            &messages.to_client,
            trace.server,
            trace.client,
        ),
    ];
    for (direction, counts, from, to) in sides {
        let failures = messages.failures.iter();
        let failures: Vec<&Lost> = failures
            .filter(|lost| lost.direction == direction)
            .collect();
        if counts.segments == 0 && counts.messages == 0 && failures.is_empty() {
            continue;
        }
        line(format!("{from} -> {to}: {}", summary(counts)), None)?;
        for (what, causes) in [
            ("glued", &counts.glue_causes),
            ("cut", &counts.split_causes),
        ] {
            if !causes.is_empty() {
                line(format!("  {what}: {}", causes_text(causes)), None)?;
            }
        }
        let own = messages.messages.iter();
        let mut told = HashSet::new();
        for message in own.filter(|message| message.direction == direction) {
            message_text(message, &mut told, &mut line)?;
        }
        for lost in failures {
            line(format!("  at {}: {}", lost.offset, lost.what), None)?;
        }
    }
    Ok(())
}

fn summary(counts: &Counts) -> String {
    let mut text = format!(
        "{} in {}",
        counted(counts.messages, "message", "messages"),
        counted(counts.segments, "segment", "segments")
    );
    let shapes = [
        (counts.alone, "alone"),
        (counts.glued, "glued"),
        (counts.split, "split"),
        (counts.both, "glued and split"),
    ];
    for (number, shape) in shapes {
        if number > 0 {
            text += &format!(", {} {shape}", count(number));
        }
    }
    text
}

fn causes_text(causes: &[(Cause, u64)]) -> String {
    let told: Vec<String> = causes
        .iter()
        .map(|(cause, number)| format!("{} ({})", words(*cause), count(*number)))
        .collect();
    told.join(", ")
}

/// A cause, in words.
fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Nagle => "Nagle's algorithm: small writes waited for an ack",
        Cause::Mss => "a full segment (MSS)",
        Cause::Offload => "a super-frame (offload)",
        Cause::Repacked => "sent again in other pieces",
        Cause::Window => "the receiver's window",
        Cause::Unknown => "not shown by the capture",
    }
}

fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Alone => "alone",
        Shape::Glued => "glued",
        Shape::Split => "split",
        Shape::Both => "both",
    }
}

/// A message, and why it shares segments or is cut; what was `told` of a segment is not told again.
fn message_text<'a>(
    message: &'a Message,
    told: &mut HashSet<(&'static str, &'a str)>,
    line: &mut impl FnMut(String, Option<u64>) -> io::Result<()>,
) -> io::Result<()> {
    let mut frames: Vec<String> = message
        .carriers
        .iter()
        .map(|c| c.frame.to_string())
        .collect();
    let more = frames.len().saturating_sub(6);
    if more > 0 {
        frames.truncate(6);
        frames.push(format!("and {more} more"));
    }
    let preview = message.preview.get(..24).unwrap_or(&message.preview);
    let dots = if message.payload_len > preview.len() as u64 {
        "…"
    } else {
        ""
    };
    let account = format!(
        "  #{:<5} {}..{}  {} bytes  {}  frames {}  \"{}\"{dots}",
        message.number,
        message.begin,
        message.end,
        message.payload_len,
        shape(message.shape),
        frames.join(" "),
        Escaped(preview)
    );
    line(account, message.carriers.first().map(|c| c.frame))?;
    for (what, evidence) in [("glued", &message.glued), ("cut", &message.split)] {
        for found in evidence {
            if !told.insert((what, found.because.as_str())) {
                continue;
            }
            let (frame, cause) = (found.frame, words(found.cause));
            let because = &found.because;
            let account = format!("         {what} in frame {frame}: {cause}: {because}");
            line(account, Some(frame))?;
        }
    }
    Ok(())
}

fn objects(ui: &Ui, messages: &Messages) -> io::Result<()> {
    for message in &messages.messages {
        ui.data(json::line(&MessageObject::new(message))?)?;
    }
    for lost in &messages.failures {
        ui.data(json::line(&LostObject {
            v: 1,
            event: "lost",
            direction: direction(lost.direction),
            offset: lost.offset,
            what: &lost.what,
        })?)?;
    }
    ui.data(json::line(&SummaryObject {
        v: 1,
        event: "summary",
        to_server: CountsObject::new(&messages.to_server),
        to_client: CountsObject::new(&messages.to_client),
    })?)
}

#[derive(Serialize)]
struct MessageObject<'a> {
    v: u32,
    event: &'static str,
    direction: &'static str,
    number: u64,
    begin: i64,
    end: i64,
    payload_len: u64,
    /// How the payload begins.
    preview: String,
    shape: &'static str,
    segments: Vec<CarrierObject>,
    glued: Vec<EvidenceObject<'a>>,
    split: Vec<EvidenceObject<'a>>,
}

#[derive(Serialize)]
struct CarrierObject {
    frame: u64,
    begin: i64,
    end: i64,
}

#[derive(Serialize)]
struct EvidenceObject<'a> {
    frame: u64,
    cause: &'static str,
    because: &'a str,
}

impl<'a> MessageObject<'a> {
    fn new(message: &'a Message) -> Self {
        let evidence = |found: &'a [Evidence]| {
            let found = found.iter();
            found
                .map(|evidence| EvidenceObject {
                    frame: evidence.frame,
                    cause: evidence.cause.name(),
                    because: &evidence.because,
                })
                .collect()
        };
        let carriers = message.carriers.iter();
        Self {
            v: 1,
            event: "message",
            direction: direction(message.direction),
            number: message.number,
            begin: message.begin,
            end: message.end,
            payload_len: message.payload_len,
            preview: STANDARD.encode(&message.preview),
            shape: shape(message.shape),
            segments: carriers
                .map(|carrier| CarrierObject {
                    frame: carrier.frame,
                    begin: carrier.begin,
                    end: carrier.end,
                })
                .collect(),
            glued: evidence(&message.glued),
            split: evidence(&message.split),
        }
    }
}

#[derive(Serialize)]
struct LostObject<'a> {
    v: u32,
    event: &'static str,
    direction: &'static str,
    offset: i64,
    what: &'a str,
}

#[derive(Serialize)]
struct SummaryObject {
    v: u32,
    event: &'static str,
    to_server: CountsObject,
    to_client: CountsObject,
}

#[derive(Serialize)]
struct CountsObject {
    messages: u64,
    segments: u64,
    alone: u64,
    glued: u64,
    split: u64,
    both: u64,
    glue_causes: Vec<CauseObject>,
    split_causes: Vec<CauseObject>,
}

#[derive(Serialize)]
struct CauseObject {
    cause: &'static str,
    count: u64,
}

impl CountsObject {
    fn new(counts: &Counts) -> Self {
        let causes = |causes: &[(Cause, u64)]| {
            let causes = causes.iter();
            causes
                .map(|(cause, count)| CauseObject {
                    cause: cause.name(),
                    count: *count,
                })
                .collect()
        };
        Self {
            messages: counts.messages,
            segments: counts.segments,
            alone: counts.alone,
            glued: counts.glued,
            split: counts.split,
            both: counts.both,
            glue_causes: causes(&counts.glue_causes),
            split_causes: causes(&counts.split_causes),
        }
    }
}
