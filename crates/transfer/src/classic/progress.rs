//! How far the files are that cross at this moment: all clients together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use packhorse_proto::path::RelativePath;

use crate::event::Progress;

/// Counts for one stretch of being busy: it starts anew when a file begins while none is under way.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    bytes: AtomicU64,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    since: Option<Instant>,
    known: u64,
    done: u64,
    bytes_known: u64,
    current: Option<RelativePath>,
}

impl Tally {
    /// A file of `size` bytes begins.
    pub(super) fn begin(&self, path: &RelativePath, size: u64) {
        let mut files = self.files();
        if files.known == files.done {
            *files = Files::default();
            self.bytes.store(0, Ordering::Relaxed);
        }
        files.since.get_or_insert_with(Instant::now);
        files.known += 1;
        // A size that a peer made up must not wrap the sum.
        files.bytes_known = files.bytes_known.saturating_add(size);
        files.current = Some(path.clone());
    }

    /// So many bytes of content more.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of content so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A file is over, whole or not; `missing` bytes of it will not come any more.
    pub(super) fn finish(&self, missing: u64) {
        let mut files = self.files();
        files.done += 1;
        files.bytes_known = files.bytes_known.saturating_sub(missing);
    }

    /// How far it is; `None` while nothing is under way.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let files = self.files();
        if files.known == files.done {
            return None;
        }
        let bytes = self.bytes();
        Some(Progress {
            bytes,
            bytes_known: files.bytes_known.max(bytes),
            files: files.done,
            files_known: files.known,
            walked: true,
            current: files.current.clone(),
            elapsed: files.since.map(|since| since.elapsed()).unwrap_or_default(),
        })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // Nothing panics while it holds the lock.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
