//! What is printed: events for programs, words for people, and nothing that harms a terminal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::harness::{Ended, Ground, Packhorse, transfer, transfer_whole, tree};

#[test]
fn events_are_json_lines_with_version() {
    let ground = Ground::new();
    let source = ground.source().join("tree");
    tree::a_few_files(source.clone());
    let (sender, receiver) = transfer_whole(&source, &ground.destination());
    for event in sender.events().iter().chain(&receiver.events()) {
        assert_eq!(event["v"], 1, "{event}");
        assert!(event["event"].is_string(), "{event}");
    }
    assert_eq!(receiver.events()[0]["event"], "listening");
    for name in ["connected", "offered", "file", "done"] {
        assert!(
            !receiver.events_named(name).is_empty(),
            "{name}: {}",
            receiver.told()
        );
    }
    let files = receiver.events_named("file");
    let numbers = files
        .iter()
        .find(|event| event["path"] == "tree/inner/numbers.bin");
    let numbers = numbers.unwrap_or_else(|| panic!("numbers.bin: {}", receiver.told()));
    assert_eq!(numbers["size"], 300_000);
    assert!(
        numbers["hash"]
            .as_str()
            .is_some_and(|hash| hash.len() == 64),
        "{numbers}"
    );
    let last = receiver.events().pop().expect("an event");
    assert_eq!(last["event"], "done");
    assert_eq!(
        (&last["files"], &last["bytes"]),
        (&Value::from(3), &Value::from(300_012))
    );
}

#[test]
fn events_go_to_a_file_when_asked() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let events = ground.beside().join("events");
    let mut receiver = Packhorse::recv(&ground.destination()).start();
    let sender = Packhorse::verb("send")
        .arg(&file)
        .arg(receiver.address())
        .arg("--events")
        .arg(&events)
        .code(crate::harness::CODE)
        .run();
    sender.expect_code(0);
    receiver.wait().expect_code(0);
    let text = fs::read_to_string(events).expect("events");
    let last = text.lines().last().expect("a line");
    let done: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(done["event"], "done");
}

#[test]
fn no_control_characters_when_not_a_terminal() {
    let ground = Ground::new();
    let hostile = "\u{1b}[31mred\u{7}\r\n\u{202e}gnp.exe\u{9b}2J";
    ground.source_file(&format!("tree/{hostile}"), vec![1; 3 << 20]);
    // One that fails, so that its name is told at both ends.
    ground.source_file(&format!("tree/closed-{hostile}/file"), "content");
    let not_utf8 = ground
        .source()
        .join("tree")
        .join(OsStr::from_bytes(b"\xff\x9b2J"));
    fs::write(not_utf8, "content").expect("a file");
    let arrived = ground.destination().join("tree");
    fs::create_dir(&arrived).expect("a directory");
    symlink(ground.beside(), arrived.join(format!("closed-{hostile}"))).expect("a link");
    let (sender, receiver) = transfer(&[&ground.source().join("tree")], &ground.destination());
    for ended in [&sender, &receiver] {
        ended.expect_code(1).expect_says("closed-");
        assert_harmless(ended);
    }
}

#[track_caller]
fn assert_harmless(ended: &Ended) {
    let overrides =
        |c| ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    let broken = |c| c == char::REPLACEMENT_CHARACTER;
    let talk = ended.stderr_text();
    let harmful = |c: char| (c.is_control() && c != '\n') || overrides(c) || broken(c);
    assert!(!talk.contains(harmful), "{talk:?}");
    // Events are for programs: JSON escapes the controls of ASCII, and leaves the rest of Unicode alone.
    for line in ended.stdout() {
        assert!(
            !line.contains(|c: char| c.is_ascii_control() || broken(c)),
            "{line:?}"
        );
    }
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    let mut receiver = Packhorse::recv(&ground.destination()).arg("-q").start();
    let sender = Packhorse::send(&[&file], &receiver.address())
        .arg("-q")
        .run();
    let receiver = receiver.wait();
    for ended in [sender, receiver] {
        ended.expect_code(0);
        assert_eq!(ended.stderr_text(), "");
    }
}

#[test]
fn help_and_version_are_answered() {
    let version = Packhorse::verb("--version").run();
    version.expect_code(0);
    assert_eq!(
        version.stdout(),
        [format!("packhorse {}", env!("CARGO_PKG_VERSION"))]
    );
    for verb in ["recv", "send", "verify", "demo"] {
        let help = Packhorse::verb(verb).arg("--help").run();
        help.expect_code(0);
        assert!(help.stdout().join("\n").contains("Usage"), "{verb}");
    }
}

#[test]
fn unknown_arguments_are_usage_errors() {
    Packhorse::verb("send")
        .arg("--no-such-thing")
        .run()
        .expect_code(2);
    Packhorse::verb("no-such-verb").run().expect_code(2);
}
