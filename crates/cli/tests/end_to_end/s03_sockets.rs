//! Sockets of every family and type through `packhorse sockopt`, held against what CPython's socket module
//! says about the same calls.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::surroundings::{is_root, works};
use crate::harness::{Ended, Ground, Packhorse, not_shown};

fn sockopt(endpoint: &str) -> Packhorse {
    Packhorse::verb("sockopt").args(["--json", endpoint])
}

/// The one object of `--json`.
pub(crate) fn object(ended: &Ended) -> Value {
    let lines = ended.stdout();
    assert_eq!(lines.len(), 1, "{}", ended.told());
    serde_json::from_str(&lines[0]).expect("JSON")
}

/// The row of an option in the first socket of an object.
#[track_caller]
pub(crate) fn row(object: &Value, option: &str) -> Value {
    let rows = object["sockets"][0]["options"].as_array().expect("options");
    let found = rows.iter().find(|row| row["option"] == option);
    found
        .unwrap_or_else(|| panic!("{option}: {object}"))
        .clone()
}

/// What CPython prints; `None` where there is none.
pub(crate) fn python(program: &str) -> Option<String> {
    let run = Command::new("python3")
        .args(["-c", program])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    Some(
        String::from_utf8(run.stdout)
            .expect("text")
            .trim()
            .to_owned(),
    )
}

#[test]
fn s03_every_kind_is_waited_at() {
    let ground = Ground::new();
    let path = |name: &str| ground.beside().join(name).display().to_string();
    for endpoint in [
        "tcp://127.0.0.1:0".to_owned(),
        "tcp://[::1]:0".into(),
        "tcp://:0".into(),
        "tcp://localhost:0".into(),
        "tls://127.0.0.1:0".into(),
        "udp://127.0.0.1:0".into(),
        format!("unix:{}", path("stream")),
        format!("unixgram:{}", path("datagram")),
        format!("seqpacket:{}", path("packets")),
        format!("unix:@packhorse-s03-{}", std::process::id()),
    ] {
        let ended = sockopt(&endpoint).arg("--listen").run();
        ended.expect_code(0);
        let object = object(&ended);
        assert_eq!(object["v"], 1);
        assert_eq!(object["role"], "listen");
        assert!(object["sockets"][0]["local"].is_string(), "{object}");
        assert_eq!(object["sockets"][0]["peer"], Value::Null);
    }
    let left = std::fs::read_dir(ground.beside()).expect("a directory");
    assert_eq!(left.count(), 0, "each socket's file goes with it");
}

#[test]
fn s03_every_kind_is_reached() {
    let ground = Ground::new();
    let path = |name: &str| ground.beside().join(name);
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let _stream = UnixListener::bind(path("stream")).expect("a name");
    let _datagram = UnixDatagram::bind(path("datagram")).expect("a name");
    let (tcp_at, udp_at) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let unix = |kind: &str, name: &str| format!("{kind}:{}", path(name).display());
    for endpoint in [
        format!("tcp://{tcp_at}"),
        format!("tcp://localhost:{}", tcp_at.port()),
        format!("udp://{udp_at}"),
        unix("unix", "stream"),
        unix("unixgram", "datagram"),
    ] {
        let ended = sockopt(&endpoint).run();
        ended.expect_code(0);
        let object = object(&ended);
        let peer = object["sockets"][0]["peer"].as_str().expect("a peer");
        assert!(
            endpoint.replace("localhost", "127.0.0.1").ends_with(peer),
            "{endpoint}: {peer}"
        );
    }
}

