//! How values are written by people: read for `pack`, written by `unpack`, and the one is the other's
//! inverse.

use std::fmt::{self, Write as _};

use packhorse_frame::pack::{Field, Kind, Value};
use packhorse_transfer::{Escaped, is_unsafe};

/// Why a text is no value for its field. The first value is number 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueError {
    index: usize,
    field: Field,
    text: String,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("is no integer, such as 1024, -1 or 0x400")]
    NoInteger,
    #[error("is an integer far out of range")]
    HugeInteger,
    #[error("is no float, such as 1.5, 1e5, nan or -inf")]
    NoFloat,
    #[error("is a float too large for 64 bits")]
    HugeFloat,
    #[error("is not true, false, 1 or 0")]
    NoBool,
    #[error("has an escape at byte {0} that is none of \\xNN \\n \\r \\t \\0 \\\\")]
    Escape(usize),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            field,
            text,
            why,
        } = self;
        let text = Escaped(text.as_bytes());
        write!(
            f,
            "value {index}, for '{}' at position {} of the format, {why}: '{text}'",
            field.letter, field.position
        )
    }
}

/// The value that a field is to get, from what was typed.
pub(super) fn read(field: Field, index: usize, text: &str) -> Result<Value, ValueError> {
    let value = match field.kind {
        Kind::Bool => match text {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(Why::NoBool),
        },
        Kind::Signed | Kind::Unsigned | Kind::Pointer => integer(text).map(Value::Int),
        Kind::Half | Kind::Single | Kind::Double => float(text),
        Kind::Pad | Kind::Char | Kind::Bytes | Kind::Pascal => {
            unescape(text).map(|bytes| Value::Bytes(bytes.into()))
        }
    };
    value.map_err(|why| ValueError {
        index,
        field,
        text: text.to_owned(),
        why,
    })
}

fn integer(text: &str) -> Result<i128, Why> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Why::NoInteger);
    }
    i128::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| Why::HugeInteger)
}

fn float(text: &str) -> Result<Value, Why> {
    match text.parse::<f64>() {
        Ok(number) if number.is_infinite() && text.contains(|c: char| c.is_ascii_digit()) => {
            Err(Why::HugeFloat)
        }
        Ok(number) => Ok(Value::Float(number)),
        // 0x400 and its like.
        Err(_) => integer(text).map(Value::Int).map_err(|why| match why {
            Why::NoInteger => Why::NoFloat,
            other => other,
        }),
    }
}

/// Text in UTF-8, with `\xNN` for any byte.
fn unescape(text: &str) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let at = text.len() - behind.len();
        if first != b'\\' {
            bytes.push(first);
            rest = behind;
            continue;
        }
        let (byte, length) = match *behind {
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', high, low, ..] => (pair(high, low).ok_or(Why::Escape(at))?, 3),
            _ => return Err(Why::Escape(at)),
        };
        bytes.push(byte);
        rest = &behind[length..];
    }
    Ok(bytes)
}

fn pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Writes a value so that [`read`] gives it again.
pub(super) fn write(value: &Value, text: &mut String) {
    // A String takes all that is written to it.
    let _ = match value {
        Value::Int(number) => write!(text, "{number}"),
        Value::Bool(truth) => write!(text, "{truth}"),
        Value::Float(number) => write_float(*number, text),
        Value::Bytes(bytes) => escape(bytes, text),
    };
}

/// The shortest text that is this number and no other.
fn write_float(number: f64, text: &mut String) -> fmt::Result {
    match number.is_nan() {
        true => text.write_str("nan"),
        false => write!(text, "{number:?}"),
    }
}

fn escape(bytes: &[u8], text: &mut String) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\0' => text.push_str("\\0"),
                '\\' => text.push_str("\\\\"),
                _ if is_unsafe(character) => {
                    escape_bytes(character.encode_utf8(&mut [0; 4]).as_bytes(), text)?;
                }
                _ => text.push(character),
            }
        }
        escape_bytes(chunk.invalid(), text)?;
    }
    Ok(())
}

