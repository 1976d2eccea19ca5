//! TLS against openssl and CPython, with certificates that openssl made.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use packhorse_endpoint::{Bound, Connected, Endpoint, Fault, Io, OpenError, Tls, bind, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A folder with an authority and what it signed for `localhost`.
struct Authority(tempfile::TempDir);

impl Authority {
    /// `None` where there is no openssl.
    fn new() -> Option<Self> {
        Command::new("openssl").arg("version").output().ok()?;
        let this = Self(tempfile::tempdir().unwrap());
        this.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem \
             -subj /CN=authority -days 2 -addext basicConstraints=critical,CA:TRUE",
        );
        this.openssl("genrsa -traditional -out pkcs1.key 2048");
        this.openssl("pkcs8 -topk8 -nocrypt -in pkcs1.key -out rsa8.key");
        this.openssl("ecparam -name prime256v1 -genkey -out sec1.key");
        this.openssl("pkcs8 -topk8 -nocrypt -in sec1.key -out ec8.key");
        std::fs::write(this.path("names"), "subjectAltName=DNS:localhost").unwrap();
        for key in KEYS {
            this.openssl(&format!(
                "req -new -key {key}.key -subj /CN=server -out {key}.csr"
            ));
            this.openssl(&format!(
                "x509 -req -in {key}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                 -extfile names -out {key}.pem"
            ));
        }
        Some(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let run = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{arguments}: {said}");
    }

    fn server(&self, key: &str) -> String {
        let cert = self.path(&format!("{key}.pem"));
        let key = self.path(&format!("{key}.key"));
        format!(
            "tls://127.0.0.1:0?cert={}&key={}",
            cert.display(),
            key.display()
        )
    }
}

/// RSA and EC, each as PKCS#8 and in the form of its own.
const KEYS: [&str; 4] = ["pkcs1", "rsa8", "sec1", "ec8"];

/// Ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }
}

async fn listening(text: &str) -> (Bound, u16) {
    let endpoint: Endpoint = text.parse().unwrap();
    let bound = bind(&endpoint).await.unwrap().remove(0);
    let port = bound.local.inet().unwrap().port();
    (bound, port)
}

async fn accepted(server: &Bound) -> Box<Tls> {
    let (socket, _) = server.socket.accept().await.unwrap();
    match Bound::establish(server.tls.as_ref(), socket).await.unwrap() {
        Io::Tls(tls) => tls,
        Io::Plain(_) => panic!("TLS was asked for"),
    }
}

fn secured(connected: Connected) -> Box<Tls> {
    match connected.io {
        Io::Tls(tls) => tls,
        Io::Plain(_) => panic!("TLS was asked for"),
    }
}

async fn reached(text: &str) -> Result<Connected, OpenError> {
    connect(&text.parse::<Endpoint>().unwrap()).await
}

/// Reads one greeting, answers, and closes in order; the other side must see an end and no break.
async fn serve_one(server: &Bound) {
    let mut tls = accepted(server).await;
    let mut greeting = [0; 5];
    tls.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"hello");
    tls.write_all(b"welcome").await.unwrap();
    tls.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).await.unwrap();
}

const PYTHON_CLIENT: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
with socket.create_connection(('127.0.0.1', int(sys.argv[2]))) as plain:
    with context.wrap_socket(plain, server_hostname='localhost', suppress_ragged_eofs=False) as tls:
        tls.sendall(b'hello')
        got = b''
        while piece := tls.recv(100):
            got += piece
        tls.unwrap()
        sys.stdout.write(got.decode())
";

