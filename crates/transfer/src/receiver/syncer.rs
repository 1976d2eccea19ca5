//! What is seen to on stable storage: files that are complete and wait for it before they get their names, large files that
//! are not complete, and everything in the end.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use packhorse_proto::message::{Assurance, Failure, FailureClass};
use packhorse_proto::window::Content;
use packhorse_tree::{Checkpointer, Directory, Temporary};

use super::inbox::{Inbox, IncomingFile};
use super::report::Report;
use super::trouble::{self, Trouble};
use crate::faults::checkpoint_interval;
use crate::stages::{Meter, Stage};
use crate::verify::hash_of;

/// How often what is there of a large file is made durable: so much is read again after a power cut at most, and a journal
/// grows by a record for it.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// Files that wait at most: each has a descriptor. Whoever completes another waits.
const MOST_WAITING: usize = 256;

/// Up to so many files are synced one by one: beside them, others may write to the same filesystem.
const FEW: usize = 4;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 17;

/// Work for the thread, and what it has to know.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    /// What is to be seen to. Not behind the lock: it is asked for with each file.
    assurance: OnceLock<Assurance>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Complete>,
    /// Of them, and of those that are seen to now.
    count: usize,
    /// Large files that are not complete.
    growing: Vec<Checkpointer>,
    /// A directory on each device that something is stored on.
    places: Vec<(u64, Arc<Directory>)>,
    /// Everything is stored: make it durable.
    finish: bool,
    over: bool,
}

/// A file that is complete, and has no name yet.
#[derive(Debug)]
pub(crate) struct Complete {
    pub(crate) file: Arc<IncomingFile>,
    pub(crate) temporary: Temporary,
    pub(crate) content: Content,
}

/// What the thread has to do next.
enum Task {
    Batch(Vec<Complete>),
    Checkpoints(Vec<Checkpointer>),
    Finish(Vec<Arc<Directory>>),
    End,
}

