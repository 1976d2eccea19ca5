//! Files of several extents: every lane that has time sends the next one.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_proto::entry::EntryNumber;
use packhorse_proto::extent::{
    ContentTree, EXTENT_SIZE, ExtentHasher, ExtentValue, Hash, Whole, extent_end,
};
use packhorse_proto::record::Attempt;
use packhorse_proto::window::Content;
use packhorse_tree::SourceFile;

use super::file::{Sent, Tries, is_still};
use super::lane::LaneOut;
use super::outbox::{FileJob, Task};
use super::sent::What;

/// One try at a file, in which any number of lanes take part.
#[derive(Debug)]
pub(crate) struct SharedFile {
    job: Arc<FileJob>,
    file: SourceFile,
    tries: Tries,
    of: Attempt,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where the next extent that nobody has begun with starts.
    next: u64,
    /// Extents that were lost on their way, and that nobody has begun with again.
    again: Vec<u64>,
    /// Values that lost extents had when they were read, until they are read again.
    values: BTreeMap<u64, Hash>,
    /// Lanes that take part now.
    lanes: usize,
    /// Values of extents that were read.
    tree: ContentTree,
    /// Bytes of those that this try sent, and that were not lost.
    sent_bytes: u64,
    /// How it went, once that is known; the last lane to leave sees to it.
    sent: Option<Sent>,
    stage: Stage,
}

/// How far a try is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// All of it was sent, which may show to be lost.
    Sent,
    /// It does not count any more.
    Over,
}

/// What came of an extent that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendAgain {
    /// It is to be sent once more.
    Wanted,
    /// The same, of a file that was sent whole.
    WantedOfWhole,
    /// It does not count any more.
    Unwanted,
}

