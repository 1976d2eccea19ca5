//! What receivers that were ended left in a destination: listed, and removed where the source never comes back.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use packhorse_proto::entry::Timestamp;
use packhorse_proto::path::RelativePath;
use packhorse_tree::{
    Directory, Found, Left, Leftover, OwnFile, Removal, Sighting, SourceError, Walk, WalkError,
    WalkProblem, WalkSource,
};

/// One thing that a session left, or that one writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// Where the file lies by which it was found, beneath the destination: a journal, a roll, or a partial file
    /// without a journal.
    pub at: RelativePath,
    /// What it is.
    pub what: PartialKind,
    /// Bytes that all its files take on disk.
    pub disk: u64,
    /// When one of them was last written; of a link, when it was made.
    pub written: Timestamp,
    /// How long ago that was; `None` for what says that it was written in the future.
    pub age: Option<Duration>,
    /// What became of it.
    pub fate: PartialFate,
}

/// What a session left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartialKind {
    /// A part of a file.
    File {
        /// The path that the file is to have.
        path: RelativePath,
        /// Bytes that are there and verified.
        held: u64,
        /// Bytes that it is to have.
        size: u64,
    },
    /// A part of a file whose journal is damaged, or cut short: it does not tell which file.
    Unknown,
    /// A part of a file without a journal.
    Orphan,
    /// A symbolic link that has not got its name.
    Link,
    /// A roll: it names files that are complete.
    Roll {
        /// How many.
        files: u64,
        /// Whether that is all, or as much as was read.
        all: bool,
    },
}

/// What became of something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartialFate {
    /// It is there, and nobody writes it.
    Left,
    /// A living session writes it, or may: a link that is younger than a minute. It is not touched.
    InUse,
    /// It is removed.
    Removed,
    /// It was written too lately to be removed.
    Young,
}

/// Something that a listing or a cleaning comes across.
#[derive(Debug)]
pub enum PartialEvent {
    /// Something that a session left.
    Found(Partial),
    /// Something that could not be looked at or removed; the rest goes on.
    Failed {
        /// Where, escaped for a terminal.
        path: String,
        /// What is wrong there.
        problem: io::Error,
    },
    /// Something of such a name that this program did not make for this user: a directory, another user's file or link, or a
    /// file with several names. It is not touched.
    Foreign(RelativePath),
}

/// What a listing or a cleaning adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartialsSummary {
    /// Parts of files, those without a usable journal among them, and links without their names.
    pub parts: u64,
    /// Rolls.
    pub rolls: u64,
    /// Bytes that all of them take on disk.
    pub disk: u64,
    /// Those of them that a living session writes.
    pub in_use: u64,
    /// Of the parts, those that were removed.
    pub removed_parts: u64,
    /// Rolls that were removed.
    pub removed_rolls: u64,
    /// Bytes on disk that this gave.
    pub freed: u64,
    /// What has such a name and is not ours.
    pub foreign: u64,
    /// What could not be looked at or removed.
    pub failed: u64,
}

/// Why a destination could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum PartialsError {
    /// It cannot be opened.
    #[error(transparent)]
    Directory(#[from] io::Error),
    /// It cannot be walked.
    #[error(transparent)]
    Walk(#[from] SourceError),
}

/// Looks for what sessions left in the destination `dir`, and gives each thing to `report` as it is found. Nothing is
/// changed.
///
/// # Errors
/// `dir` cannot be looked into. What cannot be looked at beneath it is reported.
pub fn list_partials(
    dir: &Path,
    report: &mut dyn FnMut(PartialEvent),
) -> Result<PartialsSummary, PartialsError> {
    Search::over(dir, Purpose::List, report)
}

/// The same, and removes what nobody writes: all of it, or what was last written longer ago than `older_than`.
///
/// # Errors
/// As for [`list_partials`]; what cannot be removed is reported.
pub fn clean_partials(
    dir: &Path,
    older_than: Option<Duration>,
    report: &mut dyn FnMut(PartialEvent),
) -> Result<PartialsSummary, PartialsError> {
    Search::over(dir, Purpose::Clean(older_than), report)
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    List,
    Clean(Option<Duration>),
}

/// A walk over a destination.
struct Search<'a> {
    destination: Arc<Directory>,
    purpose: Purpose,
    now: SystemTime,
    summary: PartialsSummary,
    report: &'a mut dyn FnMut(PartialEvent),
}

