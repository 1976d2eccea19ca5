//! Where the tree of a session goes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use packhorse_proto::escape::Escaped;
use packhorse_proto::message::Assurance;
use packhorse_proto::path::{PathError, RelativePath};
use packhorse_tree::{Directory, Existing, IS_OWN, PlaceError, is_own};

use super::reception::Reception;
use crate::error::Error;

/// What a session is served with.
pub(crate) struct Setting {
    pub(crate) destination: Arc<Directory>,
    /// How that was named.
    pub(crate) directory: PathBuf,
    pub(crate) reception: Arc<Reception>,
    pub(crate) existing: Existing,
    /// What is seen to before the receipt, wanted or not.
    pub(crate) assurance: Assurance,
}

impl Setting {
    /// A session begins in the directory that has the destination's name.
    pub(crate) fn find_destination(&self) -> Result<(), Error> {
        match self.destination.is_at(&self.directory) {
            true => Ok(()),
            false => Err(Error::DestinationRemoved(self.shown())),
        }
    }

    /// Nothing can be stored in a directory that is not there any more, whatever the system says of each file.
    pub(crate) fn check_destination(&self) -> Result<(), Error> {
        match self.destination.is_removed() {
            true => Err(Error::DestinationRemoved(self.shown())),
            false => Ok(()),
        }
    }

    /// The destination, escaped for a terminal.
    pub(crate) fn shown(&self) -> String {
        Escaped(self.directory.as_os_str().as_encoded_bytes()).to_string()
    }

    /// Opens the directory that the sender wants to send into, and makes what is missing of it.
    pub(crate) fn open_subdirectory(&self, path: &RelativePath) -> Result<Directory, Error> {
        let root = self.shown();
        let failed = |error: PlaceError| Error::Destination {
            directory: format!("{root}/{path}"),
            error: io::Error::other(error.to_string()),
        };
        let mut directory: Option<Directory> = None;
        if path.components().any(|name| is_own(name.as_bytes())) {
            return Err(Error::Destination {
                directory: format!("{root}/{path}"),
                error: io::Error::other(IS_OWN),
            });
        }
        for name in path.components() {
            let parent = directory.as_ref().unwrap_or(&self.destination);
            directory = Some(parent.make_child(name).map_err(failed)?.0);
        }
        directory.ok_or_else(|| Error::name(path.as_bytes(), PathError::EmptyComponent))
    }
}
