//! Either side dies at each point of a session that there is: every message sent and received, and every step of what is
//! written to the disk. The program itself says which they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::crossing::{Crossing, MEBIBYTE, Pair, asked};
use super::report::Case;
use crate::harness::Packhorse;
use crate::harness::surroundings::works;
use crate::resume::Victim;

/// What a session has to meet so that it comes by a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// Nothing has arrived before.
    Fresh,
    /// A session was ended half-way before.
    Resumed,
    /// The same, when the large file was complete.
    Found,
    /// The same, and somebody has written to the partial file since.
    Meddled,
    /// All of it is there already, and is replaced, or kept.
    Replaced,
    Kept,
    /// Files are changed, or removed, once they are listed.
    Changed,
    Removed,
    /// A directory stands where a file is to be.
    Obstructed,
    /// Directories at the receiver take no metadata.
    Frozen,
    /// One side is interrupted.
    Interrupted(Victim),
    /// The receiver has not heard of its sender when that dies: it goes on waiting.
    Unmet,
    /// It takes more than a second.
    Slow,
    /// A lane breaks, and the sender notices before the receiver can tell it.
    LaneLost,
    /// The large file takes a while and many extents, and checkpoints are made all the time.
    Checkpointed,
}

impl Scene {
    fn of(side: Victim, point: &str) -> Self {
        let unmet = [
            "send.hello",
            "sent.hello",
            "received.welcome",
            "send.confirm",
        ];
        if side == Victim::Sender && unmet.contains(&point) {
            return Self::Unmet;
        }
        let (when, what) = point.split_once('.').unwrap_or((point, ""));
        match what {
            _ if when == "rewrite" => Self::Meddled,
            _ if when == "checkpoint" => Self::Checkpointed,
            "lane_lost" | "lane_closed" => Self::LaneLost,
            "held" => Self::Found,
            "partial" | "missing" => Self::Resumed,
            "temporary" if when == "link" => Self::Replaced,
            "kept" => Self::Kept,
            "revise" => Self::Changed,
            "withdraw" => Self::Removed,
            "failed" => Self::Obstructed,
            "flawed" => Self::Frozen,
            "abort" if (when == "received") == (side == Victim::Sender) => {
                Self::Interrupted(Victim::Receiver)
            }
            "abort" => Self::Interrupted(Victim::Sender),
            "progress" => Self::Slow,
            _ => Self::Fresh,
        }
    }
}

/// Where the sender has listed all of the tree and sent little of it, and where the receiver has some of it.
const LISTED: &str = "sent.entries_end:1:stop";
const SENDING: &str = "lane.record:9:stop";
const RECEIVING: &str = "record.received:9:stop";

/// All points of one side, from the program.
fn points_of(side: Victim) -> Vec<String> {
    let listed = Packhorse::verb("recv").env("PACKHORSE_FAULT", "list").run();
    listed.expect_code(0);
    let word = format!("{side:?}").to_lowercase();
    let points = listed.stdout().iter().filter_map(|line| {
        let (of, point) = line.split_once(' ').expect("a side and a point");
        (of == word).then(|| point.to_owned())
    });
    points.collect()
}

/// One file of the tree that is changed, removed or obstructed.
const SMALL: &str = "z/d0/f0";

/// What was there before the session in which somebody dies.
fn prepare(crossing: &mut Crossing, scene: Scene) {
    let destination = crossing.destination.clone();
    match scene {
        Scene::Resumed | Scene::Found | Scene::Meddled => {
            let death = match scene {
                Scene::Found => "journal.removed",
                _ => "note.after:2",
            };
            let pair = crossing.start([None, Some(death)]);
            let (_, receiver) = crossing.end(pair);
            assert_eq!(receiver.signal(), Some(Signal::KILL.as_raw()));
            // It may have arrived.
            let _ = fs::remove_file(destination.join("tree").join(SMALL));
            if scene == Scene::Meddled {
                meddle(&destination);
            }
        }
        Scene::Replaced | Scene::Kept => {
            let mut copy = Command::new("cp");
            copy.arg("-a").args([&crossing.source, &destination]);
            assert!(works(&mut copy), "cp");
        }
        Scene::Obstructed => {
            fs::create_dir_all(destination.join("tree").join(SMALL)).expect("a directory");
        }
        Scene::Checkpointed => {
            let often = ("PACKHORSE_CHECKPOINTS".into(), "10".into());
            crossing.environment.push(often);
        }
        _ => {}
    }
}

