//! The numbered greetings of a course on socket servers.

use std::time::Duration;

use crate::connection::Connection;
use crate::handler::{Handler, HandlerError};

/// Greetings that are sent.
const GREETINGS: u32 = 200;

/// Sends `hello0` to `hello199`; after each it waits for a message, then for a while.
#[derive(Debug, Clone, Copy)]
pub struct Counter {
    /// How long after each answer.
    pub pause: Duration,
}

impl Handler for Counter {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        for number in 0..GREETINGS {
            // Over datagrams the peer speaks first: its first message is the answer to none.
            if number == 0
                && !super::is_connection(connection)
                && connection.receive().await?.is_none()
            {
                return Ok(());
            }
            connection.send(format!("hello{number}").into()).await?;
            if connection.receive().await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(self.pause).await;
        }
        Ok(())
    }
}
