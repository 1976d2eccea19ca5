//! Each socket has a buffer for what is sent and one for what is received, and closing treats them
//! differently.

use std::io;

use packhorse_endpoint::{
    Address, Blocking, Family, RecvFlags, SendFlags, Socket, Type, bind, connect,
};

fn pair() -> (Socket, Socket) {
    let server = Socket::new(Family::Ipv4, Type::Stream, 0).unwrap();
    server
        .bind(&Address::Inet("127.0.0.1:0".parse().unwrap()))
        .unwrap();
    server.listen(1).unwrap();
    let client = Socket::new(Family::Ipv4, Type::Stream, 0).unwrap();
    client.connect(&server.local_name().unwrap()).unwrap();
    (client, server.accept().unwrap().0)
}

/// Fills both buffers of a direction; gives how many bytes went in.
fn fill(socket: &Socket) -> usize {
    socket.set_blocking(Blocking::No).unwrap();
    let mut sent = 0;
    loop {
        match socket.send(&[7; 100_000], SendFlags::empty()) {
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}

fn read_to_end(socket: &Socket) -> io::Result<usize> {
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match socket.receive(&mut buffer, RecvFlags::empty())? {
            0 => return Ok(total),
            length => total += length,
        }
    }
}

#[test]
fn closing_delivers_what_was_sent() {
    let (client, server) = pair();
    let sent = fill(&client);
    drop(client);
    assert_eq!(read_to_end(&server).unwrap(), sent);
}

#[test]
fn closing_drops_what_is_unread_and_tells_the_peer() {
    let (client, server) = pair();
    server.send_all(b"never read").unwrap();
    let mut one = [0; 1];
    assert_eq!(client.receive(&mut one, RecvFlags::PEEK).unwrap(), 1);
    drop(client);
    let error = read_to_end(&server).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_full_buffer_takes_a_part() {
    let (client, _server) = pair();
    client.set_blocking(Blocking::No).unwrap();
    let all = vec![0; 64 << 20];
    let taken = client.send(&all, SendFlags::empty()).unwrap();
    assert!((1..all.len()).contains(&taken), "{taken}");
}

#[tokio::test]
async fn a_backlog_beyond_the_kernel_s_is_an_error() {
    let endpoint = "tcp://127.0.0.1:0?backlog=2000000000".parse().unwrap();
    let error = bind(&endpoint).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the kernel took backlog=2000000000 without a word and set "),
        "{error}"
    );
    assert_eq!(
        error.advice().unwrap(),
        "raise the bound: sysctl net.core.somaxconn"
    );
}

#[tokio::test]
async fn a_client_s_name_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let _server = bind(&format!("unixgram:{}", path("server")).parse().unwrap())
        .await
        .unwrap();
    let text = format!("unixgram:{}?bind={}", path("server"), path("client"));
    for _ in 0..2 {
        let connected = connect(&text.parse().unwrap()).await.unwrap();
        let io = connected.io;
        assert!(directory.path().join("client").exists());
        drop(io);
        assert!(!directory.path().join("client").exists());
    }
}

#[tokio::test]
async fn ports_are_shared_where_both_say_so() {
    let text = |port: u16, query: &str| format!("udp://127.0.0.1:{port}{query}").parse().unwrap();
    let first = bind(&text(0, "?reuseport")).await.unwrap();
    let port = first[0].local.inet().unwrap().port();
    assert!(bind(&text(port, "?reuseport")).await.is_ok());
    assert!(bind(&text(port, "")).await.is_err());
}

#[tokio::test]
async fn a_client_has_the_port_it_asks_for() {
    let server = bind(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let free = Socket::new(Family::Ipv4, Type::Stream, 0).unwrap();
    free.bind(&Address::Inet("127.0.0.1:0".parse().unwrap()))
        .unwrap();
    let own = free.local_name().unwrap();
    drop(free);
    let text = format!("tcp://{}?bind={own}&reuseaddr", server[0].local);
    let connected = connect(&text.parse().unwrap()).await.unwrap();
    assert_eq!(connected.local, own);
}

/// A connection attempt that nobody completes ends in the time that was given, TLS and all.
#[tokio::test]
async fn the_time_limit_covers_the_tls_handshake() {
    // Accepts in the kernel, and never speaks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let pin = "0".repeat(64);
    let text = format!("tls://{address}?pin=sha256:{pin}&timeout=300ms");
    let error = connect(&text.parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().ends_with("within 300ms"), "{error}");
}
