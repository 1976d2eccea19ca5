//! A tree that crosses, however often somebody dies on the way.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::report::Case;
use crate::harness::compare::{assert_nothing_left_over, assert_same_tree};
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::tree::many_small_files;
use crate::harness::{Ended, Ground, Packhorse, Running};

pub(super) const MEBIBYTE: u64 = 1 << 20;

/// Rounds in which a tree is through, when nobody is hindered any more.
const ENOUGH: usize = 3;

/// A source, a place to send it to, and what that has cost so far.
pub(super) struct Crossing {
    pub(super) ground: Ground,
    pub(super) source: PathBuf,
    pub(super) destination: PathBuf,
    pub(super) case: Case,
    /// Bytes of the source's files.
    pub(super) size: u64,
    carried: u64,
    /// What the sender and the receiver are told besides.
    pub(super) options: [Vec<String>; 2],
    /// What starts the sender and the receiver, with its arguments.
    pub(super) through: [Vec<&'static str>; 2],
    /// What both find in their environment.
    pub(super) environment: Vec<(String, OsString)>,
    /// Things under random names that no session comes back for.
    pub(super) orphans: usize,
    /// Symbolic links under such names that there may be besides.
    pub(super) stray_links: usize,
}

/// A sender and a receiver that run, with a proxy between them.
pub(super) struct Pair {
    pub(super) sender: Running,
    pub(super) receiver: Running,
    pub(super) proxy: Proxy,
}

/// A number from the environment: `cargo xtask faults` asks for more than CI does.
pub(crate) fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// A large file of random bytes, small ones before and behind it, empty ones and links.
pub(super) fn make_tree(ground: &Ground, large: u64, small: usize) -> PathBuf {
    let mut random = Random::seeded();
    let content = random.bytes(usize::try_from(large).expect("it is in memory"));
    ground.source_file("tree/large.bin", content);
    ground.source_file("tree/empty", "");
    std::os::unix::fs::symlink("large.bin", ground.source().join("tree/link")).expect("a link");
    many_small_files(ground.source().join("tree/a"), small / 2);
    many_small_files(ground.source().join("tree/z"), small / 2);
    ground.source().join("tree")
}

impl Crossing {
    pub(super) fn new(case: Case, large: u64, small: usize) -> Self {
        let ground = Ground::new();
        let source = make_tree(&ground, large, small);
        Self::of(case, ground, source)
    }

    pub(super) fn of(case: Case, ground: Ground, source: PathBuf) -> Self {
        let size = bytes_of(&source);
        Self {
            destination: ground.destination(),
            ground,
            source,
            case,
            size,
            carried: 0,
            options: Default::default(),
            through: Default::default(),
            environment: Vec::new(),
            orphans: 0,
            stray_links: 0,
        }
    }

    /// Another place to send to: what was there before is removed.
    pub(super) fn start_over(&mut self) {
        fs::remove_dir_all(&self.destination).expect("it is there");
        fs::create_dir(&self.destination).expect("a directory");
    }

    /// A sender and a receiver that give up when their connection breaks; `faults` are what happens to them.
    pub(super) fn start(&mut self, faults: [Option<&str>; 2]) -> Pair {
        self.case.rounds += 1;
        let receiver = Packhorse::recv(&self.destination);
        let mut receiver = self.prepared(receiver, 1, faults[1]).start();
        let proxy = Proxy::to(&receiver.address());
        let sender = self.sender(&proxy, faults[0]).start();
        Pair {
            sender,
            receiver,
            proxy,
        }
    }

    /// The same, of a receiver that may end before it listens; `None` where it has.
    pub(super) fn try_start(&mut self) -> Option<Pair> {
        self.case.rounds += 1;
        let receiver = Packhorse::recv(&self.destination);
        let mut receiver = self.prepared(receiver, 1, None).start();
        let proxy = Proxy::to(&receiver.try_address()?);
        let sender = self.sender(&proxy, None).start();
        Some(Pair {
            sender,
            receiver,
            proxy,
        })
    }

    /// A sender to a receiver that is there.
    pub(super) fn sender(&self, proxy: &Proxy, fault: Option<&str>) -> Packhorse {
        let sender = Packhorse::send(&[&self.source], &proxy.address());
        self.prepared(sender, 0, fault)
    }

    fn prepared(&self, packhorse: Packhorse, side: usize, fault: Option<&str>) -> Packhorse {
        let mut packhorse = packhorse.args(&self.options[side]);
        for (name, value) in &self.environment {
            packhorse = packhorse.env(name, value);
        }
        let packhorse = match fault {
            Some(plan) => packhorse.env("PACKHORSE_FAULT", plan),
            None => packhorse,
        };
        packhorse.through(&self.through[side])
    }

