//! Capture files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::ahead::Ahead;
use super::compressed;
use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::{Frame, Interface, LinkType, Source, Timestamp};
use crate::{Error, Limits};

/// Reads frames from a pcap or pcapng file, also one that is compressed with gzip or zstd, and from a pipe.
#[derive(Debug)]
pub struct Reader {
    ahead: Ahead,
    format: Format,
    interfaces: Vec<Interface>,
    compression: Option<&'static str>,
    limit: usize,
    frames: u64,
    /// Where the current block begins.
    offset: u64,
    /// How long it is.
    size: usize,
    ended: bool,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// A frame in the bytes of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) interface: usize,
    pub(super) link: LinkType,
    pub(super) original_len: u32,
    pub(super) data: Range<usize>,
}

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage(String);

impl Damage {
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl Reader {
    /// Reads from a file.
    ///
    /// # Errors
    /// It cannot be read, or is not a capture.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        Self::new(File::open(path).map_err(Error::Read)?, limits)
    }

    /// Reads from anything, a pipe say. Starts a thread that reads ahead.
    ///
    /// # Errors
    /// It cannot be read, or is not a capture.
    pub fn new(input: impl Read + Send + 'static, limits: &Limits) -> Result<Self, Error> {
        let opened = compressed::open(input).map_err(Error::Read)?;
        let compression = opened.compression;
        let mut ahead = Ahead::new(opened.input).map_err(Error::Read)?;
        let read = |error| unreadable(error, compression, 0);
        // The longer of the two headers, but no more than there is.
        ahead.want(Pcap::HEADER).map_err(read)?;
        let mut interfaces = Vec::new();
        let (format, size) = if let Some(pcap) = Pcap::begin(ahead.bytes(), &mut interfaces) {
            (Format::Pcap(pcap), Pcap::HEADER)
        } else if Pcapng::begins(ahead.bytes()) {
            (Format::Pcapng(Pcapng::default()), 0)
        } else {
            return Err(Error::NotACapture);
        };
        Ok(Self {
            ahead,
            format,
            interfaces,
            compression,
            limit: limits.frame,
            frames: 0,
            offset: 0,
            size,
            ended: false,
        })
    }

    /// What the capture is compressed with. `None`: offsets are those of the file.
    pub fn compression(&self) -> Option<&'static str> {
        self.compression
    }

    /// The next frame in the bytes that are read ahead.
    fn next_record(&mut self) -> Result<Option<Record>, Error> {
        loop {
            self.ahead.consume(self.size);
            self.offset += self.size as u64;
            self.size = 0;
            let damaged = |Damage(what)| Error::Damaged {
                offset: self.offset,
                what,
            };
            let mut need = match self.format {
                Format::Pcap(pcap) => pcap.head(),
                Format::Pcapng(_) => Pcapng::HEAD,
            };
            // The head tells the size.
            for known in [false, true] {
                let there = self.ahead.want(need);
                if !there.map_err(|error| unreadable(error, self.compression, self.offset))? {
                    let rest = self.ahead.bytes().len();
                    if rest == 0 {
                        return Ok(None);
                    }
                    return Err(damaged(cut(rest, known.then_some(need))));
                }
                if !known {
                    need = match &self.format {
                        Format::Pcap(pcap) => pcap.size(self.ahead.bytes(), self.limit),
                        Format::Pcapng(pcapng) => pcapng.size(self.ahead.bytes(), self.limit),
                    }
                    .map_err(damaged)?;
                }
            }
            let block = self.ahead.bytes().get(..need).unwrap_or_default();
            let record = match &mut self.format {
                Format::Pcap(pcap) => pcap.read(block).map(Some),
                Format::Pcapng(pcapng) => pcapng.read(block, &mut self.interfaces),
            };
            let record = record.map_err(damaged)?;
            self.size = need;
            if let Some(record) = record {
                return Ok(Some(record));
            }
        }
    }
}

impl Source for Reader {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let record = match self.next_record() {
            Ok(Some(record)) => record,
            end => {
                self.ended = true;
                return end.map(|_| None);
            }
        };
        self.frames += 1;
        let data_offset = self.offset + record.data.start as u64;
        let data = self.ahead.bytes().get(record.data).unwrap_or_default();
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Ok(Some(Frame {
            number: self.frames,
            time: record.time,
            interface: u32::try_from(record.interface).unwrap_or(u32::MAX),
            link: record.link,
            original_len: record.original_len.max(captured),
            offset: self.offset,
            data_offset,
            data,
        }))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }
}

fn cut(rest: usize, need: Option<usize>) -> Damage {
    match need {
        Some(need) => Damage::new(format_args!(
            "the file ends in the middle of a record: {rest} of its {need} bytes are there"
        )),
        None => Damage::new("the file ends in the middle of a record's header"),
    }
}

/// What a decompressor complains of is damage of the file, not of the disk.
fn unreadable(error: io::Error, compression: Option<&'static str>, offset: u64) -> Error {
    match compression {
        Some(name) if error.raw_os_error().is_none() => Error::Damaged {
            offset,
            what: format!("the {name} stream is broken or cut ({error})"),
        },
        _ => Error::Read(error),
    }
}
