//! The code phrase, run inside a channel and bound to it.
//!
//! Both sides type or show the same [`Code`]. CPace turns it into a strong key without ever sending
//! anything from which the phrase could be guessed offline. What goes into CPace besides the phrase:
//!
//! ```text
//! PRS = the phrase
//! CI  = lv("packhorse-pair-v1") || lv(exporter) || lv(SPKI of the client) || lv(SPKI of the server)
//! sid = a second exporter output
//! AD  = what each side says about itself (role, protocol version, device name)
//! ```
//!
//! A person in the middle runs two channels, so two exporters, so two different CIs: their tags fit
//! neither side, and all they get is one guess at the phrase that the owner sees fail. The client's
//! key stands in CI because the exporter of TLS 1.3 does not cover it (RFC 8446 §7.5).
//!
//! The draft asks for a fresh sid to which both sides contributed. The exporter's output is one:
//! both sides' TLS randoms and key shares went into it. That saves exchanging nonces, a round trip.
//!
//! # Order of messages
//!
//! ```text
//! initiator (types the phrase)              responder (shows the phrase)
//! Initiator::start ──── share, AD ────────► Responder::respond
//! Initiator::finish ◄─── share, AD ────────
//!                   ───── tag ────────────► ResponderAwaitsTag::verify ─► PairingKey
//! InitiatorAwaitsTag::verify ◄── tag ──────
//!        └─► PairingKey
//! ```
//!
//! The side that shows the phrase confirms last: before it has seen a right tag it sends nothing
//! that depends on the phrase except its share, and that looks the same for every phrase. So whoever
//! connects must commit to a guess first, and a wrong guess is an error on the side of the phrase's
//! owner, who counts it and burns the phrase.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::code::Code;
use crate::cpace::{self, BadShare, Ephemeral, Inputs, IntermediateKey, Message};
use crate::lv::lv_cat;

/// Length of a key share.
pub const SHARE_LEN: usize = cpace::SHARE_LEN;
/// Length of a confirmation tag.
pub const CONFIRMATION_LEN: usize = cpace::HASH_LEN;

const LABEL: &[u8] = b"packhorse-pair-v1";

/// Why two sides did not pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// The peer's confirmation does not fit: another phrase, another channel, or altered messages.
    #[error("the other side does not have the same code phrase, or somebody sits between")]
    WrongCode,
    /// The peer's share is not a valid group element, or a useless one. No honest peer sends that.
    #[error("the other side sent a malformed key share")]
    BadShare,
    /// The peer sent our own share or tag back to us.
    #[error("the other side only repeats what it was sent")]
    Reflected,
    /// The operating system gave no randomness.
    #[error("the system gave no randomness")]
    NoRandomness,
}

impl From<BadShare> for PairingError {
    fn from(_: BadShare) -> Self {
        Self::BadShare
    }
}

/// What ties a pairing to one channel. Made only by
/// [`Channel::binding`](crate::Channel::binding).
pub struct ChannelBinding {
    channel: Zeroizing<Vec<u8>>,
    session: Zeroizing<[u8; 32]>,
}

/// The parts of a [`ChannelBinding`], named so that none takes another's place.
pub(crate) struct BindingParts<'a> {
    pub(crate) exporter: &'a [u8; 32],
    pub(crate) client_spki: &'a [u8],
    pub(crate) server_spki: &'a [u8],
    pub(crate) session: Zeroizing<[u8; 32]>,
}

impl ChannelBinding {
    pub(crate) fn new(parts: BindingParts<'_>) -> Self {
        let channel = lv_cat(&[LABEL, parts.exporter, parts.client_spki, parts.server_spki]);
        Self {
            channel,
            session: parts.session,
        }
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&[u8], &[u8; 32]) {
        (&self.channel, &self.session)
    }

    fn inputs<'a>(&'a self, code: &'a Code) -> Inputs<'a> {
        Inputs {
            secret: code.reveal().as_bytes(),
            channel: &self.channel,
            session: self.session.as_slice(),
        }
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding(..)")
    }
}

/// The key two paired sides share. Only a confirmed pairing makes one.
pub struct PairingKey(Zeroizing<[u8; cpace::HASH_LEN]>);

impl PairingKey {
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// In constant time.
impl PartialEq for PairingKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for PairingKey {}

impl fmt::Debug for PairingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingKey(..)")
    }
}

/// The side that typed the phrase, waiting for the peer's share.
pub struct Initiator {
    ephemeral: Ephemeral,
    session: Zeroizing<[u8; 32]>,
    data: Vec<u8>,
}

impl Initiator {
    /// Begins a pairing. The share goes to the peer, with `data`: what this side says about itself.
    ///
    /// # Errors
    ///
    /// [`PairingError::NoRandomness`].
    pub fn start(
        code: &Code,
        binding: &ChannelBinding,
        data: &[u8],
    ) -> Result<(Self, [u8; SHARE_LEN]), PairingError> {
        let ephemeral = generate(code, binding)?;
        let share = *ephemeral.share();
        let session = binding.session.clone();
        Ok((
            Self {
                ephemeral,
                session,
                data: data.to_vec(),
            },
            share,
        ))
    }

