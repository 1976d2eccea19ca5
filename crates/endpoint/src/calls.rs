//! Watching the calls that this process makes on its sockets.
//!
//! One observer for the whole process, since that is what is asked about: what a process wrote and read. Where
//! there is none, a call costs one look at a number more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// Hears of each call that moved bytes or failed.
pub trait CallObserver: Send + Sync + 'static {
    /// A call has returned. Runs on the thread that made it: the quicker, the better.
    fn called(&self, call: &Call<'_>);
}

/// A call on a socket that has returned.
#[derive(Debug)]
pub struct Call<'a> {
    /// The socket.
    pub socket: BorrowedFd<'a>,
    /// Which way bytes went.
    pub kind: CallKind,
    /// Bytes that the caller had, or had room for.
    pub asked: usize,
    /// Bytes that were moved; of a read 0 at the end of the stream.
    pub result: &'a io::Result<usize>,
    /// When the call began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// To the kernel.
    Write,
    /// From the kernel.
    Read,
}

static OBSERVER: OnceLock<Box<dyn CallObserver>> = OnceLock::new();

/// From now on `observer` hears of every call of this process on the sockets of this crate, and of those that
/// go through [`observed`].
///
/// # Errors
/// There is an observer already: it comes back.
pub fn observe(observer: Box<dyn CallObserver>) -> Result<(), Box<dyn CallObserver>> {
    OBSERVER.set(observer)
}

/// Makes a call on a socket, of so many bytes at most, and lets the observer hear of it where there is one.
///
/// # Errors
/// The call's.
#[inline]
pub fn observed(
    socket: &impl AsFd,
    kind: CallKind,
    asked: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    match OBSERVER.get() {
        None => call(),
        Some(observer) => report(&**observer, socket.as_fd(), kind, asked, call),
    }
}

#[cold]
fn report(
    observer: &dyn CallObserver,
    socket: BorrowedFd<'_>,
    kind: CallKind,
    asked: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let (began, start) = (SystemTime::now(), Instant::now());
    let result = call();
    let took = start.elapsed();
    let nothing = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
    let is_nothing = |error: &io::Error| nothing.contains(&error.kind());
    if !result.as_ref().is_err_and(is_nothing) {
        observer.called(&Call {
            socket,
            kind,
            asked,
            result: &result,
            began,
            took,
        });
    }
    result
}
