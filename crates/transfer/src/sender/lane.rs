//! A sender's lane: reads extents, hashes them, seals records and writes them.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use packhorse_endpoint::Observed;
use packhorse_proto::entry::EntryNumber;
use packhorse_proto::extent::ExtentHasher;
use packhorse_proto::lane::LaneHello;
use packhorse_proto::preface::Preface;
use packhorse_proto::record::{Attempt, MAX_CONTENT, RecordBuilder, RecordKind};
use packhorse_proto::window::Content;
use packhorse_tree::SourceFile;
use packhorse_trust::Sealer;
use tokio::sync::mpsc::UnboundedSender;

use super::file::Sent;
use super::outbox::{LaneReport, Outbox, Task};
use super::sent::{SentList, What};
use crate::faults::{alter, reach};
use crate::stages::{Meter, Stage};

/// What the control task tells a lane that has a thread of its own, and sees of it.
#[derive(Debug, Default)]
pub(super) struct LaneControl {
    /// Its connection is of no use: it is to end, though there is work.
    given_up: AtomicBool,
    /// It is to begin with nothing more.
    retired: AtomicBool,
    /// Bytes of the extent in hand that are not sent.
    in_hand: AtomicU64,
}

impl LaneControl {
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Bytes of the extent in hand that are not sent.
    pub(super) fn in_hand(&self) -> u64 {
        self.in_hand.load(Ordering::Relaxed)
    }

    /// Whether it is to end when it has done what it is at, or at once.
    pub(super) fn takes_no_more(&self) -> bool {
        self.is_given_up() || self.is_retired()
    }
}

/// A lane, run by a thread of its own.
pub(crate) struct LaneOut {
    stream: Observed<TcpStream>,
    /// `None` in an insecure session.
    sealer: Option<Sealer>,
    pub(super) record: RecordBuilder,
    pub(super) outbox: Arc<Outbox>,
    reports: UnboundedSender<LaneReport>,
    /// Of the thread that it runs on.
    meter: Option<Meter>,
    /// Files that are complete with the record at hand.
    pub(super) complete: Vec<(EntryNumber, Content)>,
    /// What is sent again where this lane is lost.
    pub(super) sent: SentList,
    pub(super) control: Arc<LaneControl>,
}

impl LaneOut {
    /// Introduces the lane.
    pub(crate) fn open(
        mut stream: Observed<TcpStream>,
        hello: &LaneHello,
        sealer: Option<Sealer>,
        (outbox, control): (Arc<Outbox>, Arc<LaneControl>),
        reports: UnboundedSender<LaneReport>,
    ) -> io::Result<Self> {
        let introduction = [&Preface::Lane.emit()[..], &hello.emit()].concat();
        stream.write_all(&introduction)?;
        reach("lane.opened");
        let record = RecordBuilder::new();
        Ok(Self {
            stream,
            sealer,
            record,
            outbox,
            reports,
            meter: None,
            complete: Vec::new(),
            sent: SentList::default(),
            control,
        })
    }

