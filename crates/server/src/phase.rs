//! From serving to the end: what the tasks of a server go through.

use tokio::sync::watch as signal;
use tokio::task::JoinSet;

/// What a server is about, as its sockets' tasks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes whoever comes.
    Serve,
    /// It lets those that are there finish.
    Drain,
    /// It waits no longer.
    Cut,
}

/// Waits for the tasks of connections, and drops those that are left when the server waits no longer:
/// their records say that they were cut off.
pub(crate) async fn finish<T: Send + 'static>(
    running: &mut JoinSet<T>,
    phases: &mut signal::Receiver<Phase>,
) {
    let finished = tokio::select! {
        () = async { while running.join_next().await.is_some() {} } => true,
        _ = phases.wait_for(|phase| *phase == Phase::Cut) => false,
    };
    if !finished {
        running.shutdown().await;
    }
}
