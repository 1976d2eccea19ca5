//! packhorse against a peer that was written from docs/protocol.md alone, in another language: what
//! both understand alike is what that page says.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::compare::{assert_nothing_left_over, assert_only_remains};
use crate::harness::peer::{insecure_recv, insecure_send, peer};
use crate::harness::random::Random;
use crate::harness::{Ended, Ground, Packhorse, assert_same_tree, assert_untouched, tree};

const MIB: usize = 1 << 20;

/// Sends a tree with the other make's sender: (sender, receiver). `None` where there is none.
fn send_with_peer(ground: &Ground, test: &str, options: &[&str]) -> Option<(Ended, Ended)> {
    let sender = peer(test, "sender.py")?.args(options);
    let mut receiver = insecure_recv(&ground.destination()).start();
    let sender = sender
        .arg(ground.source().join("tree"))
        .arg(receiver.address());
    Some((sender.run(), receiver.wait()))
}

/// Receives a tree with the other make's receiver: (sender, receiver).
fn receive_with_peer(ground: &Ground, test: &str, options: &[&str]) -> Option<(Ended, Ended)> {
    let receiver = peer(test, "receiver.py")?.args(options);
    let mut receiver = receiver.arg(ground.destination()).start();
    let tree = ground.source().join("tree");
    // One that has no lane but the one that is lost has to try again.
    let sender = Packhorse::patient_send(&[&tree], &receiver.address());
    let sender = sender.without_code().arg("--insecure").run();
    Some((sender, receiver.wait()))
}

#[track_caller]
fn assert_whole(ground: &Ground, (sender, receiver): &(Ended, Ended)) {
    receiver.expect_code(0);
    sender.expect_code(0);
    assert_eq!(sender.done()["root"], receiver.done()["root"], "roots");
    let (source, arrived) = (ground.source(), ground.destination());
    assert_same_tree(&source.join("tree"), &arrived.join("tree"));
    assert_nothing_left_over(&ground.destination());
}

/// A ground whose tree has every oddity.
fn odd_ground() -> Ground {
    let ground = Ground::new();
    tree::every_oddity(ground.source().join("tree"));
    ground
}

fn small_ground() -> Ground {
    let ground = Ground::new();
    tree::a_few_files(ground.source().join("tree"));
    ground
}

/// Files that take several extents, the largest 40 MiB.
fn large_ground() -> Ground {
    let ground = Ground::new();
    let mut random = Random::seeded();
    for (name, size) in [
        ("40", 40 * MIB),
        ("17", 17 * MIB + 5),
        ("8", 8 * MIB),
        ("1", 1),
    ] {
        ground.source_file(&format!("tree/{name}"), random.bytes(size));
    }
    ground
}

fn named(ground: &Ground, name: &str) -> (PathBuf, PathBuf) {
    let in_tree = Path::new("tree").join(name);
    (
        ground.source().join(&in_tree),
        ground.destination().join(&in_tree),
    )
}

