//! Why a lesson went as it did, in the terms of what was seen.

use packhorse_watch::lanes::{OneWay, Segment, Write};
use packhorse_watch::packet::Flags;
use packhorse_watch::stream::{Direction, SegmentRecord, Trace};

use super::ground::Ground;
use super::lesson::Lesson;
use crate::units::counted;

/// What a lesson shows, and by what.
pub(super) struct Reason {
    /// Whether it went as it is known to: what a loaded machine does may differ.
    pub(super) shown: bool,
    /// A paragraph.
    pub(super) text: String,
}

/// Looks at the direction in which messages went.
pub(super) fn reason(lesson: Lesson, ground: Ground, trace: &Trace, way: &OneWay) -> Reason {
    let found = match lesson {
        Lesson::Nagle => nagle(trace, way),
        Lesson::NoDelay => no_delay(way),
        Lesson::LateReader => late_reader(way),
        Lesson::Large => large(ground, way),
        Lesson::Offload => offload(ground, way),
    };
    let shown = found.is_some();
    let text = found.unwrap_or_else(|| {
        format!(
            "This time it went otherwise than it is known to: {} of {} carried more than one write, and {} of {} \
             needed several segments. A machine with much else to do gives such pictures; run it again.",
            way.glued(),
            counted(way.segments.len() as u64, "segment", "segments"),
            way.split(),
            counted(way.writes.len() as u64, "write", "writes"),
        )
    });
    Reason { shown, text }
}

/// Small writes that waited for an acknowledgment, and left together when it came.
fn nagle(trace: &Trace, way: &OneWay) -> Option<String> {
    let glued = way
        .segments
        .iter()
        .find(|segment| segment.writes.len() > 1)?;
    let held = way.writes.get(glued.writes.start)?;
    let outstanding = held.outstanding.filter(|&bytes| bytes > 0)?;
    let ack = let_go(trace, held, glued)?;
    let waited = ack.time.since(held.call.time);
    let not_sent = held.call.kernel.and_then(|kernel| kernel.not_sent)?;
    let last = glued.writes.end.saturating_sub(1);
    Some(format!(
        "w0 left at once: nothing was unacknowledged. When w{first} was written, {outstanding} B were (and TCP_INFO \
         says that {not_sent} B of it stayed unsent), so Nagle's algorithm held it and all that came after, to send \
         them as one. The receiver had nothing to answer and kept its acknowledgment back (delayed ACK): it came \
         {waited} later, in frame {ack}. Then w{first} to w{last} left together in frame {frame}: {count} messages \
         in one segment of {len} B, and {reads}.",
        first = glued.writes.start,
        waited = millis(waited),
        ack = ack.frame,
        frame = glued.record.frame,
        count = glued.writes.len(),
        len = glued.record.len,
        reads = most_in_a_read(way)?,
    ))
}

/// The acknowledgment of all that was outstanding, between the write that was held and the segment that carried it.
fn let_go<'a>(trace: &'a Trace, held: &Write, carrier: &Segment) -> Option<&'a SegmentRecord> {
    trace.segments.iter().find(|segment| {
        segment.direction == Direction::ToClient
            && segment.flags.contains(Flags::ACK)
            && segment.time > held.call.time
            && segment.time <= carrier.record.time
            && segment.acknowledged >= carrier.record.offset
    })
}

fn no_delay(way: &OneWay) -> Option<String> {
    let first_sent = way
        .segments
        .iter()
        .filter(|segment| !segment.is_resend())
        .count();
    if first_sent != way.writes.len() || way.glued() > 0 || way.split() > 0 {
        return None;
    }
    let waiting = way
        .writes
        .iter()
        .filter(|write| write.outstanding > Some(0))
        .count();
    let outstanding = match way
        .writes
        .iter()
        .filter_map(|write| write.outstanding)
        .max()
    {
        Some(most @ 1..) => {
            format!(", though up to {most} B were unacknowledged when {waiting} of them were made")
        }
        _ => String::new(),
    };
    let most = way
        .reads
        .iter()
        .map(|read| read.writes.len())
        .max()
        .unwrap_or_default();
    let reads = match most {
        0 | 1 => "The receiver was quick enough to read them one by one; nothing promises that"
            .to_owned(),
        _ => format!("Still {}", most_in_a_read(way).unwrap_or_default()),
    };
    Some(format!(
        "Each of the {count} writes left at once in a segment of its own{outstanding}: TCP_NODELAY asks for just \
         that. {reads}: a read takes what is there, and TCP keeps no boundaries.",
        count = way.writes.len(),
    ))
}

