//! Files that outlive whoever was writing them: under a name of their own, with a journal of what they hold beside them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentHasher, ExtentValue, Whole};
use packhorse_proto::path::Name;
use packhorse_proto::remains::journal::{
    HEADER, Header, RECORD, Records, Said, checkpoint, record,
};
use packhorse_proto::remains::{BootId, Nonce, VARIANTS, Version, partial_id};
use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Stat, fstat, statat};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::directory::Directory;
use crate::faults::reach;
use crate::file::File;
use crate::leftover::LeftJournal;
use crate::lock::{self, is_ours, open_locked};
use crate::node::{self, NodeKind, changed_at};
use crate::place;
use crate::temporary::Temporary;

/// How far the last change of a partial file may lie behind its journal's: [`TOUCH_EVERY`], and the grain of the kernel's
/// clock (10 ms at most). What somebody else does to it so soon after the last write of its writer is not noticed.
const GRACE: Duration = Duration::from_millis(20);

/// How often a journal is touched while its file is written.
const TOUCH_EVERY: Duration = Duration::from_millis(5);

/// Records that are read or written at a time.
const BATCH: usize = 1024;

/// Bytes of content that are read at a time, to be checked.
const READ: usize = 1 << 17;

/// The journal of a partial file, which nobody else holds.
#[derive(Debug)]
pub(crate) struct Journal {
    /// The names of the partial file and of the journal.
    pub(crate) part: Vec<u8>,
    pub(crate) name: Vec<u8>,
    /// Locked (flock) as long as it is open: whoever dies lets go of it.
    file: File,
    /// The partial file.
    content: File,
    /// Bytes that it is to have.
    size: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    nonce: Nonce,
    /// The place of the next record.
    place: u64,
    /// The place behind the last checkpoint.
    covered: u64,
    /// It could not be written: it ends where it is.
    broken: bool,
    touched: Instant,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts off what somebody else has written behind the end of the file.
    pub(crate) fn cut_to_size(&self) -> io::Result<()> {
        let length = fstat(&self.content)?.st_size;
        match u64::try_from(length).is_ok_and(|length| length > self.size) {
            true => self.content.cut(self.size),
            false => Ok(()),
        }
    }

    /// Notes an extent that was written and verified. Where that cannot be done, less is found again.
    pub(crate) fn note(&self, extent: &ExtentValue) {
        let state = &mut *self.lock();
        if state.broken {
            return;
        }
        let record = record(&state.nonce, state.place, extent);
        reach("note.before");
        self.add(state, &record);
        reach("note.after");
    }

    fn add(&self, state: &mut State, record: &[u8; RECORD]) {
        let offset = HEADER as u64 + state.place * RECORD as u64;
        state.broken = self.file.write_at(record, offset).is_err();
        state.place += 1;
        state.touched = Instant::now();
    }

    /// Makes durable what it says of its file, and says so, where there is something new to say: after the machine went down
    /// it is believed then.
    fn checkpoint(&self) -> io::Result<()> {
        let covered = {
            let state = self.lock();
            if state.broken || state.place == state.covered {
                return Ok(());
            }
            state.place
        };
        reach("checkpoint.before");
        // Nobody waits for this but whoever asked.
        self.content.sync()?;
        {
            let state = &mut *self.lock();
            if state.broken {
                return Ok(());
            }
            let record = checkpoint(&state.nonce, state.place, covered);
            self.add(state, &record);
            state.covered = state.place;
        }
        reach("checkpoint.noted");
        self.file.sync()?;
        reach("checkpoint.after");
        Ok(())
    }

    /// The file was written to: the journal must not look older for long, or its file would be taken for one that somebody
    /// else has changed.
    pub(crate) fn touch_soon(&self) {
        let state = &mut *self.lock();
        if state.touched.elapsed() >= TOUCH_EVERY {
            self.touch_now(state);
        }
    }

    /// The same at once.
    pub(crate) fn touch(&self) {
        self.touch_now(&mut self.lock());
    }

    fn touch_now(&self, state: &mut State) {
        state.touched = Instant::now();
        // A byte that stands there already.
        let _ = self.file.write_at(b"P", 0);
    }

    /// What it says is there.
    pub(crate) fn tree(&self) -> io::Result<ContentTree> {
        Ok(progress(&self.file)?
            .map(|(_, tree)| tree)
            .unwrap_or_default())
    }

    /// Removes its name.
    pub(crate) fn remove(&self, directory: &Directory) {
        place::discard(directory, &self.name);
    }
}

/// Makes durable, now and then, what is there of a file that is not complete.
#[derive(Debug)]
pub struct Checkpointer(Weak<Journal>);

