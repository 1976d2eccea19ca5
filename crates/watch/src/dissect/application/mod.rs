//! What applications say: named by port and by content, and taken apart where it is understood.

mod classic;
mod dns;
mod http;
mod packhorse;
mod tls;

use super::layer::{Field, Value};
use super::taker::Taker;
use super::{Dissector, Level};

/// What carries a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Stream,
    Datagram,
}

/// The service of a port (<https://www.iana.org/assignments/service-names-port-numbers>), and packhorse's own.
pub(super) fn port_name(port: u16, carrier: Carrier) -> Option<&'static str> {
    Some(match port {
        7225 | 9999 if carrier == Carrier::Datagram => return None,
        7 => "echo",
        9 => "discard",
        20 => "ftp-data",
        21 => "ftp",
        22 => "ssh",
        23 => "telnet",
        25 => "smtp",
        53 => "dns",
        67 => "dhcp server",
        68 => "dhcp client",
        69 => "tftp",
        80 => "http",
        110 => "pop3",
        123 => "ntp",
        143 => "imap",
        161 => "snmp",
        179 => "bgp",
        389 => "ldap",
        443 => "https",
        445 => "smb",
        465 => "smtps",
        514 => "syslog",
        587 => "submission",
        853 => "dns over tls",
        873 => "rsync",
        993 => "imaps",
        995 => "pop3s",
        1900 => "ssdp",
        2049 => "nfs",
        3306 => "mysql",
        3389 => "rdp",
        5353 => "mdns",
        5432 => "postgresql",
        6379 => "redis",
        7225 => "packhorse",
        8080 => "http",
        9999 => "classic size",
        _ => return None,
    })
}

/// A protocol that is known by how its messages begin.
#[derive(Debug, Clone, Copy)]
struct Known {
    name: &'static str,
    level: Level,
    /// Whether a message begins so.
    begins: fn(&[u8], Carrier) -> bool,
    /// Takes the message apart; `None`: it ends too early.
    take: fn(&mut Taker<'_>) -> Option<()>,
}

const KNOWN: [Known; 5] = [
    packhorse::KNOWN,
    tls::KNOWN,
    http::KNOWN,
    classic::KNOWN,
    dns::KNOWN,
];

/// The message of a segment or datagram, `at..end`.
pub(super) fn dissect(
    dissector: &mut Dissector<'_>,
    at: usize,
    end: usize,
    carrier: Carrier,
    ports: [u16; 2],
) {
    let data = dissector.data.get(at..end).unwrap_or_default();
    // The server's port is the one that is known; of two the smaller.
    let [source, destination] = ports;
    let (near, far) = (source.min(destination), source.max(destination));
    let by_port = port_name(near, carrier).or_else(|| port_name(far, carrier));
    let on_port = |known: &&Known| match known.name {
        // Nothing in DNS looks like nothing else: the port must say it as well.
        "DNS" => ports.iter().any(|port| matches!(port, 53 | 5353)),
        _ => true,
    };
    let by_content = KNOWN
        .iter()
        .find(|known| on_port(known) && (known.begins)(data, carrier));
    let mut taker = dissector.taker(at..end);
    if by_content.is_some_and(|known| known.name == "DNS") && carrier == Carrier::Stream {
        // RFC 1035 §4.2.2.
        taker.number(2, "length", "length");
    }
    let mut notes = Vec::new();
    let Some(known) = by_content else {
        let name = by_port.unwrap_or("data");
        let how = match by_port {
            Some(name) => format!("{name} by its port; its content is not taken apart"),
            None => "neither the ports nor the content tell what it is".to_owned(),
        };
        notes.push(how);
        dissector.add(name, Level::Application, taker, end, notes);
        return;
    };
    let how = match by_port {
        Some(port) => format!("{} by its content; its port is that of {port}", known.name),
        None => format!("{} by its content", known.name),
    };
    notes.push(how);
    if (known.take)(&mut taker).is_none() {
        notes.push("it goes on behind this segment, or is cut".to_owned());
    }
    dissector.add(known.name, known.level, taker, end, notes);
}

/// Text up to a line's end, with CR LF or LF taken off it: its length, and that with the end.
fn line(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let len = if end > 0 && bytes[end - 1] == b'\r' {
        end - 1
    } else {
        end
    };
    Some((len, end + 1))
}

/// A field that has no bytes of its own: what was concluded.
fn concluded(taker: &mut Taker<'_>, name: &'static str, key: &'static str, value: Value) {
    let at = taker.at();
    taker.fields.push(Field {
        name,
        key,
        value,
        meaning: None,
        bytes: at..at,
        parts: Vec::new(),
    });
}
