//! The clock jumps, between two sessions and during one.
//!
//! What programs read of the wall clock is changed by libfaketime, for one process; the times that the kernel gives files
//! are the machine's. Monotonic clocks that differ between two runs come from a time namespace.

use std::fs;
use std::process::Command;

use super::crossing::{Crossing, MEBIBYTE};
use super::report::Case;
use crate::harness::not_shown;
use crate::harness::surroundings::works;
use crate::resume::wait_until_it_stands;

const BACK: &[&str] = &["faketime", "-f", "-4000d"];
const FORWARD: &[&str] = &["faketime", "-f", "+4000d"];
const OTHER_START: &[&str] = &["unshare", "--time", "--monotonic=90000", "--boottime=90000"];

/// Half of the tree with the clocks as they are, the rest with others.
#[test]
fn clocks_that_differ_between_the_runs() {
    for (starter, what) in [
        (BACK, "the wall clock goes back 11 years between the runs"),
        (
            FORWARD,
            "the wall clock goes forward 11 years between the runs",
        ),
        (OTHER_START, "monotonic clocks differ between the runs"),
    ] {
        if !works(Command::new(starter[0]).args(&starter[1..]).arg("true")) {
            not_shown("clocks", &format!("{} does not work here", starter[0]));
            continue;
        }
        let mut crossing = Crossing::new(Case::new("clock", what), 24 * MEBIBYTE, 200);
        let mut pair = crossing.start([None, None]);
        pair.proxy.stop_after(12 * MEBIBYTE);
        wait_until_it_stands(&mut pair.receiver, &pair.proxy);
        pair.receiver.kill();
        pair.proxy.go_on();
        crossing.end(pair);
        crossing.through = [starter.to_vec(), starter.to_vec()];
        // Nothing is lost by it: all but an extent on each lane, and what was in buffers.
        assert!(crossing.complete() >= 4 * MEBIBYTE);
        crossing.report(1);
    }
}

/// Both sides believe in another year from one moment to the next, and in this one again.
#[test]
fn a_wall_clock_that_jumps_during_a_run() {
    let preload = Command::new("faketime")
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .output();
    let preload = preload.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let Some(library) = preload.ok().filter(|library| !library.is_empty()) else {
        return not_shown("clocks", "faketime does not work here");
    };
    let case = Case::new("clock", "the wall clock jumps during the run, 4 times");
    let mut crossing = Crossing::new(case, 40 * MEBIBYTE, 200);
    let clock = crossing.ground.beside().join("clock");
    fs::write(&clock, "+0").expect("a file");
    crossing.environment = vec![
        ("LD_PRELOAD".into(), library.into()),
        ("FAKETIME_TIMESTAMP_FILE".into(), clock.clone().into()),
        ("FAKETIME_NO_CACHE".into(), "1".into()),
        ("DONT_FAKE_MONOTONIC".into(), "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
    ];
    let mut pair = crossing.start([None, None]);
    for (number, offset) in ["-4000d", "+4000d", "-1d", "+0"].into_iter().enumerate() {
        pair.proxy.stop_after(8 * MEBIBYTE * (number as u64 + 1));
        wait_until_it_stands(&mut pair.receiver, &pair.proxy);
        fs::write(&clock, offset).expect("a file");
    }
    pair.proxy.go_on();
    let (sender, receiver) = crossing.end(pair);
    sender.expect_code(0);
    receiver.expect_code(0);
    crossing.assert_whole();
    crossing.report(1);
}