#[test]
fn tree_of_the_other_make_arrives() {
    let ground = odd_ground();
    let test = "tree_of_the_other_make_arrives";
    if let Some(ends) = send_with_peer(&ground, test, &[]) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn other_make_receives_the_tree() {
    let ground = odd_ground();
    if let Some(ends) = receive_with_peer(&ground, "other_make_receives_the_tree", &[]) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn extents_in_any_order_on_many_lanes() {
    let ground = large_ground();
    let options = ["--lanes", "5", "--shuffle", "20"];
    if let Some(ends) = send_with_peer(&ground, "extents_in_any_order_on_many_lanes", &options) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn content_ahead_of_the_manifest_waits() {
    let ground = odd_ground();
    let options = ["--lanes", "3", "--shuffle", "4", "--content-first"];
    if let Some(ends) = send_with_peer(&ground, "content_ahead_of_the_manifest_waits", &options) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn large_files_to_the_other_make() {
    let ground = large_ground();
    if let Some(ends) = receive_with_peer(&ground, "large_files_to_the_other_make", &[]) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn lane_that_breaks_at_the_other_make_is_replaced() {
    let test = "lane_that_breaks_at_the_other_make_is_replaced";
    let ground = large_ground();
    let options = ["--lanes", "2", "--lose-lane", "3"];
    if let Some(ends) = send_with_peer(&ground, test, &options) {
        assert_whole(&ground, &ends);
        let closed = &ends.0.events_named("lane_closed")[0];
        assert!(closed["taken"].as_u64() <= Some(3), "{closed}");
    }
    let ground = large_ground();
    let options = ["--lose-lane", "3", "--lanes", "2"];
    if let Some(ends) = receive_with_peer(&ground, test, &options) {
        assert_whole(&ground, &ends);
        let closed = ends.1.events_named("lane_closed");
        assert_eq!((closed.len(), &closed[0]["taken"]), (1, &3.into()));
    }
}

#[test]
fn narrow_window_of_the_other_make_is_kept() {
    let ground = odd_ground();
    let test = "narrow_window_of_the_other_make_is_kept";
    if let Some(ends) = receive_with_peer(&ground, test, &["--window", "2", "--lanes", "1"]) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn byte_by_byte_both_ways() {
    let ground = small_ground();
    let test = "byte_by_byte_both_ways";
    if let Some(ends) = send_with_peer(&ground, test, &["--segment", "1"]) {
        assert_whole(&ground, &ends);
    }
    let ground = small_ground();
    if let Some(ends) = receive_with_peer(&ground, test, &["--segment", "1"]) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn glued_together() {
    let ground = small_ground();
    let options = ["--glued", "--lanes", "2"];
    if let Some(ends) = send_with_peer(&ground, "glued_together", &options) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn later_minor_version_with_more_fields_and_messages() {
    let test = "later_minor_version_with_more_fields_and_messages";
    let options = ["--minor", "7", "--extras"];
    let ground = small_ground();
    if let Some(ends) = send_with_peer(&ground, test, &options) {
        assert_whole(&ground, &ends);
    }
    let ground = small_ground();
    if let Some(ends) = receive_with_peer(&ground, test, &options) {
        assert_whole(&ground, &ends);
    }
}

#[test]
fn later_major_version_of_a_sender_is_refused() {
    let ground = small_ground();
    let test = "later_major_version_of_a_sender_is_refused";
    let Some(sender) = peer(test, "sender.py") else {
        return;
    };
    let mut receiver = insecure_recv(&ground.destination()).start();
    let address = receiver.address();
    let tree = ground.source().join("tree");
    let sender = sender.args(["--major", "2"]).arg(&tree).arg(&address).run();
    // "PACK", a refusal for the version, and the version that is spoken.
    let answered = sender.events_named("answered");
    assert_eq!(
        answered[0]["preface"],
        "5041434b52010100",
        "{}",
        sender.told()
    );
    let refused = receiver.wait_for("refused", |_| true);
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("version"), "{reason}");
    // The receiver goes on, and serves who speaks its version.
    insecure_send(&[&tree], &address).run().expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_tree(&tree, &ground.destination().join("tree"));
}

/// A receiver that answers with a preface of its own.
fn answered_with(options: &[&str], test: &str) -> Option<Ended> {
    let ground = small_ground();
    let (sender, _) = receive_with_peer(&ground, test, options)?;
    assert_untouched(&ground.destination());
    Some(sender)
}

#[test]
fn later_major_version_of_a_receiver_is_an_error() {
    let test = "later_major_version_of_a_receiver_is_an_error";
    // It says so itself, or goes on as if nothing were.
    for options in [&["--major", "2", "--refuse", "1"][..], &["--major", "2"]] {
        if let Some(sender) = answered_with(options, test) {
            sender.expect_code_in(&[4, 6]).expect_says("version");
        }
    }
}

#[test]
fn refusals_are_understood() {
    let test = "refusals_are_understood";
    for (reason, says) in [
        ("2", "--insecure"),
        ("4", "another sender"),
        ("99", "refused"),
    ] {
        if let Some(sender) = answered_with(&["--refuse", reason], test) {
            sender.expect_code(4).expect_says(says);
        }
    }
    // A refusal of a later version is understood all the same.
    if let Some(sender) = answered_with(&["--major", "9", "--refuse", "4"], test) {
        sender.expect_code(4).expect_says("refused");
    }
}

#[test]
fn revised_midway_arrives_and_withdrawn_midway_does_not() {
    let ground = small_ground();
    let mut random = Random::seeded();
    ground.source_file("tree/inner/revised", random.bytes(9 * MIB));
    ground.source_file("tree/inner/withdrawn", random.bytes(9 * MIB));
    let test = "revised_midway_arrives_and_withdrawn_midway_does_not";
    let Some((sender, receiver)) = send_with_peer(&ground, test, &["--lanes", "2"]) else {
        return;
    };
    sender.expect_code(0);
    receiver.expect_code(1).expect_says("inner/withdrawn");
    assert_eq!(sender.done()["root"], receiver.done()["root"], "roots");
    let (source, arrived) = named(&ground, "inner/withdrawn");
    assert!(!arrived.exists(), "a file that was withdrawn");
    let inner = source.parent().expect("a parent").to_owned();
    let modified = fs::metadata(&inner).and_then(|metadata| metadata.modified());
    fs::remove_file(source).expect("a file");
    let inner = fs::File::open(inner).expect("a directory");
    inner
        .set_modified(modified.expect("a time"))
        .expect("a time");
    let (source, arrived) = named(&ground, "");
    assert_same_tree(&source, &arrived);
    // The roll, for the same command: one file failed.
    assert_only_remains(&ground.destination(), 0);
}

#[test]
fn stream_of_unknown_size_to_the_other_make() {
    let test = "stream_of_unknown_size_to_the_other_make";
    for size in [0, 3, 8 * MIB, 8 * MIB + 1] {
        let ground = Ground::new();
        let Some(receiver) = peer(test, "receiver.py") else {
            return;
        };
        let mut receiver = receiver.arg(ground.destination()).start();
        let content = Random::seeded().bytes(size);
        let sender = insecure_send(&[Path::new("-")], &receiver.address())
            .args(["--name", "stream"])
            .input(content.clone())
            .run();
        sender.expect_code(0);
        let receiver = receiver.wait();
        receiver.expect_code(0);
        assert_eq!(sender.done()["root"], receiver.done()["root"], "roots");
        let arrived = fs::read(ground.destination().join("stream")).expect("a file");
        assert!(arrived == content, "{size} bytes");
    }
}

#[test]
fn file_changing_while_the_other_make_receives() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let test = "file_changing_while_the_other_make_receives";
    let ground = small_ground();
    let changing = ground.source_file("tree/changing", vec![b'x'; 40 * MIB]);
    let over = AtomicBool::new(false);
    let ends = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Longer than one attempt, shorter than two: hence any outcome is good, if both agree on it.
            for byte in 0..2_000_u32 {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let mut content = vec![b'x'; 64];
                content.extend_from_slice(&byte.to_be_bytes());
                append(&changing, &content);
                std::thread::yield_now();
            }
        });
        let ends = receive_with_peer(&ground, test, &[]);
        over.store(true, Ordering::Relaxed);
        ends
    });
    let Some((sender, receiver)) = ends else {
        return;
    };
    sender.expect_code_in(&[0, 1]);
    receiver.expect_code(0);
    assert_eq!(sender.done()["root"], receiver.done()["root"], "roots");
}

fn append(path: &Path, content: &[u8]) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(path)
        .expect("a file");
    file.write_all(content).expect("more of it");
}

#[test]
fn beneath_a_directory_of_the_destination() {
    let ground = small_ground();
    let test = "beneath_a_directory_of_the_destination";
    let Some((sender, receiver)) = send_with_peer(&ground, test, &["--into", "deep/down"]) else {
        return;
    };
    sender.expect_code(0);
    receiver.expect_code(0);
    let arrived = ground.destination().join("deep/down/tree");
    assert_same_tree(&ground.source().join("tree"), &arrived);
    let Some(receiver) = peer(test, "receiver.py") else {
        return;
    };
    let mut receiver: crate::harness::Running = receiver.arg(ground.beside()).start();
    let to = format!("ph://{}/deep/down", receiver.address());
    let tree = ground.source().join("tree");
    Packhorse::send(&[&tree], &to)
        .without_code()
        .arg("--insecure")
        .run()
        .expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_tree(&tree, &ground.beside().join("deep/down/tree"));
}
