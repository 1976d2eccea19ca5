//! The power fails at some moment of a session: what is there then, and what the same command makes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use packhorse_proto::extent::{EXTENT_SIZE, ExtentHasher, Whole};
use packhorse_proto::path::Name;
use packhorse_proto::remains::{BootId, Version};
use packhorse_transfer::{Assurance, PartialEvent, PartialKind, Storage, clean_partials};
use packhorse_tree::{Directory, Roll, SourceFile, is_own};
use rustix::fd::BorrowedFd;
use rustix::fs::Stat;
use tempfile::TempDir;

use crate::record::{Change, Record, Recorder};
use crate::replay::Crash;
use crate::scene::{
    Content, DURABLE, Tree, Way, difference, differences, make_old, make_source, transfer, tree_of,
};

/// Crash states, unless PACKHORSE_CRASHES says otherwise.
const CRASHES: usize = 500;

/// Crash states of one recorded session.
const PER_RECORD: usize = 25;

/// Starts of the machine.
const FIRST_BOOT: BootId = [1; 16];
const SECOND_BOOT: BootId = [2; 16];
const LAST_BOOT: BootId = [3; 16];

/// The storage after the power came back. What it syncs would be tested by another power failure.
#[derive(Debug)]
struct Rebooted(BootId);

impl Storage for Rebooted {
    fn sync_content(&self, _file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        Ok(())
    }

    fn sync_filesystem(&self, _directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
        Ok(())
    }

    /// Files are made anew for each crash. Here it is to be found what a mark in a roll is wrong about, so it is believed
    /// whenever they were.
    fn changed_at(&self, _stat: &Stat) -> Duration {
        Duration::ZERO
    }

    fn boot_id(&self) -> BootId {
        self.0
    }
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// Into an empty directory.
    Fresh,
    /// Over other files of the same names.
    Replacing,
    /// The receiver was killed, and the same command ran again.
    Killed,
    /// The power failed once before, and the same command ran again.
    Again,
    /// A large file with checkpoints, which sessions make every ten seconds.
    Checkpoints,
}

const STORIES: [(Story, bool); 9] = [
    (Story::Fresh, false),
    (Story::Fresh, true),
    (Story::Replacing, false),
    (Story::Replacing, true),
    (Story::Killed, false),
    (Story::Killed, true),
    (Story::Again, false),
    (Story::Again, true),
    (Story::Checkpoints, false),
];

/// A recorded session.
struct Told {
    story: Story,
    durable: bool,
    record: Record,
    /// Changes by which what was there before came to be.
    before: usize,
    /// What was there before.
    old: Tree,
}

impl Told {
    /// When the power fails: at any time, and now and then after the receipt.
    fn moment(&self, rng: &mut Rng) -> usize {
        let changes = &self.record.changes;
        let receipt = changes
            .iter()
            .rposition(|change| matches!(change, Change::Receipt));
        let after = receipt.filter(|_| rng.u8(..5) == 0);
        let from = after.map_or(self.before, |receipt| receipt + 1);
        rng.usize(from..=changes.len())
    }
}

/// What all the crashes add up to.
#[derive(Debug, Default)]
struct Sums {
    crashes: AtomicUsize,
    durable: AtomicUsize,
    with_receipt: AtomicUsize,
    /// States with something wrong under a final name, which sessions that are not durable may leave.
    wrong: AtomicUsize,
    resumed_bytes: AtomicU64,
    resumed: AtomicUsize,
}

struct Ground {
    place: TempDir,
    new: Tree,
    sums: Sums,
}

fn assurance(durable: bool) -> Assurance {
    if durable {
        DURABLE
    } else {
        Assurance::default()
    }
}

fn fresh(ground: &Path) -> TempDir {
    tempfile::tempdir_in(ground).expect("a directory")
}

