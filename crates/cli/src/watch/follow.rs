//! `watch --follow N`: what was said in a stream, byte for byte.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use packhorse_transfer::Escaped;
use packhorse_watch::Source;
use packhorse_watch::stream::{Data, Delivered, Direction, StreamId, Trace};
use serde::Serialize;

use super::args::Watch;
use super::traced::Traced;
use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;

pub(super) fn run(
    ui: &Ui,
    args: &Watch,
    source: &mut dyn Source,
    stream: StreamId,
) -> Result<Exit, Failure> {
    let mut output = Output::new(args)?;
    let mut missing = 0;
    let mut written = Ok(());
    let traced = Traced::read(source, stream, |delivered| {
        if let Data::Missing(count) = delivered.data {
            missing += count;
        }
        if written.is_ok() {
            written = output.write(ui, &delivered);
        }
    });
    written = written.and_then(|()| output.flush());
    match output {
        Output::Files { prefix, .. } => written.map_err(|e| Failure::file("write", prefix, &e))?,
        _ => drop(after_data(written, Exit::Done)?),
    }
    let Traced { trace, ended } = traced?;
    ended?;
    Ok(conclude(ui, &trace, missing))
}

/// Says what is missing. Whoever takes the bytes for the whole would be wrong.
fn conclude(ui: &Ui, trace: &Trace, missing: u64) -> Exit {
    if missing == 0 {
        return Exit::Done;
    }
    ui.warn(format_args!(
        "{missing} bytes of stream {} are not in the capture",
        trace.id
    ));
    Exit::SomeFailed
}

/// Where the bytes go, and how they look.
enum Output<'a> {
    Text {
        begun: Option<Direction>,
    },
    Hex,
    Json,
    Raw,
    Files {
        prefix: &'a Path,
        files: [BufWriter<File>; 2],
    },
}

impl<'a> Output<'a> {
    fn new(args: &'a Watch) -> Result<Self, Failure> {
        let how = &args.how;
        Ok(match &how.raw {
            Some(Some(prefix)) => {
                let create = |end: &str| {
                    let mut path = prefix.clone().into_os_string();
                    path.push(end);
                    File::create(&path)
                        .map(BufWriter::new)
                        .map_err(|error| Failure::file("create", path.as_ref(), &error))
                };
                Self::Files {
                    prefix,
                    files: [create(".client")?, create(".server")?],
                }
            }
            Some(None) => Self::Raw,
            None if how.json => Self::Json,
            None if how.hex => Self::Hex,
            None => Self::Text { begun: None },
        })
    }

    fn write(&mut self, ui: &Ui, delivered: &Delivered<'_>) -> io::Result<()> {
        match self {
            Self::Raw => match delivered.data {
                Data::Bytes(bytes) => ui.raw_data(bytes),
                Data::Missing(_) => Ok(()),
            },
            Self::Files { files, .. } => match (delivered.data, delivered.direction) {
                (Data::Bytes(bytes), Direction::ToServer) => files[0].write_all(bytes),
                (Data::Bytes(bytes), Direction::ToClient) => files[1].write_all(bytes),
                (Data::Missing(_), _) => Ok(()),
            },
            Self::Json => ui.data(json::line(&Object::new(delivered))?),
            Self::Hex => hex(ui, delivered),
            Self::Text { begun } => text(ui, begun, delivered),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Files { files, .. } => files.iter_mut().try_for_each(BufWriter::flush),
            _ => Ok(()),
        }
    }
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "->",
        Direction::ToClient => "<-",
    }
}

/// Text as it is, one paragraph for each turn; what a terminal should not get is escaped.
fn text(ui: &Ui, begun: &mut Option<Direction>, delivered: &Delivered<'_>) -> io::Result<()> {
    let turn = *begun != Some(delivered.direction);
    *begun = Some(delivered.direction);
    if turn {
        ui.data(format_args!(
            "{} at {} in frame {}",
            arrow(delivered.direction),
            delivered.offset,
            delivered.frame
        ))?;
    }
    match delivered.data {
        Data::Missing(count) => ui.data(format_args!("   [{count} bytes are not in the capture]")),
        Data::Bytes(bytes) => {
            let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            lines.split(|byte| *byte == b'\n').try_for_each(|line| {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                ui.data(format_args!("   {}", Escaped(line)))
            })
        }
    }
}

/// Sixteen bytes a line: offset, digits, text.
fn hex(ui: &Ui, delivered: &Delivered<'_>) -> io::Result<()> {
    let arrow = arrow(delivered.direction);
    let bytes = match delivered.data {
        Data::Missing(count) => {
            let offset = delivered.offset;
            return ui.data(format_args!(
                "{arrow} {offset:08x}  [{count} bytes are not in the capture]"
            ));
        }
        Data::Bytes(bytes) => bytes,
    };
    let mut offset = delivered.offset;
    for row in bytes.chunks(16) {
        let mut line = format!("{arrow} {offset:08x} ");
        for (index, byte) in row.iter().enumerate() {
            line += if index == 8 { "  " } else { " " };
            line += &format!("{byte:02x}");
        }
        let shown: String = row
            .iter()
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            })
            .collect();
        ui.data(format_args!("{line:<62} {shown}"))?;
        offset += 16;
    }
    Ok(())
}

/// Bytes of a stream, for programs.
#[derive(Serialize)]
struct Object<'a> {
    v: u32,
    event: &'static str,
    direction: &'static str,
    offset: i64,
    frame: u64,
    time_ns: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
}

impl<'a> Object<'a> {
    fn new(delivered: &Delivered<'a>) -> Self {
        let (bytes, missing) = match delivered.data {
            Data::Bytes(bytes) => (Some(bytes), None),
            Data::Missing(count) => (None, Some(count)),
        };
        Self {
            v: 1,
            event: "data",
            direction: match delivered.direction {
                Direction::ToServer => "to_server",
                Direction::ToClient => "to_client",
            },
            offset: delivered.offset,
            frame: delivered.frame,
            time_ns: delivered.time.0,
            bytes: bytes.map(|bytes| STANDARD.encode(bytes)),
            text: bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()),
            missing,
        }
    }
}
