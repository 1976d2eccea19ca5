//! pcapng (draft-ietf-opsawg-pcapng): sections of blocks, each with its byte order and its interfaces.

use pcap_parser::Block;
use pcap_parser::pcapng::{InterfaceDescriptionBlock, parse_block_be, parse_block_le};

use super::reader::{Damage, Record};
use super::{Interface, LinkType, Timestamp};

/// A section's header, in either byte order.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// How a section's header shows its byte order.
const LITTLE_ENDIAN: [u8; 4] = 0x1a2b_3c4d_u32.to_le_bytes();
const BIG_ENDIAN: [u8; 4] = 0x1a2b_3c4d_u32.to_be_bytes();

/// The packet block of old, which the format still allows to be read (§ A.1).
const OBSOLETE_PACKET: u32 = 2;

/// What a block may have besides a frame: its own fields, comments, secrets. More is damage.
const BESIDE_THE_FRAME: usize = 1 << 20;

/// Where data begins in an enhanced packet, in one of old, and in a simple one.
const ENHANCED_DATA: usize = 28;
const SIMPLE_DATA: usize = 12;

/// What is known of the current section.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    /// How many interfaces the sections before had.
    before: usize,
    clocks: Vec<Clock>,
}

/// How an interface counts time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    resolution: Resolution,
    /// Seconds to add.
    offset: i64,
}

/// The unit of an interface's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolution {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// So many in a nanosecond.
    Finer(u128),
    /// Two to this power in a second.
    Binary(u32),
}

impl Pcapng {
    /// Bytes that tell how long a block is, and at a section's header its byte order.
    pub(super) const HEAD: usize = 12;

