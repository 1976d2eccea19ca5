//! From messages to frames.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use crate::error::EncodeError;
use crate::frame::Frame;
use crate::length::{Head, LengthType};
use crate::limits::Limits;
use crate::spec::{FrameSpec, HeaderSpec};

/// Makes frames of messages. Whatever a [`Decoder`](crate::Decoder) of the same framing and limits would
/// not take, or would take for something else, is refused here.
#[derive(Debug, Clone)]
pub struct Encoder {
    spec: FrameSpec,
    limit: usize,
}

impl Encoder {
    pub(crate) fn new(spec: FrameSpec, limits: Limits) -> Self {
        Self {
            spec,
            limit: limits.max_message,
        }
    }

    /// The message as it goes on the wire; the payload is not copied.
    ///
    /// For `header` the message is the whole frame already, and its length is checked.
    ///
    /// # Errors
    /// The message is over the limit or over what the length field can say, holds the delimiter, or has
    /// another size than the framing wants.
    #[inline]
    pub fn encode(&self, payload: Bytes) -> Result<Frame, EncodeError> {
        let (head, tail) = self.marks(&payload)?;
        Ok(Frame::new(head, payload, tail))
    }

    /// What goes before and behind the payload.
    /// Appends `payload` in its frame to `out`: for small messages, of which many go into one write.
    /// `out` stays as it was where the message does not fit.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    #[inline]
    pub fn encode_into(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        if let FrameSpec::Length(field) = self.spec {
            // The common case, with heads of sizes that the compiler knows: 1.7 times as fast.
            self.check_length(field, payload.len())?;
            out.reserve(field.width() + payload.len());
            field.put(payload.len() as u64, out);
            out.extend_from_slice(payload);
            return Ok(());
        }
        let (head, tail) = self.marks(payload)?;
        let head = head.as_slice();
        out.reserve(head.len() + payload.len() + tail.len());
        out.extend_from_slice(head);
        out.extend_from_slice(payload);
        out.extend_from_slice(tail);
        Ok(())
    }

    #[inline]
    fn check_length(&self, field: LengthType, length: usize) -> Result<(), EncodeError> {
        if length > self.limit {
            let limit = self.limit;
            return Err(EncodeError::OverLimit { length, limit });
        }
        let largest = field.largest();
        match length as u64 > largest {
            true => Err(EncodeError::OverField { length, largest }),
            false => Ok(()),
        }
    }

    #[inline]
    fn marks(&self, payload: &[u8]) -> Result<(Head, &'static [u8]), EncodeError> {
        let length = payload.len();
        // Where nothing marks messages nothing can be too long.
        if length > self.limit && self.spec != FrameSpec::None {
            let limit = self.limit;
            return Err(EncodeError::OverLimit { length, limit });
        }
        match self.spec {
            FrameSpec::None => Ok((Head::EMPTY, &[])),
            FrameSpec::Delimited(delimiter) => match memchr(delimiter.byte(), payload) {
                Some(at) => Err(EncodeError::HoldsDelimiter { delimiter, at }),
                None => Ok((Head::EMPTY, delimiter.bytes())),
            },
            FrameSpec::Length(field) => {
                self.check_length(field, length)?;
                Ok((field.head(length as u64), &[]))
            }
            FrameSpec::Varint => Ok((Head::varint(length as u64), &[])),
            FrameSpec::Fixed(size) if length != size.get() => {
                let fixed = size.get();
                Err(EncodeError::NotFixed { length, fixed })
            }
            FrameSpec::Fixed(_) => Ok((Head::EMPTY, &[])),
            FrameSpec::Header(header) => {
                check_header(header, payload)?;
                Ok((Head::EMPTY, &[]))
            }
        }
    }
}

/// Holds the length in a frame's header against the frame.
fn check_header(header: HeaderSpec, frame: &[u8]) -> Result<(), EncodeError> {
    let length = frame.len();
    // A header that no memory could hold is longer than any frame.
    let offset = usize::try_from(header.offset).unwrap_or(usize::MAX);
    let claimed = frame.get(offset..).and_then(|rest| header.field.read(rest));
    let head = offset.saturating_add(header.field.width());
    let Some(claimed) = claimed else {
        return Err(EncodeError::ShorterThanHeader {
            length,
            header: head,
        });
    };
    let right = (length - head) as i128 - i128::from(header.adjust);
    if i128::from(claimed) != right {
        return Err(EncodeError::WrongHeader {
            length,
            claimed,
            right,
        });
    }
    Ok(())
}
