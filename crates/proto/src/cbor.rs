//! CBOR (RFC 8949), narrowed: definite lengths, shortest integers, keys ascending, nothing behind.
//!
//! minicbor reads more than that. What it lets pass is refused here, so that every message has one
//! encoding and no two readers can disagree about it.

use minicbor::decode::{Decoder, Error};
use minicbor::encode::Encoder;

/// Field keys from here up may be unknown to the reader, and are then skipped. An unknown key below is
/// refused: the writer relied on its being understood.
pub(crate) const FIRST_OPTIONAL_KEY: u64 = 64;

/// Why bytes are not a message body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Not CBOR, or not the type that was due.
    #[error("malformed CBOR")]
    Malformed,
    /// Valid CBOR in a form that is not the deterministic one.
    #[error("CBOR that is not in its shortest form")]
    NotShortest,
    /// Keys of a map that do not ascend: out of order, or one twice.
    #[error("map keys that do not ascend")]
    KeyOrder,
    /// Bytes after the end of the body.
    #[error("bytes after the end of a message")]
    Trailing,
    /// A field that has to be there is not.
    #[error("field {0} is missing")]
    Missing(u64),
    /// A mandatory field of a later version of the protocol.
    #[error("field {0} is not known here and may not be skipped")]
    Unknown(u64),
    /// A value outside its bounds.
    #[error("field {0} is out of bounds")]
    OutOfBounds(u64),
}

impl From<Error> for CborError {
    fn from(_: Error) -> Self {
        Self::Malformed
    }
}

type Result<T> = std::result::Result<T, CborError>;

