//! Three lanes for programs: a line an event.

use std::io;

use packhorse_watch::lanes::{Lanes, Offsets, OneWay, Read, Segment, Write};
use packhorse_watch::ledger::{Call, Kernel};
use serde::Serialize;

use crate::json;
use crate::ui::Ui;
use crate::watch::ladder::{direction, notes};

/// Tells all of it: the stream, then in each direction its writes, segments and reads. In a demonstration each line
/// names its lesson.
pub(in crate::watch) fn objects(ui: &Ui, lesson: Option<&str>, lanes: &Lanes) -> io::Result<()> {
    ui.data(json::line(&StreamObject {
        v: 1,
        event: "stream",
        lesson,
        stream: lanes.id.to_string(),
        client: lanes.client.to_string(),
        server: lanes.server.to_string(),
        dropped: lanes.dropped,
    })?)?;
    for way in [&lanes.to_server, &lanes.to_client] {
        one_way(ui, lesson, way)?;
    }
    Ok(())
}

fn one_way(ui: &Ui, lesson: Option<&str>, way: &OneWay) -> io::Result<()> {
    for (number, write) in way.writes.iter().enumerate() {
        ui.data(json::line(&CallObject::of_write(
            lesson, way, number, write,
        ))?)?;
    }
    for segment in &way.segments {
        ui.data(json::line(&SegmentObject::new(lesson, way, segment))?)?;
    }
    for (number, read) in way.reads.iter().enumerate() {
        ui.data(json::line(&CallObject::of_read(lesson, way, number, read))?)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct StreamObject<'a> {
    v: u32,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lesson: Option<&'a str>,
    stream: String,
    client: String,
    server: String,
    dropped: u64,
}

#[derive(Serialize)]
struct CallObject<'a> {
    v: u32,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lesson: Option<&'a str>,
    direction: &'static str,
    number: usize,
    time_ns: i64,
    duration_ns: u64,
    process: u32,
    connection: u64,
    offset: u64,
    asked: u64,
    done: u64,
    /// Frames.
    segments: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outstanding: Option<u64>,
    tcp_info: Option<KernelObject>,
}

impl<'a> CallObject<'a> {
    fn of_write(lesson: Option<&'a str>, way: &OneWay, number: usize, write: &Write) -> Self {
        let outstanding = write.outstanding;
        let segments = frames(way, &write.segments);
        Self {
            outstanding,
            segments,
            ..Self::new("write", lesson, way, number, &write.call)
        }
    }

    fn of_read(lesson: Option<&'a str>, way: &OneWay, number: usize, read: &Read) -> Self {
        let segments = frames(way, &read.segments);
        Self {
            writes: Some(read.writes.clone().collect()),
            segments,
            ..Self::new("read", lesson, way, number, &read.call)
        }
    }

    fn new(
        event: &'static str,
        lesson: Option<&'a str>,
        way: &OneWay,
        number: usize,
        call: &Call,
    ) -> Self {
        Self {
            v: 1,
            event,
            lesson,
            direction: direction(way.direction),
            number,
            time_ns: call.time.0,
            duration_ns: call.duration,
            process: call.process,
            connection: call.connection,
            offset: call.offset,
            asked: call.asked,
            done: call.done(),
            segments: Vec::new(),
            writes: None,
            outstanding: None,
            tcp_info: call.kernel.as_ref().map(KernelObject::new),
        }
    }
}

fn frames(way: &OneWay, places: &[usize]) -> Vec<u64> {
    let segments = places.iter().filter_map(|&place| way.segments.get(place));
    segments.map(|segment| segment.record.frame).collect()
}

#[derive(Serialize)]
struct KernelObject {
    rtt_us: u32,
    rttvar_us: u32,
    cwnd: u32,
    ssthresh: Option<u32>,
    unacked: u32,
    not_sent: Option<u32>,
    retransmits: u32,
    mss: u32,
    send_window: Option<u32>,
    receive_window: Option<u32>,
    send_queue: u32,
    receive_queue: u32,
    bytes_sent: Option<u64>,
    bytes_retransmitted: Option<u64>,
    bytes_acked: Option<u64>,
    bytes_received: Option<u64>,
}

impl KernelObject {
    fn new(kernel: &Kernel) -> Self {
        let &Kernel {
            rtt,
            rttvar,
            cwnd,
            ssthresh,
            unacked,
            not_sent,
            retransmits,
            mss,
            send_window,
            receive_window,
            send_queue,
            receive_queue,
            bytes_sent,
            bytes_retransmitted,
            bytes_acked,
            bytes_received,
        } = kernel;
        Self {
            rtt_us: rtt,
            rttvar_us: rttvar,
            cwnd,
            ssthresh,
            unacked,
            not_sent,
            retransmits,
            mss,
            send_window,
            receive_window,
            send_queue,
            receive_queue,
            bytes_sent,
            bytes_retransmitted,
            bytes_acked,
            bytes_received,
        }
    }
}

#[derive(Serialize)]
struct SegmentObject<'a> {
    v: u32,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lesson: Option<&'a str>,
    direction: &'static str,
    frame: u64,
    time_ns: i64,
    offset: Option<i64>,
    len: u32,
    packet_len: u32,
    /// Numbers of writes.
    writes: Vec<usize>,
    /// Numbers of reads.
    reads: Vec<usize>,
    notes: Vec<&'static str>,
}

impl<'a> SegmentObject<'a> {
    fn new(lesson: Option<&'a str>, way: &OneWay, segment: &Segment) -> Self {
        let record = &segment.record;
        Self {
            v: 1,
            event: "segment",
            lesson,
            direction: direction(way.direction),
            frame: record.frame,
            time_ns: record.time.0,
            offset: (way.offsets == Offsets::Same).then_some(record.offset),
            len: record.len,
            packet_len: record.packet_len,
            writes: segment.writes.clone().collect(),
            reads: segment.reads.clone().collect(),
            notes: notes(record.notes),
        }
    }
}
