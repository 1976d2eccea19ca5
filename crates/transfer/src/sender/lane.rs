//! A sender's lane: reads files, hashes them extent by extent, seals records and writes them.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_endpoint::Observed;
use packhorse_proto::entry::{EntryNumber, Metadata};
use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentHasher, Whole, extent_end};
use packhorse_proto::lane::LaneHello;
use packhorse_proto::message::{Failure, FailureClass};
use packhorse_proto::path::RelativePath;
use packhorse_proto::preface::Preface;
use packhorse_proto::record::{Attempt, MAX_CONTENT, RecordBuilder, RecordKind};
use packhorse_proto::window::Content;
use packhorse_tree::{FileAt, SourceFile};
use packhorse_trust::Sealer;
use tokio::sync::mpsc::UnboundedSender;

use super::queue::WorkQueue;
use crate::stages::{Stage, Stages};

/// One file to send.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: EntryNumber,
    pub(crate) path: RelativePath,
    pub(crate) source: JobSource,
}

/// Where a job's content comes from.
#[derive(Debug)]
pub(crate) enum JobSource {
    File(FileAt),
    Stdin,
}

/// What a lane tells the control task.
///
/// The channel is not bounded, but what is in it is: by the protocol's window.
#[derive(Debug)]
pub(crate) enum LaneReport {
    /// These files are sent whole, but for what is in the record at hand.
    Contents(Vec<(EntryNumber, Content)>),
    /// A file is sent anew.
    Revised {
        number: EntryNumber,
        attempt: u8,
        size: u64,
        metadata: Metadata,
    },
    /// A file is not sent after all.
    Withdrawn {
        number: EntryNumber,
        failure: Failure,
    },
    /// One more lane takes files.
    Opened,
    /// One more lane could not be had: the others go on.
    NotOpened,
    /// The lane has done all there was, or failed.
    Ended(io::Result<()>),
}

/// What the control task and the lanes of a sender share.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) queue: WorkQueue<Job>,
    pub(crate) stages: Stages,
    pub(crate) bytes: AtomicU64,
    pub(crate) files: AtomicU64,
    /// The file that is being sent.
    pub(crate) current: Mutex<Option<RelativePath>>,
    /// Entries that the receiver settled before their content was sent.
    unwanted: Mutex<HashSet<EntryNumber>>,
    /// Spares lanes the lock while there are none.
    any_unwanted: AtomicBool,
}

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            queue: WorkQueue::new(capacity),
            stages: Stages::default(),
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            current: Mutex::default(),
            unwanted: Mutex::default(),
            any_unwanted: AtomicBool::new(false),
        }
    }

    pub(crate) fn add_unwanted(&self, number: EntryNumber) {
        self.unwanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number);
        self.any_unwanted.store(true, Ordering::Release);
    }

    /// Forgets an entry that is finished on both sides.
    pub(crate) fn forget(&self, number: EntryNumber) {
        if self.any_unwanted.load(Ordering::Acquire) {
            self.unwanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&number);
        }
    }

    fn is_unwanted(&self, number: EntryNumber) -> bool {
        self.any_unwanted.load(Ordering::Acquire)
            && self
                .unwanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&number)
    }
}

/// A lane, run by a thread of its own.
pub(crate) struct LaneOut {
    stream: Observed<TcpStream>,
    /// `None` in an insecure session.
    sealer: Option<Sealer>,
    record: RecordBuilder,
    outbox: Arc<Outbox>,
    reports: UnboundedSender<LaneReport>,
    /// Files that are complete with the record at hand.
    complete: Vec<(EntryNumber, Content)>,
}

/// How one attempt at a file went.
enum Sent {
    Whole(Content),
    Changed,
    Unreadable(io::Error),
    Unwanted,
}

impl LaneOut {
    /// Introduces the lane.
    pub(crate) fn open(
        mut stream: Observed<TcpStream>,
        hello: &LaneHello,
        sealer: Option<Sealer>,
        outbox: Arc<Outbox>,
        reports: UnboundedSender<LaneReport>,
    ) -> io::Result<Self> {
        let introduction = [&Preface::Lane.emit()[..], &hello.emit()].concat();
        stream.write_all(&introduction)?;
        let record = RecordBuilder::new();
        Ok(Self {
            stream,
            sealer,
            record,
            outbox,
            reports,
            complete: Vec::new(),
        })
    }

