//! One connection of a run: what is due goes out, what comes is compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use packhorse_server::{Connection, ConnectionError, Receiver, Sender};
use tokio::sync::watch;
use tokio::time::timeout;

use super::ledger::{Answer, Ledger, Order};
use super::message::Shape;
use super::pace::{Gate, Schedule};
use super::tally::Tally;

/// How long answers are waited for once nothing more is sent.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How long a datagram's answer is waited for before the next is sent, where each waits for the last.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// What all connections of a run share.
pub(crate) struct Run {
    pub(crate) shape: Shape,
    pub(crate) tally: Tally,
    /// Nothing more is sent.
    pub(crate) over: AtomicBool,
    /// The same, for those that wait.
    pub(crate) ending: watch::Sender<bool>,
    pub(crate) order: Order,
}

/// How a connection knows what to send when.
pub(crate) enum Pace {
    /// What the schedule says, whatever the answers do.
    Open(Schedule, Arc<Gate>),
    /// The next when the last was answered.
    Closed,
}

/// How one connection ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// Sent, and never answered.
    pub(crate) lost: u64,
    /// It ended before its time.
    pub(crate) broken: bool,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("the server said that no more comes")]
    Ended,
}

/// How long answers are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until something breaks.
    Broken,
    /// Until none is missing.
    AllAnswered,
}

impl Run {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// Runs a connection to its end.
pub(crate) async fn drive(
    run: Arc<Run>,
    number: u32,
    mut connection: Connection,
    pace: Pace,
) -> Outcome {
    let sent = AtomicU64::new(0);
    let (receiver, sender) = connection.split_mut();
    let mut one = One {
        run: &run,
        number,
        pace: &pace,
        sent: &sent,
    };
    let mut ledger = Ledger::new(number, run.order);
    let result = match &pace {
        Pace::Open(_, gate) => one.open_loop(gate, receiver, sender, &mut ledger).await,
        Pace::Closed => one.closed_loop(receiver, sender, &mut ledger).await,
    };
    if let Err(broken) = &result {
        if let Broken::Connection(ConnectionError::Frame(error)) = broken
            && !matches!(error, packhorse_frame::FrameError::Truncated { .. })
        {
            run.tally.shard(number).wrong();
            run.tally
                .note_wrong(|| format!("connection {number}: {error}"));
        }
        run.tally
            .note_broken(|| format!("connection {number}: {broken}"));
    } else {
        let _ = connection.finish().await;
    }
    Outcome {
        lost: ledger.open(sent.load(Ordering::Acquire)),
        broken: result.is_err(),
    }
}

struct One<'a> {
    run: &'a Run,
    number: u32,
    pace: &'a Pace,
    sent: &'a AtomicU64,
}

