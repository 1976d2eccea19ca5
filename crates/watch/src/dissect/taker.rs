//! Taking fields off the front of a header, each with its bytes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::layer::{Field, Value};

/// Reads fields one after the other. Where the bytes end, everything behind gives `None`.
#[derive(Debug)]
pub(super) struct Taker<'a> {
    data: &'a [u8],
    begin: usize,
    at: usize,
    end: usize,
    pub(super) fields: Vec<Field>,
}

impl<'a> Taker<'a> {
    /// From `range` of the data, as far as it has it.
    pub(super) fn new(data: &'a [u8], range: Range<usize>) -> Self {
        let end = range.end.min(data.len());
        Self {
            data,
            begin: range.start,
            at: range.start.min(end),
            end,
            fields: Vec::new(),
        }
    }

    /// Where the next field begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Where the first field began.
    pub(super) fn begin(&self) -> usize {
        self.begin
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..self.end).unwrap_or_default()
    }

    /// Nothing behind `end` belongs to it.
    pub(super) fn limit(&mut self, end: usize) {
        self.end = self.end.min(end).max(self.at);
    }

    /// The next bytes, without a field for them.
    pub(super) fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.rest().get(..count)?;
        self.at += count;
        Some(bytes)
    }

    /// A number of 1 to 8 bytes, without a field for it.
    pub(super) fn peek(&self, ahead: usize, count: usize) -> Option<u64> {
        let bytes = self.rest().get(ahead..ahead.checked_add(count)?)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    /// A field for what was read since `from`.
    pub(super) fn push(
        &mut self,
        from: usize,
        name: &'static str,
        key: &'static str,
        value: Value,
    ) -> &mut Field {
        self.fields.push(Field {
            name,
            key,
            value,
            meaning: None,
            bytes: from..self.at,
            parts: Vec::new(),
        });
        let last = self.fields.len() - 1;
        &mut self.fields[last]
    }

    /// A number of 1 to 8 bytes, in network byte order.
    pub(super) fn number(
        &mut self,
        count: usize,
        name: &'static str,
        key: &'static str,
    ) -> Option<u64> {
        let from = self.at;
        let number = self.peek(0, count)?;
        self.at += count;
        self.push(from, name, key, Value::Number(number));
        Some(number)
    }

    /// A number that has a meaning.
    pub(super) fn named(
        &mut self,
        count: usize,
        name: &'static str,
        key: &'static str,
        meaning: impl FnOnce(u64) -> Option<String>,
    ) -> Option<u64> {
        let number = self.number(count, name, key)?;
        if let Some(field) = self.fields.last_mut() {
            field.meaning = meaning(number);
        }
        Some(number)
    }

    /// A number that is read in hexadecimal digits.
    pub(super) fn hex(
        &mut self,
        count: usize,
        name: &'static str,
        key: &'static str,
    ) -> Option<u64> {
        let number = self.number(count, name, key)?;
        if let Some(field) = self.fields.last_mut() {
            field.value = Value::Hex(number);
        }
        Some(number)
    }

    pub(super) fn mac(&mut self, name: &'static str, key: &'static str) -> Option<()> {
        let from = self.at;
        let bytes = *self.skip(6)?.first_chunk()?;
        self.push(from, name, key, Value::Mac(bytes));
        Some(())
    }

    pub(super) fn ipv4(&mut self, name: &'static str, key: &'static str) -> Option<Ipv4Addr> {
        let from = self.at;
        let address = Ipv4Addr::from(*self.skip(4)?.first_chunk::<4>()?);
        self.push(from, name, key, Value::Ipv4(address));
        Some(address)
    }

    pub(super) fn ipv6(&mut self, name: &'static str, key: &'static str) -> Option<Ipv6Addr> {
        let from = self.at;
        let address = Ipv6Addr::from(*self.skip(16)?.first_chunk::<16>()?);
        self.push(from, name, key, Value::Ipv6(address));
        Some(address)
    }

    pub(super) fn opaque(
        &mut self,
        count: usize,
        name: &'static str,
        key: &'static str,
    ) -> Option<&'a [u8]> {
        let from = self.at;
        let bytes = self.skip(count)?;
        self.push(from, name, key, Value::Opaque(bytes.to_vec()));
        Some(bytes)
    }

    /// Bytes that are text.
    pub(super) fn text(
        &mut self,
        count: usize,
        name: &'static str,
        key: &'static str,
    ) -> Option<&'a [u8]> {
        let from = self.at;
        let bytes = self.skip(count)?;
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.push(from, name, key, Value::Text(text));
        Some(bytes)
    }

    /// Fields that are parts of one: those that `take` reads.
    pub(super) fn group<T>(
        &mut self,
        name: &'static str,
        key: &'static str,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let from = self.at;
        let outer = std::mem::take(&mut self.fields);
        let taken = take(self);
        let parts = std::mem::replace(&mut self.fields, outer);
        self.push(from, name, key, Value::Parts).parts = parts;
        taken
    }
}

/// A bit, or a few, of a field that was read already.
pub(super) fn bits(of: &Field, name: &'static str, key: &'static str, value: Value) -> Field {
    Field {
        name,
        key,
        value,
        meaning: None,
        bytes: of.bytes.clone(),
        parts: Vec::new(),
    }
}
