//! Sources that fail, and disks that are full: said by name, and the rest goes on.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::harness::compare::{
    assert_nothing_left_over, assert_only_remains, assert_same_tree, assert_untouched,
    is_earlier_state,
};
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::surroundings::{SmallDisk, is_root, works};
use crate::harness::tree::many_small_files;
use crate::harness::{
    CODE, Ended, Ground, Packhorse, assert_same_file, not_shown, transfer, transfer_whole,
};
use crate::resume::wait_until_it_stands;

const MIB: u64 = 1 << 20;

#[test]
fn missing_source_is_named() {
    let ground = Ground::new();
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let missing = ground.source().join("missing");
    let sender = Packhorse::send(&[&missing], &receiver.address()).run();
    sender.expect_code_in(&[1, 5]).expect_says("missing");
}

#[test]
fn unreadable_file_fails_by_name_rest_arrives() {
    // Not in the target directory: whoever sends here may not be allowed to enter that.
    let ground = Ground::within(&std::env::temp_dir());
    ground.source_file("tree/secret", "not for everybody");
    ground.source_file("tree/closed/inside", "not for everybody");
    let good = ground.source_file("tree/good", "content");
    for closed in ["tree/secret", "tree/closed"] {
        let path = ground.source().join(closed);
        fs::set_permissions(path, Permissions::from_mode(0o000)).expect("a mode");
    }
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let address = receiver.address();
    let Some(sender) = send_without_privileges(&ground, "tree", &address) else {
        return not_shown(
            "unreadable_file_fails_by_name_rest_arrives",
            "root reads every file, and there is no working setpriv to stop being root",
        );
    };
    sender
        .expect_code(1)
        .expect_says("tree/secret")
        .expect_says("tree/closed");
    receiver.wait().expect_code(1);
    assert_same_file(&good, &ground.destination().join("tree/good"));
    let failed = sender.events_named("failed");
    assert!(
        failed
            .iter()
            .any(|event| event["path"].as_str().is_some_and(|p| p.contains("secret")))
    );
}

/// Sends as somebody whom permissions hold; `None` where that cannot be.
fn send_without_privileges(ground: &Ground, source: &str, address: &str) -> Option<Ended> {
    let source = ground.source().join(source);
    if !is_root() {
        return Some(Packhorse::send(&[&source], address).run());
    }
    let program = ground.path().join("packhorse");
    fs::copy(env!("CARGO_BIN_EXE_packhorse"), &program).expect("a copy");
    fs::set_permissions(ground.path(), Permissions::from_mode(0o755)).expect("a mode");
    let nobody = || {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        setpriv.arg(&program);
        setpriv
    };
    works(nobody().arg("--version")).then(|| {
        let send = Packhorse::from_command(nobody())
            .arg("send")
            .args(["--events", "-"]);
        send.arg(source).arg(address).code(CODE).run()
    })
}

#[test]
fn unreadable_kinds_are_named_and_left_out() {
    let ground = Ground::new();
    let good = ground.source_file("tree/good", "content");
    let fifo = ground.source().join("tree/fifo");
    assert!(works(Command::new("mkfifo").arg(&fifo)), "mkfifo");
    let (sender, receiver) = transfer(&[&ground.source().join("tree")], &ground.destination());
    sender.expect_code(1).expect_says("tree/fifo");
    receiver.expect_code(1);
    assert_same_file(&good, &ground.destination().join("tree/good"));
    assert!(!ground.destination().join("tree/fifo").exists());
}

