//! Addresses that do not work, each with its own words.

use std::net::TcpListener;

use crate::harness::{Ground, Packhorse};

#[test]
fn port_in_use() {
    let ground = Ground::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let receiver = Packhorse::verb("recv")
        .arg(ground.destination())
        .args(["--listen", &address])
        .run();
    let port = address.trim_start_matches("127.0.0.1:");
    receiver
        .expect_code(5)
        .expect_says("in use")
        .expect_says(port);
}

#[test]
fn name_not_resolved() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    // RFC 6761 keeps this domain for names that never resolve.
    let sender = Packhorse::send(&[&file], "no-such-host.invalid:7225").run();
    sender.expect_code(3).expect_says("no-such-host.invalid");
}

#[test]
fn connection_refused() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let sender = Packhorse::send(&[&file], &address).run();
    sender
        .expect_code(3)
        .expect_says("refused")
        .expect_says(&address);
}

#[test]
fn peer_that_is_no_packhorse_is_recognised() {
    use std::io::{Read, Write};
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = stranger.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let (mut connection, _) = stranger.accept().expect("a connection");
        let _ = connection.write_all(b"220 mail.example ESMTP\r\n");
        let _ = connection.read_to_end(&mut Vec::new());
    });
    let sender = Packhorse::send(&[&file], &address).run();
    sender.expect_code_in(&[3, 6]);
}

#[test]
fn stranger_does_not_end_a_receiver() {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let address = receiver.address();
    for greeting in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"",
        b"PACK",
        &[0xff; 70_000],
    ] {
        let mut stranger = TcpStream::connect(&address).expect("a connection");
        // The receiver may close as soon as it has seen enough.
        let _ = stranger.write_all(greeting);
        let _ = stranger.shutdown(Shutdown::Write);
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    Packhorse::send(&[&file], &address).run().expect_code(0);
    receiver.wait().expect_code(0);
}

#[test]
fn bad_addresses_are_usage_errors() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    for bad in [
        "127.0.0.1:99999",
        "ph://127.0.0.1:1/../up",
        "",
        "http://127.0.0.1:1",
    ] {
        Packhorse::send(&[&file], bad).run().expect_code(2);
    }
}
