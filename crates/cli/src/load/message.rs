//! What is sent: content that follows from its connection and its number, so that an answer which
//! belongs elsewhere, or is damaged, shows.

use bytes::{BufMut as _, Bytes, BytesMut};
use packhorse_frame::{Field, FrameSpec, HeaderSpec, LengthType, Limits};

/// Connections that four characters can number.
pub(crate) const MAX_CONNECTIONS: u32 = 1 << 24;

/// Six bits a character. None of them ends a line, and none is a zero byte, so that messages fit every
/// framing.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of a connection's number, and of a message's.
const CONNECTION: usize = 4;
const SEQUENCE: usize = 6;

/// The bytes of a message without a size that is asked for.
const DEFAULT_SIZE: usize = 64;

/// What all messages have in common.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    size: usize,
    /// The header that the framing wants as a part of each message.
    prefix: Bytes,
}

/// Why a size and a framing do not go together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShapeError {
    #[error("--frame {0} takes messages of that size alone, and --size says {1}")]
    Fixed(FrameSpec, usize),
    #[error("an empty message has no bytes, and without a frame nothing else tells it")]
    Empty,
    #[error("a header of {header} bytes does not fit into messages of {size}")]
    Header { header: usize, size: usize },
    #[error("{0}")]
    Frame(#[from] packhorse_frame::EncodeError),
}

impl Shape {
    /// Messages of `size` bytes that can be framed so.
    pub(crate) fn new(spec: FrameSpec, size: Option<usize>) -> Result<Self, ShapeError> {
        let size = match (spec, size) {
            (FrameSpec::Fixed(fixed), Some(size)) if size != fixed.get() => {
                return Err(ShapeError::Fixed(spec, size));
            }
            (FrameSpec::Fixed(fixed), None) => fixed.get(),
            (FrameSpec::None, Some(0)) => return Err(ShapeError::Empty),
            (_, size) => size.unwrap_or(DEFAULT_SIZE),
        };
        let prefix = match spec {
            FrameSpec::Header(header) => prefix(header, size)?,
            _ => Bytes::new(),
        };
        let shape = Self { size, prefix };
        spec.encoder(Limits::default())
            .encode(shape.message(0, 0))?;
        Ok(shape)
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The message of this number on this connection.
    pub(crate) fn message(&self, connection: u32, sequence: u64) -> Bytes {
        let mut message = BytesMut::with_capacity(self.size);
        self.write(&mut message, connection, sequence);
        message.freeze()
    }

    /// Whether this is the message of this number on this connection, whole.
    pub(crate) fn is(&self, payload: &[u8], connection: u32, sequence: u64) -> bool {
        // Whoever asks mostly has the right answer: a look at the length spares little.
        payload.len() == self.size && self.message(connection, sequence) == payload
    }

    fn write(&self, message: &mut BytesMut, connection: u32, sequence: u64) {
        message.put_slice(&self.prefix);
        let mut head = [0; CONNECTION + SEQUENCE];
        digits(&mut head[..CONNECTION], u64::from(connection));
        digits(&mut head[CONNECTION..], sequence);
        let room = self.size - message.len();
        message.put_slice(&head[..room.min(head.len())]);
        let mut state = (u64::from(connection) << 40) ^ sequence;
        while message.len() < self.size {
            let mut characters = [0; 10];
            digits(&mut characters, mixed(&mut state));
            let room = self.size - message.len();
            message.put_slice(&characters[..room.min(characters.len())]);
        }
    }

    /// Which connection and which number a message says it has; `None` where it is too short to say.
    pub(crate) fn claim(&self, payload: &[u8]) -> Option<(u32, u64)> {
        let head = payload.get(self.prefix.len()..)?;
        let connection = number(head.get(..CONNECTION)?)?;
        let sequence = number(head.get(CONNECTION..CONNECTION + SEQUENCE)?)?;
        Some((u32::try_from(connection).ok()?, sequence))
    }
}

/// splitmix64: every number of the state gives another one, far away.
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn digits(out: &mut [u8], mut value: u64) {
    for place in out.iter_mut().rev() {
        *place = ALPHABET[usize::try_from(value & 63).unwrap_or_default()];
        value >>= 6;
    }
}

fn number(characters: &[u8]) -> Option<u64> {
    characters.iter().try_fold(0, |value, character| {
        let digit = ALPHABET.iter().position(|known| known == character)?;
        Some(value << 6 | digit as u64)
    })
}

fn prefix(header: HeaderSpec, size: usize) -> Result<Bytes, ShapeError> {
    let width = header.field.width();
    let offset = usize::try_from(header.offset).unwrap_or(usize::MAX);
    let length = offset.saturating_add(width);
    let fits = ShapeError::Header {
        header: length,
        size,
    };
    let Some(rest) = size.checked_sub(length) else {
        return Err(fits);
    };
    // A length that cannot be said is told by the encoder.
    let value = (rest as u64).wrapping_sub(header.adjust.cast_unsigned());
    let mut field = value.to_be_bytes()[8 - width..].to_vec();
    let little = matches!(
        header.field,
        Field::U24Le | Field::Whole(LengthType::U16Le | LengthType::U32Le | LengthType::U64Le)
    );
    if little {
        field.reverse();
    }
    let mut prefix = vec![b'h'; offset];
    prefix.extend(field);
    Ok(prefix.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(spec: &str, size: usize) -> Shape {
        Shape::new(spec.parse().unwrap(), Some(size)).unwrap()
    }

    #[test]
    fn messages_tell_where_they_belong() {
        let shape = shape("u32be", 64);
        let message = shape.message(9_999, 123_456_789);
        assert_eq!(message.len(), 64);
        assert_eq!(shape.claim(&message), Some((9_999, 123_456_789)));
        assert!(shape.is(&message, 9_999, 123_456_789));
        assert!(!shape.is(&message, 9_998, 123_456_789));
        let mut damaged = message.to_vec();
        damaged[63] ^= 1;
        assert_eq!(shape.claim(&damaged), Some((9_999, 123_456_789)));
        assert!(!shape.is(&damaged, 9_999, 123_456_789));
    }

    #[test]
    fn every_framing_gets_messages_that_it_takes() {
        for (spec, size) in [
            ("line", 1000),
            ("nul", 0),
            ("u8", 255),
            ("varint", 300),
            ("fixed:7", 7),
            ("header:4,2le,-2", 20),
            ("header:0,3,6", 9),
            ("header:0,1,0", 1),
        ] {
            let framing: FrameSpec = spec.parse().unwrap();
            let shape = Shape::new(framing, Some(size)).unwrap();
            let encoder = framing.encoder(Limits::default());
            let mut wire = BytesMut::new();
            for sequence in 0..3 {
                let frame = encoder.encode(shape.message(1, sequence)).unwrap();
                frame.put_into(&mut wire);
            }
            let mut decoder = framing.decoder(Limits::default());
            for sequence in 0..3 {
                let message = decoder.decode(&mut wire).unwrap().unwrap();
                assert!(shape.is(&message.payload, 1, sequence), "{spec}");
            }
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (spec, size, said) in [
            ("fixed:7", 8, "takes messages of that size alone"),
            ("none", 0, "an empty message"),
            ("header:4,2,0", 5, "a header of 6 bytes"),
            ("u8", 256, "more than the 255"),
            ("header:0,1,0", 300, ""),
        ] {
            let error = Shape::new(spec.parse().unwrap(), Some(size)).unwrap_err();
            assert!(error.to_string().contains(said), "{spec}: {error}");
        }
        assert_eq!(
            Shape::new("fixed:7".parse().unwrap(), None).unwrap().size(),
            7
        );
    }
}
