//! The network fails: over a link between two namespaces where packets have to be lost, else by a proxy.

use std::io;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use packhorse_netlab::{Conditions, Direction, Lab};
use rustix::process::Signal;
use serde_json::Value;

use super::crossing::{Crossing, MEBIBYTE, asked};
use super::report::Case;
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::{CODE, Packhorse, Running, not_shown};
use crate::lanes::{busiest_port, drop_packets_of};

/// For so many seconds of silence nobody gives up.
const PATIENCE: u64 = 29;

/// A link of a tenth of a gigabit, a millisecond long.
fn link() -> Conditions {
    Conditions {
        delay: Duration::from_millis(1),
        rate: Some(100_000_000),
        seed: 5,
        ..Conditions::default()
    }
}

/// A sender at the left and a receiver at the right of a link, which both come again when their connection breaks.
struct Link {
    lab: Lab,
    sender: Running,
    receiver: Running,
}

impl Link {
    /// `None` with a note where this may not be made.
    fn start(crossing: &mut Crossing, rightward: Conditions) -> Option<Self> {
        let leftward = Conditions {
            delay: rightward.delay,
            ..Conditions::default()
        };
        let lab = match Lab::new(rightward, leftward) {
            Ok(lab) => lab,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                not_shown("network", "this user may not make network namespaces");
                return None;
            }
            Err(error) => panic!("no lab: {error}"),
        };
        let deadline = Duration::from_secs(400);
        let receiver = Packhorse::verb("recv").arg(&crossing.destination);
        let mut receiver = receiver
            .args(["--listen", &format!("{}:0", lab.right().address())])
            .args(["--events", "-"])
            .code(CODE)
            .deadline(deadline)
            .start_at(lab.right());
        let address = receiver.address();
        let sender = Packhorse::patient_send(&[&crossing.source], &address)
            .deadline(deadline)
            .start_at(lab.left());
        crossing.case.rounds += 1;
        Some(Self {
            lab,
            sender,
            receiver,
        })
    }

    /// Waits until the receiver has so many bytes.
    fn wait_for(&mut self, bytes: u64) {
        let has = |event: &Value| event["bytes"].as_u64() >= Some(bytes);
        self.receiver.wait_for("progress", has);
    }

    /// Both end well, and the tree is there, after so many sessions where that is known.
    #[track_caller]
    fn complete(self, mut crossing: Crossing, rounds: Option<u64>) {
        let Self {
            lab,
            sender,
            receiver,
        } = self;
        let (sender, receiver) = (sender.wait(), receiver.wait());
        sender.expect_code(0);
        receiver.expect_code(0);
        let sessions = sender.events_named("reconnecting");
        crossing.case.rounds += u64::try_from(sessions.len()).expect("few");
        assert_eq!(rounds.unwrap_or(crossing.case.rounds), crossing.case.rounds);
        crossing.assert_whole();
        crossing.count_bytes(lab.counters()[0].bytes);
        crossing.report(1);
    }
}

/// How long the network is gone, in seconds: 1, and where it is asked for longer.
fn cuts() -> Vec<u64> {
    let cuts = std::env::var("PACKHORSE_CUTS").unwrap_or_else(|_| "1".to_owned());
    cuts.split(',')
        .map(|cut| cut.parse().expect("seconds"))
        .collect()
}

fn cut_for_a_while(direction: Direction, name: &'static str, what: &str) {
    for seconds in cuts() {
        let case = Case::new(name, format!("{what} for {seconds} s"));
        let mut crossing = Crossing::new(case, 16 * MEBIBYTE, 200);
        let Some(mut link) = Link::start(&mut crossing, link()) else {
            return crossing.case.not_shown();
        };
        link.wait_for(6 * MEBIBYTE);
        link.lab.cut(direction);
        // How long it lasts is what is tested.
        thread::sleep(Duration::from_secs(seconds));
        link.lab.restore(direction);
        let lost = link.lab.counters().map(|counters| counters.while_down > 0);
        let cut = [Direction::Leftward, Direction::Rightward].map(|other| direction != other);
        assert_eq!(lost, cut);
        link.complete(crossing, (seconds <= PATIENCE).then_some(1));
    }
}

#[test]
fn a_network_that_is_cut() {
    cut_for_a_while(Direction::Both, "cut", "the network is gone");
}

#[test]
fn a_network_that_is_cut_in_one_direction() {
    cut_for_a_while(
        Direction::Rightward,
        "cut-to",
        "nothing gets to the receiver",
    );
    cut_for_a_while(
        Direction::Leftward,
        "cut-from",
        "nothing gets to the sender",
    );
}

/// Half a minute passes until both notice.
#[test]
#[ignore = "takes a minute: cargo xtask faults"]
fn a_sender_whose_address_changes() {
    let case = Case::new("address", "the sender gets another address");
    let mut crossing = Crossing::new(case, 16 * MEBIBYTE, 200);
    let Some(mut link) = Link::start(&mut crossing, link()) else {
        return crossing.case.not_shown();
    };
    link.wait_for(6 * MEBIBYTE);
    let left = link.lab.left();
    let another = Ipv4Addr::new(10, 77, 0, 3);
    left.add_address(another.into(), 24).expect("it is free");
    left.remove_address(left.address(), 24)
        .expect("it is there");
    link.complete(crossing, None);
}

