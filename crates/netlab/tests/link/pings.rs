//! What ping sees, and where it does not reach.

use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::time::Duration;

use packhorse_netlab::{Conditions, Direction, Lab, Schedule};

use crate::harness::{assert_share, lab, output, seed};

/// What ping tells.
struct Pinged {
    sent: usize,
    /// Answers, without those that came twice.
    answered: usize,
    /// Lines that say `DUP!`.
    twice: usize,
    /// Milliseconds of each round trip.
    times: Vec<f64>,
}

/// Pings the right side so often, every so many milliseconds.
fn ping(lab: &Lab, count: usize, interval: u64) -> Pinged {
    let (count, interval) = (count.to_string(), (interval as f64 / 1000.0).to_string());
    let arguments = ["-n", "-i", &interval, "-c", &count, "-W", "1", "10.77.0.2"];
    read(&output(lab.left(), "ping", &arguments))
}

fn read(output: &Output) -> Pinged {
    let text = String::from_utf8_lossy(&output.stdout);
    let number_before = |behind: &str| {
        let (before, _) = text.split_once(behind)?;
        before.rsplit([' ', '\n']).next()?.parse().ok()
    };
    let time = |line: &str| line.split_once("time=")?.1.split(' ').next()?.parse().ok();
    let (sent, answered) = (" packets transmitted", " received");
    Pinged {
        sent: number_before(sent).unwrap_or_else(|| panic!("{output:?}")),
        answered: number_before(answered).unwrap_or_else(|| panic!("{output:?}")),
        twice: text.matches("(DUP!)").count(),
        times: text.lines().filter_map(time).collect(),
    }
}

fn delayed(milliseconds: u64) -> Conditions {
    Conditions {
        delay: Duration::from_millis(milliseconds),
        ..Conditions::default()
    }
}

#[test]
fn ping_sees_the_delay() {
    let Some(lab) = lab(delayed(30), delayed(20)) else {
        return;
    };
    let pinged = ping(&lab, 50, 10);
    assert_eq!(pinged.answered, 50);
    let least = pinged.times.iter().copied().fold(f64::INFINITY, f64::min);
    // Never earlier than asked for; how much later is up to the machine.
    assert!((50.0..80.0).contains(&least), "{least} ms");
}

#[test]
fn ping_sees_the_loss() {
    let lossy = Conditions {
        loss: 0.1,
        seed: seed(),
        ..Conditions::default()
    };
    let Some(lab) = lab(lossy, Conditions::default()) else {
        return;
    };
    let pinged = ping(&lab, 1000, 2);
    assert_share("lost", pinged.sent - pinged.answered, pinged.sent, 0.1);
    let [rightward, leftward] = lab.counters();
    assert_eq!(leftward.lost, 0);
    // A few packets of the kernel's own are lost as well.
    assert!(rightward.lost >= (pinged.sent - pinged.answered) as u64);
}

#[test]
fn ping_sees_the_jitter() {
    let jittery = Conditions {
        jitter: Duration::from_millis(40),
        seed: seed(),
        ..delayed(50)
    };
    let Some(lab) = lab(jittery, Conditions::default()) else {
        return;
    };
    // Further apart than the jitter is wide: each has its own.
    let times = ping(&lab, 120, 85).times;
    assert_eq!(times.len(), 120);
    assert!(times.iter().all(|&time| time >= 10.0), "{times:?}");
    // Uniform from 10 to 90 ms: a quarter is below 30, and one above 70. A slow machine adds some milliseconds, which
    // makes more of the latter, and fewer of the former, but nowhere near none.
    let below = |time: f64| times.iter().filter(|&&one| one < time).count();
    assert_share("below 30 ms", below(30.0), 120, 0.25);
    let above = 120 - below(70.0);
    eprintln!("above 70 ms: {above} of 120");
    // The least of a quarter: 30, less five deviations of a binomial distribution.
    assert!(above > 30 - 24, "{above}");
}

#[test]
fn ping_sees_copies() {
    let copying = Conditions {
        duplicated: 0.3,
        seed: seed(),
        ..Conditions::default()
    };
    let Some(lab) = lab(copying, Conditions::default()) else {
        return;
    };
    let pinged = ping(&lab, 500, 2);
    assert_eq!(pinged.answered, 500);
    assert_share("DUP!", pinged.twice, pinged.sent, 0.3);
    let [rightward, leftward] = lab.counters();
    assert!(rightward.duplicated >= pinged.twice as u64);
    assert_eq!(leftward.duplicated, 0);
}

#[test]
fn a_cut_goes_one_way_or_both_until_it_is_restored() {
    let Some(lab) = lab(Conditions::default(), Conditions::default()) else {
        return;
    };
    let answered = || ping(&lab, 5, 10).answered;
    assert_eq!(answered(), 5);
    for direction in [Direction::Leftward, Direction::Rightward, Direction::Both] {
        let before = lab.counters();
        lab.cut(direction);
        assert_eq!(answered(), 0, "{direction:?}");
        let after = lab.counters();
        let lost = [0, 1].map(|side| after[side].while_down - before[side].while_down);
        match direction {
            Direction::Leftward => assert!(lost[0] == 0 && lost[1] >= 5, "{lost:?}"),
            Direction::Rightward | Direction::Both => assert!(lost[0] >= 5, "{lost:?}"),
        }
        lab.restore(direction);
        assert_eq!(answered(), 5, "{direction:?}");
    }
}