impl<'a> Search<'a> {
    fn over(
        dir: &Path,
        purpose: Purpose,
        report: &'a mut dyn FnMut(PartialEvent),
    ) -> Result<PartialsSummary, PartialsError> {
        let destination = Arc::new(Directory::open_root(dir)?);
        // The empty last component asks for what the directory holds.
        let walk = Walk::new(vec![WalkSource::new(dir.join(""))])?;
        let mut search = Self {
            destination: Arc::clone(&destination),
            purpose,
            now: SystemTime::now(),
            summary: PartialsSummary::default(),
            report,
        };
        for found in walk {
            match found {
                Ok(found) => search.visit(found),
                Err(error) => search.unvisited(error),
            }
        }
        if let Purpose::Clean(_) = purpose
            && let Err(problem) = destination.remove_empty_place()
        {
            search.fail(".packhorse".to_owned(), problem);
        }
        Ok(search.summary)
    }

    fn visit(&mut self, found: Found) {
        let path = found.entry.path;
        let Some(own) = own_file(&path) else {
            return;
        };
        let taken = match (found.file, path.parent()) {
            (Some(file), _) => self.take(&path, &own, file.parent()),
            (None, None) => self.take(&path, &own, &Arc::clone(&self.destination)),
            (None, Some(parent)) => match self.destination.open_beneath(&parent) {
                Ok(parent) => self.take(&path, &own, &parent),
                Err(error) => Err(error),
            },
        };
        match taken {
            Ok(Some(partial)) => self.add(partial),
            Ok(None) => {}
            Err(problem) => self.fail(path.to_string(), problem),
        }
    }

    fn take(
        &mut self,
        path: &RelativePath,
        own: &OwnFile,
        parent: &Directory,
    ) -> io::Result<Option<Partial>> {
        let seen = match parent.look_at_own(own)? {
            Sighting::Leftover(seen) => seen,
            Sighting::Foreign => {
                self.foreign(path.clone());
                return Ok(None);
            }
            Sighting::Partner | Sighting::Gone => return Ok(None),
        };
        let age = since(self.now, seen.written);
        let fate = match self.purpose {
            _ if seen.in_use => PartialFate::InUse,
            Purpose::List => PartialFate::Left,
            Purpose::Clean(Some(least)) if age.is_none_or(|age| age <= least) => PartialFate::Young,
            Purpose::Clean(_) => match parent.remove_own(own, &seen)? {
                Removal::Removed => PartialFate::Removed,
                Removal::InUse => PartialFate::InUse,
                Removal::Gone => return Ok(None),
            },
        };
        Ok(Some(partial(path, seen, age, fate)))
    }

    fn add(&mut self, partial: Partial) {
        let summary = &mut self.summary;
        let removed = match partial.what {
            PartialKind::Roll { .. } => {
                summary.rolls += 1;
                &mut summary.removed_rolls
            }
            _ => {
                summary.parts += 1;
                &mut summary.removed_parts
            }
        };
        summary.disk = summary.disk.saturating_add(partial.disk);
        match partial.fate {
            PartialFate::Removed => {
                *removed += 1;
                summary.freed = summary.freed.saturating_add(partial.disk);
            }
            PartialFate::InUse => summary.in_use += 1,
            PartialFate::Left | PartialFate::Young => {}
        }
        (self.report)(PartialEvent::Found(partial));
    }

    fn unvisited(&mut self, error: WalkError) {
        let problem = match error.problem {
            // Living sessions give files their names, and remove what they do not need any more.
            WalkProblem::Io(problem) if problem.kind() == io::ErrorKind::NotFound => return,
            // No sender needs to read what is there.
            WalkProblem::Unsupported(_) | WalkProblem::Sizeless => return,
            WalkProblem::Io(problem) => problem,
            other => io::Error::other(other),
        };
        self.fail(error.path, problem);
    }

