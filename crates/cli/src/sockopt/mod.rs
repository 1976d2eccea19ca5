//! `packhorse sockopt`.

mod json;
mod text;

use packhorse_endpoint::{
    Address, ApplyError, Bound, Connected, Endpoint, Io, Kind, OpenError, OptionName, Setting,
    Socket, TcpInfo, TcpInfoError, TcpInfoReader, bind_anyway, connect_anyway,
};

use crate::args::Sockopt;
use crate::report::{Exit, Failure, after_data, chain};
use crate::runtime;
use crate::ui::Ui;

/// What there is to tell about one socket.
struct Shown {
    local: String,
    peer: Option<String>,
    settings: Vec<Setting>,
    /// Options that are not in force, and what to do about each.
    unmet: Vec<(OptionName, String)>,
    /// Bytes in a TCP segment.
    mss: Option<u32>,
    /// Bytes in a packet on the way to the peer.
    path_mtu: Option<u32>,
    /// Congestion control.
    congestion: Option<String>,
    /// For TCP, what the kernel knows of it.
    tcp: Option<Result<TcpInfo, TcpInfoError>>,
    tls: Option<Secured>,
}

/// What there is to tell about TLS.
#[derive(Default)]
struct Secured {
    version: Option<String>,
    cipher: Option<String>,
    /// The pin of the server that waits here.
    pin: Option<String>,
}

pub(crate) fn run(ui: &Ui, args: &Sockopt) -> Result<Exit, Failure> {
    let shown = runtime::until_interrupted(look(&args.endpoint, args.listen))??;
    let met = |shown: &Shown| shown.settings.iter().all(|s| s.verdict.is_good());
    let exit = match shown.iter().all(met) {
        true => Exit::Done,
        false => Exit::SomeFailed,
    };
    let written = match args.json {
        true => json::text(args, &shown).and_then(|line| ui.data(line)),
        false => text::show(ui, &args.endpoint, &shown),
    };
    for (option, advice) in shown.iter().flat_map(|one| &one.unmet) {
        ui.warn(format_args!("'{option}' is not in force; try: {advice}"));
    }
    after_data(written, exit)
}

async fn look(endpoint: &Endpoint, listen: bool) -> Result<Vec<Shown>, OpenError> {
    if listen {
        let bound = bind_anyway(endpoint).await?;
        return Ok(bound.iter().map(|one| waiting(one, endpoint)).collect());
    }
    let connected = connect_anyway(endpoint).await?;
    Ok(vec![reaching(&connected, endpoint)])
}

fn waiting(bound: &Bound, endpoint: &Endpoint) -> Shown {
    let socket = bound.socket.socket();
    Shown {
        tls: bound.tls.as_ref().map(|server| Secured {
            pin: Some(server.pin().to_string()),
            ..Secured::default()
        }),
        ..plain(
            socket,
            &bound.local,
            bound.settings(endpoint),
            &bound.unmet,
            endpoint.kind,
        )
    }
}

fn reaching(connected: &Connected, endpoint: &Endpoint) -> Shown {
    let socket = connected.io.socket();
    Shown {
        peer: Some(name(&connected.peer, endpoint.kind)),
        mss: socket
            .segment_size()
            .ok()
            .filter(|_| endpoint.kind.is_tcp()),
        tls: match &connected.io {
            Io::Plain(_) => None,
            Io::Tls(tls) => {
                let session = tls.get_ref().1;
                Some(Secured {
                    version: session
                        .protocol_version()
                        .and_then(|v| v.as_str())
                        .map(Into::into),
                    cipher: session
                        .negotiated_cipher_suite()
                        .and_then(|suite| suite.suite().as_str())
                        .map(Into::into),
                    pin: None,
                })
            }
        },
        ..plain(
            socket,
            &connected.local,
            connected.settings(endpoint),
            &connected.unmet,
            endpoint.kind,
        )
    }
}

/// What both sides have.
fn plain(
    socket: &Socket,
    local: &Address,
    settings: Vec<Setting>,
    unmet: &[ApplyError],
    kind: Kind,
) -> Shown {
    let congestion = settings
        .iter()
        .find(|setting| setting.option.as_str() == "congestion")
        .map(|setting| setting.granted.clone());
    Shown {
        local: name(local, kind),
        peer: None,
        congestion,
        settings,
        unmet: unmet.iter().map(|e| (e.option(), e.advice())).collect(),
        mss: None,
        path_mtu: socket.path_mtu().ok(),
        tcp: kind
            .is_tcp()
            .then(|| TcpInfoReader::new(socket).and_then(|mut reader| reader.read())),
        tls: None,
    }
}

/// Without the port, where the kind has none.
fn name(address: &Address, kind: Kind) -> String {
    match address.inet() {
        Some(inet) if !kind.has_port() => inet.ip().to_string(),
        _ => address.to_string(),
    }
}

fn why(error: &TcpInfoError) -> String {
    chain(error)
}