#[test]
fn conditions_change_while_it_runs() {
    let Some(lab) = lab(delayed(1), delayed(1)) else {
        return;
    };
    let least = |lab: &Lab| {
        let times = ping(lab, 10, 10).times;
        times.into_iter().fold(f64::INFINITY, f64::min)
    };
    let before = least(&lab);
    lab.set(Direction::Rightward, delayed(60))
        .expect("it is set");
    let longer = least(&lab);
    lab.set(Direction::Both, delayed(40)).expect("it is set");
    let both = least(&lab);
    lab.set(Direction::Both, delayed(1)).expect("it is set");
    let after = least(&lab);
    assert!((2.0..32.0).contains(&before), "{before} ms");
    assert!((61.0..80.0).contains(&longer), "{longer} ms");
    assert!((80.0..110.0).contains(&both), "{both} ms");
    assert!((2.0..32.0).contains(&after), "{after} ms");
}

#[test]
fn packets_are_as_large_as_the_device_takes() {
    let small = Conditions {
        mtu: 1280,
        ..Conditions::default()
    };
    let Some(lab) = lab(small, Conditions::default()) else {
        return;
    };
    // With 20 bytes of IP and 8 of ICMP, and never in fragments.
    let fits = |bytes: u32| {
        let size = (bytes - 28).to_string();
        let arguments = ["-n", "-M", "do", "-c", "1", "-W", "1", "-s", &size];
        let pinged = output(
            lab.left(),
            "ping",
            &[&arguments[..], &["10.77.0.2"]].concat(),
        );
        let told = String::from_utf8_lossy(&pinged.stderr);
        assert_eq!(
            pinged.status.success(),
            !told.contains("too long"),
            "{told}"
        );
        pinged.status.success()
    };
    assert!(fits(1280) && !fits(1281));
    let large = Conditions {
        mtu: 9000,
        ..Conditions::default()
    };
    lab.set(Direction::Both, large).expect("it is set");
    assert!(fits(1281) && fits(9000) && !fits(9001));
    let none = Conditions {
        mtu: 1,
        ..Conditions::default()
    };
    lab.set(Direction::Both, none)
        .expect_err("no device takes that");
    assert!(fits(9000));
}

#[test]
fn a_side_changes_its_address() {
    let Some(lab) = lab(Conditions::default(), Conditions::default()) else {
        return;
    };
    let reached = |address: &str| {
        let arguments = ["-n", "-c", "1", "-W", "1", address];
        output(lab.left(), "ping", &arguments).status.success()
    };
    let (first, other) = (Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 9));
    assert!(reached("10.77.0.2") && !reached("10.77.0.9"));
    let right = lab.right();
    right.add_address(other.into(), 24).expect("it is added");
    assert!(reached("10.77.0.2") && reached("10.77.0.9"));
    right
        .remove_address(first.into(), 24)
        .expect("it is removed");
    assert!(!reached("10.77.0.2") && reached("10.77.0.9"));
    right
        .remove_address(first.into(), 24)
        .expect_err("it is gone");
    for (side, address) in [(lab.left(), "fd77::1"), (right, "fd77::2")] {
        let address = address.parse().expect("an address");
        side.add_address(address, 64).expect("it is added");
    }
    assert!(reached("fd77::2"));
}

#[test]
fn rules_hold_at_one_side() {
    let Some(lab) = lab(Conditions::default(), Conditions::default()) else {
        return;
    };
    let rules = "add table ip lab
        add chain ip lab input { type filter hook input priority 0; }
        add rule ip lab input icmp type echo-request drop";
    let nft = lab
        .right()
        .run(move || Command::new("nft").arg(rules).output());
    match nft {
        Ok(nft) if nft.status.success() => {
            assert_eq!(ping(&lab, 3, 10).answered, 0);
            let back = output(lab.right(), "ping", &["-n", "-c", "1", "10.77.0.1"]);
            assert!(back.status.success());
        }
        other => eprintln!("skipped: no rules of nftables here: {other:?}"),
    }
}

#[test]
fn a_schedule_begins_with_what_is_set() {
    let Some(lab) = lab(Conditions::default(), Conditions::default()) else {
        return;
    };
    let hour = Duration::from_secs(3600);
    let down_for = |up: Duration| Conditions {
        schedule: Some(Schedule { up, down: hour }),
        ..Conditions::default()
    };
    lab.set(Direction::Both, down_for(hour)).expect("it is set");
    assert_eq!(ping(&lab, 3, 10).answered, 3);
    lab.set(Direction::Leftward, down_for(Duration::ZERO))
        .expect("it is set");
    assert_eq!(ping(&lab, 3, 10).answered, 0);
    lab.set(Direction::Both, Conditions::default())
        .expect("it is set");
    assert_eq!(ping(&lab, 3, 10).answered, 3);
}
