//! `--ledger FILE`: each call of this process on its sockets, for `watch --lanes`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use packhorse_endpoint::{CallObserver, TcpInfoReader, observe};
use packhorse_watch::Timestamp;
use packhorse_watch::ledger::{Call, CallKind, LedgerWriter, Tcp};
use rustix::net::{SocketAddrAny, getpeername, getsockname, sockopt};

use crate::report::Failure;
use crate::ui::Ui;

/// Calls are on disk after this time at the latest, whatever happens to the process.
const FLUSH: Duration = Duration::from_millis(100);

/// Sockets that are remembered at once. More are told without their offsets going on.
const SOCKETS: usize = 16 << 10;

/// A ledger that is being kept.
pub(crate) struct Ledger {
    book: Arc<Mutex<Book>>,
    path: PathBuf,
    flusher: Option<(Sender<()>, JoinHandle<()>)>,
}

struct Book {
    writer: LedgerWriter<BufWriter<File>>,
    sockets: HashMap<u64, Known>,
    /// Why no more is written.
    failed: Option<io::Error>,
}

/// A socket that was met before.
struct Known {
    local: SocketAddr,
    peer: SocketAddr,
    /// Bytes written, bytes read.
    moved: [u64; 2],
    tcp: Option<TcpInfoReader>,
}

struct Observer(Arc<Mutex<Book>>);

impl Ledger {
    /// Begins to keep a ledger of this process, where one is asked for.
    pub(crate) fn keep(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let failed = |error| Failure::file("write", path, &error);
        let file = File::create(path).map_err(failed)?;
        let mut writer = LedgerWriter::new(BufWriter::new(file)).map_err(failed)?;
        writer.flush().map_err(failed)?;
        let book = Arc::new(Mutex::new(Book {
            writer,
            sockets: HashMap::new(),
            failed: None,
        }));
        if observe(Box::new(Observer(book.clone()))).is_err() {
            return Err(Failure::usage("there is a ledger already", "one --ledger"));
        }
        let (stop, stopped) = channel();
        let flushed = book.clone();
        let flusher = thread::spawn(move || {
            while stopped.recv_timeout(FLUSH) == Err(RecvTimeoutError::Timeout) {
                lock(&flushed).flush();
            }
        });
        Ok(Some(Self {
            book,
            path: path.to_owned(),
            flusher: Some((stop, flusher)),
        }))
    }

    /// Everything is on disk, or it is said that it is not: the work itself is done all the same.
    pub(crate) fn finish(mut self, ui: &Ui) {
        if let Some((stop, flusher)) = self.flusher.take() {
            drop(stop);
            let _ = flusher.join();
        }
        let mut book = lock(&self.book);
        book.flush();
        if let Some(error) = &book.failed {
            let path = packhorse_transfer::Escaped(self.path.as_os_str().as_encoded_bytes());
            ui.warn(format_args!("the ledger '{path}' is not whole: {error}"));
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CallObserver for Observer {
    fn called(&self, call: &packhorse_endpoint::Call<'_>) {
        let mut book = lock(&self.0);
        if book.failed.is_none() {
            book.note(call);
        }
    }
}

impl Book {
    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.writer.flush().err();
        }
    }

    fn note(&mut self, call: &packhorse_endpoint::Call<'_>) {
        let cookie = sockopt::socket_cookie(call.socket).unwrap_or_default();
        if self.sockets.len() >= SOCKETS && !self.sockets.contains_key(&cookie) {
            self.sockets.clear();
        }
        let known = self.sockets.entry(cookie);
        let known = known.or_insert_with(|| Known::new(call.socket));
        let (kind, side) = match call.kind {
            packhorse_endpoint::CallKind::Write => (CallKind::Write, 0),
            packhorse_endpoint::CallKind::Read => (CallKind::Read, 1),
        };
        let (done, errno) = match call.result {
            Ok(done) => (*done, 0),
            Err(error) => (0, error.raw_os_error().unwrap_or(-1).unsigned_abs()),
        };
        let offset = known.moved[side];
        known.moved[side] = offset.saturating_add(done as u64);
        let since = call.began.duration_since(SystemTime::UNIX_EPOCH);
        let nanos = since.unwrap_or_default().as_nanos();
        let written = self.writer.call(&Call {
            began: Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX)),
            took: u64::try_from(call.took.as_nanos()).unwrap_or(u64::MAX),
            kind,
            process: std::process::id(),
            socket: cookie,
            local: known.local,
            peer: known.peer,
            offset,
            asked: u32::try_from(call.asked).unwrap_or(u32::MAX),
            done: u32::try_from(done).unwrap_or(u32::MAX),
            errno,
            tcp: known.tcp(),
        });
        self.failed = written.err();
    }
}

impl Known {
    fn new(socket: BorrowedFd<'_>) -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let inet = |name: SocketAddrAny| SocketAddr::try_from(name).ok();
        let local = getsockname(socket).ok().and_then(inet);
        let peer = getpeername(socket).ok().flatten().and_then(inet);
        Self {
            local: local.unwrap_or(nobody),
            peer: peer.unwrap_or(nobody),
            moved: [0; 2],
            tcp: TcpInfoReader::new(&socket).ok(),
        }
    }

    fn tcp(&mut self) -> Option<Tcp> {
        let info = self.tcp.as_mut()?.read().ok()?;
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        Some(Tcp {
            rtt: micros(info.rtt),
            rttvar: micros(info.rttvar),
            cwnd: info.cwnd,
            ssthresh: info.ssthresh.unwrap_or(u32::MAX),
            unacked: info.unacked,
            retransmits: info.retransmits,
            mss: info.mss,
            send_queue: info.send_queue,
            not_sent: info.not_sent.unwrap_or_default(),
            receive_queue: info.receive_queue,
            peer_window: info.peer_window.unwrap_or_default(),
        })
    }
}
