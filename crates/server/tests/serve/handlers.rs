//! Handlers that come with the server, where they reach beyond their connection.

use std::os::fd::OwnedFd;
use std::time::Duration;

use packhorse_server::{End, Limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::running::{PATIENCE, client, next, serve};

/// A process that lives.
struct Process(OwnedFd);

impl Process {
    fn find(pid: &str) -> Self {
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        Self(pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    /// Waits for its end.
    async fn ends(self) {
        let waiting = tokio::task::spawn_blocking(move || {
            let mut end = [PollFd::new(&self.0, PollFlags::IN)];
            poll(&mut end, Some(&Timespec::try_from(PATIENCE).unwrap())).unwrap()
        });
        assert_eq!(waiting.await.unwrap(), 1, "it lives on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_leaves_no_process_behind() {
    let command = "exec:sleep 1000 & echo $!; sleep 1000";
    let mut server = serve("tcp://127.0.0.1:0", command, "none", Limits::default()).await;
    let mut peer = client(&server.endpoints[0], "line").await;
    let said = String::from_utf8(next(&mut peer).await.unwrap()).unwrap();
    let background = Process::find(&said);
    // Over TCP this looks like a peer that still listens, until nothing is said for a while.
    drop(peer);
    let record = server.record().await;
    assert!(!matches!(record.end, End::CutOff), "{:?}", record.end);
    background.ends().await;
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
    let shell = Process::find(&shell);
    let served = server.stop().await;
    assert_eq!(served.cut_off, 1);
    shell.ends().await;
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