#[test]
fn file_changing_while_read() {
    let ground = Ground::new();
    let changing = ground.source_file("tree/changing.log", vec![b'x'; 30 << 20]);
    let good = ground.source_file("tree/good", "content");
    let over = AtomicBool::new(false);
    let (sender, receiver) = std::thread::scope(|scope| {
        scope.spawn(|| append_until(&changing, &over));
        let ends = transfer(&[&ground.source().join("tree")], &ground.destination());
        over.store(true, Ordering::Relaxed);
        ends
    });
    assert_same_file(&good, &ground.destination().join("tree/good"));
    let arrived = ground.destination().join("tree/changing.log");
    if sender.code() == Some(0) {
        receiver.expect_code(0);
        assert!(
            is_earlier_state(&arrived, &changing),
            "a state it never had"
        );
    } else {
        sender
            .expect_code(1)
            .expect_says("tree/changing.log")
            .expect_says("changed");
        receiver.expect_code(1);
        assert!(!arrived.exists(), "a file that failed is not there");
    }
    // The roll, for the same command.
    assert_only_remains(&ground.destination(), 0);
}

/// A file that is half sent when something is done to it. Answers how many bytes crossed; it arrives as it is then.
#[track_caller]
fn half_sent(act: impl FnOnce(&File)) -> u64 {
    let ground = Ground::new();
    let content = Random::seeded().bytes(HALF_SENT);
    let file = ground.source_file("file", content);
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let proxy = Proxy::to(&receiver.address());
    proxy.stop_after(HALF_SENT as u64 / 2);
    let sender = Packhorse::send(&[&file], &proxy.address()).start();
    wait_until_it_stands(&mut receiver, &proxy);
    let open = File::options().read(true).write(true).open(&file);
    act(&open.expect("it is there"));
    proxy.go_on();
    sender.wait().expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("file"));
    proxy.carried()
}

const HALF_SENT: usize = 32 << 20;

#[test]
fn file_that_changes_while_it_is_read_and_gets_its_time_back() {
    half_sent(|file| {
        let modified = file.metadata().and_then(|known| known.modified());
        for at in [0, HALF_SENT as u64 - 1] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("it is there");
            file.write_all_at(&[!byte[0]], at).expect("a byte");
        }
        file.set_modified(modified.expect("a time"))
            .expect("it is ours");
    });
}

/// Its content is read again, and not sent.
#[test]
fn file_that_is_touched_while_it_is_read() {
    let crossed = half_sent(|file| {
        let own = file.metadata().expect("it is there").permissions();
        file.set_permissions(own).expect("it is ours");
    });
    assert!(crossed < HALF_SENT as u64 * 11 / 10, "{crossed}");
}

/// Lets a file grow, a little at a time, at most as large as a few others.
fn append_until(path: &Path, over: &AtomicBool) {
    let mut file = OpenOptions::new().append(true).open(path).expect("a file");
    for _ in 0..2_000_000 {
        if over.load(Ordering::Relaxed) {
            break;
        }
        file.write_all(b"another line of the log\n")
            .expect("a line");
        std::thread::yield_now();
    }
}

#[test]
fn disk_full() {
    let ground = Ground::new();
    let Some(_disk) = SmallDisk::mount(ground.destination(), "4m") else {
        return not_shown("disk_full", "mounting a small filesystem needs privileges");
    };
    for number in 0..8 {
        ground.source_file(&format!("tree/{number}"), vec![number; 1 << 20]);
    }
    let tree = ground.source().join("tree");
    let (sender, receiver) = transfer(&[&tree], &ground.destination());
    for side in [&receiver, &sender] {
        side.expect_code(5)
            .expect_says("full")
            .expect_says("of 8.38 MB are there");
    }
    // What is complete stays, and the same command goes on from it once there is room.
    let names = fs::read_dir(ground.destination().join("tree")).expect("it is there");
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!((1..=4).contains(&names.len()), "{names:?}");
}

