//! What the control task and the lanes of a sender share.

use std::collections::HashSet;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use packhorse_endpoint::{self as endpoint, TcpInfoReader};
use packhorse_proto::entry::{EntryNumber, Metadata};
use packhorse_proto::extent::ContentTree;
use packhorse_proto::message::Failure;
use packhorse_proto::path::RelativePath;
use packhorse_proto::window::Content;
use packhorse_tree::FileAt;

use super::file::Tries;
use super::queue::WorkQueue;
use super::sent::SentList;
use super::shared::SharedFile;
use crate::receipt::NetworkUse;
use crate::stages::{StageObserver, Stages};

/// One file to send.
#[derive(Debug)]
pub(crate) struct FileJob {
    pub(crate) number: EntryNumber,
    pub(crate) path: RelativePath,
    pub(crate) at: FileAt,
    /// What the receiver has of it, as it was listed.
    pub(crate) held: Option<ContentTree>,
}

/// What a lane can do.
#[derive(Debug)]
pub(crate) enum Task {
    File(FileJob),
    /// A file of one extent that was lost on its way.
    Again(Arc<FileJob>, Tries),
    /// Takes part in sending a large file.
    Extents(Arc<SharedFile>),
    Stdin(EntryNumber),
}

/// What a lane tells the control task.
///
/// The channel is not bounded, but what is in it is: by the protocol's window.
#[derive(Debug)]
pub(crate) enum LaneReport {
    /// These files are sent whole, but for what is in the record at hand.
    Contents(Vec<(EntryNumber, Content)>),
    /// A file is sent anew.
    Revised {
        number: EntryNumber,
        attempt: u8,
        size: u64,
        /// Its size before.
        before: u64,
        metadata: Metadata,
    },
    /// A file is not sent after all.
    Withdrawn {
        number: EntryNumber,
        failure: Failure,
    },
    /// This lane takes files.
    Opened(u16),
    /// This lane could not be had: the others go on.
    NotOpened(u16, io::Error),
    /// The lane has done all there was, or failed.
    Ended {
        lane: u16,
        outcome: io::Result<()>,
        sent: Box<SentList>,
    },
}

/// What the control task and the lanes of a sender share.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) queue: WorkQueue<Task>,
    pub(crate) stages: Stages,
    pub(crate) bytes: AtomicU64,
    pub(crate) files: AtomicU64,
    /// Entries below this are finished on both sides.
    pub(super) finished: AtomicU64,
    network: Mutex<NetworkUse>,
    /// The file that is being sent.
    pub(crate) current: Mutex<Option<RelativePath>>,
    /// Entries that the receiver settled before their content was sent.
    unwanted: Mutex<HashSet<EntryNumber>>,
    /// Spares lanes the lock while there are none.
    any_unwanted: AtomicBool,
}

impl Outbox {
    pub(crate) fn new(capacity: usize, observer: Option<Arc<dyn StageObserver>>) -> Self {
        Self {
            queue: WorkQueue::new(capacity),
            stages: Stages::new(observer),
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            network: Mutex::default(),
            current: Mutex::default(),
            unwanted: Mutex::default(),
            any_unwanted: AtomicBool::new(false),
        }
    }

    pub(crate) fn add_unwanted(&self, number: EntryNumber) {
        self.unwanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number);
        self.any_unwanted.store(true, Ordering::Release);
    }

    /// Asks the kernel how a lane's connection fared: at its end, while it is open.
    pub(super) fn note_connection(&self, stream: &TcpStream) {
        // Where the kernel does not tell, the verdict knows less.
        let info = TcpInfoReader::new(stream).and_then(|mut reader| reader.read());
        if let Ok(info) = info {
            let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
            network.add(&info, endpoint::minds_loss(stream));
        }
    }

    /// What was noted of connections so far.
    pub(super) fn network(&self) -> NetworkUse {
        *self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// About how many bytes no lane has begun with; `None` where some are not known yet.
    pub(super) fn left(&self) -> Option<u64> {
        self.queue.sum_of_all(|task| match task {
            Task::File(job) => {
                let held = job.held.as_ref().map_or(0, ContentTree::covered);
                job.at.identity().size().saturating_sub(held)
            }
            Task::Again(job, _) => job.at.identity().size(),
            Task::Extents(file) => file.left(),
            Task::Stdin(_) => u64::MAX,
        })
    }

    pub(super) fn one_file_done(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    /// Entries below this are finished on both sides.
    pub(super) fn finished(&self) -> EntryNumber {
        self.finished.load(Ordering::Relaxed)
    }

    /// Forgets an entry that is finished on both sides, as are all before it.
    pub(crate) fn forget(&self, number: EntryNumber) {
        self.finished.store(number + 1, Ordering::Relaxed);
        if self.any_unwanted.load(Ordering::Acquire) {
            self.unwanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&number);
        }
    }

    pub(super) fn is_unwanted(&self, number: EntryNumber) -> bool {
        self.any_unwanted.load(Ordering::Acquire)
            && self
                .unwanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&number)
    }
}
