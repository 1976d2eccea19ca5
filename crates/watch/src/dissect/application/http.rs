//! HTTP/1 (RFC 9112): the first line, the header, how much of the body is here.

use super::{Carrier, Known, concluded, line};
use crate::dissect::layer::{Level, Value};
use crate::dissect::taker::Taker;

pub(super) const KNOWN: Known = Known {
    name: "HTTP",
    level: Level::Application,
    begins,
    take,
};

const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
];

/// Header fields that are shown.
const FIELDS: usize = 128;

fn begins(data: &[u8], carrier: Carrier) -> bool {
    if carrier != Carrier::Stream {
        return false;
    }
    data.starts_with(b"HTTP/1.") || {
        let is_request = METHODS.iter().any(|method| data.starts_with(method));
        is_request
            && line(data)
                .is_none_or(|(len, _)| data[..len].windows(8).any(|w| w.starts_with(b" HTTP/1")))
    }
}

fn take(taker: &mut Taker<'_>) -> Option<()> {
    let (len, _) = line(taker.rest())?;
    let first = taker.rest().get(..len)?;
    let parts: [(&'static str, &'static str); 3] = if first.starts_with(b"HTTP/") {
        [
            ("version", "version"),
            ("status", "status"),
            ("reason", "reason"),
        ]
    } else {
        [
            ("method", "method"),
            ("target", "target"),
            ("version", "version"),
        ]
    };
    let mut left = len;
    for (index, (name, key)) in parts.into_iter().enumerate() {
        let rest = taker.rest().get(..left)?;
        let space = rest.iter().position(|byte| *byte == b' ');
        let word = space.filter(|_| index < 2).unwrap_or(left);
        taker.text(word, name, key)?;
        left -= word;
        if left > 0 {
            taker.skip(1)?;
            left -= 1;
        }
    }
    skip_line_end(taker)?;
    for _ in 0..FIELDS {
        let (len, with_end) = line(taker.rest())?;
        if len == 0 {
            taker.skip(with_end)?;
            let body = taker.rest().len() as u64;
            concluded(taker, "body here", "body_len", Value::Number(body));
            return Some(());
        }
        taker.group("header field", "header", |taker| {
            let colon = taker
                .rest()
                .get(..len)?
                .iter()
                .position(|byte| *byte == b':')?;
            taker.text(colon, "name", "name")?;
            let value = taker.rest().get(..len - colon)?;
            let blank = value
                .iter()
                .skip(1)
                .take_while(|byte| matches!(byte, b' ' | b'\t'))
                .count();
            taker.skip(1 + blank)?;
            taker.text(len - colon - 1 - blank, "value", "value")
        })?;
        skip_line_end(taker)?;
    }
    Some(())
}

fn skip_line_end(taker: &mut Taker<'_>) -> Option<()> {
    let (_, with_end) = line(taker.rest())?;
    taker.skip(with_end).map(|_| ())
}
