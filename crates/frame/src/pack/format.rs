//! A format: which fields there are, and where each lies.

use std::iter::FusedIterator;

use super::code::{Code, Kind};

/// The largest format, in bytes. What is larger is no struct, but a slip of the finger or an attack.
pub const MAX_SIZE: usize = 64 << 20;

/// How fields lie in bytes, parsed from a text such as `<iHxx10s`.
///
/// It takes memory for its text alone, whatever the counts in it say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub(super) order: Order,
    pub(super) runs: Vec<Run>,
    pub(super) size: usize,
    pub(super) fields: usize,
}

/// Which end of a number comes first, and what a float that is too large becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) big_endian: bool,
    /// In native mode CPython converts as C does, to an infinite float.
    pub(super) single: Overflow,
}

/// What becomes of a finite float that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    Infinite,
    Refused,
}

/// A code with its count: fields of one kind, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) code: Code,
    /// Where its code stands in the format.
    pub(super) position: usize,
    /// Where its first byte lies.
    pub(super) at: usize,
    /// Bytes of one field.
    pub(super) width: usize,
    /// How many fields, none of `x`.
    pub(super) fields: usize,
    /// Bytes of all.
    pub(super) size: usize,
}

/// A part of a format that has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its code.
    pub letter: char,
    /// What it holds.
    pub kind: Kind,
    /// Where its code stands in the format; the first character is at 1.
    pub position: usize,
    /// Where its first byte lies.
    pub at: usize,
    /// Its bytes.
    pub width: usize,
}

impl Format {
    /// Bytes of all fields, and of what lies between them.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many values it has.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.fields
    }

    /// Its fields, in order. They are made one by one: there may be millions.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields {
            runs: &self.runs,
            within: 0,
            left: self.fields,
        }
    }
}

/// What [`Format::fields`] gives.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    runs: &'a [Run],
    /// Fields of the first run that are done.
    within: usize,
    left: usize,
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        while let Some((run, rest)) = self.runs.split_first() {
            if self.within < run.fields {
                let at = run.at + self.within * run.width;
                self.within += 1;
                self.left -= 1;
                return Some(Field {
                    letter: run.code.letter,
                    kind: run.code.kind,
                    position: run.position,
                    at,
                    width: run.width,
                });
            }
            self.runs = rest;
            self.within = 0;
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}
impl FusedIterator for Fields<'_> {}
