//! Where connections come in.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use packhorse_endpoint::Observed;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::greeting::{self, Greeting};
use super::reception::Reception;

/// How long nothing is accepted when the system has no descriptor left for it.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and has each of them greeted, in a task of its own.
pub(super) struct Door {
    listener: TcpListener,
    reception: Arc<Reception>,
    /// Greetings that go on, the oldest first.
    greetings: VecDeque<AbortHandle>,
}

impl Door {
    pub(super) fn new(listener: TcpListener, reception: Arc<Reception>) -> Self {
        Self {
            listener,
            reception,
            greetings: VecDeque::new(),
        }
    }

    /// Lets in whoever comes, for as long as it is waited for. Safe to cancel.
    pub(super) async fn stand_open(&mut self) {
        loop {
            let accepted = self.listener.accept().await;
            if !self.let_in(accepted) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn let_in(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> bool {
        let Ok((stream, peer)) = accepted else {
            return false;
        };
        self.greetings.retain(|greeting| !greeting.is_finished());
        // Whoever holds many connections without saying anything loses the oldest, not the next who
        // comes the chance.
        if self.greetings.len() >= self.reception.limits.pending_connections.max(1)
            && let Some(oldest) = self.greetings.pop_front()
        {
            oldest.abort();
        }
        let stream = Observed::new(stream, self.reception.calls.as_ref());
        let greeting = Greeting {
            reception: Arc::clone(&self.reception),
            peer,
        };
        self.greetings
            .push_back(tokio::spawn(greeting::run(greeting, stream)).abort_handle());
        true
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.greetings.iter().for_each(AbortHandle::abort);
    }
}
