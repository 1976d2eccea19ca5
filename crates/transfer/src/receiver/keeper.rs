//! What is kept of a session on disk, so that the same command goes on where it ended, and what is found there.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, Hash};
use packhorse_proto::message::{Assurance, MAX_HELD, SourceId};
use packhorse_proto::path::{Name, RelativePath};
use packhorse_proto::remains::roll::Record;
use packhorse_proto::remains::{BootId, Version};
use packhorse_proto::window::Content;
use packhorse_tree::{
    Directory, Existing, PlaceError, Placed, Remains, Roll, Rolls, SourceFile, Temporary,
};

use super::syncer::see_to_one;
use crate::verify::hash_file;

/// Bytes of records, and of the content that they are about, from which on they are written: what a process that is killed
/// sends again of complete files is not more than that.
const PENDING_BYTES: usize = 16 << 10;
const PENDING_CONTENT: u64 = 8 << 20;

/// Bytes of records, and of content, below which nothing is begun to be kept: to send that again costs less.
const LITTLE_BYTES: usize = 64 << 10;
const LITTLE_CONTENT: u64 = 1 << 20;

/// What is kept of one session.
#[derive(Debug)]
pub(crate) struct Keeper {
    destination: Arc<Directory>,
    boot: BootId,
    /// Whether anything may be found.
    resumes: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Beneath which directory of the destination the session's entries are.
    prefix: Option<RelativePath>,
    source: SourceId,
    /// Of earlier sessions.
    rolls: Rolls,
    /// Of this one, once there is enough to be kept.
    roll: Option<Roll>,
    /// Records before there is one.
    early: Vec<Record>,
    early_bytes: usize,
    /// Bytes in files whose records are not written.
    content: u64,
    /// It cannot be written: the session goes on without.
    broken: bool,
    /// Why, until that is told.
    trouble: Option<io::Error>,
    /// A file is looked for that only an earlier roll may tell of.
    looking: bool,
}

/// What is there of a file.
pub(crate) enum Found {
    /// All of it, under its name.
    Whole(Hash),
    /// A partial file, and which of its extents it holds.
    Part(Box<(Temporary, ContentTree)>),
    Nothing,
    /// A file that an earlier session stored and a power cut has damaged: not one to be kept.
    Damaged,
    /// All of it, in a partial file that cannot have its name.
    Refused(PlaceError),
}

