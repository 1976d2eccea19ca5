//! TLS (RFC 8446, RFC 5246): records, and the handshake as far as it is in the clear.

use super::{Carrier, Known};
use crate::dissect::layer::Level;
use crate::dissect::taker::Taker;

pub(super) const KNOWN: Known = Known {
    name: "TLS",
    level: Level::Presentation,
    begins,
    take,
};

const HANDSHAKE: u64 = 22;
const ALERT: u64 = 21;

/// Bytes of a record at most (RFC 8446 §5.2: 2^14 and 256).
const LONGEST: u64 = (1 << 14) + 2048;

fn begins(data: &[u8], carrier: Carrier) -> bool {
    carrier == Carrier::Stream
        && matches!(data, [20..=24, 3, 0..=4, high, low, ..]
            if u64::from(u16::from_be_bytes([*high, *low])) <= LONGEST)
}

fn take(taker: &mut Taker<'_>) -> Option<()> {
    let mut ciphered = false;
    while taker.rest().len() >= 5 && begins(taker.rest(), Carrier::Stream) {
        let whole = taker.group("record", "record", |taker| {
            let kind = taker.named(1, "content type", "content_type", content_name)?;
            taker.named(2, "version", "version", version_name)?;
            let len = usize::try_from(taker.number(2, "length", "length")?).ok()?;
            let there = len.min(taker.rest().len());
            ciphered |= kind == 20;
            match kind {
                HANDSHAKE if !ciphered => handshakes(taker, there),
                ALERT if there == 2 => {
                    taker.named(1, "level", "alert_level", |level| {
                        let name = if level == 1 { "warning" } else { "fatal" };
                        Some(name.to_owned())
                    })?;
                    taker.named(1, "alert", "alert", alert_name)?;
                }
                _ if there > 0 => {
                    taker.opaque(there, "sealed", "sealed")?;
                }
                _ => {}
            }
            (there == len).then_some(())
        });
        whole?;
    }
    taker.rest().is_empty().then_some(())
}

/// Messages of a record. What cannot be read stays opaque: it may be sealed.
fn handshakes(taker: &mut Taker<'_>, len: usize) {
    let end = taker.at() + len;
    while taker.at() < end {
        let size = taker.peek(1, 3).and_then(|size| usize::try_from(size).ok());
        let kind = taker.peek(0, 1).unwrap_or(u64::MAX);
        let left = end - taker.at();
        let Some(size) =
            size.filter(|size| left >= 4 && handshake_name(kind).is_some() && *size <= 1 << 17)
        else {
            let _ = taker.opaque(left, "sealed", "sealed");
            return;
        };
        let there = size.min(left - 4);
        let message_end = taker.at() + 4 + there;
        let _ = taker.group("handshake", "handshake", |taker| {
            taker.named(1, "type", "handshake_type", handshake_name)?;
            taker.number(3, "length", "length")?;
            let read = match kind {
                1 => hello(taker, message_end, true),
                2 => hello(taker, message_end, false),
                _ => Some(()),
            };
            let rest = message_end.checked_sub(taker.at())?;
            if rest > 0 {
                taker.opaque(rest, "data", "data")?;
            }
            read
        });
        // Whatever was read, the next message is behind this.
        match message_end.checked_sub(taker.at()) {
            Some(rest) => drop(taker.skip(rest)),
            None => return,
        }
    }
}

fn hello(taker: &mut Taker<'_>, end: usize, is_client: bool) -> Option<()> {
    taker.named(2, "version", "hello_version", version_name)?;
    taker.opaque(32, "random", "random")?;
    let session = usize::try_from(taker.number(1, "session length", "session_len")?).ok()?;
    if session > 0 {
        taker.opaque(within(taker, end, session)?, "session", "session")?;
    }
    if is_client {
        let len = usize::try_from(taker.number(2, "cipher suites length", "ciphers_len")?).ok()?;
        within(taker, end, len)?;
        for _ in 0..len / 2 {
            taker.named(2, "cipher suite", "cipher", cipher_name)?;
        }
        let len =
            usize::try_from(taker.number(1, "compression length", "compression_len")?).ok()?;
        taker.opaque(within(taker, end, len)?, "compression", "compression")?;
    } else {
        taker.named(2, "cipher suite", "cipher", cipher_name)?;
        taker.number(1, "compression", "compression")?;
    }
    if taker.at() == end {
        return Some(());
    }
    let len = usize::try_from(taker.number(2, "extensions length", "extensions_len")?).ok()?;
    let end = taker.at() + within(taker, end, len)?;
    while taker.at() < end {
        taker.group("extension", "extension", |taker| {
            extension(taker, end, is_client)
        })?;
    }
    Some(())
}

