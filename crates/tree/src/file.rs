//! An open file of a storage, read and written whole pieces at a time.

use std::io;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::storage::Storage;

/// An open file, and the storage that it is on.
#[derive(Debug)]
pub(crate) struct File {
    descriptor: OwnedFd,
    storage: Arc<dyn Storage>,
}

impl File {
    pub(crate) fn new(descriptor: OwnedFd, storage: &Arc<dyn Storage>) -> Self {
        Self {
            descriptor,
            storage: Arc::clone(storage),
        }
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.storage.write_at(self.as_fd(), bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads until `buffer` is full or the file ends; answers how much that is.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            match self
                .storage
                .read_at(self.as_fd(), rest, offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    /// Another descriptor of the same open file.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        let descriptor = self.descriptor.try_clone()?;
        Ok(Self::new(descriptor, &self.storage))
    }

    /// Cuts it to this length.
    pub(crate) fn cut(&self, length: u64) -> io::Result<()> {
        Ok(self.storage.truncate(self.as_fd(), length)?)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let sync = || self.storage.sync_content(self.as_fd());
        Ok(rustix::io::retry_on_intr(sync)?)
    }

    /// Reserves room or gives it back. Waits out interruptions.
    pub(crate) fn allocate(
        &self,
        mode: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> rustix::io::Result<()> {
        rustix::io::retry_on_intr(|| self.storage.allocate(self.as_fd(), mode, offset, length))
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
