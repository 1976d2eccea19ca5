//! What both sides hold in their hands at the end, and what it is good for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::compare::assert_nothing_left_over;
use crate::harness::{Ended, Ground, Packhorse, assert_same_tree, assert_untouched, tree};

/// Sends a small tree, and gives the receipts of sender and receiver.
fn send_for_receipts(ground: &Ground) -> (PathBuf, PathBuf) {
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    let receipt = |name: &str| ground.beside().join(name);
    let (at_sender, at_receiver) = (receipt("sender.json"), receipt("receiver.json"));
    let mut receiver = Packhorse::recv(&ground.destination())
        .arg("--receipt")
        .arg(&at_receiver)
        .start();
    let sender = Packhorse::send(&[&source], &receiver.address())
        .arg("--receipt")
        .arg(&at_sender)
        .run();
    sender.expect_code(0);
    receiver.wait().expect_code(0);
    (at_sender, at_receiver)
}

fn verify(ground: &Ground, receipt: &Path) -> Ended {
    Packhorse::verb("verify")
        .arg(ground.destination())
        .arg(receipt)
        .run()
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a receipt");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn receipts_of_both_sides_agree() {
    let ground = Ground::new();
    let (at_sender, at_receiver) = send_for_receipts(&ground);
    let (mut receipt, mut other) = (json(&at_sender), json(&at_receiver));
    // Only the sender's kernel knows what a network lacks: it says so behind what both say.
    let limited_by = |receipt: &mut Value| receipt["limited_by"].take().to_string();
    let verdicts = (limited_by(&mut receipt), limited_by(&mut other));
    assert!(
        verdicts.0.starts_with(verdicts.1.trim_end_matches('"')),
        "{verdicts:?}"
    );
    assert_eq!(receipt, other);
    assert_eq!(receipt["files"], 3, "{receipt}");
    assert_eq!(receipt["bytes"], 300_012, "{receipt}");
    assert!(
        receipt["root"]
            .as_str()
            .is_some_and(|root| root.len() == 64),
        "{receipt}"
    );
}

/// Whoever of the two asks for it: both receipts say it.
#[test]
fn what_was_seen_to_before_the_receipt_is_in_it() {
    for (at_sender, at_receiver) in [
        (&[][..], &[][..]),
        (&["--durable"], &[]),
        (&[], &["--durable"]),
        (&["--reread"], &[]),
        (&["--reread"], &["--durable"]),
    ] {
        let ground = Ground::new();
        let source = ground.source().join("tree");
        tree::a_few_files(source.clone());
        // Of several extents, so that it has a journal meanwhile.
        ground.source_file("tree/large.bin", vec![7; 5 << 20]);
        let mut receiver = Packhorse::recv(&ground.destination())
            .args(at_receiver)
            .start();
        let sender = Packhorse::send(&[&source], &receiver.address())
            .args(at_sender)
            .run();
        let asked = |option| at_sender.contains(&option) || at_receiver.contains(&option);
        for side in [sender, receiver.wait()] {
            side.expect_code(0);
            let done = side.done();
            assert_eq!(done["durable"], asked("--durable"), "{done}");
            assert_eq!(done["reread"], asked("--reread"), "{done}");
        }
        assert_same_tree(&source, &ground.destination().join("tree"));
        assert_nothing_left_over(&ground.destination());
    }
}

#[test]
fn verify_passes_then_names_the_altered_file() {
    let ground = Ground::new();
    let (_, receipt) = send_for_receipts(&ground);
    verify(&ground, &receipt).expect_code(0);
    let altered = ground.destination().join("tree/inner/numbers.bin");
    let mut content = fs::read(&altered).expect("a file");
    content[150_000] ^= 1;
    fs::write(&altered, content).expect("a file");
    let verified = verify(&ground, &receipt);
    verified.expect_code(1);
    let said = verified.told();
    assert!(said.contains("tree/inner/numbers.bin"), "{said}");
    assert!(!said.contains("hello.txt"), "{said}");
}

#[test]
fn verify_names_what_is_missing() {
    let ground = Ground::new();
    let (receipt, _) = send_for_receipts(&ground);
    fs::remove_file(ground.destination().join("tree/hello.txt")).expect("a file");
    let verified = verify(&ground, &receipt);
    verified.expect_code(1);
    assert!(
        verified.told().contains("tree/hello.txt"),
        "{}",
        verified.told()
    );
}

#[test]
fn verify_without_a_receipt_says_so() {
    let ground = Ground::new();
    let nonsense = ground.beside().join("nonsense.json");
    fs::write(&nonsense, "{\"v\": ").expect("a file");
    let said = verify(&ground, &nonsense);
    said.expect_code(6).expect_says("nonsense.json");
    let missing = ground.beside().join("missing.json");
    let said = verify(&ground, &missing);
    said.expect_code(5).expect_says("missing.json");
}

