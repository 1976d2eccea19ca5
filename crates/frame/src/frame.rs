//! One message as it goes on the wire.

use std::io::IoSlice;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

use crate::length::Head;

/// One message as it goes on the wire: a short head held in place, the payload as it was given, and at
/// most a delimiter behind it. Reading it through [`Buf`] consumes it; a vectored write takes all three
/// parts at once, and the payload is never copied.
#[derive(Debug, Clone)]
pub struct Frame {
    head: Head,
    /// Bytes of the head that were consumed.
    head_done: u8,
    payload: Bytes,
    tail: &'static [u8],
}

impl Frame {
    #[inline]
    pub(crate) fn new(head: Head, payload: Bytes, tail: &'static [u8]) -> Self {
        Self {
            head,
            head_done: 0,
            payload,
            tail,
        }
    }

    /// Bytes that are left of it.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.head().len() + self.payload.len() + self.tail.len()
    }

    /// Whether nothing is left of it. Only a frame of `none` begins like that.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies what is left of it behind what `out` holds: for small frames, of which many go into one
    /// write.
    #[inline]
    pub fn put_into(&self, out: &mut BytesMut) {
        out.reserve(self.len());
        out.put_slice(self.head());
        out.put_slice(&self.payload);
        out.put_slice(self.tail);
    }

    #[inline]
    fn head(&self) -> &[u8] {
        &self.head.as_slice()[usize::from(self.head_done)..]
    }

    /// The parts in their order; some may be empty.
    #[inline]
    fn parts(&self) -> [&[u8]; 3] {
        [self.head(), &self.payload, self.tail]
    }
}

impl Buf for Frame {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        let parts = self.parts();
        parts
            .into_iter()
            .find(|part| !part.is_empty())
            .unwrap_or(&[])
    }

    #[inline]
    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.parts().into_iter().filter(|part| !part.is_empty());
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        let left = self.len();
        assert!(
            count <= left,
            "cannot advance by {count}: {left} bytes are left"
        );
        let of_head = count.min(self.head().len());
        #[allow(
            clippy::cast_possible_truncation,
            reason = "at most the head, ten bytes"
        )]
        let step = of_head as u8;
        self.head_done += step;
        let of_payload = (count - of_head).min(self.payload.len());
        self.payload.advance(of_payload);
        self.tail = &self.tail[count - of_head - of_payload..];
    }
}