/// Reads one body.
pub(crate) struct Reader<'b> {
    decoder: Decoder<'b>,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(body: &'b [u8]) -> Self {
        Self {
            decoder: Decoder::new(body),
        }
    }

    /// Reads a map whose known fields are handled by `field`, which is given each key and reads its
    /// value; it answers `false` for a key it does not know.
    pub(crate) fn map(
        &mut self,
        mut field: impl FnMut(&mut Self, u64) -> Result<bool>,
    ) -> Result<()> {
        let count = self.length(Decoder::map)?;
        let mut last = None;
        for _ in 0..count {
            let key = self.uint()?;
            if last.is_some_and(|last| last >= key) {
                return Err(CborError::KeyOrder);
            }
            last = Some(key);
            if !field(self, key)? {
                if key < FIRST_OPTIONAL_KEY {
                    return Err(CborError::Unknown(key));
                }
                self.decoder.skip()?;
            }
        }
        Ok(())
    }

    /// Reads the header of an array: how many items follow. Not to be used as a size to reserve.
    pub(crate) fn array(&mut self) -> Result<u64> {
        self.length(Decoder::array)
    }

    fn length(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> std::result::Result<Option<u64>, Error>,
    ) -> Result<u64> {
        let start = self.decoder.position();
        let count = read(&mut self.decoder)?.ok_or(CborError::NotShortest)?;
        self.shortest(start, count)?;
        Ok(count)
    }

    pub(crate) fn uint(&mut self) -> Result<u64> {
        let start = self.decoder.position();
        let value = self.decoder.u64()?;
        self.shortest(start, value)?;
        Ok(value)
    }

    /// An unsigned integer of at most `most`.
    pub(crate) fn uint_up_to(&mut self, key: u64, most: u64) -> Result<u64> {
        let value = self.uint()?;
        if value > most {
            Err(CborError::OutOfBounds(key))
        } else {
            Ok(value)
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64> {
        let start = self.decoder.position();
        let value = self.decoder.i64()?;
        let argument = if value < 0 { !value } else { value };
        self.shortest(start, argument.unsigned_abs())?;
        Ok(value)
    }

    /// A byte string of `least` to `most` bytes.
    pub(crate) fn bytes(&mut self, key: u64, least: usize, most: usize) -> Result<&'b [u8]> {
        let start = self.decoder.position();
        let bytes = self.decoder.bytes()?;
        self.string(key, start, bytes, least, most)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn exactly<const N: usize>(&mut self, key: u64) -> Result<[u8; N]> {
        self.bytes(key, N, N)?
            .try_into()
            .map_err(|_| CborError::OutOfBounds(key))
    }

    /// A text string of at most `most` bytes.
    pub(crate) fn text(&mut self, key: u64, most: usize) -> Result<&'b str> {
        let start = self.decoder.position();
        let text = self.decoder.str()?;
        self.string(key, start, text.as_bytes(), 0, most)?;
        Ok(text)
    }

    fn string(
        &self,
        key: u64,
        start: usize,
        bytes: &'b [u8],
        least: usize,
        most: usize,
    ) -> Result<&'b [u8]> {
        let header = self.decoder.position() - start - bytes.len();
        if header != header_length(bytes.len() as u64) {
            return Err(CborError::NotShortest);
        }
        if bytes.len() < least || bytes.len() > most {
            return Err(CborError::OutOfBounds(key));
        }
        Ok(bytes)
    }

    fn shortest(&self, start: usize, argument: u64) -> Result<()> {
        let used = self.decoder.position() - start;
        if used == header_length(argument) {
            Ok(())
        } else {
            Err(CborError::NotShortest)
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<()> {
        if self.decoder.position() == self.decoder.input().len() {
            Ok(())
        } else {
            Err(CborError::Trailing)
        }
    }
}

/// Bytes of the shortest header that carries `argument` (RFC 8949 §3).
fn header_length(argument: u64) -> usize {
    match argument {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Writes a body into a buffer. Writing to memory cannot fail, so errors of the encoder are dropped.
pub(crate) struct Writer<'b> {
    encoder: Encoder<&'b mut Vec<u8>>,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(out: &'b mut Vec<u8>) -> Self {
        Self {
            encoder: Encoder::new(out),
        }
    }

    pub(crate) fn map(&mut self, fields: u64) -> &mut Self {
        let _ = self.encoder.map(fields);
        self
    }

    pub(crate) fn array(&mut self, items: u64) -> &mut Self {
        let _ = self.encoder.array(items);
        self
    }

    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        let _ = self.encoder.u64(value);
        self
    }

    pub(crate) fn int(&mut self, value: i64) -> &mut Self {
        let _ = self.encoder.i64(value);
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let _ = self.encoder.bytes(value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        let _ = self.encoder.str(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `{0: uint}` and says what it holds.
    fn read(body: &[u8]) -> Result<Option<u64>> {
        let mut reader = Reader::new(body);
        let mut value = None;
        reader.map(|reader, key| {
            if key == 0 {
                value = Some(reader.uint()?);
            }
            Ok(key == 0)
        })?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn takes_only_the_deterministic_form() {
        assert_eq!(read(&[0xa1, 0, 5]), Ok(Some(5)));
        assert_eq!(read(&[0xa1, 0, 0x18, 5]), Err(CborError::NotShortest));
        assert_eq!(read(&[0xa1, 0x18, 0, 5]), Err(CborError::NotShortest));
        assert_eq!(read(&[0xb8, 1, 0, 5]), Err(CborError::NotShortest));
        assert_eq!(read(&[0xbf, 0, 5, 0xff]), Err(CborError::NotShortest));
        assert_eq!(read(&[0xa2, 0, 5, 0, 5]), Err(CborError::KeyOrder));
        assert_eq!(read(&[0xa1, 0, 5, 0]), Err(CborError::Trailing));
        assert_eq!(read(&[0xa1, 0]), Err(CborError::Malformed));
        assert_eq!(read(&[0xa1, 0, 0x61, b'x']), Err(CborError::Malformed));
    }

    #[test]
    fn skips_unknown_optional_fields_and_refuses_mandatory_ones() {
        assert_eq!(
            read(&[0xa2, 0, 5, 0x18, 64, 0x82, 1, 0x61, b'x']),
            Ok(Some(5))
        );
        assert_eq!(
            read(&[0xa2, 0, 5, 0x18, 63, 1]),
            Err(CborError::Unknown(63))
        );
    }
}
