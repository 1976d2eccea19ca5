//! `--trace FILE`: what each thread of a transfer did when, in the trace event format of Chrome, which Perfetto reads.
//!
//! The format: "Trace Event Format" (Google, 2016), complete events (`X`, microseconds) and the names of threads (`M`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use packhorse_transfer::{Stage, StageObserver};
use serde_json::json;

use crate::report::{Failure, shown};
use crate::ui::Ui;

/// Whose threads they are: the same stage has two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

/// A trace that is being written. Dropping it completes the file.
pub(crate) struct Trace {
    sheet: Arc<Sheet>,
    ui: Ui,
    name: String,
}

/// What threads write to.
#[derive(Debug)]
struct Sheet {
    side: Side,
    begin: Instant,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    /// `None` once it is complete.
    file: Option<BufWriter<File>>,
    failure: Option<io::Error>,
    threads: HashMap<ThreadId, u64>,
}

impl Trace {
    /// Begins a trace in this file, where one is wanted.
    pub(crate) fn open(ui: &Ui, path: Option<&Path>, side: Side) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let cannot = |error: io::Error| Failure::file("write", path, &error);
        let mut file = BufWriter::new(File::create(path).map_err(cannot)?);
        let process = json!({
            "ph": "M", "pid": std::process::id(), "name": "process_name",
            "args": { "name": match side { Side::Sender => "sender", Side::Receiver => "receiver" } },
        });
        write!(file, "{{\"traceEvents\":[\n{process}").map_err(cannot)?;
        let lines = Lines {
            file: Some(file),
            failure: None,
            threads: HashMap::new(),
        };
        let sheet = Sheet {
            side,
            begin: Instant::now(),
            lines: Mutex::new(lines),
        };
        Ok(Some(Self {
            sheet: Arc::new(sheet),
            ui: ui.clone(),
            name: shown(path),
        }))
    }
}

/// Who is to be told of stages, where there is a trace.
pub(crate) fn observer(trace: Option<&Trace>) -> Option<Arc<dyn StageObserver>> {
    trace.map(|trace| Arc::clone(&trace.sheet) as Arc<dyn StageObserver>)
}

impl Drop for Trace {
    fn drop(&mut self) {
        let mut lines = self.sheet.lines();
        let ended = match lines.file.take() {
            Some(mut file) => file.write_all(b"\n]}\n").and_then(|()| file.flush()),
            None => Ok(()),
        };
        if let Some(error) = lines.failure.take().or(ended.err()) {
            self.ui.warn(format_args!(
                "the trace '{}' is not complete: {error}",
                self.name
            ));
        }
    }
}

impl Sheet {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Nothing panics while it holds the lock.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, stage: Stage) -> &'static str {
        match (stage, self.side) {
            (Stage::Read, _) => "read",
            (Stage::Hash, _) => "hash",
            (Stage::Encrypt, Side::Sender) => "seal",
            (Stage::Encrypt, Side::Receiver) => "open",
            (Stage::Network, Side::Sender) => "send",
            (Stage::Network, Side::Receiver) => "receive",
            (Stage::Write, _) => "write",
            (Stage::Idle, _) => "wait",
        }
    }
}

impl StageObserver for Sheet {
    fn stage(&self, stage: Stage, start: Instant, took: Duration) {
        let began = start.saturating_duration_since(self.begin);
        let mut lines = self.lines();
        if let Err(error) = lines.add(self.name(stage), began, took) {
            lines.file = None;
            lines.failure.get_or_insert(error);
        }
    }
}

impl Lines {
    fn add(&mut self, name: &str, began: Duration, took: Duration) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let (process, current) = (std::process::id(), thread::current());
        let next = self.threads.len() as u64 + 1;
        let number = *self.threads.entry(current.id()).or_insert(next);
        if number == next {
            let thread = json!({
                "ph": "M", "pid": process, "tid": number, "name": "thread_name",
                "args": { "name": current.name().unwrap_or("thread") },
            });
            write!(file, ",\n{thread}")?;
        }
        // By hand, because there are some for each record.
        let microseconds = |time: Duration| (time.as_nanos() / 1000, time.as_nanos() % 1000);
        let ((at, at_rest), (length, length_rest)) = (microseconds(began), microseconds(took));
        write!(
            file,
            ",\n{{\"ph\":\"X\",\"pid\":{process},\"tid\":{number},\"name\":\"{name}\",\"ts\":{at}.{at_rest:03},\"dur\":{length}.{length_rest:03}}}"
        )
    }
}
