//! What a peer may make us hold.

/// Bounds on what a stream may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the payload of one message may have. For `header` that is the whole frame.
    ///
    /// A claimed length is held against it before anything else is done, and whoever reads the stream
    /// never needs to hold more than this and one header at a time.
    pub max_message: usize,
}

impl Limits {
    /// The default of [`max_message`](Self::max_message): 16 MiB.
    pub const DEFAULT_MAX_MESSAGE: usize = 16 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: Self::DEFAULT_MAX_MESSAGE,
        }
    }
}
