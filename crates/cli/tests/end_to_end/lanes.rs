//! Lanes that break, or stand still, while the session goes on: others take their place.

use std::cell::Cell;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use packhorse_netlab::{Conditions, Lab, Side};
use rustix::process::Signal;

use crate::faults::bytes_of;
use crate::harness::compare::{assert_nothing_left_over, assert_only_remains, assert_same_tree};
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::tree::many_small_files;
use crate::harness::{CODE, Ended, Ground, Packhorse, Running, assert_same_file, not_shown};
use crate::reconnect::{MEBIBYTE, Midway, ON_ITS_WAY};

/// Lanes that were lost, and lanes that took their place.
fn changes(sender: &Ended) -> [usize; 2] {
    let events = sender.events_named("lane");
    let count = |change| {
        events
            .iter()
            .filter(|event| event["change"] == change)
            .count()
    };
    ["lost", "replaced"].map(count)
}

/// The session went on.
#[track_caller]
fn assert_one_session(sender: &Ended, receiver: &Ended) {
    assert!(sender.events_named("reconnecting").is_empty());
    assert!(receiver.events_named("waiting").is_empty());
    for ended in [sender, receiver] {
        assert_eq!(ended.events_named("connected").len(), 1);
        assert_eq!(ended.done()["resumed_bytes"], 0);
        assert_eq!(ended.done()["failed"], 0);
    }
}

/// What is told of so many bytes never goes back and is never more, though some of them go twice.
#[track_caller]
fn assert_progress_goes_one_way(ended: &Ended, size: u64) {
    let events = ended.events_named("progress");
    let told = |field| events.iter().map(move |event| event[field].as_u64());
    assert!(told("bytes").is_sorted(), "{}", ended.told());
    assert!(told("files").is_sorted(), "{}", ended.told());
    for event in &events {
        let bytes = event["bytes"].as_u64().expect("a number");
        let known = event["bytes_known"].as_u64().expect("a number");
        assert!(bytes <= known && known <= size, "{event}, and {size}");
    }
}

#[test]
fn a_lane_that_breaks_is_replaced_and_the_session_goes_on() {
    for cut in [Proxy::reset_last, Proxy::close_last] {
        // So much that it is not over before another lane is in the place of the lost one.
        let mut midway = Midway::new(512 * MEBIBYTE, &[], 96 * MEBIBYTE);
        midway.stand();
        let before = midway.proxy.connections();
        cut(&midway.proxy);
        midway.proxy.go_on();
        midway
            .sender
            .wait_for("lane", |event| event["change"] == "replaced");
        let nowhere = Proxy::to(&midway.proxy.address());
        let proxy = std::mem::replace(&mut midway.proxy, nowhere);
        let (sender, receiver) = midway.complete();
        // The control connection, and a lane for each that there was at a time, and the one that was lost.
        let lanes = sender.done()["lanes"].as_u64().expect("a number");
        let came = proxy.connections() as u64;
        assert!(
            came > before as u64 && came >= lanes + 2,
            "{came} connections"
        );
        let carried = proxy.carried();
        assert_one_session(&sender, &receiver);
        assert_eq!(changes(&sender), [1, 1]);
        let more = carried.saturating_sub(512 * MEBIBYTE);
        assert!(more <= ON_ITS_WAY, "{more} bytes went twice");
    }
}

/// Lanes are lost in the middle of what they carry, unless one has just come to its end; then all is so slow that the end
/// shows.
#[test]
fn what_goes_twice_counts_once() {
    let mut midway = Midway::new(96 * MEBIBYTE, &[], 8 * MEBIBYTE);
    for step in 2..10 {
        midway.stand();
        midway.proxy.reset_last();
        midway.proxy.stop_after(step * 8 * MEBIBYTE);
    }
    midway.proxy.throttle(8 << 20);
    midway.proxy.go_on();
    let size = bytes_of(&midway.source);
    let (sender, receiver) = midway.complete();
    assert_one_session(&sender, &receiver);
    assert!(changes(&sender)[0] >= 4);
    assert_progress_goes_one_way(&receiver, size);
    assert_progress_goes_one_way(&sender, size);
}

/// What was sent of a large file before it changed does not count.
#[test]
fn what_is_sent_in_vain_does_not_count() {
    let mut midway = Midway::new(64 * MEBIBYTE, &[], 24 * MEBIBYTE);
    midway.stand();
    let large = midway.source.join("large.bin");
    let mut large = File::options()
        .append(true)
        .open(large)
        .expect("it is there");
    large.write_all(b"more").expect("there is room");
    midway.proxy.go_on();
    let size = bytes_of(&midway.source);
    let (sender, receiver) = midway.complete();
    assert_one_session(&sender, &receiver);
    assert_progress_goes_one_way(&receiver, size);
    assert_progress_goes_one_way(&sender, size);
    let last = sender.events_named("progress").pop();
    assert_eq!(last.expect("there is one")["bytes"].as_u64(), Some(size));
}

