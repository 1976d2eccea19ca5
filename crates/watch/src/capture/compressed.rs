//! Compressed captures, known by how they begin.

use std::io::{self, Cursor, Read};

/// How a gzip member begins (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How a zstd frame begins (RFC 8878 §3.1.1), and how one that is skipped does, but for four bits.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The largest window of a zstd frame, as a power of two: 128 MiB, what the zstd program takes unasked.
const ZSTD_WINDOW: u32 = 27;

/// An input, decompressed where it is compressed.
pub(super) struct Opened {
    pub(super) input: Box<dyn Read + Send>,
    /// The name of the format, where it is compressed.
    pub(super) compression: Option<&'static str>,
}

/// Looks at how the input begins.
pub(super) fn open(mut input: impl Read + Send + 'static) -> io::Result<Opened> {
    let mut begin = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut begin)?;
    let is_zstd = begin == ZSTD || begin.get(1..) == Some(&ZSTD_SKIPPED[..]) && begin[0] >> 4 == 5;
    let is_gzip = begin.starts_with(&GZIP);
    let whole = Cursor::new(begin).chain(input);
    if is_gzip {
        return Ok(Opened {
            input: Box::new(flate2::read::MultiGzDecoder::new(whole)),
            compression: Some("gzip"),
        });
    }
    if is_zstd {
        let mut decoder = zstd::stream::read::Decoder::new(whole)?;
        decoder.window_log_max(ZSTD_WINDOW)?;
        return Ok(Opened {
            input: Box::new(decoder),
            compression: Some("zstd"),
        });
    }
    Ok(Opened {
        input: Box::new(whole),
        compression: None,
    })
}