#[test]
fn s03_a_seqpacket_socket_of_python_s_is_reached() {
    let ground = Ground::new();
    let path = ground.beside().join("packets");
    let program = format!(
        "import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind({path:?})
s.listen(1)
print('ready', flush=True)
s.accept()"
    );
    let mut command = Command::new("python3");
    command
        .args(["-c", &program])
        .stdout(std::process::Stdio::piped());
    let Ok(mut server) = command.spawn() else {
        not_shown(
            "s03_a_seqpacket_socket_of_python_s_is_reached",
            "there is no python3",
        );
        return;
    };
    let mut line = String::new();
    let stdout = server.stdout.take().expect("stdout is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    sockopt(&format!("seqpacket:{}", path.display()))
        .run()
        .expect_code(0);
    assert!(server.wait().expect("an end").success());
}

#[test]
fn s03_raw_and_icmp_sockets_need_a_privilege_and_say_so() {
    if !is_root() {
        not_shown(
            "s03_raw_and_icmp_sockets_need_a_privilege_and_say_so",
            "it needs root",
        );
        return;
    }
    for endpoint in [
        "icmp://127.0.0.1",
        "icmp://[::1]",
        "raw://127.0.0.1/icmp",
        "raw://127.0.0.1/igmp",
        "raw://127.0.0.1/253?hdrincl",
        "raw://[::1]/icmpv6",
    ] {
        sockopt(endpoint).run().expect_code(0);
        let mut bare = Command::new("setpriv");
        bare.args([
            "--bounding-set=-net_raw",
            env!("CARGO_BIN_EXE_packhorse"),
            "sockopt",
            endpoint,
        ]);
        let ended = Packhorse::from_command(bare).run();
        if !endpoint.starts_with("icmp") {
            ended
                .expect_code(5)
                .expect_says("not allowed to open a raw socket");
            ended.expect_says("CAP_NET_RAW");
        } else if ended.code() != Some(0) {
            // Where no group may ping, as is the kernel's default.
            ended
                .expect_code(5)
                .expect_says("not allowed to open a ping socket");
            ended.expect_says("net.ipv4.ping_group_range");
        }
    }
}

#[test]
fn s03_ping_sockets_are_used_where_groups_may_ping() {
    let script =
        "ip link set lo up && sysctl -qw net.ipv4.ping_group_range='0 2147483647' || exit 77
        exec setpriv --bounding-set=-net_raw \"$0\" sockopt --json \"$1\"";
    if !is_root() || !works(Command::new("unshare").args(["--net", "true"])) {
        not_shown(
            "s03_ping_sockets_are_used_where_groups_may_ping",
            "it needs a network namespace",
        );
        return;
    }
    for endpoint in ["icmp://127.0.0.1", "icmp://[::1]"] {
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "sh",
            "-c",
            script,
            env!("CARGO_BIN_EXE_packhorse"),
            endpoint,
        ]);
        Packhorse::from_command(command).run().expect_code(0);
    }
}

#[test]
fn s03_what_this_kernel_lacks_is_named() {
    for (endpoint, family) in [
        ("rdm://127.0.0.1:9", "AF_INET"),
        ("rdm://[::1]:9", "AF_INET6"),
    ] {
        let python = python(
            "import socket
try: socket.socket(socket.AF_INET, socket.SOCK_RDM); print('has it')
except OSError as error: print(error.errno)",
        );
        if python.is_some_and(|said| said == "has it") {
            return;
        }
        let said = format!("this kernel has no SOCK_RDM for {family}");
        sockopt(endpoint).run().expect_code(5).expect_says(&said);
        sockopt(endpoint)
            .arg("--listen")
            .run()
            .expect_code(5)
            .expect_says(&said);
    }
}

#[test]
fn s03_options_are_what_python_reads_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().unwrap().port();
    // Option, the notation's value, level and name for Python, and how Python writes the value.
    for (query, option, call) in [
        ("sndbuf=100000", "sndbuf", "SOL_SOCKET SO_SNDBUF 100000"),
        ("sndbuf=1", "sndbuf", "SOL_SOCKET SO_SNDBUF 1"),
        ("sndbuf=1G", "sndbuf", "SOL_SOCKET SO_SNDBUF 1<<30"),
        ("rcvbuf=64K", "rcvbuf", "SOL_SOCKET SO_RCVBUF 64<<10"),
        ("rcvbuf=1", "rcvbuf", "SOL_SOCKET SO_RCVBUF 1"),
        ("ttl=9", "ttl", "IPPROTO_IP IP_TTL 9"),
        ("tos=16", "tos", "IPPROTO_IP IP_TOS 16"),
        ("tos=3", "tos", "IPPROTO_IP IP_TOS 3"),
    ] {
        let [level, name, value] = call.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{call}")
        };
        let read_back = python(&format!(
            "import socket
s = socket.socket()
s.setsockopt(socket.{level}, socket.{name}, {value})
print(s.getsockopt(socket.{level}, socket.{name}))"
        ));
        let Some(read_back) = read_back else {
            not_shown(
                "s03_options_are_what_python_reads_back",
                "there is no python3",
            );
            return;
        };
        let ended = sockopt(&format!("tcp://127.0.0.1:{port}?{query}")).run();
        let row = row(&object(&ended), option);
        assert_eq!(row["granted"].to_string(), read_back, "{query}");
        let met = matches!(
            row["verdict"].as_str(),
            Some("granted" | "doubled" | "raised")
        );
        ended.expect_code(if met { 0 } else { 1 });
    }
}

