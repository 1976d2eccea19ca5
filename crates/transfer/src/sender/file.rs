//! Files: those of one extent are sent by the lane that takes them, larger ones by all lanes that have time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use packhorse_proto::entry::EntryNumber;
use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentHasher, Hash, Whole, empty_hash};
use packhorse_proto::message::{Failure, FailureClass};
use packhorse_proto::record::Attempt;
use packhorse_proto::window::Content;
use packhorse_tree::{Identity, SourceFile};

use super::lane::LaneOut;
use super::outbox::{FileJob, LaneReport};
use super::sent::What;
use crate::stages::Stage;
use crate::verify::hash_file;

/// Bytes that are read at a time where a file is read again.
const BUFFER: usize = 1 << 17;

/// How one attempt at a file went.
#[derive(Debug)]
pub(super) enum Sent {
    Whole(Content),
    Changed,
    Unreadable(io::Error),
    Unwanted,
}

/// How often a file has been tried.
///
/// A file that changed since it was walked is no surprise; one that changes while it is read is read once more, and
/// then given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    attempt: u8,
    expected: Identity,
    /// It has changed while it was read, and is read for the last time.
    last: bool,
    /// The next time that it is opened is another attempt.
    anew: bool,
}

impl Tries {
    /// It has changed while it was read; `None`: it is given up.
    pub(super) fn again(self) -> Option<Self> {
        let again = Self {
            last: true,
            anew: true,
            ..self
        };
        (!self.last).then_some(again)
    }

    pub(super) fn of(self, number: EntryNumber) -> Attempt {
        Attempt {
            entry: number,
            attempt: self.attempt,
        }
    }
}

/// Whether a file holds this, and held it all the time since it was opened.
pub(super) fn is_still(file: &SourceFile, hash: &Hash) -> io::Result<bool> {
    let now = file.now()?;
    if now == file.opened() || now.identity() != file.identity() {
        return Ok(now == file.opened());
    }
    // It has got another name, owner or link; or other content, and its time was set back: it is read again.
    let (found, _) = hash_file(file, &mut vec![0; BUFFER])?;
    Ok(found == *hash && file.now()? == now)
}

impl LaneOut {
    pub(super) fn send_file(&mut self, job: FileJob) -> io::Result<()> {
        let tries = Tries {
            attempt: 0,
            expected: job.at.identity(),
            last: false,
            anew: false,
        };
        self.send_file_again(Arc::new(job), tries)
    }

    /// Sends a file that was tried so often, from its start.
    pub(super) fn send_file_again(
        &mut self,
        job: Arc<FileJob>,
        mut tries: Tries,
    ) -> io::Result<()> {
        while let Some(file) = self.open_file(&job, &mut tries)? {
            if file.size() > EXTENT_SIZE {
                return self.share(job, file, tries);
            }
            let sent = self.send_extent_file(&job, tries, &file)?;
            match self.conclude(job.number, sent, tries)? {
                Some(again) => tries = again,
                None => break,
            }
        }
        Ok(())
    }

    /// Opens the file for one more try; `None` where there is nothing more to do for it.
    pub(super) fn open_file(
        &mut self,
        job: &FileJob,
        tries: &mut Tries,
    ) -> io::Result<Option<SourceFile>> {
        if self.outbox.is_unwanted(job.number) {
            self.outbox.one_file_done();
            return Ok(None);
        }
        let file = match self.outbox.stages.time(Stage::Read, || job.at.open()) {
            Ok(file) => file,
            Err(error) => {
                self.conclude(job.number, Sent::Unreadable(error), *tries)?;
                return Ok(None);
            }
        };
        if tries.anew || file.identity() != tries.expected {
            let Some(attempt) = tries.attempt.checked_add(1) else {
                let text = "it changed each time that it was sent";
                self.withdraw(job.number, FailureClass::Changed, text)?;
                self.outbox.one_file_done();
                return Ok(None);
            };
            if tries.attempt == 0 {
                // What the receiver has of it is of no use.
                let held = job.held.as_ref().map_or(0, ContentTree::covered);
                self.outbox.bytes.fetch_sub(held, Ordering::Relaxed);
            }
            (tries.attempt, tries.anew) = (attempt, false);
            self.report(LaneReport::Revised {
                number: job.number,
                attempt: tries.attempt,
                size: file.size(),
                before: tries.expected.size(),
                metadata: file.metadata(),
            })?;
        }
        tries.expected = file.identity();
        Ok(Some(file))
    }

    /// Does what follows from how a try went; answers with the next where there is one.
    pub(super) fn conclude(
        &mut self,
        number: EntryNumber,
        sent: Sent,
        tries: Tries,
    ) -> io::Result<Option<Tries>> {
        match sent {
            Sent::Whole(content) => self.complete.push((number, content)),
            Sent::Unwanted => {}
            Sent::Unreadable(error) => self.unreadable(number, &error)?,
            Sent::Changed => {
                let again = tries.again();
                if again.is_some() {
                    return Ok(again);
                }
                let text = "it changed while it was read, twice";
                self.withdraw(number, FailureClass::Changed, text)?;
            }
        }
        self.outbox.one_file_done();
        Ok(None)
    }

    pub(super) fn unreadable(&self, number: EntryNumber, error: &io::Error) -> io::Result<()> {
        let text = format!("the sender cannot read it: {error}");
        self.withdraw(number, FailureClass::Unreadable, &text)
    }

    fn withdraw(&self, number: EntryNumber, class: FailureClass, text: &str) -> io::Result<()> {
        self.report(LaneReport::Withdrawn {
            number,
            failure: Failure::new(class, text),
        })
    }

    /// Sends a file of one extent, or of none.
    pub(super) fn send_extent_file(
        &mut self,
        job: &Arc<FileJob>,
        tries: Tries,
        file: &SourceFile,
    ) -> io::Result<Sent> {
        let job_again = Arc::clone(job);
        self.begin(What::File {
            job: job_again,
            tries,
        });
        let sent = self.send_only_extent(tries.of(job.number), file)?;
        match sent {
            Sent::Whole(_) => self.sent.complete(),
            _ => self.take_back(),
        }
        Ok(sent)
    }

    fn send_only_extent(&mut self, of: Attempt, file: &SourceFile) -> io::Result<Sent> {
        let size = file.size();
        let mut hash = empty_hash();
        if size > 0 {
            let mut hasher = ExtentHasher::new(0).ok_or(io::ErrorKind::InvalidInput)?;
            if let Some(sent) = self.send_extent(of, file, &mut hasher, size)? {
                return Ok(sent);
            }
            let value = hasher
                .finish(Whole::File)
                .ok_or(io::ErrorKind::InvalidInput)?;
            hash = *value.value();
            // The value makes the file complete: not before it is known to be unchanged.
            if !is_still(file, &hash).unwrap_or(false) {
                return Ok(Sent::Changed);
            }
            self.add_value(of, 0, &hash)?;
        }
        Ok(Sent::Whole(Content { size, hash }))
    }
}
