//! The classic format with a size in its header, and what both formats share.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::classic::{
    assert_still_receives, classic_recv, classic_send, hostile, how_it_ended, python_send, stop,
};
use crate::harness::compare::assert_nothing_left_over;
use crate::harness::peer::peer;
use crate::harness::random::Random;
use crate::harness::{CODE, Ground, Packhorse, assert_same_file, assert_untouched};

/// Sizes around the buffers of both sides.
const SIZES: [usize; 7] = [
    0,
    1,
    1024,
    (128 << 10) - 1,
    128 << 10,
    (128 << 10) + 1,
    3_000_000,
];

#[test]
fn s08_packhorse_sends_to_packhorse() {
    let ground = Ground::new();
    let mut random = Random::seeded();
    for size in SIZES {
        let file = ground.source_file("file", random.bytes(size));
        let mut receiver = classic_recv(&ground.destination()).start();
        let sender = classic_send("size", &file, &receiver.address()).run();
        sender.expect_code(0).expect_says("does not confirm");
        receiver.wait().expect_code(0).expect_says("size agrees");
        assert_same_file(&file, &ground.destination().join("file"));
        assert_nothing_left_over(&ground.destination());
    }
}

#[test]
fn s08_python_sends_to_packhorse() {
    let test = "s08_python_sends_to_packhorse";
    let ground = Ground::new();
    let mut random = Random::seeded();
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    for size in SIZES {
        let file = ground.source_file(&format!("file {size} é"), random.bytes(size));
        let Some(client) = python_send(test, "size", &file, &to) else {
            return;
        };
        client.run().expect_code(0);
        let stored = receiver.wait_for("file", |_| true);
        assert_eq!(
            (&stored["size"], &stored["format"]),
            (&size.into(), &"size".into())
        );
        assert_same_file(&file, &ground.destination().join(format!("file {size} é")));
    }
    let done = stop(receiver, &ground).done();
    assert_eq!(done["files"], SIZES.len());
    assert_eq!(done["failed"], 0);
}

#[test]
fn s08_packhorse_sends_to_python() {
    let test = "s08_packhorse_sends_to_python";
    let ground = Ground::new();
    let mut random = Random::seeded();
    for size in SIZES {
        let file = ground.source_file("file", random.bytes(size));
        let Some(server) = peer(test, "classic_receiver.py") else {
            return;
        };
        let mut server = server.arg("size").arg(ground.destination()).start();
        let sender = classic_send("size", &file, &server.address())
            .args(["--name", "naïve name"])
            .run();
        sender.expect_code(0);
        let sent = &sender.events_named("sent")[0];
        assert_eq!(
            (&sent["confirmed"], &sent["closed"]),
            (&false.into(), &true.into())
        );
        let received = server.wait_for("received", |_| true);
        assert_eq!(received["agrees"], true);
        assert_eq!(
            received["keys"],
            serde_json::json!(["file_name", "file_size"])
        );
        let header = serde_json::json!({"file_name": "naïve name", "file_size": size});
        assert_eq!(received["header"], header);
        server.wait().expect_code(0);
        assert_same_file(&file, &ground.destination().join("naïve name"));
    }
}

#[test]
fn s08_a_receiver_that_cuts_the_connection_is_told() {
    let test = "s08_a_receiver_that_cuts_the_connection_is_told";
    let ground = Ground::new();
    let file = ground.sparse_file("large", 64 << 20);
    let Some(server) = peer(test, "classic_receiver.py") else {
        return;
    };
    let mut server = server
        .arg("size")
        .arg(ground.destination())
        .arg("refuse")
        .start();
    let sender = classic_send("size", &file, &server.address()).run();
    sender
        .expect_code(3)
        .expect_says("the receiver cut the connection");
    assert_eq!(sender.events_named("sent"), Vec::<Value>::new());
}

#[test]
fn s08_slow_and_joined_segments_are_the_same_file() {
    for format in ["size", "md5"] {
        let ground = Ground::new();
        let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
        let to = receiver.address();
        for scenario in ["byte_by_byte", "one_segment"] {
            let Some(client) = hostile("s08_slow_and_joined", &to, &[scenario, format]) else {
                return;
            };
            assert_eq!(how_it_ended(&client.run()), "closed", "{scenario}");
            receiver.wait_for("file", |event| event["format"] == format);
            let arrived = fs::read(ground.destination().join("good")).expect("a file");
            let expected: Vec<u8> = (0..20).flat_map(|_| 0..=255).collect();
            assert_eq!(arrived, expected);
        }
        stop(receiver, &ground);
    }
}