    fn foreign(&mut self, path: RelativePath) {
        self.summary.foreign += 1;
        (self.report)(PartialEvent::Foreign(path));
    }

    fn fail(&mut self, path: String, problem: io::Error) {
        self.summary.failed += 1;
        (self.report)(PartialEvent::Failed { path, problem });
    }
}

/// What kind of file of this program's own a path names. Rolls lie directly in their directory, which lies directly in the
/// destination; everything else lies beside the files that it is about.
fn own_file(path: &RelativePath) -> Option<OwnFile> {
    let own = OwnFile::parse(path.name())?;
    let mut components = path.components();
    let among_rolls = components.next().is_some_and(OwnFile::is_place);
    match (among_rolls, own.is_roll()) {
        (true, true) if components.count() == 1 => Some(own),
        (false, false) => Some(own),
        _ => None,
    }
}

fn partial(at: &RelativePath, seen: Leftover, age: Option<Duration>, fate: PartialFate) -> Partial {
    let what = match seen.what {
        Left::Part(Some(unfinished)) => {
            let path = match at.parent() {
                Some(parent) => parent.join(&unfinished.name),
                None => RelativePath::parse(&unfinished.name),
            };
            path.map_or(PartialKind::Unknown, |path| PartialKind::File {
                path,
                held: unfinished.held,
                size: unfinished.size,
            })
        }
        Left::Part(None) => PartialKind::Unknown,
        Left::Orphan => PartialKind::Orphan,
        Left::Link => PartialKind::Link,
        Left::Roll { files, all } => PartialKind::Roll { files, all },
    };
    Partial {
        at: at.clone(),
        what,
        disk: seen.disk,
        written: seen.written,
        age,
        fate,
    }
}

/// How long before `now` something was; `None` where it comes after it.
fn since(now: SystemTime, moment: Timestamp) -> Option<Duration> {
    let seconds = Duration::from_secs(moment.seconds().unsigned_abs());
    let whole = match moment.seconds() < 0 {
        true => UNIX_EPOCH.checked_sub(seconds),
        false => UNIX_EPOCH.checked_add(seconds),
    };
    let moment = whole?.checked_add(Duration::from_nanos(moment.nanoseconds().into()))?;
    now.duration_since(moment).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own_file(path: &str) -> bool {
        own_file(&RelativePath::parse(path.as_bytes()).unwrap()).is_some()
    }

    #[test]
    fn only_names_that_this_program_gives_where_it_gives_them() {
        for path in [
            ".packhorse/0123456789abcdef.stored",
            ".packhorse-0123456789abcdef.part",
            "a/b/.packhorse-0123456789abcdef.journal",
        ] {
            assert!(is_own_file(path), "{path}");
        }
        for path in [
            ".packhorse",
            "0123456789abcdef.stored",
            "a/.packhorse/0123456789abcdef.stored",
            ".packhorse/a/0123456789abcdef.stored",
            ".packhorse/0123456789ABCDEF.stored",
            ".packhorse/0123456789abcde.stored",
            ".packhorse/.packhorse-0123456789abcdef.part",
            ".packhorse-0123456789abcdef.stored",
            ".packhorse-0123456789abcdeF.part",
            ".packhorse-0123456789abcdef.part.bak",
        ] {
            assert!(!is_own_file(path), "{path}");
        }
    }

    #[test]
    fn ages_of_any_time_are_told() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let at = |seconds, nanoseconds| Timestamp::new(seconds, nanoseconds).unwrap();
        assert_eq!(since(now, at(1000, 0)), Some(Duration::ZERO));
        assert_eq!(since(now, at(999, 1)), Some(Duration::new(0, 999_999_999)));
        assert_eq!(
            since(now, at(-1, 500_000_000)),
            Some(Duration::new(1000, 500_000_000))
        );
        assert_eq!(since(now, at(1000, 1)), None);
        for extreme in [i64::MAX, i64::MIN] {
            // Whatever it answers.
            let _ = since(now, at(extreme, 999_999_999));
        }
    }
}
