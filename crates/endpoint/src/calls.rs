//! Being told of each write and read call on a socket.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::net;

use crate::address::Address;
use crate::tcp_info::{Asker, Question, TcpInfo};

/// Who is told of calls on sockets, from whichever thread makes them. It is called between two calls of a
/// transfer: what it takes, the transfer takes longer.
pub trait CallObserver: fmt::Debug + Send + Sync {
    /// A call has returned.
    fn called(&self, call: &Call<'_>);
}

/// A write or read call on a socket.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The connection's number among those of this process that are observed, from 1.
    pub connection: u64,
    /// The socket's own name.
    pub local: &'a Address,
    /// The other end, where there is one.
    pub peer: Option<&'a Address>,
    /// Which call it was.
    pub kind: CallKind,
    /// Bytes that were written, or read, by calls before it on this socket.
    pub offset: u64,
    /// Bytes that it was asked to write, or had room for.
    pub asked: usize,
    /// Bytes that it moved, or the number of its error (errno(3)).
    pub outcome: Result<usize, i32>,
    /// Just before it.
    pub began: SystemTime,
    /// From just before it to just after it.
    pub duration: Duration,
    /// What the kernel knew of the connection just after it; `None` where it is not TCP, or could not be asked.
    pub info: Option<TcpInfo>,
}

/// Which call it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Bytes were handed to the kernel: write(2), send(2) and their kin.
    Write,
    /// Bytes were taken from the kernel: read(2), recv(2) and their kin.
    Read,
}

/// The calls of one socket: where in its two streams it is, and who is told.
pub struct Calls {
    observer: Arc<dyn CallObserver>,
    connection: u64,
    local: Address,
    peer: Option<Address>,
    written: AtomicU64,
    read: AtomicU64,
    /// What asks for TCP_INFO.
    question: Option<Question>,
}

thread_local! {
    /// Asking takes a socket; all connections of a thread share it. `None` inside: there is none to be had.
    static ASKER: RefCell<Option<Asker>> = RefCell::new(Asker::new().ok());
}

impl Calls {
    /// For a socket as it is bound and connected now, before its first call.
    pub fn new(observer: Arc<dyn CallObserver>, socket: &impl AsFd) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let local = net::getsockname(socket).ok();
        Self {
            observer,
            connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            local: Address::from_any(local),
            peer: net::getpeername(socket).ok().map(Address::from_any),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            question: Question::new(socket).ok(),
        }
    }

    /// Makes a call that writes `asked` bytes, and tells of it.
    ///
    /// # Errors
    /// The call's.
    pub fn write(
        &self,
        asked: usize,
        call: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.make((CallKind::Write, asked, None), call, |&moved| (moved, None))
    }

    /// As [`write`](Self::write), to an address that this call names.
    pub(crate) fn write_to(
        &self,
        asked: usize,
        peer: &Address,
        call: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.make((CallKind::Write, asked, Some(peer)), call, |&moved| {
            (moved, None)
        })
    }

    /// Makes a call that has room for `asked` bytes to read, and tells of it.
    ///
    /// # Errors
    /// The call's.
    pub fn read(
        &self,
        asked: usize,
        call: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.make((CallKind::Read, asked, None), call, |&moved| (moved, None))
    }

    /// As [`read`](Self::read); `of` tells how many bytes came, and from whom.
    pub(crate) fn read_from<T>(
        &self,
        asked: usize,
        call: impl FnOnce() -> io::Result<T>,
        of: impl FnOnce(&T) -> (usize, Option<&Address>),
    ) -> io::Result<T> {
        self.make((CallKind::Read, asked, None), call, of)
    }

    fn make<T>(
        &self,
        (kind, asked, to): (CallKind, usize, Option<&Address>),
        call: impl FnOnce() -> io::Result<T>,
        of: impl FnOnce(&T) -> (usize, Option<&Address>),
    ) -> io::Result<T> {
        let (began, start) = (SystemTime::now(), Instant::now());
        let result = call();
        let duration = start.elapsed();
        let info = self
            .question
            .as_ref()
            .and_then(|question| ASKER.with_borrow_mut(|asker| asker.as_mut()?.ask(question).ok()));
        let (outcome, named) = match &result {
            Ok(done) => {
                let (moved, named) = of(done);
                (Ok(moved), named)
            }
            Err(error) => (Err(error.raw_os_error().unwrap_or_default()), None),
        };
        let moved = outcome.map_or(0, |moved| moved as u64);
        let so_far = match kind {
            CallKind::Write => &self.written,
            CallKind::Read => &self.read,
        };
        self.observer.called(&Call {
            connection: self.connection,
            local: &self.local,
            peer: to.or(named).or(self.peer.as_ref()),
            kind,
            offset: so_far.fetch_add(moved, Ordering::Relaxed),
            asked,
            outcome,
            began,
            duration,
            info,
        });
        result
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
