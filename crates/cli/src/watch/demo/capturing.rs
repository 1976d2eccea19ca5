//! What crosses loopback during the lessons, kept in memory.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use packhorse_watch::capture::{Interface, Live, LiveConfig, LiveError};
use packhorse_watch::packet::{Packet, Transport};
use packhorse_watch::{Error, Frame, LinkType, Source, Timestamp};

use crate::report::Failure;

/// What ends a capture, wherever it hangs.
const LONGEST: Duration = Duration::from_secs(20);

/// Frames that are kept at most: far more than the lessons make.
const MOST: usize = 10_000;

/// A capture that is going on.
pub(super) struct Capturing {
    thread: JoinHandle<Result<Captured, Error>>,
    /// Where a datagram goes that says that all is over.
    last: UdpSocket,
}

/// What was captured of one port.
#[derive(Default)]
pub(super) struct Captured {
    frames: Vec<Kept>,
    interface: Vec<Interface>,
    next: usize,
}

struct Kept {
    time: Timestamp,
    link: LinkType,
    original_len: u32,
    data: Vec<u8>,
}

impl Capturing {
    /// Begins to capture what goes from and to this address.
    pub(super) fn begin(address: SocketAddr) -> Result<Self, Failure> {
        let config = LiveConfig {
            ring: 4 << 20,
            duration: Some(LONGEST),
            ..LiveConfig::default()
        };
        let live = Live::open("lo", config).map_err(|error| refused(&error))?;
        let cannot = |error: io::Error| Failure::local("cannot watch loopback", &error);
        let last = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?;
        let end = last.local_addr().map_err(cannot)?;
        last.connect(end).map_err(cannot)?;
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || capture(live, address.port(), end.port()))
            .map_err(cannot)?;
        Ok(Self { thread, last })
    }

    /// Ends it, when all that crossed before this has been seen.
    pub(super) fn end(self) -> Result<Captured, Failure> {
        let cannot = |error: io::Error| Failure::local("cannot watch loopback", &error);
        self.last.send(b"the end").map_err(cannot)?;
        match self.thread.join() {
            Ok(Ok(captured)) => Ok(captured),
            Ok(Err(error)) => Err(Failure::local("cannot watch loopback", &error)),
            Err(_) => Err(cannot(io::ErrorKind::Other.into())),
        }
    }
}

fn refused(error: &LiveError) -> Failure {
    Failure::local("the demonstration cannot watch loopback", error)
        .means("nothing was sent")
        .hint("run it as root: what it needs is the capability CAP_NET_RAW")
}

fn capture(mut live: Live, port: u16, end: u16) -> Result<Captured, Error> {
    let mut captured = Captured::default();
    while let Some(frame) = live.next_frame()? {
        let Some(packet) = Packet::parse(&frame) else {
            continue;
        };
        let ports = match packet.transport {
            Transport::Udp(datagram) if datagram.destination_port == end => break,
            Transport::Tcp(segment) => [segment.source_port, segment.destination_port],
            _ => continue,
        };
        if ports.contains(&port) && captured.frames.len() < MOST {
            captured.frames.push(Kept {
                time: frame.time,
                link: frame.link,
                original_len: frame.original_len,
                data: frame.data.to_vec(),
            });
        }
    }
    captured.interface = live.interfaces().to_vec();
    Ok(captured)
}

impl Captured {
    /// Frames from the first on once more.
    pub(super) fn rewind(&mut self) -> &mut Self {
        self.next = 0;
        self
    }
}

impl Source for Captured {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let Some(kept) = self.frames.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        Ok(Some(Frame {
            number: self.next as u64,
            time: kept.time,
            interface: 0,
            link: kept.link,
            original_len: kept.original_len,
            offset: 0,
            data_offset: 0,
            data: &kept.data,
        }))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interface
    }
}
