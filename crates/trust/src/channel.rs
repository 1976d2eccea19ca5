//! The encrypted channel of a control connection: TLS 1.3 without sockets.

use std::fmt;
use std::io::{self, BufRead, Write};

use rustls::{AlertDescription, Connection, Error};
use zeroize::Zeroizing;

use crate::identity::Identity;
use crate::pairing::{BindingParts, ChannelBinding};
use crate::tls;

const EXPORTER_PAIR: &[u8] = b"EXPORTER-packhorse-pair-v1";
const EXPORTER_SID: &[u8] = b"EXPORTER-packhorse-sid-v1";
const EXPORTER_SESSION: &[u8] = b"EXPORTER-packhorse-session-v1";

/// Why a channel does not work, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Our own TLS configuration was refused by the library: a mistake here, not the peer's.
    #[error("cannot set up tls: {reason}")]
    Setup {
        /// What the library said.
        reason: String,
    },
    /// The peer ended the channel with an alert.
    #[error("the peer refused the channel with the tls alert {alert}")]
    Refused {
        /// The alert's name in RFC 8446.
        alert: String,
    },
    /// The peer speaks TLS, but not packhorse.
    #[error("the peer does not speak packhorse")]
    OtherProtocol,
    /// The peer showed something else than a raw Ed25519 key, or did not prove that it holds it.
    #[error("the peer has no valid raw ed25519 key")]
    PeerKey,
    /// What the peer sent is not TLS, breaks its rules, or was altered on the way.
    #[error("the peer broke the tls protocol: {reason}")]
    Broken {
        /// What the library said.
        reason: String,
    },
    /// The call needs an established channel.
    #[error("the channel is not established yet")]
    NotEstablished,
    /// We closed the channel; nothing can be sent any more.
    #[error("the channel is closed")]
    Closed,
}

impl ChannelError {
    fn setup(error: &Error) -> Self {
        Self::Setup {
            reason: error.to_string(),
        }
    }

    fn broken(reason: impl fmt::Display) -> Self {
        Self::Broken {
            reason: reason.to_string(),
        }
    }
}

impl From<Error> for ChannelError {
    fn from(error: Error) -> Self {
        match error {
            Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | Error::NoApplicationProtocol => Self::OtherProtocol,
            Error::AlertReceived(alert) => Self::Refused {
                alert: format!("{alert:?}"),
            },
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Self::PeerKey,
            other => Self::broken(other),
        }
    }
}

/// One side of an encrypted channel. Does no IO and reads no clock.
///
/// Call [`handle_bytes`](Self::handle_bytes) when bytes arrive, in pieces of any size, then
/// [`poll_transmit`](Self::poll_transmit) for the bytes to send, also after an error: what is queued
/// then is the alert that tells the peer. A client has bytes to send from the start.
///
/// Both sides show raw public keys and prove that they hold them, but *any* key is accepted: until a
/// code phrase was confirmed over [`binding`](Self::binding), the peer may be anybody.
pub struct Channel {
    connection: Connection,
    own_key: Vec<u8>,
    state: State,
    peer_closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Handshaking,
    Established,
    /// We sent close_notify; the peer may still be sending.
    Closed,
    Failed(ChannelError),
}

/// Key material from the channel for the keys of a session, as
/// [`SessionKeys::new`](crate::SessionKeys::new) takes it.
pub struct SessionExporter(Zeroizing<[u8; 32]>);

impl SessionExporter {
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionExporter(..)")
    }
}

impl Channel {
    /// The side that connected.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Setup`].
    pub fn client(identity: &Identity) -> Result<Self, ChannelError> {
        Self::new(tls::client(identity), identity)
    }

    /// The side that listened.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Setup`].
    pub fn server(identity: &Identity) -> Result<Self, ChannelError> {
        Self::new(tls::server(identity), identity)
    }

    fn new(connection: Result<Connection, Error>, id: &Identity) -> Result<Self, ChannelError> {
        let mut connection = connection.map_err(|error| ChannelError::setup(&error))?;
        // `write` takes all or nothing; its caller bounds what is queued.
        connection.set_buffer_limit(None);
        Ok(Self {
            connection,
            own_key: id.public_key().to_vec(),
            state: State::Handshaking,
            peer_closed: false,
        })
    }

