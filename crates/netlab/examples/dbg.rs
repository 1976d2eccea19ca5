use packhorse_netlab::*;
use std::process::Command;
use std::time::Duration;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let rate: u64 = a[1].parse().unwrap();
    let rtt: u64 = a[2].parse().unwrap();
    let loss: f64 = a[3].parse().unwrap();
    let flow = a.get(6).is_some();
    let c = Conditions {
        delay: Duration::from_millis(rtt) / 2,
        rate: (!flow).then_some(rate * 1_000_000),
        flow_rate: flow.then_some(rate * 1_000_000),
        loss: loss / 100.0,
        seed: 1,
        ..Default::default()
    }
    .with_queue_of(Duration::from_millis(rtt.max(20)));
    let lab = Lab::new(c, c).unwrap();
    let (r, s) = (a[4].clone(), a[5].clone());
    let mut rc = lab
        .right()
        .run(move || Command::new("sh").args(["-c", &r]).spawn().unwrap());
    std::thread::sleep(Duration::from_millis(300));
    let mut sc = lab
        .left()
        .run(move || Command::new("sh").args(["-c", &s]).spawn().unwrap());
    let t = std::time::Instant::now();
    let mut last = lab.counters()[0];
    let mut line = String::new();
    while sc.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(250));
        let c = lab.counters()[0];
        line += &format!(
            "{:.2}:{:.0}%/{} ",
            t.elapsed().as_secs_f64(),
            (c.bytes - last.bytes) as f64 * 8.0 / 0.25 / (rate as f64 * 1e6) * 100.0,
            c.overflowed - last.overflowed
        );
        last = c;
    }
    println!("{line}");
    sc.wait().unwrap();
    rc.wait().unwrap();
    println!("{:?}", lab.counters());
}