/// A sender learns at once which file does not fit; the others arrive, and are not sent again when there is room.
#[test]
fn file_larger_than_the_room_is_named_and_the_rest_arrives() {
    let ground = Ground::new();
    let destination = ground.destination();
    let Some(disk) = SmallDisk::mount(destination.clone(), "16m") else {
        return not_shown("file_larger_than_the_room", "mounting needs privileges");
    };
    ground.source_file("tree/a", vec![1; 3 << 20]);
    ground.sparse_file("tree/huge.img", 40 * MIB);
    ground.source_file("tree/z", vec![2; 3 << 20]);
    let tree = ground.source().join("tree");
    let (sender, receiver) = transfer(&[&tree], &destination);
    for side in [&receiver, &sender] {
        side.expect_code(1)
            .expect_says("tree/huge.img")
            .expect_says("it takes 41.9 MB, and ")
            .expect_says(" are free at the destination");
    }
    for (name, content) in [("a", 1), ("z", 2)] {
        let there = fs::read(destination.join("tree").join(name)).expect("it arrived");
        assert!(there == vec![content; 3 << 20]);
    }
    disk.grow("64m");
    let (sender, _) = transfer_whole(&tree, &destination);
    assert_eq!(sender.done()["resumed_bytes"], 6 << 20);
    assert_same_tree(&tree, &destination.join("tree"));
    assert_nothing_left_over(&destination);
}

/// Rounded to three digits both are the same.
#[test]
fn file_that_just_does_not_fit_is_told_to_the_byte() {
    let ground = Ground::new();
    let destination = ground.destination();
    let Some(_disk) = SmallDisk::mount(destination.clone(), "20m") else {
        return not_shown("file_that_just_does_not_fit", "mounting needs privileges");
    };
    let file = ground.sparse_file("file", 20 * MIB);
    let (sender, receiver) = transfer(&[&file], &destination);
    for side in [&receiver, &sender] {
        side.expect_code(1)
            .expect_says("it takes 20971520 bytes, and 209")
            .expect_says("make room there, and run the same command again");
    }
}

/// There is room, and yet nothing can be stored.
#[test]
fn inodes_that_ran_out_are_named() {
    let ground = Ground::new();
    let Some(_disk) = SmallDisk::mount(ground.destination(), "16m,nr_inodes=20") else {
        return not_shown("inodes_that_ran_out", "mounting needs privileges");
    };
    for number in 0..40 {
        ground.source_file(&format!("tree/{number}"), "content");
    }
    let tree = ground.source().join("tree");
    let (sender, receiver) = transfer(&[&tree], &ground.destination());
    for side in [&receiver, &sender] {
        side.expect_code(5)
            .expect_says("has no inodes left")
            .expect_says("of 280 B are there")
            .expect_says("try: make room there");
        let said = side.stderr_text();
        assert!(
            !said.contains("is full") && !said.contains(" 0 files"),
            "{said}"
        );
    }
}

/// Nothing is kept of what nobody can send from where it broke.
#[test]
fn stream_that_does_not_fit_leaves_nothing_and_says_so() {
    let ground = Ground::new();
    let disk = ground.destination();
    let Some(_disk) = SmallDisk::mount(disk.clone(), "4m") else {
        return not_shown("stream_that_does_not_fit", "mounting needs privileges");
    };
    let mut receiver = Packhorse::recv(&disk).start();
    let sender = Packhorse::send(&[Path::new("-")], &receiver.address())
        .args(["--name", "stream"])
        .input(vec![7; 30 << 20])
        .run();
    for side in [receiver.wait(), sender] {
        side.expect_code(5)
            .expect_says("'stream': No space left on device (os error 28); nothing is kept of it")
            .expect_says("try: make room there")
            .expect_says("with what writes into it");
        let said = side.stderr_text();
        assert!(
            !said.contains("0 B") && !said.contains("verified parts"),
            "{said}"
        );
    }
    assert_nothing_left_over(&disk);
}

/// Their size says 0, and they are not empty: storing them empty would lose what they hold.
#[test]
fn files_that_are_made_when_read_fail_by_name() {
    let ground = Ground::new();
    let (sender, receiver) = transfer(&[Path::new("/proc/version")], &ground.destination());
    sender.expect_code(1).expect_says("/proc/version");
    receiver.expect_code(1);
    assert!(!ground.destination().join("version").exists());
}

