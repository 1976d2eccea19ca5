//! The link is what it was asked to be, as others see it: ping, Python's sockets, and the kernel's counters.
//!
//! Bounds are those of chance: five standard deviations, which one test of 1.7 million exceeds. Seeds are new each
//! time, and shown where a test fails; `NETLAB_SEED` repeats one.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod bulk;
mod datagrams;
mod harness;
mod pings;
