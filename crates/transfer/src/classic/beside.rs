//! MD5 on another core, while the next bytes are read and written.
//!
//! MD5 takes one core some 1.8 seconds for a GiB, and reading from a socket and writing to the page cache
//! less than half of that: done one after the other, a receiver would be half as slow again as `md5sum`.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::sync::OwnedSemaphorePermit;

use super::header::Md5Sum;
use super::md5::Md5;

/// Bytes of the one buffer of a client that does everything on its own thread: it stays in the L2 cache
/// between the socket, the hash and the file.
const BUFFER: usize = 128 << 10;

/// Bytes of each buffer that goes to another core, which has to fetch it anyway; fewer hand-offs win.
const BESIDE_BUFFER: usize = 256 << 10;

/// Buffers on the way between the two threads.
const BUFFERS: usize = 4;

/// What becomes of the content besides being written.
pub(super) enum Hasher {
    /// Nothing.
    Nothing,
    /// It is hashed on the client's own thread.
    Here(Md5),
    /// It is hashed on another thread.
    Beside(Beside),
}

/// The thread that hashes, and the buffers that go to it and come back.
pub(super) struct Beside {
    full: SyncSender<(Vec<u8>, usize)>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Md5>,
    _place: OwnedSemaphorePermit,
}

impl Hasher {
    /// Hashes on another thread, where there is one to be had.
    pub(super) fn beside(place: OwnedSemaphorePermit) -> Self {
        let (full, to_hash) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
        let (hashed, empty) = channel();
        for _ in 1..BUFFERS {
            // The other end is in hand.
            let _ = hashed.send(vec![0; BESIDE_BUFFER]);
        }
        let hash = move || {
            let mut md5 = Md5::new();
            for (buffer, filled) in to_hash {
                md5.update(&buffer[..filled]);
                // The client is gone only when nothing is wanted any more.
                let _ = hashed.send(buffer);
            }
            md5
        };
        match thread::Builder::new().name("md5".to_owned()).spawn(hash) {
            Ok(thread) => Self::Beside(Beside {
                full,
                empty,
                thread,
                _place: place,
            }),
            Err(_) => Self::Here(Md5::new()),
        }
    }

    /// The first buffer to fill.
    pub(super) fn buffer(&self) -> Vec<u8> {
        match self {
            Self::Nothing | Self::Here(_) => vec![0; BUFFER],
            Self::Beside(_) => vec![0; BESIDE_BUFFER],
        }
    }

    /// Takes a buffer with `filled` bytes of content, and gives one to fill.
    ///
    /// # Errors
    /// The hashing thread is gone, which only a bug can do.
    pub(super) fn take(&mut self, buffer: Vec<u8>, filled: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Nothing => Ok(buffer),
            Self::Here(md5) => {
                md5.update(&buffer[..filled]);
                Ok(buffer)
            }
            Self::Beside(beside) => {
                beside.full.send((buffer, filled)).map_err(|_| gone())?;
                beside.empty.recv().map_err(|_| gone())
            }
        }
    }

    /// The MD5 of all that was taken, where it was wanted.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub(super) fn finish(self) -> io::Result<Option<Md5Sum>> {
        let md5 = match self {
            Self::Nothing => return Ok(None),
            Self::Here(md5) => md5,
            Self::Beside(beside) => {
                drop(beside.full);
                beside.thread.join().map_err(|_| gone())?
            }
        };
        Ok(Some(md5.finish()))
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that hashes is gone")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn hashed(mut hasher: Hasher, content: &[u8]) -> String {
        let mut buffer = hasher.buffer();
        for piece in content.chunks(7) {
            buffer[..piece.len()].copy_from_slice(piece);
            buffer = hasher.take(buffer, piece.len()).unwrap();
        }
        hasher.finish().unwrap().unwrap().to_string()
    }

    #[test]
    fn both_ways_give_the_md5() {
        // RFC 1321 §A.5.
        let text =
            b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        let expected = "57edf4a22be3c955ac49da2e2107b67a";
        assert_eq!(hashed(Hasher::Here(Md5::new()), text), expected);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        assert_eq!(hashed(Hasher::beside(place), text), expected);
    }
}