#[test]
fn s03_what_is_not_in_force_is_shown_and_told() {
    let ended = sockopt("udp://127.0.0.1:9?sndbuf=1G&tos=16").run();
    ended.expect_code(1).expect_says("net.core.wmem_max");
    let shown = object(&ended);
    assert_eq!(row(&shown, "sndbuf")["verdict"], "capped");
    assert_eq!(row(&shown, "sndbuf")["requested"], "1G");
    assert_eq!(row(&shown, "tos")["verdict"], "granted");

    let ended = sockopt("tcp://127.0.0.1:0?backlog=2000000000")
        .arg("--listen")
        .run();
    ended.expect_code(1).expect_says("net.core.somaxconn");
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a sysctl");
    let shown = object(&ended);
    assert_eq!(row(&shown, "backlog")["granted"].to_string(), most.trim());
    // What the kernel itself holds for the limit.
    let info = &shown["sockets"][0]["tcp_info"];
    assert_eq!(info["send_queue"].to_string(), most.trim(), "{shown}");

    // Each hint is that of its option.
    let ended = sockopt("tcp://127.0.0.1:0?tos=3&backlog=2000000000")
        .arg("--listen")
        .run();
    ended.expect_code(1);
    let said = ended.stderr_text();
    let backlog = "'backlog' is not in force; try: raise the bound: sysctl net.core.somaxconn";
    let tos = "'tos' is not in force; try: leave 'tos' out, or choose another value";
    assert!(said.contains(backlog) && said.contains(tos), "{said}");

    let refused = sockopt("udp://127.0.0.1:9?v6only").run();
    refused.expect_code(2).expect_says("waiting for peers only");
    let refused = sockopt("udp://127.0.0.1:0?v6only").arg("--listen").run();
    refused.expect_code(1);
    assert_eq!(row(&object(&refused), "v6only")["verdict"], "refused");
}

#[test]
fn s03_a_mark_without_the_privilege_is_refused() {
    let mut bare = Command::new("setpriv");
    let packhorse = env!("CARGO_BIN_EXE_packhorse");
    bare.args(["--bounding-set=-net_admin,-net_raw", packhorse, "sockopt"]);
    bare.args(["--json", "udp://127.0.0.1:9?mark=3"]);
    if !is_root() {
        not_shown(
            "s03_a_mark_without_the_privilege_is_refused",
            "it needs root to give it up",
        );
        return;
    }
    let ended = Packhorse::from_command(bare).run();
    ended.expect_code(1).expect_says("CAP_NET_ADMIN");
    assert_eq!(row(&object(&ended), "mark")["verdict"], "refused");
    let ended = sockopt("udp://127.0.0.1:9?mark=3").run();
    assert_eq!(row(&object(&ended), "mark")["granted"], 3);
}