    /// Whether this is the format.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&SECTION)
            && bytes
                .get(8..12)
                .is_some_and(|mark| mark == LITTLE_ENDIAN || mark == BIG_ENDIAN)
    }

    /// How long the block is that begins here.
    pub(super) fn size(&self, bytes: &[u8], limit: usize) -> Result<usize, Damage> {
        let big_endian = self.order(bytes)?;
        let claimed = number(bytes, 4, big_endian);
        let limit = limit.saturating_add(BESIDE_THE_FRAME);
        match usize::try_from(claimed) {
            Ok(size) if size < Self::HEAD || size % 4 != 0 => Err(Damage::new(format_args!(
                "a block cannot be {claimed} bytes long"
            ))),
            Ok(size) if size <= limit => Ok(size),
            _ => Err(Damage::new(format_args!(
                "a block of {claimed} bytes is longer than the limit of {limit}"
            ))),
        }
    }

    /// Whether the block that begins here is big endian: a section's header tells it for itself.
    fn order(&self, bytes: &[u8]) -> Result<bool, Damage> {
        if !bytes.starts_with(&SECTION) {
            return Ok(self.big_endian);
        }
        match bytes.get(8..12) {
            Some(mark) if mark == BIG_ENDIAN => Ok(true),
            Some(mark) if mark == LITTLE_ENDIAN => Ok(false),
            _ => Err(Damage::new("a section without a mark of its byte order")),
        }
    }

    /// Reads a whole block; `None`: it is no frame.
    pub(super) fn read(
        &mut self,
        block: &[u8],
        interfaces: &mut Vec<Interface>,
    ) -> Result<Option<Record>, Damage> {
        let big_endian = self.order(block)?;
        let parsed = if big_endian {
            parse_block_be(block)
        } else {
            parse_block_le(block)
        };
        let Ok((_, parsed)) = parsed else {
            return Err(Damage::new("a block that contradicts itself"));
        };
        match parsed {
            Block::SectionHeader(_) => {
                self.big_endian = big_endian;
                self.before = interfaces.len();
                self.clocks.clear();
                Ok(None)
            }
            Block::InterfaceDescription(description) => {
                let interface = describe(&description)?;
                self.clocks.push(Clock {
                    resolution: Resolution::new(description.if_tsresol),
                    offset: seconds_to_add(&description, big_endian),
                });
                interfaces.push(interface);
                Ok(None)
            }
            Block::EnhancedPacket(packet) => {
                let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let (kept, original) = (packet.caplen, packet.origlen);
                let record = self.record(packet.if_id, time, kept, original, interfaces)?;
                if record.data.end > block.len() {
                    return Err(Damage::new("a packet that is longer than its block"));
                }
                Ok(Some(record))
            }
            Block::SimplePacket(packet) => {
                let kept = match interfaces.get(self.before).map(|first| first.snaplen) {
                    None | Some(0) => packet.origlen,
                    Some(snaplen) => snaplen.min(packet.origlen),
                };
                let mut record = self.record(0, 0, kept, packet.origlen, interfaces)?;
                record.time = Timestamp::default();
                let room = packet.data.len();
                let kept = usize::try_from(kept).map_or(room, |kept| kept.min(room));
                record.data = SIMPLE_DATA..SIMPLE_DATA + kept;
                Ok(Some(record))
            }
            Block::Unknown(_) if number(block, 0, big_endian) == OBSOLETE_PACKET => {
                self.obsolete(block, big_endian, interfaces).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn obsolete(
        &self,
        block: &[u8],
        big_endian: bool,
        interfaces: &[Interface],
    ) -> Result<Record, Damage> {
        if block.len() < ENHANCED_DATA + 4 {
            return Err(Damage::new("a packet block that is too short"));
        }
        let [a, b] = [block[8], block[9]];
        let interface = if big_endian {
            u16::from_be_bytes([a, b])
        } else {
            u16::from_le_bytes([a, b])
        };
        let field = |at| number(block, at, big_endian);
        let time = u64::from(field(12)) << 32 | u64::from(field(16));
        let kept = field(20);
        // Behind the data is the block's size.
        let room = block.len() - ENHANCED_DATA - 4;
        if usize::try_from(kept).is_ok_and(|kept| kept <= room) {
            self.record(interface.into(), time, kept, field(24), interfaces)
        } else {
            Err(Damage::new(format_args!(
                "a packet block that is too short for its {kept} bytes"
            )))
        }
    }

    fn record(
        &self,
        interface: u32,
        time: u64,
        kept: u32,
        original_len: u32,
        interfaces: &[Interface],
    ) -> Result<Record, Damage> {
        let unknown = || {
            Damage::new(format_args!(
                "a frame of interface {interface}, which was not announced"
            ))
        };
        let index = usize::try_from(interface).map_err(|_| unknown())?;
        let clock = self.clocks.get(index).ok_or_else(unknown)?;
        let interface = self.before + index;
        let link = interfaces.get(interface).ok_or_else(unknown)?.link;
        let kept = usize::try_from(kept).map_err(|_| unknown())?;
        Ok(Record {
            time: clock.time(time),
            interface,
            link,
            original_len,
            data: ENHANCED_DATA..ENHANCED_DATA + kept,
        })
    }
}

/// The option if_tsoffset (§ 4.2), in the byte order of the section: pcap-parser reads it as little endian.
fn seconds_to_add(description: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> i64 {
    const IF_TSOFFSET: u16 = 14;
    let mut options = description.options.iter();
    let offset = options.find(|option| option.code.0 == IF_TSOFFSET);
    match offset.and_then(|option| option.value().first_chunk()) {
        Some(bytes) if big_endian => i64::from_be_bytes(*bytes),
        Some(bytes) => i64::from_le_bytes(*bytes),
        None => 0,
    }
}

fn describe(description: &InterfaceDescriptionBlock<'_>) -> Result<Interface, Damage> {
    let link = u16::try_from(description.linktype.0)
        .map_err(|_| Damage::new("an interface whose link type is no number of one"))?;
    let text = |option: Option<Result<&str, _>>| option.and_then(Result::ok).map(str::to_owned);
    Ok(Interface {
        link: LinkType(link),
        name: text(description.if_name()),
        description: text(description.if_description()),
        snaplen: description.snaplen,
    })
}

fn number(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    let field = *field.unwrap_or(&[0; 4]);
    if big_endian {
        u32::from_be_bytes(field)
    } else {
        u32::from_le_bytes(field)
    }
}

impl Resolution {
    /// From the option if_tsresol (§ 4.2): a power of ten, or with the highest bit of two.
    fn new(option: u8) -> Self {
        let power = u32::from(option & 0x7f);
        if option & 0x80 != 0 {
            Self::Binary(power)
        } else if power <= 9 {
            Self::Nanoseconds(10_u64.pow(9 - power))
        } else {
            Self::Finer(10_u128.checked_pow(power - 9).unwrap_or(u128::MAX))
        }
    }
}

impl Clock {
    fn time(self, units: u64) -> Timestamp {
        let units = u128::from(units);
        let nanoseconds = match self.resolution {
            Resolution::Nanoseconds(each) => units * u128::from(each),
            Resolution::Finer(many) => units / many,
            Resolution::Binary(power) => (units * 1_000_000_000).checked_shr(power).unwrap_or(0),
        };
        let nanoseconds = i64::try_from(nanoseconds).unwrap_or(i64::MAX);
        let offset = self.offset.saturating_mul(1_000_000_000);
        Timestamp(nanoseconds.saturating_add(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_gives_nanoseconds() {
        let time = |option, offset, units| {
            let resolution = Resolution::new(option);
            Clock { resolution, offset }.time(units).0
        };
        assert_eq!(time(6, 0, 1_700_000_000_000_001), 1_700_000_000_000_001_000);
        assert_eq!(
            time(9, -1, 1_700_000_000_000_000_001),
            1_699_999_999_000_000_001
        );
        assert_eq!(time(0, 0, 1_700_000_000), 1_700_000_000_000_000_000);
        assert_eq!(time(12, 0, 1_700_000_000_000), 1_700_000_000);
        assert_eq!(time(0x80 | 10, 0, 1536), 1_500_000_000);
        assert_eq!(time(127, 0, u64::MAX), 0);
        assert_eq!(time(0x80 | 127, 0, u64::MAX), 0);
        assert_eq!(time(0, i64::MAX, u64::MAX), i64::MAX);
    }
}
