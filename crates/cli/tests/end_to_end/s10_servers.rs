//! System S10: a server that many use at once, and what loads it. Servers and clients of the other make
//! are Python's standard library.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::peer::peer;
use crate::harness::process::{Ended, Packhorse, Running};
use crate::harness::surroundings::{is_root, not_shown, works};

fn listen(arguments: &[&str]) -> Running {
    Packhorse::verb("listen")
        .arg("--json")
        .args(arguments)
        .start()
}

fn load(endpoint: &str, arguments: &[&str]) -> Packhorse {
    Packhorse::verb("load")
        .arg(endpoint)
        .arg("--json")
        .args(arguments)
}

/// The one object on standard output.
fn report(ended: &Ended) -> Value {
    assert_eq!(ended.stdout().len(), 1, "{}", ended.told());
    serde_json::from_str(&ended.stdout()[0]).expect("JSON")
}

fn number(report: &Value, field: &str) -> u64 {
    report[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no {field} in {report}"))
}

/// Loads Python's echo server in one of its modes: 10 connections of 100 messages each.
fn against_python(test: &str, mode: &str) -> Option<Ended> {
    let mut server = peer(test, "echo_server.py")?.arg(mode).start();
    let endpoint = format!("tcp://{}", server.address());
    let options = ["--connections", "10", "--rate", "1000", "--duration", "1s"];
    Some(load(&endpoint, &options).run())
}

#[test]
fn s10_a_right_server_is_right() {
    let Some(ended) = against_python("s10_a_right_server_is_right", "right") else {
        return;
    };
    let report = report(ended.expect_code(0));
    assert_eq!(number(&report, "sent"), 1000);
    assert_eq!(number(&report, "answered"), 1000);
    for field in ["lost", "wrong", "unsent", "broken"] {
        assert_eq!(number(&report, field), 0, "{field}");
    }
    let latency = &report["latency_us"];
    assert_eq!(latency["corrected"], true);
    let quantile = |name: &str| latency[name].as_f64().expect("a number");
    let names = ["min", "p50", "p90", "p99", "p99.9", "max"];
    assert!(names.is_sorted_by_key(|name| quantile(name)), "{latency}");
    assert!(quantile("min") > 0.0);
}

#[test]
fn s10_lost_answers_are_counted() {
    let Some(ended) = against_python("s10_lost_answers_are_counted", "drops") else {
        return;
    };
    let report = report(ended.expect_code(3));
    assert_eq!(number(&report, "sent"), 1000);
    // The hundredth of each connection.
    assert_eq!(number(&report, "lost"), 10);
    assert_eq!(number(&report, "answered"), 990);
    assert_eq!(number(&report, "wrong"), 0);
}

#[test]
fn s10_answers_that_changed_places_are_wrong() {
    let Some(ended) = against_python("s10_answers_that_changed_places_are_wrong", "swaps") else {
        return;
    };
    let report = report(ended.expect_code(6));
    // The 50th came behind the 51st. The 100th was never sent.
    assert_eq!(number(&report, "wrong"), 10);
    assert_eq!(number(&report, "lost"), 10);
    assert_eq!(number(&report, "answered"), 980);
}

#[test]
fn s10_answers_of_other_connections_are_wrong() {
    let test = "s10_answers_of_other_connections_are_wrong";
    let Some(ended) = against_python(test, "crosses") else {
        return;
    };
    ended.expect_code(6).expect_says("of connection");
    assert!(number(&report(&ended), "wrong") > 0);
}

#[test]
fn s10_damaged_answers_are_wrong() {
    let Some(ended) = against_python("s10_damaged_answers_are_wrong", "damages") else {
        return;
    };
    let report = report(ended.expect_code(6));
    assert_eq!(number(&report, "wrong"), 10);
    assert_eq!(number(&report, "lost"), 0);
}

#[test]
fn s10_connections_that_break_are_counted() {
    let Some(ended) = against_python("s10_connections_that_break_are_counted", "closes") else {
        return;
    };
    ended.expect_code(3).expect_says("no more comes");
    let report = report(&ended);
    assert_eq!(number(&report, "broken"), 10);
    assert_eq!(number(&report, "answered"), 200);
    assert_eq!(number(&report, "wrong"), 0);
}

#[test]
fn s10_a_stall_counts_against_all_that_were_due_meanwhile() {
    let test = "s10_a_stall_counts_against_all_that_were_due_meanwhile";
    let Some(ended) = against_python(test, "stalls") else {
        return;
    };
    let report = report(ended.expect_code(0));
    // From the 100th of 1,000 on for a second: nine in ten were due meanwhile, the median for about
    // half of it. Who sends only after an answer would have seen one second once.
    let p50 = report["latency_us"]["p50"].as_f64().expect("a number");
    assert!(p50 > 300_000.0, "{report}");
}

#[test]
fn s10_every_kind_of_socket_is_loaded() {
    let room = format!("@packhorse-load-{}", std::process::id());
    for endpoint in [
        "tcp://127.0.0.1:0".to_owned(),
        "tls://127.0.0.1:0".to_owned(),
        "udp://127.0.0.1:0".to_owned(),
        format!("unix:{room}-s"),
        format!("seqpacket:{room}-p"),
        format!("unixgram:{room}-d"),
    ] {
        let mut server = listen(&["--handler", "echo", &endpoint]);
        let listening = server.wait_for("listening", |_| true);
        let there = listening["endpoint"].as_str().expect("a text").to_owned();
        let there = match listening["pin"].as_str() {
            Some(pin) => format!("{there}?pin={pin}"),
            None => there,
        };
        for rate in ["500", "max"] {
            let ended = load(&there, &["--rate", rate, "--duration", "300ms"]).run();
            let report = report(ended.expect_code(0));
            assert!(number(&report, "answered") > 0, "{report}");
            assert_eq!(number(&report, "sent"), number(&report, "answered"));
        }
        server.signal(Signal::TERM);
        server.wait().expect_code(0);
    }
}

#[test]
fn s10_two_thousand_connections_lose_nothing() {
    let mut server = listen(&["--handler", "echo", "tcp://127.0.0.1:0"]);
    let endpoint = format!("tcp://{}", server.address());
    let options = [
        "--connections",
        "2000",
        "--rate",
        "4000",
        "--duration",
        "3s",
    ];
    let ended = load(&endpoint, &options).run();
    let report = report(ended.expect_code(0));
    assert_eq!(number(&report, "sent"), 12_000);
    assert_eq!(number(&report, "answered"), 12_000);
}

#[test]
fn s10_datagrams_to_nobody_are_lost_and_not_fatal() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let options = ["--connections", "2", "--rate", "100", "--duration", "200ms"];
    let ended = load(&format!("udp://{address}"), &options).run();
    let report = report(ended.expect_code(3));
    assert_eq!(number(&report, "sent"), 20);
    assert_eq!(number(&report, "lost"), 20);
    assert_eq!(number(&report, "broken"), 0);
}

