//! Which segments carried which message, and why.
