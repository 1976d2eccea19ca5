//! Endpoints are opened, reached and closed, of every kind that this machine lets a test have.

use packhorse_endpoint::{
    Address, AsyncSocket, Bound, Connected, Endpoint, Fault, Io, OpenError, bind, connect,
};

fn endpoint(text: &str) -> Endpoint {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

async fn bound(text: &str) -> Bound {
    bind(&endpoint(text)).await.unwrap().remove(0)
}

fn plain(connected: &Connected) -> &AsyncSocket {
    match &connected.io {
        Io::Plain(socket) => socket,
        Io::Tls(_) => panic!("no TLS was asked for"),
    }
}

/// Connects, says something each way, and closes.
async fn exchange(listening: &Bound, to: &str) {
    let client = connect(&endpoint(to)).await.unwrap();
    let (accepted, _) = listening.socket.accept().await.unwrap();
    let server = AsyncSocket::new(accepted).unwrap();
    plain(&client).send(b"ping").await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(server.receive(&mut buffer).await.unwrap(), 4);
    server.send(b"pong!").await.unwrap();
    assert_eq!(plain(&client).receive(&mut buffer).await.unwrap(), 5);
    drop(client);
    assert_eq!(server.receive(&mut buffer).await.unwrap(), 0);
}

#[tokio::test]
async fn tcp_is_reached_by_address_and_by_name() {
    let listening = bound("tcp://127.0.0.1:0").await;
    let port = listening.local.inet().unwrap().port();
    exchange(&listening, &format!("tcp://127.0.0.1:{port}?nodelay")).await;
    // Where `localhost` is ::1 first, nobody answers there, and 127.0.0.1 is next.
    exchange(&listening, &format!("tcp://localhost:{port}")).await;
}

#[tokio::test]
async fn the_wildcard_takes_both_families() {
    let listening = bound("tcp://:0").await;
    let port = listening.local.inet().unwrap().port();
    exchange(&listening, &format!("tcp://127.0.0.1:{port}")).await;
    if listening.local.inet().unwrap().is_ipv6() {
        exchange(&listening, &format!("tcp://[::1]:{port}")).await;
    }
}

#[tokio::test]
async fn unix_streams_and_packets_are_reached_under_paths_and_abstract_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    for kind in ["unix", "seqpacket"] {
        let name = format!("{kind}:{}", path.display());
        let listening = bound(&name).await;
        exchange(&listening, &name).await;
        drop(listening);
        assert!(!path.exists(), "the file goes with the socket");
        let name = format!("{kind}:@packhorse-test-{}-{kind}", std::process::id());
        exchange(&bound(&name).await, &name).await;
    }
}

#[tokio::test]
async fn a_dead_socket_s_file_gives_way_and_a_live_one_s_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    let name = format!("unix:{}", path.display());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _live = bound(&name).await;
    let error = bind(&endpoint(&name)).await.unwrap_err();
    assert!(matches!(error, OpenError::Bind { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Local);
    let file = directory.path().join("file");
    std::fs::write(&file, "data").unwrap();
    assert!(
        bind(&endpoint(&format!("unix:{}", file.display())))
            .await
            .is_err()
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"data");
}

#[tokio::test]
async fn datagrams_are_answered_and_cut_ones_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let unix = format!("unixgram:{}", directory.path().join("x.sock").display());
    for name in ["udp://127.0.0.1:0", &unix] {
        let server = bound(name).await;
        let to = match server.local.inet() {
            Some(address) => format!("udp://{address}"),
            None => unix.clone(),
        };
        let client = connect(&endpoint(&to)).await.unwrap();
        plain(&client).send(b"question").await.unwrap();
        let mut small = [0; 5];
        let received = server.socket.receive_from(&mut small).await.unwrap();
        assert_eq!((received.length, received.whole), (5, 8));
        assert!(received.is_cut_short());
        plain(&client).send(b"").await.unwrap();
        let received = server.socket.receive_from(&mut small).await.unwrap();
        assert_eq!((received.length, received.whole), (0, 0));
        server.socket.send_to(b"yes", &received.from).await.unwrap();
        assert_eq!(plain(&client).receive(&mut small).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn what_the_kernel_does_not_have_is_named() {
    let error = connect(&endpoint("rdm://127.0.0.1:9")).await.unwrap_err();
    assert_eq!(error.to_string(), "this kernel has no SOCK_RDM for AF_INET");
    let error = bind(&endpoint("rdm://[::1]:9")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "this kernel has no SOCK_RDM for AF_INET6"
    );
    let error = bind(&endpoint("icmp://127.0.0.1")).await.unwrap_err();
    assert_eq!(error.to_string(), "icmp sockets cannot wait for peers");
}

#[tokio::test]
async fn nobody_there_says_so_for_each_address() {
    // Bound and not listening: nobody else can listen there meanwhile.
    let holder = packhorse_endpoint::Socket::new(
        packhorse_endpoint::Family::Ipv4,
        packhorse_endpoint::Type::Stream,
        0,
    )
    .unwrap();
    holder
        .bind(&Address::Inet("127.0.0.1:0".parse().unwrap()))
        .unwrap();
    let address = holder.local_name().unwrap();
    let error = connect(&endpoint(&format!("tcp://{address}")))
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::Network);
    assert!(error.to_string().contains("Connection refused"), "{error}");
    let error = connect(&endpoint("tcp://127.0.0.1:0")).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Usage);
    let error = connect(&endpoint("tcp://no-such-host.invalid:1"))
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::Network);
}

#[tokio::test]
async fn tls_trusts_the_pin_and_nobody_else() {
    let server = bound("tls://127.0.0.1:0").await;
    let port = server.local.inet().unwrap().port();
    let tls = server.tls.clone().unwrap();
    let pin = tls.pin();
    let serving = tokio::spawn(async move {
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            let (accepted, _) = server.socket.accept().await.unwrap();
            outcomes.push(Bound::establish(Some(&tls), accepted).await.is_ok());
        }
        outcomes
    });
    let good = connect(&endpoint(&format!("tls://127.0.0.1:{port}?pin={pin}"))).await;
    assert!(good.is_ok());
    let wrong = format!("sha256:{}", "0".repeat(64));
    for bad in [format!("?pin={wrong}"), String::new()] {
        let error = connect(&endpoint(&format!("tls://127.0.0.1:{port}{bad}")))
            .await
            .unwrap_err();
        let no_roots = matches!(
            error,
            OpenError::Tls(packhorse_endpoint::TlsError::NoRoots(_))
        );
        if no_roots {
            // A system without any authorities does not even try; the server still waits for somebody.
            drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
        }
        assert!(no_roots || error.fault() == Fault::Untrusted, "{error:?}");
    }
    assert_eq!(serving.await.unwrap(), [true, false, false]);
}
