//! Values from bytes.

use std::iter::FusedIterator;

use bytes::Bytes;

use super::code::Kind;
use super::error::UnpackError;
use super::format::{Field, Fields, Format, Order};
use super::value::Value;
use super::{half, single};

impl Format {
    /// The values in exactly [`size`](Self::size) bytes.
    ///
    /// A value takes up to 48 times the memory that its bytes do: [`values`](Self::values) makes them
    /// one by one.
    ///
    /// # Errors
    /// There are more or fewer bytes.
    pub fn unpack(&self, bytes: &[u8]) -> Result<Vec<Value>, UnpackError> {
        self.values(bytes).map(Iterator::collect)
    }

    /// The values in exactly [`size`](Self::size) bytes, made as they are asked for.
    ///
    /// # Errors
    /// There are more or fewer bytes.
    pub fn values<'a>(&'a self, bytes: &'a [u8]) -> Result<Values<'a>, UnpackError> {
        let (needed, given) = (self.size, bytes.len());
        if given > needed {
            return Err(UnpackError::TooLong { needed, given });
        }
        if given < needed {
            return Err(self.too_short(given));
        }
        Ok(Values {
            fields: self.fields(),
            bytes,
            order: self.order,
        })
    }

    /// Where `given` bytes, which are too few, end.
    fn too_short(&self, given: usize) -> UnpackError {
        let cut = self.runs.iter().find(|run| run.at + run.size > given);
        // All that a format has ends with one of its runs: there is one that is cut.
        let (letter, position, end) = cut.map_or(('x', 1, self.size), |run| {
            let whole = given.saturating_sub(run.at) / run.width.max(1);
            let end = run.at + run.size.min((whole + 1) * run.width);
            (run.code.letter, run.position, end)
        });
        UnpackError::TooShort {
            needed: self.size,
            given,
            letter,
            position,
            end,
        }
    }
}

/// What [`Format::values`] gives.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    fields: Fields<'a>,
    bytes: &'a [u8],
    order: Order,
}

impl Iterator for Values<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let field = self.fields.next()?;
        let place = &self.bytes[field.at..field.at + field.width];
        Some(value(field, place, self.order))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for Values<'_> {}
impl FusedIterator for Values<'_> {}

/// The value of a field, whose bytes are `place`.
fn value(field: Field, place: &[u8], order: Order) -> Value {
    match field.kind {
        Kind::Bool => Value::Bool(place != [0]),
        Kind::Signed => {
            let unused = 64 - 8 * field.width;
            // The sign goes to the top and comes back from there.
            let number = (bits(place, order) << unused).cast_signed() >> unused;
            Value::Int(number.into())
        }
        Kind::Unsigned | Kind::Pointer => Value::Int(bits(place, order).into()),
        Kind::Half => Value::Float(half::to_f64(low(bits(place, order)))),
        Kind::Single => Value::Float(single::to_f64(low(bits(place, order)))),
        Kind::Double => Value::Float(f64::from_bits(bits(place, order))),
        Kind::Pad | Kind::Char | Kind::Bytes => Value::Bytes(Bytes::copy_from_slice(place)),
        Kind::Pascal => Value::Bytes(Bytes::copy_from_slice(pascal(place))),
    }
}

/// At most eight bytes as a number.
fn bits(place: &[u8], order: Order) -> u64 {
    let shift = |number, &byte: &u8| number << 8 | u64::from(byte);
    match order.big_endian {
        true => place.iter().fold(0, shift),
        false => place.iter().rev().fold(0, shift),
    }
}

/// A number that is known to be no larger than its type.
fn low<T: TryFrom<u64> + Default>(bits: u64) -> T {
    T::try_from(bits).unwrap_or_default()
}

/// What the first byte counts, as far as it is there.
fn pascal(place: &[u8]) -> &[u8] {
    match place.split_first() {
        Some((&length, room)) => &room[..room.len().min(length.into())],
        None => &[],
    }
}
