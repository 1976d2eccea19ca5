//! What sock_diag tells of a connection, against getsockopt(TCP_INFO) of CPython on the same socket.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};

use packhorse_endpoint::{
    Address, Family, RecvFlags, Socket, TcpInfo, TcpInfoError, TcpInfoReader, TcpState, Type,
};

fn pair(family: Family, address: &str) -> (Socket, Socket) {
    let server = Socket::new(family, Type::Stream, 0).unwrap();
    server
        .bind(&Address::Inet(address.parse().unwrap()))
        .unwrap();
    server.listen(1).unwrap();
    let client = Socket::new(family, Type::Stream, 0).unwrap();
    client.connect(&server.local_name().unwrap()).unwrap();
    (client, server.accept().unwrap().0)
}

/// `struct tcp_info` as Python gets it from the same socket, as a list of numbers at offsets.
fn judged(socket: &Socket, format: &str) -> Option<Vec<u64>> {
    let program = format!(
        "import socket, struct
info = socket.socket(fileno=0).getsockopt(6, 11, 232)
print(*(struct.unpack_from(f, info, int(at))[0] for f, at in (p.split('@') for p in '{format}'.split())))"
    );
    let fd: OwnedFd = socket.as_fd().try_clone_to_owned().unwrap();
    let python = Command::new("python3")
        .args(["-c", &program])
        .stdin(Stdio::from(fd))
        .stdout(Stdio::piped())
        .spawn();
    let mut said = String::new();
    python
        .ok()?
        .stdout
        .take()?
        .read_to_string(&mut said)
        .unwrap();
    let numbers: Vec<u64> = said
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    (!numbers.is_empty()).then_some(numbers)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}

fn read(socket: &Socket) -> TcpInfo {
    TcpInfoReader::new(socket).unwrap().read().unwrap()
}

#[test]
fn agrees_with_getsockopt() {
    let families = [(Family::Ipv4, "127.0.0.1:0"), (Family::Ipv6, "[::1]:0")];
    for (family, address) in families {
        let (client, server) = pair(family, address);
        client.send_all(&[7; 100_000]).unwrap();
        let mut buffer = vec![0; 100_000];
        let all = server.receive(&mut buffer, RecvFlags::WAITALL).unwrap();
        assert_eq!(all, 100_000);
        server.send_all(b"thanks").unwrap();
        let mut answer = [0; 6];
        client.receive(&mut answer, RecvFlags::WAITALL).unwrap();

        let info = read(&client);
        let format = "B@0 I@8 I@16 I@60 I@68 I@72 I@80 I@100 Q@120 Q@128 I@148 Q@200 I@228";
        let Some(judge) = judged(&client, format) else {
            return;
        };
        let ours = [
            1,
            micros(info.rto),
            info.mss.into(),
            info.path_mtu.into(),
            micros(info.rtt),
            micros(info.rttvar),
            info.cwnd.into(),
            info.retransmits.into(),
            info.bytes_acked.unwrap(),
            info.bytes_received.unwrap(),
            micros(info.min_rtt.unwrap()),
            info.bytes_sent.unwrap(),
            info.peer_window.unwrap().into(),
        ];
        assert_eq!(ours[..], judge[..], "{address}");
        assert_eq!(info.state, TcpState::Established);
        assert_eq!(info.bytes_received, Some(6));
    }
}

#[test]
fn one_reader_reads_again_and_again_and_sees_queues_and_states() {
    let (client, server) = pair(Family::Ipv4, "127.0.0.1:0");
    let mut reader = TcpInfoReader::new(&server).unwrap();
    assert_eq!(reader.read().unwrap().receive_queue, 0);
    client.send_all(b"unread").unwrap();
    let queued = (0..1000).find_map(|_| {
        let queued = reader.read().unwrap().receive_queue;
        (queued > 0).then_some(queued)
    });
    assert_eq!(queued, Some(6));
    drop(client);
    let closing = (0..1000).any(|_| reader.read().unwrap().state == TcpState::CloseWait);
    assert!(closing);
}

#[test]
fn a_listening_socket_tells_its_backlog() {
    let server = Socket::new(Family::Ipv4, Type::Stream, 0).unwrap();
    server
        .bind(&Address::Inet("127.0.0.1:0".parse().unwrap()))
        .unwrap();
    server.listen(17).unwrap();
    let info = read(&server);
    assert_eq!((info.state, info.send_queue), (TcpState::Listen, 17));
}

#[test]
fn what_is_not_tcp_is_told_apart() {
    let udp = Socket::new(Family::Ipv4, Type::Datagram, 0).unwrap();
    let error = TcpInfoReader::new(&udp).unwrap_err();
    assert!(matches!(error, TcpInfoError::NotTcp), "{error}");
    let unix = Socket::new(Family::Unix, Type::Stream, 0).unwrap();
    let error = TcpInfoReader::new(&unix).unwrap_err();
    assert!(matches!(error, TcpInfoError::NotTcp), "{error}");
}

#[test]
fn a_connection_that_is_gone_is_not_found() {
    let (client, server) = pair(Family::Ipv4, "127.0.0.1:0");
    let mut reader = TcpInfoReader::new(&client).unwrap();
    // The peer's unread bytes make the kernel reset the connection: nothing of it stays.
    client.send_all(b"unread").unwrap();
    drop(server);
    drop(client);
    let error = (0..1000).find_map(|_| reader.read().err());
    assert!(matches!(error, Some(TcpInfoError::NotFound)), "{error:?}");
}
