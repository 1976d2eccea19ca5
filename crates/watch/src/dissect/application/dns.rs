//! DNS (RFC 1035), and mDNS (RFC 6762), which looks the same.

use super::{Carrier, Known, concluded};
use crate::dissect::layer::{Level, Value};
use crate::dissect::taker::{Taker, bits};

pub(super) const KNOWN: Known = Known {
    name: "DNS",
    level: Level::Application,
    begins,
    take,
};

/// Names that point back are followed so often: names have 127 labels at most (RFC 1035 §3.1).
const JUMPS: usize = 64;

/// Records that are shown of a message.
const RECORDS: u64 = 256;

fn begins(data: &[u8], carrier: Carrier) -> bool {
    let skip = if carrier == Carrier::Stream { 2 } else { 0 };
    data.len() >= skip + 12
}

fn take(taker: &mut Taker<'_>) -> Option<()> {
    let begin = taker.at();
    let message = taker.rest();
    taker.hex(2, "identifier", "id")?;
    let word = taker.hex(2, "flags", "flags")?;
    let field = taker.fields.last_mut()?;
    let flag = |name, key, bit: u64| bits(field, name, key, Value::Flag(word >> bit & 1 == 1));
    let mut code = bits(field, "response code", "rcode", Value::Number(word & 15));
    code.meaning = match word & 15 {
        0 => Some("no error".to_owned()),
        2 => Some("server failure".to_owned()),
        3 => Some("no such name".to_owned()),
        5 => Some("refused".to_owned()),
        _ => None,
    };
    field.parts = vec![
        flag("response", "response", 15),
        bits(field, "operation", "opcode", Value::Number(word >> 11 & 15)),
        flag("authoritative", "authoritative", 10),
        flag("truncated", "truncated", 9),
        flag("recursion desired", "recursion_desired", 8),
        flag("recursion available", "recursion_available", 7),
        code,
    ];
    let questions = taker.number(2, "questions", "questions")?;
    let answers = taker.number(2, "answers", "answers")?;
    let authorities = taker.number(2, "authorities", "authorities")?;
    let additional = taker.number(2, "additional records", "additional")?;
    for _ in 0..questions.min(RECORDS) {
        taker.group("question", "question", |taker| {
            name(taker, message, begin, "name", "name")?;
            taker.named(2, "type", "type", type_name)?;
            taker.named(2, "class", "class", class_name).map(|_| ())
        })?;
    }
    let sections = [
        (answers, "answer", "answer"),
        (authorities, "authority", "authority"),
        (additional, "additional record", "additional_record"),
    ];
    for (count, name, key) in sections {
        for _ in 0..count.min(RECORDS) {
            taker.group(name, key, |taker| record(taker, message, begin))?;
        }
    }
    Some(())
}

fn record(taker: &mut Taker<'_>, message: &[u8], begin: usize) -> Option<()> {
    name(taker, message, begin, "name", "name")?;
    let kind = taker.named(2, "type", "type", type_name)?;
    taker.named(2, "class", "class", class_name)?;
    taker.number(4, "time to live", "ttl")?;
    let len = usize::try_from(taker.number(2, "data length", "data_len")?).ok()?;
    let end = taker.at().checked_add(len)?;
    if taker.rest().len() < len {
        return None;
    }
    match (kind, len) {
        (1, 4) => taker.ipv4("address", "address").map(|_| ()),
        (28, 16) => taker.ipv6("address", "address").map(|_| ()),
        (2, _) => name(taker, message, begin, "name server", "target"),
        (5, _) => name(taker, message, begin, "canonical name", "target"),
        (12, _) => name(taker, message, begin, "pointer", "target"),
        (15, _) => {
            taker.number(2, "preference", "preference")?;
            name(taker, message, begin, "mail exchanger", "target")
        }
        (33, _) => {
            taker.number(2, "priority", "priority")?;
            taker.number(2, "weight", "weight")?;
            taker.number(2, "port", "port")?;
            name(taker, message, begin, "target", "target")
        }
        (6, _) => {
            name(taker, message, begin, "primary server", "primary")?;
            name(taker, message, begin, "mailbox", "mailbox")?;
            for (text, key) in [
                ("serial", "serial"),
                ("refresh", "refresh"),
                ("retry", "retry"),
                ("expire", "expire"),
                ("minimum", "minimum"),
            ] {
                taker.number(4, text, key)?;
            }
            Some(())
        }
        (16, _) => texts(taker, end),
        (_, 0) => Some(()),
        _ => taker.opaque(len, "data", "data").map(|_| ()),
    }?;
    // What a record says of its length counts.
    match end.checked_sub(taker.at()) {
        Some(0) => Some(()),
        Some(rest) => taker.opaque(rest, "rest", "rest").map(|_| ()),
        None => None,
    }
}

fn texts(taker: &mut Taker<'_>, end: usize) -> Option<()> {
    while taker.at() < end {
        let len = usize::try_from(taker.peek(0, 1)?).ok()?;
        taker.skip(1)?;
        taker.text(len, "text", "text")?;
    }
    Some(())
}

/// A name, which may go on at an earlier place in the message (RFC 1035 §4.1.4).
fn name(
    taker: &mut Taker<'_>,
    message: &[u8],
    begin: usize,
    what: &'static str,
    key: &'static str,
) -> Option<()> {
    let from = taker.at();
    let mut at = from.checked_sub(begin)?;
    let mut behind = None;
    let mut text = String::new();
    let mut jumps = 0;
    loop {
        let len = *message.get(at)?;
        match len >> 6 {
            0 if len == 0 => {
                at += 1;
                break;
            }
            0 => {
                let label = message.get(at + 1..at + 1 + usize::from(len))?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&String::from_utf8_lossy(label));
                at += 1 + usize::from(len);
            }
            3 => {
                let low = *message.get(at + 1)?;
                behind.get_or_insert(at + 2);
                at = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                jumps += 1;
                if jumps > JUMPS || text.len() > 1024 {
                    concluded(taker, "a name without an end", key, Value::Parts);
                    return None;
                }
            }
            _ => return None,
        }
    }
    let end = behind.unwrap_or(at);
    taker.skip(end.checked_sub(from - begin)?)?;
    let text = if text.is_empty() {
        "<root>".to_owned()
    } else {
        text
    };
    taker.push(from, what, key, Value::Text(text));
    Some(())
}

fn type_name(kind: u64) -> Option<String> {
    let name = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        41 => "OPT",
        43 => "DS",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        257 => "CAA",
        _ => return None,
    };
    Some(name.to_owned())
}

fn class_name(class: u64) -> Option<String> {
    (class & 0x7fff == 1).then(|| "IN".to_owned())
}