    /// Does the queue's work until there is none left.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let outbox = Arc::clone(&self.outbox);
        while let Some(job) = self.next_job(&outbox)? {
            if let Ok(mut current) = outbox.current.try_lock() {
                *current = Some(job.path.clone());
            }
            match &job.source {
                JobSource::File(at) => self.send_file(job.number, at)?,
                JobSource::Stdin => self.send_stream(job.number)?,
            }
            outbox.files.fetch_add(1, Ordering::Relaxed);
        }
        self.flush(RecordKind::Items)?;
        self.flush(RecordKind::End)?;
        // Nothing comes back on a lane but the end: waiting for it means that all was read.
        self.stream.shutdown(Shutdown::Write)?;
        let _ = outbox
            .stages
            .time(Stage::Network, || self.stream.read(&mut [0; 1]));
        Ok(())
    }

    /// What is in the record goes out before waiting.
    fn next_job(&mut self, outbox: &Outbox) -> io::Result<Option<Job>> {
        if let Some(job) = outbox.queue.try_pop() {
            return Ok(Some(job));
        }
        self.flush(RecordKind::Items)?;
        Ok(outbox.stages.time(Stage::Idle, || outbox.queue.pop()))
    }

    fn report(&self, report: LaneReport) -> io::Result<()> {
        // The control task is gone only when the session is over.
        self.reports
            .send(report)
            .map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }

    /// Seals and sends the record at hand. Files that it completes are reported first, so that the
    /// control task knows of them before the receiver can.
    fn flush(&mut self, kind: RecordKind) -> io::Result<()> {
        if !self.complete.is_empty() {
            let complete = std::mem::take(&mut self.complete);
            self.report(LaneReport::Contents(complete))?;
        }
        if kind == RecordKind::Items && self.record.is_empty() {
            return Ok(());
        }
        let (stages, sealer) = (&self.outbox.stages, &mut self.sealer);
        let record = self.record.seal(kind, |header, body| match sealer {
            None => Ok(SealTag::None),
            Some(sealer) => stages
                .time(Stage::Encrypt, || sealer.seal_in_place(header, body))
                .map(SealTag::Tag),
        });
        let record = record.map_err(io::Error::other)?;
        stages.time(Stage::Network, || self.stream.write_all(record))
    }

    fn send_file(&mut self, number: EntryNumber, at: &FileAt) -> io::Result<()> {
        if self.outbox.is_unwanted(number) {
            return Ok(());
        }
        let outbox = Arc::clone(&self.outbox);
        let mut attempt = 0;
        let mut expected = at.identity();
        // A file that changed since it was walked is no surprise; one that changes while it is read is
        // read once more, and then given up.
        for last in [false, true] {
            let file = match outbox.stages.time(Stage::Read, || at.open()) {
                Ok(file) => file,
                Err(error) => return self.unreadable(number, &error),
            };
            if last || file.identity() != expected {
                attempt += 1;
                let (size, metadata) = (file.size(), file.metadata());
                self.report(LaneReport::Revised {
                    number,
                    attempt,
                    size,
                    metadata,
                })?;
            }
            expected = file.identity();
            match self.send_content(
                Attempt {
                    entry: number,
                    attempt,
                },
                &file,
            )? {
                Sent::Whole(content) => {
                    self.complete.push((number, content));
                    return Ok(());
                }
                Sent::Unwanted => return Ok(()),
                Sent::Changed => {}
                Sent::Unreadable(error) => {
                    return self.unreadable(number, &error);
                }
            }
        }
        self.withdraw(
            number,
            FailureClass::Changed,
            "it changed while it was read, twice",
        )
    }

    fn unreadable(&self, number: EntryNumber, error: &io::Error) -> io::Result<()> {
        let text = format!("the sender cannot read it: {error}");
        self.withdraw(number, FailureClass::Unreadable, &text)
    }

    fn withdraw(&self, number: EntryNumber, class: FailureClass, text: &str) -> io::Result<()> {
        self.report(LaneReport::Withdrawn {
            number,
            failure: Failure::new(class, text),
        })
    }

    fn send_content(&mut self, of: Attempt, file: &SourceFile) -> io::Result<Sent> {
        let size = file.size();
        let mut tree = ContentTree::new();
        let mut offset = 0;
        while offset < size {
            if self.outbox.is_unwanted(of.entry) {
                return Ok(Sent::Unwanted);
            }
            let end = extent_end(offset, Some(size));
            let Some(mut hasher) = ExtentHasher::new(offset) else {
                break;
            };
            if let Some(ended) = self.send_extent(of, file, &mut hasher, end)? {
                return Ok(ended);
            }
            let Some(value) = hasher.finish(Whole::of(offset, end, size)) else {
                break;
            };
            // The last value makes the file complete: not before it is known to be unchanged.
            if end == size && file.changed().unwrap_or(true) {
                return Ok(Sent::Changed);
            }
            self.add_value(of, offset, value.value())?;
            let _ = tree.insert(&value);
            offset = end;
        }
        match tree.root(size) {
            Ok(Some(hash)) => Ok(Sent::Whole(Content { size, hash })),
            _ => Ok(Sent::Unreadable(io::Error::other(
                "its size cannot be cut into extents",
            ))),
        }
    }

    /// Sends the bytes up to `end`; answers where that did not go well.
    fn send_extent(
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
        }
        Ok(None)
    }

    fn commit(&mut self, of: Attempt, offset: u64, length: usize, hasher: &mut ExtentHasher) {
        let bytes = self.record.commit_content(of, offset, length);
        // It always fits: the caller cut it at the extent's end.
        let _ = self
            .outbox
            .stages
            .time(Stage::Hash, || hasher.update(bytes));
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

    fn add_value(&mut self, of: Attempt, offset: u64, value: &[u8; 32]) -> io::Result<()> {
        if !self.record.add_value(of, offset, value) {
            self.flush(RecordKind::Items)?;
            let _ = self.record.add_value(of, offset, value);
        }
        Ok(())
    }

    /// Sends standard input, whose size shows only at its end.
    fn send_stream(&mut self, number: EntryNumber) -> io::Result<()> {
        match self.send_stream_content(Attempt {
            entry: number,
            attempt: 0,
        })? {
            Ok(content) => {
                self.complete.push((number, content));
                Ok(())
            }
            Err(error) => self.unreadable(number, &error),
        }
    }

    fn send_stream_content(&mut self, of: Attempt) -> io::Result<io::Result<Content>> {
        let too_large = || io::Error::other("larger than a file can be");
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; MAX_CONTENT];
        let mut tree = ContentTree::new();
        let (mut extent, mut hasher) = (0, ExtentHasher::new(0));
        while let Some(current) = &mut hasher {
            let left = extent + EXTENT_SIZE - current.position();
            let want = usize::try_from(left).map_or(MAX_CONTENT, |left| left.min(MAX_CONTENT));
            let want = if want == 0 { MAX_CONTENT } else { want };
            let read = self
                .outbox
                .stages
                .time(Stage::Read, || input.read(&mut buffer[..want]));
            let length = match read {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error)),
            };
            if left == 0 {
                // Now it is known that the stream goes on behind the full extent.
                let value = hasher.take().and_then(|hasher| hasher.finish(Whole::Part));
                let Some(value) = value else { break };
                self.add_value(of, extent, value.value())?;
                self.flush(RecordKind::Items)?;
                let _ = tree.insert(&value);
                extent += EXTENT_SIZE;
                hasher = ExtentHasher::new(extent);
            }
            let Some(current) = &mut hasher else { break };
            self.record.content_mut()[..length].copy_from_slice(&buffer[..length]);
            self.commit(of, current.position(), length, current);
            // Whoever reads a pipe wants to see what is in it.
            self.flush(RecordKind::Items)?;
        }
        match hasher {
            Some(hasher) => self.end_stream(of, hasher, extent, tree),
            None => Ok(Err(too_large())),
        }
    }

    /// The end, and then the last extent's value, for which the receiver has to know the size.
    fn end_stream(
        &mut self,
        of: Attempt,
        hasher: ExtentHasher,
        offset: u64,
        mut tree: ContentTree,
    ) -> io::Result<Result<Content, io::Error>> {
        let size = hasher.position();
        self.flush(RecordKind::Items)?;
        let _ = self.record.add_end(of, size);
        if size > 0 {
            let whole = Whole::of(offset, size, size);
            if let Some(value) = hasher.finish(whole) {
                self.add_value(of, offset, value.value())?;
                let _ = tree.insert(&value);
            }
        }
        match tree.root(size) {
            Ok(Some(hash)) => Ok(Ok(Content { size, hash })),
            _ => Ok(Err(io::Error::other("its size cannot be cut into extents"))),
        }
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