impl Checkpointer {
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        Self(Arc::downgrade(journal))
    }

    /// Whether the file is written yet.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Makes durable what was noted so far, where there is something new: after a power cut it is believed then. `false`
    /// where the file is not written any more.
    ///
    /// # Errors
    /// The disk is failing.
    pub fn checkpoint(&self) -> io::Result<bool> {
        let Some(journal) = self.0.upgrade() else {
            return Ok(false);
        };
        journal.checkpoint()?;
        Ok(true)
    }
}

/// The names of a partial file and its journal.
fn names(name: Name<'_>, variant: u8) -> (Vec<u8>, Vec<u8>) {
    let id = partial_id(name.as_bytes(), variant);
    (place::own_name(id, "part"), place::own_name(id, "journal"))
}

/// What another process left of a file.
#[derive(Debug)]
pub enum Remains {
    /// A partial file, and which of its extents are there.
    Part(Temporary, ContentTree),
    /// The file itself, the values of its extents, and the journal that tells them.
    Whole(ContentTree, LeftJournal),
}

/// Whether a file is one of this size, with this metadata.
fn is_version(stat: &Stat, version: Version) -> bool {
    let found = node::metadata_of(stat);
    NodeKind::of(stat) == NodeKind::File
        && u64::try_from(stat.st_size) == Ok(version.size)
        && (found.mode, found.modified) == (version.metadata.mode, version.metadata.modified)
}

impl Directory {
    /// Where the file of this name is what it was when it was stored, its size, permissions and time: when anything was done
    /// to it last, by the filesystem's clock since 1970.
    #[must_use]
    pub fn still_has(&self, name: Name<'_>, version: Version) -> Option<Duration> {
        let stat = statat(self, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        is_version(&stat, version).then(|| self.storage().changed_at(&stat))
    }

    /// Starts a large file in this directory, which is found again by [`resume_file`](Self::resume_file) where this
    /// process does not come to finish it. `None` where as many others write a file of that name.
    ///
    /// # Errors
    /// The directory cannot be written, or descriptors, inodes or room ran out.
    pub fn begin_file(
        self: &Arc<Self>,
        name: Name<'_>,
        version: Version,
        boot: BootId,
    ) -> io::Result<Option<Temporary>> {
        for variant in 0..VARIANTS {
            let (part, journal) = names(name, variant);
            if let Some(file) = open_locked(self, &journal, true)? {
                match self.begin(name, version, boot, (part, journal, file)) {
                    // What is there cannot be removed: a directory, say.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    begun => return begun.map(Some),
                }
            }
        }
        Ok(None)
    }

    fn begin(
        self: &Arc<Self>,
        name: Name<'_>,
        version: Version,
        boot: BootId,
        (part, journal_name, journal): (Vec<u8>, Vec<u8>, File),
    ) -> io::Result<Temporary> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        // What is there is older than the lock, so nobody's.
        place::discard(self, &part);
        let storage = self.storage();
        let made = storage.open(self.as_fd(), &part, flags, Mode::RUSR | Mode::WUSR);
        let file = made.inspect_err(|_| place::discard(self, &journal_name))?;
        let file = File::new(file, storage);
        reach("partial.made");
        let begun = (|| {
            let mut nonce = Nonce::default();
            rustix::io::retry_on_intr(|| getrandom(&mut nonce[..], GetRandomFlags::empty()))?;
            let header = Header {
                nonce,
                boot,
                version,
                inode: fstat(&file)?.st_ino,
                name: name.as_bytes().to_vec(),
            };
            journal.cut(0)?;
            journal.write_at(&header.encode(), 0)?;
            Ok(nonce)
        })();
        let nonce = begun.inspect_err(|_: &io::Error| {
            place::discard(self, &part);
            place::discard(self, &journal_name);
        })?;
        reach("partial.begun");
        let names = (part, journal_name, journal);
        self.journaled(file, names, version.size, (nonce, 0))
    }

    fn journaled(
        self: &Arc<Self>,
        file: File,
        (part, name, journal): (Vec<u8>, Vec<u8>, File),
        size: u64,
        (nonce, place): (Nonce, u64),
    ) -> io::Result<Temporary> {
        let state = Mutex::new(State {
            nonce,
            place,
            covered: place,
            broken: false,
            touched: Instant::now(),
        });
        // Whoever removes the journal meanwhile does not make the file one that nobody writes.
        lock::keep(&file);
        let journal = Journal {
            part,
            name,
            file: journal,
            content: file.duplicate()?,
            size,
            state,
        };
        Ok(Temporary::journaled(Arc::clone(self), file, journal))
    }

