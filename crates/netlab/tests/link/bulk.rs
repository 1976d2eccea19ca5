//! Bulk flows of Python's sockets see the rate.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use packhorse_netlab::{Conditions, Lab};

use crate::harness::{lab, output};

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
