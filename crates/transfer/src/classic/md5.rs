//! MD5, by the cryptographic library that is there anyway.
//!
//! `aws-lc-rs` leaves MD5 out, since it protects nothing any more; the C library beneath has it in
//! assembly. A receiver that hashes with the `md-5` crate cannot reliably keep up with `md5sum`
//! (docs/benchmarks.md).

#![allow(
    unsafe_code,
    reason = "calls of a C library, the only ones of this crate"
)]

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use aws_lc_sys::{
    EVP_DigestFinal_ex, EVP_DigestInit_ex, EVP_DigestUpdate, EVP_MD_CTX, EVP_MD_CTX_free,
    EVP_MD_CTX_new, EVP_md5,
};

use super::header::Md5Sum;

/// An MD5 in the making.
pub(super) struct Md5(NonNull<EVP_MD_CTX>);

// SAFETY: the context is memory that nothing else points to, and the library ties it to no thread.
unsafe impl Send for Md5 {}

impl Md5 {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        // SAFETY: the call takes nothing and gives a context of ours, or null without memory.
        let context = NonNull::new(unsafe { EVP_MD_CTX_new() }).expect("memory for an MD5");
        let md5 = Self(context);
        // SAFETY: the context is whole and ours. `EVP_md5` gives a constant of the library, and a null
        // engine stands for the library's own.
        let answer = unsafe { EVP_DigestInit_ex(context.as_ptr(), EVP_md5(), ptr::null_mut()) };
        assert_one(answer);
        md5
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        // SAFETY: `new` made the context ready. The call reads as many bytes as the slice has, and keeps
        // neither pointer.
        let answer =
            unsafe { EVP_DigestUpdate(self.0.as_ptr(), bytes.as_ptr().cast(), bytes.len()) };
        assert_one(answer);
    }

    /// The MD5 of all that was added.
    pub(super) fn finish(self) -> Md5Sum {
        let mut sum = [0; 16];
        // SAFETY: `new` made the context ready, and it is not used after this. The call writes the 16 bytes
        // of an MD5, which is what the array has; it need not tell how many where that pointer is null.
        let answer =
            unsafe { EVP_DigestFinal_ex(self.0.as_ptr(), sum.as_mut_ptr(), ptr::null_mut()) };
        assert_one(answer);
        Md5Sum(sum)
    }
}

impl Drop for Md5 {
    fn drop(&mut self) {
        // SAFETY: the context came from `EVP_MD_CTX_new` and nobody else frees it.
        unsafe { EVP_MD_CTX_free(self.0.as_ptr()) };
    }
}

/// These calls answer one, or zero where memory ran out (openssl/digest.h): a wrong MD5 must not come of it.
fn assert_one(answer: c_int) {
    assert_eq!(answer, 1, "memory for an MD5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_rfc() {
        // RFC 1321 §A.5.
        for (text, sum) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
        ] {
            for piece in [1, 7, 64, 100] {
                let mut md5 = Md5::new();
                for part in text.as_bytes().chunks(piece) {
                    md5.update(part);
                }
                assert_eq!(md5.finish().to_string(), sum);
            }
        }
    }
}
