//! What is printed, in pieces: a struct may have millions of values.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use packhorse_frame::pack::Value;
use serde::Serialize;

use super::notation;
use crate::json;
use crate::ui::Ui;

/// As much as a pipe takes at once.
const PIECE: usize = 64 << 10;

/// Standard output, which gets pieces of some size.
pub(super) struct Output<'a> {
    ui: &'a Ui,
    waiting: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(super) fn new(ui: &'a Ui) -> Self {
        Self {
            ui,
            waiting: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        match self.waiting.len() < PIECE {
            true => Ok(()),
            false => self.flush(),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ui.raw_data(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

/// Bytes as digits, on one line.
pub(super) fn hex_line(output: &mut Output<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut digits = Vec::new();
    for piece in bytes.chunks(PIECE / 2) {
        digits.clear();
        crate::hex::write(piece, &mut digits);
        output.put(&digits)?;
    }
    output.put(b"\n")
}

/// One value a line.
pub(super) fn lines(
    output: &mut Output<'_>,
    mut values: impl Iterator<Item = Value>,
) -> io::Result<()> {
    let mut line = String::new();
    values.try_for_each(|value| {
        line.clear();
        notation::write(&value, &mut line);
        line.push('\n');
        output.put(line.as_bytes())
    })
}

/// All values as one JSON array, on one line.
pub(super) fn json_array(
    output: &mut Output<'_>,
    values: impl Iterator<Item = Value>,
) -> io::Result<()> {
    let mut before = "[";
    for value in values {
        output.put(before.as_bytes())?;
        output.put(json::line(&JsonValue::from(&value))?.as_bytes())?;
        before = ",";
    }
    if before == "[" {
        output.put(b"[")?;
    }
    output.put(b"]\n")
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum JsonValue<'a> {
    Int(i128),
    Float(f64),
    /// JSON has no number for it.
    NotFinite(String),
    Bool(bool),
    Bytes {
        bytes: String,
        text: Option<&'a str>,
    },
}

impl<'a> From<&'a Value> for JsonValue<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Int(number) => Self::Int(*number),
            Value::Float(number) if number.is_finite() => Self::Float(*number),
            Value::Float(_) => {
                let mut text = String::new();
                notation::write(value, &mut text);
                Self::NotFinite(text)
            }
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Bytes(bytes) => Self::Bytes {
                bytes: STANDARD.encode(bytes),
                text: std::str::from_utf8(bytes).ok(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_json() {
        for (value, expected) in [
            (Value::Int(u64::MAX.into()), "18446744073709551615"),
            (Value::Int(i64::MIN.into()), "-9223372036854775808"),
            (Value::Float(0.1), "0.1"),
            (Value::Float(2.0), "2.0"),
            (Value::Float(f64::NAN), "\"nan\""),
            (Value::Float(f64::NEG_INFINITY), "\"-inf\""),
            (Value::Bool(true), "true"),
            (Value::bytes("é"), r#"{"bytes":"w6k=","text":"é"}"#),
            (Value::bytes(b"\xff"), r#"{"bytes":"/w==","text":null}"#),
            (Value::bytes(b"\x1b"), r#"{"bytes":"Gw==","text":"\u001b"}"#),
        ] {
            assert_eq!(json::line(&JsonValue::from(&value)).unwrap(), expected);
        }
    }
}
