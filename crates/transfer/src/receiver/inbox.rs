//! Files on their way in: what lane threads and the placing thread share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use packhorse_proto::control::Violation;
use packhorse_proto::entry::{EntryNumber, Metadata};
use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentError, ExtentValue};
use packhorse_proto::message::{Failure, FailureClass};
use packhorse_proto::path::RelativePath;
use packhorse_proto::record::Attempt;
use packhorse_proto::remains::Version;
use packhorse_proto::window::Content;
use packhorse_tree::{Existing, Placed, Room, Temporary};

use super::keeper::Keeper;
use super::parent::Parent;
use super::report::{Report, Reports};
use super::syncer::{Complete, Syncer};
use super::trouble::{self, Trouble};
use crate::faults::reach;
use crate::stages::{StageObserver, Stages};

/// Everything on its way in.
#[derive(Debug)]
pub(crate) struct Inbox {
    table: Mutex<Table>,
    changed: Condvar,
    pub(crate) reports: Arc<Reports>,
    pub(crate) existing: Existing,
    pub(crate) stages: Stages,
    /// Held by who reserves room: two files that each fit would else take it from each other.
    reserving: Mutex<()>,
    /// Bytes of content that are written: what does not stay is taken off again.
    pub(crate) bytes: AtomicU64,
    pub(crate) keeper: Keeper,
    pub(crate) syncer: Syncer,
    open_files: AtomicUsize,
    max_open_files: usize,
    /// How long a lane waits for the manifest.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Table {
    /// Entries below this are placed, or in `files`.
    announced: EntryNumber,
    files: HashMap<EntryNumber, Arc<IncomingFile>>,
    /// The session is over.
    over: bool,
}

/// What is known of an entry that a lane has content for.
pub(crate) enum Lookup {
    /// Its content is wanted.
    File(Arc<IncomingFile>),
    /// It has an outcome, or the content is of an attempt that does not count any more.
    Unwanted,
}

