//! A server of every kind, its limits, and how its connections end. The peers are plain sockets of std,
//! and the endpoint crate's where std has none.

mod ends;
mod handlers;
mod kinds;
mod limits;
mod running;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packhorse_server::{End, Limits, Refusal};

use running::{connect, peer, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_answers_each_framed_message() {
    let mut server = serve("tcp://127.0.0.1:0", "echo", "u16be", Limits::default()).await;
    let address = server.address;
    let answer = peer(move || {
        let mut stream = connect(address);
        for byte in b"\0\x03abc\0\0\0\x02de" {
            stream.write_all(&[*byte]).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    })
    .await;
    assert_eq!(answer, b"\0\x03abc\0\0\0\x02de");
    let record = server.record().await;
    assert!(matches!(record.end, End::ByPeer), "{:?}", record.end);
    assert_eq!((record.received.messages, record.received.bytes), (3, 11));
    assert_eq!((record.sent.messages, record.sent.bytes), (3, 11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_come_back_whole() {
    let server = serve("tcp://127.0.0.1:0", "echo", "u32le", Limits::default()).await;
    let address = server.address;
    peer(move || {
        let stream = connect(address);
        let mut writing = stream.try_clone().unwrap();
        let frames: Vec<u8> = (0..20u32)
            .flat_map(|n| {
                let length = n * n * 10_000;
                let payload = (0..length).map(move |i| u8::try_from((i ^ n) & 0xff).unwrap());
                length.to_le_bytes().into_iter().chain(payload)
            })
            .collect();
        let sent = frames.clone();
        let writer = std::thread::spawn(move || {
            writing.write_all(&sent).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        (&stream).read_to_end(&mut back).unwrap();
        writer.join().unwrap();
        assert!(
            back == frames,
            "{} of {} bytes, or others",
            back.len(),
            frames.len()
        );
    })
    .await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagram_peers_have_sessions_of_their_own_that_end_when_silent() {
    let limits = Limits {
        idle: Some(Duration::from_millis(200)),
        ..Limits::default()
    };
    let mut server = serve("udp://127.0.0.1:0", "echo", "none", limits).await;
    let address = server.address;
    peer(move || {
        let sockets: Vec<UdpSocket> = (0..3)
            .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        for (number, socket) in sockets.iter().enumerate() {
            socket
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            socket
                .send_to(format!("from {number}").as_bytes(), address)
                .unwrap();
            socket.send_to(b"", address).unwrap();
        }
        for (number, socket) in sockets.iter().enumerate() {
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], format!("from {number}").as_bytes());
            assert_eq!(socket.recv(&mut buffer).unwrap(), 0);
        }
    })
    .await;
    for _ in 0..3 {
        let record = server.record().await;
        assert!(matches!(record.end, End::Idle), "{:?}", record.end);
        assert_eq!(record.received.messages, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_a_message_that_never_gets_whole_are_ended() {
    let limits = Limits {
        idle: Some(Duration::from_millis(300)),
        message: Some(Duration::from_millis(150)),
        ..Limits::default()
    };
    let mut server = serve("tcp://127.0.0.1:0", "echo", "u8", limits).await;
    let address = server.address;
    let silent = tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        connect(address).read_to_end(&mut answer).map(|_| answer)
    });
    let record = server.record().await;
    assert!(matches!(record.end, End::Idle), "{:?}", record.end);
    assert_eq!(silent.await.unwrap().unwrap(), b"");
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let dripping = tokio::task::spawn_blocking(move || {
        let mut stream = connect(address);
        // Never idle, and never whole.
        while stream.write_all(&[200]).is_ok() {
            if wait.recv_timeout(Duration::from_millis(20)).is_ok() {
                break;
            }
        }
    });
    let record = server.record().await;
    assert!(matches!(record.end, End::Slow), "{:?}", record.end);
    let _ = done.send(());
    dripping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_no_more_than_its_share() {
    let limits = Limits {
        per_address: 2,
        ..Limits::default()
    };
    let mut server = serve("tcp://127.0.0.1:0", "echo", "none", limits).await;
    let address = server.address;
    let (first, _second) = peer(move || {
        let streams = (connect(address), connect(address));
        for mut stream in [&streams.0, &streams.1] {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        streams
    })
    .await;
    let third = peer(move || connect(address).read(&mut [0]).unwrap_or(0)).await;
    assert_eq!(third, 0);
    assert_eq!(server.refusal().await, Refusal::TooManyFromAddress(2));
    drop(first);
    server.record().await;
    // There is room again.
    peer(move || {
        let mut stream = connect(address);
        stream.write_all(b"y").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_lets_messages_finish_and_cuts_off_who_does_not() {
    let limits = Limits {
        drain: Duration::from_millis(300),
        ..Limits::default()
    };
    let mut server = serve("tcp://127.0.0.1:0", "counter:1h", "none", limits).await;
    let address = server.address;
    let stream = Arc::new(Mutex::new(peer(move || connect(address)).await));
    let stuck = Arc::clone(&stream);
    peer(move || {
        let mut stream = stuck.lock().unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        stream.write_all(b"ok").unwrap();
    })
    .await;
    // The handler has the answer and sleeps for an hour.
    let served = server.stop().await;
    assert_eq!((served.connections, served.cut_off), (1, 1));
    let record = server.record().await;
    assert!(matches!(record.end, End::CutOff), "{:?}", record.end);

    let mut server = serve("tcp://127.0.0.1:0", "echo", "line", Limits::default()).await;
    let address = server.address;
    let mut stream = peer(move || {
        let mut stream = connect(address);
        stream.write_all(b"before\n").unwrap();
        stream.read_exact(&mut [0; 7]).unwrap();
        stream
    })
    .await;
    let served = server.stop().await;
    assert_eq!((served.connections, served.cut_off), (1, 0));
    let record = server.record().await;
    assert!(matches!(record.end, End::Drained), "{:?}", record.end);
    let rest = peer(move || {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map(|_| rest)
    })
    .await;
    assert_eq!(rest.unwrap(), b"");
}
