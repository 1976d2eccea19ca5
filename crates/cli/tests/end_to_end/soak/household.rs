//! Receivers that serve one session after the other, and what they have of the machine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Random;
use super::faults::Fault;
use crate::harness::surroundings::SmallDisk;
use crate::harness::{CODE, Ended, Ground, Packhorse, Running, not_shown};

/// What a process may have resident: what the README promises.
const MEMORY: u64 = 64 << 20;

/// Room of the small disk: more than any tree takes.
const SMALL: &str = "160m";

/// Threads of a receiver that name things: the one that places links, and lanes of such small trees.
const MOST_THREADS: usize = 5;

/// Within which what a session had is given back.
const GIVEN_BACK: Duration = Duration::from_secs(10);

/// A receiver that lives through all of it.
pub(super) struct Lasting {
    pub(super) running: Running,
    pub(super) address: String,
    pub(super) destination: PathBuf,
    /// What its senders are told, and it is, too.
    pub(super) options: &'static [&'static str],
    lifetime: Duration,
    /// Before the first session.
    idle: Use,
    /// What takes the room of its disk, where that is a small one.
    ballast: Option<PathBuf>,
    /// Times that it was killed since the last look.
    kills: usize,
    /// It was killed, and no sender has come since.
    forsaken: bool,
    /// Of some session since it started not all fitted, which its exit code says in the end.
    short: bool,
}

impl Lasting {
    fn start(
        destination: PathBuf,
        options: &'static [&'static str],
        (lifetime, ballast): (Duration, Option<PathBuf>),
    ) -> Self {
        let mut running = receiver(&destination, options, "127.0.0.1:0", lifetime);
        Self {
            address: running.address(),
            idle: Use::of(&running),
            running,
            destination,
            options,
            lifetime,
            ballast,
            kills: 0,
            forsaken: false,
            short: false,
        }
    }

    /// Is killed outright, and started again at the same place. Where this sender has not ended by then, it finds it.
    pub(super) fn die_and_return(&mut self, sender: &mut Running) {
        self.running.kill();
        let mut again = receiver(
            &self.destination,
            self.options,
            &self.address,
            self.lifetime,
        );
        assert_eq!(again.address(), self.address);
        std::mem::replace(&mut self.running, again).wait();
        self.kills += 1;
        self.short = false;
        self.forsaken = sender.wait_for_or_end("connected").is_none();
    }

    /// Somebody takes all the room there is on its disk but this.
    pub(super) fn fill_disk(&self, left: u64) {
        let Some(ballast) = &self.ballast else { return };
        let file = File::options().append(true).create(true).open(ballast);
        let mut file = file.expect("a file");
        let piece = vec![0xa5; 1 << 20];
        let full = loop {
            if let Err(error) = file.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let taken = file.metadata().expect("it is there").len();
        file.set_len(taken.saturating_sub(left))
            .expect("it shrinks");
    }

    /// Whether the same command is to be given again: its sender was killed, the receiver was when all had arrived, or
    /// there was no room, which there is from now on.
    #[track_caller]
    pub(super) fn wants_again(&mut self, ended: &Ended) -> bool {
        let freed = self.ballast.as_ref().is_some_and(|ballast| {
            let removed = fs::remove_file(ballast);
            removed.is_ok()
        });
        if ended.signal().is_some() || std::mem::take(&mut self.forsaken) {
            return true;
        }
        if !freed || ended.code() == Some(0) {
            return false;
        }
        self.short = true;
        // The disk was full, or there was no room for some files and the rest is there.
        match ended.code() {
            Some(5) => ended.expect_says("full"),
            _ => ended.expect_code(1).expect_says("does not fit"),
        };
        if !ended.events_named("done").is_empty() {
            self.running.wait_for("done", |_| true);
        }
        true
    }

    /// Each thread of a process that was killed may have left what it was about to name (docs/faults.md), and no partial
    /// file that its journal goes with.
    #[track_caller]
    pub(super) fn remove_orphans(&mut self) {
        let found = orphans(&self.destination);
        let most = MOST_THREADS * std::mem::take(&mut self.kills);
        assert!(found.len() <= most, "{found:?}");
        let journal = |path: &PathBuf| path.with_extension("journal").exists();
        assert!(!found.iter().any(journal), "{found:?}");
        remove(&found, &self.destination);
    }
}