/// Whoever dies, and however: what is not whole has no name that would stay.
#[test]
fn receipt_of_a_session_that_was_killed_is_not_there() {
    let ground = Ground::new();
    let source = ground.sparse_file("long.img", 16 << 30);
    let receipt = |name: &str| ground.beside().join(name);
    let mut receiver = Packhorse::recv(&ground.destination())
        .arg("--receipt")
        .arg(receipt("receiver.json"))
        .start();
    let mut sender = Packhorse::send(&[&source], &receiver.address())
        .arg("--receipt")
        .arg(receipt("sender.json"))
        .start();
    sender.wait_until_moving();
    sender.kill();
    receiver.kill();
    assert_untouched(&ground.beside());
}

#[test]
fn receipt_that_is_written_into_the_source_is_not_sent() {
    let ground = Ground::new();
    ground.source_file("tree/file", "content");
    let source = ground.source().join("tree");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let sender = Packhorse::send(&[&source], &receiver.address())
        .arg("--receipt")
        .arg(source.join("receipt.json"))
        .run();
    sender.expect_code(0);
    receiver.wait().expect_code(0);
    assert_eq!(names_in(&ground.destination().join("tree")), ["file"]);
    assert_eq!(names_in(&source), ["file", "receipt.json"]);
}

fn names_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("a directory");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

#[test]
fn receipt_takes_the_place_of_an_older_one() {
    let ground = Ground::new();
    let older = ground.beside().join("sender.json");
    fs::write(&older, "an older one").expect("a file");
    let mode = fs::metadata(&older).expect("a file").permissions();
    let (receipt, _) = send_for_receipts(&ground);
    verify(&ground, &receipt).expect_code(0);
    assert_eq!(names_in(&ground.beside()), ["receiver.json", "sender.json"]);
    // What the umask leaves, as of any new file.
    let new = fs::metadata(&receipt).expect("a file").permissions();
    assert_eq!(new, mode);
}

/// Like any program's output; a link may be everybody's (/dev/stdout).
#[test]
fn receipt_goes_to_where_a_link_leads() {
    let ground = Ground::new();
    let kept = ground.beside().join("kept.json");
    fs::write(&kept, "an older one").expect("a file");
    symlink("kept.json", ground.beside().join("sender.json")).expect("a link");
    let (receipt, _) = send_for_receipts(&ground);
    assert!(receipt.is_symlink() && !kept.is_symlink());
    verify(&ground, &kept).expect_code(0);
    symlink("nothing", ground.beside().join("dangling")).expect("a link");
    Packhorse::send(&[&ground.source()], "127.0.0.1:1")
        .arg("--receipt")
        .arg(ground.beside().join("dangling"))
        .run()
        .expect_code(2)
        .expect_says("is a link to nothing");
    assert!(ground.beside().join("dangling").is_symlink());
}

#[test]
fn receipt_that_cannot_be_written_is_named_as_it_was_given() {
    let ground = Ground::new();
    let missing = ground.beside().join("missing/receipt.json");
    let sender = Packhorse::send(&[&ground.source()], "127.0.0.1:1")
        .arg("--receipt")
        .arg(&missing)
        .run();
    let path = missing.to_str().expect("a plain path");
    sender
        .expect_code(5)
        .expect_says(&format!("cannot write the receipt to '{path}': No such"))
        .expect_says("nothing was sent or received")
        .expect_says("try: name a file");
    let said = sender.stderr_text();
    assert!(!said.contains(".packhorse"), "{said}");
}

/// Nobody may ever write into it.
#[test]
fn verify_waits_for_no_pipe_but_one_that_it_was_given() {
    let ground = Ground::new();
    let (_, receipt) = send_for_receipts(&ground);
    let pipe = ground.beside().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    for unfit in [pipe, ground.beside()] {
        verify(&ground, &unfit)
            .expect_code(2)
            .expect_says("is not a regular file")
            .expect_says("try: name a file");
    }
    for place in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let verified = Packhorse::verb("verify")
            .arg(ground.destination())
            .arg(place)
            .input(fs::read(&receipt).expect("a receipt"))
            .run();
        verified.expect_code(0);
    }
}

#[test]
fn demo_runs_and_cleans_up() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    let copy = ground.path().join("copy");
    tree_copy(&source, &copy);
    let demo = Packhorse::verb("demo")
        .arg("--path")
        .arg(&source)
        .env("TMPDIR", ground.beside())
        .run();
    demo.expect_code(0);
    assert_untouched(&ground.beside());
    assert_same_tree(&copy, &source);
    assert!(
        demo.told().contains("BLAKE3") || demo.told().contains("root"),
        "{}",
        demo.told()
    );
}

fn tree_copy(source: &Path, copy: &Path) {
    let copied = std::process::Command::new("cp")
        .arg("--archive")
        .args([source, copy])
        .status();
    assert!(copied.expect("cp").success());
}
