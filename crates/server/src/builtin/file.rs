//! A file for everybody who asks.

use std::path::PathBuf;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;

use super::is_connection;
use crate::connection::Connection;
use crate::handler::{Handler, HandlerError};

/// Bytes in a message. Over datagrams: what fits into one on Ethernet without being cut (RFC 8200's
/// least packet of 1,280 bytes, less the headers of IPv6 and UDP).
const PIECE: usize = 64 * 1024;
const DATAGRAM: usize = 1232;

/// Sends the content of a file, opened anew for each peer.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
}

impl File {
    /// Sends what `path` holds.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Handler for File {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        let piece = match is_connection(connection) {
            true => PIECE,
            // Over datagrams somebody must ask.
            false if connection.receive().await?.is_none() => return Ok(()),
            false => DATAGRAM,
        };
        let named = |error| HandlerError::own(format!("'{}': {error}", self.path.display()));
        let mut file = tokio::fs::File::open(&self.path).await.map_err(named)?;
        loop {
            let mut bytes = BytesMut::with_capacity(piece);
            while bytes.len() < piece && file.read_buf(&mut bytes).await.map_err(named)? > 0 {}
            if bytes.is_empty() {
                return Ok(());
            }
            connection.feed(bytes.freeze()).await?;
        }
    }
}
