//! `watch --demo`: why messages stick together, shown on a loopback of its own.

mod lessons;
mod namespace;

use std::collections::HashSet;
use std::io::{self, Cursor};
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use lessons::LESSONS;
use packhorse_frame::FrameSpec;
use packhorse_watch::capture::{Live, LiveConfig, Reader, Writer};
use packhorse_watch::lanes::Lanes;
use packhorse_watch::ledger::{self, Call};
use packhorse_watch::messages::{Collector, Messages};
use packhorse_watch::packet::{Packet, Transport};
use packhorse_watch::stream::{Protocol, StreamId, trace};
use packhorse_watch::{Error, Limits, Source as _};

use super::args::Watch;
use super::{input, lanes, messages};
use crate::ledger::Ledger;
use crate::report::{Exit, Failure, after_data};
use crate::terminal;
use crate::ui::Ui;

/// A datagram to this port (discard, RFC 863) tells that everything was captured.
const MARK: u16 = 9;

/// The capture ends after this time, whatever happens.
const LONGEST: Duration = Duration::from_secs(20);

pub(super) fn run(ui: &Ui, args: &Watch) -> Result<Exit, Failure> {
    namespace::enter().map_err(|error| {
        Failure::local("cannot make a network of its own", &error)
            .means("the lesson changes its loopback, and leaves that of the system alone")
            .hint("sudo packhorse watch --demo, or allow user namespaces")
    })?;
    let room =
        tempfile::tempdir().map_err(|error| Failure::local("no room for a ledger", &error))?;
    let path = room.path().join("ledger.pcapng");
    let (capture, mut calls) = (record(ui, &path)?, Vec::new());
    let limits = Limits::default();
    let failed = |error: Error| input::failure(error);
    let mut book = Reader::open(&path, &limits).map_err(failed)?;
    ledger::read(&mut book, limits.trace, &mut calls).map_err(failed)?;
    let mut all = Vec::new();
    for (number, lesson) in (0..).zip(LESSONS) {
        let id = StreamId {
            protocol: Protocol::Tcp,
            number,
        };
        let (lanes, messages) = look(&capture, id, &calls, &limits)?;
        if !args.how.json && args.how.svg.is_none() && args.how.html.is_none() {
            after_data(
                tell(ui, number, lesson.title, lesson.what, &lanes, &messages),
                Exit::Done,
            )?;
        }
        all.push((format!("{}. {}", number + 1, lesson.title), lanes));
    }
    lanes::show_all(ui, args, "Why messages stick together", &all)?;
    Ok(Exit::Done)
}

/// Gives all lessons, and what was captured meanwhile.
fn record(ui: &Ui, path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::local("the lesson failed", &error);
    let loopback = namespace::Loopback {
        mtu: 1500,
        super_frame: 1,
    };
    namespace::set_loopback(loopback).map_err(failed)?;
    let config = LiveConfig {
        duration: Some(LONGEST),
        ..LiveConfig::default()
    };
    let live = Live::open("lo", config)
        .map_err(|error| Failure::local("cannot watch the loopback", &error))?;
    let capturing = thread::spawn(move || capture(live));
    let book = Ledger::keep(Some(path))?;
    let given = LESSONS.iter().try_for_each(lessons::Lesson::run);
    let marked = UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.send_to(b"that is all", ("127.0.0.1", MARK)));
    if let Some(book) = book {
        book.finish(ui);
    }
    given.and(marked.map(drop)).map_err(failed)?;
    let captured = capturing.join();
    captured
        .map_err(|_| failed(io::Error::other("the capture failed")))?
        .map_err(input::failure)
}

/// Everything up to the mark, as a pcapng file.
fn capture(mut live: Live) -> Result<Vec<u8>, Error> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file).map_err(Error::Write)?;
    if let Some(interface) = live.interfaces().first() {
        writer.interface(interface).map_err(Error::Write)?;
    }
    while let Some(frame) = live.next_frame()? {
        if let Some(Transport::Udp(datagram)) = Packet::parse(&frame).map(|packet| packet.transport)
            && datagram.destination_port == MARK
        {
            break;
        }
        writer.frame(&frame).map_err(Error::Write)?;
    }
    Ok(file)
}

/// One lesson's stream: lanes, and messages.
fn look(
    capture: &[u8],
    id: StreamId,
    calls: &[Call],
    limits: &Limits,
) -> Result<(Lanes, Messages), Failure> {
    let spec: FrameSpec = "u32be".parse().unwrap_or_default();
    let mut collector = Collector::new(spec, Protocol::Tcp, limits);
    let mut reader = Reader::new(Cursor::new(capture.to_vec()), limits).map_err(input::failure)?;
    let (trace, result) = trace(&mut reader, id, limits, |delivered| {
        collector.add(&delivered);
    });
    result.map_err(input::failure)?;
    let trace = trace.ok_or_else(|| super::follow::no_such_stream(id))?;
    let [to_server, _] = Lanes::new(&trace, calls);
    Ok((to_server, collector.finish(&trace)))
}

fn tell(
    ui: &Ui,
    number: u32,
    title: &str,
    what: &str,
    lanes: &Lanes,
    found: &Messages,
) -> io::Result<()> {
    if number > 0 {
        ui.data("")?;
    }
    ui.heading(format_args!("{}. {title}", number + 1))?;
    for line in textwrap(what, terminal::columns()) {
        ui.data(line)?;
    }
    for line in lanes.text(terminal::columns()) {
        ui.data(line)?;
    }
    for lesson in lanes.lessons() {
        ui.data(format_args!("  {lesson}"))?;
    }
    let mut told = HashSet::new();
    for message in &found.messages {
        for (what, evidence) in [("glued", &message.glued), ("cut", &message.split)] {
            for evidence in evidence {
                if told.insert((what, evidence.because.as_str())) {
                    let cause = messages::words(evidence.cause);
                    let (frame, because) = (evidence.frame, &evidence.because);
                    ui.data(format_args!("  frame {frame}, {what}: {cause}: {because}"))?;
                }
            }
        }
    }
    Ok(())
}

/// A paragraph in lines.
fn textwrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let current = lines.last().map_or(0, String::len);
        if current > 0 && current + 1 + word.len() > columns {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
