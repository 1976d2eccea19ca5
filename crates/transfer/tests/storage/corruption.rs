//! Bytes that are altered where one part hands them to the next: who notices, and what is then under the final name.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use packhorse_transfer::{Assurance, Disk, Storage};
use packhorse_tree::is_own;
use rustix::fd::BorrowedFd;
use rustix::fs::fstat;
use rustix::io::{Errno, Result};
use tempfile::TempDir;

use crate::scene::{DURABLE, Ended, REREAD, Tree, Way, bytes, differences, transfer, tree_of};

/// Writes of more than this are content: records of journals and rolls are shorter.
const CONTENT: usize = 4096;

/// What goes wrong once, or every time, with content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A bit is another one when it is written, once.
    Altered,
    /// The same; no other file can be written.
    AlteredAlone,
    /// It lands elsewhere, once.
    Elsewhere,
    /// It is said to be written, and is not, once.
    Dropped,
    /// A bit is another one when it is read.
    Read,
    /// Each call writes a third of what it is given, at least a byte.
    Short,
    /// Each second call is interrupted.
    Interrupted,
    /// There is no room at some point.
    Write(Errno),
    /// Content cannot be synced.
    Sync(Errno),
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    /// It has happened, or happens next.
    turn: AtomicBool,
    /// The inode of the file that it happened to.
    victim: OnceLock<u64>,
}

impl Faulty {
    fn once(&self) -> bool {
        !self.turn.swap(true, Ordering::Relaxed)
    }
}

