//! Every kind of socket, alone and all at once.

use std::collections::HashSet;

use packhorse_server::{Builtin, Connection, End, Limits};

use crate::running::{client, next, serve, serve_all};

/// An abstract name that no other test has.
fn name(what: &str) -> String {
    format!("@packhorse-serve-{what}-{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_echoes_and_ends_with_its_peer() {
    let (unix, seqpacket) = (name("echo-unix"), name("echo-seqpacket"));
    for endpoint in [
        "tls://127.0.0.1:0".to_owned(),
        format!("unix:{unix}"),
        format!("seqpacket:{seqpacket}"),
        "tcp://[::1]:0".to_owned(),
    ] {
        let mut server = serve(&endpoint, "echo", "u16be", Limits::default()).await;
        let mut peer = client(&server.endpoints[0], "u16be").await;
        let large = vec![b'x'; 40_000];
        for message in [&b"hello"[..], b"", &large, b"end"] {
            peer.send(message.to_vec().into()).await.unwrap();
            assert_eq!(next(&mut peer).await.unwrap(), message, "{endpoint}");
        }
        peer.close().await.unwrap();
        let record = server.record().await;
        assert!(
            matches!(record.end, End::ByPeer),
            "{endpoint}: {}",
            record.end
        );
        assert_eq!((record.received.messages, record.sent.messages), (4, 4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_packets_are_messages_and_not_the_end() {
    let endpoint = format!("seqpacket:{}", name("empty"));
    let mut server = serve(&endpoint, "echo", "none", Limits::default()).await;
    let mut peer = client(&server.endpoints[0], "none").await;
    for message in ["", "a", "", ""] {
        peer.send(message.into()).await.unwrap();
        assert_eq!(next(&mut peer).await.unwrap(), message.as_bytes());
    }
    peer.close().await.unwrap();
    assert_eq!(server.record().await.received.messages, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tls_is_told_and_harms_nobody() {
    let mut server = serve("tls://127.0.0.1:0", "echo", "line", Limits::default()).await;
    let mut plain = client(&format!("tcp://{}", server.address), "none").await;
    plain.send("GET / HTTP/1.0\r\n\r\n".into()).await.unwrap();
    let refusal = server.refusal().await.to_string();
    assert!(refusal.starts_with("no TLS: "), "{refusal}");
    let mut peer = client(&server.endpoints[0], "line").await;
    peer.send("hello".into()).await.unwrap();
    assert_eq!(next(&mut peer).await.unwrap(), b"hello");
}

/// Messages that each peer says in the room.
const EACH: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_relays_each_message_to_all_others_once_whatever_they_come_through() {
    let endpoints = [
        "tcp://127.0.0.1:0".to_owned(),
        "udp://127.0.0.1:0".to_owned(),
        format!("unix:{}", name("room")),
        format!("seqpacket:{}", name("room")),
        "tls://127.0.0.1:0".to_owned(),
    ];
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    let broker = Builtin::Broker(packhorse_server::Broker::default());
    let mut server = serve_all(&endpoints, broker, "line", Limits::default()).await;
    let mut peers: Vec<Connection> = Vec::new();
    for (number, endpoint) in server.endpoints.clone().iter().enumerate() {
        let mut peer = client(endpoint, "line").await;
        // A datagram socket is there once it has said something.
        peer.send(format!("here {number}").into()).await.unwrap();
        server.arrival().await;
        // Whoever was heard by the others is in the room.
        let hello = format!("here {number}").into_bytes();
        for other in &mut peers {
            while next(other).await.unwrap() != hello {}
        }
        peers.push(peer);
    }
    let here = peers.len();
    let mut talking = Vec::new();
    for (number, peer) in peers.into_iter().enumerate() {
        talking.push(tokio::spawn(talk(number, here, peer)));
    }
    for one in talking {
        one.await.unwrap();
    }
}

/// Speaks, and hears all the others: each message once.
async fn talk(number: usize, here: usize, mut peer: Connection) {
    for message in 0..EACH {
        peer.send(format!("{number}:{message}").into())
            .await
            .unwrap();
    }
    let mut heard = HashSet::new();
    while heard.len() < EACH * (here - 1) {
        let message = String::from_utf8(next(&mut peer).await.unwrap()).unwrap();
        if message.starts_with("here") {
            continue;
        }
        assert!(!message.starts_with(&format!("{number}:")), "one's own");
        assert!(heard.insert(message), "twice");
    }
}
