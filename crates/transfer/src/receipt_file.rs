//! The receipt as a JSON file: what arrived entry by entry, and what the receipt says of the whole.
//!
//! ```json
//! {"v":1,"format":"packhorse-receipt","entries":[
//! {"path":"notes","kind":"directory","mode":"0755","modified":"1700000000.000000000"},
//! {"path":"notes/a.txt","kind":"file","mode":"0644","modified":"-0.500000000","size":2,"hash":"…"},
//! {"path_base64":"bm90ZXMv/w==","kind":"symlink","mode":"0777","modified":"0.000000001","target":"a.txt"}
//! ],
//! "files":1,"directories":1,"symlinks":1,"bytes":2,"kept":0,"failed":0,"root":"…",
//! "elapsed_seconds":0.25,"rate_bytes_per_second":8,
//! "sender":{"read_seconds":0.1,"hash_seconds":0.0,"encrypt_seconds":0.0,"network_seconds":0.1,
//! "write_seconds":0.0,"idle_seconds":0.05},"receiver":{…},"limited_by":"the sender's reading"}
//! ```
//!
//! - Paths and link targets are text where they are UTF-8; otherwise `path_base64` or `target_base64`
//!   holds their bytes (RFC 4648 §4, padded).
//! - `modified` is the decimal number of seconds since 1970-01-01T00:00:00Z with nine digits after the
//!   point: half a second before 1970 is `-0.500000000`. A string, because numbers in JSON lose digits.
//! - `hash` is the BLAKE3 hash of a file's content and `root` the manifest's, both in lower-case
//!   hexadecimal.
//!
//! Writing and reading both stream: neither holds more than one entry. A reader skips fields it does not
//! know, up to [`MAX_FIELD`] bytes each, and refuses a higher `v`.

mod fields;
mod place;
mod read;
mod write;

pub use fields::{EntryFields, PathFields, hex, timestamp_text};
pub use place::{ReceiptFile, ReceiptPlace};
pub use read::{MAX_FIELD, ReceiptFileError, read};
pub use write::{ReceiptWriter, Totals};

/// The version that is written, and the highest that is read.
pub const VERSION: u64 = 1;

/// What `format` says.
const FORMAT: &str = "packhorse-receipt";

#[cfg(test)]
mod tests;