    /// Takes the peer's share and its data. The tag goes to the peer.
    ///
    /// # Errors
    ///
    /// [`PairingError::BadShare`] or [`PairingError::Reflected`]: give up this channel.
    pub fn finish(
        self,
        peer_share: &[u8],
        peer_data: &[u8],
    ) -> Result<(InitiatorAwaitsTag, [u8; CONFIRMATION_LEN]), PairingError> {
        refuse_reflection(self.ephemeral.share(), peer_share)?;
        let initiator = Message {
            share: self.ephemeral.share(),
            data: &self.data,
        };
        let responder = Message {
            share: peer_share,
            data: peer_data,
        };
        let point = self.ephemeral.shared_point(peer_share)?;
        let key = point.into_key(self.session.as_slice(), initiator, responder);
        let confirmation = key.confirmation_key(self.session.as_slice());
        let own_tag = confirmation.tag(initiator);
        let awaits = AwaitsTag {
            expected: confirmation.tag(responder),
            own: own_tag.clone(),
            key,
        };
        Ok((InitiatorAwaitsTag(awaits), *own_tag))
    }
}

/// The side that typed the phrase, having sent its tag.
pub struct InitiatorAwaitsTag(AwaitsTag);

impl InitiatorAwaitsTag {
    /// Checks the peer's tag.
    ///
    /// # Errors
    ///
    /// [`PairingError::WrongCode`] or [`PairingError::Reflected`].
    pub fn verify(self, peer_tag: &[u8]) -> Result<PairingKey, PairingError> {
        self.0.verify(peer_tag).map(|(key, _)| key)
    }
}

/// The side that shows the phrase. It answers an [`Initiator`].
#[derive(Debug)]
pub struct Responder;

impl Responder {
    /// Takes the peer's share and its data. The returned share goes to the peer with `data`: what
    /// this side says about itself.
    ///
    /// # Errors
    ///
    /// [`PairingError::BadShare`] or [`PairingError::NoRandomness`].
    pub fn respond(
        code: &Code,
        binding: &ChannelBinding,
        data: &[u8],
        peer_share: &[u8],
        peer_data: &[u8],
    ) -> Result<(ResponderAwaitsTag, [u8; SHARE_LEN]), PairingError> {
        let ephemeral = generate(code, binding)?;
        refuse_reflection(ephemeral.share(), peer_share)?;
        let initiator = Message {
            share: peer_share,
            data: peer_data,
        };
        let responder = Message {
            share: ephemeral.share(),
            data,
        };
        let session = binding.session.as_slice();
        let key = ephemeral
            .shared_point(peer_share)?
            .into_key(session, initiator, responder);
        let confirmation = key.confirmation_key(session);
        let (expected, own) = (confirmation.tag(initiator), confirmation.tag(responder));
        Ok((
            ResponderAwaitsTag(AwaitsTag { key, expected, own }),
            *ephemeral.share(),
        ))
    }
}

/// The side that shows the phrase, waiting for proof that the peer knows it.
pub struct ResponderAwaitsTag(AwaitsTag);

impl ResponderAwaitsTag {
    /// Checks the peer's tag; the returned one then goes to the peer, and not before.
    ///
    /// # Errors
    ///
    /// [`PairingError::WrongCode`]: somebody guessed wrong. Count it, and burn the phrase.
    /// [`PairingError::Reflected`] likewise.
    pub fn verify(
        self,
        peer_tag: &[u8],
    ) -> Result<(PairingKey, [u8; CONFIRMATION_LEN]), PairingError> {
        self.0.verify(peer_tag)
    }
}

/// What both sides hold while they wait: the key, unusable until the peer's tag was right.
struct AwaitsTag {
    key: IntermediateKey,
    expected: Zeroizing<[u8; CONFIRMATION_LEN]>,
    own: Zeroizing<[u8; CONFIRMATION_LEN]>,
}

impl AwaitsTag {
    fn verify(self, tag: &[u8]) -> Result<(PairingKey, [u8; CONFIRMATION_LEN]), PairingError> {
        refuse_reflection(self.own.as_slice(), tag)?;
        if !bool::from(self.expected.as_slice().ct_eq(tag)) {
            return Err(PairingError::WrongCode);
        }
        Ok((PairingKey(self.key.into_bytes()), *self.own))
    }
}

macro_rules! redacted {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}

redacted!(Initiator, InitiatorAwaitsTag, ResponderAwaitsTag);

fn generate(code: &Code, binding: &ChannelBinding) -> Result<Ephemeral, PairingError> {
    Ephemeral::generate(&binding.inputs(code)).map_err(|_| PairingError::NoRandomness)
}

fn refuse_reflection(own: &[u8], theirs: &[u8]) -> Result<(), PairingError> {
    match bool::from(own.ct_eq(theirs)) {
        true => Err(PairingError::Reflected),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
