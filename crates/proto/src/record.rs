//! What a lane carries: records, and the items in them.
//!
//! A record is a header of [`RECORD_HEADER`] bytes in clear, a body, and (where the session is
//! encrypted) a tag. The body, once opened, is a sequence of items: a header of [`ITEM_HEADER`] bytes
//! and as many bytes as it says. All numbers are big-endian.
//!
//! ```text
//! record header:  length u32 (bytes of body, without the tag) | kind u8 | 0 u8 | 0 u16
//! item header:    kind u8 | attempt u8 | 0 u16 | length u32 | entry u64 | offset u64
//! ```

use crate::entry::EntryNumber;
use crate::extent::Hash;

/// Bytes of a record's header.
pub const RECORD_HEADER: usize = 8;

/// Bytes of an item's header.
pub const ITEM_HEADER: usize = 24;

/// Bytes of content that one item carries at most: 128 KiB. Larger ones fall out of the L2 cache
/// between hash, cipher and socket.
pub const MAX_CONTENT: usize = 128 << 10;

/// Bytes of a record's body at most: one full item of content, and the value that may follow it.
pub const MAX_BODY: usize = MAX_CONTENT + ITEM_HEADER + VALUE_ITEM;

/// Bytes of an item that carries an extent's value.
const VALUE_ITEM: usize = ITEM_HEADER + 32;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Its body is items.
    Items,
    /// The lane ends here, in order; the body is empty.
    End,
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What it is for.
    pub kind: RecordKind,
    /// Bytes of the body, without the tag: at most [`MAX_BODY`].
    pub length: usize,
}

/// Why bytes on a lane are not records or items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A length beyond its bound, or beyond the record.
    #[error("a record or item is longer than it may be")]
    TooLong,
    /// A kind, or a reserved field that is not zero.
    #[error("a record or item of an unknown kind")]
    Unknown,
    /// A record or item that is shorter than its header.
    #[error("a record or item is cut short")]
    Short,
}

impl RecordHeader {
    /// The bytes on the wire.
    #[must_use]
    pub fn emit(self) -> [u8; RECORD_HEADER] {
        let kind = match self.kind {
            RecordKind::Items => 1,
            RecordKind::End => 2,
        };
        // Bounded by MAX_BODY wherever a header is made.
        let [a, b, c, d] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        [a, b, c, d, kind, 0, 0, 0]
    }

    /// Reads a header, and holds its length against [`MAX_BODY`].
    ///
    /// # Errors
    /// The rule it breaks.
    pub fn parse(bytes: [u8; RECORD_HEADER]) -> Result<Self, RecordError> {
        let [a, b, c, d, kind, 0, 0, 0] = bytes else {
            return Err(RecordError::Unknown);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_BODY {
            return Err(RecordError::TooLong);
        }
        match kind {
            1 => Ok(Self {
                kind: RecordKind::Items,
                length,
            }),
            2 if length == 0 => Ok(Self {
                kind: RecordKind::End,
                length,
            }),
            2 => Err(RecordError::TooLong),
            _ => Err(RecordError::Unknown),
        }
    }
}

/// Which attempt at which entry an item belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The entry.
    pub entry: EntryNumber,
    /// 0 for the file as the manifest has it, one more for each revision.
    pub attempt: u8,
}

/// One item of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// Bytes of a file.
    Content {
        /// Whose.
        of: Attempt,
        /// Where they go.
        offset: u64,
        /// 1 to [`MAX_CONTENT`] of them.
        bytes: &'a [u8],
    },
    /// The value of an extent whose bytes are all there.
    Value {
        /// Whose.
        of: Attempt,
        /// Where the extent starts.
        offset: u64,
        /// Its value.
        value: Hash,
    },
    /// Where a stream of unknown size has turned out to end.
    End {
        /// Whose.
        of: Attempt,
        /// Its size.
        size: u64,
    },
}

/// The items of an opened record body. Ends after the first error.
pub fn items(body: &[u8]) -> impl Iterator<Item = Result<Item<'_>, RecordError>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        Some(take_item(&mut rest).inspect_err(|_| rest = &[]))
    })
}