#[test]
fn s03_bad_notation_is_a_usage_error_that_says_what_is_wrong() {
    for (endpoint, said) in [
        ("tcp://127.0.0.1:1?nodaley", "there is no option 'nodaley'"),
        ("udp://127.0.0.1:1?nodelay", "only TCP has it"),
        ("unix:/x?rcvbuf=1M", "the kernel takes it and ignores it"),
        (
            "raw://127.0.0.1/1?hdrincl&ttl=3",
            "'ttl' does nothing beside 'hdrincl'",
        ),
        ("raw://127.0.0.1/1?reuseport", "does nothing for raw"),
        (
            "tls://127.0.0.1:1?ca=a&pin=sha256:0",
            "64 hexadecimal digits",
        ),
        ("tcp://127.0.0.1:1?sndbuf=2G", "up to 1G"),
        ("tcp://127.0.0.1:1?backlog=3", "waiting for peers only"),
        ("tcp://127.0.0.1:0", "where to connect to"),
        ("tcp://127.0.0.1", "a port is missing"),
        ("127.0.0.1:80", "does not say what it is"),
        ("http://127.0.0.1", "there is no kind"),
        ("raw://127.0.0.1/none", "is not an IP protocol"),
        ("icmp://127.0.0.1:8", "icmp has no ports"),
    ] {
        sockopt(endpoint).run().expect_code(2).expect_says(said);
    }
}

#[test]
fn s03_zones_lead_to_link_local_addresses() {
    let test = "s03_zones_lead_to_link_local_addresses";
    let packhorse = env!("CARGO_BIN_EXE_packhorse");
    let script = "
        ip link add one type veth peer name two &&
        ip link set one up && ip link set two up &&
        ip -6 address add fe80::1/64 dev one nodad && ip -6 address add fe80::2/64 dev two nodad || exit 77
        \"$0\" sockopt --json 'udp://[fe80::2%one]:9?bind=fe80::1%one' &&
        \"$0\" sockopt --json --listen 'tcp://[fe80::2%two]:0'";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script, packhorse]);
    let ended = Packhorse::from_command(command).run();
    if !is_root() || ended.code() == Some(77) {
        not_shown(test, "it needs a network namespace with two interfaces");
        return;
    }
    ended.expect_code(0);
    let objects: Vec<Value> = ended.events();
    let local = objects[0]["sockets"][0]["local"].as_str().expect("a name");
    assert!(local.starts_with("[fe80::1%"), "{local}");
    let local = objects[1]["sockets"][0]["local"].as_str().expect("a name");
    assert!(local.starts_with("[fe80::2%"), "{local}");
}

#[test]
fn s03_a_connection_s_numbers_are_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().unwrap();
    let ended = sockopt(&format!(
        "tcp://{address}?nodelay&congestion=reno&keepalive=30s"
    ))
    .run();
    ended.expect_code(0);
    let object = object(&ended);
    let socket = &object["sockets"][0];
    assert_eq!(row(&object, "nodelay")["granted"], true);
    assert_eq!(row(&object, "keepalive")["granted"], "30s");
    assert_eq!(socket["congestion"], "reno");
    let info = &socket["tcp_info"];
    assert!(
        info.is_object() || socket["tcp_info_missing"].is_string(),
        "{object}"
    );
    assert_eq!(info["state"], "established");
    assert_eq!(info["cwnd"], 10);
    assert_eq!(info["retransmits"], 0);
    assert_eq!(info["path_mtu"], socket["path_mtu"]);
    let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").expect("a number");
    let mtu: u64 = mtu.trim().parse().expect("a number");
    assert_eq!(socket["path_mtu"], mtu.min(65_535));

    let text = Packhorse::verb("sockopt")
        .arg(format!("tcp://{address}"))
        .run();
    text.expect_code(0);
    for word in [
        "local",
        "peer",
        "mss",
        "path mtu",
        "established",
        "cwnd",
        "retransmits",
    ] {
        assert!(
            text.stdout().iter().any(|line| line.contains(word)),
            "{word}"
        );
    }
}

#[test]
fn s03_nobody_there_is_the_network_s_fault_and_a_taken_port_is_ours() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("tcp://{}", holder.local_addr().unwrap());
    let ended = sockopt(&taken).arg("--listen").run();
    ended.expect_code(5).expect_says("in use");
    drop(holder);
    sockopt(&taken).run().expect_code(3).expect_says("refused");
    let nowhere = Path::new("/nowhere/x.sock").display();
    sockopt(&format!("unix:{nowhere}")).run().expect_code(3);
}
