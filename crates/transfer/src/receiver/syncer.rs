//! What is seen to on stable storage: files that are complete and wait for it before they get their names, large files that
//! are not complete, and everything in the end.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use packhorse_proto::message::{Assurance, Failure, FailureClass};
use packhorse_proto::window::Content;
use packhorse_tree::{Checkpointer, Directory, Temporary};

use super::inbox::{Inbox, IncomingFile};
use super::report::Report;
use super::trouble::{self, Trouble};
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
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    assurance: Assurance,
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
    Batch(Vec<Complete>, Assurance),
    Checkpoints(Vec<Checkpointer>),
    Finish(Vec<Arc<Directory>>),
    End,
}

impl Syncer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and the state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is to be seen to: before anything is stored.
    pub(crate) fn promise(&self, assurance: Assurance) {
        self.lock().assurance = assurance;
    }

    pub(crate) fn assurance(&self) -> Assurance {
        self.lock().assurance
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
        self.lock().growing.extend(temporary.checkpointer());
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
                return Task::Batch(std::mem::take(&mut state.waiting), state.assurance);
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
    let mut checkpoints_at = Instant::now() + CHECKPOINT_EVERY;
    loop {
        match inbox.syncer.next_task(checkpoints_at) {
            Task::Batch(batch, assurance) => {
                let files = batch.len();
                inbox
                    .stages
                    .time(Stage::Write, || see_to(batch, assurance, inbox));
                inbox.syncer.done_with(files);
            }
            Task::Checkpoints(growing) => {
                // Where it fails, writing fails too and says so; here nothing is lost.
                if !growing.is_empty() {
                    let _ = inbox.keeper.sync();
                }
                let left = growing.into_iter();
                let left = left.filter(|file| file.checkpoint().unwrap_or(true));
                let left: Vec<_> = left.collect();
                inbox.syncer.lock().growing.extend(left);
                checkpoints_at = Instant::now() + CHECKPOINT_EVERY;
            }
            Task::Finish(places) => {
                let sync = || places.iter().try_for_each(|place| place.sync_filesystem());
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
fn see_to(batch: Vec<Complete>, assurance: Assurance, inbox: &Inbox) {
    let synced = sync(&batch);
    let mut buffer = vec![0; if assurance.reread { BUFFER } else { 0 }];
    for complete in batch {
        let outcome = match &synced {
            Ok(()) if assurance.reread => reread(&complete, &mut buffer),
            Ok(()) => Ok(()),
            Err(error) => Err(trouble::of_io(&complete.file.path, error)),
        };
        let Complete {
            file,
            temporary,
            content,
        } = complete;
        let named = match outcome {
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

/// Makes the content of these files durable: with one call for many.
fn sync(batch: &[Complete]) -> io::Result<()> {
    if batch.len() <= FEW {
        return batch
            .iter()
            .try_for_each(|complete| complete.temporary.sync());
    }
    let mut devices = Vec::new();
    for complete in batch {
        let device = complete.temporary.device()?;
        if !devices.contains(&device) {
            devices.push(device);
            complete.temporary.sync_filesystem()?;
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
    Ok(!assurance.reread || gives_back(temporary, content, &mut vec![0; BUFFER])?)
}

fn reread(complete: &Complete, buffer: &mut [u8]) -> Result<(), Trouble> {
    let found = gives_back(&complete.temporary, complete.content, buffer);
    if found.map_err(|error| trouble::of_io(&complete.file.path, &error))? {
        return Ok(());
    }
    let text = "its storage does not give back what was written to it";
    Err(Trouble::Entry(Failure::new(FailureClass::Unverified, text)))
}

/// Whether the storage gives back what was written to it.
fn gives_back(temporary: &Temporary, content: Content, buffer: &mut [u8]) -> io::Result<bool> {
    temporary.forget_cached()?;
    let found = hash_of(|buffer, offset| temporary.read_at(buffer, offset), buffer)?;
    Ok(found == (content.hash, content.size))
}