    /// Takes bytes from the peer and appends the plaintext they hold to `plaintext`.
    ///
    /// The pieces may be cut anywhere. What follows the peer's close is ignored.
    ///
    /// # Errors
    ///
    /// The channel is then dead, and every later call gives the same error. Plaintext that came
    /// before the fault is in `plaintext`: it was authenticated.
    pub fn handle_bytes(
        &mut self,
        mut ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), ChannelError> {
        self.failed()?;
        while !ciphertext.is_empty() && !self.peer_closed {
            if let Err(error) = self.handle_some(&mut ciphertext, plaintext) {
                self.state = State::Failed(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Feeds as much as rustls takes at once, and drains what came of it: its reader holds 16 KiB.
    fn handle_some(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<(), ChannelError> {
        match self.connection.read_tls(bytes) {
            Ok(0) => return Err(ChannelError::broken("a record that is too long")),
            Ok(_) => {}
            Err(error) => return Err(ChannelError::broken(error)),
        }
        let outcome = self.connection.process_new_packets();
        self.check_established()?;
        self.drain(out);
        self.peer_closed = outcome?.peer_has_closed();
        Ok(())
    }

    /// On the transition to established, makes sure that both sides agreed on the protocol: rustls
    /// lets a peer pass that offers none.
    fn check_established(&mut self) -> Result<(), ChannelError> {
        if self.state != State::Handshaking || self.connection.is_handshaking() {
            return Ok(());
        }
        if self.connection.alpn_protocol() != Some(tls::ALPN) {
            self.connection.send_close_notify();
            return Err(ChannelError::OtherProtocol);
        }
        self.state = State::Established;
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        while let Ok(chunk) = reader.fill_buf() {
            let taken = chunk.len();
            if taken == 0 {
                return;
            }
            out.extend_from_slice(chunk);
            reader.consume(taken);
        }
    }

    /// Encrypts `plaintext`, all of it, for [`poll_transmit`](Self::poll_transmit) to give out.
    ///
    /// There is no limit to what is queued; the caller sets one.
    ///
    /// # Errors
    ///
    /// [`ChannelError::NotEstablished`], [`ChannelError::Closed`], or what the channel died of.
    pub fn write(&mut self, plaintext: &[u8]) -> Result<(), ChannelError> {
        self.established()?;
        let written = self.connection.writer().write_all(plaintext);
        written.map_err(|error: io::Error| ChannelError::broken(error))
    }

    /// Appends to `out` what must go to the peer. Gives false if there was nothing.
    #[must_use]
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        while self.connection.wants_write() {
            match self.connection.write_tls(out) {
                Ok(0) | Err(_) => break, // cannot happen: a vector takes everything
                Ok(_) => {}
            }
        }
        out.len() > before
    }

    /// Whether the handshake still goes on.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.state == State::Handshaking
    }

    /// Whether the channel can be written to.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Whether the peer said that it sends no more. Without this, an end of the stream is a cut.
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Queues the message that says we send no more. The peer's bytes can still be handled, unless
    /// the handshake was not over yet: then that ends the channel.
    pub fn close(&mut self) {
        let next = match self.state {
            State::Established => State::Closed,
            State::Handshaking => State::Failed(ChannelError::Closed),
            State::Closed | State::Failed(_) => return,
        };
        self.connection.send_close_notify();
        self.state = next;
    }

    /// What binds a code phrase to this channel.
    ///
    /// # Errors
    ///
    /// [`ChannelError::NotEstablished`], [`ChannelError::Closed`], or what the channel died of.
    pub fn binding(&self) -> Result<ChannelBinding, ChannelError> {
        self.established()?;
        let exporter = self.export(EXPORTER_PAIR)?;
        let session = self.export(EXPORTER_SID)?;
        let peer_key = self.peer_key()?;
        let (client_spki, server_spki) = match &self.connection {
            Connection::Client(_) => (self.own_key.as_slice(), peer_key),
            Connection::Server(_) => (peer_key, self.own_key.as_slice()),
        };
        let exporter = &*exporter;
        Ok(ChannelBinding::new(BindingParts {
            exporter,
            client_spki,
            server_spki,
            session,
        }))
    }

    /// Key material for the keys of a session over this channel.
    ///
    /// # Errors
    ///
    /// [`ChannelError::NotEstablished`], [`ChannelError::Closed`], or what the channel died of.
    pub fn session_exporter(&self) -> Result<SessionExporter, ChannelError> {
        self.established()?;
        self.export(EXPORTER_SESSION).map(SessionExporter)
    }

    fn export(&self, label: &[u8]) -> Result<Zeroizing<[u8; 32]>, ChannelError> {
        let mut output = Zeroizing::new([0; 32]);
        self.connection
            .export_keying_material(output.as_mut_slice(), label, None)?;
        Ok(output)
    }

    fn peer_key(&self) -> Result<&[u8], ChannelError> {
        let keys = self.connection.peer_certificates().unwrap_or_default();
        keys.first().map(AsRef::as_ref).ok_or(ChannelError::PeerKey)
    }

    fn failed(&self) -> Result<(), ChannelError> {
        match &self.state {
            State::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn established(&self) -> Result<(), ChannelError> {
        match &self.state {
            State::Established => Ok(()),
            State::Handshaking => Err(ChannelError::NotEstablished),
            State::Closed => Err(ChannelError::Closed),
            State::Failed(error) => Err(error.clone()),
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("state", &self.state)
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
