//! The one stream that was asked for.

use packhorse_watch::stream::{Delivered, StreamId, Trace, trace};
use packhorse_watch::{Limits, Source};

use super::input;
use crate::report::Failure;

/// A stream, and how reading the capture ended: what there is of it is shown before a failure is told.
pub(super) struct Traced {
    pub(super) trace: Trace,
    pub(super) ended: Result<(), Failure>,
}

impl Traced {
    /// Picks the stream out of all that the source has, and gives its bytes to `on_data`.
    pub(super) fn read(
        source: &mut dyn Source,
        stream: StreamId,
        on_data: impl FnMut(Delivered<'_>),
    ) -> Result<Self, Failure> {
        let (trace, ended) = trace(source, stream, &Limits::default(), on_data);
        let ended = ended.map_err(input::failure);
        match trace {
            Some(trace) => Ok(Self { trace, ended }),
            // Where the capture is damaged, the stream may be behind that.
            None => ended.and_then(|()| Err(no_such_stream(stream))),
        }
    }
}

fn no_such_stream(stream: StreamId) -> Failure {
    Failure::usage(
        format!("the capture has no stream {stream}"),
        "--streams lists those that it has",
    )
}
