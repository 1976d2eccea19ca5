//! Either side is killed outright at random moments.

use std::path::Path;

use super::crossing::{Crossing, MEBIBYTE, Pair, asked};
use super::report::Case;
use crate::harness::Packhorse;
use crate::harness::compare::{assert_only_remains, assert_only_remains_of_killed};
use crate::harness::random::Random;
use crate::resume::{Victim, wait_until_it_stands};

const LARGE: u64 = 64 * MEBIBYTE;

/// Bytes of the large file that need not be sent again, as `packhorse partials` says.
fn held(destination: &Path) -> u64 {
    if destination.join("tree/large.bin").exists() {
        return LARGE;
    }
    let list = Packhorse::verb("partials").args(["list", "--json"]);
    let listed = list.arg(destination).run();
    let lines = listed.expect_code(0).events();
    let file = lines.iter().find(|line| line["partial"] == "file");
    file.map_or(0, |file| file["held"].as_u64().expect("a number"))
}

/// Waits until so many bytes have crossed; then all of them are written, or some are on their way.
fn wait_for(pair: &mut Pair, bytes: u64, stands: bool) {
    if stands {
        pair.proxy.stop_after(bytes);
        wait_until_it_stands(&mut pair.receiver, &pair.proxy);
    } else {
        let receiver = &pair.receiver;
        pair.proxy
            .wait_until_carried(bytes, || receiver.has_ended());
    }
}

/// A seeded sequence of kills of one side. A tree that is through begins anew. What was noted of the large file is never
/// sent again.
fn kills_of(victim: Victim, name: &'static str) {
    let kills = asked("PACKHORSE_KILLS", 6);
    let small = usize::try_from(asked("PACKHORSE_SMALL_FILES", 2000)).expect("it is a count");
    let mut random = Random::seeded();
    let what = format!("kill -9 of the {victim:?} at {kills} random moments").to_lowercase();
    let mut crossing = Crossing::new(Case::new(name, what), LARGE, small);
    let (mut killed, mut had, mut times) = (0, 0_u64, 1);
    while killed < kills {
        let mut pair = crossing.start([None, None]);
        let bytes = MEBIBYTE + random.next() % (24 * MEBIBYTE);
        wait_for(&mut pair, bytes, random.next().is_multiple_of(2));
        match victim {
            Victim::Sender => pair.sender.kill(),
            Victim::Receiver => pair.receiver.kill(),
        }
        // What one has to say to the other in the end gets through.
        pair.proxy.go_on();
        let (_, receiver) = crossing.end(pair);
        if !receiver.events_named("done").is_empty() {
            crossing.assert_whole();
            crossing.start_over();
            (had, times) = (0, times + 1);
            continue;
        }
        killed += 1;
        match victim {
            Victim::Sender => assert_only_remains(&crossing.destination, 1),
            Victim::Receiver => assert_only_remains_of_killed(&crossing.destination, 1),
        }
        let has = held(&crossing.destination);
        assert!(has >= had, "{has} bytes, and {had} before");
        had = has;
    }
    assert!(crossing.complete() >= had);
    crossing.report(times);
}

#[test]
fn a_sender_that_is_killed_at_random_moments() {
    kills_of(Victim::Sender, "kills-sender");
}

#[test]
fn a_receiver_that_is_killed_at_random_moments() {
    kills_of(Victim::Receiver, "kills-receiver");
}
