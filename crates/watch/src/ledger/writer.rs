//! Writing a ledger.

use super::record::MOST;
use super::{Call, INTERFACE};
use crate::LinkType;

/// The length of a block around a record: its own fields, and twice its length.
const AROUND: usize = 32;

/// Makes the blocks of a ledger. Where they go is the caller's: whole ones only, so that the file can be read
/// wherever it ends.
#[derive(Debug, Default)]
pub struct Writer {
    record: Vec<u8>,
}

impl Writer {
    /// What the next call takes at most, in bytes.
    pub const MOST: usize = AROUND + MOST;

    /// Appends what a ledger begins with: its section, and the interface that names it. `program` is told as what
    /// wrote it.
    #[must_use]
    pub fn new(program: &str, out: &mut Vec<u8>) -> Self {
        let mut section = Vec::new();
        section.extend_from_slice(&0x1a2b_3c4d_u32.to_be_bytes());
        section.extend_from_slice(&[0, 1, 0, 0]); // version 1.0
        section.extend_from_slice(&u64::MAX.to_be_bytes()); // as long as it turns out
        option(&mut section, SHB_USERAPPL, program.as_bytes());
        option(&mut section, END_OF_OPTIONS, b"");
        block(out, SECTION, &section);
        let mut interface = Vec::new();
        interface.extend_from_slice(&LinkType::USER0.0.to_be_bytes());
        interface.extend_from_slice(&[0; 2 + 4]); // reserved; no frame is cut
        option(&mut interface, IF_NAME, INTERFACE.as_bytes());
        option(
            &mut interface,
            IF_DESCRIPTION,
            b"write and read calls on sockets, beside TCP_INFO",
        );
        option(&mut interface, IF_TSRESOL, &[9]); // nanoseconds
        option(&mut interface, END_OF_OPTIONS, b"");
        block(out, INTERFACE_DESCRIPTION, &interface);
        Self::default()
    }

    /// Appends a call, as a whole block.
    pub fn write(&mut self, call: &Call, out: &mut Vec<u8>) {
        self.record.clear();
        self.record.extend_from_slice(&[0; 4]); // the one interface
        let time = u64::try_from(call.time.0).unwrap_or_default();
        self.record.extend_from_slice(&time.to_be_bytes());
        self.record.extend_from_slice(&[0; 8]); // both lengths, once they are known
        call.emit(&mut self.record);
        let length = u32::try_from(self.record.len().saturating_sub(20)).unwrap_or_default();
        for at in [12, 16] {
            self.record[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
        block(out, ENHANCED_PACKET, &self.record);
    }
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const END_OF_OPTIONS: u16 = 0;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const SHB_USERAPPL: u16 = 4;

/// A block: its type, its length, what is in it, its length again (draft-ietf-opsawg-pcapng §3.1).
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padding = body.len().next_multiple_of(4) - body.len();
    let length = u32::try_from(body.len() + padding + 12).unwrap_or_default();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&[0; 3][..padding]);
    out.extend_from_slice(&length.to_be_bytes());
}

/// An option: its code, its length, its value, filled up to four bytes (§3.5).
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    let padding = value.len().next_multiple_of(4) - value.len();
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(&[0; 3][..padding]);
}
