//! The hash of a public key, to know a TLS server by.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of a server's public key (its SubjectPublicKeyInfo, as RFC 7469 §2.4 takes it): written
/// `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// A text that is no [`Pin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is sha256: and 64 hexadecimal digits")]
pub struct PinError;

impl Pin {
    /// The pin of the key with this SubjectPublicKeyInfo, in DER.
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, spki).as_ref());
        Self(pin)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digits = text.strip_prefix("sha256:").ok_or(PinError)?.as_bytes();
        let mut pin = [0; 32];
        if digits.len() != 2 * pin.len() {
            return Err(PinError);
        }
        for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| PinError)?;
            let good = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(pair, 16)
                .ok()
                .filter(|_| good)
                .ok_or(PinError)?;
        }
        Ok(Self(pin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_shows() {
        let pin = Pin::of_public_key(b"abc");
        // FIPS 180-2, appendix B.1.
        let shown = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(pin.to_string(), shown);
        assert_eq!(shown.parse(), Ok(pin));
        for text in ["", "sha256:", &shown[7..], &shown[..70], "sha256:+f"] {
            assert_eq!(text.parse::<Pin>(), Err(PinError), "{text}");
        }
    }
}
