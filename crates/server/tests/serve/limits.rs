//! What bounds a server: places, addresses, descriptors, and handlers that go wrong.

use packhorse_server::{Builtin, Connection, End, Event, Handler, HandlerError, Limits};

use crate::running::{client, next, serve, serve_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_no_place_waits_and_is_served_once_another_ended() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    // The second socket has nobody to serve, and must not keep the one place to itself.
    let endpoints = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"];
    let mut server = serve_all(&endpoints, Builtin::Echo, "line", limits).await;
    let mut first = client(&server.endpoints[1], "line").await;
    first.send("first".into()).await.unwrap();
    assert_eq!(next(&mut first).await.unwrap(), b"first");
    // The kernel takes it, the server does not.
    let mut second = client(&server.endpoints[0], "line").await;
    second.send("second".into()).await.unwrap();
    server.arrival().await;
    first.send("still alone".into()).await.unwrap();
    assert_eq!(next(&mut first).await.unwrap(), b"still alone");
    assert_eq!(second.received().messages, 0);
    first.close().await.unwrap();
    let ended_first = server
        .event(|event| match event {
            Event::Ended(_) => Some(true),
            Event::Arrived(_) => Some(false),
            _ => None,
        })
        .await;
    assert!(ended_first, "two were there where there is one place");
    assert_eq!(next(&mut second).await.unwrap(), b"second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_over_the_limit_are_refused_and_told() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let mut server = serve("udp://127.0.0.1:0", "echo", "none", limits).await;
    let endpoint = server.endpoints[0].clone();
    let mut first = client(&endpoint, "none").await;
    first.send("a".into()).await.unwrap();
    assert_eq!(next(&mut first).await.unwrap(), b"a");
    let mut second = client(&endpoint, "none").await;
    second.send("b".into()).await.unwrap();
    let refusal = server.refusal().await.to_string();
    assert_eq!(refusal, "there are 1 sessions already");
}

/// Echoes, and panics when it is told to.
struct Panics;

impl Handler for Panics {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        while let Some(message) = connection.receive().await? {
            assert_ne!(&message.payload[..], b"panic", "as it was told");
            connection.feed(message.payload).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_is_recorded_and_its_place_is_free_again() {
    let limits = Limits {
        connections: 1,
        per_address: 1,
        ..Limits::default()
    };
    for endpoint in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
        let mut server = serve_all(&[endpoint], Panics, "none", limits.clone()).await;
        let endpoint = server.endpoints[0].clone();
        for _ in 0..3 {
            let mut hapless = client(&endpoint, "none").await;
            hapless.send("panic".into()).await.unwrap();
            let record = server.record().await;
            assert!(
                matches!(&record.end, End::Failed(why) if why == "the handler panicked"),
                "{:?}",
                record.end
            );
            assert_eq!(record.received.messages, 1);
        }
        let served = server.stop().await;
        assert_eq!((served.connections, served.cut_off), (3, 0), "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_one_whether_it_comes_by_ipv4_or_mapped_into_ipv6() {
    let limits = Limits {
        per_address: 1,
        ..Limits::default()
    };
    // Takes IPv4 as well; where there is no IPv6, IPv4 alone.
    let endpoints = ["tcp://:0", "tcp://127.0.0.1:0"];
    let mut server = serve_all(&endpoints, Builtin::Echo, "none", limits).await;
    let port = server.address.port();
    let mut first = client(&format!("tcp://127.0.0.1:{port}"), "none").await;
    first.send("a".into()).await.unwrap();
    assert_eq!(next(&mut first).await.unwrap(), b"a");
    let _second = client(&server.endpoints[1], "none").await;
    let refusal = server.refusal().await.to_string();
    assert_eq!(refusal, "this address has 1 connections already");
}
