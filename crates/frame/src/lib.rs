//! Message boundaries on byte streams, and struct formats: no IO.
//!
//! A stream socket delivers bytes, not messages. A [`FrameSpec`] says how two programs agreed to mark
//! where a message ends; its [`Decoder`] finds the messages in whatever pieces the bytes arrive, its
//! [`Encoder`] marks them. docs/frames.md shows every framing byte by byte. What lies within a message,
//! field by field, is the matter of [`pack`].
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use packhorse_frame::{FrameSpec, Limits};
//!
//! let spec: FrameSpec = "u16be".parse()?;
//! let mut stream = BytesMut::new();
//! for payload in ["hello", "", "world"] {
//!     let frame = spec.encoder(Limits::default()).encode(Bytes::from(payload))?;
//!     frame.put_into(&mut stream);
//! }
//! assert_eq!(&stream[..], b"\0\x05hello\0\0\0\x05world");
//!
//! // The bytes arrive in two pieces, cut in the middle of a length.
//! let mut decoder = spec.decoder(Limits::default());
//! let mut input = BytesMut::from(&stream[..8]);
//! assert_eq!(decoder.decode(&mut input)?.unwrap().payload, "hello");
//! assert_eq!(decoder.decode(&mut input)?, None);
//! input.extend_from_slice(&stream[8..]);
//! assert_eq!(decoder.decode(&mut input)?.unwrap().payload, "");
//! let last = decoder.decode(&mut input)?.unwrap();
//! assert_eq!((last.offset, last.wire_length, &last.payload[..]), (9, 7, &b"world"[..]));
//! assert_eq!(decoder.finish(&mut input)?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod encode;
mod error;
mod frame;
mod length;
mod limits;
mod notation;
pub mod pack;
mod spec;

pub use decode::{Decoder, Message};
pub use encode::Encoder;
pub use error::{Delimiter, EncodeError, FrameError};
pub use frame::Frame;
pub use length::LengthType;
pub use limits::Limits;
pub use notation::FrameSpecError;
pub use spec::{Field, FrameSpec, HeaderSpec};
