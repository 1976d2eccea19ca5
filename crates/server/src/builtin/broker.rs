//! A room in which everybody hears everybody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::connection::{Connection, Message};
use crate::handler::{Handler, HandlerError};
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Messages that wait for one peer, at most. Each is held once, however many wait for it.
const QUEUE: usize = 256;

/// Bytes that wait for one peer, at most: the largest message alone may be more.
const QUEUE_BYTES: usize = 4 << 20;

/// How long a message waits for room at a peer that does not read. Then the peer has to go: it would
/// stop the whole room.
const PATIENCE: Duration = Duration::from_secs(2);

/// Relays every message to all other peers, whatever kind of socket they come through.
#[derive(Debug, Default)]
pub struct Broker {
    peers: Mutex<HashMap<u64, Seat>>,
}

/// A peer in the room, as the others see it.
#[derive(Debug, Clone)]
struct Seat {
    queue: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
    /// It has to go.
    out: Arc<Notify>,
}

/// A message that waits for one peer, and the room it takes.
#[derive(Debug)]
struct Waiting {
    payload: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Handler for Broker {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        let number = connection.peer().number;
        let (queue, mut messages) = mpsc::channel(QUEUE);
        let out = Arc::new(Notify::new());
        let seat = Seat {
            queue,
            bytes: Arc::new(Semaphore::new(QUEUE_BYTES)),
            out: Arc::clone(&out),
        };
        self.peers().insert(number, seat);
        let leaving = Leaving {
            broker: self,
            number,
        };
        let (receiver, sender) = connection.split_mut();
        // Two sides that run side by side: who waits for room at another peer still takes what that
        // peer says.
        tokio::select! {
            ended = self.listen(number, receiver) => ended?,
            ended = speak(&mut messages, sender) => ended?,
            // It may be stuck in sending to a peer that does not read.
            () = out.notified() => {
                return Err(HandlerError::own("it did not read what others said"));
            }
        }
        // It says no more; what was said to it before it left it still hears.
        drop(leaving);
        while let Ok(message) = messages.try_recv() {
            sender.feed(message.payload).await?;
        }
        Ok(())
    }
}

impl Broker {
    async fn listen(&self, number: u64, receiver: &mut Receiver) -> Result<(), HandlerError> {
        while let Some(message) = receiver.receive().await? {
            self.relay(number, message).await;
        }
        Ok(())
    }

    async fn relay(&self, from: u64, message: Message) {
        // A small message does not keep alive the buffer that it came in.
        let payload = Bytes::copy_from_slice(&message.payload);
        let others: Vec<(u64, Seat)> = self
            .peers()
            .iter()
            .filter(|(number, _)| **number != from)
            .map(|(number, seat)| (*number, seat.clone()))
            .collect();
        for (number, seat) in others {
            let in_time = timeout(PATIENCE, seat.take(payload.clone())).await;
            if in_time.is_err() {
                self.peers().remove(&number);
                seat.out.notify_one();
            }
        }
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Seat>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits for room, and queues the message. A peer that is gone needs none.
    async fn take(&self, payload: Bytes) {
        let length = u32::try_from(payload.len().min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        if let Ok(room) = Arc::clone(&self.bytes).acquire_many_owned(length).await {
            let waiting = Waiting {
                payload,
                _room: room,
            };
            let _ = self.queue.send(waiting).await;
        }
    }
}

async fn speak(
    messages: &mut mpsc::Receiver<Waiting>,
    sender: &mut Sender,
) -> Result<(), HandlerError> {
    while let Some(message) = messages.recv().await {
        sender.feed(message.payload).await?;
        // More that is there goes out with it.
        while let Ok(message) = messages.try_recv() {
            sender.feed(message.payload).await?;
        }
        sender.flush().await?;
    }
    Ok(())
}

/// Takes a peer out of the room when its handler ends or is dropped.
struct Leaving<'a> {
    broker: &'a Broker,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.broker.peers().remove(&self.number);
    }
}