    /// Finds what another process left of a file that is still what it was, and says which of its extents are there.
    /// What it left of a file that is another one now is removed.
    ///
    /// No more than `most` subtrees are taken: what is left out is written anew.
    ///
    /// After a process died nothing of the content is read. Where the machine has been started since, or somebody else
    /// has changed the partial file, each extent is read and checked.
    ///
    /// # Errors
    /// Reading failed.
    pub fn resume_file(
        self: &Arc<Self>,
        name: Name<'_>,
        version: Version,
        boot: BootId,
        most: usize,
    ) -> io::Result<Option<Remains>> {
        for variant in 0..VARIANTS {
            let (part, journal) = names(name, variant);
            let Some(file) = open_locked(self, &journal, false)? else {
                continue;
            };
            let opened = (&part[..], &journal[..], file);
            match self.resume(name, version, (boot, most), opened)? {
                Some(found) => return Ok(Some(found)),
                None => {
                    place::discard(self, &part);
                    place::discard(self, &journal);
                }
            }
        }
        Ok(None)
    }

    /// Removes what another process left of a file that is complete by now: after a power cut, what was there before it got
    /// its name may be there again.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn discard_remains(&self, name: Name<'_>) -> io::Result<()> {
        for variant in 0..VARIANTS {
            let (part, journal) = names(name, variant);
            if open_locked(self, &journal, false)?.is_some() {
                place::discard(self, &part);
                place::discard(self, &journal);
            }
        }
        Ok(())
    }

    fn open_own(&self, name: &[u8], flags: OFlags) -> rustix::io::Result<File> {
        let opened = self
            .storage()
            .open(self.as_fd(), name, flags, Mode::empty())?;
        Ok(File::new(opened, self.storage()))
    }

    fn resume(
        self: &Arc<Self>,
        name: Name<'_>,
        version: Version,
        (boot, most): (BootId, usize),
        (part, journal_name, journal): (&[u8], &[u8], File),
    ) -> io::Result<Option<Remains>> {
        let Some(header) = header_of(&journal)?
            .filter(|header| header.version == version && header.name == name.as_bytes())
        else {
            return Ok(None);
        };
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = self.open_own(part, flags) else {
            return self.complete(name, &header, boot, (journal_name, journal));
        };
        let (stat, journal_stat) = (fstat(&file)?, fstat(&journal)?);
        if !is_ours(&stat) || stat.st_ino != header.inode {
            return Ok(None);
        }
        let names = (part.to_vec(), journal_name.to_vec());
        let mut records = Records::new(&header);
        let (tree, durable) = tree_of(&journal, &mut records)?;
        let end = tree
            .subtrees()
            .last()
            .map_or(0, |last| last.offset + last.length);
        let nobody_else = changed_at(&stat) <= changed_at(&journal_stat) + GRACE
            && u64::try_from(stat.st_size).is_ok_and(|size| size >= end);
        let scattered = tree.subtrees().nth(most).is_some();
        if header.boot == boot && nobody_else && !scattered {
            let place = records.place();
            let journal = (names.0, names.1, journal);
            let found = self.journaled(file, journal, version.size, (header.nonce, place))?;
            return Ok(Some(Remains::Part(found, tree)));
        }
        let believed = match nobody_else {
            true if header.boot == boot => u64::MAX,
            true => durable,
            false => 0,
        };
        self.check_and_rewrite(
            file,
            (&header, believed, durable.min(believed)),
            (boot, most),
            (names, &journal),
        )
        .map(|(found, tree)| Some(Remains::Part(found, tree)))
    }

    /// The file may have got its name just before its journal would have been removed.
    fn complete(
        self: &Arc<Self>,
        name: Name<'_>,
        header: &Header,
        boot: BootId,
        (journal_name, journal): (&[u8], File),
    ) -> io::Result<Option<Remains>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = self.open_own(name.as_bytes(), flags) else {
            return Ok(None);
        };
        let stat = fstat(&file)?;
        if stat.st_ino != header.inode || !is_version(&stat, header.version) {
            return Ok(None);
        }
        let mut tree = ContentTree::new();
        let mut buffer = vec![0; READ];
        each_record(&journal, &mut Records::new(header), |_, extent| {
            if header.boot == boot || holds(&file, &extent, &mut buffer)? {
                // The same said twice is no harm.
                let _ = tree.insert(&extent);
            }
            Ok(())
        })?;
        let left = LeftJournal {
            directory: Arc::clone(self),
            name: journal_name.to_vec(),
            _file: journal,
        };
        Ok(Some(Remains::Whole(tree, left)))
    }

    /// Reads each extent that the journal speaks of, but for those of the first `believed` records, and writes a new one of
    /// those that are there; the first `durable` of them are on stable storage.
    fn check_and_rewrite(
        self: &Arc<Self>,
        file: File,
        (header, believed, durable): (&Header, u64, u64),
        (boot, most): (BootId, usize),
        ((part, name), journal): ((Vec<u8>, Vec<u8>), &File),
    ) -> io::Result<(Temporary, ContentTree)> {
        let mut nonce = Nonce::default();
        rustix::io::retry_on_intr(|| getrandom(&mut nonce[..], GetRandomFlags::empty()))?;
        let fresh = Header {
            nonce,
            boot,
            ..header.clone()
        };
        // It is locked before it is the journal, so nobody else takes it for one that was left.
        let (written, temporary) = lock::create_before(self, &name)?;
        let rewritten = (|| {
            written.write_at(&fresh.encode(), 0)?;
            let mut tree = ContentTree::new();
            let mut place = 0;
            let mut buffer = vec![0; READ];
            let add = |record: [u8; RECORD], place: &mut u64| {
                *place += 1;
                written.write_at(&record, HEADER as u64 + (*place - 1) * RECORD as u64)
            };
            let mut covered = None;
            each_record(journal, &mut Records::new(header), |at, extent| {
                if at >= durable && covered.is_none() {
                    covered = Some(place);
                }
                let there = at < believed || holds(&file, &extent, &mut buffer)?;
                let room = tree.subtrees().nth(most.saturating_sub(1)).is_none();
                if there && room && tree.insert(&extent).is_ok() {
                    add(record(&nonce, place, &extent), &mut place)?;
                }
                Ok(())
            })?;
            let covered = covered.unwrap_or(place);
            if covered > 0 {
                add(checkpoint(&nonce, place, covered), &mut place)?;
            }
            // Whichever of the two is there after the next power cut, it is whole.
            self.storage().sync_content(written.as_fd())?;
            reach("rewrite.before");
            self.storage()
                .rename(self.as_fd(), &temporary, &name, RenameFlags::empty())?;
            reach("rewrite.after");
            Ok((tree, place))
        })();
        let (tree, place) =
            rewritten.inspect_err(|_: &io::Error| place::discard(self, &temporary))?;
        let found = self.journaled(
            file,
            (part, name, written),
            header.version.size,
            (nonce, place),
        )?;
        Ok((found, tree))
    }
}

