//! What ended receivers left is listed and removed, and nothing else.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::compare::{assert_nothing_left_over, assert_same_tree};
use crate::harness::random::Random;
use crate::harness::surroundings::{is_root, works};
use crate::harness::{Ended, Ground, Packhorse, not_shown};
use crate::resume::{MEBIBYTE, Victim, complete, end_at, make_tree};

/// What takes long enough to be ended in the middle.
const LARGE: u64 = 512 * MEBIBYTE;

fn partials(verb: &str, directory: &Path) -> Packhorse {
    Packhorse::verb("partials").arg(verb).arg(directory)
}

fn list(directory: &Path) -> Ended {
    let ended = partials("list", directory).arg("--json").run();
    ended.expect_code(0);
    ended
}

/// The lines of `--json` but the last, which is the summary.
fn lines(ended: &Ended) -> (Vec<Value>, Value) {
    let mut lines = ended.events();
    assert!(lines.iter().all(|line| line["v"] == 1), "{}", ended.told());
    let last = lines.pop().expect("a summary");
    (lines, last["summary"].clone())
}

/// The one line about a thing of this kind.
#[track_caller]
fn line_of<'a>(lines: &'a [Value], kind: &str) -> &'a Value {
    let mut of_kind = lines.iter().filter(|line| line["partial"] == kind);
    let line = of_kind.next().expect(kind);
    assert!(of_kind.next().is_none(), "{lines:?}");
    line
}

/// What `find` prints of everything beneath a directory that passes a test.
fn find(directory: &Path, test: &[&str], format: &str) -> BTreeSet<Vec<u8>> {
    let output = Command::new("find")
        .arg(directory)
        .args(["-mindepth", "1"])
        .args(test)
        .args(["-printf", &format!("{format}\\0")])
        .output()
        .expect("find");
    assert!(output.status.success(), "find: {output:?}");
    let lines = output.stdout.split(|&b| b == 0);
    lines
        .filter(|line| !line.is_empty())
        .map(Vec::from)
        .collect()
}

/// Files of the program's own.
const OWN: &[&str] = &[
    "-type",
    "f",
    "(",
    "-name",
    ".packhorse-*",
    "-o",
    "-name",
    "*.stored",
    ")",
];

/// What such files take on disk, by `find`; each path makes its line another one.
fn disk(directory: &Path, test: &[&str]) -> u64 {
    let lines = find(directory, test, "%b %P");
    let blocks = lines.iter().map(|line| {
        let text = String::from_utf8_lossy(line);
        let blocks = text.split(' ').next().expect("a first word");
        blocks.parse::<u64>().expect("a number")
    });
    512 * blocks.sum::<u64>()
}

/// When something was last written, to the nanosecond.
fn last_written(directory: &Path, test: &[&str]) -> String {
    let times = find(directory, test, "%T@");
    // All of one length: the latest is the greatest. `find` prints ten digits of nine.
    let last = times.last().expect("a file");
    String::from_utf8_lossy(&last[..last.len() - 1]).into_owned()
}

fn everything(directory: &Path) -> BTreeSet<Vec<u8>> {
    find(directory, &[], "%P %y %s")
}

/// Kills the receiver of a tree in the middle of its large file.
fn leave(source: &Path, destination: &Path) {
    let end = (Victim::Receiver, Signal::KILL);
    assert!(
        !end_at(source, destination, end, LARGE / 8).complete,
        "too fast"
    );
}

