//! A ledger of any bytes, or records of any bytes, and the lanes that they make with any segments.
#![no_main]

use std::io::Cursor;
use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use packhorse_watch::capture;
use packhorse_watch::lanes::{Gatherer, OneWay};
use packhorse_watch::ledger::{Call, Endpoints, Reader, Writer};
use packhorse_watch::packet::Flags;
use packhorse_watch::stream::{
    Direction, Notes, Protocol, SegmentOptions, SegmentRecord, StreamId, Trace,
};
use packhorse_watch::{Limits, Timestamp};

/// Time, whether to the server, offset, length, acknowledged, control bits, notes.
type Segment = (i64, bool, i32, u16, i32, u8, u16);

/// Few calls, so that inputs reach it.
const LIMIT: usize = 64;

fuzz_target!(|data: (Vec<u8>, Vec<(i64, bool, Vec<u8>)>, Vec<Segment>)| {
    let (file, records, segments) = data;
    // Files are read by a thread: the rest gets further without.
    if records.is_empty() && segments.is_empty() {
        return read(file);
    }
    let client: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let server: SocketAddr = "[2001:db8::2]:2".parse().unwrap();
    let trace = Trace {
        id: StreamId {
            protocol: Protocol::Tcp,
            number: 0,
        },
        client,
        server,
        segments: segments.into_iter().map(segment).collect(),
        dropped: 0,
    };
    let mut gatherer = Gatherer::new(&trace, LIMIT);
    let mut calls = Vec::new();
    for (time, of_client, record) in records {
        let Ok(mut call) = Call::parse(Timestamp(time), &record) else {
            continue;
        };
        let mut again = Vec::new();
        call.emit(&mut again);
        assert_eq!(Call::parse(call.time, &again).as_ref(), Ok(&call));
        let (local, peer) = if of_client { (client, server) } else { (server, client) };
        call.endpoints = Some(Endpoints::new(local, peer));
        calls.push(call.clone());
        assert!(gatherer.take(call));
    }
    if trace.segments.is_empty() {
        written(&calls);
    }
    let lanes = gatherer.finish(&trace);
    for way in [&lanes.to_server, &lanes.to_client] {
        judge(way);
    }
});

/// Any file.
fn read(file: Vec<u8>) {
    let limits = Limits {
        frame: 4096,
        ..Limits::default()
    };
    let Ok(source) = capture::Reader::new(Cursor::new(file), &limits) else {
        return;
    };
    let mut reader = Reader::new(source);
    while let Ok(Some(call)) = reader.next_call() {
        assert!(call.ended() >= call.time && call.end() >= call.offset);
    }
}

/// What is written is read.
fn written(calls: &[Call]) {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for call in calls {
        writer.write(call).unwrap();
    }
    let file = std::mem::take(writer.output_mut());
    let source = capture::Reader::new(Cursor::new(file), &Limits::default()).unwrap();
    let mut reader = Reader::new(source);
    for call in calls {
        let read = reader.next_call().unwrap().unwrap();
        // There is no time before 1970 in a capture.
        assert_eq!(read.time.0, call.time.0.max(0));
        assert_eq!((read.offset, read.outcome, read.kernel), (call.offset, call.outcome, call.kernel));
    }
    assert_eq!(reader.next_call().unwrap(), None);
}

/// Places are places.
fn judge(way: &OneWay) {
    assert!(way.writes.len() + way.reads.len() <= LIMIT);
    for segment in &way.segments {
        assert!(segment.writes.end <= way.writes.len() || segment.writes.is_empty());
        assert!(segment.reads.end <= way.reads.len() || segment.reads.is_empty());
    }
    let writes = way.writes.iter().map(|write| &write.segments);
    for places in writes.chain(way.reads.iter().map(|read| &read.segments)) {
        assert!(places.iter().all(|&place| place < way.segments.len()));
    }
    assert!(way.glued() <= way.segments.len() && way.split() <= way.writes.len());
}

fn segment((time, to_server, offset, len, acknowledged, flags, notes): Segment) -> SegmentRecord {
    SegmentRecord {
        frame: 1,
        time: Timestamp(time),
        direction: if to_server {
            Direction::ToServer
        } else {
            Direction::ToClient
        },
        sequence: 0,
        acknowledgment: 0,
        flags: Flags(flags),
        window: 0,
        offset: offset.into(),
        acknowledged: acknowledged.into(),
        len: len.into(),
        packet_len: u32::from(len) + 40,
        options: SegmentOptions::default(),
        notes: Notes(notes.into()),
    }
}
