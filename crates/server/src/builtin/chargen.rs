//! Characters without end (RFC 864).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::is_connection;
use crate::connection::Connection;
use crate::handler::{Handler, HandlerError};

/// Characters in a line, as RFC 864 suggests, without its CR LF.
const WIDTH: usize = 72;

/// The printable characters of ASCII, the space among them.
const PRINTABLE: usize = 95;

/// Sends lines of 72 characters, each begun one character further. Over datagrams: one line for each
/// datagram that comes.
#[derive(Debug)]
pub struct Chargen;

impl Handler for Chargen {
    async fn handle(&self, connection: &mut Connection) -> Result<(), HandlerError> {
        // Where nothing else marks its end, CR LF does.
        let end: &[u8] = if connection.has_boundaries() {
            b""
        } else {
            b"\r\n"
        };
        let lines = (0..PRINTABLE).cycle().map(|first| line(first, end));
        if !is_connection(connection) {
            for line in lines {
                if connection.receive().await?.is_none() {
                    break;
                }
                connection.send(line).await?;
            }
            return Ok(());
        }
        let (receiver, sender) = connection.split_mut();
        let talk = async {
            for line in lines {
                sender.feed(line).await?;
                // One connection does not keep the others waiting.
                tokio::task::coop::consume_budget().await;
            }
            Ok(())
        };
        // What the peer says is thrown away; when it says no more it still listens.
        let listen = async {
            while receiver.receive().await?.is_some() {}
            std::future::pending().await
        };
        tokio::select! {
            ended = talk => ended,
            ended = listen => ended,
        }
    }
}

fn line(first: usize, end: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(WIDTH + end.len());
    for at in first..first + WIDTH {
        line.put_u8(b' ' + u8::try_from(at % PRINTABLE).unwrap_or_default());
    }
    line.put_slice(end);
    line.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_turn() {
        assert!(line(0, b"").starts_with(b" !\"#"));
        assert!(line(94, b"").starts_with(b"~ !\""));
        assert_eq!(line(33, b"\r\n").len(), 74);
    }
}
