//! Writing pcapng (draft-ietf-opsawg-pcapng).

use std::io::{self, Write};

use super::{Frame, Interface, Timestamp};

/// Block types (§ 11.1).
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Options (§ 3.5, 4.2, 4.6).
const END_OF_OPTIONS: u16 = 0;
const USER_APPLICATION: u16 = 4;
const NAME: u16 = 2;
const DESCRIPTION: u16 = 3;
const RESOLUTION: u16 = 9;
const RECEIVED: u16 = 4;
const DROPPED: u16 = 5;

/// Writes frames as a pcapng file: little endian, with times in nanoseconds.
///
/// Each call writes whole blocks, so what was written can be read whatever happens to the process. Give it a
/// buffer where frames come fast, and flush that now and then.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    block: Vec<u8>,
    interfaces: u32,
}

impl<W: Write> Writer<W> {
    /// Begins a section.
    ///
    /// # Errors
    /// The output's.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = Self {
            output,
            block: Vec::new(),
            interfaces: 0,
        };
        let body = &mut writer.block;
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        // Version 1.0, and a length that is not known ahead.
        body.extend([1, 0, 0, 0]);
        body.extend((-1_i64).to_le_bytes());
        let application = concat!("packhorse ", env!("CARGO_PKG_VERSION"));
        option(body, USER_APPLICATION, application.as_bytes());
        option(body, END_OF_OPTIONS, &[]);
        writer.put(SECTION)?;
        Ok(writer)
    }

    /// Announces an interface, and gives the number that its frames name.
    ///
    /// # Errors
    /// The output's.
    pub fn interface(&mut self, interface: &Interface) -> io::Result<u32> {
        let body = &mut self.block;
        body.extend(interface.link.0.to_le_bytes());
        body.extend([0, 0]);
        body.extend(interface.snaplen.to_le_bytes());
        for (code, text) in [
            (NAME, &interface.name),
            (DESCRIPTION, &interface.description),
        ] {
            if let Some(text) = text {
                option(body, code, text.as_bytes());
            }
        }
        option(body, RESOLUTION, &[9]);
        option(body, END_OF_OPTIONS, &[]);
        self.put(INTERFACE)?;
        let number = self.interfaces;
        self.interfaces += 1;
        Ok(number)
    }

    /// Writes a frame of the interface that it names.
    ///
    /// # Errors
    /// The output's.
    pub fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let len = u32::try_from(frame.data.len()).map_err(io::Error::other)?;
        let body = &mut self.block;
        body.extend(frame.interface.to_le_bytes());
        time(body, frame.time);
        body.extend(len.to_le_bytes());
        body.extend(frame.original_len.to_le_bytes());
        body.extend_from_slice(frame.data);
        pad(body);
        self.put(ENHANCED_PACKET)
    }

    /// Tells how many frames an interface received, and how many of them were dropped.
    ///
    /// # Errors
    /// The output's.
    pub fn statistics(
        &mut self,
        interface: u32,
        now: Timestamp,
        received: u64,
        dropped: u64,
    ) -> io::Result<()> {
        let body = &mut self.block;
        body.extend(interface.to_le_bytes());
        time(body, now);
        option(body, RECEIVED, &received.to_le_bytes());
        option(body, DROPPED, &dropped.to_le_bytes());
        option(body, END_OF_OPTIONS, &[]);
        self.put(STATISTICS)
    }

    /// Where it goes.
    pub fn output_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Writes what the output holds back.
    ///
    /// # Errors
    /// The output's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Writes what was gathered as one block.
    fn put(&mut self, kind: u32) -> io::Result<()> {
        // Type, and the size before and behind.
        let size = u32::try_from(self.block.len() + 12).map_err(io::Error::other)?;
        let size = size.to_le_bytes();
        let mut head = [0; 8];
        head[..4].copy_from_slice(&kind.to_le_bytes());
        head[4..].copy_from_slice(&size);
        self.block.splice(..0, head);
        self.block.extend(size);
        let written = self.output.write_all(&self.block);
        self.block.clear();
        written
    }
}

/// Nanoseconds, the upper half first.
fn time(body: &mut Vec<u8>, time: Timestamp) {
    let nanos = u64::try_from(time.0).unwrap_or_default();
    let [a, b, c, d, e, f, g, h] = nanos.to_le_bytes();
    body.extend([e, f, g, h, a, b, c, d]);
}

/// An option: its value is cut where it is longer than its length can tell.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let value = value.get(..usize::from(len)).unwrap_or_default();
    body.extend(code.to_le_bytes());
    body.extend(len.to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

/// Fills up to a multiple of four: the body begins at one.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
