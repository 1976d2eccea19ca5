//! What `sockopt` says to people.

use std::io;
use std::time::Duration;

use packhorse_endpoint::{Endpoint, Setting, TcpInfo, Verdict};

use super::{Secured, Shown, why};
use crate::ui::Ui;
use crate::units;

/// The width of what stands left of a value.
const LABEL: usize = 16;

pub(super) fn show(ui: &Ui, endpoint: &Endpoint, shown: &[Shown]) -> io::Result<()> {
    ui.data(endpoint)?;
    for one in shown {
        let mut lines = vec![labelled("local", &one.local)];
        lines.extend(one.peer.as_ref().map(|peer| labelled("peer", peer)));
        lines.extend(one.tls.iter().flat_map(tls));
        lines.extend(one.mss.map(|mss| labelled("mss", &in_bytes(mss))));
        lines.extend(one.path_mtu.map(|mtu| labelled("path mtu", &in_bytes(mtu))));
        lines.push(String::new());
        lines.extend(table(&one.settings));
        match &one.tcp {
            None => {}
            Some(Ok(info)) => {
                lines.push(String::new());
                lines.extend(tcp(info));
            }
            Some(Err(error)) => {
                lines.push(String::new());
                lines.push(labelled("tcp", &format!("nothing more: {}", why(error))));
            }
        }
        lines.iter().try_for_each(|line| ui.data(line.trim_end()))?;
    }
    Ok(())
}

fn labelled(label: &str, value: &str) -> String {
    format!("  {label:LABEL$}{value}")
}

fn in_bytes(count: u32) -> String {
    format!("{count} bytes")
}

fn tls(secured: &Secured) -> impl Iterator<Item = String> {
    let Secured {
        version,
        cipher,
        pin,
    } = secured;
    let version = version.as_ref().map(|version| match cipher {
        Some(cipher) => labelled("tls", &format!("{version}, {cipher}")),
        None => labelled("tls", version),
    });
    let pin = pin.as_ref().map(|pin| labelled("pin", pin));
    version.into_iter().chain(pin)
}

/// What was asked for against what was granted.
fn table(settings: &[Setting]) -> Vec<String> {
    let rows = settings.iter().map(|setting| {
        [
            setting.option.as_str(),
            setting.requested.as_deref().unwrap_or("-"),
            &setting.granted,
            told(setting),
        ]
    });
    let rows: Vec<_> = [["option", "requested", "granted", ""]]
        .into_iter()
        .chain(rows)
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0).max(LABEL - 2), width(1), width(2)];
    rows.iter()
        .map(|[option, requested, granted, verdict]| {
            let [first, second, third] = widths;
            format!("  {option:first$}  {requested:second$}  {granted:third$}  {verdict}")
        })
        .collect()
}

fn told(setting: &Setting) -> &'static str {
    match setting.verdict {
        Verdict::Default => "the default",
        Verdict::Granted => "as asked for",
        Verdict::Doubled => {
            "as asked for; the kernel keeps the other half for what goes with the data"
        }
        Verdict::Raised => "raised to the kernel's least",
        Verdict::Capped => "CAPPED",
        Verdict::Ignored => "IGNORED",
        Verdict::Refused => "REFUSED",
        Verdict::Ours => "seen to by packhorse",
    }
}

fn tcp(info: &TcpInfo) -> Vec<String> {
    let mut lines = vec![labelled("state", info.state.name())];
    let mut put = |label: &str, value: String| lines.push(labelled(label, &value));
    if info.state.name() == "listen" {
        put(
            "queue",
            format!(
                "{} waiting, {} at most",
                info.receive_queue, info.send_queue
            ),
        );
        return lines;
    }
    let least = info.min_rtt.map(|least| format!(", least {}", time(least)));
    put(
        "rtt",
        format!(
            "{} ± {}{}",
            time(info.rtt),
            time(info.rttvar),
            least.unwrap_or_default()
        ),
    );
    put("rto", time(info.rto));
    put(
        "cwnd",
        units::counted(info.cwnd.into(), "segment", "segments"),
    );
    let segments = |count: u32| units::counted(count.into(), "segment", "segments");
    put(
        "ssthresh",
        info.ssthresh.map_or("none yet".into(), segments),
    );
    put("retransmits", units::count(info.retransmits.into()));
    let sent = info.bytes_acked.map(units::count);
    let received = info.bytes_received.map(units::count);
    if let (Some(sent), Some(received)) = (sent, received) {
        put("bytes", format!("{sent} acknowledged, {received} received"));
    }
    put(
        "queues",
        format!(
            "{} bytes to be acknowledged, {} to be read",
            info.send_queue, info.receive_queue
        ),
    );
    if let Some(rate) = info.delivery_rate.filter(|&rate| rate > 0) {
        put("delivery rate", units::rate(rate));
    }
    lines
}

fn time(time: Duration) -> String {
    units::duration(time)
}

#[cfg(test)]
mod tests {
    use packhorse_endpoint::OptionName;

    use super::*;

    #[test]
    fn columns_line_up() {
        let setting = |option, requested: Option<&str>, granted: &str, verdict| Setting {
            option,
            requested: requested.map(Into::into),
            granted: granted.into(),
            verdict,
        };
        let rows = table(&[
            setting(OptionName::NoDelay, Some("on"), "on", Verdict::Granted),
            setting(OptionName::SndBuf, Some("1G"), "8388608", Verdict::Capped),
            setting(OptionName::Mark, None, "0", Verdict::Default),
        ]);
        let expected = [
            "  option          requested  granted  ",
            "  nodelay         on         on       as asked for",
            "  sndbuf          1G         8388608  CAPPED",
            "  mark            -          0        the default",
        ];
        assert_eq!(rows, expected);
    }
}
