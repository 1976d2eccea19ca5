//! `packhorse verify`.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use packhorse_transfer::receipt_file::{PathFields, timestamp_text};
use packhorse_transfer::{Difference, Differs, Mode, VerifyError, VerifySummary};
use serde::Serialize;

use crate::args::Verify;
use crate::json;
use crate::report::{Exit, Failure, after_data, chain, shown};
use crate::ui::{Ui, Volume};
use crate::units;

/// The version of every line of `--json`.
const VERSION: u32 = 1;

pub(crate) fn run(ui: &Ui, args: &Verify) -> Result<Exit, Failure> {
    let file = open(&args.receipt)?;
    let mut written = Ok(());
    let mut report = |difference: Difference| {
        let wanted = difference.what != Differs::Extra || ui.volume() >= Volume::Verbose;
        if wanted && written.is_ok() {
            written = match args.json {
                true => json_line(ui, &difference),
                false => ui.data(text_line(&difference)),
            };
        }
    };
    let mut file = BufReader::new(file);
    let summary = packhorse_transfer::verify(&args.dir, &mut file, &mut report)
        .map_err(|error| failure(&error, &args.dir, &args.receipt))?;
    if args.json && written.is_ok() {
        written = json_summary(ui, &summary);
    }
    let same = summary.is_same();
    show_summary(ui, &summary);
    after_data(written, if same { Exit::Done } else { Exit::SomeFailed })
}

/// Opens the receipt. A named pipe that nobody writes into would be waited for without end.
fn open(receipt: &Path) -> Result<File, Failure> {
    let failed = |error| Failure::file("open the receipt", receipt, &error);
    let found = fs::metadata(receipt).map_err(failed)?;
    if !found.is_file() && !is_handed_over(receipt) {
        let what = format!("'{}' is not a regular file", shown(receipt));
        let hint = "name a file that --receipt wrote, or pipe one in and name /dev/stdin";
        return Err(Failure::usage(what, hint));
    }
    File::open(receipt).map_err(failed)
}

/// Whether it names what whoever started this process has opened for it: standard input, or what a shell puts in the
/// place of `<(COMMAND)`.
fn is_handed_over(receipt: &Path) -> bool {
    let places = ["/dev/fd", "/dev/stdin", "/proc/self/fd"];
    places.iter().any(|place| receipt.starts_with(place))
}

/// Says what a verification found, in one line.
pub(crate) fn show_summary(ui: &Ui, summary: &VerifySummary) {
    let same = units::counted(summary.same, "entry is", "entries are");
    let bytes = units::bytes(summary.bytes);
    if summary.is_same() {
        ui.say(format_args!(
            "Nothing differs: {same} as received ({bytes} read again)"
        ));
    } else {
        let (different, missing) = (
            units::count(summary.different),
            units::count(summary.missing),
        );
        ui.say(format_args!(
            "{different} differ, {missing} missing; {same} as received"
        ));
    }
    if summary.extra > 0 {
        let extra = units::counted(summary.extra, "entry", "entries");
        ui.at(Volume::Verbose, format_args!("{extra} not in the receipt"));
    }
}

/// What an error means; `dir` was held against `receipt`.
pub(crate) fn failure(error: &VerifyError, dir: &Path, receipt: &Path) -> Failure {
    let (exit, of) = match error {
        VerifyError::Directory(_) => (Exit::Local, dir),
        VerifyError::Receipt(inner) if inner.is_unreadable() => (Exit::Local, receipt),
        VerifyError::Receipt(_) | VerifyError::Contradiction(_) => (Exit::Protocol, receipt),
    };
    let failure = Failure {
        exit,
        what: format!("'{}': {}", shown(of), chain(error)),
        consequence: Some(
            "nothing is known about the data: disregard differences named above".into(),
        ),
        hint: None,
    };
    match exit {
        Exit::Protocol => {
            failure.hint("use the receipt of the other side: both wrote the same one")
        }
        _ => failure,
    }
}

