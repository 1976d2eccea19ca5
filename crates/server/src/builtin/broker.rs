//! A room in which everybody hears everybody else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::connection::{Connection, Message};
use crate::handler::{Handler, HandlerError};
use crate::receiver::Receiver;
use crate::sender::Sender;

/// Messages that wait for one peer. Each is held once, however many wait for it.
const QUEUE: usize = 256;

/// How long a message waits for room at a peer that does not read. Then the peer has to go: it would
/// stop the whole room.
const PATIENCE: Duration = Duration::from_secs(2);

/// Relays every message to all other peers, whatever kind of socket they come through.
#[derive(Debug, Default)]
pub struct Broker {
    peers: Mutex<HashMap<u64, mpsc::Sender<Bytes>>>,
}

impl Handler for Broker {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        let number = connection.peer().number;
        let (queue, messages) = mpsc::channel(QUEUE);
        self.peers().insert(number, queue);
        let _leaving = Leaving {
            broker: self,
            number,
        };
        let (receiver, sender) = connection.split_mut();
        // Two sides that run side by side: who waits for room at another peer still takes what that
        // peer says.
        tokio::select! {
            ended = self.listen(number, receiver) => ended,
            ended = speak(messages, sender) => ended,
        }
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
        let others: Vec<(u64, mpsc::Sender<Bytes>)> = self
            .peers()
            .iter()
            .filter(|(number, _)| **number != from)
            .map(|(number, queue)| (*number, queue.clone()))
            .collect();
        for (number, queue) in others {
            let sent = match queue.try_send(payload.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(payload)) => {
                    matches!(timeout(PATIENCE, queue.send(payload)).await, Ok(Ok(())))
                }
            };
            if !sent {
                // Its queue ends once the last sender is gone, and its handler with it.
                self.peers().remove(&number);
            }
        }
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::Sender<Bytes>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn speak(
    mut messages: mpsc::Receiver<Bytes>,
    sender: &mut Sender,
) -> Result<(), HandlerError> {
    while let Some(message) = messages.recv().await {
        sender.feed(message).await?;
        // More that is there goes out with it.
        while let Ok(message) = messages.try_recv() {
            sender.feed(message).await?;
        }
        sender.flush().await?;
    }
    Err(HandlerError::own("it did not read what others said"))
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
