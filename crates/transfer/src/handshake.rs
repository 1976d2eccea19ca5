//! What both sides do before a session: prefaces, TLS, and what goes into the code's proof.

use packhorse_endpoint::Observed;
use packhorse_proto::preface::{MAJOR, PREFACE_LENGTH, Preface, Security};
use packhorse_trust::{Channel, Identity, Suite};
use tokio::net::TcpStream;

use crate::error::Error;
use crate::options::SendSecurity;
use crate::wire::{Turn, Wire};

/// A role, as it stands in the associated data of the code's proof.
pub(crate) const SENDER_ROLE: &str = "sender";
/// See [`SENDER_ROLE`].
pub(crate) const RECEIVER_ROLE: &str = "receiver";

/// A control connection that is ready for the first message.
pub(crate) struct Introduction {
    pub(crate) wire: Wire,
    /// Plaintext that came with the end of the handshake.
    pub(crate) early: Vec<u8>,
}

/// What one side says of itself in the code's proof: `role || 0 || major version || 0 || name`.
pub(crate) fn associated_data(role: &str, name: &str) -> Vec<u8> {
    [role.as_bytes(), &[0, MAJOR, 0], name.as_bytes()].concat()
}

/// This machine's name for itself.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    packhorse_proto::message::Text::new(&name)
        .as_str()
        .to_owned()
}

/// How content is protected, in words.
pub(crate) fn protection(suite: Option<Suite>) -> &'static str {
    match suite {
        Some(Suite::Aes128Gcm) => "TLS 1.3, AES-128-GCM",
        Some(Suite::ChaCha20Poly1305) => "TLS 1.3, ChaCha20-Poly1305",
        None => "no encryption",
    }
}

/// The client's side: preface, answer, TLS.
pub(crate) async fn greet(
    stream: Observed<TcpStream>,
    security: &SendSecurity,
) -> Result<Introduction, Error> {
    let (security, channel) = match security {
        SendSecurity::Insecure => (Security::Insecure, None),
        SendSecurity::Code(_) => {
            let identity =
                Identity::generate().map_err(|error| Error::Storage(error.to_string()))?;
            (Security::Tls, Some(Channel::client(&identity)?))
        }
    };
    let mut first = Preface::Control(security).emit().to_vec();
    let mut channel = channel;
    if let Some(channel) = &mut channel {
        // In the same segment: no round trip is spent on the preface.
        let _ = channel.poll_transmit(&mut first);
    }
    stream.write_all(&first).await.map_err(Error::Lost)?;
    let mut answer = [0; PREFACE_LENGTH];
    stream.read_exact(&mut answer).await.map_err(Error::Lost)?;
    match Preface::parse(answer)? {
        Preface::Accepted => {}
        Preface::Refused(refusal) => return Err(Error::Refused(refusal)),
        _ => {
            return Err(Error::Preface(
                packhorse_proto::preface::PrefaceError::Unknown,
            ));
        }
    }
    establish(Wire::new(stream, channel)).await
}

/// Finishes the TLS handshake, where there is one.
pub(crate) async fn establish(mut wire: Wire) -> Result<Introduction, Error> {
    let mut early = Vec::new();
    while wire.channel().is_some_and(Channel::is_handshaking) {
        match wire.turn(&mut early).await {
            Ok(Turn::Open) => {}
            Ok(Turn::Closed) => return Err(Error::Lost(std::io::ErrorKind::UnexpectedEof.into())),
            Err(error) => {
                // The alert that tells the peer is queued; where it cannot be sent, there is no peer.
                let _ = wire.flush().await;
                return Err(error);
            }
        }
    }
    // The client's last flight has to leave before anybody waits for an answer to it.
    wire.flush().await?;
    Ok(Introduction { wire, early })
}
