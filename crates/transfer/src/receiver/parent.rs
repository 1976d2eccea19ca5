//! Directories that things are on their way into.

use std::sync::Arc;

use packhorse_proto::entry::{Entry, Metadata};
use packhorse_proto::message::{Failure, FailureClass};
use packhorse_proto::path::RelativePath;
use packhorse_tree::Directory;

use super::report::{Report, Reports};

/// A directory that something is placed in.
#[derive(Debug, Clone)]
pub(crate) enum Parent {
    /// The destination itself, whose own metadata is not touched.
    Destination(Arc<Directory>),
    /// A directory of the manifest.
    Listed(Arc<ListedDirectory>),
}

impl Parent {
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        match self {
            Self::Destination(directory) => directory,
            Self::Listed(listed) => &listed.directory,
        }
    }
}

/// A directory of the manifest, whose metadata is set when everything in it is done.
///
/// Everything that is on its way into it holds a reference, and so do directories beneath it: when the
/// last is gone, nothing will touch its modification time any more.
#[derive(Debug)]
pub(crate) struct ListedDirectory {
    directory: Arc<Directory>,
    path: RelativePath,
    metadata: Metadata,
    reports: Arc<Reports>,
    /// Its own parent, kept so that it is finished later.
    _parent: Parent,
}

impl ListedDirectory {
    pub(crate) fn new(
        directory: Arc<Directory>,
        entry: &Entry,
        parent: Parent,
        reports: &Arc<Reports>,
    ) -> Self {
        Self {
            directory,
            path: entry.path.clone(),
            metadata: entry.metadata,
            reports: Arc::clone(reports),
            _parent: parent,
        }
    }
}

impl Drop for ListedDirectory {
    fn drop(&mut self) {
        let report = match self.directory.set_metadata(self.metadata) {
            Ok(()) => Report::DirectoryDone,
            Err(error) => {
                let text = format!("its permissions or times could not be set: {error}");
                let failure = Failure::new(FailureClass::Denied, &text);
                Report::DirectoryFlawed(self.path.clone(), failure)
            }
        };
        self.reports.tell(report);
    }
}
