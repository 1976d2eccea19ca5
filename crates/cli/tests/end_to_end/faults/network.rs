//! The network fails: over a link between two namespaces where packets have to be lost, else by a proxy.

use std::io;
use std::process::Command;
use std::thread;
use std::time::Duration;

use packhorse_netlab::{Conditions, Lab, Side};
use rustix::process::Signal;

use super::crossing::{Crossing, MEBIBYTE, asked};
use super::report::Case;
use crate::harness::proxy::Proxy;
use crate::harness::random::Random;
use crate::harness::{CODE, Packhorse, Running, not_shown};

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

    /// Waits until so many bytes are on their way to the right.
    fn wait_for(&mut self, bytes: u64) {
        while self.lab.counters()[0].bytes < bytes {
            assert!(!self.sender.has_ended(), "too fast, or it has failed");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Both end well, and the tree is there.
    #[track_caller]
    fn complete(self, mut crossing: Crossing) {
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
        crossing.assert_whole();
        crossing.count_bytes(lab.counters()[0].bytes);
        crossing.report(1);
    }
}

/// Runs a program at one side, to its end.
fn at(side: &Side, program: &str, arguments: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments.split(' '));
    let output = side.run(move || command.output()).expect("it runs");
    assert!(output.status.success(), "{program} {arguments}: {output:?}");
    String::from_utf8(output.stdout).expect("ASCII")
}

/// Packets that this side drops.
#[derive(Debug, Clone, Copy)]
enum Dropped {
    Incoming,
    Outgoing,
}

fn drop_packets(side: &Side, dropped: Dropped, of: &str) {
    let hook = match dropped {
        Dropped::Incoming => "input",
        Dropped::Outgoing => "output",
    };
    at(side, "nft", "add table inet cut");
    let chain = format!("add chain inet cut {hook} {{ type filter hook {hook} priority 0 ; }}");
    at(side, "nft", &chain);
    at(side, "nft", &format!("add rule inet cut {hook} {of} drop"));
}

fn drop_nothing(side: &Side) {
    at(side, "nft", "delete table inet cut");
}

/// How long the network is gone, in seconds: 1, and where it is asked for longer.
fn cuts() -> Vec<u64> {
    let cuts = std::env::var("PACKHORSE_CUTS").unwrap_or_else(|_| "1".to_owned());
    cuts.split(',')
        .map(|cut| cut.parse().expect("seconds"))
        .collect()
}

fn cut_for_a_while(directions: &[Dropped], name: &'static str, what: &str) {
    for seconds in cuts() {
        let case = Case::new(name, format!("{what} for {seconds} s"));
        let mut crossing = Crossing::new(case, 16 * MEBIBYTE, 200);
        let Some(mut link) = Link::start(&mut crossing, link()) else {
            return crossing.case.not_shown();
        };
        link.wait_for(6 * MEBIBYTE);
        for dropped in directions {
            drop_packets(link.lab.left(), *dropped, "ip protocol tcp");
        }
        // How long it lasts is what is tested.
        thread::sleep(Duration::from_secs(seconds));
        drop_nothing(link.lab.left());
        link.complete(crossing);
    }
}

#[test]
fn a_network_that_is_cut() {
    let both = [Dropped::Outgoing, Dropped::Incoming];
    cut_for_a_while(&both, "cut", "the network is gone");
}

#[test]
fn a_network_that_is_cut_in_one_direction() {
    cut_for_a_while(
        &[Dropped::Outgoing],
        "cut-to",
        "nothing gets to the receiver",
    );
    cut_for_a_while(
        &[Dropped::Incoming],
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
    at(link.lab.left(), "ip", "address del 10.77.0.1/24 dev lab0");
    at(link.lab.left(), "ip", "address add 10.77.0.3/24 dev lab0");
    link.complete(crossing);
}

/// The source port of the connection on which most was sent: that of a lane.
fn busiest_port(side: &Side) -> String {
    let listed = at(side, "ss", "-Htin");
    let lines: Vec<&str> = listed.lines().collect();
    let sent = |details: &str| {
        let after = details.split("bytes_sent:").nth(1).unwrap_or("0");
        let digits = after.split(' ').next().unwrap_or("0");
        digits.parse::<u64>().unwrap_or(0)
    };
    let connections = lines.chunks_exact(2);
    let busiest = connections.max_by_key(|pair| sent(pair[1])).expect("some");
    let local = busiest[0].split_whitespace().nth(3).expect("an address");
    let (_, port) = local.rsplit_once(':').expect("a port");
    port.to_owned()
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
    drop_packets(
        link.lab.left(),
        Dropped::Outgoing,
        &format!("tcp sport {port}"),
    );
    link.complete(crossing);
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
    link.complete(crossing);
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
    crossing.assert_whole();
    crossing.count(&proxy);
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