fn is_final(path: &Path) -> bool {
    path.iter().all(|name| !is_own(name.as_encoded_bytes()))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

impl Ground {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let source = place.path().join("source");
        make_source(&source);
        Self {
            new: tree_of(&source),
            place,
            sums: Sums::default(),
        }
    }

    fn source(&self) -> PathBuf {
        self.place.path().join("source")
    }

    /// Runs the command on a recorder; it ends as it likes where its receiver dies.
    fn run(&self, recorder: &Arc<Recorder>, destination: &Path, durable: bool) {
        let noted = Arc::clone(recorder);
        let way = Way {
            receipted: Arc::new(move || noted.note_receipt()),
            ..Way::on(recorder.clone()).with(assurance(durable))
        };
        let _ = transfer(&self.source(), destination, &way);
    }

    fn tell(&self, story: Story, durable: bool, rng: &mut Rng) -> Told {
        let destination = fresh(self.place.path());
        let root = destination.path();
        match story {
            Story::Replacing => make_old(root),
            Story::Again => {
                let first = self.tell(Story::Fresh, durable, rng);
                let at = rng.usize(first.before..=first.record.changes.len());
                Crash::sample(&first.record, at, rng).build(&first.record, root);
            }
            Story::Checkpoints => fs::create_dir(root.join("tree")).expect("a directory"),
            Story::Fresh | Story::Killed => {}
        }
        let old = tree_of(root);
        let boot = if story == Story::Again {
            SECOND_BOOT
        } else {
            FIRST_BOOT
        };
        let recorder = Recorder::new(root, boot);
        let before = recorder.record().changes.len();
        match story {
            Story::Checkpoints => self.write_with_checkpoints(&recorder, root, rng),
            Story::Killed => {
                let all = self.tell(Story::Fresh, durable, rng);
                let all = all.record.changes.len() - all.before;
                // Of what is killed late, more is there.
                recorder.dies_in(all - rng.usize(..all / 2));
                self.run(&recorder, root, durable);
                recorder.lives_again();
                self.run(&recorder, root, durable);
            }
            _ => self.run(&recorder, root, durable),
        }
        Told {
            story,
            durable,
            record: recorder.record(),
            before,
            old,
        }
    }

    /// What lanes and the syncing thread do for a large file, with checkpoints.
    fn write_with_checkpoints(&self, recorder: &Arc<Recorder>, root: &Path, rng: &mut Rng) {
        let open = |path: &Path| {
            let opened = Directory::open_root_on(recorder.clone(), path);
            Arc::new(opened.expect("a directory"))
        };
        let (destination, parent) = (open(root), open(&root.join("tree")));
        let roll = Roll::begin(&destination, [0; 8], destination.boot_id()).expect("a roll");
        destination.sync_filesystem().expect("durable");
        let name = Name::parse(b"large").expect("a name");
        let from = Directory::open_root(&self.source().join("tree")).expect("a directory");
        let from = SourceFile::open(&from, name).expect("a file");
        let (size, metadata) = (from.size(), from.metadata());
        let version = Version { size, metadata };
        let begun = parent.begin_file(name, version, parent.boot_id());
        let file = begun.expect("it begins").expect("a free name");
        if rng.bool() {
            file.reserve(size).expect("room");
        }
        let checkpoints = file.checkpointer().expect("it has a journal");
        let mut offsets: Vec<u64> = (0..size.div_ceil(EXTENT_SIZE))
            .map(|at| at * EXTENT_SIZE)
            .collect();
        rng.shuffle(&mut offsets);
        for offset in offsets {
            let length = EXTENT_SIZE.min(size - offset);
            let mut bytes = vec![0; usize::try_from(length).expect("small")];
            from.read_at(&mut bytes, offset).expect("it is read");
            let mut hasher = ExtentHasher::new(offset).expect("an extent");
            let mut at = offset;
            for piece in bytes.chunks(1 << 16) {
                hasher.update(piece).expect("within the extent");
                file.turn().write_at(piece, at).expect("it is written");
                at += piece.len() as u64;
            }
            file.note(&hasher.finish(Whole::Part).expect("an extent"));
            if rng.bool() {
                assert!(checkpoints.checkpoint().expect("durable"));
            }
        }
        drop((file, roll));
    }

    /// What a tree is to be in the end: what is sent, and what was there under other names.
    fn wanted(&self, told: &Told) -> Tree {
        let others = told.old.iter().filter(|(path, _)| is_final(path));
        let mut wanted: Tree = others
            .map(|(path, node)| (path.clone(), node.clone()))
            .collect();
        wanted.extend(
            self.new
                .iter()
                .map(|(path, node)| (path.clone(), node.clone())),
        );
        wanted
    }

    /// What is wrong under final names: neither as it was nor as it is to be.
    fn wrong(&self, told: &Told, found: &Tree) -> Vec<String> {
        let files = found
            .iter()
            .filter(|(path, node)| is_final(path) && !matches!(node.content, Content::Directory));
        let wrong = files.filter_map(|(path, node)| {
            let (new, old) = (self.new.get(path), told.old.get(path));
            let may_be = [new, old];
            let mut told = may_be.iter().flatten().map(|may| difference(node, may));
            let differs = told.all(|difference| difference.is_some());
            differs.then(|| {
                format!(
                    "{}: {:?}",
                    path.display(),
                    new.and_then(|new| difference(node, new))
                )
            })
        });
        wrong.collect()
    }

    /// The power fails so, and comes back.
    fn check(&self, told: &Told, crash: &Crash) -> Result<(), String> {
        let destination = fresh(self.place.path());
        let root = destination.path();
        crash.build(&told.record, root);
        let found = tree_of(root);
        let wrong = self.wrong(told, &found);
        let done = &told.record.changes[..crash.at];
        let has_receipt = done.iter().any(|change| matches!(change, Change::Receipt));
        let sums = &self.sums;
        sums.crashes.fetch_add(1, Ordering::Relaxed);
        if told.durable {
            sums.durable.fetch_add(1, Ordering::Relaxed);
            if !wrong.is_empty() {
                return Err(format!("wrong after the crash: {wrong:#?}"));
            }
            if has_receipt {
                sums.with_receipt.fetch_add(1, Ordering::Relaxed);
                let mut found = found;
                found.retain(|path, _| is_final(path));
                let missing = differences(&found, &self.wanted(told));
                if !missing.is_empty() {
                    return Err(format!("the receipt was given: {missing:#?}"));
                }
            }
        } else if !wrong.is_empty() {
            sums.wrong.fetch_add(1, Ordering::Relaxed);
        }
        self.run_again(told, root)
    }

    fn run_again(&self, told: &Told, root: &Path) -> Result<(), String> {
        let way = Way::on(Arc::new(Rebooted(LAST_BOOT))).with(assurance(told.durable));
        let ended = transfer(&self.source(), root, &way);
        let receipt = match (&ended.sent, &ended.failed[..]) {
            (Ok(receipt), []) if ended.received.is_ok() => receipt,
            _ => return Err(format!("the same command again fails: {ended:?}")),
        };
        let sums = &self.sums;
        sums.resumed_bytes
            .fetch_add(receipt.resumed, Ordering::Relaxed);
        sums.resumed
            .fetch_add(usize::from(receipt.resumed > 0), Ordering::Relaxed);
        let mut found = tree_of(root);
        found.retain(|path, _| is_final(path));
        let differs = differences(&found, &self.wanted(told));
        if !differs.is_empty() {
            return Err(format!("after the same command again: {differs:#?}"));
        }
        self.clean(told, root)
    }

    /// Nothing is left, names for a moment neither.
    fn clean(&self, told: &Told, root: &Path) -> Result<(), String> {
        let mut left = Vec::new();
        let cleaned = clean_partials(root, None, &mut |event| left.push(event));
        cleaned.map_err(|error| error.to_string())?;
        let roll = told.story == Story::Checkpoints;
        left.retain(|event| match event {
            // Its session was another one.
            PartialEvent::Found(partial) => {
                !(roll && matches!(partial.what, PartialKind::Roll { .. }))
            }
            PartialEvent::Foreign(_) | PartialEvent::Failed { .. } => true,
        });
        if !left.is_empty() {
            return Err(format!("left over: {left:#?}"));
        }
        let left: Vec<_> = tree_of(root)
            .into_keys()
            .filter(|path| !is_final(path))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("not cleaned: {left:?}"))
        }
    }

    /// One recorded session, and some ways in which the power fails meanwhile.
    fn explore(&self, (story, durable): (Story, bool), seed: u64, crashes: usize) -> Vec<String> {
        let mut rng = Rng::with_seed(seed);
        let told = self.tell(story, durable, &mut rng);
        let mut failures = Vec::new();
        for _ in 0..crashes {
            let at = told.moment(&mut rng);
            let crash = Crash::sample(&told.record, at, &mut rng);
            if let Err(failure) = self.check(&told, &crash) {
                let near = at.saturating_sub(6)..at;
                let near = told.record.changes[near]
                    .iter()
                    .map(brief)
                    .collect::<Vec<_>>();
                failures.push(format!(
                    "{story:?}, durable: {durable}, seed {seed}, {crash}\n{failure}\nlast: {near:#?}"
                ));
                if failures.len() > 2 {
                    break;
                }
            }
        }
        failures
    }
}

