//! Running packhorse: each process has a deadline, and none outlives its test.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use packhorse_netlab::Side;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid,
};
use serde_json::Value;

/// The code that both sides know unless a test says otherwise.
pub(crate) const CODE: &str = "amber falcon river";

/// Far more than any process here takes on a slow machine that does something else besides.
const DEADLINE: Duration = Duration::from_secs(150);

/// A packhorse that is about to run, with nothing in its environment but what is said here.
pub(crate) struct Packhorse {
    command: Command,
    input: Vec<u8>,
    deadline: Duration,
}

/// Ends with the first connection that breaks.
const IMPATIENT: [&str; 2] = ["--retry-for", "0"];

impl Packhorse {
    /// A receiver on a loopback port of the kernel's choice, which tells its events. It does not wait for anybody whose
    /// connection broke.
    pub(crate) fn recv(destination: &Path) -> Self {
        Self::verb("recv").args(IMPATIENT).receiving(destination)
    }

    /// One that waits.
    pub(crate) fn patient_recv(destination: &Path) -> Self {
        Self::verb("recv").receiving(destination)
    }

    fn receiving(self, destination: &Path) -> Self {
        self.arg(destination)
            .args(["--listen", "127.0.0.1:0", "--events", "-"])
            .code(CODE)
    }

    /// A sender, which tells its events, and gives up when the connection breaks.
    pub(crate) fn send(sources: &[&Path], to: &str) -> Self {
        Self::verb("send").args(IMPATIENT).sending(sources, to)
    }

    /// One that connects again.
    pub(crate) fn patient_send(sources: &[&Path], to: &str) -> Self {
        Self::verb("send").sending(sources, to)
    }

    fn sending(self, sources: &[&Path], to: &str) -> Self {
        self.args(["--events", "-"])
            .args(sources)
            .arg(to)
            .code(CODE)
    }

    /// Any verb, without a code.
    pub(crate) fn verb(verb: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
        command.arg(verb);
        Self::from_command(command)
    }