/// What a journal says its file is to become, and what of that is there.
pub(crate) fn progress(journal: &File) -> io::Result<Option<(Header, ContentTree)>> {
    let Some(header) = header_of(journal)? else {
        return Ok(None);
    };
    let (tree, _) = tree_of(journal, &mut Records::new(&header))?;
    Ok(Some((header, tree)))
}

/// What a journal begins with; `None` for what is no journal.
fn header_of(journal: &File) -> io::Result<Option<Header>> {
    let mut header = [0; HEADER];
    let read = journal.read_at(&mut header, 0)?;
    Ok(Header::parse(&header).filter(|_| read == HEADER))
}

/// The extents that a journal speaks of, and of how many of its first records they are on stable storage.
fn tree_of(journal: &File, records: &mut Records) -> io::Result<(ContentTree, u64)> {
    let mut tree = ContentTree::new();
    let durable = each_record(journal, records, |_, extent| {
        // The same said twice is no harm.
        let _ = tree.insert(&extent);
        Ok(())
    })?;
    Ok((tree, durable))
}

/// Hands over the extent of each good record, and the record's place. Answers what the last checkpoint covers.
fn each_record(
    journal: &File,
    records: &mut Records,
    mut take: impl FnMut(u64, ExtentValue) -> io::Result<()>,
) -> io::Result<u64> {
    let mut durable = 0;
    let mut buffer = vec![0; BATCH * RECORD];
    loop {
        let offset = HEADER as u64 + records.place() * RECORD as u64;
        let length = journal.read_at(&mut buffer, offset)?;
        let (whole, _) = buffer[..length].as_chunks::<RECORD>();
        for bytes in whole {
            let place = records.place();
            match records.read(bytes) {
                Some(Said::Extent(extent)) => take(place, extent)?,
                Some(Said::Durable(covered)) => durable = covered,
                None => return Ok(durable),
            }
        }
        if whole.len() < BATCH {
            return Ok(durable);
        }
    }
}

/// Whether this is what the file has there.
fn holds(file: &File, extent: &ExtentValue, buffer: &mut [u8]) -> io::Result<bool> {
    debug_assert!(extent.length() <= EXTENT_SIZE);
    let Some(mut hasher) = ExtentHasher::new(extent.offset()) else {
        return Ok(false);
    };
    let end = extent.offset() + extent.length();
    while hasher.position() < end {
        let want = usize::try_from(end - hasher.position()).unwrap_or(usize::MAX);
        let want = want.min(buffer.len());
        let read = file.read_at(&mut buffer[..want], hasher.position())?;
        if read < want || hasher.update(&buffer[..read]).is_none() {
            return Ok(false);
        }
    }
    let found = hasher.finish(Whole::Part);
    Ok(found.is_some_and(|found| found.value() == extent.value()))
}

/// Removes what was not left for anybody: the partial file and its journal.
pub(crate) fn discard(directory: &Directory, journal: &Journal) {
    place::discard(directory, &journal.part);
    journal.remove(directory);
}
