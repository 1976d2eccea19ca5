//! The options of a segment (RFC 9293 §3.1), as far as streams care.

use super::trace::SegmentOptions;

/// How far a SYN's sender shifts its windows (RFC 7323 §2.2).
pub(super) fn window_scale(options: &[u8]) -> Option<u8> {
    each(options).find_map(|(kind, value)| match (kind, value) {
        (3, [shift]) => Some(*shift),
        _ => None,
    })
}

/// All that say something about the stream.
pub(super) fn read(options: &[u8]) -> SegmentOptions {
    let mut read = SegmentOptions::default();
    for (kind, value) in each(options) {
        match (kind, value) {
            (2, &[high, low]) => read.mss = Some(u16::from_be_bytes([high, low])),
            (3, &[shift]) => read.window_scale = Some(shift),
            (4, []) => read.sack_permitted = true,
            // RFC 2018 §3: pairs of edges, four at most.
            (5, edges) => read.sack = edges.as_chunks().0.iter().map(pair).collect(),
            (8, stamps) => read.timestamps = stamps.first_chunk().map(pair),
            _ => {}
        }
    }
    read
}

fn pair(bytes: &[u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *bytes;
    let first = u32::from_be_bytes([a, b, c, d]);
    (first, u32::from_be_bytes([e, f, g, h]))
}

/// Each option's kind and value, up to the end or to the first that makes no sense.
fn each(mut options: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        while let Some((1, rest)) = options.split_first() {
            options = rest;
        }
        let (&kind, rest) = options.split_first()?;
        let len = usize::from(*rest.first()?).checked_sub(2)?;
        if kind == 0 {
            return None;
        }
        let value = rest.get(1..1 + len)?;
        options = &rest[1 + len..];
        Some((kind, value))
    })
}
