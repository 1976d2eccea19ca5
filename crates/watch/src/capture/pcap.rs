//! The classic format (draft-ietf-opsawg-pcap): a header, then records.

use pcap_parser::pcap::{
    LegacyPcapBlock, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified,
    parse_pcap_header,
};

use super::reader::{Damage, Record};
use super::{Interface, LinkType, Timestamp};

/// What the file's header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pcap {
    big_endian: bool,
    /// A variant that some old systems wrote, with longer records.
    modified: bool,
    nanoseconds: bool,
    link: LinkType,
}

impl Pcap {
    /// Bytes of the file's header.
    pub(super) const HEADER: usize = 24;

    /// Reads the file's header; `None`: it is none.
    pub(super) fn begin(bytes: &[u8], interfaces: &mut Vec<Interface>) -> Option<Self> {
        let (_, header) = parse_pcap_header(bytes.get(..Self::HEADER)?).ok()?;
        // The upper bits tell about checksums of frames.
        let link = u16::try_from(header.network.0 & 0xffff).unwrap_or_default();
        let link = LinkType(link);
        interfaces.push(Interface {
            link,
            name: None,
            description: None,
            snaplen: header.snaplen,
        });
        Some(Self {
            big_endian: header.is_bigendian(),
            modified: header.is_modified_format(),
            nanoseconds: header.is_nanosecond_precision(),
            link,
        })
    }

    /// Bytes of a record's header.
    pub(super) fn head(self) -> usize {
        if self.modified { 24 } else { 16 }
    }

    /// How long the record is that begins here.
    pub(super) fn size(self, bytes: &[u8], limit: usize) -> Result<usize, Damage> {
        let field = bytes.get(8..).and_then(|bytes| bytes.first_chunk());
        let field = *field.unwrap_or(&[0; 4]);
        let claimed = if self.big_endian {
            u32::from_be_bytes(field)
        } else {
            u32::from_le_bytes(field)
        };
        match usize::try_from(claimed) {
            Ok(len) if len <= limit => Ok(self.head() + len),
            _ => Err(Damage::new(format_args!(
                "a record of {claimed} bytes is longer than the limit of {limit}"
            ))),
        }
    }

    pub(super) fn read(self, record: &[u8]) -> Result<Record, Damage> {
        let parsed = match (self.modified, self.big_endian) {
            (true, _) => parse_pcap_frame_modified(record),
            (false, true) => parse_pcap_frame_be(record),
            (false, false) => parse_pcap_frame(record),
        };
        let Ok((_, block)) = parsed else {
            return Err(Damage::new("a record that cannot be read"));
        };
        let LegacyPcapBlock {
            ts_sec,
            ts_usec,
            origlen,
            ..
        } = block;
        let fraction = i64::from(ts_usec) * if self.nanoseconds { 1 } else { 1000 };
        Ok(Record {
            time: Timestamp(i64::from(ts_sec) * 1_000_000_000 + fraction),
            interface: 0,
            link: self.link,
            original_len: origlen,
            data: self.head()..record.len(),
        })
    }
}
