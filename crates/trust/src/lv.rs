//! Length-value encoding: each string is preceded by its length.
//!
//! This is `lv_cat` of draft-irtf-cfrg-cpace-21 §6.3 and A.1: the length as LEB128, then the bytes.
//! It is used for everything this crate hashes, so that two different lists of strings never
//! become the same bytes.

use zeroize::Zeroizing;

/// The most bytes LEB128 needs for a length: 64 bits at 7 a byte.
const LENGTH_MAX: usize = 10;

/// Concatenates `parts`, each preceded by its length.
///
/// The buffer is sized before the first byte is written, so no copy of a secret stays behind in
/// memory that a growing vector gave back.
pub(crate) fn lv_cat(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let capacity = parts.iter().map(|part| part.len() + LENGTH_MAX).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(capacity));
    for part in parts {
        push_length(&mut out, part.len());
        out.extend_from_slice(part);
    }
    out
}

fn push_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draft-21, A.1.2 and A.1.4.
    #[test]
    fn encodes_as_the_draft_does() {
        assert_eq!(lv_cat(&[b""]).as_slice(), [0]);
        assert_eq!(lv_cat(&[b"1234"]).as_slice(), b"\x041234");
        assert_eq!(
            lv_cat(&[b"1234", b"5", b"", b"678"]).as_slice(),
            b"\x041234\x015\x00\x03678"
        );
        assert_eq!(lv_cat(&[&[7; 127]])[..2], [0x7f, 7]);
        assert_eq!(lv_cat(&[&[7; 128]])[..3], [0x80, 0x01, 7]);
        assert_eq!(lv_cat(&[&[7; 300]])[..3], [0xac, 0x02, 7]);
    }

    #[test]
    fn never_grows_the_buffer() {
        let long = vec![0; 70_000];
        let out = lv_cat(&[&long, b"x", &long]);
        assert!(out.capacity() >= out.len());
        assert!(out.capacity() <= 2 * 70_000 + 1 + 3 * LENGTH_MAX);
    }
}