#[test]
fn s08_hostile_clients_leave_nothing_and_the_receiver_goes_on() {
    let test = "s08_hostile_clients_leave_nothing_and_the_receiver_goes_on";
    let ground = Ground::new();
    let Some(list) = hostile(test, "list", &[]) else {
        return;
    };
    let scenarios = list.run().events_named("scenarios").remove(0);
    let wrong = scenarios["wrong"].as_array().expect("a list");
    assert!(wrong.len() > 30, "{scenarios}");
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    for scenario in wrong {
        let scenario = scenario.as_str().expect("a string");
        let client = hostile(test, &to, &[scenario]).expect("there is Python");
        assert_eq!(how_it_ended(&client.run()), "reset", "{scenario}");
        // What has no good header is refused; a file that has a name fails by it.
        let told = receiver.wait_for_any(&["refused", "failed"]);
        assert_ne!(
            told["message"].as_str().or(told["reason"].as_str()),
            None,
            "{scenario}"
        );
        assert_untouched(&ground.destination());
    }
    assert_still_receives("size", &mut receiver, &to, &ground);
    let ended = stop(receiver, &ground);
    ended
        .expect_says("after 5119 of 5120 bytes")
        .expect_says("more than the 100 bytes")
        .expect_says("header cannot be -1 bytes long")
        .expect_says("own protocol")
        .expect_says("not UTF-8");
    assert_eq!(ended.done()["failed"], wrong.len());
}

#[test]
fn s08_only_plain_names_are_stored() {
    let test = "s08_only_plain_names_are_stored";
    let ground = Ground::new();
    let Some(list) = hostile(test, "list", &[]) else {
        return;
    };
    let scenarios = list.run().events_named("scenarios").remove(0);
    let names = scenarios["names"].as_array().expect("a list");
    assert!(names.len() > 10, "{scenarios}");
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    for (form, key) in [("size_name", "file_name"), ("md5_name", "new_file_name")] {
        for name in names {
            let name = name.as_str().expect("a string");
            let client = hostile(test, &to, &[form, name]).expect("there is Python");
            assert_eq!(how_it_ended(&client.run()), "reset", "{name}");
            let refused = receiver.wait_for("refused", |_| true);
            let reason = refused["reason"].as_str().expect("a string");
            assert!(
                reason.contains("plain file name") && reason.contains(key),
                "{reason}"
            );
            assert_untouched(&ground.destination());
            assert_untouched(&ground.beside());
        }
    }
    assert_still_receives("md5", &mut receiver, &to, &ground);
    stop(receiver, &ground);
}

#[test]
fn s08_a_client_that_resets_leaves_nothing() {
    let test = "s08_a_client_that_resets_leaves_nothing";
    let ground = Ground::new();
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    let Some(client) = hostile(test, &to, &["reset_midway"]) else {
        return;
    };
    client.run().expect_code(0);
    receiver.wait_for_any(&["failed", "refused"]);
    assert_untouched(&ground.destination());
    assert_still_receives("size", &mut receiver, &to, &ground);
    stop(receiver, &ground);
}

#[test]
fn s08_the_first_file_decides_the_exit_code() {
    let test = "s08_the_first_file_decides_the_exit_code";
    for (scenario, code) in [
        ("stop_midway_size", 3),
        ("stop_in_header", 3),
        ("long_size", 6),
        ("wrong_md5", 6),
        ("negative_length", 6),
        ("half_json", 6),
    ] {
        let ground = Ground::new();
        let mut receiver = classic_recv(&ground.destination()).start();
        let Some(client) = hostile(test, &receiver.address(), &[scenario]) else {
            return;
        };
        client.run().expect_code(0);
        let ended = receiver.wait();
        ended.expect_code(code).expect_says("nothing was stored");
        assert_eq!(ended.events_named("error")[0]["exit_code"], code);
        assert_untouched(&ground.destination());
    }
}

#[test]
fn s08_a_crowd_is_served_at_once() {
    let ground = Ground::new();
    let mut receiver = classic_recv(&ground.destination()).arg("--keep").start();
    let to = receiver.address();
    let Some(client) = hostile("s08_a_crowd_is_served_at_once", &to, &["crowd", "100"]) else {
        return;
    };
    let client = client.run();
    client.expect_code(0);
    assert!(
        client
            .events_named("ended")
            .iter()
            .all(|event| event["how"] == "closed")
    );
    for _ in 0..100 {
        receiver.wait_for("file", |_| true);
    }
    for number in 0..100 {
        let arrived = fs::read_to_string(ground.destination().join(format!("crowd {number}")));
        assert_eq!(arrived.expect("a file"), format!("{number}\n").repeat(500));
    }
    let memory = receiver.peak_memory().expect("it runs");
    assert!(memory < 64 << 20, "{memory} bytes");
    stop(receiver, &ground);
}

#[test]
fn s08_existing_files_are_replaced_or_kept() {
    let ground = Ground::new();
    let file = ground.source_file("file", "new");
    let arrived = ground.destination().join("file");
    let second_name = ground.beside().join("second name");
    fs::write(&arrived, "old and longer").expect("a file");
    fs::hard_link(&arrived, &second_name).expect("a link");
    let mut receiver = classic_recv(&ground.destination())
        .arg("--keep-existing")
        .start();
    classic_send("size", &file, &receiver.address())
        .run()
        .expect_code(3);
    let ended = receiver.wait();
    ended
        .expect_code(0)
        .expect_says("kept the one that was there");
    assert_eq!(ended.events_named("kept").len(), 1);
    assert_eq!(fs::read(&arrived).expect("a file"), b"old and longer");
    let mut receiver = classic_recv(&ground.destination()).start();
    classic_send("size", &file, &receiver.address())
        .run()
        .expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &arrived);
    assert_eq!(fs::read(second_name).expect("a file"), b"old and longer");
}