#[test]
fn s10_an_interrupt_ends_with_the_report_so_far() {
    // Over datagrams somebody is there once a message is.
    let mut server = listen(&["--handler", "echo", "udp://127.0.0.1:0"]);
    let endpoint = format!("udp://{}", server.address());
    let loading = load(&endpoint, &["--duration", "1h"]).start();
    server.wait_for("connected", |_| true);
    loading.signal(Signal::INT);
    let ended = loading.wait();
    let report = report(ended.expect_code(130));
    assert_eq!(report["interrupted"], true);
    assert_eq!(number(&report, "lost"), 0);
}

#[test]
fn s10_without_descriptors_it_waits_and_goes_on_when_there_are_some_again() {
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 32; exec \"$@\"", "sh"]);
    limited.arg(env!("CARGO_BIN_EXE_packhorse"));
    let mut server = Packhorse::from_command(limited)
        .args(["listen", "--json", "tcp://127.0.0.1:0"])
        .args(["--handler", "echo", "--frame", "line"])
        .start();
    let address = server.address();
    let mut streams: Vec<_> = (0..40)
        .map(|_| TcpStream::connect(&address).expect("a connection"))
        .collect();
    for stream in &mut streams {
        stream.write_all(b"hello\n").expect("sent");
    }
    server.wait_for("warning", |event| {
        let message = event["message"].as_str().unwrap_or_default();
        message.contains("Too many open files")
    });
    // As each ends, another is served: all are in the end.
    for mut stream in streams {
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"hello\n");
    }
}

#[test]
fn s10_too_few_descriptors_are_told_before_anything_is_sent() {
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n 100; exec \"$@\"", "sh"]);
    limited.arg(env!("CARGO_BIN_EXE_packhorse"));
    let ended = Packhorse::from_command(limited)
        .args(["load", "tcp://127.0.0.1:9", "--connections", "90"])
        .run();
    ended
        .expect_code(5)
        .expect_says("90 connections need 154 descriptors, and this process may have 100")
        .expect_says("ulimit -n 154");
}

#[test]
fn s10_too_few_ports_are_told_and_loopback_has_more() {
    let test = "s10_too_few_ports_are_told_and_loopback_has_more";
    if !is_root() || !works(Command::new("unshare").args(["--net", "true"])) {
        not_shown(test, "only root makes a network namespace with few ports");
        return;
    }
    let packhorse = env!("CARGO_BIN_EXE_packhorse");
    let few_ports = |load: &str| {
        let script = format!(
            "ip link set lo up && sysctl -q net.ipv4.ip_local_port_range='50000 50019' && \
             {{ {packhorse} listen -q tcp://127.0.0.1:9000 --handler echo & }} && \
             while ! {packhorse} connect -q tcp://127.0.0.1:9000 </dev/null 2>/dev/null; do :; done; \
             {packhorse} load --json --duration 200ms --connections 40 {load}; code=$?; \
             kill %1 2>/dev/null || kill $!; exit $code"
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "/bin/sh", "-c", &script]);
        Packhorse::from_command(command).run()
    };
    let bound = few_ports("'tcp://127.0.0.1:9000?bind=127.0.0.9:0'");
    bound
        .expect_code(5)
        .expect_says("out of ports after")
        .expect_says("net.ipv4.ip_local_port_range");
    let spread = few_ports("tcp://127.0.0.1:9000");
    assert_eq!(number(&report(spread.expect_code(0)), "connections"), 40);
}

#[test]
fn s10_the_sample_client_hears_the_first_greeting() {
    let test = "s10_the_sample_client_hears_the_first_greeting";
    let mut server = listen(&["--handler", "counter:1ms", "tcp://127.0.0.1:0"]);
    let Some(client) = peer(test, "s10_counter.py") else {
        return;
    };
    let ended = client.arg(server.address()).run();
    let answer = ended.expect_code(0).events_named("answer").remove(0);
    assert_eq!(answer["text"], "hello0");
    let record = server.wait_for("ended", |_| true);
    assert_eq!(record["received"]["messages"], 1);
}
