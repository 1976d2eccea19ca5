//! The thread that makes directories, links and empty files, in the manifest's order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use packhorse_proto::entry::{Entry, EntryNumber, Kind, Metadata};
use packhorse_proto::extent::empty_hash;
use packhorse_proto::message::{Failure, FailureClass};
use packhorse_proto::record::Attempt;
use packhorse_proto::remains::Version;
use packhorse_proto::window::Content;
use packhorse_tree::{Directory, Existing, IS_OWN, Made, Placed, is_own};

use super::inbox::{Inbox, IncomingFile};
use super::keeper::Found;
use super::parent::{ListedDirectory, Parent};
use super::report::Report;
use super::trouble::{self, Trouble};
use crate::stages::{Meter, Stage};

/// What the control task wants placed.
#[derive(Debug)]
pub(crate) enum Order {
    /// The next entry.
    Entry { number: EntryNumber, entry: Entry },
    /// A file comes anew.
    Revised {
        number: EntryNumber,
        attempt: u8,
        size: Option<u64>,
        metadata: Metadata,
    },
    /// A file does not come.
    Withdrawn { number: EntryNumber },
    /// All entries are listed: directories wait for nothing more.
    End,
}

/// A directory on the way from the destination to where the manifest is.
enum Level {
    Made(Arc<ListedDirectory>),
    /// It could not be made: neither can anything in it.
    Failed,
}

struct Placer {
    destination: Arc<Directory>,
    inbox: Arc<Inbox>,
    /// The listed directories from the destination down to the one that the last entry was in.
    levels: Vec<Level>,
    /// Entries that lanes are not told of yet.
    placed: Vec<(EntryNumber, Option<Arc<IncomingFile>>)>,
}

/// Starts the thread, which ends when the answer's sender is dropped.
pub(crate) fn spawn(
    destination: Arc<Directory>,
    inbox: Arc<Inbox>,
) -> io::Result<(Sender<Vec<Order>>, JoinHandle<()>)> {
    let (sender, orders) = channel();
    let placer = Placer {
        destination,
        inbox,
        levels: Vec::new(),
        placed: Vec::new(),
    };
    let thread = thread::Builder::new()
        .name("place".to_owned())
        .spawn(move || placer.run(&orders))?;
    Ok((sender, thread))
}

impl Placer {
    fn run(mut self, orders: &Receiver<Vec<Order>>) {
        let inbox = Arc::clone(&self.inbox);
        let mut meter = Meter::new();
        for orders in orders {
            inbox.stages.time(Stage::Write, || {
                for order in orders {
                    self.carry_out(order);
                }
                self.announce();
            });
            inbox.stages.note_processor(&mut meter);
            inbox.reports.flush();
        }
    }

    /// Lanes may have the entries that were placed.
    fn announce(&mut self) {
        self.inbox.announce(self.placed.drain(..));
    }

    fn carry_out(&mut self, order: Order) {
        if !matches!(order, Order::Entry { .. }) {
            // It may be about one of them.
            self.announce();
        }
        match order {
            Order::Entry { number, entry } => self.place(number, entry),
            Order::Revised {
                number: entry,
                attempt,
                size,
                metadata,
            } => self.revise(Attempt { entry, attempt }, size, metadata),
            Order::Withdrawn { number } => self.inbox.remove(number),
            Order::End => self.levels.clear(),
        }
    }

    fn place(&mut self, number: EntryNumber, entry: Entry) {
        self.levels.truncate(entry.path.components().count() - 1);
        let parent = match self.levels.last() {
            None => Parent::Destination(Arc::clone(&self.destination)),
            Some(Level::Made(listed)) => Parent::Listed(Arc::clone(listed)),
            Some(Level::Failed) => {
                if matches!(entry.kind, Kind::Directory) {
                    self.levels.push(Level::Failed);
                }
                let failure = Failure::new(FailureClass::Parent, "its directory could not be made");
                self.inbox.report(Report::Failed(number, failure));
                return self.placed.push((number, None));
            }
        };
        if is_own(entry.path.name().as_bytes()) {
            if matches!(entry.kind, Kind::Directory) {
                self.levels.push(Level::Failed);
            }
            let failure = Failure::new(FailureClass::Denied, IS_OWN);
            self.inbox.report(Report::Failed(number, failure));
            return self.placed.push((number, None));
        }
        self.discard_remains(&entry, &parent);
        let outcome = match &entry.kind {
            Kind::Directory => self.place_directory(number, &entry, parent),
            Kind::Symlink { target } => {
                let modified = entry.metadata.modified;
                let placed = parent.directory().make_symlink(
                    entry.path.name(),
                    target,
                    modified,
                    self.inbox.existing,
                );
                placed
                    .map_err(|error| trouble::of_place(&entry.path, &error))
                    .map(|placed| {
                        self.settle(number, placed, None);
                        None
                    })
            }
            Kind::File { size } => Ok(self.expect_file(
                Attempt {
                    entry: number,
                    attempt: 0,
                },
                *size,
                &entry,
                parent,
            )),
        };
        let file = outcome.unwrap_or_else(|trouble| {
            self.inbox.report(trouble.into_report(number));
            None
        });
        self.placed.push((number, file.map(Arc::new)));
    }