    /// Some other command that ends up as a packhorse.
    pub(crate) fn from_command(mut command: Command) -> Self {
        command.env_clear().env("HOME", env!("CARGO_TARGET_TMPDIR"));
        for inherited in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(inherited) {
                command.env(inherited, value);
            }
        }
        Self {
            command,
            input: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Gives the code by the environment.
    pub(crate) fn code(self, code: &str) -> Self {
        self.env("PACKHORSE_CODE", code)
    }

    /// Takes back the code.
    pub(crate) fn without_code(mut self) -> Self {
        self.command.env_remove("PACKHORSE_CODE");
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// What it reads from standard input, which ends after it.
    pub(crate) fn input(mut self, input: Vec<u8>) -> Self {
        self.input = input;
        self
    }

    /// Has another program start it: what that is, with its arguments.
    pub(crate) fn through(mut self, starter: &[impl AsRef<OsStr>]) -> Self {
        let [program, arguments @ ..] = starter else {
            return self;
        };
        let mut command = Command::new(program);
        command.env_clear().args(arguments);
        command
            .arg(self.command.get_program())
            .args(self.command.get_args());
        command.envs(
            self.command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        self.command = command;
        self
    }

    /// How long it may run.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }

    /// Starts it.
    pub(crate) fn start(self) -> Running {
        self.start_by(|mut command| command.spawn())
    }

    /// Starts it at one side of a test network.
    pub(crate) fn start_at(self, side: &Side) -> Running {
        self.start_by(|mut command| side.run(move || command.spawn()))
    }

    fn start_by(mut self, spawn: impl FnOnce(Command) -> io::Result<Child>) -> Running {
        let what = format!("{:?}", self.command.get_args().next().unwrap_or_default());
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(self.command).expect("packhorse starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A process that does not read its input is not wrong to end before all is written.
        std::thread::spawn(move || stdin.write_all(&self.input));
        let pid = Pid::from_child(&child);
        Running {
            what,
            pidfd: pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd"),
            stdout: Heard::listen(child.stdout.take().expect("stdout is piped")),
            stderr: Heard::listen(child.stderr.take().expect("stderr is piped")),
            child,
            events_seen: 0,
            deadline: Instant::now() + self.deadline,
        }
    }
}

/// A packhorse that runs. Dropping it kills it.
pub(crate) struct Running {
    what: String,
    child: Child,
    pidfd: OwnedFd,
    stdout: Heard,
    stderr: Heard,
    /// How many lines of standard output `wait_for` has looked at.
    events_seen: usize,
    deadline: Instant,
}

impl Running {
    /// Where a receiver listens: waits until it does.
    #[track_caller]
    pub(crate) fn address(&mut self) -> String {
        let event = self.wait_for("listening", |_| true);
        event["addr"].as_str().expect("addr is a string").to_owned()
    }

    /// The same; `None` where it ended before.
    pub(crate) fn try_address(&mut self) -> Option<String> {
        let listens = |lines: &[String]| {
            let line = lines.first()?;
            let address = parse_event(line)["addr"].as_str()?.to_owned();
            Some(address)
        };
        self.stdout.wait(self.deadline, listens)
    }

    /// Waits for an event of this name that is as wanted, and gives it. Each event is looked at once.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.wait_for_any(&[name]);
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits for the next event of any of these names, and gives it.
    #[track_caller]
    pub(crate) fn wait_for_any(&mut self, names: &[&str]) -> Value {
        let event = self.next_of(names);
        event.unwrap_or_else(|| panic!("none of {names:?} from {}: {}", self.what, self.told()))
    }

    /// Waits for the next event of this name; `None` where it ends before.
    pub(crate) fn wait_for_or_end(&mut self, name: &str) -> Option<Value> {
        self.next_of(&[name])
    }

    /// The next event of any of these names; `None` where it ends before.
    fn next_of(&mut self, names: &[&str]) -> Option<Value> {
        loop {
            let at = self.events_seen;
            let line = self
                .stdout
                .wait(self.deadline, |lines| lines.get(at).cloned());
            self.events_seen += 1;
            let event = parse_event(&line?);
            if names.iter().any(|name| event["event"] == *name) {
                return Some(event);
            }
        }
    }

    /// Waits until some content has crossed.
    #[track_caller]
    pub(crate) fn wait_until_moving(&mut self) {
        self.wait_for("progress", |event| event["bytes"].as_u64() > Some(0));
    }

    /// Waits until standard error holds what `find` finds.
    #[track_caller]
    pub(crate) fn wait_for_stderr<T>(&mut self, find: impl Fn(&[String]) -> Option<T>) -> T {
        match self.stderr.wait(self.deadline, find) {
            Some(found) => found,
            None => panic!("{} never said what it should: {}", self.what, self.told()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended; it is still there to be waited for, so that signals reach nobody else.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let ended = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        ended.expect("a child to wait for").is_some()
    }

    /// Waits until it stops (SIGSTOP), or ends.
    pub(crate) fn wait_until_stopped(&self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let stopped =
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), options));
        stopped.expect("a child to wait for");
    }

    /// Kills it outright, and waits until it is dead: what is sent to it from then on is lost.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait_until_stopped();
    }

    /// The most memory it has had so far, in bytes; `None` once it has ended.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes = peak.trim().strip_suffix("kB").expect("in kB");
        Some(kilobytes.trim().parse::<u64>().expect("a number") << 10)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let Some(status) = self.ended_by(self.deadline) else {
            let _ = self.child.kill();
            panic!("{} ran into its deadline: {}", self.what, self.told());
        };
        Ended {
            what: std::mem::take(&mut self.what),
            status,
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }

    fn ended_by(&mut self, deadline: Instant) -> Option<ExitStatus> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a short time");
        let mut ends = [PollFd::new(&self.pidfd, PollFlags::IN)];
        // EINTR cannot happen: the test handles no signals.
        poll(&mut ends, Some(&timeout)).expect("poll");
        self.child.try_wait().expect("a child to wait for")
    }

    fn told(&self) -> String {
        format!(
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout.so_far().join("\n"),
            self.stderr.so_far().join("\n")
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a packhorse ended, and all it said.
pub(crate) struct Ended {
    what: String,
    status: ExitStatus,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

impl Ended {
    /// The exit code; `None` where a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it, where one did.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        self.expect_code_in(&[code])
    }

    #[track_caller]
    pub(crate) fn expect_code_in(&self, codes: &[i32]) -> &Self {
        let good = self.code().is_some_and(|code| codes.contains(&code));
        assert!(good, "expected {codes:?}; {}", self.told());
        self
    }

    /// Looks for a word on standard error, in any case.
    #[track_caller]
    pub(crate) fn expect_says(&self, word: &str) -> &Self {
        let said = self.stderr_text().to_lowercase();
        assert!(
            said.contains(&word.to_lowercase()),
            "no {word:?}; {}",
            self.told()
        );
        self
    }

    pub(crate) fn stdout(&self) -> &[String] {
        &self.stdout
    }

    pub(crate) fn stderr_text(&self) -> String {
        self.stderr.join("\n")
    }

    /// All events, where `--events -` was given.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout.iter().map(|line| parse_event(line)).collect()
    }

    /// The events of one name.
    pub(crate) fn events_named(&self, name: &str) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|event| event["event"] == name);
        events
    }

    /// The event `done`, of which there is exactly one.
    #[track_caller]
    pub(crate) fn done(&self) -> Value {
        let mut done = self.events_named("done");
        assert_eq!(done.len(), 1, "exactly one `done`; {}", self.told());
        done.remove(0)
    }

    pub(crate) fn told(&self) -> String {
        format!(
            "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.what,
            self.status,
            self.stdout.join("\n"),
            self.stderr_text()
        )
    }
}

#[track_caller]
fn parse_event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {line:?}: {error}"))
}

/// A stream that a thread reads, line by line, until its end.
struct Heard {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Heard {
    fn listen(stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<Lines>, Condvar)>::default();
        let writer = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let (lines, more) = &*writer;
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                // Invalid UTF-8 shows as U+FFFD, which `output.rs` looks for.
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().expect("no reader panics").lines.push(line);
                more.notify_all();
            }
            lines.lock().expect("no reader panics").ended = true;
            more.notify_all();
        });
        Self {
            shared,
            reader: Some(reader),
        }
    }

    /// Waits until the lines hold what `find` finds; `None` when they end, or time does, without it.
    fn wait<T>(&self, deadline: Instant, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let (lines, more) = &*self.shared;
        let mut lines = lines.lock().expect("no reader panics");
        loop {
            let found = find(&lines.lines);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || lines.ended || left.is_zero() {
                return found;
            }
            lines = more.wait_timeout(lines, left).expect("no reader panics").0;
        }
    }

    fn so_far(&self) -> Vec<String> {
        self.shared
            .0
            .lock()
            .expect("no reader panics")
            .lines
            .clone()
    }

    fn all(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        self.so_far()
    }
}

/// A file that holds a code, beside the trees of a test.
pub(crate) fn code_file(directory: &Path, code: &str) -> PathBuf {
    let path = directory.join("code");
    std::fs::write(&path, format!("{code}\n")).expect("a code file");
    path
}
