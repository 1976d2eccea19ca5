//! The rolls of a destination: which files are complete of sessions that are not.
//!
//! They are in the directory `.packhorse` of the destination, one for each session, locked by it as long as it lives.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packhorse_proto::extent::Hash;
use packhorse_proto::path::RelativePath;
use packhorse_proto::remains::roll::{Front, HEADER, Header, MAX_RECORD, Mark, Record, front};
use packhorse_proto::remains::{BootId, Nonce, Version};
use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, Dir, Mode, fstat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::directory::Directory;
use crate::faults::reach;
use crate::file::File;
use crate::lock::open_locked;
use crate::node::changed_at;
use crate::place;

/// Where rolls are, in a destination.
pub(crate) const PLACE: &str = ".packhorse";

/// How a roll's name ends.
pub(crate) const ENDING: &[u8] = b".stored";

/// Rolls that are read beside a manifest, the latest of them: those of other sources lie there too.
const MAX_ROLLS: usize = 16;

/// Rolls that are looked at.
const MAX_FOUND: usize = 256;

/// Names that are tried for a new one.
const TRIES: usize = 8;

/// Records of one roll that are held: as far as one may stand before those that were listed before it.
const AHEAD: usize = 4096;

/// Bytes of their paths, and of what goes with them.
const AHEAD_BYTES: usize = 2 << 20;

/// What a record takes beside its path.
const OVERHEAD: usize = 128;

/// Bytes that are read at a time: room for any record.
const BUFFER: usize = 1 << 16;

/// Whether a name is one that this program gives to files of its own. Nobody else may bring one: what it says would be
/// believed.
#[must_use]
pub fn is_own(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(PLACE.as_bytes()) else {
        return false;
    };
    let Some(rest) = rest.strip_prefix(b"-") else {
        return rest.is_empty();
    };
    rest.split_at_checked(16).is_some_and(|(id, kind)| {
        id.iter().all(u8::is_ascii_hexdigit) && matches!(kind, b".part" | b".journal")
    })
}

/// Why an entry of [such a name](is_own) is not stored.
pub const IS_OWN: &str = "packhorse keeps names like this one for what it has not finished";

/// The roll that a session writes.
#[derive(Debug)]
pub struct Roll {
    place: Arc<Directory>,
    name: Vec<u8>,
    /// Locked as long as it is open.
    file: File,
    nonce: Nonce,
    /// Records and marks so far, and bytes of the file.
    records: u64,
    written: u64,
    /// Of the records, those up to the last mark, where nothing was added before it since its sync.
    marked: u64,
    buffer: Vec<u8>,
}

impl Roll {
    /// Begins one in this destination.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn begin(destination: &Directory, source: [u8; 8], boot: BootId) -> io::Result<Self> {
        let (place, nonce, name, file) = make(destination)?;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH);
        let header = Header {
            nonce,
            boot,
            source,
            begun: begun.map_or(0, |since| since.as_secs()),
            inode: fstat(&file)?.st_ino,
        };
        let mut roll = Self {
            place,
            name,
            file,
            nonce,
            records: 0,
            written: 0,
            marked: 0,
            buffer: Vec::new(),
        };
        roll.buffer.extend_from_slice(&header.encode());
        roll.flush()?;
        reach("roll.begun");
        Ok(roll)
    }

    /// Adds a file that is complete and has its name.
    pub fn add(&mut self, record: &Record) {
        record.encode(&self.nonce, self.records, &mut self.buffer);
        self.records += 1;
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether something was added that no mark covers.
    #[must_use]
    pub fn has_unmarked(&self) -> bool {
        self.records > self.marked
    }

    /// Bytes that were added and not written.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// The disk is full or failing.
    pub fn flush(&mut self) -> io::Result<()> {
        reach("flush.before");
        self.file.write_at(&self.buffer, self.written)?;
        reach("flush.after");
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// What a mark may say after the next sync of the filesystem: everything that is written by now. `None` where nothing was
    /// added.
    ///
    /// # Errors
    /// The roll cannot be written.
    pub fn before_sync(&mut self) -> io::Result<Option<Mark>> {
        if self.is_empty() {
            return Ok(None);
        }
        if self.pending() > 0 {
            self.flush()?;
        }
        let at = changed_at(&fstat(&self.file)?);
        let covered = self.records;
        Ok(Some(Mark { covered, at }))
    }

    /// Says that everything was made durable that [`before_sync`](Self::before_sync) spoke of.
    ///
    /// # Errors
    /// The roll cannot be written.
    pub fn mark(&mut self, mark: &Mark) -> io::Result<()> {
        mark.encode(&self.nonce, self.records, &mut self.buffer);
        let whole = mark.covered == self.records;
        self.records += 1;
        self.marked = if whole { self.records } else { mark.covered };
        self.flush()
    }

    /// Makes what was written durable, with its name.
    ///
    /// # Errors
    /// The disk is full or failing.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        let storage = self.place.storage();
        storage.sync_names(self.place.as_fd())?;
        Ok(())
    }

    /// Removes it, and the directory where that held nothing else.
    pub fn remove(self, destination: &Directory) {
        place::discard(&self.place, &self.name);
        remove_place(destination);
    }
}