/// Gives the partial file another time than its journal's, until the clock has it so.
fn meddle(destination: &Path) {
    let part = find(destination, "*.part");
    let journal = find(destination, "*.journal");
    let changed = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        let stat = fs::metadata(path).expect("it is there");
        i128::from(stat.ctime()) * 1_000_000_000 + i128::from(stat.ctime_nsec())
    };
    while changed(&part) - changed(&journal) < 40_000_000 {
        let file = fs::File::options().write(true).open(&part);
        let file = file.expect("it is there");
        let length = file.metadata().expect("it is there").len();
        file.set_len(length).expect("a length");
    }
}

fn find(directory: &Path, name: &str) -> PathBuf {
    let found = Command::new("find")
        .arg(directory)
        .args(["-name", name, "-print", "-quit"])
        .output()
        .expect("find");
    let path = String::from_utf8(found.stdout).expect("plain names");
    PathBuf::from(path.trim_end())
}

/// Root, but for the right to set metadata of what is not its own.
const NO_OWNER_OF_ALL: [&str; 2] = ["setpriv", "--bounding-set=-fowner"];

fn own(directory: &Path, owner: u32) {
    std::os::unix::fs::chown(directory, Some(owner), None).expect("root may do that");
}

/// What is to happen to the sender and to the receiver so that they meet the scene, before either dies.
fn stops(scene: Scene) -> [Option<&'static str>; 2] {
    match scene {
        Scene::Changed | Scene::Removed => [Some(LISTED), None],
        Scene::Frozen => [None, Some("directory.before:1:stop")],
        Scene::Interrupted(Victim::Sender) => [Some(SENDING), None],
        Scene::Interrupted(Victim::Receiver) => [None, Some(RECEIVING)],
        // A sender that is not stopped may have all of it in the buffers of the kernel, and its lane at its end.
        Scene::LaneLost => [Some(SENDING), Some("record.received:5:stop")],
        _ => [None, None],
    }
}

/// Does what the scene wants while both run.
fn play(crossing: &Crossing, pair: &mut Pair, scene: Scene) {
    let small = crossing.source.join(SMALL);
    match scene {
        Scene::Changed | Scene::Removed => {
            pair.sender.wait_until_stopped();
            if scene == Scene::Changed {
                fs::write(small, "it has changed").expect("a file");
            } else {
                fs::remove_file(small).expect("it is there");
            }
            pair.sender.signal(Signal::CONT);
        }
        Scene::Frozen => {
            pair.receiver.wait_until_stopped();
            own(&crossing.destination.join("tree"), 65_534);
            pair.receiver.signal(Signal::CONT);
        }
        Scene::Interrupted(victim) => {
            let process = match victim {
                Victim::Sender => &pair.sender,
                Victim::Receiver => &pair.receiver,
            };
            process.wait_until_stopped();
            process.signal(Signal::INT);
            process.signal(Signal::CONT);
        }
        Scene::LaneLost => {
            pair.sender.wait_until_stopped();
            pair.receiver.wait_until_stopped();
            pair.proxy.reset_lanes();
            pair.sender.signal(Signal::CONT);
            // Who dies on the way to it has noticed as well.
            pair.sender.wait_for_or_end("lane");
            pair.receiver.signal(Signal::CONT);
        }
        Scene::Slow => pair.proxy.throttle(2 << 20),
        Scene::Checkpointed => pair.proxy.throttle(8 << 20),
        Scene::Unmet => {
            pair.sender.wait_until_stopped();
            let again = crossing.sender(&pair.proxy, None).start();
            let dead = std::mem::replace(&mut pair.sender, again).wait();
            assert_eq!(dead.signal(), Some(Signal::KILL.as_raw()));
        }
        _ => {}
    }
}

