//! What threads of a receiver tell its control task.

use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_proto::control::Violation;
use packhorse_proto::entry::EntryNumber;
use packhorse_proto::extent::ContentTree;
use packhorse_proto::message::Failure;
use packhorse_proto::path::RelativePath;
use packhorse_proto::window::Content;
use tokio::sync::Notify;

/// What threads have told and the control task has not heard yet.
///
/// Waking the task for each small file costs more than storing it: a thread tells as it goes, and
/// [`flush`](Self::flush)es before it waits for anything, at the end of a record at the latest.
///
/// It is not bounded, but what is in it is: by the protocol's window.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    told: Mutex<Vec<Report>>,
    wake: Notify,
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Vec<Report>> {
        // Nothing panics while it holds the lock.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells, soon.
    pub(crate) fn tell(&self, report: Report) {
        self.lock().push(report);
    }

    /// Wakes the control task where there is something to hear.
    pub(crate) fn flush(&self) {
        let waiting = !self.lock().is_empty();
        if waiting {
            self.wake.notify_one();
        }
    }

    /// Waits until something was told, and takes all of it. Safe to cancel.
    pub(crate) async fn hear(&self) -> Vec<Report> {
        loop {
            self.wake.notified().await;
            let told = self.take();
            if !told.is_empty() {
                return told;
            }
        }
    }

    /// What there is.
    pub(crate) fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.lock())
    }
}

/// What threads of a receiver tell its control task.
#[derive(Debug)]
pub(crate) enum Report {
    /// An entry is at its place; with its content where it is a file.
    Stored(EntryNumber, Option<Content>),
    /// A file was there whole, from an earlier session.
    Held(EntryNumber, Content),
    /// Some of a file was there.
    Partial(EntryNumber, ContentTree),
    /// Nothing was there of a file.
    Missing(EntryNumber),
    /// A directory is there; its metadata is set when all that comes into it is done.
    DirectoryMade(EntryNumber),
    /// A directory is finished.
    DirectoryDone,
    /// A directory is finished, but for its metadata.
    DirectoryFlawed(RelativePath, Failure),
    /// The file that was there was kept.
    Kept(EntryNumber),
    /// An entry could not be stored.
    Failed(EntryNumber, Failure),
    /// Everything that was stored is on stable storage, or that failed.
    Durable(std::io::Result<()>),
    /// Nothing more can be stored.
    Full(String),
    /// The peer broke a rule on a lane.
    Violation(Violation),
    /// A lane ended, in order or not, and all that came on it is dealt with.
    LaneEnded {
        lane: u16,
        /// Values and ends that came on it.
        taken: u64,
        outcome: std::io::Result<()>,
    },
}
