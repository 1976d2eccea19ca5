//! `watch --layers`: each frame taken apart, layer by layer.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;

use packhorse_transfer::Escaped;
use packhorse_watch::dissect::{Bytes, Context, Dissection, Field, Layer, Value, dissect};
use packhorse_watch::{Frame, Limits, Source};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::args::Watch;
use super::input;
use crate::json;
use crate::report::{Exit, Failure, after_data};
use crate::ui::Ui;

/// Bytes of a field that are shown.
const SHOWN: usize = 16;

pub(super) fn run(ui: &Ui, args: &Watch, source: &mut dyn Source) -> Result<Exit, Failure> {
    let mut context = Context::new(&Limits::default());
    let mut begin = None;
    loop {
        let frame = match source.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(Exit::Done),
            Err(error) => return Err(input::failure(error)),
        };
        let dissection = dissect(&frame, &mut context);
        let since = frame.time.since(*begin.get_or_insert(frame.time));
        let written = if args.how.json {
            let object = Object::new(&frame, &dissection);
            json::line(&object).and_then(|line| ui.data(line))
        } else {
            text(ui, &frame, since, &dissection)
        };
        if written.is_err() {
            return after_data(written, Exit::Done);
        }
    }
}

/// The bytes that a layer's ranges mean.
pub(super) fn bytes_of<'a>(
    frame: &Frame<'a>,
    dissection: &'a Dissection,
    layer: &Layer,
) -> &'a [u8] {
    match layer.of {
        Bytes::Frame => frame.data,
        Bytes::Whole => dissection.whole.as_deref().unwrap_or_default(),
    }
}

fn text(ui: &Ui, frame: &Frame<'_>, since: i64, dissection: &Dissection) -> io::Result<()> {
    let captured = match frame.data.len() {
        len if u32::try_from(len) == Ok(frame.original_len) => String::new(),
        len => format!(", {len} of them captured"),
    };
    ui.heading(format_args!(
        "Frame {}, {:.6} s, {} bytes{captured}",
        frame.number,
        std::time::Duration::from_nanos(since.unsigned_abs()).as_secs_f64(),
        frame.original_len
    ))?;
    for layer in &dissection.layers {
        ui.data(format_args!("  {}", title(layer)))?;
        let bytes = bytes_of(frame, dissection, layer);
        for field in &layer.fields {
            show(ui, field, bytes, 4)?;
        }
        for note in &layer.notes {
            ui.data(format_args!("    ({})", Escaped(note.as_bytes())))?;
        }
    }
    ui.data("")
}

/// What a layer is, in a line.
pub(super) fn title(layer: &Layer) -> String {
    let level = layer.level;
    format!(
        "{} {} · {} ({} of 4 in TCP/IP) · {}: header {}, SDU {} bytes",
        level.osi(),
        level.osi_name(),
        Escaped(layer.protocol.as_bytes()),
        level.tcp_ip(),
        level.pdu(),
        layer.header.len(),
        layer.sdu.len()
    )
}

/// A field with its value and what that means.
pub(super) fn told(field: &Field) -> String {
    let mut line = field.name.to_owned();
    let value = field.value.to_string();
    if !value.is_empty() {
        let shown: String = value.chars().take(100).collect();
        let dots = if shown.len() < value.len() { "…" } else { "" };
        let _ = write!(line, ": {}{dots}", Escaped(shown.as_bytes()));
    }
    if let Some(meaning) = &field.meaning {
        let _ = write!(line, " ({})", Escaped(meaning.as_bytes()));
    }
    line
}

fn show(ui: &Ui, field: &Field, bytes: &[u8], indent: usize) -> io::Result<()> {
    let mut line = format!("{:indent$}{}", "", told(field));
    let hex = hex(bytes, &field.bytes);
    // A group's bytes are those of its parts.
    if !hex.is_empty() && field.value != Value::Parts && !matches!(field.value, Value::Opaque(_)) {
        line = format!("{line:<60} {hex}");
    }
    ui.data(line)?;
    field.parts.iter().try_for_each(|part| {
        if part.bytes == field.bytes && field.value != Value::Parts {
            // Bits of it: the bytes were shown.
            return ui.data(format_args!("{:1$}{2}", "", indent + 2, told(part)));
        }
        show(ui, part, bytes, indent + 2)
    })
}

