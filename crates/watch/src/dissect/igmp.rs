//! IGMP (RFC 2236, RFC 3376): who listens to a group.

use super::taker::Taker;
use super::{Dissector, Level, cut};

pub(super) fn dissect(dissector: &mut Dissector<'_>, at: usize, on_wire: usize) {
    let end = on_wire.min(dissector.data.len());
    let mut taker = dissector.taker(at..end);
    let notes = if header(&mut taker).is_none() {
        cut()
    } else {
        Vec::new()
    };
    dissector.add("IGMP", Level::Network, taker, end, notes);
}

fn header(taker: &mut Taker<'_>) -> Option<()> {
    let kind = taker.named(1, "type", "type", |kind| {
        let name = match kind {
            0x11 => "membership query",
            0x12 => "membership report v1",
            0x16 => "membership report v2",
            0x17 => "leave group",
            0x22 => "membership report v3",
            _ => return None,
        };
        Some(name.to_owned())
    })?;
    let long = taker.rest().len() > 7;
    taker.number(1, "longest answer time", "max_response")?;
    taker.hex(2, "checksum", "checksum")?;
    match kind {
        0x22 => {
            taker.number(2, "reserved", "reserved")?;
            let records = taker.number(2, "group records", "records")?;
            for _ in 0..records {
                taker.group("group record", "record", record)?;
            }
            Some(())
        }
        0x11 if long => {
            taker.ipv4("group", "group")?;
            taker.hex(1, "flags", "flags")?;
            taker.number(1, "interval code", "interval")?;
            let sources = taker.number(2, "sources", "source_count")?;
            (0..sources).try_for_each(|_| taker.ipv4("source", "source").map(|_| ()))
        }
        _ => taker.ipv4("group", "group").map(|_| ()),
    }
}

fn record(taker: &mut Taker<'_>) -> Option<()> {
    taker.number(1, "type", "record_type")?;
    let extra = taker.number(1, "auxiliary words", "auxiliary")?;
    let sources = taker.number(2, "sources", "source_count")?;
    taker.ipv4("group", "group")?;
    (0..sources).try_for_each(|_| taker.ipv4("source", "source").map(|_| ()))?;
    match usize::try_from(extra).ok()? * 4 {
        0 => Some(()),
        len => taker
            .opaque(len, "auxiliary data", "auxiliary_data")
            .map(|_| ()),
    }
}
