//! Whole trees arrive as they were.

use std::fs;

use crate::harness::compare::{assert_nothing_left_over, assert_rsync_has_nothing_to_do, b3sums};
use crate::harness::surroundings::b3sum;
use crate::harness::tree::{self, SIZES};
use crate::harness::{Ground, assert_same_file, assert_same_tree, not_shown, transfer_whole};

#[test]
fn tree_arrives_byte_mode_and_mtime_identical() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::every_oddity(source.clone());
    transfer_whole(&source, &ground.destination());
    assert_same_tree(&source, &ground.destination().join("tree"));
    assert_nothing_left_over(&ground.destination());
}

#[test]
fn ten_thousand_small_files() {
    let ground = Ground::new();
    let source = ground.source().join("many");
    tree::many_small_files(source.clone(), 10_000);
    let (sender, receiver) = transfer_whole(&source, &ground.destination());
    let arrived = ground.destination().join("many");
    assert_same_tree(&source, &arrived);
    assert_rsync_has_nothing_to_do(&source, &arrived);
    assert_eq!(sender.done()["files"], 10_000);
    assert_eq!(
        receiver
            .events_named("file")
            .iter()
            .filter(|f| f["kind"] == "file")
            .count(),
        10_000
    );
}

#[test]
fn three_gib_sparse_file_arrives() {
    let ground = Ground::new();
    let source = ground.sparse_file("sparse.img", 3 << 30);
    let (_, receiver) = transfer_whole(&source, &ground.destination());
    assert_same_file(&source, &ground.destination().join("sparse.img"));
    assert_eq!(receiver.done()["bytes"], 3_u64 << 30);
}

#[test]
fn a_single_empty_file_arrives() {
    let ground = Ground::new();
    let source = ground.source_file("empty", "");
    let (sender, receiver) = transfer_whole(&source, &ground.destination());
    assert_eq!(
        fs::read(ground.destination().join("empty")).expect("a file"),
        b""
    );
    assert_eq!(sender.done()["root"], receiver.done()["root"]);
}

#[test]
fn an_empty_directory_arrives() {
    let ground = Ground::new();
    let source = ground.source().join("nothing in here");
    fs::create_dir(&source).expect("a directory");
    transfer_whole(&source, &ground.destination());
    assert_same_tree(&source, &ground.destination().join("nothing in here"));
}

#[test]
fn hashes_are_those_of_b3sum() {
    let Some(b3sum) = b3sum() else {
        return not_shown("hashes_are_those_of_b3sum", "b3sum is not installed");
    };
    let ground = Ground::new();
    for &size in SIZES {
        let content: Vec<u8> = (0..=250).cycle().take(size).collect();
        ground.source_file(&format!("size-{size}"), content);
    }
    let (_, receiver) = transfer_whole(&ground.source(), &ground.destination());
    let told = receiver.events_named("file");
    let mut files = Vec::new();
    let mut hashes = Vec::new();
    for event in told.iter().filter(|event| event["kind"] == "file") {
        let path = event["path"].as_str().expect("a path");
        files.push(ground.destination().join(path));
        hashes.push(event["hash"].as_str().expect("a hash").to_owned());
    }
    assert_eq!(files.len(), SIZES.len());
    assert_eq!(hashes, b3sums(&b3sum, &files));
}

#[test]
fn manifest_root_is_same_for_same_tree() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    let root = |destination: &str| {
        let (sender, receiver) = transfer_whole(&source, &ground.beside().join(destination));
        let root = receiver.done()["root"].as_str().expect("a root").to_owned();
        assert_eq!(sender.done()["root"], root.as_str());
        root
    };
    let first = root("first");
    assert_eq!(first.len(), 64, "32 bytes in hex: {first}");
    assert_eq!(root("second"), first);
    fs::write(source.join("hello.txt"), "another text").expect("a file");
    assert_ne!(root("third"), first);
}
