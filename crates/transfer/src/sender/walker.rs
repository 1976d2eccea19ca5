//! The walk of a sender's sources, on a thread of its own, ahead of the wire.

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use packhorse_proto::entry::{Entry, Kind, Metadata, Mode, Timestamp};
use packhorse_proto::message::SourceId;
use packhorse_proto::path::RelativePath;
use packhorse_tree::{FileAt, Found, IS_OWN, Walk, WalkError, WalkSource, is_own};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::error::Error;
use crate::handshake::host_name;
use crate::options::Source;

/// Finds in one hand-over at most, and how many hand-overs may wait.
const BATCH: usize = 64;
const BATCHES: usize = 4;

/// How long a batch may wait to become full: a slow disk must not keep back what it gave.
const BATCH_AGE: Duration = Duration::from_millis(10);

/// One thing that a walk came by.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    /// Where its content is, where it has any.
    pub(crate) content: Option<Origin>,
}

/// Where content comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    File(FileAt),
    Stdin,
}

/// What the walk hands over: finds, and what could not be sent.
pub(crate) type Batch = Vec<Result<Item, WalkError>>;

/// Sources that are there and go together.
pub(crate) enum Sources {
    Tree(Box<Walk>),
    Stdin(Entry),
}

/// Looks at the sources before anything else is done.
pub(crate) fn open(sources: &[Source]) -> Result<Sources, Error> {
    if let [Source::Stdin { name }] = sources {
        return Ok(Sources::Stdin(stdin_entry(name)));
    }
    let mut walked = Vec::new();
    for source in sources {
        match source {
            Source::Path(path) => walked.push(WalkSource::new(path)),
            Source::Renamed { path, name } => {
                walked.push(WalkSource {
                    path: path.clone(),
                    name: Some(name.clone()),
                });
            }
            Source::Stdin { .. } => {
                return Err(Error::Storage(
                    "standard input has to be the only source".to_owned(),
                ));
            }
        }
    }
    Ok(Sources::Tree(Box::new(Walk::new(walked)?)))
}

fn stdin_entry(name: &RelativePath) -> Entry {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let modified = Timestamp::new(seconds, now.subsec_nanos()).or(Timestamp::new(seconds, 0));
    let metadata = Metadata {
        // As a shell's redirection makes a file under the usual umask.
        mode: Mode::from_st_mode(0o644),
        modified: modified.unwrap_or_else(|| unreachable!("zero nanoseconds are always good")),
        change: None,
    };
    Entry {
        path: name.clone(),
        kind: Kind::File { size: None },
        metadata,
    }
}

impl Iterator for Sources {
    type Item = Result<Item, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Tree(walk) => walk.next().map(|found| found.map(Item::from)),
            Self::Stdin(entry) => {
                let item = Item {
                    entry: entry.clone(),
                    content: Some(Origin::Stdin),
                };
                // The one item was given: what is left is a walk over nothing.
                *self = Self::Tree(Box::new(Walk::new(Vec::new()).ok()?));
                Some(Ok(item))
            }
        }
    }
}

impl From<Found> for Item {
    fn from(found: Found) -> Self {
        let content = found
            .file
            .filter(|_| packhorse_proto::sender::has_content(&found.entry));
        Self {
            entry: found.entry,
            content: content.map(Origin::File),
        }
    }
}

/// Starts the walk.
pub(crate) fn spawn(sources: Sources) -> io::Result<Receiver<Batch>> {
    let (sender, receiver) = mpsc::channel(BATCHES);
    thread::Builder::new()
        .name("walk".to_owned())
        .spawn(move || run(sources, &sender))?;
    Ok(receiver)
}

/// Hands over the first find at once, then more and more together.
fn run(sources: Sources, batches: &Sender<Batch>) {
    let mut size = 1;
    let mut batch = Vec::with_capacity(size);
    let mut started = Instant::now();
    for found in sources {
        batch.push(found);
        if batch.len() >= size || started.elapsed() >= BATCH_AGE {
            size = (2 * size).min(BATCH);
            let full = std::mem::replace(&mut batch, Vec::with_capacity(size));
            if batches.blocking_send(full).is_err() {
                return;
            }
            started = Instant::now();
        }
    }
    let _ = batches.blocking_send(batch);
}

/// The same for the same sources again, on the same machine.
pub(super) fn source_id(sources: &[Source]) -> SourceId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(host_name().as_bytes());
    for source in sources {
        let (path, name) = match source {
            Source::Path(path) => (Some(path), None),
            Source::Renamed { path, name } => (Some(path), Some(name)),
            Source::Stdin { name } => (None, Some(name)),
        };
        for bytes in [
            path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
                .map(|path| path.into_os_string().into_encoded_bytes()),
            name.map(|name| name.as_bytes().to_vec()),
        ] {
            let bytes = bytes.unwrap_or_default();
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(&bytes);
        }
    }
    let mut id = SourceId::default();
    let length = id.len();
    id.copy_from_slice(&hasher.finalize().as_bytes()[..length]);
    id
}

/// Lists what [`send`](crate::send) would send, in order, without connecting to anything.
///
/// `found` is given each entry, or a line about something that could not be sent, or that no receiver of this program stores.
///
/// # Errors
/// A source is missing, or two clash.
pub fn list(sources: &[Source], found: &mut dyn FnMut(Result<&Entry, &str>)) -> Result<(), Error> {
    for item in open(sources)? {
        match item {
            Ok(item) => {
                found(Ok(&item.entry));
                let path = &item.entry.path;
                if is_own(path.name().as_bytes()) {
                    found(Err(&format!("{path}: {IS_OWN}")));
                }
            }
            Err(error) => found(Err(&error.to_string())),
        }
    }
    Ok(())
}
