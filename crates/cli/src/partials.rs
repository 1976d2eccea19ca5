//! `packhorse partials`.

use std::io;
use std::path::Path;
use std::time::Duration;

use packhorse_transfer::receipt_file::{PathFields, timestamp_text};
use packhorse_transfer::{
    Partial, PartialEvent, PartialFate, PartialKind, PartialsError, PartialsSummary,
    clean_partials, list_partials,
};
use serde::Serialize;

use crate::args::{Partials, PartialsVerb};
use crate::json;
use crate::report::{Exit, Failure, after_data, chain, shown};
use crate::ui::{Ui, Volume};
use crate::units;

/// The version of every line of `--json`.
const VERSION: u32 = 1;

pub(crate) fn run(ui: &Ui, args: &Partials) -> Result<Exit, Failure> {
    let (place, cleans) = match &args.verb {
        PartialsVerb::List(list) => (&list.place, false),
        PartialsVerb::Clean(clean) => (&clean.place, true),
    };
    let mut written = Ok(());
    let mut report = |event: PartialEvent| match event {
        PartialEvent::Found(partial) if written.is_ok() => {
            written = match place.json {
                true => json_line(ui, &partial),
                false => ui.data(text_line(&partial)),
            };
        }
        PartialEvent::Found(_) => {}
        PartialEvent::Failed { path, problem } => {
            ui.warn(format_args!("{path}: {}", chain(&problem)));
        }
        PartialEvent::Foreign(path) => ui.at(
            Volume::Verbose,
            format_args!("{path} is nothing of this user's alone, and stays"),
        ),
    };
    let summary = match &args.verb {
        PartialsVerb::List(_) => list_partials(&place.dir, &mut report),
        PartialsVerb::Clean(clean) => clean_partials(&place.dir, clean.older_than, &mut report),
    };
    let summary = summary.map_err(|error| failure(&error, &place.dir))?;
    if written.is_ok() {
        written = match (place.json, cleans) {
            (true, _) => json_summary(ui, &summary),
            (false, true) => ui.data(text_of_cleaning(&summary)),
            (false, false) => ui.data(text_of_listing(&summary)),
        };
    }
    let exit = match summary.failed {
        0 => Exit::Done,
        _ => Exit::SomeFailed,
    };
    after_data(written, exit)
}

fn failure(error: &PartialsError, dir: &Path) -> Failure {
    Failure::local(format!("cannot look into '{}'", shown(dir)), error)
}

/// One thing as a person reads it, its path last: that alone has no bounds.
fn text_line(partial: &Partial) -> String {
    let fate = match partial.fate {
        PartialFate::InUse => "in use",
        PartialFate::Removed => "removed",
        PartialFate::Young => "kept",
        _ => "left",
    };
    let (what, path) = match &partial.what {
        PartialKind::File { path, held, size } => {
            let percent = percent(*held, *size);
            let (held, size) = (units::bytes(*held), units::bytes(*size));
            (format!("{held:>7} of {size:>7}  {percent:>3}%"), path)
        }
        PartialKind::Roll { files, all } => {
            let more = if *all { "" } else { " or more" };
            let files = units::counted(*files, "complete file", "complete files");
            (format!("roll of {files}{more}"), &partial.at)
        }
        PartialKind::Orphan => ("part without a journal".to_owned(), &partial.at),
        PartialKind::Link => ("link without its name".to_owned(), &partial.at),
        _ => ("unreadable journal".to_owned(), &partial.at),
    };
    let (disk, age) = (units::bytes(partial.disk), age(partial.age));
    format!("{fate:<7}  {what:<28}  {disk:>7} on disk  {age:<15}  {path}")
}

fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX).min(100)
}

fn age(age: Option<Duration>) -> String {
    let Some(seconds) = age.map(|age| age.as_secs()) else {
        return "in the future".to_owned();
    };
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", units::count(seconds / 86_400)),
    }
}

fn text_of_listing(summary: &PartialsSummary) -> String {
    if summary.parts + summary.rolls == 0 {
        return format!(
            "Nothing was left by sessions that were ended{}",
            rest(summary)
        );
    }
    let mut text = format!(
        "{}, {} on disk",
        things(summary.parts, summary.rolls),
        units::bytes(summary.disk)
    );
    if summary.in_use > 0 {
        text += &format!("; {} in use", units::count(summary.in_use));
    }
    text + &rest(summary)
}

fn text_of_cleaning(summary: &PartialsSummary) -> String {
    let (parts, rolls) = (summary.removed_parts, summary.removed_rolls);
    let mut text = match parts + rolls {
        0 => "Nothing removed".to_owned(),
        _ => format!(
            "Removed {}: {} on disk",
            things(parts, rolls),
            units::bytes(summary.freed)
        ),
    };
    if summary.in_use > 0 {
        text += &format!("; {} in use and kept", units::count(summary.in_use));
    }
    let young = (summary.parts + summary.rolls).saturating_sub(parts + rolls + summary.in_use);
    if young > 0 {
        text += &format!("; {} not old enough", units::count(young));
    }
    text + &rest(summary)
}

