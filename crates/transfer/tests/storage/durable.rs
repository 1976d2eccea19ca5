//! The order of a durable session's calls, held against what it promises.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use packhorse_proto::remains::BootId;
use packhorse_transfer::{Disk, Storage};
use packhorse_tree::is_own;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::record::{Change, Object, Record, Recorder};
use crate::scene::{
    Content, DURABLE, Ended, Way, bytes, differences, make_old, make_source, set, transfer, tree_of,
};

/// A storage whose syncs fail, of one kind.
#[derive(Debug)]
struct Failing {
    content: Option<Errno>,
    /// Which syncfs fails first, and what it says.
    filesystem: Option<(usize, Errno)>,
    calls: AtomicUsize,
    names: Mutex<Vec<Vec<u8>>>,
}

impl Failing {
    fn new(content: Option<Errno>, filesystem: Option<(usize, Errno)>) -> Arc<Self> {
        Arc::new(Self {
            content,
            filesystem,
            calls: AtomicUsize::new(0),
            names: Mutex::default(),
        })
    }
}

impl Storage for Failing {
    fn sync_content(&self, _file: BorrowedFd<'_>) -> Result<()> {
        self.content.map_or(Ok(()), Err)
    }

    fn sync_filesystem(&self, _directory: BorrowedFd<'_>) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.filesystem {
            Some((first, error)) if call >= first => Err(error),
            _ => Ok(()),
        }
    }

    fn name(&self, file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.names
            .lock()
            .expect("nobody panics")
            .push(name.to_vec());
        Disk.name(file, directory, name)
    }
}

/// Where each file with content got a final name without its content being durable.
fn named_too_early(record: &Record) -> Vec<String> {
    let mut unsynced: Vec<Object> = Vec::new();
    let mut names: Vec<(Object, Vec<u8>, Object)> = Vec::new();
    let mut early = Vec::new();
    for change in &record.changes {
        let named = match change {
            Change::Write { object, .. } => {
                unsynced.push(*object);
                continue;
            }
            Change::SyncContent { object } => {
                unsynced.retain(|file| file != object);
                continue;
            }
            Change::SyncFilesystem => {
                unsynced.clear();
                continue;
            }
            Change::Name {
                directory,
                name,
                object,
            } => (*directory, name.clone(), *object),
            Change::Rename {
                directory,
                from,
                to,
            } => {
                let from = names
                    .iter()
                    .rposition(|(place, name, _)| (place, name) == (directory, from));
                let (_, _, object) = names.remove(from.expect("a name that was given"));
                (*directory, to.clone(), object)
            }
            _ => continue,
        };
        let is_final = !is_own(&named.1) && !named.1.ends_with(b".stored");
        if is_final && unsynced.contains(&named.2) {
            early.push(String::from_utf8_lossy(&named.1).into_owned());
        }
        names.push(named);
    }
    early
}

/// Runs a durable session that ends well, and gives the record of what it did.
fn recorded(source: &Path, destination: &Path) -> Record {
    let recorder = Recorder::new(destination, [1; 16]);
    let noted = Arc::clone(&recorder);
    let way = Way {
        receipted: Arc::new(move || noted.note_receipt()),
        ..Way::on(recorder.clone()).with(DURABLE)
    };
    let receipt = transfer(source, destination, &way).whole();
    assert!(receipt.assurance.durable);
    recorder.record().since_start()
}

fn ground() -> tempfile::TempDir {
    let ground = tempfile::tempdir().expect("a directory");
    make_source(&ground.path().join("source"));
    fs::create_dir(ground.path().join("destination")).expect("a directory");
    ground
}

#[test]
fn final_names_come_after_content_and_the_receipt_after_everything() {
    for replacing in [false, true] {
        let ground = ground();
        let destination = ground.path().join("destination");
        if replacing {
            make_old(&destination);
        }
        let record = recorded(&ground.path().join("source"), &destination);
        assert_eq!(named_too_early(&record), Vec::<String>::new());
        let receipt = record
            .changes
            .iter()
            .position(|change| matches!(change, Change::Receipt));
        let until = &record.changes[..receipt.expect("a receipt")];
        let last = until
            .iter()
            .rposition(|change| matches!(change, Change::SyncFilesystem));
        let behind = &record.changes[last.expect("a sync")..];
        let is_roll = |written: Object| {
            record.changes.iter().any(|change| match change {
                Change::Name { name, object, .. } => {
                    *object == written && name.ends_with(b".stored")
                }
                _ => false,
            })
        };
        for change in behind {
            let may_be = match change {
                Change::SyncFilesystem | Change::Receipt => true,
                // A mark that says so.
                Change::Write { object, .. } => is_roll(*object),
                // The roll goes.
                Change::Remove { name, .. } => name.ends_with(b".stored") || name == b".packhorse",
                _ => false,
            };
            assert!(may_be, "after everything was made durable: {change:?}");
        }
    }
}