    /// Waits for the end of both, and counts what crossed.
    pub(super) fn end(&mut self, pair: Pair) -> (Ended, Ended) {
        let Pair {
            sender,
            receiver,
            proxy,
        } = pair;
        let ended = (sender.wait(), receiver.wait());
        self.count(&proxy);
        ended
    }

    /// Waits for the end of the sender, and interrupts the receiver, which nobody may have come to.
    /// Answers the exit codes of both.
    pub(super) fn end_of_sender(&mut self, pair: Pair) -> [Option<i32>; 2] {
        let Pair {
            sender,
            receiver,
            proxy,
        } = pair;
        let sender = sender.wait();
        receiver.signal(Signal::INT);
        let receiver = receiver.wait();
        self.count(&proxy);
        [sender.code(), receiver.code()]
    }

    /// Counts what crossed otherwise.
    pub(super) fn count_bytes(&mut self, bytes: u64) {
        self.carried += bytes;
    }

    /// Counts what crossed by a proxy.
    pub(super) fn count(&mut self, proxy: &Proxy) {
        self.carried += proxy.carried();
    }

    /// The same command again until it is through, which is soon; answers how much was there already. What arrived is the
    /// source.
    #[track_caller]
    pub(super) fn complete(&mut self) -> u64 {
        let mut told = String::new();
        for _ in 0..ENOUGH {
            let pair = self.start([None, None]);
            let (sender, receiver) = self.end(pair);
            if (sender.code(), receiver.code()) == (Some(0), Some(0)) {
                self.assert_whole();
                return receiver.done()["resumed_bytes"].as_u64().expect("a number");
            }
            told = sender.told() + &receiver.told();
        }
        panic!("not through after {ENOUGH} rounds: {told}");
    }

    #[track_caller]
    pub(super) fn assert_whole(&self) {
        self.remove_orphans();
        let name = self.source.file_name().expect("a name");
        assert_same_tree(&self.source, &self.destination.join(name));
        assert_nothing_left_over(&self.destination);
    }

    /// Looks that there are as many as there may be, and removes them.
    #[track_caller]
    fn remove_orphans(&self) {
        let found = orphans(&self.destination);
        let links = found.iter().filter(|path| path.is_symlink());
        let stray = links.count().min(self.stray_links);
        let as_many = self.orphans..=self.orphans + stray;
        assert!(as_many.contains(&found.len()), "{found:?}");
        remove(&found, &self.destination);
    }

    /// Ends the case: the tree is there, and this is what it cost. The tree crossed so many times.
    pub(super) fn report(mut self, times: u64) {
        self.case.beyond = self.carried.saturating_sub(times * self.size);
        self.case.whole();
    }
}

/// Things under names of the program's own, but for journals.
pub(crate) fn orphans(destination: &Path) -> Vec<PathBuf> {
    let found = Command::new("find")
        .arg(destination)
        .args(["-name", ".packhorse-*.part", "-print0"])
        .output();
    let found = found.expect("find").stdout;
    let paths = found.split(|&byte| byte == 0);
    let paths = paths.filter(|path| !path.is_empty());
    paths
        .map(|path| PathBuf::from(OsStr::from_bytes(path)))
        .collect()
}

/// Removes them: `packhorse partials clean` does it for files.
#[track_caller]
pub(crate) fn remove(orphans: &[PathBuf], destination: &Path) {
    if orphans.is_empty() {
        return;
    }
    // What is removed gives its directory another time.
    let parents = orphans.iter().filter_map(|path| path.parent());
    let opened = parents.map(|parent| File::open(parent).expect("a directory"));
    let times = opened.map(|parent| {
        let modified = parent.metadata().and_then(|metadata| metadata.modified());
        (parent, modified.expect("a time"))
    });
    let times: Vec<_> = times.collect();
    let clean = Packhorse::verb("partials").arg("clean");
    clean.arg(destination).run().expect_code(0);
    for left in orphans {
        if left.is_symlink() {
            fs::remove_file(left).expect("it is there");
        }
        assert!(!left.exists(), "{}", left.display());
    }
    for (parent, modified) in times {
        parent.set_modified(modified).expect("a time");
    }
}

/// Bytes of all regular files beneath a directory.
pub(crate) fn bytes_of(directory: &Path) -> u64 {
    let output = Command::new("find")
        .arg(directory)
        .args(["-type", "f", "-printf", r"%s\n"])
        .output()
        .expect("find");
    let sizes = String::from_utf8(output.stdout).expect("digits");
    sizes
        .lines()
        .map(|size| size.parse::<u64>().expect("a number"))
        .sum()
}