/// It shows before a code is used up, and not file by file.
#[test]
fn destination_that_takes_no_files_is_refused_at_once() {
    let receiver = Packhorse::recv(Path::new("/proc")).run();
    receiver.expect_code(5).expect_says("/proc");
    assert!(receiver.events_named("listening").is_empty());
}

/// Nothing was begun that could go on.
#[test]
fn subdirectory_behind_a_link_is_refused_with_nothing_transferred() {
    let ground = Ground::new();
    symlink(ground.beside(), ground.destination().join("link")).expect("a link");
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let to = format!("ph://{}/link", receiver.address());
    let sender = Packhorse::send(&[&file], &to).run();
    for (side, consequence) in [
        (sender, "the receiver has said of nothing that it is there"),
        (receiver.wait(), "nothing was transferred"),
    ] {
        side.expect_code(5)
            .expect_says("a symbolic link is in the way")
            .expect_says(consequence)
            .expect_says("try: ");
    }
    assert_untouched(&ground.beside());
}

#[test]
fn receipt_that_does_not_fit_is_no_success() {
    let ground = Ground::new();
    let test = "receipt_that_does_not_fit_is_no_success";
    let disk = ground.beside().join("disk");
    fs::create_dir_all(&disk).expect("a directory");
    let Some(_disk) = SmallDisk::mount(disk, "16k") else {
        return not_shown(test, "mounting a small filesystem needs privileges");
    };
    for number in 0..500 {
        ground.source_file(&format!("tree/{number}"), "content");
    }
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let sender = Packhorse::send(&[&ground.source().join("tree")], &receiver.address())
        .arg("--receipt")
        .arg(ground.beside().join("disk/receipt.json"))
        .run();
    sender
        .expect_code(5)
        .expect_says("disk/receipt.json': No space left on device")
        .expect_says("there is no receipt of it")
        .expect_says("try: take the other side's");
    let said = sender.stderr_text();
    assert!(!said.contains(".packhorse"), "{said}");
    receiver.wait().expect_code(0);
    assert_untouched(&ground.beside().join("disk"));
}

#[test]
fn destination_that_is_a_file_is_refused() {
    let ground = Ground::new();
    let file = ground.beside().join("file");
    File::create(&file).expect("a file");
    Packhorse::recv(&file)
        .run()
        .expect_code(5)
        .expect_says("beside/file': it is not a directory")
        .expect_says("try: name a directory");
}

/// Said once, and not of each file; the next session makes it again, also where it was renamed.
#[test]
fn a_destination_that_is_removed() {
    let ground = Ground::new();
    many_small_files(ground.source().join("tree"), 500);
    ground.source_file("tree/z.bin", vec![7; 20 << 20]);
    let destination = ground.destination().join("into");
    let tree = ground.source().join("tree");
    let mut receiver = Packhorse::recv(&destination).arg("--keep").start();
    let address = receiver.address();
    let proxy = Proxy::to(&address);
    proxy.stop_after(10 << 20);
    let sender = Packhorse::send(&[&tree], &proxy.address()).start();
    wait_until_it_stands(&mut receiver, &proxy);
    fs::remove_dir_all(&destination).expect("it is there");
    proxy.go_on();
    sender.wait().expect_code(5).expect_says("was removed");
    for n in 0..3 {
        Packhorse::send(&[&tree], &address).run().expect_code(0);
        assert_same_tree(&tree, &destination.join("tree"));
        match n {
            0 => fs::remove_dir_all(&destination),
            _ => fs::rename(&destination, destination.with_extension(n.to_string())),
        }
        .expect("it is there");
    }
    receiver.signal(Signal::INT);
    let receiver = receiver.wait();
    receiver
        .expect_says("the destination directory")
        .expect_says("was removed");
    assert!(receiver.events_named("failed").is_empty());
}