#[test]
fn what_was_left_is_listed_with_its_figures_and_stays() {
    let ground = Ground::new();
    let source = make_tree(&ground, LARGE, 0);
    let destination = ground.destination();
    leave(&source, &destination);
    let before = everything(&destination);
    let (listed, summary) = lines(&list(&destination));
    let file = line_of(&listed, "file");
    assert_eq!(
        (&file["path"], &file["fate"]),
        (&"tree/large.bin".into(), &"left".into())
    );
    assert_eq!(file["size"], LARGE);
    let roll = line_of(&listed, "roll");
    assert_eq!((&roll["files"], &roll["all"]), (&0.into(), &true.into()));
    let of_file = &["-type", "f", "-name", ".packhorse-*"];
    assert_eq!(file["disk"], disk(&destination, of_file));
    assert_eq!(file["written"], last_written(&destination, of_file));
    assert_eq!(
        roll["written"],
        last_written(&destination, &["-name", "*.stored"])
    );
    assert_eq!(
        (&summary["parts"], &summary["rolls"]),
        (&1.into(), &1.into())
    );
    assert_eq!(summary["disk"], disk(&destination, OWN));

    let text = partials("list", &destination).run();
    text.expect_code(0);
    let [first, second, last] = text.stdout() else {
        panic!("{}", text.told());
    };
    assert!(first.contains("roll of 0 complete files"), "{first}");
    let held = file["held"].as_u64().expect("a number");
    let percent = format!(" {}%", held * 100 / LARGE);
    assert!(
        second.contains(&percent) && second.ends_with("  tree/large.bin"),
        "{second}"
    );
    assert!(
        last.starts_with("1 partial file and 1 roll, ") && last.ends_with(" on disk"),
        "{last}"
    );
    assert_eq!(everything(&destination), before);
    // What is said to be there is what does not have to be sent again.
    assert_eq!(complete(&source, &destination), held);
    let nothing = partials("list", &destination).run();
    nothing.expect_code(0);
    assert!(nothing.stdout()[0].starts_with("Nothing was left"));
}

#[test]
fn a_roll_tells_how_many_files_are_complete() {
    let ground = Ground::new();
    let source = make_tree(&ground, LARGE, 2000);
    let destination = ground.destination();
    leave(&source, &destination);
    let (listed, _) = lines(&list(&destination));
    let files = line_of(&listed, "roll")["files"]
        .as_u64()
        .expect("a number");
    let complete = find(&destination, &["-type", "f", "-name", "f*"], "%P").len();
    // The last ones may not be written down.
    assert!(
        files > 0 && files <= complete as u64,
        "{files} of {complete}"
    );
}

#[test]
fn what_a_living_receiver_writes_is_in_use_and_stays() {
    let ground = Ground::new();
    let source = make_tree(&ground, LARGE, 600);
    let destination = ground.destination();
    let mut receiver = Packhorse::recv(&destination).start();
    let sender = Packhorse::send(&[&source], &receiver.address()).start();
    receiver.wait_for("progress", |event| {
        event["bytes"].as_u64() > Some(4 * MEBIBYTE)
    });
    sender.signal(Signal::STOP);
    let own = find(&destination, OWN, "%P");
    assert!(own.len() >= 3, "{own:?}");
    let (listed, summary) = lines(&list(&destination));
    assert!(
        listed.iter().all(|line| line["fate"] == "in_use"),
        "{listed:?}"
    );
    assert_eq!(summary["in_use"], 2, "{listed:?}");
    assert_eq!(line_of(&listed, "file")["path"], "tree/large.bin");
    for age in ["0s", "1ms"] {
        let cleaned = partials("clean", &destination)
            .args(["--older-than", age])
            .run();
        cleaned.expect_code(0);
        assert!(
            cleaned
                .told()
                .contains("Nothing removed; 2 in use and kept"),
            "{}",
            cleaned.told()
        );
    }
    partials("clean", &destination).run().expect_code(0);
    assert_eq!(find(&destination, OWN, "%P"), own);
    // And while everything moves.
    sender.signal(Signal::CONT);
    for _ in 0..5 {
        partials("clean", &destination).run().expect_code(0);
        partials("list", &destination).run().expect_code(0);
    }
    sender.wait().expect_code(0);
    receiver.wait().expect_code(0);
    assert_same_tree(&source, &destination.join("tree"));
    assert_nothing_left_over(&destination);
}

