//! The classic sender: reads a file once for its MD5 where the format wants it, connects, and sends it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use packhorse_endpoint::{CallObserver, Destination, Observed};
use packhorse_proto::escape::Escaped;
use tokio::time::{MissedTickBehavior, interval};

use super::error::ClassicError;
use super::event::{ClassicEvent, ClassicFile};
use super::header::{Check, Header, Md5Sum};
use super::md5::Md5;
use super::name::PlainName;
use super::progress::Tally;
use super::{ClassicLimits, Format};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, Observer, PROGRESS_EVERY};
use crate::sender::{connect, on_thread};

/// Bytes read and sent at once: they stay in the L2 cache meanwhile.
const BUFFER: usize = 128 << 10;

/// What to send to a classic receiver.
#[derive(Debug)]
pub struct ClassicSendOptions {
    /// The file. A link is followed.
    pub path: PathBuf,
    /// The name to store it under; `None`: its own.
    pub name: Option<PlainName>,
    /// The format.
    pub format: Format,
    /// The receiver.
    pub to: Destination,
    /// How long it may take.
    pub limits: ClassicLimits,
    /// Who is told of each write and read call on the transfer's sockets.
    pub calls: Option<Arc<dyn CallObserver>>,
}

/// Sends one file. That all of it was handed over is all that can be known: the receiver does not answer.
///
/// # Errors
/// What kept the file from being sent whole, or a receiver that cut the connection.
pub async fn send(
    options: ClassicSendOptions,
    mut observer: Observer,
    cancel: Cancel,
) -> Result<(), Error> {
    let source = Source::open(&options)?;
    let sending = Sending {
        abandoned: Abandoned::default(),
        tally: Tally::default(),
    };
    let sending = Arc::new(sending);
    let work = run(source, &options, Arc::clone(&sending), &mut observer);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = cancel.cancelled() => Err(Error::Interrupted),
    };
    if outcome.is_err() {
        // The thread that reads, or waits in a socket, has nothing to do any more.
        sending.abandoned.set();
    }
    outcome
}

/// What the sending thread shares with whoever waits for it.
struct Sending {
    abandoned: Abandoned,
    tally: Tally,
}

#[derive(Default)]
struct Abandoned {
    flag: AtomicBool,
    socket: std::sync::Mutex<Option<TcpStream>>,
}

