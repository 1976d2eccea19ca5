//! What held a transfer back is named: each test makes one thing slow, and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use packhorse_netlab::{Conditions, Lab};

use crate::harness::surroundings::works;
use crate::harness::{Ended, Ground, Packhorse, assert_same_file, not_shown};

/// Both directions alike; `None` with a note where this may not be made.
fn lab(test: &str, conditions: Conditions) -> Option<Lab> {
    match Lab::new(
        conditions,
        Conditions {
            seed: 9,
            ..conditions
        },
    ) {
        Ok(lab) => Some(lab),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            not_shown(test, "this user may not make network namespaces");
            None
        }
        Err(error) => panic!("no lab: {error}"),
    }
}

/// Sends a file of so many megabytes through the lab, and gives what the sender's receipt names.
fn verdict(lab: &Lab, megabytes: usize) -> String {
    let ground = Ground::new();
    let source = ground.source_file("large.bin", noise(megabytes));
    let mut receiver = Packhorse::verb("recv")
        .arg(ground.destination())
        .args(["--listen", &format!("{}:0", lab.right().address())])
        .args(["--events", "-"])
        .code(crate::harness::CODE)
        .start_at(lab.right());
    let address = receiver.address();
    let sender = Packhorse::send(&[&source], &address)
        .start_at(lab.left())
        .wait();
    sender.expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&source, &ground.destination().join("large.bin"));
    named(&sender)
}

fn named(ended: &Ended) -> String {
    let done = ended.done();
    done["limited_by"]
        .as_str()
        .unwrap_or_else(|| panic!("{done}"))
        .to_owned()
}

fn noise(megabytes: usize) -> Vec<u8> {
    let mut random = crate::harness::random::Random::seeded();
    random.bytes(megabytes * 1_000_000)
}

/// Sets something of one side's kernel.
fn sysctl(side: &packhorse_netlab::Side, name: &'static str, value: &'static str) {
    let path = Path::new("/proc/sys/net").join(name);
    side.run(move || fs::write(path, value)).expect(name);
}

#[test]
fn the_rate_of_the_link_is_named() {
    let conditions = Conditions {
        rate: Some(50_000_000),
        delay: Duration::from_millis(5),
        ..Conditions::default()
    };
    let Some(lab) = lab("the_rate_of_the_link_is_named", conditions) else {
        return;
    };
    assert_eq!(verdict(&lab, 15), "network: rate");
}

#[test]
fn windows_that_are_too_small_are_named() {
    let conditions = Conditions {
        delay: Duration::from_millis(50),
        ..Conditions::default()
    };
    let Some(lab) = lab("windows_that_are_too_small_are_named", conditions) else {
        return;
    };
    sysctl(lab.left(), "ipv4/tcp_wmem", "4096 16384 65536");
    assert_eq!(verdict(&lab, 15), "network: window");
}

#[test]
fn loss_is_named() {
    let conditions = Conditions {
        delay: Duration::from_millis(20),
        loss: 0.04,
        ..Conditions::default()
    };
    let Some(lab) = lab("loss_is_named", conditions) else {
        return;
    };
    // One that takes loss for congestion, whatever this machine has otherwise.
    sysctl(lab.left(), "ipv4/tcp_congestion_control", "reno");
    assert_eq!(verdict(&lab, 15), "network: loss");
}

/// A filesystem that takes writes a fifth of the time, and lets them wait for the rest of it.
///
/// It is frozen and thawed in turns (fsfreeze(8)): whoever writes to it then sleeps, as for a disk that is
/// busy. How fast the disk beneath it is, and how loaded the machine, does not matter.
struct SlowDisk {
    at: PathBuf,
    ends: Arc<AtomicBool>,
    turns: Option<JoinHandle<()>>,
}

