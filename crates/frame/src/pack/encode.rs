//! Bytes from values.

use bytes::Bytes;

use super::code::Kind;
use super::error::PackError;
use super::format::{Field, Format, Order, Overflow};
use super::value::Value;
use super::{half, single};

impl Format {
    /// The values as [`size`](Self::size) bytes; what lies between fields is zero.
    ///
    /// # Errors
    /// There are more or fewer values than fields, or a value does not fit its field. Nothing is
    /// allocated before the number of values is known to be right.
    pub fn pack(&self, values: &[Value]) -> Result<Vec<u8>, PackError> {
        self.check_count(values.len())?;
        let mut packed = vec![0; self.size];
        for ((field, value), index) in self.fields().zip(values).zip(1..) {
            let place = &mut packed[field.at..field.at + field.width];
            let task = Task {
                field,
                index,
                order: self.order,
            };
            task.put(value, place)?;
        }
        Ok(packed)
    }

    /// Whether there are as many values as fields.
    ///
    /// # Errors
    /// There are more or fewer.
    pub fn check_count(&self, given: usize) -> Result<(), PackError> {
        let needed = self.fields;
        if given > needed {
            return Err(PackError::TooMany { needed, given });
        }
        // By runs, since there may be millions of fields.
        let mut before = 0;
        for run in &self.runs {
            before += run.fields;
            if given < before {
                return Err(PackError::TooFew {
                    needed,
                    given,
                    letter: run.code.letter,
                    position: run.position,
                });
            }
        }
        Ok(())
    }
}

/// One value on its way into one field.
struct Task {
    field: Field,
    /// Which value, from 1.
    index: usize,
    order: Order,
}

impl Task {
    fn put(&self, value: &Value, place: &mut [u8]) -> Result<(), PackError> {
        match self.field.kind {
            Kind::Pad => {}
            Kind::Bool => place[0] = u8::from(value.truth()),
            Kind::Signed | Kind::Unsigned | Kind::Pointer => {
                let number = self.in_range(value)?;
                self.put_low_bytes(&number.to_le_bytes(), place);
            }
            Kind::Half => {
                let number = self.float(value)?;
                let half = half::from_f64(number).ok_or_else(|| self.too_large(number))?;
                self.put_low_bytes(&half.to_le_bytes(), place);
            }
            Kind::Single => {
                let number = self.float(value)?;
                let bits = single::from_f64(number);
                let overflowed = f32::from_bits(bits).is_infinite() && number.is_finite();
                if overflowed && self.order.single == Overflow::Refused {
                    return Err(self.too_large(number));
                }
                self.put_low_bytes(&bits.to_le_bytes(), place);
            }
            Kind::Double => {
                let bits = self.float(value)?.to_bits();
                self.put_low_bytes(&bits.to_le_bytes(), place);
            }
            Kind::Char => place[0] = self.one_byte(value)?,
            Kind::Bytes => put_bytes(self.bytes(value)?, place),
            Kind::Pascal => put_pascal(self.bytes(value)?, place),
        }
        Ok(())
    }

    /// As many of the bytes, lowest first, as there is room for, in the order that is asked for.
    fn put_low_bytes(&self, little: &[u8], place: &mut [u8]) {
        place.copy_from_slice(&little[..place.len()]);
        if self.order.big_endian {
            place.reverse();
        }
    }

    fn in_range(&self, value: &Value) -> Result<i128, PackError> {
        let number = value
            .as_int()
            .ok_or_else(|| self.wrong_kind(value, "an integer"))?;
        let values = 1_i128 << (8 * self.field.width);
        let (lowest, highest) = match self.field.kind {
            Kind::Signed => (-values / 2, values / 2 - 1),
            Kind::Pointer => (-values / 2, values - 1),
            _ => (0, values - 1),
        };
        if (lowest..=highest).contains(&number) {
            return Ok(number);
        }
        Err(PackError::OutOfRange {
            value: self.index,
            letter: self.field.letter,
            position: self.field.position,
            number,
            lowest,
            highest,
        })
    }

    fn float(&self, value: &Value) -> Result<f64, PackError> {
        value
            .as_float()
            .ok_or_else(|| self.wrong_kind(value, "a float"))
    }

    fn bytes<'a>(&self, value: &'a Value) -> Result<&'a Bytes, PackError> {
        match value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_kind(value, "bytes")),
        }
    }

    fn one_byte(&self, value: &Value) -> Result<u8, PackError> {
        match **self.bytes(value)? {
            [byte] => Ok(byte),
            ref others => Err(PackError::NotOneByte {
                value: self.index,
                letter: self.field.letter,
                position: self.field.position,
                length: others.len(),
            }),
        }
    }

    fn wrong_kind(&self, value: &Value, takes: &'static str) -> PackError {
        PackError::WrongKind {
            value: self.index,
            letter: self.field.letter,
            position: self.field.position,
            found: value.name(),
            takes,
        }
    }

    fn too_large(&self, number: f64) -> PackError {
        PackError::FloatTooLarge {
            value: self.index,
            letter: self.field.letter,
            position: self.field.position,
            number,
        }
    }
}

/// What of the bytes there is room for; the rest of the room stays zero.
fn put_bytes(bytes: &[u8], place: &mut [u8]) {
    let length = bytes.len().min(place.len());
    place[..length].copy_from_slice(&bytes[..length]);
}

/// The same behind a byte that says how many they are, or 255 where they are more, as CPython has it.
fn put_pascal(bytes: &[u8], place: &mut [u8]) {
    if let Some((length, room)) = place.split_first_mut() {
        put_bytes(bytes, room);
        *length = u8::try_from(bytes.len().min(room.len())).unwrap_or(u8::MAX);
    }
}
