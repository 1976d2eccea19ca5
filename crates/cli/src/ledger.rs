//! `--ledger FILE`: each write and read call of this process on its sockets, beside TCP_INFO.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packhorse_endpoint::{Call, CallKind, CallObserver, TcpInfo};
use packhorse_watch::Timestamp;
use packhorse_watch::ledger::{self, Endpoints, Kernel, Kind, Outcome, Writer};

use crate::report::{Failure, shown};
use crate::ui::Ui;

/// How long calls are gathered before they go to the file in one write. What a process loses when it is killed.
const GATHER: Duration = Duration::from_millis(50);

/// Bytes that wait for a slow disk at most. Calls beyond that are counted, and not in the ledger.
const MOST_WAITING: usize = 8 << 20;

/// A ledger that is being written. Dropping it writes the rest.
pub(crate) struct Ledger {
    book: Arc<Book>,
    thread: Option<JoinHandle<()>>,
    ui: Ui,
}

/// What those who make calls share with the thread that writes.
#[derive(Debug)]
struct Book {
    page: Mutex<Page>,
    turned: Condvar,
    process: u32,
}

/// What waits to be written: whole blocks, in the writer's output.
#[derive(Debug)]
struct Page {
    writer: Writer<Vec<u8>>,
    calls: u64,
    /// Of those, the ones that found no room.
    missed: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The program ends: what waits is written, and no more comes.
    Ending,
    /// The file takes no more.
    Broken,
}

impl Ledger {
    /// Begins a ledger in this file, where one is wanted.
    pub(crate) fn open(ui: &Ui, path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let file = File::create(path).map_err(|error| Failure::file("write", path, &error))?;
        let writer = Writer::new(Vec::new());
        let writer = writer.map_err(|error| Failure::file("write", path, &error))?;
        let book = Arc::new(Book {
            page: Mutex::new(Page {
                writer,
                calls: 0,
                missed: 0,
                state: State::Open,
            }),
            turned: Condvar::new(),
            process: std::process::id(),
        });
        let (own, to, name) = (Arc::clone(&book), ui.clone(), shown(path));
        let write = move || {
            if let Err(error) = own.write_to(file) {
                to.warn(format_args!(
                    "the ledger '{name}' ends here, the rest goes on: {error}"
                ));
            }
        };
        let thread = thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(write);
        let thread = thread.map_err(|error| Failure::local("cannot start a thread", &error))?;
        Ok(Some(Self {
            book,
            thread: Some(thread),
            ui: ui.clone(),
        }))
    }

    /// Who is to be told of calls.
    pub(crate) fn observer(&self) -> Arc<dyn CallObserver> {
        Arc::clone(&self.book) as Arc<dyn CallObserver>
    }
}

/// Who is to be told of calls, where there is a ledger.
pub(crate) fn observer(ledger: Option<&Ledger>) -> Option<Arc<dyn CallObserver>> {
    ledger.map(Ledger::observer)
}

impl Drop for Ledger {
    fn drop(&mut self) {
        {
            let mut page = self.book.page();
            if page.state == State::Open {
                page.state = State::Ending;
                let (calls, missed) = (page.calls, page.missed);
                let now = timestamp(SystemTime::now());
                // Memory takes what is written.
                let _ = page.writer.end(now, calls, missed);
            }
        }
        self.book.turned.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let missed = self.book.page().missed;
        if missed > 0 {
            self.ui.warn(format_args!(
                "the disk was too slow for the ledger: {missed} calls are not in it"
            ));
        }
    }
}

impl Book {
    fn page(&self) -> MutexGuard<'_, Page> {
        // Blocks are appended whole.
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes until the program ends. The lock is not held while the disk works.
    fn write_to(&self, mut file: File) -> io::Result<()> {
        let mut blocks = Vec::new();
        let mut written = 0;
        loop {
            let state = {
                let page = self.page();
                let nothing = |page: &mut Page| {
                    page.writer.output_mut().is_empty() && page.state == State::Open
                };
                let page = self.turned.wait_while(page, nothing);
                let page = page.unwrap_or_else(PoisonError::into_inner);
                let open = |page: &mut Page| page.state == State::Open;
                let gathered = self.turned.wait_timeout_while(page, GATHER, open);
                let (mut page, _) = gathered.unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(page.writer.output_mut(), &mut blocks);
                page.state
            };
            if let Err(error) = file.write_all(&blocks) {
                // Half a block would be no harm, and is no use.
                let _ = file.set_len(written);
                let mut page = self.page();
                page.state = State::Broken;
                *page.writer.output_mut() = Vec::new();
                return Err(error);
            }
            written += blocks.len() as u64;
            blocks.clear();
            if state != State::Open {
                return Ok(());
            }
        }
    }
}

impl CallObserver for Book {
    fn called(&self, call: &Call<'_>) {
        let call = record(call, self.process);
        let mut page = self.page();
        if page.state != State::Open {
            return;
        }
        page.calls += 1;
        let waiting = page.writer.output_mut().len();
        if waiting > MOST_WAITING {
            page.missed += 1;
            return;
        }
        // Memory takes what is written.
        let _ = page.writer.write(&call);
        drop(page);
        if waiting == 0 {
            self.turned.notify_one();
        }
    }
}

/// A call as a ledger has it.
pub(crate) fn record(call: &Call<'_>, process: u32) -> ledger::Call {
    let ends = (
        call.local.inet(),
        call.peer.and_then(packhorse_endpoint::Address::inet),
    );
    ledger::Call {
        time: timestamp(call.began),
        duration: u64::try_from(call.duration.as_nanos()).unwrap_or(u64::MAX),
        process,
        connection: call.connection,
        kind: match call.kind {
            CallKind::Write => Kind::Write,
            CallKind::Read => Kind::Read,
        },
        endpoints: match ends {
            (Some(local), Some(peer)) => Some(Endpoints::new(local, peer)),
            _ => None,
        },
        offset: call.offset,
        asked: call.asked as u64,
        outcome: match call.outcome {
            Ok(bytes) => Outcome::Done(bytes as u64),
            Err(number) => Outcome::Failed(number),
        },
        kernel: call.info.as_ref().map(kernel),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn kernel(info: &TcpInfo) -> Kernel {
    let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    Kernel {
        rtt: micros(info.rtt),
        rttvar: micros(info.rttvar),
        cwnd: info.cwnd,
        ssthresh: info.ssthresh,
        unacked: info.unacked,
        not_sent: info.not_sent,
        retransmits: info.retransmits,
        mss: info.mss,
        send_window: info.peer_window,
        receive_window: info.receive_window,
        send_queue: info.send_queue,
        receive_queue: info.receive_queue,
        bytes_sent: info.bytes_sent,
        bytes_retransmitted: info.bytes_retransmitted,
        bytes_acked: info.bytes_acked,
        bytes_received: info.bytes_received,
    }
}