    /// Does the queue's work until there is none left. Answers how that went, and what was sent.
    pub(crate) fn run(mut self) -> (io::Result<()>, SentList) {
        let outcome = self.work();
        // What shut the connection down is neither an end that the peer has seen nor the reason.
        let outcome = match self.control.is_given_up() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => outcome,
        };
        (outcome, self.sent)
    }

    fn work(&mut self) -> io::Result<()> {
        let outbox = Arc::clone(&self.outbox);
        self.meter = Some(Meter::new());
        while let Some(task) = self.next_task(&outbox)? {
            match task {
                Task::File(job) => {
                    if let Ok(mut current) = outbox.current.try_lock() {
                        *current = Some(job.path.clone());
                    }
                    self.send_file(job)?;
                }
                Task::Again(job, tries) => self.send_file_again(job, tries)?,
                Task::Extents(file) => self.take_part(&file)?,
                Task::Stdin(number) => {
                    self.send_stream(number)?;
                    outbox.one_file_done();
                }
            }
        }
        self.flush(RecordKind::Items)?;
        reach("lane.ending");
        self.flush(RecordKind::End)?;
        reach("lane.ended");
        outbox.note_connection(&self.stream);
        if let Some(meter) = &mut self.meter {
            outbox.stages.note_all_processor(meter);
        }
        // Nothing comes back on a lane but the end: waiting for it means that all was read. A reset means that it was not.
        self.stream.shutdown(Shutdown::Write)?;
        let end = outbox
            .stages
            .time(Stage::Network, || self.stream.read_exact(&mut [0; 1]));
        match end {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(()),
        }
    }

    /// What is in the record goes out before waiting.
    fn next_task(&mut self, outbox: &Outbox) -> io::Result<Option<Task>> {
        if self.control.takes_no_more() {
            return Ok(None);
        }
        if let Some(task) = outbox.queue.try_pop() {
            return Ok(Some(task));
        }
        self.flush(RecordKind::Items)?;
        Ok(outbox.stages.time(Stage::Idle, || {
            outbox.queue.pop(|| self.control.takes_no_more())
        }))
    }

    /// Notes what is sent next, in case that it is lost.
    pub(super) fn begin(&mut self, what: What) {
        self.sent.begin(what, self.outbox.finished());
    }

    /// What was begun is not sent after all, and does not count.
    pub(super) fn take_back(&mut self) {
        let bytes = self.sent.take_back();
        self.control.in_hand.store(0, Ordering::Relaxed);
        self.outbox.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn report(&self, report: LaneReport) -> io::Result<()> {
        // The control task is gone only when the session is over.
        self.reports
            .send(report)
            .map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }

    /// Seals and sends the record at hand. Files that it completes are reported first, so that the
    /// control task knows of them before the receiver can.
    pub(super) fn flush(&mut self, kind: RecordKind) -> io::Result<()> {
        if !self.complete.is_empty() {
            let complete = std::mem::take(&mut self.complete);
            self.report(LaneReport::Contents(complete))?;
        }
        if kind == RecordKind::Items && self.record.is_empty() {
            return Ok(());
        }
        let (stages, sealer) = (&self.outbox.stages, &mut self.sealer);
        let record = self.record.seal(kind, |header, body| {
            alter("record.sealing", body);
            match sealer {
                None => Ok(SealTag::None),
                Some(sealer) => stages
                    .time(Stage::Encrypt, || sealer.seal_in_place(header, body))
                    .map(SealTag::Tag),
            }
        });
        let record = record.map_err(io::Error::other)?;
        if let Some(meter) = &mut self.meter {
            stages.note_processor(meter);
        }
        stages.time(Stage::Network, || self.stream.write_all(record))?;
        reach("lane.record");
        Ok(())
    }

    /// Sends the bytes up to `end`; answers where that did not go well.
    pub(super) fn send_extent(
        &mut self,
        of: Attempt,
        file: &SourceFile,
        hasher: &mut ExtentHasher,
        end: u64,
    ) -> io::Result<Option<Sent>> {
        while hasher.position() < end {
            let offset = hasher.position();
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            self.make_room(left)?;
            let stages = &self.outbox.stages;
            let buffer = self.record.content_mut();
            let want = buffer.len().min(left);
            let length =
                match stages.time(Stage::Read, || file.read_at(&mut buffer[..want], offset)) {
                    Ok(length) => length,
                    Err(error) => return Ok(Some(Sent::Unreadable(error))),
                };
            if length < want {
                return Ok(Some(Sent::Changed));
            }
            self.commit(of, offset, length, hasher);
            let left = end - hasher.position();
            self.control.in_hand.store(left, Ordering::Relaxed);
        }
        Ok(None)
    }

    pub(super) fn commit(
        &mut self,
        of: Attempt,
        offset: u64,
        length: usize,
        hasher: &mut ExtentHasher,
    ) {
        let bytes = self.record.commit_content(of, offset, length);
        // It always fits: the caller cut it at the extent's end.
        let _ = self
            .outbox
            .stages
            .time(Stage::Hash, || hasher.update(bytes));
        self.sent.add_bytes(length as u64);
        self.outbox
            .bytes
            .fetch_add(length as u64, Ordering::Relaxed);
    }

    /// Sends the record where what is left of a file had better begin a new one: large files are read
    /// and written in whole, aligned pieces.
    fn make_room(&mut self, left: usize) -> io::Result<()> {
        let room = self.record.room();
        if room < left.min(MAX_CONTENT) && (left >= MAX_CONTENT || room < MAX_CONTENT / 4) {
            self.flush(RecordKind::Items)?;
        }
        Ok(())
    }

    pub(super) fn add_value(
        &mut self,
        of: Attempt,
        offset: u64,
        value: &[u8; 32],
    ) -> io::Result<()> {
        if !self.record.add_value(of, offset, value) {
            self.flush(RecordKind::Items)?;
            let _ = self.record.add_value(of, offset, value);
        }
        self.sent.count();
        Ok(())
    }
}

/// A record's tag: none in an insecure session.
enum SealTag {
    Tag([u8; 16]),
    None,
}

impl AsRef<[u8]> for SealTag {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Tag(tag) => tag,
            Self::None => &[],
        }
    }
}