fn brief(change: &Change) -> String {
    let text = format!("{change:?}");
    text.chars().take(120).collect()
}

#[test]
fn the_power_fails_and_the_same_command_completes_the_tree() {
    let crashes = number("PACKHORSE_CRASHES")
        .map_or(CRASHES, |number| usize::try_from(number).expect("a count"));
    let seed = number("PACKHORSE_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("PACKHORSE_CRASH_SEED={seed} PACKHORSE_CRASHES={crashes}");
    let (ground, started) = (Ground::new(), Instant::now());
    let (records, next) = (crashes.div_ceil(PER_RECORD), AtomicUsize::new(0));
    let work = || {
        let mut failures = Vec::new();
        loop {
            let record = next.fetch_add(1, Ordering::Relaxed);
            if record >= records || failures.len() > 4 {
                return failures;
            }
            let seed = seed.wrapping_add(record as u64);
            let crashes = PER_RECORD.min(crashes - record * PER_RECORD);
            failures.extend(ground.explore(STORIES[record % STORIES.len()], seed, crashes));
        }
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter();
        ended
            .flat_map(|worker| worker.join().expect("it ends"))
            .collect()
    });
    let took: Duration = started.elapsed();
    println!("{:?} in {took:?}", ground.sums);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // It is two of five; a handful, where rolls are not believed.
    assert!(
        ground.sums.resumed.load(Ordering::Relaxed) >= crashes / 10,
        "next to nothing is ever found again"
    );
}
