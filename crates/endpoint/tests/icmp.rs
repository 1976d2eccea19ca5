//! Echo requests over both kinds of socket that carry them. Opening either takes a privilege.

use std::process::Command;

use packhorse_endpoint::{Connected, Endpoint, Io, OpenError, Type, connect};

async fn open(text: &str) -> Result<Connected, OpenError> {
    connect(&text.parse::<Endpoint>().unwrap()).await
}

/// Sends messages to this machine, and finds each in its reply. Gives the socket's type.
async fn echoes(text: &str) -> Result<Type, OpenError> {
    let Connected { io, echo, .. } = open(text).await?;
    let Io::Plain(socket) = io else {
        panic!("no TLS was asked for")
    };
    let mut echo = echo.unwrap();
    for message in [&b"hello"[..], b"", &[0xa5; 4000], b"odd"] {
        socket.send(&echo.request(message)).await.unwrap();
        let mut packet = vec![0; 65_536];
        loop {
            let length = socket.receive(&mut packet).await.unwrap();
            // Over loopback a raw socket sees the requests as well.
            if let Some(data) = echo.reply(&packet[..length]) {
                assert_eq!(data, message);
                assert_eq!(
                    echo.reply_sequence(&packet[..length]),
                    Some(echo.sequence())
                );
                break;
            }
        }
    }
    Ok(socket.socket().kind())
}

#[tokio::test]
async fn messages_come_back() {
    for text in ["icmp://127.0.0.1", "icmp://[::1]"] {
        match echoes(text).await {
            Ok(kind) => assert!(matches!(kind, Type::Raw | Type::Datagram)),
            Err(error) => {
                assert!(matches!(error, OpenError::Denied { .. }), "{error}");
                assert!(!rustix::process::geteuid().is_root(), "{error}");
            }
        }
    }
}

/// Two sockets to the same machine: each takes its own replies.
#[tokio::test]
async fn replies_to_others_are_passed_over() {
    let (one, two) = tokio::join!(echoes("icmp://127.0.0.1"), echoes("icmp://127.0.0.1"));
    assert_eq!(one.is_ok(), two.is_ok());
}

/// Run by the test below, in a network namespace where every group may ping.
#[tokio::test]
#[ignore = "runs in a namespace that another test makes"]
async fn in_a_namespace_where_all_may_ping() {
    for text in ["icmp://127.0.0.1", "icmp://[::1]"] {
        assert_eq!(echoes(text).await.unwrap(), Type::Datagram);
    }
}

#[tokio::test]
async fn ping_sockets_are_used_where_they_are_allowed() {
    let this = std::env::current_exe().unwrap();
    let script =
        "ip link set lo up && sysctl -qw net.ipv4.ping_group_range='0 2147483647' || exit 77
        exec \"$0\" --exact in_a_namespace_where_all_may_ping --ignored";
    let run = Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .arg(&this)
        .output();
    let Ok(run) = run else { return };
    let said = String::from_utf8_lossy(&run.stdout);
    let no_namespace = !run.status.success() && said.is_empty();
    assert!(
        no_namespace || (run.status.success() && said.contains("1 passed")),
        "{said}"
    );
}