#[test]
fn a_file_that_was_complete_when_its_receiver_died_is_made_durable_before_it_is_named() {
    let ground = ground();
    let (source, destination) = (
        ground.path().join("source"),
        ground.path().join("destination"),
    );
    let recorder = Recorder::new(&destination, [1; 16]);
    recorder.dies_at_sync();
    let _ = transfer(
        &source,
        &destination,
        &Way::on(recorder.clone()).with(DURABLE),
    );
    recorder.lives_again();
    let receipt = transfer(
        &source,
        &destination,
        &Way::on(recorder.clone()).with(DURABLE),
    )
    .whole();
    assert!(receipt.resumed > 0, "nothing was found again");
    assert_eq!(
        named_too_early(&recorder.record().since_start()),
        Vec::<String>::new()
    );
}

/// The storage of another start of the machine, and which files are opened on it.
#[derive(Debug, Default)]
struct Opened(Mutex<Vec<Vec<u8>>>);

impl Storage for Opened {
    fn open(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd> {
        let opened = Disk.open(directory, name, flags, mode)?;
        let is_other = is_own(name) || name.ends_with(b".stored") || name == b".";
        if !is_other {
            self.0.lock().expect("nobody panics").push(name.to_vec());
        }
        Ok(opened)
    }

    fn boot_id(&self) -> BootId {
        [2; 16]
    }
}

/// Sends to a durable receiver of which one name is taken, so that it keeps what is to be gone on from.
fn ended_with_one_lacking(source: &Path, destination: &Path) -> PathBuf {
    let in_the_way = destination.join("tree/small/03");
    fs::create_dir_all(&in_the_way).expect("a directory");
    let way = Way::on(Recorder::new(destination, [1; 16])).with(DURABLE);
    let ended = transfer(source, destination, &way);
    assert_eq!(ended.failed.len(), 1, "{ended:?}");
    assert!(ended.sent.is_ok_and(|receipt| receipt.assurance.durable));
    fs::remove_dir(&in_the_way).expect("it is empty");
    in_the_way
}

#[test]
fn what_was_made_durable_is_not_read_again_after_another_start() {
    for changed in [false, true] {
        let ground = ground();
        let (source, destination) = (
            ground.path().join("source"),
            ground.path().join("destination"),
        );
        let lacking = ended_with_one_lacking(&source, &destination);
        let other = destination.join("tree/small/29");
        if changed {
            // Since it was made durable: neither its size nor its time tell.
            let length = fs::metadata(&other).expect("metadata").len();
            let other_bytes = bytes(usize::try_from(length).expect("small"), 77);
            fs::write(&other, other_bytes).expect("a file");
            set(&other, 0o700, 1_600_000_029, 7);
        }
        let storage = Arc::new(Opened::default());
        let way = Way::on(storage.clone()).with(DURABLE);
        let receipt = transfer(&source, &destination, &way).whole();
        let differs = differences(&tree_of(&destination), &tree_of(&source));
        assert_eq!(differs, Vec::<String>::new());
        let size = |path: &Path| fs::metadata(path).expect("metadata").len();
        let sent = size(&lacking) + if changed { size(&other) } else { 0 };
        assert_eq!(receipt.bytes - receipt.resumed, sent);
        let opened = storage.0.lock().expect("nobody panics");
        let expected = if changed {
            vec![b"29".to_vec()]
        } else {
            vec![]
        };
        assert_eq!(*opened, expected);
    }
}

/// Files that a receiver lets wait, and some fewer: of a batch that is synced file by file, some have their names.
const WAITING: usize = 256 - 8;

/// Small files, and the bytes of each.
const FILES: usize = 2000;
const BYTES: usize = 300;

/// A storage whose syncs take as long as it takes until so many files wait that no more can.
#[derive(Debug, Default)]
struct Slow {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    written: usize,
    named: usize,
    syncs: usize,
}

impl Slow {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().expect("nobody panics"));
        self.changed.notify_all();
    }

    fn sync(&self) {
        let mut counts = self.counts.lock().expect("nobody panics");
        counts.syncs += 1;
        let too_few = |counts: &mut Counts| counts.written < FILES.min(counts.named + WAITING);
        drop(self.changed.wait_while(counts, too_few));
    }
}