/// Watches a sender whose receiver stands still and whose last lane was reset, until all is sent but the rest of an extent or
/// nothing moves any more. `false` where nobody misses that lane: it had nothing more to send.
fn sends_the_rest_without_a_lane(sender: &mut Running) -> bool {
    /// Two seconds.
    const STILL: u32 = 10;
    let (mut lost, mut before, mut same) = (false, 0, 0);
    while same < STILL {
        let event = sender.wait_for_any(&["lane", "progress"]);
        let Some(bytes) = event["bytes"].as_u64() else {
            lost |= event["change"] == "lost";
            continue;
        };
        same = if bytes == before { same + 1 } else { 0 };
        before = bytes;
        if lost && same > 0 && bytes >= 7 * MEBIBYTE {
            break;
        }
    }
    lost
}

/// A lane is lost while its receiver stands still, and the others have sent all there is before that can say what it took of
/// it: somebody has to send the rest.
#[test]
fn what_comes_back_when_the_other_lanes_are_at_their_end_is_sent() {
    const TRIES: usize = 5;
    let ground = Ground::new();
    ground.source_file("tree/large.bin", Random::seeded().bytes(8 << 20));
    let source = ground.source().join("tree");
    for nth in 0..TRIES {
        let destination = ground.beside().join(format!("destination {nth}"));
        let mut receiver = Packhorse::patient_recv(&destination).start();
        let proxy = Proxy::to(&receiver.address());
        proxy.throttle(1 << 20);
        // It does not try again, so that nobody comes in the place of the lost one.
        let mut sender = Packhorse::send(&[&source], &proxy.address()).start();
        let lanes = Cell::new(0);
        sender.wait_for("lanes", |event| {
            lanes.set(event["lanes"].as_u64().expect("a number"));
            lanes.get() > 1
        });
        // The first is to go on: by now the kernel keeps much for it.
        proxy.wait_until_came(1 + lanes.get());
        receiver.signal(Signal::STOP);
        proxy.reset_last();
        proxy.throttle(u64::MAX);
        let lost = sends_the_rest_without_a_lane(&mut sender);
        receiver.signal(Signal::CONT);
        if lost {
            sender.wait().expect_code(0);
            receiver.wait().expect_code(0);
            assert_same_tree(&source, &destination.join("tree"));
            assert_nothing_left_over(&destination);
            return;
        }
    }
    panic!("no lane was missed in {TRIES} sessions");
}

/// Cuts the lane that came last, again and again, until both ends are done.
fn cut_until_done(proxy: &Proxy, sender: Running, receiver: Running) -> (Ended, Ended) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // The interval is what is tested: nothing is waited for.
                thread::sleep(Duration::from_millis(250));
                proxy.reset_last();
            }
        });
        let ended = (sender.wait(), receiver.wait());
        over.store(true, Ordering::Relaxed);
        ended.0.expect_code(0);
        ended.1.expect_code(0);
        ended
    })
}

#[test]
fn lanes_that_are_cut_four_times_a_second_carry_all_of_it() {
    let midway = Midway::new(256 * MEBIBYTE, &[], u64::MAX);
    let Midway {
        ground,
        source,
        proxy,
        sender,
        receiver,
    } = midway;
    let (sender, receiver) = cut_until_done(&proxy, sender, receiver);
    assert_same_tree(&source, &ground.destination().join("tree"));
    assert_nothing_left_over(&ground.destination());
    assert_one_session(&sender, &receiver);
    assert!(changes(&sender)[0] > 0);
}

#[test]
fn small_files_on_lanes_that_are_cut_arrive_once_each() {
    let ground = Ground::new();
    many_small_files(ground.source().join("tree"), 5_000);
    let source = ground.source().join("tree");
    let mut receiver = Packhorse::patient_recv(&ground.destination()).start();
    let proxy = Proxy::to(&receiver.address());
    let sender = Packhorse::patient_send(&[&source], &proxy.address()).start();
    let (sender, receiver) = cut_until_done(&proxy, sender, receiver);
    assert_same_tree(&source, &ground.destination().join("tree"));
    assert_nothing_left_over(&ground.destination());
    assert_one_session(&sender, &receiver);
    let stored = receiver.events_named("file").len();
    assert_eq!(Some(stored as u64), receiver.done()["files"].as_u64());
}

