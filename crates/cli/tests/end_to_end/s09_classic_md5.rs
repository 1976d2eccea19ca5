//! The classic format with the content's MD5 in its header.

use std::fs;
use std::process::Command;

use crate::harness::classic::{
    assert_still_receives, classic_recv, classic_send, hostile, how_it_ended, python_send, stop,
};
use crate::harness::compare::assert_nothing_left_over;
use crate::harness::peer::peer;
use crate::harness::random::Random;
use crate::harness::surroundings::SmallDisk;
use crate::harness::{Ground, assert_same_file, assert_untouched, not_shown};

/// Around the buffers, and beyond where a second thread hashes.
const SIZES: [usize; 6] = [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000];

/// What `md5sum` says of a file.
fn md5sum(file: &std::path::Path) -> String {
    let output = Command::new("md5sum").arg("--").arg(file).output();
    let text = String::from_utf8(output.expect("md5sum").stdout).expect("ASCII from md5sum");
    text.chars().take(32).collect()
}

#[test]
fn s09_packhorse_sends_to_packhorse() {
    let ground = Ground::new();
    let mut random = Random::seeded();
    for size in SIZES {
        let file = ground.source_file("file", random.bytes(size));
        let mut receiver = classic_recv(&ground.destination()).start();
        let sender = classic_send("md5", &file, &receiver.address()).run();
        sender.expect_code(0).expect_says("does not confirm");
        assert_eq!(sender.events_named("sent")[0]["md5"], md5sum(&file));
        let receiver = receiver.wait();
        receiver.expect_code(0).expect_says(&md5sum(&file));
        assert_eq!(receiver.events_named("file")[0]["md5"], md5sum(&file));
        assert_same_file(&file, &ground.destination().join("file"));
        assert_nothing_left_over(&ground.destination());
    }
}

#[test]
fn s09_python_sends_to_packhorse() {
    let test = "s09_python_sends_to_packhorse";
    let ground = Ground::new();
    let mut random = Random::seeded();
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    for size in SIZES {
        let file = ground.source_file("file", random.bytes(size));
        let name = format!("名前 {size}");
        let Some(client) = python_send(test, "md5", &file, &to) else {
            return;
        };
        client.arg(&name).run().expect_code(0);
        let stored = receiver.wait_for("file", |_| true);
        assert_eq!(stored["md5"], md5sum(&file));
        assert_eq!(stored["path"], name);
        assert_same_file(&file, &ground.destination().join(name));
    }
    let done = stop(receiver, &ground).done();
    assert_eq!(
        (&done["files"], &done["failed"]),
        (&SIZES.len().into(), &0.into())
    );
}

#[test]
fn s09_packhorse_sends_to_python() {
    let test = "s09_packhorse_sends_to_python";
    let ground = Ground::new();
    let mut random = Random::seeded();
    for size in SIZES {
        let file = ground.source_file("file", random.bytes(size));
        let Some(server) = peer(test, "classic_receiver.py") else {
            return;
        };
        let mut server = server.arg("md5").arg(ground.destination()).start();
        let sender = classic_send("md5", &file, &server.address())
            .args(["--name", "renamed"])
            .run();
        sender.expect_code(0);
        let received = server.wait_for("received", |_| true);
        assert_eq!(received["agrees"], true);
        let keys = serde_json::json!(["md5", "file_name", "file_size", "new_file_name"]);
        assert_eq!(received["keys"], keys);
        let header = serde_json::json!({
            "md5": md5sum(&file), "file_name": file, "file_size": size, "new_file_name": "renamed",
        });
        assert_eq!(received["header"], header);
        server.wait().expect_code(0);
        assert_same_file(&file, &ground.destination().join("renamed"));
    }
}

#[test]
fn s09_wrong_content_never_has_the_name() {
    let test = "s09_wrong_content_never_has_the_name";
    let ground = Ground::new();
    let old = ground.destination().join("bad");
    fs::write(&old, "what was there").expect("a file");
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    for scenario in [
        "wrong_md5",
        "stop_midway_md5",
        "long_md5",
        "short_with_right_md5",
    ] {
        let Some(client) = hostile(test, &to, &[scenario]) else {
            return;
        };
        assert_eq!(how_it_ended(&client.run()), "reset", "{scenario}");
        let failed = receiver.wait_for("failed", |event| event["path"] == "bad");
        assert!(failed["peer"].is_string());
        assert_eq!(fs::read(&old).expect("a file"), b"what was there");
    }
    fs::remove_file(old).expect("it is there");
    assert_still_receives("md5", &mut receiver, &to, &ground);
    stop(receiver, &ground).expect_says("and the header says 00000000000000000000000000000000");
}

#[test]
fn s09_the_senders_path_is_for_show_alone() {
    let ground = Ground::new();
    let file = ground.source_file("deep/er/file", "content");
    let mut receiver = classic_recv(&ground.destination()).start();
    classic_send("md5", &file, &receiver.address())
        .run()
        .expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("file"));
    assert_eq!(
        fs::read_dir(ground.destination())
            .expect("a directory")
            .count(),
        1
    );
}

#[test]
fn s09_a_full_disk_is_told_and_the_receiver_goes_on() {
    let test = "s09_a_full_disk_is_told_and_the_receiver_goes_on";
    let ground = Ground::new();
    let Some(_disk) = SmallDisk::mount(ground.destination(), "1m") else {
        return not_shown(test, "this user may not mount");
    };
    let file = ground.sparse_file("large", 3 << 20);
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    let sender = classic_send("md5", &file, &to).run();
    sender.expect_code(3).expect_says("cut the connection");
    receiver.wait_for("failed", |event| event["path"] == "large");
    assert_untouched(&ground.destination());
    let small = ground.source_file("small", "small");
    classic_send("md5", &small, &to).run().expect_code(0);
    receiver.wait_for("file", |event| event["path"] == "small");
    stop(receiver, &ground).expect_says("cannot be stored");
}