fn late_reader(way: &OneWay) -> Option<String> {
    let read = way.reads.iter().max_by_key(|read| read.writes.len())?;
    let first_sent = read
        .segments
        .iter()
        .filter_map(|&place| way.segments.get(place));
    let first_sent: Vec<&Segment> = first_sent.filter(|segment| !segment.is_resend()).collect();
    let last = first_sent.last()?;
    let late = read.call.time.since(last.record.time);
    let in_the_queue = way.glued() == 0 && first_sent.len() > 1 && read.writes.len() > 1;
    (in_the_queue && late > 0).then(|| {
        format!(
            "The wire kept the messages apart: {segments}, one write in each. But the receiver called read {late} \
             after the last of them had come, with room for {room} B, and got {done} B: {count} messages in one \
             read. They stuck together in its receive queue, and no option of the sender changes that.",
            segments = counted(first_sent.len() as u64, "segment", "segments"),
            late = millis(late),
            room = read.call.asked,
            done = read.call.done(),
            count = read.writes.len(),
        )
    })
}

fn large(ground: Ground, way: &OneWay) -> Option<String> {
    let write = way.writes.iter().find(|write| way.first_sent(write) > 1)?;
    let mss = write.call.kernel?.mss;
    let largest = way
        .segments
        .iter()
        .map(|segment| segment.record.len)
        .max()?;
    (largest <= mss).then(|| {
        format!(
            "The MTU of {mtu} B leaves room for {mss} B in a segment (the MSS, by TCP_INFO). A write of {len} B is \
             larger, so TCP cut it: it took {segments}. What a read gets depends on when it comes: this time {reads}. \
             A receiver that takes a read for a message gets a piece of one sooner or later.",
            mtu = ground.mtu(),
            len = write.call.done(),
            segments = counted(way.first_sent(write) as u64, "segment", "segments"),
            reads = reads(way),
        )
    })
}

fn offload(ground: Ground, way: &OneWay) -> Option<String> {
    let frame = way
        .segments
        .iter()
        .max_by_key(|segment| segment.record.packet_len)?;
    let record = &frame.record;
    (record.packet_len > ground.mtu()).then(|| {
        format!(
            "Frame {frame} is a packet of {packet} B, more than the MTU of {mtu} B: no wire carries such a frame. The \
             kernel hands the device up to 64 KiB at once and leaves the cutting to it (GSO, TSO), and a capture on \
             the sender sees what was handed over. Loopback has no wire, and the receiver gets it as it is: {reads}. \
             What you see as one segment in a capture may be many on the wire.",
            frame = record.frame,
            packet = record.packet_len,
            mtu = ground.mtu(),
            reads = reads(way),
        )
    })
}

/// How many messages the read got that got most.
fn most_in_a_read(way: &OneWay) -> Option<String> {
    let (number, read) = (0..)
        .zip(&way.reads)
        .max_by_key(|(_, read)| read.writes.len())?;
    let count = read.writes.len() as u64;
    Some(format!(
        "read r{number} got bytes of {}",
        counted(count, "message", "messages")
    ))
}

/// How many reads there were for how many messages.
fn reads(way: &OneWay) -> String {
    format!(
        "{} took the {}",
        counted(way.reads.len() as u64, "read", "reads"),
        counted(way.writes.len() as u64, "message", "messages"),
    )
}

/// Nanoseconds as milliseconds with a digit after the point.
fn millis(nanos: i64) -> String {
    let tenths = nanos / 100_000;
    match tenths {
        0 => format!("{} µs", nanos / 1000),
        _ => format!("{}.{} ms", tenths / 10, (tenths % 10).abs()),
    }
}
