//! Bytes from values and back: the formats of Python's struct module.
//!
//! A [`Format`] is parsed once; then it packs as many [`Value`]s as it has fields, and unpacks as many
//! bytes as it has. What CPython 3.11 does on 64-bit Linux is done here, byte for byte, in native mode as
//! in standard mode; docs/struct.md has the tables, and the one fault of CPython that is not copied.
//!
//! ```
//! use packhorse_frame::pack::{Format, Value};
//!
//! let header: Format = "<i".parse()?;
//! assert_eq!(header.pack(&[Value::Int(1024)])?, [0, 4, 0, 0]);
//! assert_eq!(header.unpack(&[0, 4, 0, 0])?, [Value::Int(1024)]);
//!
//! // Native mode, which is where no order is named, aligns: the int begins at 4.
//! assert_eq!("bi".parse::<Format>()?.size(), 8);
//! assert_eq!("=bi".parse::<Format>()?.size(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod code;
mod decode;
mod encode;
mod error;
mod format;
mod half;
mod parse;
mod single;
mod value;

#[cfg(test)]
mod tests;

pub use code::Kind;
pub use decode::Values;
pub use error::{FormatError, PackError, UnpackError};
pub use format::{Field, Fields, Format, MAX_SIZE};
pub use value::Value;