fn escape_bytes(bytes: &[u8], text: &mut String) -> fmt::Result {
    bytes
        .iter()
        .try_for_each(|byte| write!(text, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use packhorse_frame::pack::Format;

    use super::*;

    fn read_as(code: &str, text: &str) -> Result<Value, ValueError> {
        let format: Format = code.parse().unwrap();
        read(format.fields().next().unwrap(), 1, text)
    }

    fn written(value: &Value) -> String {
        let mut text = String::new();
        write(value, &mut text);
        text
    }

    #[test]
    fn integers_have_many_notations() {
        for (text, number) in [
            ("1024", 1024),
            ("-1", -1),
            ("+7", 7),
            ("0x400", 1024),
            ("-0xfF", -255),
            ("0o17", 15),
            ("0b101", 5),
            ("007", 7),
            ("-0", 0),
        ] {
            assert_eq!(read_as("i", text), Ok(Value::Int(number)), "{text}");
        }
        for text in [
            "", "-", "+-1", "0x", "0x-1", "1.0", "1e5", " 1", "1_000", "0b2", "٣", "true",
        ] {
            assert_eq!(
                read_as("i", text).unwrap_err().why,
                Why::NoInteger,
                "{text}"
            );
        }
        let huge = read_as("q", &"9".repeat(60)).unwrap_err();
        assert_eq!(huge.why, Why::HugeInteger);
    }

    #[test]
    fn floats_have_many_notations() {
        for (text, number) in [
            ("1.5", 1.5),
            ("1e5", 1e5),
            ("-2", -2.0),
            (".5", 0.5),
            ("inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(read_as("d", text), Ok(Value::Float(number)), "{text}");
        }
        assert_eq!(read_as("f", "0x10"), Ok(Value::Int(16)));
        assert!(matches!(read_as("e", "nan"), Ok(Value::Float(n)) if n.is_nan()));
        for (text, why) in [
            ("1e400", Why::HugeFloat),
            ("", Why::NoFloat),
            ("1,5", Why::NoFloat),
            ("infinit", Why::NoFloat),
        ] {
            assert_eq!(read_as("d", text).unwrap_err().why, why, "{text}");
        }
    }

    #[test]
    fn text_has_escapes() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("é", b"\xc3\xa9"),
            (r"a\x00\xFFb", b"a\0\xffb"),
            (r"\n\r\t\0\\", b"\n\r\t\0\\"),
            (r"\00", b"\x000"),
            ("-1 ", b"-1 "),
        ] {
            assert_eq!(read_as("s", text), Ok(Value::bytes(bytes)), "{text}");
        }
        for (text, at) in [
            (r"a\", 2),
            (r"\q", 1),
            (r"ab\x0", 3),
            (r"\x0g", 1),
            (r"\é", 1),
        ] {
            assert_eq!(
                read_as("s", text).unwrap_err().why,
                Why::Escape(at),
                "{text}"
            );
        }
    }

    #[test]
    fn truth_is_said_in_two_ways() {
        assert_eq!(read_as("?", "true"), Ok(Value::Bool(true)));
        assert_eq!(read_as("?", "0"), Ok(Value::Bool(false)));
        for text in ["", "yes", "True", "2"] {
            assert_eq!(read_as("?", text).unwrap_err().why, Why::NoBool, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let floats = [0.1, -0.0, 1e16, 5e-324, f64::MAX, f64::INFINITY, 65504.0];
        for number in floats {
            let value = Value::Float(number);
            let again = read_as("d", &written(&value));
            assert!(matches!(again, Ok(Value::Float(n)) if n.to_bits() == number.to_bits()));
        }
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [
            &all[..],
            "a\u{202e}é🐎\u{7f}\\x41".as_bytes(),
            b"\xed\xa0\x80\xc3",
        ] {
            let value = Value::bytes(bytes);
            let text = written(&value);
            assert!(!text.contains(is_unsafe), "{text}");
            assert_eq!(read_as("s", &text), Ok(value));
        }
        assert_eq!(written(&Value::Float(f64::NAN)), "nan");
        assert_eq!(written(&Value::bytes("é\0\n")), "é\\0\\n");
    }

    #[test]
    fn errors_name_value_code_and_position() {
        let format: Format = "<xi".parse().unwrap();
        let error = read(format.fields().next().unwrap(), 2, "a\x1b").unwrap_err();
        let said = "value 2, for 'i' at position 3 of the format, is no integer, such as 1024, -1 or \
                    0x400: 'a\\u{1b}'";
        assert_eq!(error.to_string(), said);
    }
}