/// A firewall takes against one lane; the control connection lives on.
#[test]
#[ignore = "lanes.rs has it in short: cargo xtask faults"]
fn a_lane_that_a_firewall_blocks() {
    let case = Case::new("lane", "a firewall drops the packets of one lane");
    let mut crossing = Crossing::new(case, 16 * MEBIBYTE, 200);
    let Some(mut link) = Link::start(&mut crossing, link()) else {
        return crossing.case.not_shown();
    };
    link.wait_for(6 * MEBIBYTE);
    let port = busiest_port(link.lab.left());
    drop_packets_of(link.lab.left(), port);
    link.complete(crossing, Some(1));
}

#[test]
fn a_reader_that_takes_64_kilobits_a_second() {
    let case = Case::new("slow", "the receiver is reached by 64 kbit/s");
    let ground = crate::harness::Ground::new();
    ground.source_file("tree/a", Random::seeded().bytes(20_000));
    ground.source_file("tree/b", "small");
    let source = ground.source().join("tree");
    let mut crossing = Crossing::of(case, ground, source);
    let slow = Conditions {
        rate: Some(64_000),
        ..link()
    };
    let Some(link) = Link::start(&mut crossing, slow) else {
        return crossing.case.not_shown();
    };
    link.complete(crossing, Some(1));
}

/// A sender and a receiver that come again, with a proxy between them.
fn patient(crossing: &mut Crossing) -> (Proxy, Running, Running) {
    let mut receiver = Packhorse::patient_recv(&crossing.destination).start();
    let proxy = Proxy::to(&receiver.address());
    let sender = Packhorse::patient_send(&[&crossing.source], &proxy.address()).start();
    crossing.case.rounds += 1;
    (proxy, sender, receiver)
}

#[track_caller]
fn complete(mut crossing: Crossing, (proxy, sender, receiver): (Proxy, Running, Running)) {
    let (sender, receiver) = (sender.wait(), receiver.wait());
    sender.expect_code(0);
    receiver.expect_code(0);
    let sessions = sender.events_named("reconnecting");
    crossing.case.rounds += u64::try_from(sessions.len()).expect("few");
    crossing.count(&proxy);
    let told = receiver.events();
    let before = told.iter().rev().find(|event| event["event"] != "done");
    if before.is_some_and(|event| event["event"] == "waiting") {
        // Nobody came again for the receipt. What is kept in case of that is for the same command again, which sends nothing.
        assert_eq!(crossing.complete(), crossing.size);
    } else {
        crossing.assert_whole();
    }
    crossing.report(1);
}

/// Every connection is reset at random moments.
#[test]
fn connections_that_are_reset() {
    let resets = asked("PACKHORSE_RESETS", 6);
    let mut random = Random::seeded();
    let what = format!("all connections are reset, {resets} times");
    let mut crossing = Crossing::new(Case::new("reset", what), 64 * MEBIBYTE, 600);
    let (proxy, sender, receiver) = patient(&mut crossing);
    let most = crossing.size / resets;
    for _ in 0..resets {
        let until = proxy.carried() + 1 + random.next() % most;
        proxy.wait_until_carried(until, || sender.has_ended());
        proxy.reset();
    }
    complete(crossing, (proxy, sender, receiver));
}

/// Nothing that arrived is lost, however short each connection is.
#[test]
fn connections_that_are_cut_four_times_a_second() {
    let case = Case::new("quarter", "all connections are cut every 250 ms");
    let mut crossing = Crossing::new(case, 128 * MEBIBYTE, 600);
    let (proxy, sender, receiver) = patient(&mut crossing);
    while !sender.has_ended() {
        // The interval is what is tested: nothing is waited for.
        thread::sleep(Duration::from_millis(250));
        proxy.reset();
    }
    complete(crossing, (proxy, sender, receiver));
}

/// Each side stands still for a while, as a machine does that sleeps.
#[test]
fn a_peer_that_is_stopped_and_goes_on() {
    for seconds in cuts() {
        let what = format!("the receiver, then the sender is stopped for {seconds} s");
        let mut crossing = Crossing::new(Case::new("stopped", what), 64 * MEBIBYTE, 600);
        let (proxy, sender, receiver) = patient(&mut crossing);
        for (number, process) in [&receiver, &sender].into_iter().enumerate() {
            // It stands, so that it does not end before it is stopped.
            let most = 16 * MEBIBYTE * (number as u64 + 1);
            proxy.stop_after(most.max(proxy.carried()));
            proxy.wait_until_carried(most, || false);
            process.signal(Signal::STOP);
            proxy.go_on();
            // How long it stands still is what is tested.
            thread::sleep(Duration::from_secs(seconds));
            process.signal(Signal::CONT);
        }
        complete(crossing, (proxy, sender, receiver));
    }
}
