//! What bounds memory, whatever is in a capture.

/// How much is kept while frames are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame, in bytes. A frame that claims more is damage.
    pub frame: usize,
    /// Conversations whose state is kept at once. The least recently seen goes when there are more.
    pub streams: usize,
    /// Segments that came before their turn, in bytes over all streams.
    pub out_of_order: usize,
    /// Fragments of datagrams that are not whole yet, in bytes.
    pub fragments: usize,
    /// Segments of one stream that a [`Trace`](crate::stream::Trace) keeps.
    pub trace: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What libpcap writes at most (MAXIMUM_SNAPLEN).
            frame: 256 << 10,
            streams: 1 << 20,
            out_of_order: 64 << 20,
            fragments: 16 << 20,
            trace: 1 << 20,
        }
    }
}