impl Syncer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and the state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is to be seen to: once, before anything is stored.
    pub(crate) fn promise(&self, assurance: Assurance) {
        let _ = self.assurance.set(assurance);
    }

    pub(crate) fn assurance(&self) -> Assurance {
        self.assurance.get().copied().unwrap_or_default()
    }

    /// Whether content is seen to before its file gets its name.
    pub(crate) fn sees_to_content(&self) -> bool {
        self.assurance() != Assurance::default()
    }

    /// Something is stored in this directory, which was there.
    pub(crate) fn note_directory(&self, directory: &Arc<Directory>) {
        if !self.assurance().durable {
            return;
        }
        let Ok(device) = directory.device() else {
            return;
        };
        let places = &mut self.lock().places;
        if places.iter().all(|(known, _)| *known != device) {
            places.push((device, Arc::clone(directory)));
        }
    }

    /// A large file has begun.
    pub(crate) fn note_growing(&self, temporary: &Temporary) {
        let growing = &mut self.lock().growing;
        // Those that have come to their end since the last checkpoints.
        if growing.len() >= MOST_WAITING {
            growing.retain(Checkpointer::is_wanted);
        }
        growing.extend(temporary.checkpointer());
    }

    /// Hands a file over; waits where too many are waiting.
    pub(crate) fn add(&self, complete: Complete) {
        let mut state = self.lock();
        while state.count >= MOST_WAITING && !state.over {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if !state.over {
            state.count += 1;
            state.waiting.push(complete);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Makes everything durable that was stored, and reports that: [`Report::Durable`].
    pub(crate) fn finish(&self) {
        self.lock().finish = true;
        self.changed.notify_all();
    }

    /// The session is over. What waits is let go of.
    pub(crate) fn end(&self) {
        let waiting = {
            let state = &mut *self.lock();
            state.over = true;
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_all();
        drop(waiting);
    }

    fn next_task(&self, checkpoints_at: Instant) -> Task {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.over {
                return Task::End;
            }
            if !state.waiting.is_empty() {
                return Task::Batch(std::mem::take(&mut state.waiting));
            }
            if std::mem::take(&mut state.finish) {
                let places = state.places.iter();
                return Task::Finish(places.map(|(_, place)| Arc::clone(place)).collect());
            }
            if now >= checkpoints_at {
                return Task::Checkpoints(std::mem::take(&mut state.growing));
            }
            let wait = checkpoints_at - now;
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn done_with(&self, files: usize) {
        self.lock().count -= files;
        self.changed.notify_all();
    }
}

/// Starts the thread, which ends with [`Syncer::end`].
pub(crate) fn spawn(inbox: Arc<Inbox>) -> io::Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name("sync".to_owned());
    builder.spawn(move || run(&inbox))
}

fn run(inbox: &Inbox) {
    let mut meter = Meter::new();
    let every = checkpoint_interval(CHECKPOINT_EVERY);
    let mut checkpoints_at = Instant::now() + every;
    loop {
        match inbox.syncer.next_task(checkpoints_at) {
            Task::Batch(batch) => {
                let files = batch.len();
                inbox.stages.time(Stage::Write, || see_to(batch, inbox));
                inbox.syncer.done_with(files);
            }
            Task::Checkpoints(growing) => {
                // Where it fails, writing fails too and says so; here nothing is lost.
                if inbox.syncer.assurance().durable {
                    // All that has its name is synced already, but for names: little is left to do.
                    let _ = inbox.keeper.mark_destination();
                } else if !growing.is_empty() {
                    let _ = inbox.keeper.sync();
                }
                let left = growing.into_iter();
                let left = left.filter(|file| file.checkpoint().unwrap_or(true));
                let left: Vec<_> = left.collect();
                inbox.syncer.lock().growing.extend(left);
                checkpoints_at = Instant::now() + every;
            }
            Task::Finish(places) => {
                let keeper = &inbox.keeper;
                let mut places = places.iter();
                let sync = || places.try_for_each(|place| keeper.sync_filesystem(place));
                let synced = inbox.stages.time(Stage::Write, sync);
                inbox.report(Report::Durable(synced));
            }
            Task::End => return,
        }
        inbox.stages.note_processor(&mut meter);
        inbox.reports.flush();
    }
}

/// Makes files durable, reads them where that was asked for, and gives them their names.
fn see_to(batch: Vec<Complete>, inbox: &Inbox) {
    let assurance = inbox.syncer.assurance();
    let together = (batch.len() > FEW).then(|| sync_together(&batch, inbox));
    for complete in batch {
        let Complete {
            file,
            temporary,
            content,
        } = complete;
        let synced = match &together {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(trouble::of_io(&file.path, error)),
            None => temporary
                .sync()
                .map_err(|error| trouble::of_io(&file.path, &error)),
        };
        let seen_to = synced.and_then(|()| match gives_back(&temporary, content, assurance) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = "its storage does not give back what was written to it";
                Err(Trouble::Entry(Failure::new(FailureClass::Unverified, text)))
            }
            Err(error) => Err(trouble::of_io(&file.path, &error)),
        });
        let named = match seen_to {
            Ok(()) => file.place(temporary, content, inbox),
            Err(trouble) => {
                temporary.discard();
                Err(trouble)
            }
        };
        if let Err(trouble) = named {
            file.fail(trouble, inbox);
        }
    }
}

/// Makes the content of these files durable with one call for each filesystem. A directory is on that of the files in it.
fn sync_together(batch: &[Complete], inbox: &Inbox) -> io::Result<()> {
    let mut devices = Vec::new();
    for complete in batch {
        let directory = complete.file.parent.directory();
        let device = directory.device()?;
        if !devices.contains(&device) {
            devices.push(device);
            inbox.keeper.sync_filesystem(directory)?;
        }
    }
    Ok(())
}

/// Makes a file durable and reads it, as far as that was asked for. `false` where the storage does not give back what was
/// written to it.
pub(crate) fn see_to_one(
    temporary: &Temporary,
    content: Content,
    assurance: Assurance,
) -> io::Result<bool> {
    if assurance != Assurance::default() {
        temporary.sync()?;
    }
    gives_back(temporary, content, assurance)
}

/// Whether the storage gives back what was written to it, as far as that is to be seen to.
fn gives_back(temporary: &Temporary, content: Content, assurance: Assurance) -> io::Result<bool> {
    if !assurance.reread {
        return Ok(true);
    }
    temporary.cut_to_size()?;
    temporary.forget_cached()?;
    let read_at = |buffer: &mut [u8], offset| temporary.read_at(buffer, offset);
    let found = hash_of(read_at, &mut vec![0; BUFFER])?;
    Ok(found == (content.hash, content.size))
}