impl Storage for Slow {
    fn write_at(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<usize> {
        let written = Disk.write_at(file, bytes, offset)?;
        self.count(|counts| counts.written += usize::from(bytes.len() == BYTES));
        Ok(written)
    }

    fn name(&self, file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        Disk.name(file, directory, name)?;
        self.count(|counts| counts.named += 1);
        Ok(())
    }

    fn sync_content(&self, _file: BorrowedFd<'_>) -> Result<()> {
        self.sync();
        Ok(())
    }

    fn sync_filesystem(&self, _directory: BorrowedFd<'_>) -> Result<()> {
        self.sync();
        Ok(())
    }
}

/// However long a sync takes: what came meanwhile is made durable by the next.
#[test]
fn many_small_files_share_their_syncs() {
    let ground = tempfile::tempdir().expect("a directory");
    let source = ground.path().join("source");
    let destination = ground.path().join("destination");
    fs::create_dir_all(source.join("tree")).expect("directories");
    for place in 0..FILES {
        let file = source.join(format!("tree/{place:04}"));
        fs::write(file, bytes(BYTES, place as u64)).expect("a file");
    }
    let slow = Arc::new(Slow::default());
    let way = Way::on(slow.clone()).with(DURABLE);
    let receipt = transfer(&source, &destination, &way).whole();
    assert_eq!(receipt.files, FILES as u64);
    let syncs = slow.counts.lock().expect("nobody panics").syncs;
    println!("{FILES} files: {syncs} syncs");
    // For each time that all wait: a batch of those that came first, of four at most one by one, and one of the others.
    assert!(syncs <= FILES.div_ceil(WAITING) * 5 + 1, "{syncs}");
}

#[track_caller]
fn nothing_claims_durable(ended: &Ended, wanted: &str) {
    for receipt in [
        ended.sent.as_ref().ok(),
        ended.received.as_ref().ok().and_then(Option::as_ref),
    ] {
        assert!(
            receipt.is_none_or(|receipt| receipt.failed > 0),
            "{receipt:?}"
        );
    }
    let told = format!("{ended:?}");
    assert!(told.contains(wanted), "{told}");
}

#[test]
fn files_whose_sync_fails_fail_by_name_and_do_not_get_theirs() {
    let ground = ground();
    let (source, destination) = (
        ground.path().join("source"),
        ground.path().join("destination"),
    );
    let storage = Failing::new(Some(Errno::IO), Some((0, Errno::IO)));
    let ended = transfer(
        &source,
        &destination,
        &Way::on(storage.clone()).with(DURABLE),
    );
    nothing_claims_durable(&ended, "Input/output error");
    let found = tree_of(&destination);
    let files = found
        .iter()
        .filter(|(_, node)| matches!(&node.content, Content::File(bytes) if !bytes.is_empty()));
    let files: Vec<_> = files.map(|(path, _)| path).collect();
    let is_own = |path: &PathBuf| path.iter().any(|name| is_own(name.as_encoded_bytes()));
    assert!(files.iter().all(|path| is_own(path)), "{files:?}");
    if ended.sent.is_ok() {
        let failed: Vec<_> = ended.failed.iter().map(|(path, _)| &path[..]).collect();
        for name in [
            "tree/large",
            "tree/one/large",
            "tree/small/01",
            "tree/small/29",
        ] {
            assert!(failed.contains(&name), "{failed:?}");
        }
    }
}

#[test]
fn a_sync_that_finds_no_room_ends_the_session() {
    let ground = ground();
    let (source, destination) = (
        ground.path().join("source"),
        ground.path().join("destination"),
    );
    let storage = Failing::new(Some(Errno::NOSPC), Some((0, Errno::NOSPC)));
    let ended = transfer(&source, &destination, &Way::on(storage).with(DURABLE));
    assert!(ended.sent.is_err());
    nothing_claims_durable(&ended, "No space left");
}

#[test]
fn no_receipt_claims_durable_where_the_last_sync_fails() {
    let ground = tempfile::tempdir().expect("a directory");
    let (source, destination) = (
        ground.path().join("source"),
        ground.path().join("destination"),
    );
    fs::create_dir_all(source.join("tree")).expect("directories");
    fs::write(source.join("tree/one"), b"one file, synced by itself").expect("a file");
    let storage = Failing::new(None, Some((0, Errno::IO)));
    let ended = transfer(
        &source,
        &destination,
        &Way::on(storage.clone()).with(DURABLE),
    );
    assert!(ended.sent.is_err(), "{ended:?}");
    assert!(ended.received.is_err(), "{ended:?}");
    assert_eq!(storage.calls.load(Ordering::Relaxed), 1);
    assert_eq!(
        differences(&tree_of(&destination), &tree_of(&source)),
        Vec::<String>::new()
    );
    let names = storage.names.lock().expect("nobody panics");
    assert_eq!(names[..], [b"one".to_vec()]);
}
