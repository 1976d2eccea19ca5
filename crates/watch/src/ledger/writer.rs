//! Writing a ledger.

use std::io::{self, Write};

use super::{Call, INTERFACE};
use crate::capture::{self, Interface};
use crate::{Frame, LinkType, Timestamp};

/// Writes a ledger: whole blocks, so that the file can be read wherever it ends.
#[derive(Debug)]
pub struct Writer<W> {
    writer: capture::Writer<W>,
    interface: u32,
    record: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// The output's.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = capture::Writer::new(output)?;
        let interface = writer.interface(&Interface {
            link: LinkType::USER0,
            name: Some(INTERFACE.to_owned()),
            description: Some("write and read calls on sockets, beside TCP_INFO".to_owned()),
            snaplen: 0,
        })?;
        Ok(Self {
            writer,
            interface,
            record: Vec::new(),
        })
    }

    /// Writes a call.
    ///
    /// # Errors
    /// The output's.
    pub fn write(&mut self, call: &Call) -> io::Result<()> {
        self.record.clear();
        call.emit(&mut self.record);
        self.writer.frame(&Frame {
            number: 0,
            time: call.time,
            interface: self.interface,
            link: LinkType::USER0,
            original_len: u32::try_from(self.record.len()).map_err(io::Error::other)?,
            offset: 0,
            data_offset: 0,
            data: &self.record,
        })
    }

    /// Tells how many calls there were, and how many of them are not in the ledger.
    ///
    /// # Errors
    /// The output's.
    pub fn end(&mut self, now: Timestamp, calls: u64, missed: u64) -> io::Result<()> {
        self.writer.statistics(self.interface, now, calls, missed)
    }

    /// Where it goes.
    pub fn output_mut(&mut self) -> &mut W {
        self.writer.output_mut()
    }
}
