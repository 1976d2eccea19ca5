//! Receivers that serve one session after the other, and what they have of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{CODE, Ground, Packhorse, Running};

/// What a process may have resident: what the README promises.
const MEMORY: u64 = 64 << 20;

/// Within which what a session had is given back.
const GIVEN_BACK: Duration = Duration::from_secs(10);

/// A receiver that lives through all of it.
pub(super) struct Lasting {
    pub(super) running: Running,
    pub(super) address: String,
    pub(super) destination: PathBuf,
    /// What its senders are told.
    pub(super) options: &'static [&'static str],
    /// Before the first session.
    idle: Use,
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
}

impl Household {
    pub(super) fn start(ground: &Ground, lifetime: Duration) -> Self {
        let with_code = ("encrypted", &[][..], &[][..]);
        let without = ("insecure", &["--insecure"][..], &["--insecure"][..]);
        let receivers = [with_code, without].map(|(name, own, options)| {
            let destination = ground.destination().join(name);
            let mut receiver = Packhorse::verb("recv").arg(&destination).arg("--keep");
            receiver = receiver.args(own).args(["--listen", "127.0.0.1:0"]);
            if own.is_empty() {
                receiver = receiver.code(CODE);
            }
            let receiver = receiver.args(["--events", "-"]).deadline(lifetime);
            let mut running = receiver.start();
            Lasting {
                address: running.address(),
                idle: Use::of(&running),
                running,
                destination,
                options,
            }
        });
        Self {
            receivers: Vec::from(receivers),
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
            receiver.running.wait().expect_code(0);
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
