//! Files that were listed to a receiver that has something of an earlier session, until it has said what it has of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use packhorse_proto::entry::EntryNumber;

use super::outbox::FileJob;

/// Files that wait at most: as many as a window holds.
const MAX_FILES: usize = 4096;

/// Directories that they keep open at most.
const MAX_DIRECTORIES: usize = 256;

/// Files that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    jobs: BTreeMap<EntryNumber, FileJob>,
    /// How many of them are in each directory, told apart by where it is in memory.
    directories: HashMap<usize, usize>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether one more may wait.
    pub(super) fn has_room(&self) -> bool {
        self.jobs.len() < MAX_FILES && self.directories.len() < MAX_DIRECTORIES
    }

    pub(super) fn add(&mut self, job: FileJob) {
        *self.directories.entry(directory_of(&job)).or_default() += 1;
        self.jobs.insert(job.number, job);
    }

    pub(super) fn take(&mut self, number: EntryNumber) -> Option<FileJob> {
        let job = self.jobs.remove(&number)?;
        let directory = directory_of(&job);
        if let Some(count) = self.directories.get_mut(&directory) {
            *count -= 1;
            if *count == 0 {
                self.directories.remove(&directory);
            }
        }
        Some(job)
    }

    /// Those of so many numbers from the first on.
    pub(super) fn take_run(&mut self, first: EntryNumber, count: u64) -> Vec<FileJob> {
        let numbers = self.jobs.range(first..first.saturating_add(count));
        let numbers: Vec<EntryNumber> = numbers.map(|(&number, _)| number).collect();
        let taken = numbers.into_iter().filter_map(|number| self.take(number));
        taken.collect()
    }
}

fn directory_of(job: &FileJob) -> usize {
    Arc::as_ptr(job.at.parent()).addr()
}