/// Makes the file of a roll and locks it.
fn make(destination: &Directory) -> io::Result<(Arc<Directory>, Nonce, Vec<u8>, File)> {
    for _ in 0..TRIES {
        let storage = destination.storage();
        match storage.make_directory(destination.as_fd(), PLACE.as_bytes(), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let place = match destination.open_bytes(PLACE.as_bytes()) {
            Ok(place) => Arc::new(place),
            // Whoever removed the last of the other rolls has removed the directory as well.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut nonce = Nonce::default();
        rustix::io::retry_on_intr(|| getrandom(&mut nonce[..], GetRandomFlags::empty()))?;
        let mut name = Vec::new();
        for byte in &nonce[..8] {
            name.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        name.extend_from_slice(ENDING);
        // Somebody may look at it before it is locked, take it for one that is damaged, and remove it.
        if let Some(file) = open_locked(&place, &name, true)? {
            return Ok((place, nonce, name, file));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// How many files a roll names, as far as so many bytes of it tell, and whether that is all; `None` for what is no roll.
pub(crate) fn count(file: &File, bytes: u64) -> io::Result<Option<(u64, bool)>> {
    let Some(mut records) = Records::open(file)? else {
        return Ok(None);
    };
    let mut files = 0;
    while records.read <= bytes {
        match records.next()? {
            Some(_) => files += 1,
            None => return Ok(Some((files, true))),
        }
    }
    Ok(Some((files, false)))
}

/// Removes the directory where it holds nothing.
pub(crate) fn remove_place(destination: &Directory) {
    let place = PLACE.as_bytes();
    let _ = destination
        .storage()
        .remove(destination.as_fd(), place, AtFlags::REMOVEDIR);
}

/// The rolls of earlier sessions, read beside a manifest.
#[derive(Debug, Default)]
pub struct Rolls(Vec<OldRoll>);

#[derive(Debug)]
struct OldRoll {
    place: Arc<Directory>,
    name: Vec<u8>,
    /// Locked as long as it is open.
    records: Records<File>,
    ended: bool,
    /// When it was written to last.
    noted: Duration,
    /// The last mark, where it was looked for.
    mark: Option<Mark>,
    /// What was taken apart and not asked for.
    ahead: BTreeMap<RelativePath, (Version, Known)>,
    ahead_bytes: usize,
}

/// A file that a roll names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its hash.
    pub hash: Hash,
    /// When that was noted; after the machine was started anew, the file may hold something else.
    pub boot: BootId,
    /// When it was noted, or later, by the filesystem's clock since 1970. What was done to the file after that, somebody else
    /// did.
    pub noted: Duration,
    /// Where it was made durable: as it was at this time, by the filesystem's clock since 1970.
    pub durable: Option<Duration>,
}

impl Rolls {
    /// Opens those that are there and that nobody writes. Those of another boot are read once to see what was made durable.
    ///
    /// # Errors
    /// The destination cannot be read.
    pub fn open(destination: &Directory, boot: BootId) -> io::Result<Self> {
        let place = match destination.open_bytes(PLACE.as_bytes()) {
            Ok(place) => Arc::new(place),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let mut rolls = Vec::new();
        for entry in Dir::read_from(&*place)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if rolls.len() < MAX_FOUND && name.ends_with(ENDING) {
                rolls.extend(OldRoll::open(&place, name)?);
            }
        }
        rolls.sort_by_key(|roll| std::cmp::Reverse(roll.records.header.begun));
        rolls.truncate(MAX_ROLLS);
        for roll in &mut rolls {
            if roll.records.header.boot != boot {
                roll.mark = roll.last_mark().unwrap_or_default();
            }
        }
        Ok(Self(rolls))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks for a file; to be asked in the manifest's order.
    ///
    /// # Errors
    /// A roll cannot be read.
    pub fn find(&mut self, path: &RelativePath, version: Version) -> io::Result<Option<Known>> {
        let mut found = None;
        for roll in &mut self.0 {
            let known = roll.take(path)?.filter(|(known, _)| *known == version);
            found = found.or(known.map(|(_, known)| known));
        }
        Ok(found)
    }

    /// Whether there are some that [`remove_finished`](Self::remove_finished) removes.
    #[must_use]
    pub fn has_finished(&self, source: [u8; 8]) -> bool {
        self.0.iter().any(|roll| roll.is_finished(source))
    }

    /// Removes those of this source of which everything was asked for: to be called when what was found is in the new
    /// roll.
    pub fn remove_finished(&mut self, source: [u8; 8]) {
        self.0.retain(|roll| {
            let finished = roll.is_finished(source);
            if finished {
                place::discard(&roll.place, &roll.name);
            }
            !finished
        });
    }

    /// Removes those of this source: its session is complete.
    pub fn remove(self, destination: &Directory, source: [u8; 8]) {
        for roll in self.0 {
            if roll.records.header.source == source {
                place::discard(&roll.place, &roll.name);
            }
        }
        remove_place(destination);
    }
}

impl OldRoll {
    /// Whether everything was asked for, by this source.
    fn is_finished(&self, source: [u8; 8]) -> bool {
        self.ended && self.ahead.is_empty() && self.records.header.source == source
    }

    fn open(place: &Arc<Directory>, name: &[u8]) -> io::Result<Option<Self>> {
        let Some(file) = open_locked(place, name, false)? else {
            return Ok(None);
        };
        let noted = changed_at(&fstat(&file)?);
        let Some(records) = Records::open(file)? else {
            // Nobody can make anything of it, and nobody writes it.
            place::discard(place, name);
            return Ok(None);
        };
        Ok(Some(Self {
            place: Arc::clone(place),
            name: name.to_vec(),
            records,
            ended: false,
            noted,
            mark: None,
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
        }))
    }

    fn last_mark(&self) -> io::Result<Option<Mark>> {
        let mut records = Records::open(&self.records.file)?;
        let mut last = None;
        if let Some(records) = &mut records {
            while records.next()?.is_some() {}
            last = records.mark;
        }
        Ok(last)
    }

    /// What is known of the file of the record that was taken last.
    fn known(&self, hash: Hash) -> Known {
        let mark = self.mark.filter(|mark| self.records.taken <= mark.covered);
        Known {
            hash,
            boot: self.records.header.boot,
            noted: self.noted,
            durable: mark.map(|mark| mark.at),
        }
    }

    fn take(&mut self, path: &RelativePath) -> io::Result<Option<(Version, Known)>> {
        // What sorts before it was not listed any more.
        while let Some(first) = self.ahead.first_entry()
            && first.key() < path
        {
            self.ahead_bytes -= OVERHEAD + first.key().as_bytes().len();
            first.remove();
        }
        while !self.ended && self.ahead.len() < AHEAD && self.ahead_bytes < AHEAD_BYTES {
            match self.records.next()? {
                Some(record) if record.path < *path => {}
                Some(record) => {
                    let bytes = OVERHEAD + record.path.as_bytes().len();
                    let value = (record.version, self.known(record.hash));
                    if self.ahead.insert(record.path, value).is_none() {
                        self.ahead_bytes += bytes;
                    }
                }
                None => self.ended = true,
            }
        }
        let taken = self.ahead.remove(path);
        if taken.is_some() {
            self.ahead_bytes -= OVERHEAD + path.as_bytes().len();
        }
        Ok(taken)
    }
}

/// The records of a roll, read one after the other.
#[derive(Debug)]
struct Records<F> {
    file: F,
    header: Header,
    /// Records and marks so far.
    taken: u64,
    /// The last mark so far.
    mark: Option<Mark>,
    /// What was read of the file, of which so many bytes were taken apart.
    buffer: Vec<u8>,
    apart: usize,
    read: u64,
}

impl<F: Borrow<File>> Records<F> {
    /// `None` for what is no roll.
    fn open(file: F) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        let read = file.borrow().read_at(&mut header, 0)?;
        let inode = fstat(file.borrow())?.st_ino;
        let header =
            Header::parse(&header).filter(|header| read == HEADER && header.inode == inode);
        Ok(header.map(|header| Self {
            file,
            header,
            taken: 0,
            mark: None,
            buffer: Vec::new(),
            apart: 0,
            read: HEADER as u64,
        }))
    }

    /// The next record; `None` behind the last good one.
    fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let rest = &self.buffer[self.apart..];
            match front(&self.header.nonce, self.taken, rest) {
                Front::Record(record, length) => {
                    self.apart += length;
                    self.taken += 1;
                    return Ok(Some(record));
                }
                Front::Mark(mark, length) => {
                    self.apart += length;
                    self.taken += 1;
                    self.mark = Some(mark);
                    continue;
                }
                Front::Damaged => return Ok(None),
                Front::Incomplete => {}
            }
            debug_assert!(rest.len() < MAX_RECORD);
            self.buffer.drain(..self.apart);
            self.apart = 0;
            let have = self.buffer.len();
            self.buffer.resize(have + BUFFER, 0);
            let read = self
                .file
                .borrow()
                .read_at(&mut self.buffer[have..], self.read)?;
            self.buffer.truncate(have + read);
            self.read += read as u64;
            if read == 0 {
                return Ok(None);
            }
        }
    }
}