impl Abandoned {
    fn set(&self) {
        self.flag.store(true, Ordering::Relaxed);
        if let Ok(Some(socket)) = self.socket.lock().map(|mut socket| socket.take()) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

async fn run(
    source: Source,
    options: &ClassicSendOptions,
    sending: Arc<Sending>,
    observer: &mut Observer,
) -> Result<(), Error> {
    let (source, check) = match options.format {
        Format::Size => (source, Check::Size),
        Format::Md5 => {
            observer(&Event::Classic(ClassicEvent::Hashing {
                path: source.name.as_path().clone(),
                size: source.size,
            }));
            hash(source, Arc::clone(&sending)).await?
        }
    };
    let md5 = match &check {
        Check::Size => None,
        Check::Md5 { sum, .. } => Some(*sum),
    };
    let header = Header {
        name: source.name.clone(),
        size: source.size,
        check,
    };
    let header = header.emit().map_err(ClassicError::Header)?;
    let (stream, peer) = connect(
        &options.to,
        options.limits.first_byte,
        options.calls.as_ref(),
    )
    .await
    .map_err(Error::early)?;
    observer(&Event::Connected {
        peer,
        name: String::new(),
        protection: options.format.protection(),
    });
    let file = ClassicFile {
        peer,
        format: options.format,
        path: source.name.as_path().clone(),
        size: source.size,
        md5,
    };
    let stream = stream.into_std().map_err(Error::Lost)?;
    let closed = hand_over(source, header, stream, options, sending, observer).await?;
    observer(&Event::Classic(ClassicEvent::Sent { file, closed }));
    Ok(())
}

/// Reads the file once, on a thread of its own.
async fn hash(source: Source, sending: Arc<Sending>) -> Result<(Source, Check), Error> {
    let hashed = on_thread("hash", move || {
        let mut source = source;
        let sum = source.hash(&sending.abandoned)?;
        let path = source.utf8_path.clone();
        Ok::<_, ClassicError>((source, Check::Md5 { sum, path }))
    })?;
    Ok(hashed.await.map_err(|_| thread_is_gone())??)
}

/// Sends header and content on a thread of its own, and tells how far it is. Gives whether the receiver
/// closed in order.
async fn hand_over(
    source: Source,
    header: Vec<u8>,
    stream: Observed<TcpStream>,
    options: &ClassicSendOptions,
    sending: Arc<Sending>,
    observer: &mut Observer,
) -> Result<bool, Error> {
    stream.set_nonblocking(false).map_err(Error::Lost)?;
    if let (Ok(mut socket), Ok(clone)) = (sending.abandoned.socket.lock(), stream.try_clone()) {
        *socket = Some(clone);
    }
    sending.tally.begin(source.name.as_path(), source.size);
    let (limits, shared) = (options.limits.clone(), Arc::clone(&sending));
    let mut sent = on_thread("classic", move || {
        let outcome = source.send(&header, &stream, &limits, &shared);
        // The other handle would keep the connection open.
        drop(
            shared
                .abandoned
                .socket
                .lock()
                .map(|mut socket| socket.take()),
        );
        outcome
    })?;
    let mut ticks = interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            outcome = &mut sent => return Ok(outcome.map_err(|_| thread_is_gone())??),
            _ = ticks.tick() => if let Some(progress) = sending.tally.progress() {
                observer(&Event::Progress(progress));
            },
        }
    }
}

fn thread_is_gone() -> Error {
    Error::Storage("a thread of this program is gone".to_owned())
}

/// The file to send.
struct Source {
    file: File,
    /// Escaped, for messages.
    shown: String,
    /// As it was named, for the header of the format that has it.
    utf8_path: String,
    name: PlainName,
    size: u64,
    stamp: Stamp,
    /// BLAKE3 of what the MD5 was taken of: it costs a tenth of a second MD5, and finds whatever changed.
    blake3: Option<blake3::Hash>,
}