/// Names that look like the program's own: what has them is not what it makes for this user, or not quite the name.
fn make_impostors(destination: &Path) -> Vec<PathBuf> {
    let inner = destination.join("tree/inner");
    fs::create_dir_all(&inner).expect("a directory");
    let target = destination.join("target");
    fs::write(&target, "do not touch").expect("a file");
    let rolls = destination.join(".packhorse");
    let mut made = Vec::new();
    for (number, ending) in ["part", "journal", "stored"].into_iter().enumerate() {
        let place = if ending == "stored" { &rolls } else { &inner };
        let prefix = if ending == "stored" {
            ""
        } else {
            ".packhorse-"
        };
        let at = |kind: u8| place.join(format!("{prefix}{kind:014x}{number:02x}.{ending}"));
        // Of links it makes none under the other names.
        if ending != "part" {
            symlink(&target, at(1)).expect("a link");
            symlink("nowhere", at(2)).expect("a link");
            made.extend([1, 2].map(at));
        }
        fs::hard_link(&target, at(3)).expect("a link");
        fs::create_dir(at(4)).expect("a directory");
        fs::write(at(4).join("inside"), "content").expect("a file");
        made.extend([3, 4].map(at));
        if is_root() {
            fs::write(at(5), "somebody else's").expect("a file");
            std::os::unix::fs::chown(at(5), Some(65_534), None).expect("another owner");
            made.push(at(5));
        }
        for name in [
            format!("{prefix}0123456789ABCDEF.{ending}"),
            format!("{prefix}0123456789abcde.{ending}"),
            format!("{prefix}0123456789abcdeg.{ending}"),
            format!("{prefix}0123456789abcdef.{ending}~"),
        ] {
            fs::write(place.join(name), "of the user").expect("a file");
        }
    }
    // Rolls are nowhere else.
    fs::create_dir(inner.join(".packhorse")).expect("a directory");
    fs::write(inner.join(".packhorse/0123456789abcdef.stored"), "").expect("a file");
    fs::write(inner.join("0123456789abcdef.stored"), "").expect("a file");
    fs::write(
        rolls.join(".packhorse-0123456789abcdef.part"),
        "of the user",
    )
    .expect("a file");
    made
}

#[test]
fn cleaning_removes_all_of_it_and_only_that() {
    let ground = Ground::new();
    let source = make_tree(&ground, LARGE, 600);
    let destination = ground.destination();
    leave(&source, &destination);
    fs::write(
        destination.join(".packhorse-00000000000000aa.part"),
        vec![1; 100_000],
    )
    .expect("a file");
    fs::write(destination.join(".packhorse-00000000000000bb.journal"), "")
        .expect("a journal that was cut short");
    let room = disk(&destination, OWN);
    let own = find(&destination, OWN, "%P %y %s");
    let foreign = make_impostors(&destination).len();
    let before = everything(&destination);

    let listed = list(&destination);
    let (of_kinds, summary) = lines(&listed);
    assert_eq!(
        line_of(&of_kinds, "orphan")["at"]["path"],
        ".packhorse-00000000000000aa.part"
    );
    assert_eq!(
        line_of(&of_kinds, "unknown")["at"]["path"],
        ".packhorse-00000000000000bb.journal"
    );
    assert_eq!(
        (&summary["disk"], &summary["foreign"]),
        (&room.into(), &foreign.into())
    );
    assert_eq!(everything(&destination), before);

    let cleaned = partials("clean", &destination).arg("--json").run();
    cleaned.expect_code(0);
    let (removed, summary) = lines(&cleaned);
    assert!(
        removed.iter().all(|line| line["fate"] == "removed"),
        "{removed:?}"
    );
    assert_eq!(
        (&summary["removed_parts"], &summary["removed_rolls"]),
        (&3.into(), &1.into())
    );
    assert_eq!(summary["freed"], room);
    let expected: BTreeSet<_> = before.difference(&own).cloned().collect();
    assert_eq!(everything(&destination), expected);
    assert_eq!(
        fs::read(destination.join("target")).expect("it is there"),
        b"do not touch"
    );
}