fn take_item<'a>(rest: &mut &'a [u8]) -> Result<Item<'a>, RecordError> {
    let (header, behind) = rest
        .split_first_chunk::<ITEM_HEADER>()
        .ok_or(RecordError::Short)?;
    let [kind, attempt, 0, 0, a, b, c, d, numbers @ ..] = *header else {
        return Err(RecordError::Unknown);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let numbers = u128::from_be_bytes(numbers);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low half is what is wanted"
    )]
    let (entry, offset) = ((numbers >> 64) as u64, numbers as u64);
    let of = Attempt { entry, attempt };
    let (bytes, behind) = behind
        .split_at_checked(length)
        .ok_or(RecordError::TooLong)?;
    *rest = behind;
    match kind {
        1 if bytes.is_empty() => Err(RecordError::Short),
        1 if length > MAX_CONTENT => Err(RecordError::TooLong),
        1 => Ok(Item::Content { of, offset, bytes }),
        2 => bytes
            .try_into()
            .map_err(|_| RecordError::Short)
            .map(|value| Item::Value { of, offset, value }),
        3 if bytes.is_empty() => Ok(Item::End { of, size: offset }),
        _ => Err(RecordError::Unknown),
    }
}

/// A record being filled: room for the header, the body and a tag in one buffer that is used again and
/// again, so that content is read straight to where it is sealed and sent from.
#[derive(Debug)]
pub struct RecordBuilder {
    buffer: Box<[u8]>,
    /// Bytes of body so far.
    length: usize,
}

/// Bytes of room for a tag behind the body.
pub const MAX_TAG: usize = 16;