impl Keeper {
    /// Looks for rolls of earlier sessions. Where they cannot be read, there are none.
    pub(crate) fn new(destination: Arc<Directory>) -> Self {
        let boot = destination.boot_id();
        let rolls = Rolls::open(&destination, boot).unwrap_or_default();
        Self {
            boot,
            destination,
            resumes: !rolls.is_empty(),
            state: Mutex::new(State {
                prefix: None,
                source: SourceId::default(),
                rolls,
                roll: None,
                early: Vec::new(),
                early_bytes: 0,
                content: 0,
                broken: false,
                trouble: None,
                looking: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and the state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the sender offers.
    pub(crate) fn offered(&self, prefix: Option<RelativePath>, source: Option<SourceId>) {
        let state = &mut *self.lock();
        state.prefix = prefix;
        state.source = source.unwrap_or_default();
    }

    /// Whether the sender waits to hear what is there of each file.
    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }

    /// Notes that a file is complete and has its name. Of a large one that is on disk when this returns: its journal may go.
    pub(crate) fn add(&self, path: &RelativePath, version: Version, hash: Hash) {
        self.note(&mut self.lock(), path, (version, hash));
    }

    /// The same of a file that was found.
    fn add_found(&self, path: &RelativePath, version: Version, hash: Hash) {
        let state = &mut *self.lock();
        // What told of it may go with this.
        state.looking = false;
        self.note(state, path, (version, hash));
    }

    fn note(&self, state: &mut State, path: &RelativePath, (version, hash): (Version, Hash)) {
        let Some(path) = state.path(path).filter(|_| !state.broken) else {
            return;
        };
        let record = Record {
            path,
            version,
            hash,
        };
        state.content = state.content.saturating_add(version.size);
        match &mut state.roll {
            Some(roll) => roll.add(&record),
            None => {
                state.early_bytes += record.path.as_bytes().len() + 128;
                state.early.push(record);
            }
        }
        let pending = state.early_bytes + state.roll.as_ref().map_or(0, Roll::pending);
        let large = version.size > EXTENT_SIZE;
        if large || pending >= PENDING_BYTES || state.content >= PENDING_CONTENT {
            self.write(state);
        }
    }

    /// Writes what is pending.
    pub(crate) fn flush(&self) {
        let state = &mut *self.lock();
        let pending = match &state.roll {
            Some(roll) => roll.pending() > 0,
            None => state.early_bytes >= LITTLE_BYTES || state.content >= LITTLE_CONTENT,
        };
        if !state.broken && pending {
            self.write(state);
        }
    }

    /// Where that cannot be done, less is found again: no reason to end a session.
    fn write(&self, state: &mut State) {
        let written = self.begin(state).and_then(Roll::flush);
        state.content = 0;
        state.trouble = written.err();
        state.broken = state.trouble.is_some();
        let State {
            rolls,
            roll: Some(roll),
            source,
            broken: false,
            looking: false,
            ..
        } = state
        else {
            return;
        };
        // The old ones go when the new one has taken their place, whatever happens to the machine.
        if rolls.has_finished(*source) && roll.sync().is_ok() {
            rolls.remove_finished(*source);
        }
    }

    /// What has kept it from being written, to be told once.
    pub(crate) fn take_trouble(&self) -> Option<io::Error> {
        self.lock().trouble.take()
    }

    /// Makes durable which files are complete: partial files are found only where there is a roll.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match &self.lock().roll {
            Some(roll) => roll.sync(),
            None => Ok(()),
        }
    }

    /// Makes everything durable that is on the same filesystem as this directory. Where that is the destination's, the files
    /// that are noted by now are believed to be there after the machine went down: they had their names before.
    pub(crate) fn sync_filesystem(&self, directory: &Directory) -> io::Result<()> {
        if directory.device()? != self.destination.device()? {
            return directory.sync_filesystem();
        }
        let mark = {
            let state = &mut *self.lock();
            let roll = state.roll.as_mut();
            // Where it cannot be written, less is believed.
            roll.and_then(|roll| roll.before_sync().ok().flatten())
        };
        directory.sync_filesystem()?;
        let state = &mut *self.lock();
        if let (Some(mark), Some(roll), false) = (mark, &mut state.roll, state.broken) {
            state.broken = roll.mark(&mark).is_err();
        }
        Ok(())
    }

    /// The same with the filesystem of the destination, where there is anything to be marked.
    pub(crate) fn mark_destination(&self) -> io::Result<()> {
        let unmarked = self.lock().roll.as_ref().is_some_and(Roll::has_unmarked);
        match unmarked {
            true => self.sync_filesystem(&self.destination),
            false => self.sync(),
        }
    }

    fn begin<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Roll> {
        let roll = match state.roll.take() {
            Some(roll) => roll,
            None => {
                let mut roll = Roll::begin(&self.destination, state.source, self.boot)?;
                state.early_bytes = 0;
                for record in state.early.drain(..) {
                    roll.add(&record);
                }
                roll
            }
        };
        Ok(state.roll.insert(roll))
    }

    /// Starts a large file, which is found again where this process does not come to finish it.
    pub(crate) fn begin_file(
        &self,
        parent: &Arc<Directory>,
        name: Name<'_>,
        version: Version,
    ) -> io::Result<Temporary> {
        {
            let state = &mut *self.lock();
            // A session looks for partial files only where there is a roll.
            if !state.broken && state.roll.is_none() {
                self.write(state);
            }
        }
        match parent.begin_file(name, version, parent.boot_id())? {
            Some(file) => Ok(file),
            None => parent.create_file(version.metadata.mode),
        }
    }

    /// Looks for what is there of a file; to be asked in the manifest's order, by one thread. What is whole is noted.
    ///
    /// What cannot be read is not there.
    pub(crate) fn find(
        &self,
        path: &RelativePath,
        parent: &Arc<Directory>,
        version: Version,
        how: (Existing, Assurance),
    ) -> Found {
        self.lock().looking = true;
        let found = self.look_for(path, parent, version, how);
        self.lock().looking = false;
        found
    }

    fn look_for(
        &self,
        path: &RelativePath,
        parent: &Arc<Directory>,
        version: Version,
        (existing, assurance): (Existing, Assurance),
    ) -> Found {
        let name = path.name();
        let (nothing, existing) = match self.find_whole(path, parent, version, assurance.reread) {
            Found::Whole(hash) => {
                self.add_found(path, version, hash);
                if version.size > EXTENT_SIZE {
                    // Where that cannot be done, it stays: no reason to send the file again.
                    let _ = parent.discard_remains(name);
                }
                return Found::Whole(hash);
            }
            // What a power cut has damaged is nothing to be kept.
            Found::Damaged => (Found::Damaged, Existing::Replace),
            _ => (Found::Nothing, existing),
        };
        match parent.resume_file(name, version, parent.boot_id(), MAX_HELD) {
            Ok(Some(Remains::Whole(tree, journal))) => {
                let hash = tree.root(version.size).ok().flatten();
                // Whoever named it may not have read it again.
                let found = hash
                    .filter(|hash| !assurance.reread || hash_of(parent, name, true) == Some(*hash));
                if let Some(hash) = found {
                    self.add_found(path, version, hash);
                }
                journal.remove();
                found.map_or(nothing, Found::Whole)
            }
            Ok(Some(Remains::Part(temporary, tree))) => match tree.root(version.size) {
                // It was killed before it gave it its name, or before it was seen to.
                Ok(Some(hash)) => {
                    let content = Content {
                        size: version.size,
                        hash,
                    };
                    if !see_to_one(&temporary, content, assurance).unwrap_or(false) {
                        temporary.discard();
                        return nothing;
                    }
                    let note = || self.add_found(path, version, hash);
                    match temporary.commit_noted(name, version.metadata, existing, note) {
                        Ok(Placed::Stored) => Found::Whole(hash),
                        Ok(Placed::Kept) => nothing,
                        Err(error) => Found::Refused(error),
                    }
                }
                Ok(None) => Found::Part(Box::new((temporary, tree))),
                Err(_) => {
                    temporary.discard();
                    nothing
                }
            },
            Ok(None) | Err(_) => nothing,
        }
    }

    fn find_whole(
        &self,
        path: &RelativePath,
        parent: &Directory,
        version: Version,
        reread: bool,
    ) -> Found {
        let known = {
            let state = &mut *self.lock();
            let path = state.path(path);
            path.and_then(|path| state.rolls.find(&path, version).ok()?)
        };
        let name = path.name();
        let (Some(known), Some(changed)) = (known, parent.still_has(name, version)) else {
            return Found::Nothing;
        };
        // What was written before the machine went down, or the disk was pulled out, may not be there, but for what was made
        // durable and is what it was then.
        let unchanged = |since| changed <= since;
        let this_boot = known.boot == self.boot;
        let untouched = unchanged(known.noted);
        let believed = untouched && this_boot || known.durable.is_some_and(unchanged);
        let certain = believed && parent.shares_mount_with(&self.destination);
        if certain && !reread {
            return Found::Whole(known.hash);
        }
        match hash_of(parent, name, reread) {
            Some(hash) if hash == known.hash => Found::Whole(hash),
            // Somebody has put another one there, or written to it.
            _ if this_boot && !untouched => Found::Nothing,
            _ => Found::Damaged,
        }
    }

    /// The session is complete, and its sender knows: nothing is to be found of it.
    pub(crate) fn forget(&self) {
        let state = &mut *self.lock();
        state.broken = true;
        if let Some(roll) = state.roll.take() {
            roll.remove(&self.destination);
        }
        std::mem::take(&mut state.rolls).remove(&self.destination, state.source);
    }

    /// The session is over, and of `left` files there are parts.
    pub(crate) fn end(&self, left: usize) {
        self.flush();
        let state = &mut *self.lock();
        if left == 0
            && let Some(roll) = state.roll.take_if(|roll| roll.is_empty())
        {
            roll.remove(&self.destination);
        }
    }
}

impl State {
    /// Where an entry is beneath the destination; `None` where no path is as long.
    fn path(&self, path: &RelativePath) -> Option<RelativePath> {
        match &self.prefix {
            None => Some(path.clone()),
            Some(prefix) => {
                let whole = [prefix.as_bytes(), b"/", path.as_bytes()].concat();
                RelativePath::parse(&whole).ok()
            }
        }
    }
}

fn hash_of(parent: &Directory, name: Name<'_>, reread: bool) -> Option<Hash> {
    let file = SourceFile::open(parent, name).ok()?;
    if reread {
        file.forget_cached().ok()?;
    }
    let (hash, _) = hash_file(&file, &mut vec![0; 1 << 17]).ok()?;
    Some(hash)
}