    /// Removes what an earlier session left of a large file, where something else has its name now, or nothing is in it: nobody
    /// looks for that any more.
    fn discard_remains(&self, entry: &Entry, parent: &Parent) {
        let may_go_on = matches!(entry.kind, Kind::File { size: Some(size) } if size > 0);
        if self.inbox.keeper.resumes() && !may_go_on {
            // Where that cannot be done, it stays to be listed.
            let _ = parent.directory().discard_remains(entry.path.name());
        }
    }

    fn place_directory(
        &mut self,
        number: EntryNumber,
        entry: &Entry,
        parent: Parent,
    ) -> Result<Option<IncomingFile>, Trouble> {
        match parent.directory().make_child(entry.path.name()) {
            Ok((directory, made)) => {
                let directory = Arc::new(directory);
                if made == Made::Existing {
                    directory.open_to_owner();
                    self.inbox.syncer.note_directory(&directory);
                }
                let listed = ListedDirectory::new(directory, entry, parent, &self.inbox.reports);
                self.inbox.report(Report::DirectoryMade(number));
                self.levels.push(Level::Made(Arc::new(listed)));
                Ok(None)
            }
            Err(error) => {
                self.levels.push(Level::Failed);
                Err(trouble::of_place(&entry.path, &error))
            }
        }
    }

    fn settle(&self, number: EntryNumber, placed: Placed, content: Option<Content>) {
        self.inbox.report(match placed {
            Placed::Stored => Report::Stored(number, content),
            Placed::Kept => Report::Kept(number),
        });
    }

    /// Expects a file's content, or places it where there is none to expect.
    fn expect_file(
        &self,
        of: Attempt,
        size: Option<u64>,
        entry: &Entry,
        parent: Parent,
    ) -> Option<IncomingFile> {
        let found = match size {
            Some(size) if size > 0 && self.inbox.keeper.resumes() => {
                let version = Version {
                    size,
                    metadata: entry.metadata,
                };
                self.find(entry, &parent, version)
            }
            _ => None,
        };
        if let Some((Found::Whole(hash), size)) = found {
            self.inbox.bytes.fetch_add(size, Ordering::Relaxed);
            let content = Content { size, hash };
            self.inbox.report(Report::Held(of.entry, content));
            return None;
        }
        if let Some((Found::Refused(error), _)) = found {
            let trouble = trouble::of_place(&entry.path, &error);
            self.inbox.report(trouble.into_report(of.entry));
            return None;
        }
        // What was stored and a power cut has damaged is nothing to be kept.
        let damaged = matches!(found, Some((Found::Damaged, _)));
        let existing = match damaged {
            true => Existing::Replace,
            false => self.inbox.existing,
        };
        if existing == Existing::Keep && parent.directory().holds(entry.path.name()) {
            self.inbox.report(Report::Kept(of.entry));
            return None;
        }
        let path = entry.path.clone();
        let file = IncomingFile::new(of, path, parent, (size, entry.metadata), existing);
        match found {
            Some((Found::Part(part), _)) => {
                let (temporary, tree) = *part;
                let told = match tree.covered() {
                    0 => Report::Missing(of.entry),
                    _ => Report::Partial(of.entry, tree.clone()),
                };
                self.inbox.resume(&file, temporary, tree);
                self.inbox.report(told);
            }
            Some(_) => self.inbox.report(Report::Missing(of.entry)),
            None => {}
        }
        if size != Some(0) {
            return Some(file);
        }
        self.place_empty(&file);
        None
    }

    /// What is there of a file, from an earlier session, and the file's size.
    fn find(&self, entry: &Entry, parent: &Parent, version: Version) -> Option<(Found, u64)> {
        let inbox = &self.inbox;
        let found = if inbox.has_room_for_remains() {
            let directory = parent.directory();
            let how = (inbox.existing, inbox.syncer.assurance());
            inbox.keeper.find(&entry.path, directory, version, how)
        } else {
            Found::Nothing
        };
        Some((found, version.size))
    }

    fn place_empty(&self, file: &IncomingFile) {
        match file.store_empty() {
            Ok(placed) => {
                let content = Content {
                    size: 0,
                    hash: empty_hash(),
                };
                self.settle(file.number, placed, Some(content));
            }
            Err(trouble) => self.inbox.report(trouble.into_report(file.number)),
        }
    }

    fn revise(&self, of: Attempt, size: Option<u64>, metadata: Metadata) {
        // A file that is gone has its outcome, which the control task knows of or will.
        let Some(before) = self.inbox.find(of.entry) else {
            return;
        };
        let (path, parent) = (before.path.clone(), before.parent.clone());
        let existing = before.existing;
        drop(before);
        let file = IncomingFile::new(of, path, parent, (size, metadata), existing);
        if size == Some(0) {
            self.inbox.remove(of.entry);
            self.place_empty(&file);
        } else {
            self.inbox.replace(of.entry, file);
        }
    }
}