#[tokio::test]
async fn every_form_of_key_serves_openssl_and_python() {
    let Some(authority) = Authority::new() else {
        return;
    };
    let ca = authority.path("ca.pem");
    for key in KEYS {
        let (server, port) = listening(&authority.server(key)).await;
        let serving = async {
            serve_one(&server).await;
            serve_one(&server).await;
        };
        let ca = ca.clone();
        let clients = tokio::task::spawn_blocking(move || {
            let mut openssl = Program::start(
                Command::new("openssl")
                    .args(["s_client", "-quiet", "-verify_return_error", "-CAfile"])
                    .arg(&ca)
                    .args(["-verify_hostname", "localhost", "-connect"])
                    .arg(format!("127.0.0.1:{port}")),
            );
            // Its standard input stays open: at its end openssl hangs up.
            let mut stdin = openssl.0.stdin.take().unwrap();
            stdin.write_all(b"hello").unwrap();
            let mut said = String::new();
            openssl.stdout().read_to_string(&mut said).unwrap();
            assert_eq!(said, "welcome", "openssl");
            drop(stdin);
            let mut python = Program::start(
                Command::new("python3")
                    .args(["-c", PYTHON_CLIENT])
                    .arg(&ca)
                    .arg(port.to_string()),
            );
            let mut said = String::new();
            python.stdout().read_to_string(&mut said).unwrap();
            assert_eq!(said, "welcome", "python");
            assert!(python.0.wait().unwrap().success());
        });
        let ((), clients) = tokio::join!(serving, clients);
        clients.unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

const PYTHON_SERVER: &str = "
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listening = socket.create_server(('127.0.0.1', 0))
print(listening.getsockname()[1], flush=True)
while True:
    plain, _ = listening.accept()
    try:
        with context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as tls:
            got = b''
            while piece := tls.recv(100):
                got += piece
            tls.sendall(got.upper())
            tls.unwrap()
    except (ssl.SSLError, OSError) as error:
        pass
";

fn python_server(authority: &Authority) -> (Program, u16) {
    let mut server = Program::start(
        Command::new("python3")
            .args(["-c", PYTHON_SERVER])
            .args([authority.path("ec8.pem"), authority.path("ec8.key")]),
    );
    let mut line = String::new();
    let stdout = server.stdout();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    (server, line.trim().parse().unwrap())
}

/// Says something, ends its own direction, and reads to the end.
async fn asked(mut tls: Box<Tls>) -> std::io::Result<Vec<u8>> {
    tls.write_all(b"question").await?;
    tls.shutdown().await?;
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn authorities_and_pins_are_trusted_and_names_are_checked() {
    let Some(authority) = Authority::new() else {
        return;
    };
    let ca = authority.path("ca.pem");
    let ca = ca.display();
    let (_server, port) = python_server(&authority);
    let good = reached(&format!("tls://localhost:{port}?ca={ca}"))
        .await
        .unwrap();
    assert_eq!(asked(secured(good)).await.unwrap(), b"QUESTION");

    // The certificate is for localhost, not for its address.
    let wrong_name = format!("tls://127.0.0.1:{port}?ca={ca}");
    // The key's own hash, as openssl has it.
    let pin = pin_by_openssl(&authority.path("ec8.pem"));
    let pinned = reached(&format!("tls://127.0.0.1:{port}?pin={pin}"))
        .await
        .unwrap();
    assert_eq!(asked(secured(pinned)).await.unwrap(), b"QUESTION");

    let wrong_pin = format!("tls://localhost:{port}?pin=sha256:{}", "0".repeat(64));
    let other = Authority::new().unwrap();
    let wrong_ca = format!(
        "tls://localhost:{port}?ca={}",
        other.path("ca.pem").display()
    );
    for (bad, said) in [
        (wrong_name, "not valid for name"),
        (wrong_pin, &*format!("its pin is {pin}")),
        (wrong_ca, "invalid peer certificate"),
    ] {
        let error = reached(&bad).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Untrusted, "{bad}: {error:?}");
        assert!(
            error.advice().unwrap().contains("?pin=sha256:"),
            "{error:?}"
        );
        assert!(chain(&error).contains(said), "{}", chain(&error));
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn pin_by_openssl(certificate: &Path) -> String {
    let script =
        "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum";
    let run = Command::new("sh")
        .args(["-c", script])
        .arg(certificate)
        .output();
    let said = String::from_utf8(run.unwrap().stdout).unwrap();
    format!("sha256:{}", &said[..64])
}

#[tokio::test]
async fn openssl_serves() {
    let Some(authority) = Authority::new() else {
        return;
    };
    // s_server takes no port 0: one that was free a moment ago.
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let mut server = Program::start(
            Command::new("openssl")
                .args(["s_server", "-rev", version, "-accept"])
                .arg(format!("127.0.0.1:{port}"))
                .arg("-cert")
                .arg(authority.path("pkcs1.pem"))
                .arg("-key")
                .arg(authority.path("pkcs1.key")),
        );
        // It says ACCEPT once it listens.
        let mut stdout = server.stdout();
        let mut said = Vec::new();
        while !said.ends_with(b"ACCEPT\n") {
            let mut byte = [0];
            assert_eq!(stdout.read(&mut byte).unwrap(), 1);
            said.push(byte[0]);
        }
        let ca = authority.path("ca.pem");
        let text = format!("tls://localhost:{port}?ca={}", ca.display());
        let mut tls = secured(reached(&text).await.unwrap());
        tls.write_all(b"abc\n").await.unwrap();
        let mut answer = [0; 4];
        tls.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"cba\n", "{version}");
        drop(tls);
        drop(server);
    }
}

/// An end without close_notify may be an attacker's: it is an error, not an end.
#[tokio::test]
async fn an_end_without_close_notify_is_a_break() {
    let (server, port) = listening("tls://127.0.0.1:0").await;
    let pin = server.tls.as_ref().unwrap().pin();
    let text = format!("tls://127.0.0.1:{port}?pin={pin}");
    for orderly in [true, false] {
        let (client, mut tls) = tokio::join!(reached(&text), accepted(&server));
        let mut client = secured(client.unwrap());
        tls.write_all(b"all of it").await.unwrap();
        tls.flush().await.unwrap();
        match orderly {
            true => tls.shutdown().await.unwrap(),
            false => drop(tls),
        }
        let mut got = Vec::new();
        let end = client.read_to_end(&mut got).await;
        assert_eq!((got.as_slice(), end.is_ok()), (&b"all of it"[..], orderly));
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_not_called_an_impostor() {
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut socket, _) = plain.accept().unwrap();
        socket.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let pin = "0".repeat(64);
    let error = reached(&format!("tls://127.0.0.1:{port}?pin=sha256:{pin}"))
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::Network, "{error:?}");
    assert_eq!(
        error.advice().unwrap(),
        "see whether the other side speaks TLS"
    );
}

#[tokio::test]
async fn files_that_are_no_good_are_named() {
    let Some(authority) = Authority::new() else {
        return;
    };
    let (pem, key) = (authority.path("ec8.pem"), authority.path("rsa8.key"));
    let (pem, key) = (pem.display(), key.display());
    for (query, said, fault) in [
        (format!("cert={pem}"), "belong together", Fault::Usage),
        (format!("cert={pem}&key={key}"), "no good", Fault::Local),
        (
            format!("cert={key}&key={key}"),
            "no certificate",
            Fault::Local,
        ),
        (
            format!("cert={pem}&key={pem}"),
            "a private key",
            Fault::Local,
        ),
        (format!("cert=/nowhere&key={key}"), "/nowhere", Fault::Local),
    ] {
        let endpoint: Endpoint = format!("tls://127.0.0.1:0?{query}").parse().unwrap();
        let error = bind(&endpoint).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.fault(), fault, "{error}");
    }
}