#[test]
fn links_without_their_names_go_when_nobody_can_be_about_to_name_them() {
    /// A minute and more from now, as the program has it: the times of links are the kernel's.
    const LATER: [&str; 3] = ["faketime", "-f", "+2m"];
    if !works(Command::new(LATER[0]).args(&LATER[1..]).arg("true")) {
        return not_shown("partials", "faketime does not work here");
    }
    let ground = Ground::new();
    let destination = ground.destination();
    let inner = destination.join("tree/inner");
    fs::create_dir_all(&inner).expect("a directory");
    let outside = ground.beside().join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("file"), "do not touch").expect("a file");
    let own = [
        destination.join(".packhorse-00000000000000aa.part"),
        inner.join(".packhorse-00000000000000bb.part"),
        inner.join(".packhorse-00000000000000cc.part"),
    ];
    for (link, target) in own
        .iter()
        .zip([&outside.join("file"), &outside, &"nowhere".into()])
    {
        symlink(target, link).expect("a link");
    }
    let before = everything(&destination);
    symlink("nowhere", inner.join(".packhorse-00000000000000AA.part")).expect("a link");
    symlink(&outside, inner.join(".packhorse-00000000000000aa.journal")).expect("a link");
    let mut foreign = 1;
    if is_root() {
        let others = inner.join(".packhorse-00000000000000dd.part");
        symlink("nowhere", &others).expect("a link");
        std::os::unix::fs::lchown(&others, Some(65_534), None).expect("another owner");
        foreign += 1;
    }
    let with_others = everything(&destination);
    let run = |verb: &str, through: &[&'static str], fate: &str| {
        let ended = partials(verb, &destination)
            .arg("--json")
            .through(through)
            .run();
        ended.expect_code(0);
        let (links, summary) = lines(&ended);
        assert_eq!(links.len(), own.len(), "{}", ended.told());
        for link in links {
            assert_eq!(
                (&link["partial"], &link["fate"]),
                (&"link".into(), &fate.into())
            );
        }
        assert_eq!(summary["foreign"], foreign);
    };
    run("list", &[], "in_use");
    run("clean", &[], "in_use");
    run("list", &LATER, "left");
    assert_eq!(everything(&destination), with_others);
    run("clean", &LATER, "removed");
    let left = everything(&destination);
    assert!(left.is_subset(&with_others) && own.iter().all(|link| !link.is_symlink()));
    assert_eq!(left.len(), with_others.len() - own.len());
    assert_eq!(before.len(), own.len() + 2);
    assert_eq!(
        fs::read(outside.join("file")).expect("it is there"),
        b"do not touch"
    );
}

#[test]
fn after_cleaning_a_session_begins_anew() {
    let ground = Ground::new();
    let source = make_tree(&ground, LARGE, 600);
    let destination = ground.destination();
    leave(&source, &destination);
    let cleaned = partials("clean", &destination).run();
    cleaned.expect_code(0);
    let last = cleaned.stdout().last().expect("a summary");
    assert!(
        last.starts_with("Removed 1 partial file and 1 roll: "),
        "{last}"
    );
    assert_nothing_left_over(&destination);
    let again = partials("clean", &destination).run();
    again.expect_code(0);
    assert_eq!(again.stdout(), ["Nothing removed"]);
    assert_eq!(complete(&source, &destination), 0);
}

fn age(path: &Path, ago: &str) {
    let touched = Command::new("touch")
        .args(["-d", &format!("{ago} ago")])
        .arg(path)
        .status();
    assert!(touched.expect("touch").success());
}

#[test]
fn only_what_is_older_is_removed_where_an_age_is_given() {
    let ground = Ground::new();
    let source = make_tree(&ground, LARGE, 0);
    let destination = ground.destination();
    leave(&source, &destination);
    let own = |test: &[&str]| -> PathBuf {
        let found = find(&destination, test, "%P");
        let name = found.first().expect("one of this name");
        destination.join(OsStr::from_bytes(name))
    };
    let journal = own(&["-name", "*.journal"]);
    let part = own(&["-name", "*.part"]);
    let old = destination.join(".packhorse-00000000000000aa.part");
    let young = destination.join(".packhorse-00000000000000bb.part");
    fs::write(&old, "left").expect("a file");
    fs::write(&young, "left").expect("a file");
    age(&old, "8 days");
    age(&young, "6 days");
    // The journal is younger: somebody has written to it after its file.
    age(&part, "8 days");
    let clean = |age: &str| {
        let ended = partials("clean", &destination)
            .args(["--older-than", age])
            .run();
        ended.expect_code(0);
        ended.stdout().last().expect("a summary").clone()
    };
    let last = clean("7d");
    assert!(last.starts_with("Removed 1 partial file: "), "{last}");
    assert!(last.ends_with("; 3 not old enough"), "{last}");
    assert!(!old.exists() && young.exists() && journal.exists() && part.exists());
    age(&journal, "13 hours");
    let last = clean("12h");
    assert!(last.starts_with("Removed 2 partial files: "), "{last}");
    assert!(!young.exists() && !journal.exists() && !part.exists());
    let rolls = find(&destination, &["-name", "*.stored"], "%P");
    assert_eq!(rolls.len(), 1, "{rolls:?}");
    partials("clean", &destination)
        .args(["--older-than", "soon"])
        .run()
        .expect_code(2)
        .expect_says("7d, 12h or 30m");
}

