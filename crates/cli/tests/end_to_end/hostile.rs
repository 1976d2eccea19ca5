//! Peers that mean harm, against the real binary: whoever breaks the protocol is told so and gets
//! nothing, and whatever else happens, nothing outside the destination is touched, nothing half done
//! stays, and nobody waits for long.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use crate::harness::compare::assert_only_remains;
use crate::harness::peer::{insecure_recv, peer};
use crate::harness::{Ended, Ground};

/// One test for each scenario, named for it: what the receiver says.
macro_rules! breaches {
    ($($scenario:ident: $says:expr;)*) => {
        $(#[test]
        fn $scenario() {
            breach(stringify!($scenario), $says);
        })*
    };
}

mod breaches;
mod door;
mod receivers;

/// Far less than any deadline of the protocol: a breach is answered at once.
const AT_ONCE: Duration = Duration::from_secs(12);

/// A ground whose destination has a link out of it, and something beside it to be spared.
fn trapped_ground() -> Ground {
    let ground = Ground::new();
    fs::write(ground.beside().join("precious"), "untouched").expect("a file");
    symlink("../beside", ground.destination().join("door")).expect("a link");
    ground
}

/// What was there before is as it was, whatever came.
#[track_caller]
fn assert_unharmed(ground: &Ground) {
    let names: Vec<_> = fs::read_dir(ground.beside())
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .expect("a directory")
        .iter()
        .map(fs::DirEntry::file_name)
        .collect();
    assert_eq!(names, ["precious"], "beside the destination");
    let precious = fs::read(ground.beside().join("precious")).expect("a file");
    assert_eq!(precious, b"untouched");
    // Extents that agreed before the breach are a partial file, as after any other end.
    assert_only_remains(&ground.destination(), 1);
}

/// Neither a panic nor, in what is said to people, a character that steers a terminal.
#[track_caller]
fn assert_decent(ended: &Ended) {
    let said = ended.stderr_text();
    assert!(!said.contains("panicked"), "{}", ended.told());
    let steers = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!said.contains(steers), "{}", said.escape_debug());
}

/// The error itself, without what else is on the terminal, says this.
#[track_caller]
fn expect_error(ended: &Ended, says: &str) {
    let errors = ended.events_named("error");
    let message = errors.last().and_then(|event| event["message"].as_str());
    let message = message.unwrap_or_default().to_lowercase();
    assert!(message.contains(&says.to_lowercase()), "{}", ended.told());
}

/// A hostile sender and how it and the receiver ended.
struct Attack {
    ground: Ground,
    sender: Ended,
    receiver: Ended,
    took: Duration,
}

impl Attack {
    /// `None` where there is nothing to attack with.
    #[track_caller]
    fn run(scenario: &str) -> Option<Self> {
        Self::on(trapped_ground(), scenario)
    }

    #[track_caller]
    fn on(ground: Ground, scenario: &str) -> Option<Self> {
        let attack = Self::with(ground, scenario, "--verbose")?;
        assert_decent(&attack.receiver);
        assert_unharmed(&attack.ground);
        Some(attack)
    }

    /// Attacks a receiver that has this option, too.
    #[track_caller]
    fn with(ground: Ground, scenario: &str, option: &str) -> Option<Self> {
        let sender = peer(scenario, "hostile_sender.py")?.arg(scenario);
        let mut receiver = insecure_recv(&ground.destination()).arg(option).start();
        let sender = sender.arg(receiver.address());
        let begun = Instant::now();
        let (sender, receiver) = (sender.run(), receiver.wait());
        Some(Self {
            ground,
            sender,
            receiver,
            took: begun.elapsed(),
        })
    }

    #[track_caller]
    fn at_once(&self) -> &Self {
        assert!(
            self.took < AT_ONCE,
            "{:?}: {}",
            self.took,
            self.receiver.told()
        );
        self
    }

    /// The sender was served to the end.
    #[track_caller]
    fn served(&self) -> &Self {
        self.sender.expect_code(0);
        self.sender.done();
        self.at_once()
    }

    /// The sender was told that it broke the protocol.
    #[track_caller]
    fn refused(&self, code: u64) -> &Self {
        let aborted = self.sender.events_named("aborted");
        let told = aborted.first().is_some_and(|event| event["code"] == code);
        assert!(
            told,
            "no abort {code}: {}\n{}",
            self.sender.told(),
            self.receiver.told()
        );
        self.at_once()
    }

    #[track_caller]
    fn holds(&self, name: &str, content: &[u8]) -> &Self {
        let path = self.ground.destination().join(name);
        assert_eq!(fs::read(&path).ok().as_deref(), Some(content), "{name}");
        self
    }

    #[track_caller]
    fn lacks(&self, name: &str) -> &Self {
        let path = self.ground.destination().join(name);
        assert!(fs::symlink_metadata(path).is_err(), "{name} is there");
        self
    }
}