impl Inbox {
    pub(crate) fn new(
        existing: Existing,
        keeper: Keeper,
        (max_open_files, patience): (usize, Duration),
        observer: Option<Arc<dyn StageObserver>>,
    ) -> Self {
        Self {
            table: Mutex::default(),
            changed: Condvar::new(),
            reports: Arc::default(),
            existing,
            stages: Stages::new(observer),
            reserving: Mutex::new(()),
            bytes: AtomicU64::new(0),
            keeper,
            syncer: Syncer::default(),
            open_files: AtomicUsize::new(0),
            max_open_files,
            patience,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock, and the table is whole at every moment.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn report(&self, report: Report) {
        self.reports.tell(report);
    }

    /// Makes entries known: lanes may wait for them. Each has a file where its content is to come.
    pub(crate) fn announce(
        &self,
        entries: impl IntoIterator<Item = (EntryNumber, Option<Arc<IncomingFile>>)>,
    ) {
        let mut table = self.lock();
        for (number, file) in entries {
            table.announced = number + 1;
            if let Some(file) = file {
                table.files.insert(number, file);
            }
        }
        drop(table);
        self.changed.notify_all();
    }

    /// The file that is on its way, where it is.
    pub(crate) fn find(&self, number: EntryNumber) -> Option<Arc<IncomingFile>> {
        self.lock().files.get(&number).map(Arc::clone)
    }

    /// Puts another attempt in the place of the one before, which is dropped.
    pub(crate) fn replace(&self, number: EntryNumber, file: IncomingFile) {
        let before = self.lock().files.insert(number, Arc::new(file));
        self.changed.notify_all();
        self.drop_file(before);
    }

    /// Drops a file and what came of it.
    pub(crate) fn remove(&self, number: EntryNumber) {
        let before = self.lock().files.remove(&number);
        self.drop_file(before);
    }

    fn drop_file(&self, file: Option<Arc<IncomingFile>>) {
        let Some(file) = file else { return };
        if let Some(temporary) = self.let_go(&file) {
            temporary.discard();
            // Nothing agrees any more in a file that is over.
            let covered = file.lock().tree.covered();
            self.bytes.fetch_sub(covered, Ordering::Relaxed);
        }
    }

    /// What there is of a file, which is over.
    fn let_go(&self, file: &IncomingFile) -> Option<Arc<Temporary>> {
        match file.lock().close() {
            Stored::Unfinished(temporary) => {
                self.open_files.fetch_sub(1, Ordering::Relaxed);
                Some(temporary)
            }
            Stored::Nothing | Stored::Over => None,
        }
    }

    /// Whether another file may be opened before its content comes: half of those that may be open at all.
    pub(crate) fn has_room_for_remains(&self) -> bool {
        self.open_files.load(Ordering::Relaxed) < self.max_open_files / 2
    }

    /// A file of which something is there: its content is what `tree` says, in `temporary`.
    pub(crate) fn resume(&self, file: &IncomingFile, temporary: Temporary, tree: ContentTree) {
        self.open_files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(tree.covered(), Ordering::Relaxed);
        self.syncer.note_growing(&temporary);
        let mut progress = file.lock();
        progress.content = Stored::Unfinished(Arc::new(temporary));
        progress.tree = tree;
    }

    /// Wakes lanes that wait for entries that will never come, and lets go of what is unfinished: of large files it stays,
    /// to be found again. Answers of how many something stays.
    pub(crate) fn end(&self) -> usize {
        let files = {
            let mut table = self.lock();
            table.over = true;
            std::mem::take(&mut table.files)
        };
        self.changed.notify_all();
        self.syncer.end();
        let mut left = 0;
        for file in files.into_values() {
            if let Some(temporary) = self.let_go(&file) {
                let progress = file.lock();
                let stays = temporary.release(progress.size.unwrap_or(0));
                left += usize::from(stays);
            }
        }
        left
    }

    /// Waits until the entry, and the attempt at it, is known.
    pub(crate) fn lookup(&self, of: Attempt) -> Result<Lookup, Violation> {
        let deadline = Instant::now() + self.patience;
        let mut table = self.lock();
        loop {
            if table.over {
                return Ok(Lookup::Unwanted);
            }
            match table.files.get(&of.entry) {
                Some(file) if file.attempt == of.attempt => {
                    return Ok(Lookup::File(Arc::clone(file)));
                }
                Some(file) if file.attempt > of.attempt => return Ok(Lookup::Unwanted),
                None if of.entry < table.announced => return Ok(Lookup::Unwanted),
                _ => {}
            }
            // What it waits for may come only when what was stored is known of.
            self.reports.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Violation::Unexpected(
                    "content of an entry that was never listed",
                ));
            }
            table = self
                .changed
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// One attempt at one file.
#[derive(Debug)]
pub(crate) struct IncomingFile {
    pub(crate) number: EntryNumber,
    pub(crate) attempt: u8,
    pub(crate) path: RelativePath,
    pub(crate) metadata: Metadata,
    pub(crate) parent: Parent,
    /// What becomes of a file that has the name.
    pub(crate) existing: Existing,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    size: Option<u64>,
    content: Stored,
    tree: ContentTree,
    /// Where the extents begin that lanes write now.
    claimed: Vec<u64>,
}

/// An extent that a lane writes: nobody else does, and none that has agreed is written again.
#[derive(Debug)]
pub(crate) struct Claim {
    file: Arc<IncomingFile>,
    inbox: Arc<Inbox>,
    offset: u64,
    /// Bytes of it that are written, and counted.
    written: u64,
    agreed: bool,
}

impl Claim {
    /// So many bytes more of it are written.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.written += bytes;
        self.inbox.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let claimed = &mut self.file.lock().claimed;
        claimed.retain(|offset| *offset != self.offset);
        if !self.agreed {
            // It is sent again, or not wanted.
            self.inbox.bytes.fetch_sub(self.written, Ordering::Relaxed);
        }
    }
}

/// What there is of a file's content.
#[derive(Debug)]
enum Stored {
    /// Nothing has come yet.
    Nothing,
    /// Some of it, or all.
    Unfinished(Arc<Temporary>),
    /// It is not wanted any more, or it is complete: whatever a lane still brings changes nothing.
    Over,
}

impl Progress {
    /// Takes what there is; from now on the file is over.
    fn close(&mut self) -> Stored {
        std::mem::replace(&mut self.content, Stored::Over)
    }
}

impl IncomingFile {
    pub(crate) fn new(
        of: Attempt,
        path: RelativePath,
        parent: Parent,
        (size, metadata): (Option<u64>, Metadata),
        existing: Existing,
    ) -> Self {
        let progress = Mutex::new(Progress {
            size,
            content: Stored::Nothing,
            tree: ContentTree::new(),
            claimed: Vec::new(),
        });
        Self {
            number: of.entry,
            attempt: of.attempt,
            path,
            metadata,
            parent,
            existing,
            progress,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self, size: u64) -> Version {
        Version {
            size,
            metadata: self.metadata,
        }
    }

    pub(crate) fn size(&self) -> Option<u64> {
        self.lock().size
    }

    /// The file's temporary, made when its first content comes; `None` where the file is over.
    pub(crate) fn temporary(&self, inbox: &Inbox) -> Result<Option<Arc<Temporary>>, Trouble> {
        let mut progress = self.lock();
        match &progress.content {
            Stored::Nothing => {}
            Stored::Unfinished(temporary) => return Ok(Some(Arc::clone(temporary))),
            Stored::Over => return Ok(None),
        }
        if inbox.open_files.load(Ordering::Relaxed) >= inbox.max_open_files {
            let rule = "more files at once than this receiver takes";
            return Err(Trouble::Violation(Violation::Unexpected(rule)));
        }
        let of_io = |error| trouble::of_io(&self.path, &error);
        let parent = self.parent.directory();
        // Of smaller files nothing is kept, and the disk's room shows soon enough.
        let temporary = match progress.size.filter(|&size| size > EXTENT_SIZE) {
            Some(size) => {
                let version = self.version(size);
                let begun = inbox.keeper.begin_file(parent, self.path.name(), version);
                let temporary = begun.map_err(of_io)?;
                let reserving = inbox.reserving.lock();
                let reserved = temporary.reserve(size);
                drop(reserving);
                let trouble = match reserved {
                    Ok(Room::Reserved | Room::NotReserved) => None,
                    Ok(Room::Short { free }) => Some(trouble::no_room(size, free)),
                    Err(error) => Some(of_io(error)),
                };
                if let Some(trouble) = trouble {
                    temporary.discard();
                    return Err(trouble);
                }
                inbox.syncer.note_growing(&temporary);
                temporary
            }
            None => parent.create_file(self.metadata.mode).map_err(of_io)?,
        };
        let temporary = Arc::new(temporary);
        inbox.open_files.fetch_add(1, Ordering::Relaxed);
        progress.content = Stored::Unfinished(Arc::clone(&temporary));
        Ok(Some(temporary))
    }

    /// Begins an extent: to be called before any of it is written. What is there is trusted by whoever goes on with the file,
    /// so a place that is wrong by a bit must not lead into it.
    pub(crate) fn claim(
        self: &Arc<Self>,
        offset: u64,
        inbox: &Arc<Inbox>,
    ) -> Result<Claim, Violation> {
        let progress = &mut *self.lock();
        if progress.tree.next_missing(offset) != offset || progress.claimed.contains(&offset) {
            return Err(Violation::Unexpected("an extent that came before"));
        }
        progress.claimed.push(offset);
        Ok(Claim {
            file: Arc::clone(self),
            inbox: Arc::clone(inbox),
            offset,
            written: 0,
            agreed: false,
        })
    }

    /// Takes an extent that both sides agree on, and finishes the file where it was the last. Whoever wrote it lets go of its
    /// claim afterwards.
    pub(crate) fn agree(
        self: &Arc<Self>,
        value: &ExtentValue,
        claim: Option<&mut Claim>,
        inbox: &Inbox,
    ) -> Result<(), Trouble> {
        let mut progress = self.lock();
        if matches!(progress.content, Stored::Over) {
            return Ok(());
        }
        let out_of_bounds = |_: ExtentError| {
            Trouble::Violation(Violation::Unexpected("an extent that came before"))
        };
        progress.tree.insert(value).map_err(out_of_bounds)?;
        if let Some(claim) = claim {
            claim.agreed = true;
        }
        if let Stored::Unfinished(temporary) = &progress.content {
            temporary.note(value);
        }
        reach("extent.agreed");
        self.finish_if_complete(progress, inbox)
    }

    /// Takes the end of a stream.
    pub(crate) fn end(self: &Arc<Self>, size: u64, inbox: &Inbox) -> Result<(), Trouble> {
        let mut progress = self.lock();
        if progress.size.is_some() {
            return Err(Trouble::Violation(Violation::Unexpected(
                "an end of a file whose size was known",
            )));
        }
        progress.size = Some(size);
        self.finish_if_complete(progress, inbox)
    }

    fn finish_if_complete(
        self: &Arc<Self>,
        mut progress: MutexGuard<'_, Progress>,
        inbox: &Inbox,
    ) -> Result<(), Trouble> {
        let Some(size) = progress.size else {
            return Ok(());
        };
        let root = progress.tree.root(size);
        let root = root.map_err(|_| {
            Trouble::Violation(Violation::Unexpected("extents that do not fit the file"))
        })?;
        let Some(hash) = root else { return Ok(()) };
        let stored = progress.close();
        drop(progress);
        let content = Content { size, hash };
        match stored {
            Stored::Unfinished(temporary) => {
                inbox.open_files.fetch_sub(1, Ordering::Relaxed);
                // Lanes let go of it before they say that an extent agrees, so this is the last one.
                let Some(temporary) = Arc::into_inner(temporary) else {
                    let rule = "content for a file that is complete";
                    return Err(Trouble::Violation(Violation::Unexpected(rule)));
                };
                if !inbox.syncer.sees_to_content() {
                    return self.place(temporary, content, inbox);
                }
                inbox.syncer.add(Complete {
                    file: Arc::clone(self),
                    temporary,
                    content,
                });
            }
            Stored::Nothing if size == 0 => {
                let placed = self.store_empty()?;
                if placed == Placed::Stored {
                    let version = self.version(size);
                    inbox.keeper.add(&self.path, version, content.hash);
                }
                self.settle(placed, content, inbox);
            }
            Stored::Nothing => {
                let rule = "extents without content";
                return Err(Trouble::Violation(Violation::Unexpected(rule)));
            }
            Stored::Over => {}
        }
        Ok(())
    }

    /// Gives what is complete its name.
    pub(crate) fn place(
        &self,
        temporary: Temporary,
        content: Content,
        inbox: &Inbox,
    ) -> Result<(), Trouble> {
        let version = self.version(content.size);
        let note = || inbox.keeper.add(&self.path, version, content.hash);
        let name = self.path.name();
        let placed = temporary.commit_noted(name, self.metadata, self.existing, note);
        let placed = placed.map_err(|error| trouble::of_place(&self.path, &error))?;
        self.settle(placed, content, inbox);
        Ok(())
    }

    fn settle(&self, placed: Placed, content: Content, inbox: &Inbox) {
        inbox.remove(self.number);
        inbox.report(match placed {
            Placed::Stored => Report::Stored(self.number, Some(content)),
            Placed::Kept => Report::Kept(self.number),
        });
    }

    /// Places a file without content.
    pub(crate) fn store_empty(&self) -> Result<Placed, Trouble> {
        let directory = self.parent.directory();
        let placed = directory.store_file(self.path.name(), &[], self.metadata, self.existing);
        placed.map_err(|error| trouble::of_place(&self.path, &error))
    }

    /// Gives the file up.
    pub(crate) fn fail(&self, trouble: Trouble, inbox: &Inbox) {
        inbox.remove(self.number);
        inbox.report(trouble.into_report(self.number));
    }

    /// Its bytes arrived different from what the sender hashed.
    pub(crate) fn unverified(&self, inbox: &Inbox) {
        let text = "its content changed on the way: the hashes of both sides differ";
        self.fail(
            Trouble::Entry(Failure::new(FailureClass::Unverified, text)),
            inbox,
        );
    }
}