fn things(parts: u64, rolls: u64) -> String {
    let parts_text = units::counted(parts, "partial file", "partial files");
    let rolls_text = units::counted(rolls, "roll", "rolls");
    match (parts, rolls) {
        (_, 0) => parts_text,
        (0, _) => rolls_text,
        _ => format!("{parts_text} and {rolls_text}"),
    }
}

/// What was found besides, behind what a summary says first.
fn rest(summary: &PartialsSummary) -> String {
    let mut text = String::new();
    if summary.foreign > 0 {
        text += &format!("; {} not this user's", units::count(summary.foreign));
    }
    if summary.failed > 0 {
        text += &format!("; {} failed", units::count(summary.failed));
    }
    text
}

#[derive(Serialize)]
struct PartialLine<'a> {
    v: u32,
    partial: &'static str,
    /// The path that the file is to have; for what is no part of a known file, there is none.
    #[serde(flatten)]
    path: Option<PathFields<'a>>,
    at: PathFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    disk: u64,
    written: String,
    fate: &'static str,
}

fn json_line(ui: &Ui, partial: &Partial) -> io::Result<()> {
    ui.data(json_text(partial)?)
}

fn json_text(partial: &Partial) -> io::Result<String> {
    let mut line = PartialLine {
        v: VERSION,
        partial: "unknown",
        path: None,
        at: PathFields::of(&partial.at),
        held: None,
        size: None,
        files: None,
        all: None,
        disk: partial.disk,
        written: timestamp_text(partial.written),
        fate: match partial.fate {
            PartialFate::InUse => "in_use",
            PartialFate::Removed => "removed",
            PartialFate::Young => "kept",
            _ => "left",
        },
    };
    match &partial.what {
        PartialKind::File { path, held, size } => {
            line.partial = "file";
            line.path = Some(PathFields::of(path));
            (line.held, line.size) = (Some(*held), Some(*size));
        }
        PartialKind::Roll { files, all } => {
            line.partial = "roll";
            (line.files, line.all) = (Some(*files), Some(*all));
        }
        PartialKind::Orphan => line.partial = "orphan",
        PartialKind::Link => line.partial = "link",
        _ => {}
    }
    json::line(&line)
}

#[derive(Serialize)]
struct SummaryLine {
    v: u32,
    summary: SummaryFields,
}

#[derive(Serialize)]
struct SummaryFields {
    parts: u64,
    rolls: u64,
    disk: u64,
    in_use: u64,
    removed_parts: u64,
    removed_rolls: u64,
    freed: u64,
    foreign: u64,
    failed: u64,
}

fn json_summary(ui: &Ui, summary: &PartialsSummary) -> io::Result<()> {
    let &PartialsSummary {
        parts,
        rolls,
        disk,
        in_use,
        removed_parts,
        removed_rolls,
        freed,
        foreign,
        failed,
    } = summary;
    let summary = SummaryFields {
        parts,
        rolls,
        disk,
        in_use,
        removed_parts,
        removed_rolls,
        freed,
        foreign,
        failed,
    };
    ui.data(json::line(&SummaryLine {
        v: VERSION,
        summary,
    })?)
}

#[cfg(test)]
mod tests {
    use packhorse_transfer::{RelativePath, Timestamp};

    use super::*;

    fn left(what: PartialKind) -> Partial {
        Partial {
            at: RelativePath::parse(b".packhorse-0123456789abcdef.journal").unwrap(),
            what,
            disk: 4096,
            written: Timestamp::new(7, 5).unwrap(),
            age: Some(Duration::from_secs(7200)),
            fate: PartialFate::Left,
        }
    }

    #[test]
    fn what_was_left_is_told_in_text_and_json() {
        let file = left(PartialKind::File {
            path: RelativePath::parse(b"a/\x1b").unwrap(),
            held: 250,
            size: 1000,
        });
        let text = text_line(&file);
        assert!(text.contains(" 25%") && text.contains("4.09 kB on disk"));
        assert!(text.ends_with("2 h ago          a/\\u{1b}"), "{text}");
        assert_eq!(
            json_text(&file).unwrap(),
            r#"{"v":1,"partial":"file","path":"a/\u001b","at":{"path":".packhorse-0123456789abcdef.journal"},"held":250,"size":1000,"disk":4096,"written":"7.000000005","fate":"left"}"#
        );
        let orphan = text_line(&left(PartialKind::Orphan));
        // All paths begin in one column.
        assert_eq!(
            text.find("a/\\u"),
            orphan.find(".packhorse-"),
            "{text}\n{orphan}"
        );
    }

    #[test]
    fn shares_and_ages_of_any_size_have_words() {
        assert_eq!((percent(0, 0), percent(999, 1000)), (0, 99));
        assert_eq!(
            (percent(u64::MAX, u64::MAX), percent(u64::MAX, 1)),
            (100, 100)
        );
        for (seconds, text) in [
            (Some(0), "0 s ago"),
            (Some(3599), "59 min ago"),
            (Some(172_799), "47 h ago"),
            (Some(172_800), "2 days ago"),
            (None, "in the future"),
        ] {
            assert_eq!(age(seconds.map(Duration::from_secs)), text);
        }
    }
}
