//! Numbered datagrams over Python's sockets: which arrive, in which order, when, and whether they are whole.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use packhorse_netlab::{Bursts, Conditions, Direction, Lab, Schedule};

use crate::harness::{assert_share, lab, output, seed};

/// Tells number, moment in nanoseconds and whether the content is whole of each datagram, until that number comes
/// that is the last. A buffer for all of them (33: SO_RCVBUFFORCE), so that none is lost at the end, and
/// nothing at all where the system does not give it: in a user namespace.
const RECEIVE: &str = "
import socket, time
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(('10.77.0.2', 9000))
try: receiver.setsockopt(socket.SOL_SOCKET, 33, 128 << 20)
except PermissionError: exit()
print('ready', flush=True)
found = []
while not found or found[-1][0] != 0xffffffff:
    data = receiver.recv(65536)
    number = data[:4]
    whole = data[4:] == (number * (len(data) // 4))[4:]
    found.append((int.from_bytes(number, 'big'), time.monotonic_ns(), int(whole)))
for one in found[:-1]: print(*one)
";

/// Sends so many datagrams of so many bytes, so many microseconds apart; or the last one.
const SEND: &str = "
import socket, sys, time
count, size, interval = map(int, sys.argv[1:])
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def send(number): sender.sendto(number.to_bytes(4, 'big') * (size // 4), ('10.77.0.2', 9000))
for number in range(count):
    if interval: time.sleep(interval / 1e6)
    send(number)
if not count: send(0xffffffff)
";

/// Bytes of the headers of IPv4 and UDP.
const HEADERS: u32 = 28;

/// What is sent.
#[derive(Clone, Copy)]
struct Plan {
    count: u32,
    /// Bytes of content, a multiple of four.
    size: u32,
    /// Microseconds between two of them.
    interval: u32,
}

/// A datagram that arrived.
struct Arrived {
    number: u32,
    nanoseconds: u64,
    whole: bool,
}

/// Sends datagrams over a link with these conditions to the right; the link, and what arrives.
fn across(conditions: Conditions, plan: Plan) -> Option<(Lab, Vec<Arrived>)> {
    let lab = lab(conditions, Conditions::default())?;
    let arrived = send(&lab, plan)?;
    Some((lab, arrived))
}

/// Sends datagrams from left to right; what arrives, or `None` with a reason told. Then the rightward link is as it
/// is by default.
fn send(lab: &Lab, plan: Plan) -> Option<Vec<Arrived>> {
    let receiver = lab.right().run(|| {
        let mut receiver = Command::new("python3");
        receiver.args(["-c", RECEIVE]).stdout(Stdio::piped());
        receiver.spawn()
    });
    let mut receiver = receiver.expect("python3 starts");
    let mut told = BufReader::new(receiver.stdout.take().expect("piped"));
    let mut text = String::new();
    told.read_line(&mut text).expect("it is ready");
    if text.is_empty() {
        assert!(receiver.wait().expect("it ends").success());
        eprintln!("skipped: only root itself gets a buffer so large");
        return None;
    }
    let run = |plan: Plan| {
        let numbers = [plan.count, plan.size, plan.interval].map(|number| number.to_string());
        let [count, size, interval] = &numbers;
        let sent = output(lab.left(), "python3", &["-c", SEND, count, size, interval]);
        assert!(sent.status.success(), "{sent:?}");
    };
    let before = taken(lab);
    run(plan);
    // What waits in the device would see other conditions.
    while taken(lab) < before + u64::from(plan.count) {
        thread::sleep(Duration::from_millis(1));
    }
    // A last one that is not lost, and comes after all that are under way.
    lab.set(Direction::Rightward, Conditions::default())
        .expect("it is set");
    run(Plan { count: 0, ..plan });
    text.clear();
    told.read_to_string(&mut text).expect("it tells them");
    assert!(receiver.wait().expect("it ends").success());
    Some(text.lines().map(arrived).collect())
}

/// Packets that the rightward link has taken, whatever became of them.
fn taken(lab: &Lab) -> u64 {
    let [rightward, _] = lab.counters();
    let lost = rightward.lost + rightward.while_down + rightward.overflowed;
    rightward.packets - rightward.duplicated + lost
}

fn arrived(line: &str) -> Arrived {
    let mut numbers = line.split(' ').map(str::parse::<u64>);
    let mut number = || numbers.next().expect("three").expect("a number");
    Arrived {
        number: u32::try_from(number()).expect("a number of a datagram"),
        nanoseconds: number(),
        whole: number() == 1,
    }
}

/// How long each row of datagrams is of which none arrived.
fn gaps(plan: Plan, arrived: &[Arrived]) -> Vec<usize> {
    let there: BTreeSet<u32> = arrived.iter().map(|one| one.number).collect();
    let all: Vec<bool> = (0..plan.count)
        .map(|number| there.contains(&number))
        .collect();
    let rows = all.chunk_by(|one, next| one == next);
    rows.filter(|row| !row[0]).map(<[bool]>::len).collect()
}

/// How many arrived before one that was sent earlier.
fn overtakers(arrived: &[Arrived]) -> usize {
    let mut least = u32::MAX;
    let late_first = arrived.iter().rev();
    late_first
        .filter(|one| {
            let overtook = least < one.number;
            least = least.min(one.number);
            overtook
        })
        .count()
}

/// A counter of the kernel at the right side.
fn counter(lab: &Lab, protocol: &str, name: &str) -> usize {
    let snmp = output(lab.right(), "cat", &["/proc/net/snmp"]).stdout;
    let snmp = String::from_utf8(snmp).expect("text");
    let rows: Vec<Vec<&str>> = snmp
        .lines()
        .filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "))
        .map(|line| line.split(' ').collect())
        .collect();
    let column = rows[0].iter().position(|&column| column == name);
    let value = rows[1][column.expect("a column of that name")];
    value.parse().expect("a number")
}

#[test]
fn datagrams_arrive_at_the_rate() {
    let rate = 20_000_000;
    let plan = Plan {
        count: 8000,
        size: 1000,
        interval: 0,
    };
    let conditions = Conditions {
        rate: Some(rate),
        queue: 8 << 20,
        ..Conditions::default()
    };
    let Some(lab) = lab(conditions, Conditions::default()) else {
        return;
    };
    let Some(arrived) = send(&lab, plan) else {
        return;
    };
    // All were there at once: however late the machine is at times, the last one is due at its moment.
    assert_eq!(arrived.len(), 8000);
    assert_eq!(overtakers(&arrived), 0);
    let took = arrived[7999].nanoseconds - arrived[0].nanoseconds;
    let bits = 7999.0 * f64::from((plan.size + HEADERS) * 8);
    let seen = bits / Duration::from_nanos(took).as_secs_f64();
    let ratio = seen / rate as f64;
    eprintln!("{seen} bit/s of {rate}");
    assert!((0.95..1.05).contains(&ratio), "{seen} bit/s of {rate}");
}

#[test]
fn losses_come_in_bursts() {
    let (loss, length) = (0.1, 4.0);
    let bursts = Bursts::of(loss, length);
    let conditions = Conditions {
        bursts: Some(bursts),
        seed: seed(),
        ..Conditions::default()
    };
    let plan = Plan {
        count: 20_000,
        size: 64,
        interval: 0,
    };
    let Some((_, arrived)) = across(conditions, plan) else {
        return;
    };
    let gaps = gaps(plan, &arrived);
    let lost: usize = gaps.iter().sum();
    assert_eq!(lost + arrived.len(), 20_000);
    // As a binomial distribution, but wider: neighbours have c = 1 - p - r in common, which makes it (1 + c) / (1 -
    // c).
    let common = 1.0 - bursts.worsens - bursts.recovers;
    let deviation = (20_000.0 * loss * (1.0 - loss) * (1.0 + common) / (1.0 - common)).sqrt();
    let mean = lost as f64 / gaps.len() as f64;
    eprintln!(
        "{lost} lost, {} bursts, {mean} packets in the mean",
        gaps.len()
    );
    assert!((lost as f64 - 2000.0).abs() < 5.0 * deviation, "{lost}");
    // Lengths are geometric: their variance is (1 - r) / r^2.
    let deviation = (length * (length - 1.0) / gaps.len() as f64).sqrt();
    assert!((mean - length).abs() < 5.0 * deviation, "{mean} packets");
}

#[test]
fn losses_alone_are_short() {
    let conditions = Conditions {
        loss: 0.1,
        seed: seed(),
        ..Conditions::default()
    };
    let plan = Plan {
        count: 20_000,
        size: 64,
        interval: 0,
    };
    let Some((_, arrived)) = across(conditions, plan) else {
        return;
    };
    let gaps = gaps(plan, &arrived);
    let lost: usize = gaps.iter().sum();
    assert_share("lost", lost, 20_000, 0.1);
    // Each is the last of its row unless the next is lost too.
    assert_share("rows of them", gaps.len(), lost, 0.9);
}

#[test]
fn some_go_ahead_of_the_queue() {
    let conditions = Conditions {
        delay: Duration::from_millis(50),
        reordered: 0.1,
        seed: seed(),
        ..Conditions::default()
    };
    let plan = Plan {
        count: 3000,
        size: 64,
        interval: 300,
    };
    let Some((_, arrived)) = across(conditions, plan) else {
        return;
    };
    assert_eq!(arrived.len(), 3000);
    assert_share("overtook", overtakers(&arrived), 3000, 0.1);
}

#[test]
fn jitter_keeps_the_order() {
    let conditions = Conditions {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(20),
        seed: seed(),
        ..Conditions::default()
    };
    let plan = Plan {
        count: 2000,
        size: 64,
        interval: 300,
    };
    let Some((_, arrived)) = across(conditions, plan) else {
        return;
    };
    assert_eq!((arrived.len(), overtakers(&arrived)), (2000, 0));
}

#[test]
fn checksums_drop_what_is_corrupted() {
    let conditions = Conditions {
        corrupted: 0.2,
        seed: seed(),
        ..Conditions::default()
    };
    let plan = Plan {
        count: 5000,
        size: 1000,
        interval: 0,
    };
    let Some((lab, arrived)) = across(conditions, plan) else {
        return;
    };
    assert!(arrived.iter().all(|one| one.whole));
    let dropped = 5000 - arrived.len();
    assert_share("dropped", dropped, 5000, 0.2);
    // But for those that IP dropped before, because the bit was in its own header.
    let summed = counter(&lab, "Udp", "InCsumErrors");
    assert_share("dropped by UDP", summed, dropped, 1008.0 / 1028.0);
    let [rightward, _] = lab.counters();
    assert!(rightward.corrupted >= dropped as u64);
}

#[test]
fn a_schedule_takes_the_link_down_and_up() {
    let (up, down) = (Duration::from_millis(300), Duration::from_millis(200));
    let conditions = Conditions {
        schedule: Some(Schedule { up, down }),
        ..Conditions::default()
    };
    let Some(lab) = lab(Conditions::default(), Conditions::default()) else {
        return;
    };
    lab.set(Direction::Rightward, conditions)
        .expect("it is set");
    let plan = Plan {
        count: 2000,
        size: 64,
        interval: 1000,
    };
    let Some(arrived) = send(&lab, plan) else {
        return;
    };
    let gaps = gaps(plan, &arrived);
    let lost: usize = gaps.iter().sum();
    let [rightward, _] = lab.counters();
    eprintln!("{lost} lost in {gaps:?}, {rightward:?}");
    assert!(rightward.while_down >= lost as u64 && rightward.lost == 0);
    // Two seconds at least, so four periods and parts of two; more where the machine slept in between.
    assert!((3..=12).contains(&gaps.len()), "{gaps:?}");
    let share = lost as f64 / 2000.0;
    assert!((0.2..0.6).contains(&share), "{share} of 0.4");
    // A pause that a burst or a full buffer would not make: as long as the link was down, but for the machine's own.
    let pauses = arrived.windows(2).filter(|two| {
        let pause = two[1].nanoseconds - two[0].nanoseconds;
        Duration::from_nanos(pause) >= down * 3 / 4
    });
    assert!(pauses.count() >= 3);
}
