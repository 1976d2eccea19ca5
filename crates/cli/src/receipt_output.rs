//! `--receipt FILE`: written while entries arrive, and named at the end, so that a broken session leaves no half receipt.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use packhorse_transfer::Event;
use packhorse_transfer::receipt_file::{ReceiptFile, ReceiptPlace, ReceiptWriter};

use crate::faults::reach;
use crate::report::{Failure, shown};

/// The receipt file of one session after the other.
pub(crate) struct ReceiptOutput {
    path: PathBuf,
    place: ReceiptPlace,
    state: State,
}

enum State {
    /// Opened, so that a place that cannot be written shows before anything moves.
    Ready(ReceiptFile),
    Writing(Box<ReceiptWriter<BufWriter<ReceiptFile>>>),
    /// Named: the last session is over.
    Written,
    Failed(io::Error),
}

impl ReceiptOutput {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let refused = |why| {
            let what = format!("'{}' {why}", shown(path));
            Failure::usage(what, "name another file for the receipt")
        };
        let mut real = path.to_owned();
        if path.is_symlink() {
            // What it leads to is replaced, and not the link, which may be somebody else's way to it (/dev/stdout).
            real = path
                .canonicalize()
                .map_err(|_| refused("is a link to nothing"))?;
        }
        if real.exists() && !real.is_file() {
            return Err(refused("exists and is not a regular file"));
        }
        let begun = ReceiptPlace::open(&real).and_then(|place| Ok((place.begin()?, place)));
        let (file, place) = begun.map_err(|error| {
            Failure::file("write the receipt to", path, &error)
                .means("nothing was sent or received")
                .hint("name a file for it in a directory that exists, that has room, and that you may write to")
        })?;
        Ok(Self {
            path: path.to_owned(),
            place,
            state: State::Ready(file),
        })
    }

    /// Takes what belongs into the receipt out of the stream of events.
    pub(crate) fn event(&mut self, event: &Event) {
        let result = match event {
            // A session that broke leaves nothing to the next.
            Event::Connected { .. } => self.begin(),
            Event::Stored { entry, hash, .. } => match &mut self.state {
                State::Writing(writer) => writer.entry(entry, hash.as_ref()),
                _ => Ok(()),
            },
            Event::Done(receipt) => self.finish(receipt),
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
    }

    /// What kept the receipt from being written.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let State::Failed(error) = &self.state else {
            return None;
        };
        Some(
            Failure::file("write the receipt to", &self.path, error)
                .means(
                    "everything else is done; there is no receipt of it, and a file that had the name is as it was",
                )
                .hint(
                    "take the other side's, where that was started with --receipt: both name the same entries and root",
                ),
        )
    }

    fn begin(&mut self) -> io::Result<()> {
        let file = match std::mem::replace(&mut self.state, State::Written) {
            State::Ready(file) => file,
            // Once a receipt was lost, that is what has to be told in the end.
            State::Failed(error) => return Err(error),
            _ => self.place.begin()?,
        };
        let writer = ReceiptWriter::new(BufWriter::new(file))?;
        self.state = State::Writing(Box::new(writer));
        Ok(())
    }

    fn finish(&mut self, receipt: &packhorse_transfer::Receipt) -> io::Result<()> {
        let writer = match std::mem::replace(&mut self.state, State::Written) {
            State::Writing(writer) => writer,
            other => {
                self.state = other;
                return Ok(());
            }
        };
        let file = writer.finish(receipt)?.into_inner()?;
        reach("receipt.before");
        file.commit()?;
        reach("receipt.after");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use packhorse_transfer::{Assurance, Receipt, StageTimes};

    use super::*;

    fn connected() -> Event {
        Event::Connected {
            peer: "192.0.2.1:5".parse().unwrap(),
            name: String::new(),
            protection: String::new(),
        }
    }

    fn done() -> Event {
        Event::Done(Box::new(Receipt {
            files: 0,
            directories: 0,
            symlinks: 0,
            bytes: 0,
            kept: 0,
            failed: 0,
            root: [0; 32],
            elapsed: Duration::ZERO,
            resumed: 0,
            assurance: Assurance::default(),
            lanes: 3,
            network: None,
            sender: StageTimes::default(),
            receiver: StageTimes::default(),
        }))
    }

    #[test]
    fn a_receipt_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.json");
        let mut output = ReceiptOutput::open(&path).unwrap();
        output.event(&connected());
        assert!(!path.exists());
        output.event(&connected());
        output.event(&done());
        let text = fs::read(&path).unwrap();
        packhorse_transfer::receipt_file::read(&text[..], &mut |_, _| ()).unwrap();
        output.event(&connected());
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), text);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_shows_at_once() {
        assert!(ReceiptOutput::open(Path::new("/nonexistent/r.json")).is_err());
        assert!(ReceiptOutput::open(Path::new("/dev/null")).is_err());
    }
}
