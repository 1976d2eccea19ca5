//! packhorse's own protocol (docs/protocol.md): prefaces, the hello of a lane, what is in the clear behind them.

use super::{Carrier, Known, tls};
use crate::dissect::layer::Level;
use crate::dissect::taker::Taker;

pub(super) const KNOWN: Known = Known {
    name: "packhorse",
    level: Level::Application,
    begins,
    take,
};

const MAGIC: &[u8] = b"PACK";

/// The kinds of prefaces.
const LANE: u64 = b'L' as u64;

/// Bytes of a record's body at most.
const LONGEST: u64 = 131_152;

fn begins(data: &[u8], carrier: Carrier) -> bool {
    carrier == Carrier::Stream && data.len() >= 8 && data.starts_with(MAGIC)
}

fn take(taker: &mut Taker<'_>) -> Option<()> {
    let (mut kind, mut argument) = (0, 0);
    taker.group("preface", "preface", |taker| {
        taker.text(4, "mark", "magic")?;
        kind = taker.named(1, "kind", "kind", kind_name)?;
        argument = taker.named(1, "argument", "argument", |argument| {
            argument_name(kind, argument)
        })?;
        taker.number(1, "major version", "major")?;
        taker.number(1, "minor version", "minor").map(|_| ())
    })?;
    if kind == LANE && !taker.rest().is_empty() {
        taker.group("lane's hello", "lane_hello", |taker| {
            taker.opaque(16, "session", "session")?;
            taker.number(2, "lane", "lane")?;
            taker.opaque(32, "tag", "tag").map(|_| ())
        })?;
        return records(taker);
    }
    let rest = taker.rest().len();
    if rest == 0 {
        return Some(());
    }
    if (tls::KNOWN.begins)(taker.rest(), Carrier::Stream) {
        return (tls::KNOWN.take)(taker);
    }
    taker.opaque(rest, "messages", "messages").map(|_| ())
}

/// Records of a lane, as far as they are here: whether their bodies are sealed is not to be seen.
fn records(taker: &mut Taker<'_>) -> Option<()> {
    while !taker.rest().is_empty() {
        let whole = taker.group("record", "record", |taker| {
            let len = taker.number(4, "length", "length")?;
            taker.named(1, "kind", "record_kind", |kind| {
                let name = match kind {
                    1 => "items",
                    2 => "end of the lane",
                    _ => return None,
                };
                Some(name.to_owned())
            })?;
            taker.number(1, "reserved", "reserved")?;
            taker.number(2, "reserved", "reserved")?;
            let len = usize::try_from(len.min(LONGEST)).ok()?;
            let there = len.min(taker.rest().len());
            if there > 0 {
                taker.opaque(there, "body", "body")?;
            }
            (there == len).then_some(())
        });
        whole?;
    }
    Some(())
}

fn kind_name(kind: u64) -> Option<String> {
    let name = match u8::try_from(kind).ok()? {
        b'C' => "control connection",
        b'L' => "lane",
        b'A' => "accepted",
        b'R' => "refused",
        _ => return None,
    };
    Some(name.to_owned())
}

fn argument_name(kind: u64, argument: u64) -> Option<String> {
    let name = match (u8::try_from(kind).ok()?, argument) {
        (b'C', 0) => "without encryption",
        (b'C', 1) => "with TLS 1.3",
        (b'R', 1) => "another version",
        (b'R', 2) => "takes encrypted sessions only",
        (b'R', 3) => "runs without encryption",
        (b'R', 4) => "is serving another sender",
        _ => return None,
    };
    Some(name.to_owned())
}