impl Storage for Faulty {
    fn write_at(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<usize> {
        let write = |bytes: &[u8], offset| Disk.write_at(file, bytes, offset);
        match self.fault {
            // Of the rest, too.
            Fault::Short => return write(&bytes[..bytes.len().div_ceil(3)], offset),
            _ if bytes.len() <= CONTENT => {}
            Fault::Altered if self.once() => {
                let mut altered = bytes.to_vec();
                altered[bytes.len() / 2] ^= 0x10;
                return write(&altered, offset);
            }
            Fault::AlteredAlone => {
                let inode = fstat(file)?.st_ino;
                if *self.victim.get_or_init(|| inode) != inode {
                    return Err(Errno::IO);
                }
                let mut altered = bytes.to_vec();
                altered[0] ^= 0x10;
                return write(&altered, offset);
            }
            Fault::Elsewhere if self.once() => return write(bytes, offset + 4096),
            Fault::Dropped if self.once() => return Ok(bytes.len()),
            Fault::Interrupted if self.turn.fetch_not(Ordering::Relaxed) => {
                return Err(Errno::INTR);
            }
            Fault::Write(error) if self.once() => return Err(error),
            _ => {}
        }
        write(bytes, offset)
    }

    fn read_at(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let read = Disk.read_at(file, buffer, offset)?;
        if self.fault == Fault::Read && read > CONTENT && self.once() {
            buffer[read / 2] ^= 1;
        }
        Ok(read)
    }

    fn sync_content(&self, file: BorrowedFd<'_>) -> Result<()> {
        match self.fault {
            Fault::Sync(error) => Err(error),
            _ => Disk.sync_content(file),
        }
    }
}

/// A large file and one that fits into a message.
struct Ground(TempDir);

impl Ground {
    fn new() -> Self {
        let ground = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(ground.path().join("source/tree")).expect("directories");
        let tree = ground.path().join("source/tree");
        fs::write(tree.join("large"), bytes(3 << 20, 1)).expect("a file");
        fs::write(tree.join("small"), b"arrives in any case").expect("a file");
        Self(ground)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn transfer(&self, way: &Way) -> Ended {
        transfer(&self.path("source"), &self.path("destination"), way)
    }

    fn transfer_with(&self, fault: Fault, assurance: Assurance) -> Ended {
        let storage = Faulty {
            fault,
            turn: AtomicBool::new(false),
            victim: OnceLock::new(),
        };
        self.transfer(&Way::on(Arc::new(storage)).with(assurance))
    }

    /// What is there under final names.
    fn found(&self) -> Tree {
        let mut tree = tree_of(&self.path("destination"));
        tree.retain(|path, _| path.iter().all(|name| !is_own(name.as_encoded_bytes())));
        tree
    }

    fn differences(&self) -> Vec<String> {
        differences(&self.found(), &tree_of(&self.path("source")))
    }

    /// The large file failed for this reason, and is not there; the other one is.
    #[track_caller]
    fn assert_found_out(&self, ended: &Ended, why: &str) {
        let told: Vec<_> = ended
            .failed
            .iter()
            .map(|(path, told)| (&path[..], &told[..]))
            .collect();
        let [("tree/large", told)] = told[..] else {
            panic!("{ended:?}");
        };
        assert!(told.contains(why), "{told}");
        assert_eq!(self.differences(), ["tree/large: missing"]);
        let receipt = ended.sent.as_ref().expect("the rest arrives");
        assert_eq!((receipt.files, receipt.failed), (1, 1));
    }
}

#[test]
fn what_the_storage_alters_is_seen_by_reading_it_again_and_not_without() {
    for fault in [Fault::Altered, Fault::Elsewhere, Fault::Dropped] {
        let ground = Ground::new();
        ground.transfer_with(fault, DURABLE).whole();
        assert_eq!(
            ground.differences().len(),
            1,
            "{fault:?}: wrong, and nobody knows"
        );
        let ground = Ground::new();
        let ended = ground.transfer_with(fault, REREAD);
        ground.assert_found_out(&ended, "does not give back what was written");
    }
}

#[test]
fn a_page_that_comes_back_different_is_seen_by_reading_it_again() {
    let ground = Ground::new();
    let ended = ground.transfer_with(Fault::Read, REREAD);
    ground.assert_found_out(&ended, "does not give back what was written");
    // The same command again, on a storage that is mended.
    ground
        .transfer(&Way::on(Arc::new(Disk)).with(REREAD))
        .whole();
    assert_eq!(ground.differences(), Vec::<String>::new());
}

#[test]
fn what_an_earlier_session_stored_is_read_again_as_well() {
    for (again, differences) in [(Assurance::default(), 1), (REREAD, 0)] {
        let ground = Ground::new();
        fs::write(ground.path("source/tree/other"), bytes(3 << 20, 2)).expect("a file");
        let ended = ground.transfer_with(Fault::AlteredAlone, Assurance::default());
        assert_eq!(ended.failed.len(), 1, "{ended:?}");
        let receipt = ground
            .transfer(&Way::on(Arc::new(Disk)).with(again))
            .whole();
        assert_eq!(receipt.assurance, again);
        assert_eq!(ground.differences().len(), differences, "{again:?}");
    }
}

#[test]
fn writes_that_are_short_or_interrupted_are_continued() {
    for fault in [Fault::Short, Fault::Interrupted] {
        let ground = Ground::new();
        ground.transfer_with(fault, REREAD).whole();
        assert_eq!(ground.differences(), Vec::<String>::new());
    }
}

#[test]
fn a_write_or_a_sync_that_fails_fails_its_file_by_name() {
    for (fault, assurance) in [
        (Fault::Write(Errno::IO), Assurance::default()),
        (Fault::Write(Errno::IO), DURABLE),
    ] {
        let ground = Ground::new();
        let ended = ground.transfer_with(fault, assurance);
        ground.assert_found_out(&ended, "Input/output error");
    }
    for assurance in [DURABLE, REREAD] {
        let ground = Ground::new();
        let ended = ground.transfer_with(Fault::Sync(Errno::IO), assurance);
        let mut failed: Vec<_> = ended.failed.iter().map(|(path, _)| &path[..]).collect();
        failed.sort_unstable();
        assert_eq!(failed, ["tree/large", "tree/small"]);
        assert_eq!(ended.sent.expect("a receipt").failed, 2);
    }
}

#[test]
fn a_storage_without_room_ends_the_session_and_nothing_gets_the_name() {
    for (fault, assurance) in [
        (Fault::Write(Errno::NOSPC), Assurance::default()),
        (Fault::Sync(Errno::NOSPC), DURABLE),
        (Fault::Sync(Errno::NOSPC), REREAD),
    ] {
        let ground = Ground::new();
        let ended = ground.transfer_with(fault, assurance);
        assert!(ended.sent.is_err(), "{ended:?}");
        assert!(format!("{ended:?}").contains("No space left"), "{ended:?}");
        let large = ground
            .differences()
            .iter()
            .any(|told| told == "tree/large: missing");
        assert!(large, "{:?}", ground.differences());
    }
}

/// Where on a connection a bit is flipped, once: content is there, of the one lane that carries as much.
const FLIPPED: usize = 500_000;

/// A proxy that alters what goes to `to`.
fn flipping(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let flipped = Arc::new(AtomicBool::new(false));
    // It ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(other) = TcpStream::connect(to) else {
                return;
            };
            let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
            let (back, flipped) = ((clone(&other), clone(&stream)), Arc::clone(&flipped));
            thread::spawn(move || carry(stream, other, Some(&flipped)));
            thread::spawn(move || carry(back.0, back.1, None));
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, flipped: Option<&AtomicBool>) {
    let (mut buffer, mut carried) = (vec![0; 1 << 16], 0);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let here = (carried..carried + read).contains(&FLIPPED);
        if here && flipped.is_some_and(|flipped| !flipped.swap(true, Ordering::Relaxed)) {
            buffer[FLIPPED - carried] ^= 0x04;
        }
        carried += read;
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Also what the receiver gets where a bit of the sender's buffer flips after it was hashed: without encryption there is
/// nothing between that buffer and the wire.
#[test]
fn a_bit_that_flips_on_the_way_is_found_by_the_hashes() {
    let ground = Ground::new();
    let ended = ground.transfer(&Way {
        through: Some(flipping),
        ..Way::on(Arc::new(Disk))
    });
    ground.assert_found_out(&ended, "changed on the way");
}

#[test]
fn a_bit_that_flips_in_an_encrypted_session_ends_it() {
    let ground = Ground::new();
    let ended = ground.transfer(&Way {
        through: Some(flipping),
        encrypted: true,
        ..Way::on(Arc::new(Disk))
    });
    assert!(ended.sent.is_err(), "{ended:?}");
    let told = format!("{ended:?}");
    assert!(told.contains("a record that is not the peer's"), "{told}");
    assert!(!ground.found().contains_key(&PathBuf::from("tree/large")));
    // What was good of it is found again.
    ground.transfer(&Way::on(Arc::new(Disk))).whole();
    assert_eq!(ground.differences(), Vec::<String>::new());
}
