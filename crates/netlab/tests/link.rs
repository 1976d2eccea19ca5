//! The link is what it was asked to be, as others see it: ping, and bulk flows of Python's sockets.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use packhorse_netlab::{Conditions, Lab, Side};

/// Counts what arrives over so many connections, and tells bytes a second from the first connection to the last byte.
const RECEIVE: &str = "
import socket, sys, threading, time
flows = int(sys.argv[1])
server = socket.create_server(('10.77.0.2', 9000))
print('ready', flush=True)
began, total, lock = None, 0, threading.Lock()
def take(peer):
    global total
    while data := peer.recv(1 << 20):
        with lock: total += len(data)
threads = []
for _ in range(flows):
    peer, _ = server.accept()
    began = began or time.monotonic()
    threads.append(threading.Thread(target=take, args=(peer,)))
    threads[-1].start()
for thread in threads: thread.join()
print(total / (time.monotonic() - began))
";

/// Sends so many megabytes over each of so many connections.
const SEND: &str = "
import socket, sys, threading
megabytes, flows = map(int, sys.argv[1:])
def send():
    peer = socket.create_connection(('10.77.0.2', 9000))
    for _ in range(megabytes): peer.sendall(bytes(1000000))
    peer.close()
threads = [threading.Thread(target=send) for _ in range(flows)]
for thread in threads: thread.start()
for thread in threads: thread.join()
";

/// Bits on the link for each byte of TCP's content: 1,448 of 1,500 bytes (timestamps, RFC 7323).
const BITS: f64 = 8.0 * 1500.0 / 1448.0;

/// A lab, or `None` with a reason told where the machine does not allow one.
fn lab(rightward: Conditions, leftward: Conditions) -> Option<Lab> {
    match Lab::new(rightward, leftward) {
        Ok(lab) => Some(lab),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: network namespaces are not allowed here: {error}");
            None
        }
        Err(error) => panic!("no lab: {error}"),
    }
}

fn output(side: &Side, program: &'static str, arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
    side.run(move || Command::new(program).args(arguments).output())
        .expect("the program starts")
}

/// What ping tells: percent lost, and the least round trip in milliseconds.
fn ping(lab: &Lab, count: u32) -> (f64, f64) {
    let count = count.to_string();
    let arguments = ["-n", "-q", "-i", "0.01", "-c", &count, "10.77.0.2"];
    let output = output(lab.left(), "ping", &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |from: &str, behind: &str| {
        let (before, _) = text.split_once(behind)?;
        let (_, found) = before.rsplit_once(from)?;
        found.parse::<f64>().ok()
    };
    let lost = number(", ", "% packet loss");
    let least = text
        .rsplit(" = ")
        .next()
        .and_then(|times| times.split('/').next()?.parse().ok());
    (
        lost.unwrap_or_else(|| panic!("no loss in {text}")),
        least.unwrap_or(f64::NAN),
    )
}

/// Moves so many megabytes from left to right; bytes a second.
fn bulk(lab: &Lab, megabytes: u32, flows: u32) -> f64 {
    let receiver = lab.right().run(move || {
        let mut receiver = Command::new("python3");
        receiver.args(["-c", RECEIVE, &flows.to_string()]);
        receiver.stdout(Stdio::piped()).spawn()
    });
    let mut receiver = receiver.expect("python3 starts");
    let mut told = BufReader::new(receiver.stdout.take().expect("piped"));
    let mut line = String::new();
    told.read_line(&mut line).expect("it is ready");
    let (megabytes, flows) = (megabytes.to_string(), flows.to_string());
    let sent = output(lab.left(), "python3", &["-c", SEND, &megabytes, &flows]);
    assert!(sent.status.success(), "{sent:?}");
    line.clear();
    told.read_line(&mut line).expect("it tells the rate");
    assert!(receiver.wait().expect("it ends").success());
    line.trim().parse().expect("a rate")
}

#[test]
fn ping_sees_the_delay() {
    let delayed = |milliseconds| Conditions {
        delay: Duration::from_millis(milliseconds),
        ..Conditions::default()
    };
    let Some(lab) = lab(delayed(30), delayed(20)) else {
        return;
    };
    let (lost, least) = ping(&lab, 50);
    assert!(lost == 0.0, "{lost}% were lost");
    // Never earlier than asked for; how much later is up to the machine.
    assert!((50.0..80.0).contains(&least), "{least} ms");
}

#[test]
fn ping_sees_the_loss() {
    let lossy = Conditions {
        loss: 0.1,
        seed: 3,
        ..Conditions::default()
    };
    let Some(lab) = lab(lossy, Conditions::default()) else {
        return;
    };
    let (lost, _) = ping(&lab, 500);
    assert!((5.0..16.0).contains(&lost), "{lost}% of 10% were lost");
    let [rightward, leftward] = lab.counters();
    assert_eq!(leftward.lost, 0);
    assert!(rightward.lost >= 25, "{rightward:?}");
}

#[test]
fn a_bulk_flow_sees_the_rate() {
    let rate = Conditions {
        rate: Some(100_000_000),
        ..Conditions::default()
    };
    let rate = rate.with_queue_of(Duration::from_millis(20));
    let Some(lab) = lab(rate, Conditions::default()) else {
        return;
    };
    let rate = bulk(&lab, 25, 1) * BITS;
    assert!((50e6..105e6).contains(&rate), "{rate} bit/s of 100e6");
}

#[test]
fn each_flow_has_its_own_rate() {
    let rate = Conditions {
        flow_rate: Some(20_000_000),
        ..Conditions::default()
    };
    let rate = rate.with_queue_of(Duration::from_millis(50));
    let Some(lab) = lab(rate, Conditions::default()) else {
        return;
    };
    let rate = bulk(&lab, 5, 4) * BITS;
    assert!((40e6..90e6).contains(&rate), "{rate} bit/s of 4 times 20e6");
}
