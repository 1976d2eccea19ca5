//! One client at the receiver, from its first byte to the file's name, on a thread of its own.

use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_endpoint::Observed;
use packhorse_proto::entry::Metadata;
use packhorse_proto::path::RelativePath;
use packhorse_tree::{Existing, PlaceError, Placed, Temporary};

use super::error::ClassicError;
use super::event::{ClassicFile, metadata_of_now};
use super::hall::Hall;
use super::header::{Check, Header, HeaderReader, Md5Sum};

/// Bytes that are read at once while the header is not whole. What follows it goes on as content.
const HEADER_READ: usize = 4 << 10;

/// A client that was let in.
pub(super) struct Client {
    /// Shared with the hall, which cuts it when everything ends.
    pub(super) stream: Arc<Observed<TcpStream>>,
    pub(super) peer: SocketAddr,
    /// What was read of it already.
    pub(super) early: Vec<u8>,
}

/// What became of a client.
pub(crate) enum Outcome {
    /// It went, or was silent, without having said anything.
    Stranger(String),
    /// Its file has its name.
    Stored(ClassicFile, Metadata),
    /// The file that was there was kept.
    Kept(RelativePath),
    /// Nothing was stored.
    Failed(Option<RelativePath>, ClassicError),
}

impl Client {
    /// Receives the file. Blocks until that is over.
    pub(super) fn serve(self, hall: &Hall) -> Outcome {
        let outcome = self.receive(hall);
        if matches!(outcome, Outcome::Failed(..) | Outcome::Kept(_)) {
            // No answer travels back in these formats. A reset is the one way to let a client notice
            // that its file was not taken, where it looks for one.
            let _ = rustix::net::sockopt::set_socket_linger(&**self.stream, Some(Duration::ZERO));
        }
        outcome
    }

    fn receive(&self, hall: &Hall) -> Outcome {
        let mut reader = HeaderReader::default();
        let (header, early) = match self.read_header(&mut reader, hall) {
            Ok(read) => read,
            Err(error) if reader.is_untouched() => return Outcome::Stranger(stranger(&error)),
            Err(error) => return Outcome::Failed(None, error),
        };
        let path = header.name.as_path().clone();
        if hall.existing == Existing::Keep && hall.destination.holds(path.name()) {
            return Outcome::Kept(path);
        }
        hall.tally.begin(&path, header.size);
        let mut received = 0;
        let stored = self.store(&header, &early, &mut received, hall);
        hall.tally.finish(header.size.saturating_sub(received));
        match stored {
            Ok(Some((md5, metadata))) => {
                let file = ClassicFile {
                    peer: self.peer,
                    format: header.format(),
                    path,
                    size: header.size,
                    md5,
                };
                Outcome::Stored(file, metadata)
            }
            Ok(None) => Outcome::Kept(path),
            Err(error) => Outcome::Failed(Some(path), error),
        }
    }

    /// The header, and the content that came with it.
    fn read_header(
        &self,
        reader: &mut HeaderReader,
        hall: &Hall,
    ) -> Result<(Header, Vec<u8>), ClassicError> {
        let limits = &hall.limits;
        let accepted = Instant::now();
        let mut bytes = self.early.clone();
        loop {
            let mut rest = &bytes[..];
            if let Some(header) = reader.handle_bytes(&mut rest)? {
                if header.size > limits.file_size {
                    return Err(super::HeaderError::FileSize(header.size).into());
                }
                return Ok((header, rest.to_vec()));
            }
            let patience = if reader.is_untouched() {
                limits.first_byte.saturating_sub(accepted.elapsed())
            } else {
                let left = limits.header.saturating_sub(accepted.elapsed());
                left.min(limits.silence)
            };
            bytes.resize(HEADER_READ, 0);
            let read = match self.read(&mut bytes, patience) {
                Ok(0) if reader.is_untouched() => return Err(closed()),
                Ok(0) => return Err(ClassicError::HalfHeader),
                Ok(read) => read,
                Err(ClassicError::Silent(_)) if accepted.elapsed() >= limits.header => {
                    return Err(ClassicError::SlowHeader(limits.header));
                }
                Err(ClassicError::Silent(_)) if reader.is_untouched() => {
                    return Err(ClassicError::Silent(limits.first_byte));
                }
                Err(error) => return Err(error),
            };
            bytes.truncate(read);
        }
    }

