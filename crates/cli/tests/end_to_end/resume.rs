//! The same command again goes on where the one before ended.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::harness::compare::{assert_nothing_left_over, assert_only_remains, assert_same_tree};
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::tree::many_small_files;
use crate::harness::{Ended, Ground, Packhorse, Running, transfer, transfer_whole};

pub(crate) const MEBIBYTE: u64 = 1 << 20;

/// What may have been on its way when somebody was killed, and is sent again: an extent on each lane, and the last files
/// whose records were not written.
const ON_ITS_WAY: u64 = 40 * MEBIBYTE;

/// A large file of random bytes, and small ones before and behind it in the order of the manifest.
pub(crate) fn make_tree(ground: &Ground, large: u64, small: usize) -> PathBuf {
    let mut random = Random::seeded();
    let large = usize::try_from(large).expect("it is in memory");
    ground.source_file("tree/large.bin", random.bytes(large));
    many_small_files(ground.source().join("tree/a"), small / 2);
    many_small_files(ground.source().join("tree/z"), small / 2);
    ground.source().join("tree")
}

/// Who is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Sender,
    Receiver,
}

/// A session that was ended by a signal, or came to its end before.
pub(crate) struct Broken {
    /// Bytes that the receiver said it had, those from before among them.
    pub(crate) written: u64,
    pub(crate) complete: bool,
}

/// Sends, lets so many bytes pass, and ends one side then.
pub(crate) fn end_at(
    source: &Path,
    destination: &Path,
    (victim, signal): (Victim, Signal),
    bytes: u64,
) -> Broken {
    let mut receiver = Packhorse::recv(destination).start();
    let proxy = Proxy::to(&receiver.address());
    proxy.stop_after(bytes);
    let sender = Packhorse::send(&[source], &proxy.address()).start();
    wait_until_it_stands(&mut receiver, &proxy);
    match victim {
        Victim::Sender => sender.signal(signal),
        Victim::Receiver => receiver.signal(signal),
    }
    // What one has to say to the other in the end gets through.
    proxy.go_on();
    sender.wait();
    let receiver = receiver.wait();
    let progress = receiver.events_named("progress");
    let bytes = progress.iter().filter_map(|event| event["bytes"].as_u64());
    Broken {
        written: bytes.max().unwrap_or(0),
        complete: !receiver.events_named("done").is_empty(),
    }
}

/// Waits until a receiver has all that has passed; answers how many bytes of content it has.
pub(crate) fn wait_until_it_stands(receiver: &mut Running, proxy: &Proxy) -> u64 {
    let mut before = None;
    loop {
        let event = receiver.wait_for_any(&["progress", "done"]);
        let bytes = event["bytes"].as_u64().expect("a number");
        if event["event"] == "done" || (proxy.has_stopped() && before == Some(bytes)) {
            return bytes;
        }
        before = Some(bytes);
    }
}

fn resumed(ended: &Ended) -> u64 {
    ended.done()["resumed_bytes"].as_u64().expect("a number")
}

/// The same command again: what arrives is whole, and what did not have to be sent is the answer.
#[track_caller]
pub(crate) fn complete(source: &Path, destination: &Path) -> u64 {
    let (sender, receiver) = transfer_whole(source, destination);
    assert_eq!(resumed(&sender), resumed(&receiver));
    let name = source.file_name().expect("a name");
    assert_same_tree(source, &destination.join(name));
    assert_nothing_left_over(destination);
    resumed(&receiver)
}

#[test]
fn what_was_there_when_one_side_was_ended_is_not_sent_again() {
    let large = 512 * MEBIBYTE;
    let ground = Ground::new();
    let source = make_tree(&ground, large, 600);
    for (round, end) in [
        (Victim::Receiver, Signal::KILL),
        (Victim::Sender, Signal::KILL),
        (Victim::Receiver, Signal::INT),
        (Victim::Sender, Signal::TERM),
    ]
    .into_iter()
    .enumerate()
    {
        let destination = ground.beside().join(format!("round {round}"));
        let broken = end_at(&source, &destination, end, large / 4);
        assert!(!broken.complete, "too fast");
        assert!(!destination.join("tree/large.bin").exists());
        assert_only_remains(&destination, 1);
        let resumed = complete(&source, &destination);
        let sent_again = broken.written.saturating_sub(resumed);
        assert!(sent_again <= ON_ITS_WAY, "{end:?}: {sent_again} bytes");
    }
}

