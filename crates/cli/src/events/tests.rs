use std::sync::{Arc, Mutex};
use std::time::Duration;

use packhorse_transfer::{
    Assurance, Code, Entry, Metadata, Mode, Receipt, RelativePath, StageTimes, Timestamp,
};

use super::*;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines(write: impl FnOnce(&mut Events)) -> String {
    let shared = Shared::default();
    write(&mut Events::to(Box::new(shared.clone())));
    String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
}

fn line(event: &Event) -> String {
    lines(|events| events.event(event))
}

fn path(bytes: &[u8]) -> RelativePath {
    RelativePath::parse(bytes).unwrap()
}

fn peer() -> SocketAddr {
    "192.0.2.1:5".parse().unwrap()
}

#[test]
fn listening_comes_first_and_has_the_bound_port() {
    let addresses = vec!["127.0.0.1:40123".parse().unwrap()];
    assert_eq!(
        line(&Event::Listening { addresses }),
        concat!(
            r#"{"v":1,"event":"listening","addr":"127.0.0.1:40123","addrs":["127.0.0.1:40123"],"#,
            r#""reachable":["127.0.0.1:40123"]}"#,
            "\n"
        )
    );
}

#[test]
fn a_code_is_never_written() {
    let code = Arc::new(Code::given("amber-falcon-river").unwrap());
    let reason = CodeReason::NextSession;
    assert_eq!(
        line(&Event::Code { code, reason }),
        "{\"v\":1,\"event\":\"code\",\"reason\":\"next_session\"}\n"
    );
}

#[test]
fn peers_and_their_texts() {
    assert_eq!(
        line(&Event::WrongCode {
            peer: peer(),
            left: 2
        }),
        "{\"v\":1,\"event\":\"wrong_code\",\"peer\":\"192.0.2.1:5\",\"left\":2}\n"
    );
    let connected = Event::Connected {
        peer: peer(),
        name: "a\n\"b\"\u{1b}".into(),
        protection: "TLS 1.3".into(),
    };
    assert_eq!(
        line(&connected),
        concat!(
            r#"{"v":1,"event":"connected","peer":"192.0.2.1:5","name":"a\n\"b\"\u001b","#,
            r#""protection":"TLS 1.3"}"#,
            "\n"
        )
    );
    let refused = Event::Refused {
        peer: peer(),
        reason: "late".into(),
    };
    assert!(line(&refused).contains(r#""event":"refused","peer":"192.0.2.1:5","reason":"late""#));
}

#[test]
fn paths_are_text_or_base64() {
    let kept = |bytes| Event::Kept {
        number: 7,
        path: path(bytes),
    };
    assert_eq!(
        line(&kept(b"a/b")),
        "{\"v\":1,\"event\":\"kept\",\"number\":7,\"path\":\"a/b\"}\n"
    );
    assert!(line(&kept(b"a\xff")).contains(r#""path_base64":"Yf8=""#));
    let offered = |subdirectory| line(&Event::Offered { subdirectory });
    assert!(offered(None).contains(r#""event":"offered","subdirectory":null"#));
    assert!(offered(Some(path(b"x"))).contains(r#""subdirectory":{"path":"x"}"#));
}

#[test]
fn a_stored_entry_is_named_for_what_it_is() {
    let entry = Entry {
        path: path(b"a"),
        kind: Kind::File { size: Some(3) },
        metadata: Metadata {
            mode: Mode::from_st_mode(0o644),
            modified: Timestamp::new(-1, 0).unwrap(),
            change: None,
        },
    };
    let stored = Event::Stored {
        number: 1,
        entry,
        hash: Some([0xab; 32]),
    };
    let expected = format!(
        r#"{{"v":1,"event":"file","number":1,"path":"a","kind":"file","mode":"0644","modified":"-1.000000000","size":3,"hash":"{}"}}"#,
        "ab".repeat(32)
    );
    assert_eq!(line(&stored), expected + "\n");
}

#[test]
fn progress_done_failed_and_error() {
    let progress = Progress {
        bytes: 1,
        current: Some(path(b"x")),
        elapsed: Duration::from_millis(1500),
        ..Progress::default()
    };
    assert!(
        line(&Event::Progress(progress))
            .ends_with("\"walked\":false,\"current\":{\"path\":\"x\"},\"elapsed_seconds\":1.5}\n")
    );
    let receipt = Receipt {
        files: 2,
        directories: 0,
        symlinks: 0,
        bytes: 10,
        kept: 0,
        failed: 0,
        resumed: 0,
        assurance: Assurance::default(),
        root: [0; 32],
        elapsed: Duration::from_secs(1),
        lanes: 3,
        network: None,
        sender: StageTimes::default(),
        receiver: StageTimes::default(),
    };
    let done = line(&Event::Done(Box::new(receipt)));
    assert!(
        done.starts_with(r#"{"v":1,"event":"done","files":2,"#),
        "{done}"
    );
    let failed = Event::Failed {
        path: "a".into(),
        message: "no".into(),
    };
    let expected = "{\"v\":1,\"event\":\"failed\",\"path\":\"a\",\"message\":\"no\"}\n";
    assert_eq!(line(&failed), expected);
    let failure = Failure::usage("bad", "good");
    assert_eq!(
        lines(|events| events.error(&failure)),
        concat!(
            r#"{"v":1,"event":"error","class":"usage","exit_code":2,"message":"bad","#,
            r#""consequence":null,"hint":"good"}"#,
            "\n"
        )
    );
}

#[test]
fn writing_stops_at_the_first_failure() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut events = Events::to(Box::new(Full));
    events.event(&Event::Progress(Progress::default()));
    assert!(events.failure().is_some());
    events.failure = Some(io::ErrorKind::BrokenPipe.into());
    assert!(events.failure().is_none());
}