impl SharedFile {
    fn new(job: Arc<FileJob>, file: SourceFile, tries: Tries) -> Self {
        let of = tries.of(job.number);
        // Of a file that has changed since it was listed, the receiver has nothing.
        let held = job.held.as_ref().filter(|_| of.attempt == 0);
        let tree = held.cloned().unwrap_or_default();
        let state = State {
            next: tree.next_missing(0),
            again: Vec::new(),
            values: BTreeMap::new(),
            lanes: 0,
            tree,
            sent_bytes: 0,
            sent: None,
            stage: Stage::Open,
        };
        Self {
            job,
            file,
            tries,
            of,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    pub(super) fn number(&self) -> EntryNumber {
        self.of.entry
    }

    /// About how many bytes of it nobody has begun with.
    pub(super) fn left(&self) -> u64 {
        let state = &*self.lock();
        let again = u64::try_from(state.again.len()).unwrap_or(u64::MAX);
        let next = self.size().saturating_sub(state.next);
        next.saturating_add(again.saturating_mul(EXTENT_SIZE))
    }

    /// An extent was lost on its way, with the value that it had where that is known.
    pub(super) fn lose(&self, start: u64, value: Option<Hash>) -> SendAgain {
        let state = &mut *self.lock();
        let before = state.stage;
        if before == Stage::Over {
            return SendAgain::Unwanted;
        }
        // Where it was found to be no good meanwhile, there is nothing to be sent, but somebody has to say so.
        state.sent.take_if(|sent| matches!(sent, Sent::Whole(_)));
        state.stage = Stage::Open;
        state.again.push(start);
        if let Some(value) = value {
            state.values.insert(start, value);
            let bytes = extent_end(start, Some(self.size())) - start;
            state.sent_bytes = state.sent_bytes.saturating_sub(bytes);
        }
        match before {
            Stage::Sent => SendAgain::WantedOfWhole,
            _ => SendAgain::Wanted,
        }
    }

    /// One more lane takes part; answers whether there is something left to take.
    fn enter(&self) -> bool {
        let state = &mut *self.lock();
        let left = !state.again.is_empty() || state.next < self.size();
        let open = state.stage == Stage::Open
            && match state.sent {
                None => left,
                // The lane that was to see to it is lost.
                Some(_) => state.lanes == 0,
            };
        state.lanes += usize::from(open);
        open
    }

    /// The next extent: where it starts and ends.
    fn take(&self) -> Option<(u64, u64)> {
        let state = &mut *self.lock();
        if state.sent.is_some() {
            return None;
        }
        if let Some(start) = state.again.pop() {
            return Some((start, extent_end(start, Some(self.size()))));
        }
        if state.next >= self.size() {
            return None;
        }
        let start = state.next;
        let end = extent_end(start, Some(self.size()));
        state.next = state.tree.next_missing(end);
        Some((start, end))
    }

    /// Notes an extent that was read. Where it was the last, the file has to be what it was when it was opened: the
    /// answer is whether the value may be sent.
    fn note(&self, value: &ExtentValue) -> bool {
        let state = &mut *self.lock();
        // A try that has failed needs no values.
        if state.sent.is_some() {
            return false;
        }
        match state.values.remove(&value.offset()) {
            None if state.tree.insert(value).is_err() => return false,
            Some(before) if before != *value.value() => {
                state.sent = Some(Sent::Changed);
                return false;
            }
            _ => {}
        }
        let size = self.size();
        if let Ok(Some(hash)) = state.tree.root(size)
            && state.values.is_empty()
        {
            if !is_still(&self.file, &hash).unwrap_or(false) {
                state.sent = Some(Sent::Changed);
                return false;
            }
            state.sent = Some(Sent::Whole(Content { size, hash }));
        }
        state.sent_bytes += extent_end(value.offset(), Some(size)) - value.offset();
        true
    }

    fn give_up(&self, sent: Sent) {
        self.lock().sent.get_or_insert(sent);
    }

    /// A lane takes part no more. How it went, for the last one where that is known, and how many bytes were sent that do not
    /// count any more.
    fn leave(&self) -> Option<(Sent, u64)> {
        let state = &mut *self.lock();
        state.lanes = state.lanes.saturating_sub(1);
        if state.lanes > 0 || state.stage != Stage::Open {
            return None;
        }
        let sent = state.sent.take()?;
        if let Sent::Whole(_) = sent {
            state.stage = Stage::Sent;
            return Some((sent, 0));
        }
        state.stage = Stage::Over;
        Some((sent, std::mem::take(&mut state.sent_bytes)))
    }

    /// A lane takes part no more because it is lost: others see to what follows.
    fn desert(&self) {
        let state = &mut *self.lock();
        state.lanes = state.lanes.saturating_sub(1);
    }
}

impl LaneOut {
    /// Offers the file to the other lanes, and takes part.
    pub(super) fn share(
        &mut self,
        job: Arc<FileJob>,
        file: SourceFile,
        tries: Tries,
    ) -> io::Result<()> {
        let shared = Arc::new(SharedFile::new(job, file, tries));
        self.take_part(&shared)
    }

    /// Sends extents of it until there are none left, or this lane is to end.
    pub(super) fn take_part(&mut self, shared: &Arc<SharedFile>) -> io::Result<()> {
        if !shared.enter() {
            return Ok(());
        }
        if let Err(error) = self.send_extents(shared) {
            shared.desert();
            return Err(error);
        }
        let Some((sent, in_vain)) = shared.leave() else {
            return Ok(());
        };
        self.outbox.bytes.fetch_sub(in_vain, Ordering::Relaxed);
        let job = Arc::clone(&shared.job);
        let Some(mut again) = self.conclude(job.number, sent, shared.tries)? else {
            return Ok(());
        };
        match self.open_file(&job, &mut again)? {
            Some(file) if file.size() > EXTENT_SIZE => self.share(job, file, again),
            Some(file) => {
                // It shrank while it was read.
                let sent = self.send_extent_file(&job, again, &file)?;
                self.conclude(job.number, sent, again).map(drop)
            }
            None => Ok(()),
        }
    }

    fn send_extents(&mut self, shared: &Arc<SharedFile>) -> io::Result<()> {
        let outbox = Arc::clone(&self.outbox);
        // Whoever has time next finds it where it finds files.
        outbox.queue.share(Task::Extents(Arc::clone(shared)));
        while let Some((start, end)) = shared.take() {
            if outbox.is_unwanted(shared.of.entry) {
                shared.give_up(Sent::Unwanted);
            } else {
                self.send_shared_extent(shared, start, end)?;
            }
            if self.control.is_retired() {
                break;
            }
        }
        Ok(())
    }

    fn send_shared_extent(
        &mut self,
        shared: &Arc<SharedFile>,
        start: u64,
        end: u64,
    ) -> io::Result<()> {
        self.begin(What::Extent {
            file: Arc::clone(shared),
            start,
            value: None,
        });
        let mut hasher = ExtentHasher::new(start).ok_or(io::ErrorKind::InvalidInput)?;
        if let Some(sent) = self.send_extent(shared.of, &shared.file, &mut hasher, end)? {
            shared.give_up(sent);
            self.take_back();
            return Ok(());
        }
        let whole = Whole::of(start, end, shared.size());
        let value = hasher.finish(whole).ok_or(io::ErrorKind::InvalidInput)?;
        if !shared.note(&value) {
            self.take_back();
            return Ok(());
        }
        self.sent.know(*value.value());
        self.add_value(shared.of, start, value.value())?;
        self.sent.complete();
        Ok(())
    }
}
