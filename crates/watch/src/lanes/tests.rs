use std::net::SocketAddr;

use super::{Gatherer, Lanes, Offsets};
use crate::Timestamp;
use crate::ledger::{Call, Endpoints, Kind, Outcome};
use crate::packet::Flags;
use crate::stream::{Direction, Notes, Protocol, SegmentOptions, SegmentRecord, StreamId, Trace};

fn client() -> SocketAddr {
    "127.0.0.1:40000".parse().unwrap()
}

fn server() -> SocketAddr {
    "127.0.0.1:9090".parse().unwrap()
}

fn segment(
    time: i64,
    direction: Direction,
    offset: i64,
    len: u32,
    acknowledged: i64,
) -> SegmentRecord {
    let flags = if offset < 0 { Flags::SYN } else { Flags::ACK };
    SegmentRecord {
        frame: u64::try_from(time).unwrap() + 1,
        time: Timestamp(time),
        direction,
        sequence: 0,
        acknowledgment: 0,
        flags,
        window: 65536,
        offset,
        acknowledged,
        len,
        packet_len: len + 52,
        options: SegmentOptions::default(),
        notes: Notes::default(),
    }
}

fn trace(segments: Vec<SegmentRecord>) -> Trace {
    Trace {
        id: StreamId {
            protocol: Protocol::Tcp,
            number: 0,
        },
        client: client(),
        server: server(),
        segments,
        dropped: 0,
    }
}

fn write(time: i64, offset: u64, done: u64) -> Call {
    Call {
        time: Timestamp(time),
        duration: 1,
        process: 1,
        connection: 1,
        kind: Kind::Write,
        endpoints: Some(Endpoints::new(client(), server())),
        offset,
        asked: done,
        outcome: Outcome::Done(done),
        kernel: None,
    }
}

fn read(time: i64, offset: u64, done: u64) -> Call {
    Call {
        kind: Kind::Read,
        process: 2,
        endpoints: Some(Endpoints::new(server(), client())),
        asked: 65536,
        ..write(time, offset, done)
    }
}

fn lanes(trace: &Trace, calls: &[Call]) -> Lanes {
    let mut gatherer = Gatherer::new(trace, 1000);
    for call in calls {
        assert!(gatherer.take(call.clone()));
    }
    gatherer.finish(trace)
}

/// Three messages of five bytes: the first goes alone, the others wait for its acknowledgment.
fn nagle() -> Trace {
    trace(vec![
        segment(0, Direction::ToServer, -1, 0, 0),
        segment(20, Direction::ToServer, 0, 5, 0),
        segment(60, Direction::ToClient, 0, 0, 5),
        segment(61, Direction::ToServer, 5, 10, 0),
        segment(62, Direction::ToClient, 0, 0, 15),
    ])
}

#[test]
fn a_segment_tells_its_writes_and_a_read_its_segments() {
    let calls = [
        write(10, 0, 5),
        write(30, 5, 5),
        write(31, 10, 5),
        read(21, 0, 5),
        read(70, 5, 3),
        read(80, 8, 7),
    ];
    let way = lanes(&nagle(), &calls).to_server;
    let carried: Vec<_> = way
        .segments
        .iter()
        .map(|s| (s.writes.clone(), s.reads.clone()))
        .collect();
    assert_eq!(carried, [(0..1, 0..1), (1..3, 1..3)]);
    let segments: Vec<_> = way
        .writes
        .iter()
        .map(|write| write.segments.clone())
        .collect();
    assert_eq!(segments, [[0], [1], [1]]);
    let reads: Vec<_> = way
        .reads
        .iter()
        .map(|r| (r.segments.clone(), r.writes.clone()))
        .collect();
    assert_eq!(reads, [(vec![0], 0..1), (vec![1], 1..2), (vec![1], 1..3)]);
    assert_eq!((way.glued(), way.split()), (1, 0));
    let outstanding: Vec<_> = way.writes.iter().map(|write| write.outstanding).collect();
    assert_eq!(outstanding, [Some(0), Some(5), Some(5)]);
}

#[test]
fn a_write_over_several_segments_is_split_and_a_resend_is_none() {
    let mut segments = nagle().segments;
    segments.truncate(1);
    for (time, offset) in [(10, 0), (11, 1448)] {
        segments.push(segment(time, Direction::ToServer, offset, 1448, 0));
    }
    let mut again = segment(300, Direction::ToServer, 0, 1448, 0);
    again.notes = Notes::RETRANSMISSION;
    segments.push(again);
    let way = lanes(&trace(segments), &[write(5, 0, 2000), write(6, 2000, 896)]).to_server;
    assert_eq!(way.writes[0].segments, [0, 1, 2]);
    assert_eq!(way.writes[1].segments, [1]);
    assert_eq!((way.glued(), way.split()), (1, 1));
    assert_eq!(way.first_sent(&way.writes[0]), 2);
}

#[test]
fn ports_used_again_do_not_mix() {
    let again = Call {
        connection: 2,
        ..write(50, 0, 5)
    };
    let later = Call {
        connection: 3,
        ..write(1000, 0, 5)
    };
    let way = lanes(&nagle(), &[write(-500, 0, 5), later, again.clone()]).to_server;
    assert_eq!(way.writes.len(), 1);
    assert_eq!(way.writes[0].call, again);
}

#[test]
fn without_a_beginning_offsets_are_not_compared() {
    let trace = trace(nagle().segments.split_off(1));
    let way = lanes(&trace, &[write(10, 0, 5), read(21, 0, 5)]).to_server;
    assert_eq!(way.offsets, Offsets::Unknown);
    assert!(way.writes[0].segments.is_empty() && way.reads[0].segments.is_empty());
    assert_eq!(way.writes[0].outstanding, None);
}

#[test]
fn calls_beyond_the_limit_are_counted() {
    let trace = nagle();
    let mut gatherer = Gatherer::new(&trace, 1);
    assert!(gatherer.take(write(10, 0, 5)) && gatherer.take(write(11, 5, 5)));
    let elsewhere = Call {
        endpoints: Some(Endpoints::new(client(), client())),
        ..write(10, 0, 5)
    };
    assert!(!gatherer.take(elsewhere));
    let lanes = gatherer.finish(&trace);
    assert_eq!((lanes.dropped, lanes.to_server.writes.len()), (1, 1));
}

#[test]
fn ledgers_that_lie_are_survived() {
    let calls = [
        write(1, 0, u64::MAX),
        write(2, 3, 1),
        write(2, u64::MAX, u64::MAX),
        read(3, 4, u64::MAX),
        read(0, 0, 1),
    ];
    let way = lanes(&nagle(), &calls).to_server;
    assert_eq!((way.writes.len(), way.reads.len()), (3, 2));
}
