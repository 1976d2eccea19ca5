//! From bytes as they come to messages.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

use crate::error::{Delimiter, FrameError};
use crate::length::{LengthType, Varint, read_varint};
use crate::limits::Limits;
use crate::spec::{FrameSpec, HeaderSpec};

/// A message, and where it was in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What the sender meant. It shares the memory of the input and is not a copy.
    pub payload: Bytes,
    /// Where in the stream the frame's first byte was.
    pub offset: u64,
    /// Bytes of the whole frame, header and delimiter included.
    pub wire_length: u64,
}

/// Finds the messages in a stream. Does no IO: bytes come in, messages go out.
///
/// Append what arrives to a buffer, and call [`decode`](Self::decode) until it gives `None`; between calls
/// only append to the buffer. When the stream has ended, call [`finish`](Self::finish) until it gives
/// `None`. Once wrong, always wrong: where a boundary is lost, every byte behind it means nothing, so
/// the same error comes again.
///
/// Nothing is allocated or reserved here, whatever length a peer claims.
#[derive(Debug, Clone)]
pub struct Decoder {
    spec: FrameSpec,
    limit: usize,
    /// Bytes of the stream that were consumed.
    offset: u64,
    /// Bytes at the front of the input that are known to hold no delimiter.
    searched: usize,
    failed: Option<FrameError>,
}

/// Where the first frame of the input lies.
struct Cut {
    head: usize,
    payload: usize,
    tail: usize,
}

/// Where the first frame lies, `None` when more bytes are needed to tell or to have it whole.
type Found = Result<Option<Cut>, FrameError>;

impl Decoder {
    pub(crate) fn new(spec: FrameSpec, limits: Limits) -> Self {
        Self {
            spec,
            limit: limits.max_message,
            offset: 0,
            searched: 0,
            failed: None,
        }
    }

    /// Takes the next whole message off the front of `input`. `None`: more bytes are needed.
    ///
    /// # Errors
    /// The stream is not in this framing, or a message is over the limit.
    #[inline]
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Message>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.find(input) {
            Ok(Some(cut)) => Ok(Some(self.take(input, &cut))),
            Ok(None) => Ok(None),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Takes the next message off the front of `input` when no more bytes will come. `None`: that was all.
    ///
    /// A last line (or last message before a zero byte) that nothing ends is a message, as it is for every
    /// tool that reads lines.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode); and the stream ended within a message.
    pub fn finish(&mut self, input: &mut BytesMut) -> Result<Option<Message>, FrameError> {
        if let Some(message) = self.decode(input)? {
            return Ok(Some(message));
        }
        if input.is_empty() {
            return Ok(None);
        }
        if let FrameSpec::Delimited(_) = self.spec {
            let cut = Cut {
                head: 0,
                payload: input.len(),
                tail: 0,
            };
            return Ok(Some(self.take(input, &cut)));
        }
        Err(self.fail(FrameError::Truncated {
            offset: self.offset,
            received: input.len() as u64,
        }))
    }

    /// Bytes of the stream that were consumed so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    #[cold]
    fn fail(&mut self, error: FrameError) -> FrameError {
        self.failed = Some(error);
        error
    }

    #[inline]
    fn take(&mut self, input: &mut BytesMut, cut: &Cut) -> Message {
        input.advance(cut.head);
        let payload = match cut.payload {
            // Nothing needs no share of the input's memory.
            0 => Bytes::new(),
            length => input.split_to(length).freeze(),
        };
        input.advance(cut.tail);
        let wire_length = (cut.head + cut.payload + cut.tail) as u64;
        let offset = self.offset;
        self.offset += wire_length;
        self.searched = 0;
        Message {
            payload,
            offset,
            wire_length,
        }
    }

    #[inline]
    fn find(&mut self, input: &[u8]) -> Found {
        match self.spec {
            FrameSpec::Length(field) => self.after_length(field, input),
            FrameSpec::None => Ok(self.any(input)),
            FrameSpec::Delimited(delimiter) => self.delimited(delimiter, input),
            FrameSpec::Varint => self.after_varint(input),
            FrameSpec::Fixed(size) => self.sized(input, 0, size.get() as u64),
            FrameSpec::Header(header) => self.with_header(header, input),
        }
    }

    /// All there is, in pieces of at most the limit: where nothing marks messages nothing can be too long.
    fn any(&self, input: &[u8]) -> Option<Cut> {
        let payload = input.len().min(self.limit.max(1));
        (payload > 0).then_some(Cut {
            head: 0,
            payload,
            tail: 0,
        })
    }

    fn delimited(&mut self, delimiter: Delimiter, input: &[u8]) -> Found {
        // The delimiter of the longest message lies just behind the limit.
        let end = input.len().min(self.limit.saturating_add(1));
        let start = self.searched.min(end);
        match memchr(delimiter.byte(), &input[start..end]) {
            Some(at) => Ok(Some(Cut {
                head: 0,
                payload: start + at,
                tail: 1,
            })),
            None if end > self.limit => Err(FrameError::NoDelimiter {
                offset: self.offset,
                delimiter,
                limit: self.limit,
            }),
            None => {
                self.searched = end;
                Ok(None)
            }
        }
    }

    #[inline]
    fn after_length(&self, field: LengthType, input: &[u8]) -> Found {
        let Some(length) = field.read(input) else {
            return Ok(None);
        };
        if field == LengthType::I32Le && length > field.largest() {
            #[allow(clippy::cast_possible_truncation, reason = "it was read from 32 bits")]
            let length = (length as u32).cast_signed();
            return Err(FrameError::NegativeLength {
                offset: self.offset,
                length,
            });
        }
        self.sized(input, field.width(), length)
    }

    fn after_varint(&self, input: &[u8]) -> Found {
        match read_varint(input) {
            Varint::Whole(length, head) => self.sized(input, head, length),
            Varint::Partial => Ok(None),
            Varint::Bad => Err(FrameError::BadVarint {
                offset: self.offset,
            }),
        }
    }

    fn with_header(&self, header: HeaderSpec, input: &[u8]) -> Found {
        // Before waiting for a header: would it alone be over the limit?
        self.within_limit(header.head())?;
        let offset = usize::try_from(header.offset).unwrap_or(usize::MAX);
        let Some(length) = input.get(offset..).and_then(|rest| header.field.read(rest)) else {
            return Ok(None);
        };
        let HeaderSpec { adjust, .. } = header;
        match length.checked_add_signed(adjust) {
            Some(rest) => self.sized(input, 0, rest.saturating_add(header.head())),
            None if adjust > 0 => self.sized(input, 0, u64::MAX),
            None => Err(FrameError::NegativeAdjusted {
                offset: self.offset,
                length,
                adjust,
            }),
        }
    }

    /// `head` bytes and a payload of `length`, if the limit allows and all of it is there.
    #[inline]
    fn sized(&self, input: &[u8], head: usize, length: u64) -> Found {
        let payload = self.within_limit(length)?;
        // The head was read from the input, so that nothing overflows or underflows here.
        if input.len() - head < payload {
            return Ok(None);
        }
        Ok(Some(Cut {
            head,
            payload,
            tail: 0,
        }))
    }

    /// A claimed length as one that may be waited for.
    #[inline]
    fn within_limit(&self, length: u64) -> Result<usize, FrameError> {
        match usize::try_from(length) {
            Ok(possible) if possible <= self.limit => Ok(possible),
            _ => Err(FrameError::TooLong {
                offset: self.offset,
                length,
                limit: self.limit,
            }),
        }
    }
}
