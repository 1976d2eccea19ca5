//! The receiver over loopback, with deadlines short enough to wait for.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::*;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

struct Running {
    directory: TempDir,
    address: SocketAddr,
    events: Receiver<Event>,
    cancel: Cancel,
    thread: JoinHandle<Result<ClassicTotals, Error>>,
}

fn patient() -> ClassicLimits {
    ClassicLimits {
        first_byte: LONG,
        header: LONG,
        silence: LONG,
        end: LONG,
        ..ClassicLimits::default()
    }
}

fn start(limits: ClassicLimits, sessions: Sessions) -> Running {
    let directory = TempDir::new().unwrap();
    let (to, events) = channel();
    let options = ClassicReceiveOptions {
        directory: directory.path().to_path_buf(),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        sessions,
        existing: Existing::Replace,
        limits,
        calls: None,
    };
    let observer: Observer = Box::new(move |event| drop(to.send(event.clone())));
    let cancel = Cancel::new();
    let cancel_it = cancel.clone();
    let thread = thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(receive(options, observer, cancel_it))
    });
    let Ok(Event::Listening { addresses }) = events.recv_timeout(LONG) else {
        panic!("it does not listen");
    };
    Running {
        directory,
        address: addresses[0],
        events,
        cancel,
        thread,
    }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn next(&self) -> Event {
        loop {
            match self.events.recv_timeout(LONG).unwrap() {
                Event::Progress(_) => {}
                event => return event,
            }
        }
    }

    fn failed(&self) -> String {
        match self.next() {
            Event::Classic(ClassicEvent::Failed { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    fn stored(&self) -> String {
        match self.next() {
            Event::Classic(ClassicEvent::Stored { file, .. }) => file.path.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn end(self) -> ClassicTotals {
        let files = std::fs::read_dir(self.directory.path()).unwrap().count();
        self.cancel.cancel();
        let totals = self.thread.join().unwrap().unwrap();
        assert_eq!(
            files as u64, totals.files,
            "only what was stored has a name"
        );
        totals
    }
}

/// A file of five bytes, header and all.
fn five_bytes(name: &str) -> Vec<u8> {
    let json = format!(r#"{{"file_name": "{name}", "file_size": 5}}"#);
    let length = i32::try_from(json.len()).unwrap().to_le_bytes();
    [&length[..], json.as_bytes(), b"12345"].concat()
}

/// How the connection ended.
fn end_of(mut stream: TcpStream) -> ErrorKind {
    match stream.read(&mut [0]) {
        Ok(0) => ErrorKind::UnexpectedEof,
        Ok(_) => panic!("an answer, in a format without answers"),
        Err(error) => error.kind(),
    }
}

#[test]
fn a_client_that_says_nothing_is_sent_away() {
    let first_byte = Duration::from_millis(50);
    let limits = ClassicLimits {
        first_byte,
        ..patient()
    };
    let running = start(limits, Sessions::Many);
    let silent = running.connect();
    let Event::Refused { reason, .. } = running.next() else {
        panic!("it is not refused");
    };
    assert!(reason.contains("said nothing for 0.05 s"), "{reason}");
    assert_eq!(end_of(silent), ErrorKind::UnexpectedEof);
    let totals = running.end();
    assert_eq!((totals.files, totals.failed), (0, 0));
}

#[test]
fn a_header_that_takes_too_long_is_refused() {
    let header = Duration::from_millis(50);
    let running = start(
        ClassicLimits {
            header,
            ..patient()
        },
        Sessions::Many,
    );
    let mut slow = running.connect();
    slow.write_all(&five_bytes("a")[..10]).unwrap();
    assert!(
        running
            .failed()
            .contains("header was not whole after 0.05 s")
    );
    assert_eq!(end_of(slow), ErrorKind::ConnectionReset);
    assert_eq!(running.end().failed, 1);
}

#[test]
fn content_that_stops_coming_is_given_up() {
    let silence = Duration::from_millis(50);
    let running = start(
        ClassicLimits {
            silence,
            ..patient()
        },
        Sessions::Many,
    );
    let mut stuck = running.connect();
    let bytes = five_bytes("a");
    stuck.write_all(&bytes[..bytes.len() - 1]).unwrap();
    assert!(
        running
            .failed()
            .contains("nothing came from the client for 0.05 s")
    );
    assert_eq!(end_of(stuck), ErrorKind::ConnectionReset);
    running.end();
}

#[test]
fn a_client_that_waits_for_the_receiver_to_close_first_is_served() {
    let end = Duration::from_millis(50);
    let running = start(ClassicLimits { end, ..patient() }, Sessions::Many);
    let mut waiting = running.connect();
    waiting.write_all(&five_bytes("a")).unwrap();
    assert_eq!(running.stored(), "a");
    assert_eq!(end_of(waiting), ErrorKind::UnexpectedEof);
    assert_eq!(running.end().bytes, 5);
}

#[test]
fn clients_beyond_the_limit_wait_for_their_turn() {
    let running = start(
        ClassicLimits {
            clients: 1,
            ..patient()
        },
        Sessions::Many,
    );
    let mut first = running.connect();
    first.write_all(&five_bytes("first")[..20]).unwrap();
    let mut second = running.connect();
    second.write_all(&five_bytes("second")).unwrap();
    drop(second);
    first.write_all(&five_bytes("first")[20..]).unwrap();
    drop(first);
    assert_eq!(
        (running.stored(), running.stored()),
        ("first".to_owned(), "second".to_owned())
    );
    assert_eq!(running.end().files, 2);
}

#[test]
fn a_size_beyond_the_limit_is_refused() {
    let running = start(
        ClassicLimits {
            file_size: 4,
            ..patient()
        },
        Sessions::Many,
    );
    running.connect().write_all(&five_bytes("a")).unwrap();
    assert!(running.failed().contains("file_size 5 is more"));
    running.end();
}

#[test]
fn files_under_way_when_the_first_is_over_still_arrive() {
    let running = start(patient(), Sessions::One);
    // A stranger who leaves without a word is not the one that is waited for.
    drop(running.connect());
    assert!(matches!(running.next(), Event::Refused { .. }));
    let mut slow = running.connect();
    slow.write_all(&five_bytes("slow")[..20]).unwrap();
    // Its header is read, so it was let in, before the other is.
    let mut quick = running.connect();
    quick.write_all(&five_bytes("quick")).unwrap();
    drop(quick);
    assert_eq!(running.stored(), "quick");
    slow.write_all(&five_bytes("slow")[20..]).unwrap();
    drop(slow);
    assert_eq!(running.stored(), "slow");
    assert_eq!(running.thread.join().unwrap().unwrap().files, 2);
}

#[test]
fn whoever_is_under_way_at_the_end_is_cut() {
    let running = start(patient(), Sessions::Many);
    let mut half = running.connect();
    half.write_all(&five_bytes("half")[..40]).unwrap();
    let mut whole = running.connect();
    whole.write_all(&five_bytes("whole")).unwrap();
    drop(whole);
    assert_eq!(running.stored(), "whole");
    let totals = running.end();
    assert_eq!((totals.files, totals.failed), (1, 1));
    assert_ne!(end_of(half), ErrorKind::WouldBlock);
}
