//! Handlers that come with the server, where they reach beyond their connection.

use std::fs;
use std::time::{Duration, Instant};

use packhorse_server::{End, Limits};

use crate::running::{PATIENCE, client, next, serve};

/// Whether a process is there and is not a corpse.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some(None | Some('Z' | 'X')))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_leaves_no_process_behind() {
    let command = "exec:sleep 1000 & echo $!; sleep 1000";
    let mut server = serve("tcp://127.0.0.1:0", command, "none", Limits::default()).await;
    let mut peer = client(&server.endpoints[0], "line").await;
    let said = String::from_utf8(next(&mut peer).await.unwrap()).unwrap();
    let background = said.trim().to_owned();
    assert!(lives(&background), "{background:?}");
    // Over TCP this looks like a peer that still listens, until nothing is said for a while.
    drop(peer);
    let record = server.record().await;
    assert!(!matches!(record.end, End::CutOff), "{:?}", record.end);
    let deadline = Instant::now() + PATIENCE;
    while lives(&background) {
        // Killed by then; the kernel takes a moment to bury it.
        assert!(Instant::now() < deadline, "{background} lives on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_is_killed_when_the_server_cuts_it_off() {
    let limits = Limits {
        drain: Duration::from_millis(100),
        ..Limits::default()
    };
    // It ignores that nobody speaks to it any more, and says something all the time.
    let command = "exec:echo $$; while :; do echo on; sleep 0.05; done";
    let mut server = serve("tcp://127.0.0.1:0", command, "none", limits).await;
    let mut peer = client(&server.endpoints[0], "line").await;
    let shell = String::from_utf8(next(&mut peer).await.unwrap()).unwrap();
    assert!(lives(&shell));
    let served = server.stop().await;
    assert_eq!(served.cut_off, 1);
    let deadline = Instant::now() + PATIENCE;
    while lives(&shell) {
        assert!(Instant::now() < deadline, "{shell} lives on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_sends_away_who_does_not_read() {
    let mut server = serve("tcp://127.0.0.1:0", "broker", "u32be", Limits::default()).await;
    let endpoint = server.endpoints[0].clone();
    // Reads nothing, and is there to the end.
    let deaf = client(&endpoint, "u32be").await;
    server.arrival().await;
    let mut loud = client(&endpoint, "u32be").await;
    server.arrival().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let talking = tokio::spawn(async move {
        let message = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        // More than all buffers on the way hold.
        while stopped.try_recv().is_err() && loud.sent().messages < 500 {
            loud.send(message.clone()).await.unwrap();
        }
        loud
    });
    let record = server.record().await;
    assert!(
        matches!(&record.end, End::Failed(why) if why == "it did not read what others said"),
        "{:?}",
        record.end
    );
    assert_eq!(record.peer.number, 1);
    let _ = stop.send(());
    drop((talking.await.unwrap(), deaf));
}