/// `len`, where there is so much before `end`.
fn within(taker: &Taker<'_>, end: usize, len: usize) -> Option<usize> {
    (len <= end.checked_sub(taker.at())?).then_some(len)
}

fn extension(taker: &mut Taker<'_>, end: usize, is_client: bool) -> Option<()> {
    let kind = taker.named(2, "type", "extension_type", extension_name)?;
    let len = usize::try_from(taker.number(2, "length", "length")?).ok()?;
    let end = taker.at() + within(taker, end, len)?;
    match kind {
        0 if len > 5 => {
            taker.skip(3)?;
            let len = usize::try_from(taker.number(2, "name length", "name_len")?).ok()?;
            taker.text(within(taker, end, len)?, "server name", "server_name")?;
        }
        16 if len > 2 => {
            taker.skip(2)?;
            while taker.at() < end {
                let len = usize::try_from(taker.peek(0, 1)?).ok()?;
                taker.skip(1)?;
                taker.text(within(taker, end, len)?, "protocol", "alpn")?;
            }
        }
        43 => {
            if is_client {
                taker.skip(1)?;
            }
            while taker.at() < end {
                taker.named(2, "version", "supported_version", version_name)?;
            }
        }
        10 if len > 2 => {
            taker.skip(2)?;
            while taker.at() < end {
                taker.named(2, "group", "group", group_name)?;
            }
        }
        51 => {
            if is_client {
                taker.skip(2)?;
            }
            while taker.at() < end {
                taker.named(2, "group", "key_share_group", group_name)?;
                let len = usize::try_from(taker.number(2, "key length", "key_len")?).ok()?;
                taker.opaque(within(taker, end, len)?, "key", "key")?;
            }
        }
        _ if len > 0 => {
            taker.opaque(len, "data", "data")?;
        }
        _ => {}
    }
    let rest = end.checked_sub(taker.at())?;
    taker.skip(rest).map(|_| ())
}

fn content_name(kind: u64) -> Option<String> {
    let name = match kind {
        20 => "change cipher spec",
        ALERT => "alert",
        HANDSHAKE => "handshake",
        23 => "application data",
        24 => "heartbeat",
        _ => return None,
    };
    Some(name.to_owned())
}

fn version_name(version: u64) -> Option<String> {
    let name = match version {
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        _ => return None,
    };
    Some(name.to_owned())
}

fn handshake_name(kind: u64) -> Option<String> {
    let name = match kind {
        0 => "hello request",
        1 => "client hello",
        2 => "server hello",
        4 => "new session ticket",
        8 => "encrypted extensions",
        11 => "certificate",
        12 => "server key exchange",
        13 => "certificate request",
        14 => "server hello done",
        15 => "certificate verify",
        16 => "client key exchange",
        20 => "finished",
        _ => return None,
    };
    Some(name.to_owned())
}

fn cipher_name(suite: u64) -> Option<String> {
    let name = match suite {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        0x00ff => "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
        _ => return None,
    };
    Some(name.to_owned())
}

fn extension_name(kind: u64) -> Option<String> {
    let name = match kind {
        0 => "server name",
        5 => "status request",
        10 => "supported groups",
        11 => "point formats",
        13 => "signature algorithms",
        16 => "application protocols",
        19 => "client certificate type",
        20 => "server certificate type",
        21 => "padding",
        23 => "extended master secret",
        35 => "session ticket",
        41 => "pre-shared key",
        42 => "early data",
        43 => "supported versions",
        44 => "cookie",
        45 => "key exchange modes",
        51 => "key shares",
        0xff01 => "renegotiation",
        _ => return None,
    };
    Some(name.to_owned())
}

fn group_name(group: u64) -> Option<String> {
    let name = match group {
        0x0017 => "secp256r1",
        0x0018 => "secp384r1",
        0x0019 => "secp521r1",
        0x001d => "x25519",
        0x001e => "x448",
        0x11ec => "X25519MLKEM768",
        _ => return None,
    };
    Some(name.to_owned())
}

fn alert_name(alert: u64) -> Option<String> {
    let name = match alert {
        0 => "close notify",
        10 => "unexpected message",
        20 => "bad record",
        40 => "handshake failure",
        42 => "bad certificate",
        45 => "certificate expired",
        48 => "unknown authority",
        50 => "decode error",
        51 => "decrypt error",
        70 => "protocol version",
        80 => "internal error",
        112 => "unrecognized name",
        116 => "certificate required",
        120 => "no application protocol",
        _ => return None,
    };
    Some(name.to_owned())
}
