//! Lanes in a network where each connection has a rate of its own: four carry four times what one does.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use packhorse_netlab::{Conditions, Lab};
use packhorse_transfer::{
    Assurance, Cancel, Code, Destination, Disk, Event, Existing, Limits, Observer, Receipt,
    ReceiveOptions, ReceiveSecurity, SendOptions, SendSecurity, Sessions, Source, receive, send,
};

/// Bits a second that the lab gives to each connection.
const RATE: u64 = 24_000_000;

const CODE: &str = "amber falcon river";

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Sends a file of zeros from left to right over so many lanes at most; gives the receipt, and how far the receiver was
/// when: seconds and bytes.
fn transfer(lab: &Lab, lanes: u16, size: usize) -> (Receipt, Vec<(f64, u64)>) {
    let ground = tempfile::tempdir().expect("a directory");
    let source = ground.path().join("source.bin");
    fs::write(&source, vec![0; size]).expect("a file");
    let directory = ground.path().join("destination");
    let (tell, told) = mpsc::channel();
    let address = lab.right().address();
    let right = thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            lab.right()
                .run(move || receive_there(address, directory, lanes, tell))
        });
        let to: SocketAddr = match told.recv().expect("it listens") {
            Told::Listening(to) => to,
            Told::Progress(..) => panic!("progress before it listens"),
        };
        lab.left().run(move || send_to(to, source, lanes));
        receiving.join().expect("it receives")
    });
    let progress = told.iter().filter_map(|told| match told {
        Told::Progress(seconds, bytes) => Some((seconds, bytes)),
        Told::Listening(_) => None,
    });
    (right, progress.collect())
}

/// What the receiver tells the test.
enum Told {
    Listening(SocketAddr),
    Progress(f64, u64),
}

fn receive_there(
    address: IpAddr,
    directory: PathBuf,
    lanes: u16,
    tell: mpsc::Sender<Told>,
) -> Receipt {
    let options = ReceiveOptions {
        retry_for: Duration::ZERO,
        assurance: Assurance::default(),
        directory,
        listen: Some(SocketAddr::new(address, 0)),
        security: ReceiveSecurity::Given(Code::given(CODE).expect("a code")),
        sessions: Sessions::One,
        existing: Existing::Replace,
        limits: Limits {
            lanes,
            ..Limits::default()
        },
        classic: None,
        calls: None,
        stages: None,
        storage: Arc::new(Disk),
    };
    let (done, receipt) = mpsc::channel();
    let observer: Observer = Box::new(move |event| match event {
        Event::Listening { addresses } => {
            let _ = tell.send(Told::Listening(addresses[0]));
        }
        Event::Progress(progress) => {
            let _ = tell.send(Told::Progress(
                progress.elapsed.as_secs_f64(),
                progress.bytes,
            ));
        }
        Event::Done(receipt) => {
            let _ = done.send(Receipt::clone(receipt));
        }
        _ => {}
    });
    let received = runtime().block_on(receive(options, observer, Cancel::new()));
    received.expect("all arrives");
    receipt.recv().expect("a receipt")
}

fn send_to(to: SocketAddr, source: PathBuf, lanes: u16) {
    let options = SendOptions {
        retry_for: Duration::ZERO,
        assurance: Assurance::default(),
        sources: vec![Source::Path(source)],
        to: Destination {
            host: to.ip().into(),
            port: to.port(),
            subdirectory: None,
        },
        security: SendSecurity::Code(Code::given(CODE).expect("a code")),
        limits: Limits {
            lanes,
            ..Limits::default()
        },
        calls: None,
        stages: None,
    };
    let observer: Observer = Box::new(|_| ());
    let sent = runtime().block_on(send(options, observer, Cancel::new()));
    sent.expect("all is sent");
}

/// Bytes a second between a half of the file and nine tenths: what comes before is for finding the lanes.
fn steady(progress: &[(f64, u64)], size: usize) -> f64 {
    let at = |share: f64| {
        #[allow(clippy::cast_precision_loss, reason = "a size in a test")]
        let bytes = share * size as f64;
        #[allow(clippy::cast_precision_loss, reason = "a size in a test")]
        let reached = progress.iter().find(|(_, have)| *have as f64 >= bytes);
        *reached.expect("it gets that far")
    };
    let ((begin, had), (end, have)) = (at(0.5), at(0.9));
    #[allow(clippy::cast_precision_loss, reason = "a size in a test")]
    let moved = (have - had) as f64;
    moved / (end - begin)
}

#[test]
fn four_lanes_carry_nearly_four_times_what_one_does() {
    let conditions = Conditions {
        flow_rate: Some(RATE),
        delay: Duration::from_millis(2),
        ..Conditions::default()
    };
    let conditions = conditions.with_queue_of(Duration::from_millis(40));
    let lab = match Lab::new(conditions, conditions) {
        Ok(lab) => lab,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: network namespaces are not allowed here: {error}");
            return;
        }
        Err(error) => panic!("no lab: {error}"),
    };
    let rate = |lanes: u16, size: usize| {
        let (receipt, progress) = transfer(&lab, lanes, size);
        assert_eq!(receipt.lanes, lanes);
        steady(&progress, size)
    };
    let (one, four) = (rate(1, 12_000_000), rate(4, 64_000_000));
    assert!(
        four / one >= 3.8,
        "one lane carries {one:.0} bytes a second, four {four:.0}"
    );
}