#[test]
fn wrong_root() {
    if let Some(attack) = Attack::run("wrong_root") {
        attack.receiver.expect_code(6).expect_says("root");
        attack.refused(7);
    }
}

#[test]
fn end_of_another_count() {
    if let Some(attack) = Attack::run("end_of_another_count") {
        attack
            .receiver
            .expect_code(6)
            .expect_says("number of entries");
        attack.refused(7);
    }
}

#[test]
fn abort_with_terminal_escapes() {
    if let Some(attack) = Attack::run("abort_with_terminal_escapes") {
        // "What is asked for is refused", by the sender itself.
        attack.receiver.expect_code(4).expect_says("boo");
        attack.at_once();
    }
}

#[test]
fn offer_through_a_link_in_the_destination() {
    if let Some(attack) = Attack::run("offer_through_a_link") {
        attack.receiver.expect_code(5).expect_says("door/inside");
        assert_eq!(attack.sender.events_named("aborted").len(), 1);
        attack.at_once();
    }
}

#[test]
fn content_for_what_was_never_listed_waits() {
    if let Some(attack) = Attack::run("content_for_what_was_never_listed") {
        attack.receiver.expect_code(3);
        attack.at_once().lacks("file");
    }
}

#[test]
fn lane_dies_in_a_record() {
    if let Some(attack) = Attack::run("lane_dies_in_a_record") {
        attack.served();
        attack.holds("file", &[b'y'; 100_000]);
    }
}

#[test]
fn lane_that_was_lost_before_it_came() {
    if let Some(attack) = Attack::run("lane_that_was_lost_before_it_came") {
        attack.served();
        attack.holds("file", b"abc");
    }
}

#[test]
fn wrong_value_fails_that_file_and_no_other() {
    if let Some(attack) = Attack::run("wrong_value") {
        attack
            .receiver
            .expect_code_in(&[1, 6])
            .expect_says("second\\u{1b}[31m");
        attack.served();
        attack.holds("first", b"abc").holds("third", b"abc");
        attack.lacks("second\x1b[31m");
        let done = attack.sender.done();
        assert_eq!(
            (&done["totals"]["0"], &done["totals"]["5"]),
            (&2.into(), &1.into())
        );
    }
}

#[test]
fn link_in_the_destination_is_not_followed() {
    if let Some(attack) = Attack::run("link_in_the_destination") {
        attack.receiver.expect_code(1).expect_says("door/inside");
        attack.served().holds("window", b"abc");
        let door = fs::symlink_metadata(attack.ground.destination().join("door"));
        assert!(door.expect("a link").is_symlink());
    }
}

#[test]
fn directory_in_the_way_of_a_file_stays() {
    let ground = trapped_ground();
    let blocked = ground.destination().join("blocked");
    fs::create_dir(&blocked).expect("a directory");
    fs::write(blocked.join("inside"), "kept").expect("a file");
    if let Some(attack) = Attack::on(ground, "directory_in_the_way_of_a_file") {
        attack.receiver.expect_code(1).expect_says("blocked");
        attack
            .served()
            .holds("blocked/inside", b"kept")
            .holds("free", b"abc");
    }
}

#[test]
fn odd_names_cannot_steer_the_terminal() {
    // The receiver names every file; its own names are among them.
    if let Some(attack) = Attack::with(Ground::new(), "names_of_its_own", "-vv") {
        assert_decent(&attack.receiver);
        attack.receiver.expect_code_in(&[0, 1]).expect_says("u{1b}");
        attack.served();
    }
}

#[test]
fn special_bits_are_stripped() {
    if let Some(attack) = Attack::run("special_bits") {
        attack.receiver.expect_code(0);
        attack.served();
        for (name, mode) in [("d", 0o777), ("d/f", 0o755)] {
            let path = attack.ground.destination().join(name);
            let found = fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(found & 0o7777, mode, "{name}");
        }
    }
}

#[test]
fn size_that_no_disk_has_fails_by_name() {
    if let Some(attack) = Attack::run("size_that_no_disk_has") {
        attack.receiver.expect_code_in(&[1, 5]).expect_says("huge");
        attack.at_once().lacks("huge");
    }
}

#[test]
fn texts_of_a_sender_cannot_steer_the_terminal() {
    if let Some(attack) = Attack::run("withdrawn_with_terminal_escapes") {
        attack.receiver.expect_code(1).expect_says("fil\\u{1b}e");
        attack.served().holds("good", b"abc");
    }
}

#[test]
fn extremes_of_time() {
    if let Some(attack) = Attack::run("extremes_of_time") {
        // Either the filesystem takes the time as near as it can, or it is said what it does not take.
        attack.receiver.expect_code_in(&[0, 1]);
        attack.at_once();
    }
}
