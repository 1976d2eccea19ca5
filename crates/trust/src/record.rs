//! Sealing the records of a lane: encrypted and authenticated in place, with nothing allocated.
//!
//! A record is a header in the clear, a ciphertext as long as its plaintext, and a tag of
//! [`TAG_LEN`] bytes. The header is authenticated as associated data. The nonce is not sent: four
//! zero bytes and a 64-bit big-endian counter that starts at 0 with the key and grows by one with
//! each record. So a record that is dropped, repeated or moved does not open.
//!
//! ```text
//! record key = the first 16 (AES-128-GCM) or 32 (ChaCha20-Poly1305) bytes of
//!              BLAKE3 derive_key("packhorse 2026-11 record key v1", lv(lane key) || lv(suite, 1 byte))
//! ```
//!
//! # Why 2^32 records
//!
//! With records of 128 KiB, the largest of the protocol, 2^32 of them are 512 TiB and 2^45 AES
//! blocks. What tells AES-GCM from randomness after s blocks is an advantage of about s²/2^129
//! (draft-irtf-cfrg-aead-limits), here 2^-39; at 2^36 blocks, which is 1 TiB and about what TLS
//! 1.3 allows itself, 2^-57. Forgeries get a single try, since a failed one ends the lane. A new lane
//! has new keys, so the limit costs a reconnection in 512 TiB.

use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::lv::lv_cat;
use crate::session::{Direction, Key};

/// Length of the tag behind each record.
pub const TAG_LEN: usize = 16;
/// How many records one key seals. See the module's documentation.
pub const RECORDS_MAX: u64 = 1 << 32;

const RECORD_KEY_CONTEXT: &str = "packhorse 2026-11 record key v1";

/// An authenticated cipher. The number is what the protocol calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Suite {
    /// AES-128 in GCM: the fastest where the processor has instructions for it.
    Aes128Gcm = 1,
    /// ChaCha20-Poly1305: the fastest, and safe against timing, where it has not.
    ChaCha20Poly1305 = 2,
}

impl Suite {
    /// The suite with this number.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Aes128Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The suite's number.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            Self::Aes128Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    /// All suites, the fastest on this processor first.
    #[must_use]
    pub fn preferred() -> &'static [Self] {
        match has_aes_instructions() {
            true => &[Self::Aes128Gcm, Self::ChaCha20Poly1305],
            false => &[Self::ChaCha20Poly1305, Self::Aes128Gcm],
        }
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn has_aes_instructions() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

/// Why a record was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// [`RECORDS_MAX`] records were sealed or opened with this key. Use a new lane.
    #[error("the lane's key is used up")]
    Exhausted,
    /// The record was not sealed by the peer as the next one of this lane: altered, cut, repeated,
    /// out of order, or another lane's. The opener refuses everything from here on.
    #[error("a record failed verification")]
    Forged,
    /// An earlier record failed, so nothing that follows is trusted.
    #[error("an earlier record of the lane failed verification")]
    Poisoned,
    /// The cipher refused the record, which happens from about 64 GiB on.
    #[error("the record is too long for the cipher")]
    TooLong,
}

/// Seals the records of one lane in one direction.
pub struct Sealer {
    key: LessSafeKey,
    counter: Counter,
}

impl Sealer {
    /// A sealer whose next record is number 0.
    #[must_use]
    pub fn new<D: Direction>(suite: Suite, key: Key<D>) -> Self {
        Self {
            key: record_key(suite, &key),
            counter: Counter(0),
        }
    }

    /// Encrypts `buf` in place. The tag goes right behind it; `header` goes before it, in the clear.
    ///
    /// # Errors
    ///
    /// [`RecordError::Exhausted`] or [`RecordError::TooLong`].
    pub fn seal_in_place(
        &mut self,
        header: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], RecordError> {
        let nonce = self.counter.next()?;
        self.key
            .seal_in_place_separate_tag(nonce, Aad::from(header), buf)
            .ok()
            .and_then(|tag| tag.as_ref().try_into().ok())
            .ok_or(RecordError::TooLong)
    }
}

/// Opens the records of one lane in one direction, in the order in which they were sealed.
pub struct Opener {
    key: LessSafeKey,
    counter: Counter,
    poisoned: bool,
}

impl Opener {
    /// An opener that expects record number 0.
    #[must_use]
    pub fn new<D: Direction>(suite: Suite, key: Key<D>) -> Self {
        Self {
            key: record_key(suite, &key),
            counter: Counter(0),
            poisoned: false,
        }
    }

    /// Decrypts `buf`, a ciphertext and the tag behind it, in place, and gives the plaintext, which
    /// is the front part of `buf`.
    ///
    /// # Errors
    ///
    /// [`RecordError::Forged`]: `buf` is then zeroed, so that nothing unverified can be used, and
    /// every later call gives [`RecordError::Poisoned`]. Or [`RecordError::Exhausted`].
    pub fn open_in_place<'a>(
        &mut self,
        header: &[u8],
        buf: &'a mut [u8],
    ) -> Result<&'a mut [u8], RecordError> {
        if self.poisoned {
            return Err(RecordError::Poisoned);
        }
        let nonce = self.counter.next()?;
        let Some(length) = self.open(nonce, header, buf) else {
            self.poisoned = true;
            buf.fill(0);
            return Err(RecordError::Forged);
        };
        Ok(&mut buf[..length])
    }

    /// The plaintext's length, if the record is good.
    fn open(&self, nonce: Nonce, header: &[u8], buf: &mut [u8]) -> Option<usize> {
        let opened = self.key.open_in_place(nonce, Aad::from(header), buf);
        opened.ok().map(|plaintext| plaintext.len())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener(..)")
    }
}

/// The number of the next record.
struct Counter(u64);

impl Counter {
    /// The nonce of the next record. No number is given out twice, even if the record then fails.
    fn next(&mut self) -> Result<Nonce, RecordError> {
        if self.0 >= RECORDS_MAX {
            return Err(RecordError::Exhausted);
        }
        let mut nonce = [0; aead::NONCE_LEN];
        nonce[4..].copy_from_slice(&self.0.to_be_bytes());
        self.0 += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// The suite is part of the key, so no two suites ever work with the same one.
fn record_key<D: Direction>(suite: Suite, key: &Key<D>) -> LessSafeKey {
    let material = lv_cat(&[key.expose(), &[suite.id()]]);
    let bytes = Zeroizing::new(blake3::derive_key(RECORD_KEY_CONTEXT, &material));
    let algorithm = suite.algorithm();
    let key = UnboundKey::new(algorithm, &bytes[..algorithm.key_len()])
        .expect("a key of the length that the algorithm asks for");
    LessSafeKey::new(key)
}

#[cfg(test)]
mod tests;
