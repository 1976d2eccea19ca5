//! What can be named as a source, and under which name it arrives.

use std::fs;
use std::net::TcpListener;

use crate::harness::{
    Ended, Ground, Packhorse, assert_same_file, assert_same_tree, assert_untouched, transfer, tree,
};

/// Sends with these arguments before the address, and expects success at both ends.
fn send(ground: &Ground, arguments: &[&str], input: Vec<u8>) -> (Ended, Ended) {
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let address = receiver.address();
    let sender = Packhorse::send(&[], arguments[0])
        .args(&arguments[1..])
        .arg(address)
        .input(input)
        .run();
    let receiver = receiver.wait();
    sender.expect_code(0);
    receiver.expect_code(0);
    (sender, receiver)
}

#[test]
fn stdin_arrives_under_its_name() {
    let ground = Ground::new();
    let content: Vec<u8> = (0..=251).cycle().take(20_000_003).collect();
    let copy = ground.source_file("copy", &content);
    let (_, receiver) = send(&ground, &["--name", "greeting.bin", "-"], content);
    assert_same_file(&copy, &ground.destination().join("greeting.bin"));
    assert_eq!(receiver.done()["files"], 1);
    assert_eq!(receiver.done()["bytes"], 20_000_003);
}

#[test]
fn empty_stdin_arrives_as_an_empty_file() {
    let ground = Ground::new();
    send(&ground, &["--name", "nothing", "-"], Vec::new());
    assert_eq!(
        fs::read(ground.destination().join("nothing")).expect("a file"),
        b""
    );
}

#[test]
fn stdin_without_a_name_is_a_usage_error() {
    let sender = Packhorse::send(&[], "-").arg("127.0.0.1:1").run();
    sender.expect_code(2).expect_says("--name");
}

#[test]
fn single_file_is_stored_under_another_name() {
    let ground = Ground::new();
    let file = ground.source_file("old name", "content");
    let file = file.to_str().expect("UTF-8");
    send(&ground, &["--name", "new name", file], Vec::new());
    let arrived = fs::read(ground.destination().join("new name"));
    assert_eq!(arrived.expect("a file"), b"content");
    assert!(!ground.destination().join("old name").exists());
}

#[test]
fn files_and_directories_mix() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let tree = ground.source().join("tree");
    tree::a_few_files(tree.clone());
    let (sender, receiver) = transfer(&[&tree, &file], &ground.destination());
    sender.expect_code(0);
    receiver.expect_code(0);
    assert_same_file(&file, &ground.destination().join("file"));
    assert_same_tree(&tree, &ground.destination().join("tree"));
}

#[test]
fn two_sources_of_one_name_are_refused_before_anything_moves() {
    let ground = Ground::new();
    let one = ground.source_file("one/same", "1");
    let two = ground.source_file("two/same", "2");
    let (one, two) = (one.to_str().expect("UTF-8"), two.to_str().expect("UTF-8"));
    let sender = Packhorse::send(&[], one).args([two, "127.0.0.1:1"]).run();
    sender.expect_code(2).expect_says("same");
}

#[test]
fn trailing_slash_sends_what_a_directory_holds() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    let inside = format!("{}/", source.display());
    send(&ground, &[&inside], Vec::new());
    assert!(!ground.destination().join("tree").exists());
    assert_same_file(
        &source.join("inner/numbers.bin"),
        &ground.destination().join("inner/numbers.bin"),
    );
}

#[test]
fn subdirectory_of_the_address_is_made() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let to = format!("ph://{}/some/where", receiver.address());
    Packhorse::send(&[&file], &to).run().expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("some/where/file"));
}

#[test]
fn destination_is_made() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let destination = ground.beside().join("made");
    let (sender, receiver) = transfer(&[&file], &destination);
    sender.expect_code(0);
    receiver.expect_code(0);
    assert_same_file(&file, &destination.join("file"));
}

#[test]
fn dry_run_lists_and_sends_nothing() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    nobody.set_nonblocking(true).expect("a mode");
    let address = nobody.local_addr().expect("an address").to_string();
    let sender = Packhorse::verb("send")
        .arg("--dry-run")
        .arg(&source)
        .arg(address)
        .run();
    sender.expect_code(0);
    let listed = sender.stdout().join("\n");
    for path in [
        "tree/hello.txt",
        "tree/empty",
        "tree/inner/numbers.bin",
        "tree/link",
    ] {
        assert!(listed.contains(path), "{path} in {listed}");
    }
    assert!(nobody.accept().is_err(), "nobody was to be called");
    assert_untouched(&ground.destination());
}

/// What is there would be believed.
#[test]
fn nobody_sends_into_what_packhorse_keeps_for_itself() {
    let ground = Ground::new();
    let file = ground.source_file("68d5.stored", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let to = format!("ph://{}/a/.packhorse", receiver.address());
    let sender = Packhorse::send(&[&file], &to).run();
    sender.expect_code(5).expect_says("packhorse keeps names");
    receiver.wait().expect_code(5);
    assert_untouched(&ground.destination());
}

/// They are not stored: that is better known before.
#[test]
fn dry_run_names_what_packhorse_keeps_for_itself() {
    let ground = Ground::new();
    let own = ".packhorse-0011223344556677.part";
    ground.source_file(&format!("tree/{own}"), "content");
    ground.source_file("tree/.packhorse-notes", "content");
    let sender = Packhorse::verb("send")
        .arg(ground.source().join("tree"))
        .args(["--dry-run", "nobody.invalid"])
        .run();
    let told = sender.expect_code(1).told();
    let warned = format!("tree/{own}: packhorse keeps names like this one");
    assert!(told.contains(&warned), "{told}");
    assert!(!told.contains("notes: packhorse"), "{told}");
}