/// One death, and the same command again. `false` where nobody came by the point for the nth time.
fn die_at(side: Victim, point: &str, nth: u64) -> bool {
    let scene = Scene::of(side, point);
    let word = format!("{side:?}").to_lowercase();
    let case = Case::new("points", format!("{word} dies at {point}:{nth}"));
    let large = match scene {
        // One extent after the other on each lane: between two of them there is something new to be made durable.
        Scene::Checkpointed => 32 * MEBIBYTE,
        _ => 8 * MEBIBYTE,
    };
    let mut crossing = Crossing::new(case, large, 40);
    for (options, name) in crossing.options.iter_mut().zip(["sent", "received"]) {
        let receipt = crossing.ground.beside().join(name);
        options.push("--receipt".to_owned());
        options.push(receipt.to_str().expect("a plain path").to_owned());
    }
    prepare(&mut crossing, scene);
    if scene == Scene::Kept {
        crossing.options[1].push("--keep-existing".to_owned());
    }
    if scene == Scene::Frozen {
        crossing.through[1].extend(NO_OWNER_OF_ALL);
    }
    let death = format!("{point}:{nth}");
    let [mut at_sender, mut at_receiver] = stops(scene).map(|stop| stop.map(str::to_owned));
    let dying = match side {
        Victim::Sender => &mut at_sender,
        Victim::Receiver => &mut at_receiver,
    };
    *dying = Some(match dying.take() {
        Some(stop) => format!("{stop},{death}"),
        None => death,
    });
    let mut pair = crossing.start([at_sender.as_deref(), at_receiver.as_deref()]);
    play(&crossing, &mut pair, scene);
    let (sender, receiver) = crossing.end(pair);
    if scene == Scene::Frozen {
        own(&crossing.destination.join("tree"), 0);
        crossing.through[1].clear();
    }
    let dead = match side {
        _ if scene == Scene::Unmet => Some(Signal::KILL.as_raw()),
        Victim::Sender => sender.signal(),
        Victim::Receiver => receiver.signal(),
    };
    if scene == Scene::Obstructed {
        let in_the_way = crossing.destination.join("tree").join(SMALL);
        // Empty, or the file that was to be there.
        let _ = fs::remove_dir(in_the_way);
    }
    crossing.complete();
    crossing.report(1);
    match dead {
        Some(signal) => assert_eq!(signal, Signal::KILL.as_raw()),
        None if nth == 1 => panic!(
            "{word} never came by {point}: {}{}",
            sender.told(),
            receiver.told()
        ),
        None => {}
    }
    dead.is_some()
}

/// The first time that a side comes by each point; with PACKHORSE_TIMES more of them.
fn each_point_of(side: Victim) {
    let times = asked("PACKHORSE_TIMES", 1);
    for point in points_of(side) {
        for nth in 1..=times {
            // Before both have met, each message goes once.
            if !die_at(side, &point, nth) || Scene::of(side, &point) == Scene::Unmet {
                break;
            }
        }
    }
}

#[test]
fn a_sender_that_dies_at_each_point() {
    each_point_of(Victim::Sender);
}

#[test]
fn a_receiver_that_dies_at_each_point() {
    each_point_of(Victim::Receiver);
}

/// The steps by which a large file is finished, from the last before it has its name to the last that notes it.
const FINISHING: [&str; 5] = [
    "name.before",
    "name.after",
    "flush.before",
    "flush.after",
    "journal.removed",
];

/// Small enough for the roll not to be written because of it.
const LARGE: u64 = 5 * MEBIBYTE;

/// Whether the receiver dies in a session at the nth time that it comes by a point.
fn dies(crossing: &mut Crossing, point: &str, nth: u64) -> bool {
    let pair = crossing.start([None, Some(&format!("{point}:{nth}"))]);
    let (_, receiver) = crossing.end(pair);
    receiver.signal() == Some(Signal::KILL.as_raw())
}

/// The same command again: of a file that is there none is sent.
fn assert_not_sent_again(mut crossing: Crossing) {
    let before = crossing.carried();
    let resumed = crossing.complete();
    let carried = crossing.carried() - before;
    assert_eq!(resumed, LARGE);
    assert!(carried < MEBIBYTE, "{carried}");
    crossing.report(1);
}

#[test]
fn a_large_file_is_not_sent_twice_wherever_its_receiver_dies_while_finishing_it() {
    for point in FINISHING {
        // The roll is written before, too.
        for nth in 1.. {
            let case = Case::new("points", format!("finishing, dies at {point}:{nth}"));
            let mut crossing = Crossing::new(case, LARGE, 0);
            if !dies(&mut crossing, point, nth) {
                assert!(nth > 1, "nobody came by {point}");
                crossing.assert_whole();
                crossing.report(1);
                break;
            }
            if point == "name.before" || crossing.destination.join("tree/large.bin").exists() {
                assert_not_sent_again(crossing);
            } else {
                // Before the file was complete.
                crossing.complete();
                crossing.report(1);
            }
        }
    }
}

#[test]
fn a_large_file_that_is_found_complete_is_not_sent_wherever_its_receiver_dies_then() {
    for first in ["name.before", "name.after"] {
        for point in FINISHING {
            for nth in 1.. {
                let case = format!("found after {first}, dies at {point}:{nth}");
                let mut crossing = Crossing::new(Case::new("points", case), LARGE, 0);
                assert!(dies(&mut crossing, first, 1), "{first}");
                if !dies(&mut crossing, point, nth) {
                    crossing.assert_whole();
                    crossing.report(1);
                    break;
                }
                assert_not_sent_again(crossing);
            }
        }
    }
}