/// To what a file was changed meanwhile, its time is set back: only the change attribute tells.
#[test]
fn a_source_that_changed_starts_over_and_the_rest_goes_on() {
    let large = 256 * MEBIBYTE;
    let ground = Ground::new();
    let source = make_tree(&ground, large, 600);
    fs::copy(source.join("large.bin"), source.join("b.bin")).expect("a copy");
    let destination = ground.destination();
    let end = (Victim::Sender, Signal::KILL);
    assert!(!end_at(&source, &destination, end, large + large / 2).complete);
    let changed = source.join("large.bin");
    let modified = fs::metadata(&changed).and_then(|metadata| metadata.modified());
    let file = fs::File::options()
        .write(true)
        .open(&changed)
        .expect("it is there");
    file.write_at(b"something else", 5 * MEBIBYTE)
        .expect("a write");
    file.set_modified(modified.expect("a time"))
        .expect("a time");
    drop(file);
    let resumed = complete(&source, &destination);
    // Both were under way: of the one that did not change, half at least was there; of the other, nothing counts.
    let expected = large / 2 - ON_ITS_WAY..large + 4 * MEBIBYTE;
    assert!(expected.contains(&resumed), "{resumed}");
}

/// What happens to a partial file within 20 ms of its writer's death is taken for the writer's own work.
pub(crate) fn wait_until_it_is_later(clock: &Path) {
    fs::write(clock, "").expect("a file");
    let changed = || {
        let stat = fs::metadata(clock).expect("a file");
        (stat.ctime(), stat.ctime_nsec() / 30_000_000)
    };
    let before = changed();
    while changed() == before {
        fs::write(clock, "").expect("a file");
    }
}

/// Two receivers write into one directory, and both senders bring a file of the same name.
#[test]
fn two_sessions_at_once_into_one_directory_do_not_meet() {
    let ground = Ground::new();
    let source = make_tree(&ground, 128 * MEBIBYTE, 600);
    let destination = ground.destination();
    let mut one = Packhorse::recv(&destination).start();
    let mut other = Packhorse::recv(&destination).start();
    let senders = [&mut one, &mut other].map(|receiver| {
        let address = receiver.address();
        Packhorse::send(&[&source], &address).start()
    });
    for sender in senders {
        sender.wait().expect_code(0);
    }
    for receiver in [one, other] {
        receiver.wait().expect_code(0);
    }
    assert_same_tree(&source, &destination.join("tree"));
    assert_nothing_left_over(&destination);
}

/// Another source leaves remains alone, and they wait for theirs.
#[test]
fn remains_of_another_source_are_left_alone() {
    let large = 512 * MEBIBYTE;
    let ground = Ground::new();
    let source = make_tree(&ground, large, 600);
    let destination = ground.destination();
    let end = (Victim::Sender, Signal::KILL);
    let broken = end_at(&source, &destination, end, large / 2);
    assert!(!broken.complete);
    let other = ground.source_file("other/file", "content");
    let other = other.parent().expect("a directory");
    let (sender, _) = transfer_whole(other, &destination);
    assert_eq!(resumed(&sender), 0);
    assert_only_remains(&destination, 1);
    let resumed = complete(&source, &destination);
    assert!(broken.written.saturating_sub(resumed) <= ON_ITS_WAY);
}

/// What a peer names like a file of this program would be believed by the next session.
#[test]
fn names_of_the_program_s_own_files_are_refused_by_name() {
    let ground = Ground::new();
    ground.source_file("tree/good", "content");
    ground.source_file("tree/.packhorse/0123456789abcdef.stored", "a lie");
    ground.source_file("tree/.packhorse-0123456789abcdef.part", "a lie");
    ground.source_file("tree/.packhorse-0123456789abcdef.journal", "a lie");
    let (sender, receiver) = transfer(&[&ground.source().join("tree")], &ground.destination());
    sender
        .expect_code(1)
        .expect_says(".packhorse-0123456789abcdef.part");
    receiver.expect_code(1);
    assert_eq!(
        fs::read(ground.destination().join("tree/good")).expect("it arrived"),
        b"content"
    );
    assert_nothing_left_over(&ground.destination());
}

/// What has the name of the directory for that is left alone, and the receiver says what that means.
#[test]
fn where_nothing_can_be_noted_the_receiver_says_so() {
    let ground = Ground::new();
    ground.source_file("tree/large.bin", Random::seeded().bytes(5 << 20));
    fs::write(ground.destination().join(".packhorse"), "mine").expect("a file");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let proxy = Proxy::to(&receiver.address());
    proxy.stop_after(3 << 20);
    let source = ground.source().join("tree");
    let sender = Packhorse::send(&[&source], &proxy.address()).start();
    let told = receiver.wait_for("nothing_noted", |_| true);
    assert_eq!(told["message"], "Not a directory (os error 20)");
    proxy.go_on();
    sender.wait().expect_code(0);
    receiver.wait().expect_code(0).expect_says("sent again");
    assert_eq!(
        fs::read(ground.destination().join(".packhorse")).expect("a file"),
        b"mine"
    );
}