    /// Receives the content and gives the file its name; `None` where an existing one was kept.
    fn store(
        &self,
        header: &Header,
        early: &[u8],
        received: &mut u64,
        hall: &Hall,
    ) -> Result<Option<(Option<Md5Sum>, Metadata)>, ClassicError> {
        let name = header.name.to_string();
        let cannot = |error: io::Error| ClassicError::Store {
            name: name.clone(),
            error: error.to_string(),
        };
        // Nothing is reserved by what the header says: a client could fill the disk with one line.
        let file = hall.destination.create_file(metadata_of_now().mode);
        let file = file.map_err(cannot)?;
        let actual = self.receive_content(header, early, &file, received, hall)?;
        if let (Check::Md5 { sum, .. }, Some(actual)) = (&header.check, actual)
            && *sum != actual
        {
            let said = *sum;
            return Err(ClassicError::WrongMd5 { name, said, actual });
        }
        let metadata = metadata_of_now();
        match file.commit(header.name.as_path().name(), metadata, hall.existing) {
            Ok(Placed::Stored) => Ok(Some((actual, metadata))),
            Ok(Placed::Kept) => Ok(None),
            Err(error) => Err(ClassicError::Store {
                name,
                error: reason(&error),
            }),
        }
    }

    /// Writes exactly as many bytes as the header says, and sees that no more come. Gives their MD5 where
    /// the format has it.
    fn receive_content(
        &self,
        header: &Header,
        early: &[u8],
        file: &Temporary,
        received: &mut u64,
        hall: &Hall,
    ) -> Result<Option<Md5Sum>, ClassicError> {
        let size = header.size;
        let name = || header.name.to_string();
        let cannot = |error: io::Error| ClassicError::Store {
            name: name(),
            error: error.to_string(),
        };
        if early.len() as u64 > size {
            return Err(ClassicError::Long { name: name(), size });
        }
        self.set_patience(hall.limits.silence)?;
        let mut hasher = hall.hasher(header);
        let mut buffer = hasher.buffer();
        buffer[..early.len()].copy_from_slice(early);
        let mut filled = early.len();
        hall.tally.add(filled);
        let mut written = 0;
        while written < size {
            let left = usize::try_from(size - written).unwrap_or(usize::MAX);
            let wanted = left.min(buffer.len());
            while filled < wanted {
                let read = self.read_on(&mut buffer[filled..wanted], hall.limits.silence)?;
                if read == 0 {
                    let received = *received + filled as u64;
                    let name = name();
                    return Err(ClassicError::Short {
                        name,
                        size,
                        received,
                    });
                }
                hall.tally.add(read);
                filled += read;
            }
            file.turn()
                .write_at(&buffer[..filled], written)
                .map_err(cannot)?;
            written += filled as u64;
            *received = written;
            buffer = hasher.take(buffer, filled).map_err(cannot)?;
            filled = 0;
        }
        self.see_the_end(hall)
            .map_err(|()| ClassicError::Long { name: name(), size })?;
        hasher.finish().map_err(cannot)
    }

    /// Waits for the client to close, which is the end of the content. One that waits for this side to
    /// close first has sent everything that it said, and is not kept waiting for long.
    fn see_the_end(&self, hall: &Hall) -> Result<(), ()> {
        match self.read(&mut [0], hall.limits.end) {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => Err(()),
        }
    }

    fn read(&self, buffer: &mut [u8], patience: Duration) -> Result<usize, ClassicError> {
        self.set_patience(patience)?;
        self.read_on(buffer, patience)
    }

    /// Reads with the patience that was set before.
    fn read_on(&self, buffer: &mut [u8], patience: Duration) -> Result<usize, ClassicError> {
        loop {
            match (&*self.stream).read(buffer) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(ClassicError::Silent(patience)),
                Err(error) => return Err(ClassicError::Lost(error)),
            }
        }
    }

    fn set_patience(&self, patience: Duration) -> Result<(), ClassicError> {
        // Zero would mean for ever (`set_read_timeout` refuses it).
        let patience = patience.max(Duration::from_millis(1));
        let set = self.stream.set_read_timeout(Some(patience));
        set.map_err(ClassicError::Lost)
    }
}

/// `SO_RCVTIMEO` answers EAGAIN (socket(7)).
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn closed() -> ClassicError {
    ClassicError::Lost(io::ErrorKind::UnexpectedEof.into())
}

fn stranger(error: &ClassicError) -> String {
    match error {
        ClassicError::Silent(time) => format!("it said nothing for {} s", time.as_secs_f64()),
        ClassicError::Lost(_) => "it went without a word".to_owned(),
        error => error.to_string(),
    }
}

/// Why a name could not be taken; the name itself is told by whoever asks.
fn reason(error: &PlaceError) -> String {
    match error {
        PlaceError::Obstructed { by, .. } => format!("{by} is in the way"),
        PlaceError::Io { error, .. } => error.to_string(),
    }
}
