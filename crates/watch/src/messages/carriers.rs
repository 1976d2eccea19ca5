//! Which segment carried which byte first.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Carrier;
use crate::Timestamp;
use crate::stream::{Direction, Trace};

/// A stretch of one direction that one segment carried first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) begin: i64,
    pub(super) end: i64,
    /// The segment, by its place in the trace.
    pub(super) segment: usize,
    frame: u64,
    time: Timestamp,
}

/// All stretches of one direction, in the order of the stream.
#[derive(Debug)]
pub(super) struct Carriers(Vec<Stretch>);

impl Carriers {
    pub(super) fn new(trace: &Trace, direction: Direction) -> Self {
        let mut map: BTreeMap<i64, Stretch> = BTreeMap::new();
        for (segment, record) in trace.segments.iter().enumerate() {
            if record.direction != direction || record.len == 0 {
                continue;
            }
            let mut begin = record.offset;
            // Fills the holes between what was carried before.
            while begin < record.end() {
                let before = map.range(..=begin).next_back();
                if let Some((_, known)) = before.filter(|(_, known)| known.end > begin) {
                    begin = known.end;
                    continue;
                }
                let next = map
                    .range(begin..)
                    .next()
                    .map_or(i64::MAX, |(next, _)| *next);
                let end = record.end().min(next);
                let stretch = Stretch {
                    begin,
                    end,
                    segment,
                    frame: record.frame,
                    time: record.time,
                };
                map.insert(begin, stretch);
                begin = end;
            }
        }
        Self(map.into_values().collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Stretch> {
        self.0.get(index)
    }

    /// Segments that carried something first.
    pub(super) fn segments(&self) -> u64 {
        let mut segments: Vec<usize> = self.0.iter().map(|stretch| stretch.segment).collect();
        segments.sort_unstable();
        segments.dedup();
        segments.len() as u64
    }

    /// The stretches that have bytes between `begin` and `end`. A datagram without bytes is carried by none.
    pub(super) fn of(&self, begin: i64, end: i64) -> Range<usize> {
        let from = self.0.partition_point(|stretch| stretch.end <= begin);
        let to = self.0.partition_point(|stretch| stretch.begin < end);
        from..to.max(from)
    }

    /// The stretches that have bytes behind `end`.
    pub(super) fn beyond(&self, end: i64) -> Range<usize> {
        self.0.partition_point(|stretch| stretch.end <= end)..self.0.len()
    }
}

impl Stretch {
    /// What of it lies between `begin` and `end`.
    pub(super) fn part(&self, begin: i64, end: i64) -> Carrier {
        Carrier {
            frame: self.frame,
            time: self.time,
            begin: self.begin.max(begin),
            end: self.end.min(end),
        }
    }
}
