//! What can go wrong while watching.

use std::io;

/// Why there are no more frames.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input cannot be read.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// What is captured cannot be kept.
    #[error("cannot keep what is captured: {0}")]
    Write(#[source] io::Error),
    /// The file is neither pcap nor pcapng, nor one of them compressed.
    #[error("not a capture: it begins with neither the mark of pcap nor that of pcapng")]
    NotACapture,
    /// The file is damaged. All frames before this place have been given.
    #[error("damaged at offset {offset}: {what}")]
    Damaged {
        /// Bytes from the beginning of the capture, after decompression.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}
