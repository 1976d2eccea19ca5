//! Where a receipt file goes: it has no name before it is whole.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use packhorse_proto::path::RelativePath;
use packhorse_tree::{Directory, Existing, PlaceError, Temporary};

use crate::classic::metadata_of_now;

/// The name that receipts are to have, one after the other, in a directory that is open.
#[derive(Debug)]
pub struct ReceiptPlace {
    directory: Arc<Directory>,
    name: RelativePath,
}

impl ReceiptPlace {
    /// Opens the directory of `path`.
    ///
    /// # Errors
    /// It is missing or not allowed, or `path` ends in no name.
    pub fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let name = RelativePath::parse(name)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = Arc::new(Directory::open_root(directory)?);
        Ok(Self { directory, name })
    }

    /// Begins a file there. What has the name keeps it meanwhile.
    ///
    /// # Errors
    /// The directory cannot be written, or descriptors or inodes ran out.
    pub fn begin(&self) -> io::Result<ReceiptFile> {
        Ok(ReceiptFile {
            temporary: self.directory.create_file(metadata_of_now().mode)?,
            written: 0,
            name: self.name.clone(),
        })
    }
}

/// A receipt file that is being written. Dropped, or with its process, it is gone: it has no name, or where the
/// filesystem has no such files, one that nobody takes for a file of the user's and `partials clean` removes.
#[derive(Debug)]
pub struct ReceiptFile {
    temporary: Temporary,
    written: u64,
    name: RelativePath,
}

impl ReceiptFile {
    /// Gives it its name, in one step: what had that is replaced.
    ///
    /// # Errors
    /// A directory has the name, or the filesystem refuses.
    pub fn commit(self) -> io::Result<()> {
        let committed =
            self.temporary
                .commit(self.name.name(), metadata_of_now(), Existing::Replace);
        match committed {
            Ok(_) => Ok(()),
            Err(PlaceError::Io { error, .. }) => Err(error),
            Err(PlaceError::Obstructed { by, .. }) => {
                Err(io::Error::other(format!("{by} is in the way")))
            }
        }
    }
}

impl Write for ReceiptFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.turn().write_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
