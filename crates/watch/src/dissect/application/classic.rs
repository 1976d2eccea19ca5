//! The classic formats for one file (docs/classic.md): a length, a JSON header, the content.

use serde_json::{Map, Value as Json};

use super::{Carrier, Known, concluded};
use crate::dissect::layer::{Level, Value};
use crate::dissect::taker::Taker;

pub(super) const KNOWN: Known = Known {
    name: "classic",
    level: Level::Application,
    begins,
    take,
};

/// Bytes of a header at most.
const LONGEST: usize = 65_536;

fn begins(data: &[u8], carrier: Carrier) -> bool {
    let Some((length, rest)) = data.split_first_chunk() else {
        return false;
    };
    let length = usize::try_from(i32::from_le_bytes(*length)).unwrap_or_default();
    carrier == Carrier::Stream
        && (2..=LONGEST).contains(&length)
        && rest.first() == Some(&b'{')
        && rest.windows(11).any(|window| window == b"\"file_size\"")
}

fn take(taker: &mut Taker<'_>) -> Option<()> {
    let from = taker.at();
    let length = i32::from_le_bytes(*taker.skip(4)?.first_chunk()?);
    let value = Value::Number(u64::try_from(length).ok()?);
    taker.push(from, "header length", "header_len", value);
    let text = taker.text(usize::try_from(length).ok()?, "header", "header")?;
    let header: Map<String, Json> = serde_json::from_slice(text).ok()?;
    for (name, key) in [
        ("file name", "file_name"),
        ("file size", "file_size"),
        ("MD5", "md5"),
        ("new file name", "new_file_name"),
    ] {
        let value = match header.get(key) {
            Some(Json::String(text)) => Value::Text(text.clone()),
            Some(Json::Number(number)) => Value::Number(number.as_u64()?),
            _ => continue,
        };
        concluded(taker, name, key, value);
    }
    let here = taker.rest().len() as u64;
    concluded(taker, "content here", "content_len", Value::Number(here));
    Some(())
}
