//! The terminal interface of watch.
