//! How connections end, and how a server ends.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use packhorse_server::{Connection, End, Handler, HandlerError, Limits};

use crate::running::{client, connect, next, peer, serve, serve_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_recorded_as_one() {
    let mut server = serve("tcp://127.0.0.1:0", "echo", "line", Limits::default()).await;
    let address = server.address;
    peer(move || {
        let mut stream = connect(address);
        stream.write_all(b"a\n").unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
        // Closing then resets (SO_LINGER of no time, socket(7)).
        rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
    })
    .await;
    let record = server.record().await;
    assert!(matches!(record.end, End::Reset), "{:?}", record.end);
    assert_eq!(record.received.messages, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_frames_are_told() {
    let mut server = serve("tcp://127.0.0.1:0", "echo", "u32be", Limits::default()).await;
    let address = server.address;
    peer(move || connect(address).write_all(b"GET / HTTP/1.1\r\n\r\n"))
        .await
        .unwrap();
    let record = server.record().await;
    let End::Failed(why) = &record.end else {
        panic!("{:?}", record.end);
    };
    assert!(why.contains("message of 1195725856 bytes"), "{why}");
}

/// Sleeps for ever once somebody spoke, and says when it is dropped.
struct Sleeper(Arc<AtomicBool>);

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Handler for Sleeper {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        let _dropped = Dropped(Arc::clone(&self.0));
        connection.receive().await?;
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_does_not_heed_its_deadline_is_dropped() {
    for endpoint in [
        "tcp://127.0.0.1:0",
        "tls://127.0.0.1:0",
        "udp://127.0.0.1:0",
    ] {
        let limits = Limits {
            idle: Some(Duration::from_millis(100)),
            ..Limits::default()
        };
        let dropped = Arc::new(AtomicBool::new(false));
        let sleeper = Sleeper(Arc::clone(&dropped));
        let mut server = serve_all(&[endpoint], sleeper, "none", limits).await;
        let mut stuck = client(&server.endpoints[0], "none").await;
        stuck.send("hello".into()).await.unwrap();
        let record = server.record().await;
        assert!(
            matches!(record.end, End::Idle),
            "{endpoint}: {:?}",
            record.end
        );
        assert!(record.duration >= Duration::from_millis(100), "{endpoint}");
        assert!(dropped.load(Ordering::Acquire), "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_lets_every_kind_finish_in_order() {
    for endpoint in [
        "tcp://127.0.0.1:0",
        "tls://127.0.0.1:0",
        "udp://127.0.0.1:0",
    ] {
        let mut server = serve(endpoint, "echo", "line", Limits::default()).await;
        let mut peer = client(&server.endpoints[0], "line").await;
        peer.send("before".into()).await.unwrap();
        assert_eq!(next(&mut peer).await.unwrap(), b"before");
        let hearing = tokio::spawn(async move {
            // The end that a stream tells is in order; a datagram socket tells none.
            if peer.peer().kind.is_connected() {
                assert_eq!(next(&mut peer).await, None);
            }
        });
        let served = server.stop().await;
        hearing.await.unwrap();
        assert_eq!((served.connections, served.cut_off), (1, 0), "{endpoint}");
        let record = server.record().await;
        assert!(
            matches!(record.end, End::Drained),
            "{endpoint}: {:?}",
            record.end
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_goes_on_talking_does_not_keep_a_server_that_drains() {
    let limits = Limits {
        drain: Duration::from_secs(60),
        ..Limits::default()
    };
    let mut server = serve("tcp://127.0.0.1:0", "echo", "line", limits).await;
    let address = server.address;
    let talking = tokio::task::spawn_blocking(move || {
        let mut stream = connect(address);
        let mut answer = [0; 6];
        loop {
            // Every answer that comes is whole, and then nothing comes.
            if stream.write_all(b"hello\n").is_err() || stream.read_exact(&mut answer).is_err() {
                return;
            }
            assert_eq!(&answer, b"hello\n");
        }
    });
    server.arrival().await;
    let start = Instant::now();
    let served = server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(served.cut_off, 0);
    talking.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_before_the_drain_is_answered() {
    const MESSAGES: usize = 2000;
    let mut server = serve("tcp://127.0.0.1:0", "echo", "line", Limits::default()).await;
    let address = server.address;
    let mut stream = peer(move || {
        let mut stream = connect(address);
        stream.write_all(&b"hello\n".repeat(MESSAGES)).unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        stream
    })
    .await;
    let hearing = tokio::task::spawn_blocking(move || {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest.len()
    });
    server.stop().await;
    // Loopback: what was written has been received by the kernel on the other side.
    assert_eq!(hearing.await.unwrap(), 6 * (MESSAGES - 1));
}