/// One difference as a person reads it.
pub(crate) fn text_line(difference: &Difference) -> String {
    let path = &difference.path;
    match &difference.what {
        Differs::Missing => format!("missing   {path}"),
        Differs::Unreadable(why) => format!("unread    {path}: {why}"),
        Differs::Kind => format!("kind      {path}: no longer a file, directory or link as it was"),
        Differs::Size { expected, found } => {
            let (expected, found) = (units::count(*expected), units::count(*found));
            format!("content   {path}: {expected} bytes were received, {found} are there")
        }
        Differs::Content => format!("content   {path}: other bytes than were received"),
        Differs::Target => format!("target    {path}: the link points elsewhere"),
        Differs::Mode { expected, found } => {
            format!(
                "mode      {path}: {} was received, {} is there",
                octal(*expected),
                octal(*found)
            )
        }
        Differs::Modified { expected, found } => {
            let (expected, found) = (timestamp_text(*expected), timestamp_text(*found));
            format!("modified  {path}: {expected} was received, {found} is there")
        }
        Differs::Extra => format!("extra     {path}"),
        _ => format!("differs   {path}"),
    }
}

fn octal(mode: Mode) -> String {
    format!("{:04o}", mode.bits())
}

#[derive(Serialize)]
struct DifferenceLine<'a> {
    v: u32,
    difference: &'static str,
    #[serde(flatten)]
    path: PathFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
}

fn json_line(ui: &Ui, difference: &Difference) -> io::Result<()> {
    ui.data(json_text(difference)?)
}

fn json_text(difference: &Difference) -> io::Result<String> {
    let (name, expected, found) = match &difference.what {
        Differs::Missing => ("missing", None, None),
        Differs::Unreadable(why) => ("unreadable", None, Some(why.clone())),
        Differs::Kind => ("kind", None, None),
        Differs::Size { expected, found } => {
            ("size", Some(expected.to_string()), Some(found.to_string()))
        }
        Differs::Content => ("content", None, None),
        Differs::Target => ("target", None, None),
        Differs::Mode { expected, found } => ("mode", Some(octal(*expected)), Some(octal(*found))),
        Differs::Modified { expected, found } => (
            "modified",
            Some(timestamp_text(*expected)),
            Some(timestamp_text(*found)),
        ),
        Differs::Extra => ("extra", None, None),
        _ => ("other", None, None),
    };
    json::line(&DifferenceLine {
        v: VERSION,
        difference: name,
        path: PathFields::of(&difference.path),
        expected,
        found,
    })
}

#[derive(Serialize)]
struct SummaryLine {
    v: u32,
    summary: SummaryFields,
}

#[derive(Serialize)]
struct SummaryFields {
    same: u64,
    different: u64,
    missing: u64,
    extra: u64,
    bytes: u64,
}

fn json_summary(ui: &Ui, summary: &VerifySummary) -> io::Result<()> {
    let &VerifySummary {
        same,
        different,
        missing,
        extra,
        bytes,
    } = summary;
    let summary = SummaryFields {
        same,
        different,
        missing,
        extra,
        bytes,
    };
    ui.data(json::line(&SummaryLine {
        v: VERSION,
        summary,
    })?)
}

#[cfg(test)]
mod tests {
    use packhorse_transfer::RelativePath;

    use super::*;

    fn difference(what: Differs) -> Difference {
        let path = RelativePath::parse(b"a/\x1b").unwrap();
        Difference { path, what }
    }

    #[test]
    fn differences_are_named_in_text_and_json() {
        let missing = difference(Differs::Missing);
        assert_eq!(text_line(&missing), "missing   a/\\u{1b}");
        let json = json_text(&missing).unwrap();
        assert_eq!(json, r#"{"v":1,"difference":"missing","path":"a/\u001b"}"#);
        let mode = difference(Differs::Mode {
            expected: Mode::from_st_mode(0o644),
            found: Mode::from_st_mode(0o600),
        });
        assert!(text_line(&mode).ends_with("0644 was received, 0600 is there"));
        assert!(
            json_text(&mode)
                .unwrap()
                .ends_with(r#""expected":"0644","found":"0600"}"#)
        );
    }
}
