//! What is at the destination already.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::compare::assert_nothing_left_over;
use crate::harness::{
    Ground, Packhorse, assert_same_file, assert_same_tree, assert_untouched, transfer,
    transfer_whole, tree,
};

#[test]
fn existing_files_are_kept_when_asked() {
    let ground = Ground::new();
    ground.source_file("tree/known", "new");
    ground.source_file("tree/unknown", "new too");
    let arrived = ground.destination().join("tree");
    fs::create_dir(&arrived).expect("a directory");
    fs::write(arrived.join("known"), "old").expect("a file");
    let mut receiver = Packhorse::recv(&ground.destination())
        .arg("--keep-existing")
        .start();
    let source = ground.source().join("tree");
    Packhorse::send(&[&source], &receiver.address())
        .run()
        .expect_code(0);
    receiver.wait().expect_code(0);
    assert_eq!(fs::read(arrived.join("known")).expect("a file"), b"old");
    assert_eq!(
        fs::read(arrived.join("unknown")).expect("a file"),
        b"new too"
    );
}

#[test]
fn second_transfer_replaces_the_first() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    transfer_whole(&source, &ground.destination());
    fs::write(source.join("hello.txt"), "another text").expect("a file");
    transfer_whole(&source, &ground.destination());
    assert_same_tree(&source, &ground.destination().join("tree"));
    assert_nothing_left_over(&ground.destination());
}

#[test]
fn replaces_atomically() {
    let ground = Ground::new();
    let file = ground.source_file("file", "new");
    // A second name of the file that is replaced: writing into it would show here.
    let arrived = ground.destination().join("file");
    let second_name = ground.beside().join("second name");
    fs::write(&arrived, "old, and longer than the new one").expect("a file");
    fs::hard_link(&arrived, &second_name).expect("a link");
    transfer_whole(&file, &ground.destination());
    assert_same_file(&file, &arrived);
    let old = fs::read(second_name).expect("a file");
    assert_eq!(old, b"old, and longer than the new one");
}

#[test]
fn link_in_the_place_of_a_file_is_replaced_and_its_target_untouched() {
    let ground = Ground::new();
    let file = ground.source_file("file", "new");
    let target = ground.beside().join("target");
    fs::write(&target, "not yours").expect("a file");
    let arrived = ground.destination().join("file");
    symlink(&target, &arrived).expect("a link");
    transfer_whole(&file, &ground.destination());
    assert!(fs::symlink_metadata(&arrived).expect("a file").is_file());
    assert_same_file(&file, &arrived);
    assert_eq!(fs::read(target).expect("a file"), b"not yours");
}

#[test]
fn symlink_in_destination_is_not_followed() {
    let ground = Ground::new();
    ground.source_file("tree/dir/file", "content");
    let good = ground.source_file("tree/good", "content");
    let arrived = ground.destination().join("tree");
    fs::create_dir(&arrived).expect("a directory");
    symlink(ground.beside(), arrived.join("dir")).expect("a link");
    let (sender, receiver) = transfer(&[&ground.source().join("tree")], &ground.destination());
    sender.expect_code(1).expect_says("tree/dir");
    receiver.expect_code(1).expect_says("tree/dir");
    assert_untouched(&ground.beside());
    assert_same_file(&good, &arrived.join("good"));
}

#[test]
fn destination_named_through_a_symlink_is_the_directory_behind_it() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let link = ground.path().join("link");
    symlink(ground.destination(), &link).expect("a link");
    transfer_whole(&file, &link);
    assert_same_file(&file, &ground.destination().join("file"));
}

#[test]
fn directory_in_the_place_of_a_file_fails_by_name() {
    let ground = Ground::new();
    ground.source_file("tree/clash", "content");
    let good = ground.source_file("tree/good", "content");
    let arrived = ground.destination().join("tree");
    fs::create_dir_all(arrived.join("clash/inside")).expect("a directory");
    let (sender, receiver) = transfer(&[&ground.source().join("tree")], &ground.destination());
    sender.expect_code(1).expect_says("tree/clash");
    receiver.expect_code(1).expect_says("tree/clash");
    assert!(arrived.join("clash/inside").is_dir());
    assert_same_file(&good, &arrived.join("good"));
}
