//! Who a side is: an Ed25519 key, shown as a raw public key (RFC 7250).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// What precedes the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// Length of an Ed25519 key's SubjectPublicKeyInfo.
const SPKI_LEN: usize = SPKI_PREFIX.len() + 32;

/// A key pair, made for one session and gone with it.
///
/// The private key never leaves it. Nobody trusts the public key for what it is: trust comes from
/// the code phrase, which is bound to both sides' keys (see [`pairing`](crate::pairing)).
pub struct Identity {
    key: Arc<CertifiedKey>,
}

/// Why there is no new identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The cryptographic library could not make a key; in practice, no randomness.
    #[error("cannot generate an ed25519 key")]
    NotGenerated,
}

impl Identity {
    /// A new Ed25519 key.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotGenerated`].
    pub fn generate() -> Result<Self, IdentityError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| IdentityError::NotGenerated)?;
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(document.as_ref()))
            .map_err(|_| IdentityError::NotGenerated)?;
        let spki = key
            .public_key()
            .ok_or(IdentityError::NotGenerated)?
            .to_vec();
        // rustls carries a raw public key where a certificate would be.
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key));
        Ok(Self { key })
    }

    /// The public key as a SubjectPublicKeyInfo, 44 bytes of DER. It is no secret.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.key.cert.first().map_or(&[], |spki| spki.as_ref())
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Whether `spki` is an Ed25519 key in the one encoding it has.
pub(crate) fn is_ed25519(spki: &[u8]) -> bool {
    spki.len() == SPKI_LEN && spki.starts_with(&SPKI_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_new_each_time_and_are_raw_ed25519_keys() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert!(is_ed25519(one.public_key()));
        assert!(is_ed25519(other.public_key()));
        assert_ne!(one.public_key(), other.public_key());
        assert_eq!(format!("{one:?}"), "Identity(..)");
    }

    #[test]
    fn other_encodings_are_no_ed25519_keys() {
        let identity = Identity::generate().unwrap();
        let spki = identity.public_key();
        assert!(!is_ed25519(&[]));
        assert!(!is_ed25519(&spki[..43]));
        assert!(!is_ed25519(&[spki, &[0]].concat()));
        for at in 0..SPKI_PREFIX.len() {
            let mut altered = spki.to_vec();
            altered[at] ^= 1;
            assert!(!is_ed25519(&altered), "byte {at}");
        }
    }
}
