//! Capture files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{PcapBlockOwned, PcapError};

use super::{Frame, Interface, LinkType, Source, Timestamp};
use crate::{Error, Limits};

/// Reads frames from a pcap or pcapng file.
pub struct Reader {
    parser: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    nanoseconds: bool,
    frames: u64,
    offset: u64,
    consumed: usize,
    ended: bool,
}

impl Reader {
    /// Reads from a file.
    ///
    /// # Errors
    /// It cannot be read, or is not a capture.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        Self::new(File::open(path).map_err(Error::Read)?, limits)
    }

    /// Reads from anything, a pipe say.
    ///
    /// # Errors
    /// It cannot be read, or is not a capture.
    pub fn new(input: impl Read + Send + 'static, limits: &Limits) -> Result<Self, Error> {
        let _ = limits;
        let parser = pcap_parser::create_reader(1 << 20, input).map_err(|_| Error::NotACapture)?;
        Ok(Self {
            parser,
            interfaces: Vec::new(),
            nanoseconds: false,
            frames: 0,
            offset: 0,
            consumed: 0,
            ended: false,
        })
    }
}

impl Source for Reader {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        loop {
            let consumed = std::mem::take(&mut self.consumed);
            self.parser.consume(consumed);
            self.offset += consumed as u64;
            if self.ended {
                return Ok(None);
            }
            // The borrow checker does not see that a frame is given only when the loop ends.
            let step = match self.parser.next() {
                Ok((size, block)) => {
                    self.consumed = size;
                    match block {
                        PcapBlockOwned::LegacyHeader(header) => {
                            self.nanoseconds = header.is_nanosecond_precision();
                            self.interfaces.push(Interface {
                                link: LinkType(u16::try_from(header.network.0).unwrap_or(u16::MAX)),
                                name: None,
                                description: None,
                                snaplen: header.snaplen,
                            });
                            false
                        }
                        PcapBlockOwned::Legacy(_) => true,
                        PcapBlockOwned::NG(_) => false,
                    }
                }
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::Incomplete(_)) => {
                    if self.parser.refill().is_err() {
                        self.ended = true;
                    }
                    self.consumed = 0;
                    false
                }
                Err(error) => {
                    let what = error.to_string();
                    self.ended = true;
                    return Err(Error::Damaged {
                        offset: self.offset,
                        what,
                    });
                }
            };
            if step {
                break;
            }
        }
        self.frames += 1;
        let Ok((_, PcapBlockOwned::Legacy(block))) = self.parser.next() else {
            return Ok(None);
        };
        let fraction = i64::from(block.ts_usec) * if self.nanoseconds { 1 } else { 1000 };
        Ok(Some(Frame {
            number: self.frames,
            time: Timestamp(i64::from(block.ts_sec) * 1_000_000_000 + fraction),
            interface: 0,
            link: self.interfaces[0].link,
            original_len: block.origlen.max(block.caplen),
            offset: self.offset,
            data: block.data,
        }))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }
}