impl SlowDisk {
    fn mount(image: &Path, at: PathBuf) -> Option<Self> {
        fs::File::create(image).ok()?.set_len(512 << 20).ok()?;
        let made = works(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(image).arg(&at);
        if !made || !works(&mut mount) {
            return None;
        }
        let ends = Arc::new(AtomicBool::new(false));
        let turns = thread::spawn({
            let (at, ends) = (at.clone(), Arc::clone(&ends));
            move || take_turns(&at, &ends)
        });
        let turns = Some(turns);
        Some(Self { at, ends, turns })
    }
}

/// Freezes the filesystem and thaws it, until `ends`; leaves it thawed. However late it comes to freeze it
/// again, it is frozen four times as long as it was not.
fn take_turns(at: &Path, ends: &AtomicBool) {
    let fsfreeze = |what| works(Command::new("fsfreeze").arg(what).arg(at));
    let mut thawed = Duration::from_millis(50);
    while !ends.load(Ordering::Relaxed) {
        assert!(fsfreeze("--freeze"));
        thread::sleep(4 * thawed);
        let start = Instant::now();
        assert!(fsfreeze("--unfreeze"));
        thread::sleep(Duration::from_millis(10));
        thawed = start.elapsed();
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let turns = self.turns.take().map(JoinHandle::join);
        let _ = Command::new("umount").arg(&self.at).output();
        if !thread::panicking() {
            turns
                .expect("one thread")
                .expect("a filesystem to be frozen and thawed");
        }
    }
}

#[test]
fn a_slow_destination_is_named() {
    let test = "a_slow_destination_is_named";
    let ground = Ground::new();
    let source = ground.source_file("large.bin", noise(64));
    let disk = SlowDisk::mount(&ground.path().join("image"), ground.destination());
    let Some(_disk) = disk else {
        return not_shown(test, "this user may not mount");
    };
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let sender = Packhorse::send(&[&source], &receiver.address()).run();
    sender.expect_code(0);
    receiver.wait().expect_code(0);
    assert_eq!(named(&sender), "destination disk");
}

#[test]
fn a_slow_source_is_named() {
    let ground = Ground::new();
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    // A pipe that somebody fills now and then.
    let mut shell = Command::new("sh");
    let fill = "(for i in 1 2 3 4 5 6; do head -c 1000000 /dev/zero; sleep 0.2; done) | \"$@\"";
    shell
        .args(["-c", fill, "sh"])
        .arg(env!("CARGO_BIN_EXE_packhorse"));
    shell.args([
        "send",
        "-",
        &receiver.address(),
        "--name",
        "slow",
        "--events",
        "-",
    ]);
    let sender = Packhorse::from_command(shell)
        .code(crate::harness::CODE)
        .run();
    sender.expect_code(0);
    receiver.wait().expect_code(0);
    assert_eq!(named(&sender), "source disk");
}

/// Programs that do nothing, as fast as they can, on the first processor.
struct Crowd(Vec<Child>);

impl Crowd {
    fn gather(count: usize) -> io::Result<Self> {
        let mut crowd = Self(Vec::new());
        for _ in 0..count {
            let mut busy = Command::new("timeout");
            busy.args([
                "120",
                "taskset",
                "-c",
                "0",
                "python3",
                "-c",
                "while True: pass",
            ]);
            crowd.0.push(busy.stdin(Stdio::null()).spawn()?);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It hands the signal on.
            let pid = rustix::process::Pid::from_child(child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }
}

#[test]
fn a_crowded_processor_is_named() {
    let test = "a_crowded_processor_is_named";
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return not_shown(test, "one processor cannot be slow for one side alone");
    }
    let ground = Ground::new();
    let source = ground.source_file("large.bin", noise(200));
    let _crowd = Crowd::gather(3).expect("taskset and python3 start");
    // It comes after the crowd as well: whatever else this machine does meanwhile holds the sender back less.
    let mut pinned = Command::new("nice");
    pinned
        .args(["-n", "8", "taskset", "-c", "0"])
        .args([env!("CARGO_BIN_EXE_packhorse"), "recv"])
        .arg(ground.destination());
    pinned.args(["--listen", "127.0.0.1:0", "--events", "-"]);
    let mut receiver = Packhorse::from_command(pinned)
        .code(crate::harness::CODE)
        .start();
    let mut free = Command::new("taskset");
    free.args([
        "-c",
        "1",
        env!("CARGO_BIN_EXE_packhorse"),
        "send",
        "--events",
        "-",
    ]);
    free.arg(&source).arg(receiver.address());
    let sender = Packhorse::from_command(free);
    let sender = sender.code(crate::harness::CODE).run();
    sender.expect_code(0);
    receiver.wait().expect_code(0);
    let named = named(&sender);
    assert!(named.starts_with("the receiver's processor: "), "{named}");
}
