//! What a server does with a connection.

use std::error::Error;

use crate::connection::{Connection, ConnectionError};

/// What a server does with each connection, and with each peer of a datagram socket.
///
/// One call lasts as long as its connection. The connection is closed when it returns: what was sent is
/// delivered, and the peer learns that no more comes. One call runs beside thousands of others: it
/// awaits, and does not block.
///
/// ```
/// use packhorse_server::{Connection, Handler, HandlerError};
///
/// /// Greets, and says how long each message was.
/// struct Lengths;
///
/// impl Handler for Lengths {
///     async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
///         connection.send("hello".into()).await?;
///         while let Some(message) = connection.receive().await? {
///             connection.feed(message.payload.len().to_string().into()).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Serves one connection.
    ///
    /// # Errors
    /// Whatever ends it early: it is told in the connection's record.
    fn handle(
        &self,
        connection: &mut Connection,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Why a handler ended early.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The connection ended it.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Something of the handler's own.
    #[error(transparent)]
    Own(Box<dyn Error + Send + Sync>),
}

impl HandlerError {
    /// An error of the handler's own.
    pub fn own(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Own(error.into())
    }
}