/// A receiver that goes on, at an address.
fn receiver(destination: &Path, options: &[&str], address: &str, lifetime: Duration) -> Running {
    let mut receiver = Packhorse::verb("recv").arg(destination).arg("--keep");
    receiver = receiver.args(options).args(["--listen", address]);
    if options.is_empty() {
        receiver = receiver.code(CODE);
    }
    let receiver = receiver.args(["--events", "-"]).deadline(lifetime);
    receiver.start()
}

/// What a process has.
#[derive(Debug, Clone, Copy)]
struct Use {
    descriptors: usize,
    threads: usize,
    resident: u64,
}

impl Use {
    fn of(process: &Running) -> Self {
        let of = PathBuf::from(format!("/proc/{}", process.id()));
        let count = |what: &str| fs::read_dir(of.join(what)).expect("it lives").count();
        let status = fs::read_to_string(of.join("status")).expect("it lives");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.expect("a line").trim().trim_end_matches(" kB");
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            resident: kilobytes.parse::<u64>().expect("a number") << 10,
        }
    }
}

/// All that live through it.
pub(super) struct Household {
    pub(super) receivers: Vec<Lasting>,
    /// What the last of them stores on; `None` where there is none.
    disk: Option<SmallDisk>,
}

impl Household {
    pub(super) fn start(ground: &Ground, lifetime: Duration) -> Self {
        let at = |name| ground.destination().join(name);
        let small = at("small");
        fs::create_dir(&small).expect("a directory");
        let disk = SmallDisk::mount(small.clone(), SMALL);
        let mut receivers = vec![
            Lasting::start(at("encrypted"), &[], (lifetime, None)),
            Lasting::start(at("insecure"), &["--insecure"], (lifetime, None)),
        ];
        if disk.is_some() {
            let ballast = Some(small.join("ballast"));
            receivers.push(Lasting::start(small.join("in"), &[], (lifetime, ballast)));
        } else {
            not_shown(
                "soak",
                "mounting a small filesystem, which fills, needs privileges",
            );
        }
        Self { receivers, disk }
    }

    /// What may happen here, and the one that it happens to.
    pub(super) fn choose(&self, random: &mut Random) -> (Fault, usize) {
        let fault = random.pick(Fault::ALL);
        let which = random.below(self.receivers.len());
        match (fault, &self.disk) {
            (Fault::DiskFull, Some(_)) => (fault, self.receivers.len() - 1),
            (Fault::DiskFull, None) => (Fault::Nothing, which),
            _ => (fault, which),
        }
    }

    /// Waits until each has what it had before its first session, and no more; its memory is bounded.
    #[track_caller]
    pub(super) fn assert_nothing_grows(&self) {
        let until = Instant::now() + GIVEN_BACK;
        for Lasting { running, idle, .. } in &self.receivers {
            let mut now = Use::of(running);
            while now.descriptors > idle.descriptors || now.threads > idle.threads {
                assert!(Instant::now() < until, "{now:?}, and {idle:?} before");
                thread::sleep(Duration::from_millis(5));
                now = Use::of(running);
            }
            assert!(now.resident <= MEMORY, "{now:?}");
        }
    }

    /// What they have.
    pub(super) fn told(&self) -> String {
        let each = self.receivers.iter().map(|receiver| {
            let Use {
                descriptors,
                threads,
                resident,
            } = Use::of(&receiver.running);
            let mebibytes = resident >> 20;
            format!("{descriptors} descriptors, {threads} threads, {mebibytes} MiB")
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// Ends them as a user does.
    pub(super) fn end(self) {
        for receiver in self.receivers {
            receiver.running.signal(Signal::TERM);
            let ended = receiver.running.wait();
            match receiver.short {
                true => ended.expect_code_in(&[1, 5]),
                false => ended.expect_code(0),
            };
        }
    }
}

/// No process names this directory any more.
pub(super) fn assert_no_process_is_left(ground: &Path) {
    let place = ground.as_os_str().as_encoded_bytes();
    for process in fs::read_dir("/proc").expect("/proc") {
        let process = process.expect("an entry").path();
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let names = command.windows(place.len()).any(|part| part == place);
        assert!(!names, "{}", String::from_utf8_lossy(&command));
    }
}

/// Things under names of the program's own, but for journals.
fn orphans(destination: &Path) -> Vec<PathBuf> {
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
fn remove(orphans: &[PathBuf], destination: &Path) {
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
