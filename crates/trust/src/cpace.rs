//! CPace, suite CPACE-RISTR255-SHA512, as draft-irtf-cfrg-cpace-21 has it.
//!
//! Two sides that know the same low-entropy secret end with the same 64-byte key; a side that does
//! not know it learns nothing but that its one guess was wrong. Everything about channels, roles and
//! confirmation is in [`pairing`](crate::pairing); here is the mathematics alone, in
//! initiator-responder mode.
//!
//! Names follow the draft: PRS is the shared secret, CI what both sides know of the channel, sid the
//! session, AD what a side says about itself, ISK the resulting key.

use aws_lc_rs::{digest, hmac};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::lv::lv_cat;

/// Length of a key share: one encoded group element.
pub(crate) const SHARE_LEN: usize = 32;
/// Length of the confirmation tags and of every other output of SHA-512.
pub(crate) const HASH_LEN: usize = 64;

const DSI: &[u8] = b"CPaceRistretto255";
const DSI_ISK: &[u8] = b"CPaceRistretto255_ISK";
/// Input block size of SHA-512, `H.s_in_bytes` in the draft.
const BLOCK_LEN: usize = 128;

/// The peer's share is no group element, or leads to the neutral element. The draft says: abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadShare;

/// What both sides must have in common.
pub(crate) struct Inputs<'a> {
    pub(crate) secret: &'a [u8],
    pub(crate) channel: &'a [u8],
    pub(crate) session: &'a [u8],
}

/// What one side sent: its share, and what it says about itself.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) share: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// One side's secret scalar and the share made from it. Good for one run.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Ephemeral {
    scalar: Scalar,
    #[zeroize(skip)]
    share: [u8; SHARE_LEN],
}

impl Ephemeral {
    /// Draws a scalar and computes `scalar * generator`.
    pub(crate) fn generate(inputs: &Inputs<'_>) -> Result<Self, getrandom::Error> {
        let mut wide = Zeroizing::new([0; 64]);
        getrandom::fill(wide.as_mut())?;
        // 512 bits reduced modulo the order: uniform but for 2^-259. Zero, as unlikely, would be
        // caught in `shared_point`.
        Ok(Self::from_scalar(
            Scalar::from_bytes_mod_order_wide(&wide),
            inputs,
        ))
    }

    fn from_scalar(scalar: Scalar, inputs: &Inputs<'_>) -> Self {
        let point = Zeroizing::new(*generator(inputs) * scalar);
        let share = point.compress().to_bytes();
        Self { scalar, share }
    }

    pub(crate) fn share(&self) -> &[u8; SHARE_LEN] {
        &self.share
    }

    /// `scalar_mult_vfy`: the point both sides reach, refused where the draft says to abort.
    pub(crate) fn shared_point(&self, peer_share: &[u8]) -> Result<SharedPoint, BadShare> {
        let encoded = CompressedRistretto::from_slice(peer_share).map_err(|_| BadShare)?;
        let peer = encoded.decompress().ok_or(BadShare)?;
        let point = Zeroizing::new(peer * self.scalar);
        if point.is_identity() {
            return Err(BadShare);
        }
        Ok(SharedPoint(Zeroizing::new(point.compress().to_bytes())))
    }
}

/// K of the draft. It never leaves this module: who has it can try phrases at leisure.
pub(crate) struct SharedPoint(Zeroizing<[u8; SHARE_LEN]>);

impl SharedPoint {
    /// ISK = SHA-512(lv_cat(DSI_ISK, sid, K) || lv_cat(Ya, ADa) || lv_cat(Yb, ADb)).
    pub(crate) fn into_key(
        self,
        session: &[u8],
        initiator: Message<'_>,
        responder: Message<'_>,
    ) -> IntermediateKey {
        let keyed = lv_cat(&[
            DSI_ISK,
            session,
            self.0.as_slice(),
            initiator.share,
            initiator.data,
            responder.share,
            responder.data,
        ]);
        IntermediateKey(sha512(&[&keyed]))
    }
}

/// ISK of the draft: equal on both sides exactly if secret, channel, session and messages were.
pub(crate) struct IntermediateKey(Zeroizing<[u8; HASH_LEN]>);

impl IntermediateKey {
    pub(crate) fn into_bytes(self) -> Zeroizing<[u8; HASH_LEN]> {
        self.0
    }

    /// The key of the confirmation tags (§10.4): SHA-512("CPaceMac" || sid || ISK).
    pub(crate) fn confirmation_key(&self, session: &[u8]) -> ConfirmationKey {
        let key = sha512(&[b"CPaceMac", session, self.0.as_slice()]);
        ConfirmationKey(hmac::Key::new(hmac::HMAC_SHA512, key.as_slice()))
    }
}

/// Makes the tags by which one side proves to the other that it reached the same key.
pub(crate) struct ConfirmationKey(hmac::Key);

impl ConfirmationKey {
    /// The tag of the side that sent `message`.
    pub(crate) fn tag(&self, message: Message<'_>) -> Zeroizing<[u8; HASH_LEN]> {
        let tag = hmac::sign(&self.0, &lv_cat(&[message.share, message.data]));
        copy_hash(tag.as_ref())
    }
}

/// `calculate_generator`: the secret, hashed onto the group.
fn generator(inputs: &Inputs<'_>) -> Zeroizing<RistrettoPoint> {
    let hash = sha512(&[&generator_string(inputs)]);
    Zeroizing::new(RistrettoPoint::from_uniform_bytes(&hash))
}

/// lv_cat(DSI, PRS, zeros, CI, sid), where the zeros fill the hash's first block, so that the time
/// of hashing a short secret does not tell its length.
fn generator_string(inputs: &Inputs<'_>) -> Zeroizing<Vec<u8>> {
    let filled = lv_cat(&[DSI, inputs.secret]).len() + 1;
    let zeros = [0; BLOCK_LEN];
    let padding = zeros
        .get(..BLOCK_LEN.saturating_sub(filled))
        .unwrap_or_default();
    lv_cat(&[DSI, inputs.secret, padding, inputs.channel, inputs.session])
}

fn sha512(parts: &[&[u8]]) -> Zeroizing<[u8; HASH_LEN]> {
    let mut context = digest::Context::new(&digest::SHA512);
    for part in parts {
        context.update(part);
    }
    copy_hash(context.finish().as_ref())
}

fn copy_hash(hash: &[u8]) -> Zeroizing<[u8; HASH_LEN]> {
    let mut out = Zeroizing::new([0; HASH_LEN]);
    out.copy_from_slice(hash);
    out
}

#[cfg(test)]
mod tests;