#[test]
fn odd_names_are_told_safely_and_exactly() {
    let ground = Ground::new();
    let name = b"new\nline \x1b[31m \xff";
    let directory = ground.source().join(OsStr::from_bytes(b"a\xfe\n"));
    fs::create_dir(&directory).expect("a directory");
    let mut random = Random::seeded();
    let large = usize::try_from(LARGE).expect("it is in memory");
    fs::write(directory.join(OsStr::from_bytes(name)), random.bytes(large)).expect("a file");
    let destination = ground.destination();
    leave(&directory, &destination);
    let text = partials("list", &destination).run();
    text.expect_code(0);
    assert_eq!(text.stdout().len(), 3, "{}", text.told());
    let escaped = r"  a\xfe\n/new\nline \u{1b}[31m \xff";
    assert!(
        text.stdout().iter().any(|line| line.ends_with(escaped)),
        "{}",
        text.told()
    );
    let (listed, _) = lines(&list(&destination));
    let file = line_of(&listed, "file");
    let bytes = |value: &Value| {
        let text = value["path_base64"].as_str().expect("it is no text");
        BASE64.decode(text).expect("Base64")
    };
    assert_eq!(bytes(file), [b"a\xfe\n/", &name[..]].concat());
    assert!(
        bytes(&file["at"]).starts_with(b"a\xfe\n/.packhorse-"),
        "{file}"
    );
    partials("clean", &destination).run().expect_code(0);
    assert_nothing_left_over(&destination);
}

#[test]
fn what_cannot_be_looked_into_is_told_by_name() {
    let ground = Ground::new();
    let file = ground.source_file("file", "content");
    for directory in [ground.path().join("nowhere"), file] {
        for verb in ["list", "clean"] {
            let name = directory.display().to_string();
            let ended = partials(verb, &directory).run();
            ended.expect_code(5).expect_says(&name);
            assert!(ended.stdout().is_empty(), "{}", ended.told());
        }
    }
    let destination = ground.destination();
    let own = |directory: &str| {
        let directory = destination.join(directory);
        fs::create_dir(&directory).expect("a directory");
        let own = directory.join(".packhorse-00000000000000aa.part");
        fs::write(&own, "left").expect("a file");
        own
    };
    let (closed, open, fixed) = (own("closed"), own("open"), own("fixed"));
    let mode = |file: &Path, mode| {
        let directory = file.parent().expect("a parent");
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    mode(&closed, 0o000);
    mode(&fixed, 0o500);
    // Root minds no permissions unless it gives that up.
    let bare = |verb: &str| {
        let packhorse = env!("CARGO_BIN_EXE_packhorse");
        let mut command = Command::new(packhorse);
        if is_root() {
            command = Command::new("setpriv");
            command.args(["--bounding-set=-dac_override,-dac_read_search", packhorse]);
        }
        command.args(["partials", verb]).arg(&destination);
        Packhorse::from_command(command).run()
    };
    let listed = bare("list");
    if listed.code() == Some(127) {
        return not_shown("what_cannot_be_looked_into", "it needs setpriv");
    }
    listed.expect_code(1).expect_says("destination/closed");
    let last = listed.stdout().last().expect("a summary");
    assert!(last.starts_with("2 partial files, "), "{last}");
    assert!(last.ends_with("; 1 failed"), "{last}");
    let cleaned = bare("clean");
    cleaned
        .expect_code(1)
        .expect_says("fixed/.packhorse-00000000000000aa.part");
    assert!(!open.exists() && fixed.exists());
    mode(&closed, 0o700);
    mode(&fixed, 0o700);
    let names = find(&destination, &["-type", "f"], "%P");
    assert_eq!(names.len(), 2, "{names:?}");
}