/// What must not change while the file is read.
#[derive(PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Source {
    fn open(options: &ClassicSendOptions) -> Result<Self, ClassicError> {
        let path = &options.path;
        let shown = Escaped(path.as_os_str().as_encoded_bytes()).to_string();
        let failed = |error| ClassicError::Source {
            path: shown.clone(),
            error,
        };
        let file = open_regular(path).map_err(failed)?;
        let stamp = Stamp::of(&file).map_err(failed)?;
        let not_utf8 = || ClassicError::NotUtf8(shown.clone());
        let name = match &options.name {
            Some(name) => name.clone(),
            None => own_name(path, &shown)?,
        };
        let utf8_path = match options.format {
            Format::Size => String::new(),
            Format::Md5 => path.to_str().ok_or_else(not_utf8)?.to_owned(),
        };
        Ok(Self {
            file,
            utf8_path,
            name,
            size: stamp.size,
            stamp,
            blake3: None,
            shown,
        })
    }

    /// The MD5 of the whole file, which must not change meanwhile.
    fn hash(&mut self, abandoned: &Abandoned) -> Result<Md5Sum, ClassicError> {
        let (mut md5, mut blake3) = (Md5::new(), blake3::Hasher::new());
        self.read(abandoned, |piece, _| {
            md5.update(piece);
            blake3.update(piece);
            Ok(())
        })?;
        self.check_stamp()?;
        self.blake3 = Some(blake3.finalize());
        Ok(md5.finish())
    }

    /// Sends everything, and waits for the receiver to close. Gives whether it did.
    fn send(
        &self,
        header: &[u8],
        mut stream: &Observed<TcpStream>,
        limits: &ClassicLimits,
        sending: &Sending,
    ) -> Result<bool, ClassicError> {
        let cut = |error: io::Error, sent| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClassicError::NotReading(limits.silence)
            }
            _ => {
                let size = self.size;
                ClassicError::Cut { sent, size, error }
            }
        };
        let setting = stream.set_write_timeout(Some(limits.silence));
        setting.map_err(|error| cut(error, 0))?;
        stream.write_all(header).map_err(|error| cut(error, 0))?;
        let mut blake3 = self.blake3.map(|_| blake3::Hasher::new());
        let outcome = self.read(&sending.abandoned, |piece, end| {
            if let Some(blake3) = &mut blake3 {
                blake3.update(piece);
            }
            if end == self.size {
                self.check_stamp()?;
                self.check_content(blake3.as_ref())?;
            }
            let sent = sending.tally.bytes();
            stream.write_all(piece).map_err(|error| cut(error, sent))?;
            sending.tally.add(piece.len());
            Ok(())
        });
        if let Err(error) = outcome {
            // A receiver that knows no better takes an orderly end for the whole file.
            let _ =
                rustix::net::sockopt::set_socket_linger(&**stream, Some(std::time::Duration::ZERO));
            return Err(error);
        }
        wait_for_close(stream, limits).map_err(|error| cut(error, self.size))
    }

    /// Reads as many bytes as the file had when it was opened; `take` gets each piece and where it ends.
    fn read(
        &self,
        abandoned: &Abandoned,
        mut take: impl FnMut(&[u8], u64) -> Result<(), ClassicError>,
    ) -> Result<(), ClassicError> {
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        while at < self.size && !abandoned.is_set() {
            let left = usize::try_from(self.size - at).unwrap_or(usize::MAX);
            let wanted = left.min(BUFFER);
            let read = self.file.read_at(&mut buffer[..wanted], at);
            match read {
                Ok(0) => return Err(ClassicError::Changed(self.shown.clone())),
                Ok(read) => {
                    at += read as u64;
                    take(&buffer[..read], at)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        Ok(())
    }

    fn check_stamp(&self) -> Result<(), ClassicError> {
        let stamp = Stamp::of(&self.file).map_err(|error| self.unreadable(error))?;
        if stamp != self.stamp {
            return Err(ClassicError::Changed(self.shown.clone()));
        }
        Ok(())
    }

    /// Whether what is sent is what the MD5 was taken of.
    fn check_content(&self, sent: Option<&blake3::Hasher>) -> Result<(), ClassicError> {
        match (sent, self.blake3) {
            (Some(sent), Some(hashed)) if sent.finalize() != hashed => {
                Err(ClassicError::Changed(self.shown.clone()))
            }
            _ => Ok(()),
        }
    }

    fn unreadable(&self, error: io::Error) -> ClassicError {
        ClassicError::Source {
            path: self.shown.clone(),
            error,
        }
    }
}

/// Opens a regular file. A pipe does not block, and is refused: its size is not known.
fn open_regular(path: &Path) -> io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let flags = i32::try_from(nonblocking).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other(
            "it is a directory, and these formats carry one file",
        ));
    }
    if !metadata.is_file() {
        return Err(io::Error::other(
            "it is not a regular file, and its size must be known",
        ));
    }
    // Only advice: reading works as well without.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    Ok(file)
}

/// The last component of the path.
fn own_name(path: &Path, shown: &str) -> Result<PlainName, ClassicError> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let text = name
        .to_str()
        .ok_or_else(|| ClassicError::NotUtf8(shown.to_owned()))?;
    PlainName::parse(text).map_err(|error| ClassicError::Name {
        name: shown.to_owned(),
        error,
    })
}

/// Says that nothing more comes, and waits until the receiver closes its side. What it may say is not
/// looked at: these formats have no answers.
fn wait_for_close(mut stream: &Observed<TcpStream>, limits: &ClassicLimits) -> io::Result<bool> {
    stream.shutdown(Shutdown::Write)?;
    let until = std::time::Instant::now() + limits.silence;
    let mut unread = [0; 512];
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut unread) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(false),
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests;