impl Default for RecordBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl RecordBuilder {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: vec![0; RECORD_HEADER + MAX_BODY + MAX_TAG].into(),
            length: 0,
        }
    }

    /// Whether it holds no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes of content that an item added now could carry with its extent's value behind it.
    #[must_use]
    pub fn room(&self) -> usize {
        MAX_BODY
            .saturating_sub(self.length + ITEM_HEADER + VALUE_ITEM)
            .min(MAX_CONTENT)
    }

    /// Where content that is added next has to be put: [`room`](Self::room) bytes. They count once
    /// [`commit_content`](Self::commit_content) says how many there are.
    #[must_use]
    pub fn content_mut(&mut self) -> &mut [u8] {
        let room = self.room();
        let start = RECORD_HEADER + self.length + ITEM_HEADER;
        &mut self.buffer[start..][..room]
    }

    /// Makes an item of the first `length` bytes of [`content_mut`](Self::content_mut), and gives them.
    /// Lengths of 0 or beyond the room add nothing.
    pub fn commit_content(&mut self, of: Attempt, offset: u64, length: usize) -> &[u8] {
        if length == 0 || length > self.room() {
            return &[];
        }
        let start = RECORD_HEADER + self.length + ITEM_HEADER;
        self.put_header(1, of, length, offset);
        self.length += length;
        &self.buffer[start..][..length]
    }

    /// Adds an extent's value. There is room for one behind every content item, and for one in an
    /// empty record; `false`, adding nothing, where there is none.
    #[must_use]
    pub fn add_value(&mut self, of: Attempt, offset: u64, value: &Hash) -> bool {
        if self.length + VALUE_ITEM > MAX_BODY {
            return false;
        }
        self.put_header(2, of, value.len(), offset);
        self.buffer[RECORD_HEADER + self.length..][..value.len()].copy_from_slice(value);
        self.length += value.len();
        true
    }

    /// Adds the end of a stream; `false`, adding nothing, where there is no room.
    #[must_use]
    pub fn add_end(&mut self, of: Attempt, size: u64) -> bool {
        if self.length + ITEM_HEADER > MAX_BODY {
            return false;
        }
        self.put_header(3, of, 0, size);
        true
    }

    /// Writes an item's header; `length` is below [`MAX_BODY`] for every caller.
    fn put_header(&mut self, kind: u8, of: Attempt, length: usize, offset: u64) {
        let header = &mut self.buffer[RECORD_HEADER + self.length..][..ITEM_HEADER];
        header[..4].copy_from_slice(&[kind, of.attempt, 0, 0]);
        header[4..8].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        header[8..16].copy_from_slice(&of.entry.to_be_bytes());
        header[16..24].copy_from_slice(&offset.to_be_bytes());
        self.length += ITEM_HEADER;
    }

    /// Closes the record: `seal` is given the header and the body, which it may encrypt in place, and
    /// answers with a tag. What is returned is the record as it goes on the wire; the builder is empty
    /// again with the next item.
    ///
    /// # Errors
    /// Whatever `seal` answers with.
    pub fn seal<T, E>(
        &mut self,
        kind: RecordKind,
        seal: impl FnOnce(&[u8], &mut [u8]) -> Result<T, E>,
    ) -> Result<&[u8], E>
    where
        T: AsRef<[u8]>,
    {
        let length = std::mem::take(&mut self.length);
        let (header, rest) = self.buffer.split_at_mut(RECORD_HEADER);
        header.copy_from_slice(&RecordHeader { kind, length }.emit());
        let (body, room) = rest.split_at_mut(length);
        let tag = seal(header, body)?;
        let tag = tag.as_ref();
        let tag = &tag[..tag.len().min(MAX_TAG)];
        room[..tag.len()].copy_from_slice(tag);
        Ok(&self.buffer[..RECORD_HEADER + length + tag.len()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OF: Attempt = Attempt {
        entry: 0x0102_0304_0506_0708,
        attempt: 9,
    };

    fn plain(builder: &mut RecordBuilder) -> Vec<u8> {
        let sealed = builder.seal(RecordKind::Items, |_, _| Ok::<_, ()>([]));
        sealed.unwrap()[RECORD_HEADER..].to_vec()
    }

    #[test]
    fn a_full_item_and_its_value_fill_a_record() {
        let mut builder = RecordBuilder::new();
        assert_eq!(builder.room(), MAX_CONTENT);
        builder.content_mut().fill(0xa5);
        assert_eq!(
            builder.commit_content(OF, 7, MAX_CONTENT).len(),
            MAX_CONTENT
        );
        assert!(builder.add_value(OF, 0, &[3; 32]));
        assert!(!builder.add_value(OF, 0, &[3; 32]) && !builder.add_end(OF, 1));
        assert_eq!(builder.room(), 0);
        let body = plain(&mut builder);
        assert_eq!(body.len(), MAX_BODY);
        let items: Vec<_> = items(&body).map(Result::unwrap).collect();
        assert_eq!(
            items[0],
            Item::Content {
                of: OF,
                offset: 7,
                bytes: &[0xa5; MAX_CONTENT]
            }
        );
        assert_eq!(
            items[1],
            Item::Value {
                of: OF,
                offset: 0,
                value: [3; 32]
            }
        );
        assert!(builder.is_empty());
    }

    #[test]
    fn the_bytes_are_as_specified() {
        let mut builder = RecordBuilder::new();
        builder.content_mut()[..2].copy_from_slice(b"hi");
        builder.commit_content(OF, 0x10, 2);
        let sealed = builder.seal(RecordKind::Items, |_, body| {
            body.reverse();
            Ok::<_, ()>([0xee; 16])
        });
        let mut body = [
            &[
                1, 9, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0x10,
            ],
            &b"hi"[..],
        ]
        .concat();
        body.reverse();
        assert_eq!(
            sealed.unwrap(),
            [&[0, 0, 0, 26, 1, 0, 0, 0], &body[..], &[0xee; 16]].concat()
        );
    }

    #[test]
    fn headers_beyond_their_bounds_are_refused() {
        let header = |length: u32, kind: u8, reserved: u8| {
            let [a, b, c, d] = length.to_be_bytes();
            RecordHeader::parse([a, b, c, d, kind, reserved, 0, 0])
        };
        assert!(header(u32::try_from(MAX_BODY).unwrap(), 1, 0).is_ok());
        assert_eq!(
            header(u32::try_from(MAX_BODY + 1).unwrap(), 1, 0),
            Err(RecordError::TooLong)
        );
        assert_eq!(header(1, 2, 0), Err(RecordError::TooLong));
        assert_eq!(header(1, 1, 1), Err(RecordError::Unknown));
        assert_eq!(header(1, 9, 0), Err(RecordError::Unknown));
    }

    proptest! {
        #[test]
        fn any_body_is_items_or_an_error(body in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..200)) {
            let mut covered = 0;
            for item in items(&body) {
                covered += ITEM_HEADER + match item {
                    Ok(Item::Content { bytes, .. }) => bytes.len(),
                    Ok(Item::Value { .. }) => 32,
                    Ok(Item::End { .. }) => 0,
                    Err(_) => { covered = body.len(); break; }
                };
            }
            prop_assert_eq!(covered, body.len());
        }
    }
}
