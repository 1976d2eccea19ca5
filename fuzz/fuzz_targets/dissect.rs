//! Frames of any bytes on any link, one after the other: fragments are put together.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use packhorse_watch::dissect::{Bytes, Context, Field, dissect};
use packhorse_watch::packet::Packet;
use packhorse_watch::{Filter, Frame, Limits, LinkType, Packets, Timestamp};

const LINKS: [u16; 9] = [0, 1, 12, 101, 108, 113, 228, 229, 276];

fuzz_target!(|data: (u8, Vec<(Vec<u8>, u16)>)| {
    let (link, frames) = data;
    let limits = Limits {
        fragments: 8192,
        ..Limits::default()
    };
    let mut context = Context::new(&limits);
    let mut packets = Packets::new(&limits);
    let filter: Filter = "tcp port 80 or not src host 10.0.0.0/8".parse().unwrap();
    for (number, (data, beyond)) in frames.iter().enumerate() {
        let frame = Frame {
            number: number as u64 + 1,
            time: Timestamp(number as i64),
            interface: 0,
            link: LinkType(LINKS[usize::from(link) % LINKS.len()]),
            original_len: data.len() as u32 + u32::from(*beyond),
            offset: 0,
            data_offset: 0,
            data,
        };
        let taken = dissect(&frame, &mut context);
        for layer in &taken.layers {
            let bytes = match layer.of {
                Bytes::Frame => &data[..],
                Bytes::Whole => taken.whole.as_deref().unwrap(),
            };
            assert!(bytes.get(layer.header.clone()).is_some(), "{}", layer.protocol);
            assert!(bytes.get(layer.sdu.clone()).is_some(), "{}", layer.protocol);
            within(&layer.fields, &(0..bytes.len()), layer.protocol);
        }
        if let Some(packet) = Packet::parse(&frame) {
            assert!(packet.len >= 20 || packet.source.is_ipv4());
            let _ = packet.returned();
        }
        let packet = packets.read(&frame);
        let _ = filter.matches_packet(&frame, packet.as_ref());
    }
});

fn within(fields: &[Field], whole: &Range<usize>, protocol: &str) {
    for field in fields {
        let Range { start, end } = field.bytes;
        assert!(start <= end && end <= whole.end, "{protocol}: {}", field.key);
        let _ = field.value.to_string();
        within(&field.parts, whole, protocol);
    }
}
