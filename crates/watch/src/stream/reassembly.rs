//! One direction of a stream, byte for byte in order.

use std::collections::BTreeMap;

use super::Direction;
use super::trace::{Data, Delivered};
use crate::Timestamp;

/// Puts one direction's bytes in order. What comes too early waits; of bytes that came twice the first count.
///
/// A gap is given up when the other side acknowledges what lies behind it (it has the bytes, the capture has
/// not), when more waits than may, and at the end.
#[derive(Debug)]
pub(super) struct Reassembly {
    direction: Direction,
    /// The next byte wanted; `None` before the first segment.
    next: Option<i64>,
    /// What begins behind the next byte, by its place and order of arrival.
    early: BTreeMap<(i64, u64), Early>,
    /// What begins at the next byte or before, by order of arrival.
    due: BTreeMap<u64, (i64, Early)>,
    arrivals: u64,
    held: usize,
    limit: usize,
}

#[derive(Debug)]
struct Early {
    frame: u64,
    time: Timestamp,
    bytes: Vec<u8>,
    /// Bytes behind these that were sent and not captured.
    cut: u32,
}

/// A segment's bytes and where they lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) offset: i64,
    pub(super) frame: u64,
    pub(super) time: Timestamp,
    /// What was captured.
    pub(super) bytes: &'a [u8],
    /// Bytes behind these that were sent and not captured.
    pub(super) cut: u32,
}

/// What waiting costs besides the bytes.
const OVERHEAD: usize = 96;

impl Reassembly {
    pub(super) fn new(direction: Direction, limit: usize) -> Self {
        Self {
            direction,
            next: None,
            early: BTreeMap::new(),
            due: BTreeMap::new(),
            arrivals: 0,
            held: 0,
            limit,
        }
    }

    /// Where the first segment begins, whether it carries data or not.
    pub(super) fn begin(&mut self, offset: i64) {
        self.next.get_or_insert(offset.max(0));
    }

    /// Takes a segment, and gives what is in order now.
    pub(super) fn add(&mut self, piece: Piece<'_>, give: &mut impl FnMut(Delivered<'_>)) {
        let next = *self.next.get_or_insert(piece.offset.max(0));
        if piece.bytes.is_empty() && piece.cut == 0 {
            return;
        }
        if piece.offset <= next {
            self.deliver(piece, give);
            self.settle(give);
            return;
        }
        self.arrivals += 1;
        self.held += piece.bytes.len() + OVERHEAD;
        let early = Early {
            frame: piece.frame,
            time: piece.time,
            bytes: piece.bytes.to_vec(),
            cut: piece.cut,
        };
        self.early.insert((piece.offset, self.arrivals), early);
        while self.held > self.limit {
            self.skip(piece.frame, piece.time, give);
        }
    }

    /// The other side has received everything before `acknowledged`.
    pub(super) fn acknowledged(
        &mut self,
        acknowledged: i64,
        frame: u64,
        time: Timestamp,
        give: &mut impl FnMut(Delivered<'_>),
    ) {
        while let Some((&(lowest, _), _)) = self.early.first_key_value()
            && acknowledged > lowest
        {
            self.skip(frame, time, give);
        }
    }

    /// There is no more: gives what waits, with its gaps.
    pub(super) fn end(&mut self, give: &mut impl FnMut(Delivered<'_>)) {
        while let Some((_, early)) = self.early.last_key_value() {
            let (frame, time) = (early.frame, early.time);
            self.skip(frame, time, give);
        }
    }

    /// Gives up the bytes before the first that waits.
    fn skip(&mut self, frame: u64, time: Timestamp, give: &mut impl FnMut(Delivered<'_>)) {
        let Some((&(lowest, _), _)) = self.early.first_key_value() else {
            return;
        };
        self.missing(lowest, frame, time, give);
        self.settle(give);
    }

    /// Gives everything that is in order now.
    fn settle(&mut self, give: &mut impl FnMut(Delivered<'_>)) {
        loop {
            let next = self.next.unwrap_or_default();
            while let Some(first) = self.early.first_entry()
                && first.key().0 <= next
            {
                let ((offset, arrival), early) = first.remove_entry();
                self.due.insert(arrival, (offset, early));
            }
            let Some((_, (offset, early))) = self.due.pop_first() else {
                return;
            };
            self.held -= early.bytes.len() + OVERHEAD;
            let piece = Piece {
                offset,
                frame: early.frame,
                time: early.time,
                bytes: &early.bytes,
                cut: early.cut,
            };
            self.deliver(piece, give);
        }
    }

    /// Gives what is new of a piece that begins at the next byte or before.
    fn deliver(&mut self, piece: Piece<'_>, give: &mut impl FnMut(Delivered<'_>)) {
        let next = self.next.unwrap_or_default();
        let known = usize::try_from(next.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
        if let Some(new) = piece.bytes.get(known..).filter(|new| !new.is_empty()) {
            give(Delivered {
                direction: self.direction,
                offset: next,
                frame: piece.frame,
                time: piece.time,
                data: Data::Bytes(new),
            });
            let len = i64::try_from(new.len()).unwrap_or(i64::MAX);
            self.next = Some(next.saturating_add(len));
        }
        let captured = i64::try_from(piece.bytes.len()).unwrap_or(i64::MAX);
        let end = piece.offset.saturating_add(captured);
        let end = end.saturating_add(i64::from(piece.cut));
        if piece.cut > 0 {
            self.missing(end, piece.frame, piece.time, give);
        }
    }

    /// Tells that nothing before `end` is to be had, as far as there is something before it.
    fn missing(
        &mut self,
        end: i64,
        frame: u64,
        time: Timestamp,
        give: &mut impl FnMut(Delivered<'_>),
    ) {
        let next = self.next.unwrap_or_default();
        let Ok(count @ 1..) = u64::try_from(end.saturating_sub(next)) else {
            return;
        };
        give(Delivered {
            direction: self.direction,
            offset: next,
            frame,
            time,
            data: Data::Missing(count),
        });
        self.next = Some(end);
    }
}
