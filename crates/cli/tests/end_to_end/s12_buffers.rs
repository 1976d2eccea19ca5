//! The send and the receive buffer of a socket: what was asked for, what the kernel granted, what lies in
//! them.

use std::io::Write;
use std::net::TcpListener;

use crate::harness::{Packhorse, not_shown};
use crate::s03_sockets::{object, python, row};

#[test]
fn s12_sizes_are_those_that_getsockopt_reads() {
    // The article's own call, for each kind of socket that has a buffer.
    for (endpoint, python_socket) in [
        ("tcp://127.0.0.1:0", "AF_INET, socket.SOCK_STREAM"),
        ("udp://127.0.0.1:0", "AF_INET, socket.SOCK_DGRAM"),
        ("udp://[::1]:0", "AF_INET6, socket.SOCK_DGRAM"),
        ("unix:@packhorse-s12", "AF_UNIX, socket.SOCK_STREAM"),
        ("unixgram:@packhorse-s12", "AF_UNIX, socket.SOCK_DGRAM"),
        ("seqpacket:@packhorse-s12", "AF_UNIX, socket.SOCK_SEQPACKET"),
    ] {
        for asked in [None, Some(50_000), Some(200_000)] {
            let set = asked.map_or(String::new(), |size| {
                format!("s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {size})")
            });
            let read = python(&format!(
                "import socket
s = socket.socket(socket.{python_socket})
{set}
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))"
            ));
            let Some(read) = read else {
                not_shown(
                    "s12_sizes_are_those_that_getsockopt_reads",
                    "there is no python3",
                );
                return;
            };
            let query = asked.map_or(String::new(), |size| format!("?sndbuf={size}"));
            let ended = Packhorse::verb("sockopt")
                .args(["--listen", "--json", &format!("{endpoint}{query}")])
                .run();
            ended.expect_code(0);
            let row = row(&object(&ended), "sndbuf");
            assert_eq!(row["granted"].to_string(), read, "{endpoint}{query}");
            let verdict = if asked.is_some() {
                "doubled"
            } else {
                "default"
            };
            assert_eq!(row["verdict"], verdict, "{endpoint}{query}");
        }
    }
}

#[test]
fn s12_what_arrived_and_was_not_read_is_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().unwrap();
    // A server that speaks first. Whether it is faster than the look at the queue is not told here:
    // what was received is what lies in the queue, for nobody reads it.
    let speaking = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        connection.write_all(b"hello").expect("room");
        connection
    });
    let ended = Packhorse::verb("sockopt")
        .args(["--json", &format!("tcp://{address}")])
        .run();
    ended.expect_code(0);
    let object = object(&ended);
    let info = &object["sockets"][0]["tcp_info"];
    assert_eq!(info["receive_queue"], info["bytes_received"], "{object}");
    drop(speaking.join().expect("no panic"));
}
