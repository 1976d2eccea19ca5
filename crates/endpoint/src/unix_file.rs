//! The file that a bound Unix socket leaves in the filesystem.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::address::{Address, UnixName};
use crate::socket::{Socket, Type};

/// A socket's file, removed when this is dropped, unless another socket has taken its place.
#[derive(Debug)]
pub(crate) struct UnixFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl UnixFile {
    /// Binds the socket to the name, and lets the file go with the socket. The file of a socket that nobody
    /// holds any more (its program was killed) gives way; a live one does not, nor does anything that is no
    /// socket.
    pub(crate) fn bind(socket: &mut Socket, name: &UnixName) -> io::Result<()> {
        let address = Address::Unix(name.clone());
        let bound = socket.bind(&address);
        let Some(path) = name.path() else {
            return bound;
        };
        match bound {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, socket.kind()) =>
            {
                fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            result => result?,
        }
        let metadata = fs::symlink_metadata(path)?;
        socket.own(Self {
            // The working directory may be another one by the time it is removed.
            path: std::path::absolute(path)?,
            identity: (metadata.dev(), metadata.ino()),
        });
        Ok(())
    }
}

fn is_stale(path: &Path, kind: Type) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if !is_socket {
        return false;
    }
    let Ok(address) = UnixName::parse(path.as_os_str().as_encoded_bytes()) else {
        return false;
    };
    let Ok(probe) = Socket::new(crate::socket::Family::Unix, kind, 0) else {
        return false;
    };
    let refused = probe.connect(&Address::Unix(address));
    refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).map(|m| (m.dev(), m.ino()));
        if now.is_ok_and(|identity| identity == self.identity) {
            // Nothing is lost when it stays: the next to bind finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}
