//! What `sockopt --json` says to programs.

use std::io;
use std::time::Duration;

use packhorse_endpoint::{Setting, TcpInfo, Verdict};
use serde::Serialize;
use serde_json::Value;

use super::{Secured, Shown, why};
use crate::args::Sockopt;
use crate::json;

/// The version of the object.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Object<'a> {
    v: u32,
    endpoint: String,
    kind: &'static str,
    role: &'static str,
    sockets: Vec<SocketObject<'a>>,
}

#[derive(Serialize)]
struct SocketObject<'a> {
    local: &'a str,
    peer: Option<&'a str>,
    options: Vec<OptionObject<'a>>,
    mss: Option<u32>,
    path_mtu: Option<u32>,
    congestion: Option<&'a str>,
    tcp_info: Option<TcpObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_info_missing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsObject<'a>>,
}

#[derive(Serialize)]
struct OptionObject<'a> {
    option: &'static str,
    requested: Option<&'a str>,
    granted: Value,
    verdict: &'static str,
}

#[derive(Serialize)]
struct TlsObject<'a> {
    version: Option<&'a str>,
    cipher: Option<&'a str>,
    pin: Option<&'a str>,
}

/// Times are in microseconds, sizes in bytes, rates in bytes a second, windows in segments.
#[derive(Serialize)]
struct TcpObject {
    state: &'static str,
    rtt_us: u64,
    rttvar_us: u64,
    min_rtt_us: Option<u64>,
    rto_us: u64,
    cwnd: u32,
    ssthresh: Option<u32>,
    retransmits: u32,
    unacked: u32,
    lost: u32,
    mss: u32,
    receive_mss: u32,
    path_mtu: u32,
    send_queue: u32,
    receive_queue: u32,
    not_sent: Option<u32>,
    peer_window: Option<u32>,
    bytes_acked: Option<u64>,
    bytes_received: Option<u64>,
    bytes_sent: Option<u64>,
    bytes_retransmitted: Option<u64>,
    segments_sent: Option<u32>,
    segments_received: Option<u32>,
    delivery_rate: Option<u64>,
    pacing_rate: Option<u64>,
}

pub(super) fn text(args: &Sockopt, shown: &[Shown]) -> io::Result<String> {
    json::line(&Object {
        v: VERSION,
        endpoint: args.endpoint.to_string(),
        kind: args.endpoint.kind.scheme(),
        role: if args.listen { "listen" } else { "connect" },
        sockets: shown.iter().map(socket).collect(),
    })
}

fn socket(shown: &Shown) -> SocketObject<'_> {
    let (info, missing) = match &shown.tcp {
        None => (None, None),
        Some(Ok(info)) => (Some(tcp(info)), None),
        Some(Err(error)) => (None, Some(why(error))),
    };
    SocketObject {
        local: &shown.local,
        peer: shown.peer.as_deref(),
        options: shown.settings.iter().map(option).collect(),
        mss: shown.mss,
        path_mtu: shown.path_mtu,
        congestion: shown.congestion.as_deref(),
        tcp_info: info,
        tcp_info_missing: missing,
        tls: shown.tls.as_ref().map(tls),
    }
}

fn option(setting: &Setting) -> OptionObject<'_> {
    OptionObject {
        option: setting.option.as_str(),
        requested: setting.requested.as_deref(),
        granted: value(&setting.granted),
        verdict: match setting.verdict {
            Verdict::Default => "default",
            Verdict::Granted => "granted",
            Verdict::Doubled => "doubled",
            Verdict::Raised => "raised",
            Verdict::Capped => "capped",
            Verdict::Ignored => "ignored",
            Verdict::Refused => "refused",
            Verdict::Ours => "ours",
        },
    }
}

/// Numbers and switches as JSON has them.
fn value(text: &str) -> Value {
    match (text, text.parse::<u64>()) {
        ("on", _) => true.into(),
        ("off", _) => false.into(),
        (_, Ok(number)) => number.into(),
        (text, Err(_)) => text.into(),
    }
}

fn tls(secured: &Secured) -> TlsObject<'_> {
    TlsObject {
        version: secured.version.as_deref(),
        cipher: secured.cipher.as_deref(),
        pin: secured.pin.as_deref(),
    }
}

fn tcp(info: &TcpInfo) -> TcpObject {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    TcpObject {
        state: info.state.name(),
        rtt_us: micros(info.rtt),
        rttvar_us: micros(info.rttvar),
        min_rtt_us: info.min_rtt.map(micros),
        rto_us: micros(info.rto),
        cwnd: info.cwnd,
        ssthresh: info.ssthresh,
        retransmits: info.retransmits,
        unacked: info.unacked,
        lost: info.lost,
        mss: info.mss,
        receive_mss: info.receive_mss,
        path_mtu: info.path_mtu,
        send_queue: info.send_queue,
        receive_queue: info.receive_queue,
        not_sent: info.not_sent,
        peer_window: info.peer_window,
        bytes_acked: info.bytes_acked,
        bytes_received: info.bytes_received,
        bytes_sent: info.bytes_sent,
        bytes_retransmitted: info.bytes_retransmitted,
        segments_sent: info.segments_sent,
        segments_received: info.segments_received,
        delivery_rate: info.delivery_rate,
        pacing_rate: info.pacing_rate,
    }
}

#[cfg(test)]
mod tests {
    use packhorse_endpoint::TcpInfoError;

    use super::*;

    #[test]
    fn a_kernel_that_does_not_tell_about_sockets_is_no_failure() {
        let missing = TcpInfoError::Unavailable(io::ErrorKind::NotFound.into());
        let shown = Shown {
            local: "127.0.0.1:1".into(),
            peer: None,
            settings: Vec::new(),
            unmet: Vec::new(),
            mss: None,
            path_mtu: None,
            congestion: None,
            tcp: Some(Err(missing)),
            tls: None,
        };
        let json = serde_json::to_value(socket(&shown)).unwrap();
        assert_eq!(json["tcp_info"], Value::Null);
        let why = "this kernel does not tell about sockets (sock_diag): entity not found";
        assert_eq!(json["tcp_info_missing"], why);
    }
}