#[test]
fn s08_classic_is_off_unless_asked_for() {
    let ground = Ground::new();
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let to = receiver.address();
    let file = ground.source_file("file", "content");
    classic_send("size", &file, &to).run().expect_code(3);
    receiver.wait_for("refused", |_| true);
    assert_untouched(&ground.destination());
    Packhorse::send(&[&file], &to).run().expect_code(0);
    receiver.wait().expect_code(0);
}

#[test]
fn s08_both_protocols_share_a_port() {
    let test = "s08_both_protocols_share_a_port";
    let ground = Ground::new();
    let mut receiver = Packhorse::recv(&ground.destination())
        .args(["--classic=also", "--keep"])
        .start();
    let to = receiver.address();
    let gate = ground.beside().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status().expect("mkfifo");
    assert!(made.success());
    let gate_name = gate.to_str().expect("UTF-8");
    let Some(client) = hostile(test, &to, &["half_until", gate_name]) else {
        return;
    };
    let mut client = client.start();
    client.wait_for("half", |_| true);
    // While that one is under way, a session of the other protocol and another classic file.
    let file = ground.source_file("native", "over the native protocol");
    Packhorse::send(&[&file], &to)
        .code(CODE)
        .run()
        .expect_code(0);
    receiver.wait_for("done", |_| true);
    let other = ground.source_file("classic", "over a classic format");
    classic_send("md5", &other, &to).run().expect_code(0);
    receiver.wait_for("file", |event| event["path"] == "classic");
    // Opening and closing it lets the first one go on.
    drop(
        fs::OpenOptions::new()
            .write(true)
            .open(&gate)
            .expect("the pipe"),
    );
    receiver.wait_for("file", |event| event["path"] == "good");
    assert_eq!(how_it_ended(&client.wait()), "closed");
    assert_same_file(&file, &ground.destination().join("native"));
    assert_same_file(&other, &ground.destination().join("classic"));
    for scenario in ["wrong_md5", "half_json", "negative_length"] {
        let client = hostile(test, &to, &[scenario]).expect("there is Python");
        client.run().expect_code(0);
        receiver.wait_for_any(&["failed", "refused"]);
    }
    assert_still_receives_among(&mut receiver, &to, &ground);
    stop(receiver, &ground).expect_says("neither secrecy nor authentication");
}

fn assert_still_receives_among(receiver: &mut crate::harness::Running, to: &str, ground: &Ground) {
    let again = ground.source_file("again", "again");
    Packhorse::send(&[&again], to).run().expect_code(0);
    receiver.wait_for("file", |event| event["path"] == "again");
    assert!(!ground.destination().join("bad").exists());
}

#[test]
fn s08_beside_the_native_protocol_one_file_is_enough_as_well() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination())
        .arg("--classic=also")
        .start();
    classic_send("size", &file, &receiver.address())
        .run()
        .expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("file"));
}

#[test]
fn s08_the_warning_is_always_said() {
    let ground = Ground::new();
    let mut receiver = classic_recv(&ground.destination())
        .args(["--keep", "-q"])
        .start();
    receiver.address();
    stop(receiver, &ground).expect_says("neither secrecy nor authentication");
}

#[test]
fn s08_what_a_classic_format_cannot_carry_is_wrong_usage() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let drive = ground.source_file("c:drive", "content");
    let nowhere = "127.0.0.1:9";
    let refused = |command: Packhorse, word: &str| {
        command.run().expect_code(2).expect_says(word);
    };
    let two = Packhorse::send(&[&file, &drive], nowhere).args(["--classic", "size"]);
    refused(two, "one file");
    refused(
        classic_send("md5", &ground.source(), nowhere),
        "is a directory",
    );
    refused(classic_send("md5", "-".as_ref(), nowhere), "standard input");
    refused(
        classic_send("size", &file, "ph://127.0.0.1:9/x"),
        "subdirectories",
    );
    refused(classic_send("size", &drive, nowhere), "drive");
    let named = classic_send("size", &file, nowhere).args(["--name", "a\\b"]);
    refused(named, "separator");
    for option in ["--insecure", "--receipt=r", "--code-file=c"] {
        refused(
            classic_recv(&ground.destination()).arg(option),
            "--classic=also",
        );
    }
}

#[test]
fn s08_a_name_that_is_not_utf8_needs_another() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let ground = Ground::new();
    let file = ground.source().join(OsStr::from_bytes(b"\xff"));
    fs::write(&file, "content").expect("a file");
    let sender = classic_send("size", &file, "127.0.0.1:9").run();
    sender.expect_code(2).expect_says("not UTF-8");
    let mut receiver = classic_recv(&ground.destination()).start();
    let sender = classic_send("size", &file, &receiver.address()).args(["--name", "good"]);
    sender.run().expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_file(&file, &ground.destination().join("good"));
}
