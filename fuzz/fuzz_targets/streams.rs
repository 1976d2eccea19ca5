//! Segments of any numbers, and all that is made of them: counts, bytes in order, ladders, messages and causes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhorse_frame::FrameSpec;
use packhorse_watch::ladder::{Folding, Ladder};
use packhorse_watch::messages::Collector;
use packhorse_watch::stream::{Data, Protocol, StreamId, Streams, Tracer};
use packhorse_watch::{Frame, Limits, LinkType, Packets, Timestamp};

/// Whether from the server, and on which ports; sequence number (near one of four places), acknowledgment, control bits,
/// window, nanoseconds since the last; options and payload; bytes that the capture left away.
type Given = (u8, u8, i16, i16, u8, u16, i32, Vec<u8>, Vec<u8>, u8);

const SPECS: [&str; 6] = ["line", "nul", "u16be", "varint", "fixed:3", "none"];

/// Where sequence numbers are: at the beginning, and around what a signed and an unsigned number can hold.
const PLACES: [u32; 4] = [1000, 0, 0x7fff_ffff, 0xffff_fff0];

/// Small, so that inputs reach them.
const LIMITS: Limits = Limits {
    frame: 1 << 16,
    streams: 3,
    out_of_order: 256,
    fragments: 256,
    trace: 24,
};

fuzz_target!(|data: (u8, u8, Vec<Given>)| {
    let (spec, width, given) = data;
    let spec: FrameSpec = SPECS[usize::from(spec) % SPECS.len()].parse().unwrap();
    let id = StreamId {
        protocol: Protocol::Tcp,
        number: 0,
    };
    let mut packets = Packets::new(&LIMITS);
    let mut streams = Streams::new(&LIMITS);
    let mut tracer = Tracer::new(id, &LIMITS);
    let mut collector = Collector::new(spec, Protocol::Tcp, &LIMITS);
    let mut reached = [None; 2];
    let mut give = |delivered: packhorse_watch::stream::Delivered<'_>| {
        // Each byte once, in order.
        let at = &mut reached[usize::from(delivered.direction.reverse() < delivered.direction)];
        assert!(at.is_none_or(|at| at == delivered.offset), "{at:?} {delivered:?}");
        let len = match delivered.data {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Missing(count) => count,
        };
        assert!(len > 0);
        *at = Some(delivered.offset.saturating_add_unsigned(len));
        collector.add(&delivered);
    };
    let (mut time, mut ended) = (0_i64, 0);
    for (number, one) in given.iter().enumerate() {
        let mut bytes = segment(one);
        let original_len = bytes.len() as u32;
        bytes.truncate(bytes.len() - usize::from(one.9).min(one.8.len()));
        time = time.saturating_add(i64::from(one.6));
        let frame = Frame {
            number: number as u64 + 1,
            time: Timestamp(time),
            interface: 0,
            link: LinkType::RAW,
            original_len,
            offset: 0,
            data_offset: 0,
            data: &bytes,
        };
        let packet = packets.read(&frame).unwrap();
        streams.handle(&frame, &packet).unwrap();
        tracer.handle(&frame, &packet, &mut give);
        ended += streams.ended().len();
    }
    let conversations = streams.conversations();
    assert!(conversations.len() <= LIMITS.streams);
    assert!(ended + conversations.len() <= given.len());
    let Some(trace) = tracer.end(&mut give) else {
        return assert!(given.is_empty());
    };
    assert!(trace.segments.len() <= LIMITS.trace);
    let messages = collector.finish(&trace);
    for message in &messages.messages {
        assert!(message.begin < message.end || spec == FrameSpec::None);
        for carrier in &message.carriers {
            assert!(message.begin <= carrier.begin && carrier.begin < carrier.end);
            assert!(carrier.end <= message.end);
        }
    }
    for folding in [Folding::Fold, Folding::Unfold] {
        let ladder = Ladder::new(&trace, folding);
        let _ = (ladder.text(usize::from(width)), ladder.svg(), ladder.html());
    }
});

/// An IPv4 packet with a TCP segment.
fn segment(given: &Given) -> Vec<u8> {
    let (way, place, sequence, acknowledgment, flags, window, _, options, payload, _) = given;
    let options: Vec<u8> = options.iter().copied().take(40).collect();
    let padding = options.len().next_multiple_of(4) - options.len();
    let base = |from_server: bool| PLACES[usize::from(*place >> if from_server { 2 } else { 0 }) % 4];
    let from_server = way & 1 == 1;
    let number = |from_server, offset: &i16| base(from_server).wrapping_add_signed(i32::from(*offset));
    let ends = [(1, 1000 + u16::from(way >> 1) % 5), (2, 80)];
    let (source, destination) = match from_server {
        true => (ends[1], ends[0]),
        false => (ends[0], ends[1]),
    };
    let header_len = 20 + options.len() + padding;
    let total = (20 + header_len + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, source.0, 10, 0, 0, destination.0]);
    packet.extend(source.1.to_be_bytes());
    packet.extend(destination.1.to_be_bytes());
    packet.extend(number(from_server, sequence).to_be_bytes());
    packet.extend(number(!from_server, acknowledgment).to_be_bytes());
    packet.extend([(header_len as u8 / 4) << 4, *flags]);
    packet.extend(window.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(options);
    packet.extend(vec![0; padding]);
    packet.extend(payload);
    packet
}
