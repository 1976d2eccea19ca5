//! Random sessions with random faults, for as long as one likes, into receivers that live all the time: `cargo xtask soak`.
//!
//! Every session ends with its whole tree, and nothing grows: descriptors, threads, memory, files, processes.

mod faults;
mod household;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::faults::Fault;
use self::household::Household;
use crate::harness::compare::{assert_nothing_left_over, assert_same_tree};
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::{Ground, Packhorse, Running, tree};

/// Senders that are started for one tree at most: each but the last was killed.
const MOST_SENDERS: u64 = 8;

/// What sessions with one kind of fault came to.
#[derive(Default)]
struct Line {
    sessions: u64,
    rounds: u64,
    bytes: u64,
    beyond: u64,
}

/// All of it.
struct Soak {
    ground: Ground,
    random: Random,
    sessions: u64,
    by_fault: BTreeMap<&'static str, Line>,
}

impl Soak {
    /// A tree of one of several shapes, under a name of its own.
    fn make_tree(&mut self) -> PathBuf {
        let name = format!("tree-{}", self.sessions);
        let root = self.ground.source().join(&name);
        match self.random.below(8) {
            0 => tree::a_few_files(root.clone()),
            1 => tree::every_oddity(root.clone()),
            2 | 3 => {
                let count = 1 + self.random.below(1500);
                tree::many_small_files(root.clone(), count);
            }
            _ => {
                let count = self.random.below(300);
                tree::many_small_files(root.join("small"), count);
                for number in 0..=self.random.below(3) {
                    let size = self.random.below(24 << 20);
                    let content = self.random.bytes(size);
                    let file = format!("{name}/large-{number}");
                    self.ground.source_file(&file, content);
                }
            }
        }
        root
    }

    /// One tree, with a fault or none, to one of the receivers.
    fn session(&mut self, household: &mut Household) {
        let source = self.make_tree();
        let size = size_of(&source);
        let (fault, which) = household.choose(&mut self.random);
        let receiver = &mut household.receivers[which];
        let proxy = Proxy::to(&receiver.address);
        let beneath = (self.random.below(3) == 0).then(|| format!("sub-{}", self.sessions));
        let to = match &beneath {
            None => proxy.address(),
            Some(beneath) => format!("ph://{}/{beneath}", proxy.address()),
        };
        let options = receiver.options;
        let start = || {
            let sender = Packhorse::patient_send(&[&source], &to);
            sender.args(options).start()
        };
        if fault == Fault::DiskFull {
            // Large files take their room when they begin: there is too little before that.
            receiver.fill_disk(self.random.next() % (size + 1));
        }
        let mut rounds = 1;
        let mut sender = start();
        sender.wait_for_or_end("connected");
        for _ in 0..1 + self.random.below(3) {
            let bytes = proxy.carried() + self.random.next() % (size + 1);
            proxy.wait_until_carried(bytes, || sender.has_ended());
            if sender.has_ended() {
                break;
            }
            fault.strike(&proxy, &mut sender, receiver);
        }
        let mut ended = sender.wait();
        while receiver.wants_again(&ended) {
            assert!(rounds < MOST_SENDERS, "{}", ended.told());
            rounds += 1;
            ended = start().wait();
        }
        ended.expect_code(0);
        rounds += u64::try_from(ended.events_named("reconnecting").len()).expect("few");
        receiver.running.wait_for("done", |_| true);
        let destination = receiver.destination.clone();
        let top = beneath.map_or(destination.clone(), |beneath| destination.join(beneath));
        let name = source.file_name().expect("a name");
        receiver.remove_orphans();
        assert_same_tree(&source, &top.join(name));
        assert_nothing_left_over(&destination);
        household.assert_nothing_grows();
        empty(&destination);
        empty(&self.ground.source());
        let line = self.by_fault.entry(fault.name()).or_default();
        line.sessions += 1;
        line.rounds += rounds;
        line.bytes += size;
        line.beyond += proxy.carried().saturating_sub(size);
        self.sessions += 1;
    }

    #[allow(clippy::print_stdout, reason = "a report")]
    fn print(&self) {
        println!("fault               sessions   rounds       MiB  MiB sent twice or besides");
        for (fault, line) in &self.by_fault {
            let Line {
                sessions,
                rounds,
                bytes,
                beyond,
            } = line;
            let (mebibytes, twice) = (bytes >> 20, beyond >> 20);
            println!("{fault:18} {sessions:9} {rounds:8} {mebibytes:9} {twice:26}");
        }
    }
}

fn size_of(directory: &Path) -> u64 {
    crate::faults::bytes_of(directory)
}

/// Removes what is in a directory, which somebody has open.
fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        fs::remove_dir_all(path).expect("a directory of ours");
    }
}

#[test]
#[ignore = "takes as long as it is asked to: cargo xtask soak"]
#[allow(clippy::print_stdout, reason = "a line a minute")]
fn sessions_with_faults_for_a_long_time() {
    let minutes = crate::faults::asked("PACKHORSE_SOAK_MINUTES", 2);
    let mut soak = Soak {
        ground: Ground::new(),
        random: Random::seeded(),
        sessions: 0,
        by_fault: BTreeMap::new(),
    };
    let start = Instant::now();
    let lifetime = Duration::from_secs(60 * minutes + 600);
    let mut household = Household::start(&soak.ground, lifetime);
    for minute in 1..=minutes {
        while start.elapsed() < Duration::from_secs(60 * minute) {
            soak.session(&mut household);
        }
        let sessions = soak.sessions;
        println!("minute {minute}: {sessions} sessions; {}", household.told());
    }
    soak.print();
    assert!(soak.sessions > 0);
    household.end();
    household::assert_no_process_is_left(soak.ground.path());
}