/// What was read of a pipe cannot be read again: the file fails, and says why.
#[test]
fn standard_input_does_not_survive_its_lane() {
    let ground = Ground::new();
    let mut receiver = Packhorse::patient_recv(&ground.destination()).start();
    let proxy = Proxy::to(&receiver.address());
    proxy.stop_after(64 * MEBIBYTE);
    let sender = Packhorse::patient_send(&[Path::new("-")], &proxy.address());
    let sender = sender
        .args(["--name", "dump"])
        .input(vec![7; 256 << 20])
        .start();
    crate::resume::wait_until_it_stands(&mut receiver, &proxy);
    proxy.reset_last();
    proxy.go_on();
    let sender = sender.wait();
    sender.expect_code(1).expect_says("cannot be read again");
    receiver.wait().expect_code(1);
    assert!(!ground.destination().join("dump").exists());
    assert_only_remains(&ground.destination(), 0);
}

/// A link of so many bits a second; `None` with a note where there is none.
fn lab(test: &str, rate: u64) -> Option<Lab> {
    let conditions = Conditions {
        rate: Some(rate),
        delay: Duration::from_millis(5),
        ..Conditions::default()
    };
    match Lab::new(conditions, conditions) {
        Ok(lab) => Some(lab),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            not_shown(test, "this user may not make network namespaces");
            None
        }
        Err(error) => panic!("no lab: {error}"),
    }
}

/// A sender on the left and a receiver on the right, and a file of so many bytes on its way.
fn through(lab: &Lab, ground: &Ground, bytes: usize) -> (Running, Running) {
    let source = ground.source_file("large.bin", Random::seeded().bytes(bytes));
    let mut receiver = Packhorse::verb("recv")
        .arg(ground.destination())
        .args(["--listen", &format!("{}:0", lab.right().address())])
        .args(["--events", "-"])
        .code(CODE)
        .start_at(lab.right());
    let address = receiver.address();
    let sender = Packhorse::patient_send(&[&source], &address).start_at(lab.left());
    (sender, receiver)
}

/// The port of the connection that has most to send.
pub(crate) fn busiest_port(side: &Side) -> u16 {
    let output = side.run(|| Command::new("ss").args(["-tnH"]).output());
    let output = output.expect("ss of iproute2").stdout;
    let lines = String::from_utf8_lossy(&output).into_owned();
    let busiest = lines.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(2);
        let queued: u64 = fields.next()?.parse().ok()?;
        let port = fields.next()?.rsplit(':').next()?.parse().ok()?;
        Some((queued, port))
    });
    busiest.max().expect("a connection").1
}

/// Drops every packet of a connection, in both directions, from now on.
pub(crate) fn drop_packets_of(side: &Side, port: u16) {
    let rules = format!(
        "table inet lab {{
            chain out {{ type filter hook output priority 0; tcp sport {port} drop; }}
            chain in {{ type filter hook input priority 0; tcp dport {port} drop; }}
        }}"
    );
    let status = side.run(move || {
        let mut nft = Command::new("nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(rules.as_bytes())?;
        }
        nft.wait()
    });
    assert!(status.expect("nft").success());
}

#[test]
fn a_lane_whose_packets_are_dropped_is_replaced_well_before_the_session_is_given_up() {
    let test = "a_lane_whose_packets_are_dropped_is_replaced_well_before_the_session_is_given_up";
    let Some(lab) = lab(test, 40_000_000) else {
        return;
    };
    let ground = Ground::new();
    let (mut sender, mut receiver) = through(&lab, &ground, 50_000_000);
    receiver.wait_for("progress", |event| {
        event["bytes"].as_u64() > Some(10_000_000)
    });
    let port = busiest_port(lab.left());
    let dropped_at = Instant::now();
    drop_packets_of(lab.left(), port);
    let lost = sender.wait_for("lane", |event| event["change"] == "lost");
    let noticed = dropped_at.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(16)).contains(&noticed),
        "{noticed:?}"
    );
    let message = lost["message"].as_str().unwrap_or_default();
    assert!(message.contains("nothing came back"), "{message}");
    let (sender, receiver) = (sender.wait(), receiver.wait());
    sender.expect_code(0);
    receiver.expect_code(0);
    assert_one_session(&sender, &receiver);
    assert_eq!(changes(&sender)[0], 1);
    assert_same_file(
        &ground.source().join("large.bin"),
        &ground.destination().join("large.bin"),
    );
}

#[test]
fn a_slow_lane_is_left_alone() {
    let Some(lab) = lab("a_slow_lane_is_left_alone", 64_000) else {
        return;
    };
    let ground = Ground::new();
    // A quarter of a minute, longer than a lane that stands still is waited for.
    let (sender, receiver) = through(&lab, &ground, 160_000);
    let (sender, receiver) = (sender.wait(), receiver.wait());
    sender.expect_code(0);
    receiver.expect_code(0);
    assert_eq!(changes(&sender), [0, 0]);
}