impl One<'_> {
    /// Sends what is due and receives what comes, each without waiting for the other.
    async fn open_loop(
        &mut self,
        gate: &Gate,
        receiver: &mut Receiver,
        sender: &mut Sender,
        ledger: &mut Ledger,
    ) -> Result<(), Broken> {
        let this = &*self;
        tokio::select! {
            sent = this.send_what_is_due(gate, sender) => sent?,
            broken = this.receive_until(Until::Broken, receiver, ledger) => broken?,
        }
        // Answers that do not come by then are lost.
        let rest = self.receive_until(Until::AllAnswered, receiver, ledger);
        timeout(GRACE, rest).await.unwrap_or(Ok(()))
    }

    async fn send_what_is_due(&self, gate: &Gate, sender: &mut Sender) -> Result<(), Broken> {
        let sending = async {
            loop {
                let mut sent = self.sent.load(Ordering::Acquire);
                let due = gate.due();
                while sent < due && !self.run.is_over() {
                    let message = self.run.shape.message(self.number, sent);
                    sent += 1;
                    // Before it is out: its answer may be there before this goes on.
                    self.sent.store(sent, Ordering::Release);
                    sender.feed(message).await.or_else(|e| self.refused(e))?;
                    self.run.tally.shard(self.number).sent();
                }
                sender.flush().await?;
                if self.run.is_over() {
                    return Ok(());
                }
                gate.changed().await;
            }
        };
        // A message that the server does not take must not outlast the run.
        let mut ending = self.run.ending.subscribe();
        let given_up = async {
            let _ = ending.wait_for(|over| *over).await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            sent = sending => sent,
            () = given_up => Ok(()),
        }
    }

    /// Over datagrams nobody at the other end is a loss, and may be there again.
    fn refused(&self, error: ConnectionError) -> Result<(), ConnectionError> {
        match &error {
            ConnectionError::Io(io)
                if self.run.order == Order::Loose
                    && io.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn receive_until(
        &self,
        until: Until,
        receiver: &mut Receiver,
        ledger: &mut Ledger,
    ) -> Result<(), Broken> {
        while until == Until::Broken || ledger.open(self.sent.load(Ordering::Acquire)) > 0 {
            self.receive_one(receiver, ledger).await?;
        }
        Ok(())
    }

    /// Receives one answer and compares it.
    async fn receive_one(
        &self,
        receiver: &mut Receiver,
        ledger: &mut Ledger,
    ) -> Result<Option<Answer>, Broken> {
        let message = match receiver.receive().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Broken::Ended),
            Err(error) => return self.refused(error).map(|()| None).map_err(Broken::from),
        };
        let sent = self.sent.load(Ordering::Acquire);
        let expected = ledger.next();
        let answer = ledger.take(&self.run.shape, &message.payload, sent);
        let shard = self.run.tally.shard(self.number);
        match (answer, self.pace) {
            (Answer::Right(sequence), Pace::Open(schedule, _)) => {
                let due = schedule.due(self.number, sequence);
                shard.answered(due.elapsed());
            }
            (Answer::Right(_), Pace::Closed) => {}
            (Answer::Wrong, _) => {
                shard.wrong();
                let (shape, number) = (&self.run.shape, self.number);
                self.run
                    .tally
                    .note_wrong(|| describe(shape, number, expected, &message.payload));
            }
        }
        Ok(Some(answer))
    }

    /// Sends a message, waits for its answer, and so on.
    async fn closed_loop(
        &mut self,
        receiver: &mut Receiver,
        sender: &mut Sender,
        ledger: &mut Ledger,
    ) -> Result<(), Broken> {
        let mut ending = self.run.ending.subscribe();
        let this = &*self;
        let rounds = async {
            while !this.run.is_over() {
                let next = this.sent.load(Ordering::Acquire);
                let message = this.run.shape.message(this.number, next);
                let start = Instant::now();
                this.sent.store(next + 1, Ordering::Release);
                sender.send(message).await.or_else(|e| this.refused(e))?;
                this.run.tally.shard(this.number).sent();
                this.await_answer(next, start, receiver, ledger).await?;
            }
            Ok(())
        };
        tokio::select! {
            result = rounds => result,
            () = async {
                let _ = ending.wait_for(|over| *over).await;
                tokio::time::sleep(GRACE).await;
            } => Ok(()),
        }
    }

    async fn await_answer(
        &self,
        sequence: u64,
        start: Instant,
        receiver: &mut Receiver,
        ledger: &mut Ledger,
    ) -> Result<(), Broken> {
        let answered = async {
            while ledger.next() <= sequence {
                if self.receive_one(receiver, ledger).await? == Some(Answer::Right(sequence)) {
                    let shard = self.run.tally.shard(self.number);
                    shard.answered(start.elapsed());
                }
            }
            Ok(())
        };
        if self.run.order == Order::Kept {
            return answered.await;
        }
        match timeout(LOST_AFTER, answered).await {
            Ok(result) => result,
            Err(_) => {
                ledger.give_up(sequence + 1);
                Ok(())
            }
        }
    }
}

/// What came where an answer was expected.
fn describe(shape: &Shape, number: u32, expected: u64, payload: &[u8]) -> String {
    let length = payload.len();
    match shape.claim(payload) {
        Some((connection, sequence)) if shape.is(payload, connection, sequence) => format!(
            "connection {number} waited for the answer to message {expected}, and got message \
             {sequence} of connection {connection}"
        ),
        _ => format!(
            "connection {number} waited for the answer to message {expected}, and got {length} other \
             bytes"
        ),
    }
}