fn hex(bytes: &[u8], range: &Range<usize>) -> String {
    let bytes = bytes.get(range.clone()).unwrap_or_default();
    let shown = bytes.get(..SHOWN).unwrap_or(bytes);
    let mut digits = Vec::with_capacity(2 * shown.len());
    crate::hex::write(shown, &mut digits);
    let dots = if shown.len() < bytes.len() { "…" } else { "" };
    String::from_utf8_lossy(&digits).into_owned() + dots
}

/// A frame, for programs.
#[derive(Serialize)]
struct Object {
    v: u32,
    event: &'static str,
    frame: u64,
    /// Nanoseconds since 1970.
    time_ns: i64,
    interface: u32,
    link: u16,
    len: u32,
    captured: usize,
    layers: Vec<LayerObject>,
    /// The bytes that layers of `"of":"whole"` mean: a packet put together from fragments.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<String>,
}

#[derive(Serialize)]
struct LayerObject {
    protocol: &'static str,
    osi: u8,
    osi_name: &'static str,
    tcp_ip: u8,
    tcp_ip_name: &'static str,
    five: u8,
    pdu: &'static str,
    of: &'static str,
    /// First byte, and one behind the last.
    header: [usize; 2],
    sdu: [usize; 2],
    fields: Vec<Json>,
    notes: Vec<String>,
}

impl Object {
    fn new(frame: &Frame<'_>, dissection: &Dissection) -> Self {
        let layers = dissection.layers.iter();
        Self {
            v: 1,
            event: "layers",
            frame: frame.number,
            time_ns: frame.time.0,
            interface: frame.interface,
            link: frame.link.0,
            len: frame.original_len,
            captured: frame.data.len(),
            layers: layers
                .map(|layer| LayerObject::new(layer, bytes_of(frame, dissection, layer)))
                .collect(),
            whole: dissection.whole.as_ref().map(|whole| digits(whole)),
        }
    }
}

fn digits(bytes: &[u8]) -> String {
    let mut digits = Vec::with_capacity(2 * bytes.len());
    crate::hex::write(bytes, &mut digits);
    String::from_utf8_lossy(&digits).into_owned()
}

impl LayerObject {
    fn new(layer: &Layer, bytes: &[u8]) -> Self {
        let level = layer.level;
        Self {
            protocol: layer.protocol,
            osi: level.osi(),
            osi_name: level.osi_name(),
            tcp_ip: level.tcp_ip(),
            tcp_ip_name: level.tcp_ip_name(),
            five: level.five(),
            pdu: level.pdu(),
            of: match layer.of {
                Bytes::Frame => "frame",
                Bytes::Whole => "whole",
            },
            header: [layer.header.start, layer.header.end],
            sdu: [layer.sdu.start, layer.sdu.end],
            fields: layer
                .fields
                .iter()
                .map(|field| field_object(field, bytes))
                .collect(),
            notes: layer.notes.clone(),
        }
    }
}

fn field_object(field: &Field, bytes: &[u8]) -> Json {
    let mut object = Map::new();
    object.insert("key".to_owned(), field.key.into());
    object.insert("name".to_owned(), field.name.into());
    let value = match &field.value {
        Value::Number(number) | Value::Hex(number) => Json::from(*number),
        Value::Flag(set) => Json::from(*set),
        Value::Parts => Json::Null,
        value => Json::from(value.to_string()),
    };
    object.insert("value".to_owned(), value);
    if let Some(meaning) = &field.meaning {
        object.insert("meaning".to_owned(), meaning.as_str().into());
    }
    let range = &field.bytes;
    object.insert("at".to_owned(), vec![range.start, range.end].into());
    let own = bytes.get(range.clone()).unwrap_or_default();
    object.insert("bytes".to_owned(), digits(own).into());
    if !field.parts.is_empty() {
        let parts = field.parts.iter().map(|part| field_object(part, bytes));
        object.insert("parts".to_owned(), parts.collect());
    }
    Json::Object(object)
}
