use std::time::Duration;

use packhorse_proto::entry::{Entry, Kind, LinkTarget, Metadata, Mode, Timestamp};
use packhorse_proto::extent::Hash;
use packhorse_proto::message::Assurance;
use packhorse_proto::path::RelativePath;

use super::fields::{hex, parse_hex, parse_timestamp, timestamp_text};
use super::*;
use crate::receipt::{Receipt, StageTimes};

type Listed = Vec<(Entry, Option<Hash>)>;

fn entry(path: &[u8], kind: Kind, seconds: i64, nanoseconds: u32) -> Entry {
    Entry {
        path: RelativePath::parse(path).unwrap(),
        kind,
        metadata: Metadata {
            mode: Mode::from_st_mode(0o640),
            modified: Timestamp::new(seconds, nanoseconds).unwrap(),
            change: None,
        },
    }
}

fn entries() -> Listed {
    let link = |target: &[u8]| Kind::Symlink {
        target: LinkTarget::new(target).unwrap(),
    };
    vec![
        (entry(b"d", Kind::Directory, 1_700_000_000, 1), None),
        (
            entry(b"d/\xff\n\"", Kind::File { size: Some(7) }, -1, 500_000_000),
            Some([0xab; 32]),
        ),
        (entry("d/é".as_bytes(), link(b"a\xfe"), i64::MIN, 1), None),
        (entry(b"e", link(b"../x"), i64::MAX, 999_999_999), None),
    ]
}

fn receipt() -> Receipt {
    let times = |n| StageTimes {
        read: Duration::from_nanos(n),
        hash: Duration::from_millis(3),
        network: Duration::from_secs(86_399),
        ..StageTimes::default()
    };
    Receipt {
        files: 1,
        directories: 1,
        symlinks: 2,
        bytes: 7,
        kept: 3,
        failed: 4,
        root: [0x5c; 32],
        elapsed: Duration::new(12, 345_678_901),
        resumed: 0,
        assurance: Assurance::default(),
        lanes: 3,
        network: None,
        sender: times(1),
        receiver: times(987_654_321),
    }
}

fn written() -> String {
    let mut writer = ReceiptWriter::new(Vec::new()).unwrap();
    for (entry, hash) in entries() {
        writer.entry(&entry, hash.as_ref()).unwrap();
    }
    String::from_utf8(writer.finish(&receipt()).unwrap()).unwrap()
}

fn read_text(text: &str) -> Result<(Listed, Receipt), ReceiptFileError> {
    let mut listed = Vec::new();
    let receipt = read(text.as_bytes(), &mut |entry, hash| {
        listed.push((entry, hash));
    })?;
    Ok((listed, receipt))
}

fn damage(text: &str) -> String {
    match read_text(text) {
        Err(ReceiptFileError::Damaged(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_what_it_writes_to_the_nanosecond_and_the_byte() {
    assert_eq!(read_text(&written()).unwrap(), (entries(), receipt()));
}

#[test]
fn an_entry_is_a_line_and_the_whole_is_json() {
    let text = written();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1],
        r#"{"path":"d","kind":"directory","mode":"0640","modified":"1700000000.000000001"},"#
    );
    assert!(lines[2].starts_with(r#"{"path_base64":"ZC//CiI=","kind":"file""#));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["entries"].as_array().unwrap().len(), 4);
    assert_eq!(value["v"], 1);
    let empty = ReceiptWriter::new(Vec::new())
        .unwrap()
        .finish(&receipt())
        .unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&empty).is_ok());
}

#[test]
fn a_receipt_sorted_or_extended_by_a_tool_is_still_one() {
    let mut value: serde_json::Value = serde_json::from_str(&written()).unwrap();
    value["entries"][0]["later"] = serde_json::json!({"a": [1, {"b": null}]});
    value["later"] = serde_json::json!(["x"]);
    let sorted = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(read_text(&sorted).unwrap(), (entries(), receipt()));
}

#[test]
fn every_cut_is_noticed() {
    let text = written();
    for end in 0..text.len() - 2 {
        if let Some(part) = text.get(..end) {
            let error = read_text(part).unwrap_err();
            assert!(
                matches!(error, ReceiptFileError::CutShort),
                "{end}: {error}"
            );
        }
    }
}

#[test]
fn refuses_a_newer_version_and_other_documents() {
    let text = written().replacen(r#""v":1"#, r#""v":2"#, 1);
    assert!(matches!(read_text(&text), Err(ReceiptFileError::Newer(2))));
    damage(&written().replacen("packhorse-receipt", "something-else", 1));
    damage(r#"{"v":1}"#);
    damage("[]");
    damage(&format!("{}{{}}", written()));
}

#[test]
fn refuses_fields_out_of_bounds() {
    for (good, bad) in [
        (r#""path":"d""#, r#""path":"../d""#),
        (r#""path":"d""#, r#""path":"d","path_base64":"ZA==""#),
        (r#""path":"d","#, ""),
        ("ZC//CiI=", "ZC//CiI"),
        ("0640", "1640"),
        ("0640", "640"),
        ("0640", "+640"),
        ("1700000000.000000001", "1700000000.00000001"),
        ("-0.500000000", "-00.500000000"),
        (r#""size":7"#, r#""size":-7"#),
        (r#""size":7"#, r#""size":9223372036854775808"#),
        (r#""size":7,"#, ""),
        ("abab", "ABAB"),
        ("abab", "ab"),
        ("5c5c", "5c5g"),
        (r#""files":1"#, r#""files":1.5"#),
        (r#""files":1"#, r#""files":1,"files":1"#),
        (r#""elapsed_seconds":12"#, r#""elapsed_seconds":-12"#),
        ("../x", "\\u0000"),
        (r#""kind":"file""#, r#""kind":"socket""#),
    ] {
        let text = written().replacen(good, bad, 1);
        assert_ne!(text, written(), "{good}");
        damage(&text);
    }
}

#[test]
fn a_field_without_end_is_not_held() {
    let endless = format!(r#"{{"v":1,"later":"{}"}}"#, "x".repeat(MAX_FIELD + 1));
    assert!(damage(&endless).contains("1048576"));
    let text = written().replacen(
        r#""path":"d""#,
        &format!(r#""path":"{}""#, "d".repeat(MAX_FIELD)),
        1,
    );
    damage(&text);
}

#[test]
fn many_entries_do_not_exhaust_the_budget() {
    let mut writer = ReceiptWriter::new(Vec::new()).unwrap();
    let same = &entries()[0].0;
    for _ in 0..20_000 {
        writer.entry(same, None).unwrap();
    }
    let text = String::from_utf8(writer.finish(&receipt()).unwrap()).unwrap();
    assert!(text.len() > MAX_FIELD);
    assert_eq!(read_text(&text).unwrap().0.len(), 20_000);
}

#[test]
fn times_are_exact_decimals() {
    for (seconds, nanoseconds, text) in [
        (0, 0, "0.000000000"),
        (-1, 999_999_999, "-0.000000001"),
        (-2, 0, "-2.000000000"),
        (-2, 1, "-1.999999999"),
        (i64::MAX, 999_999_999, "9223372036854775807.999999999"),
        (i64::MIN, 0, "-9223372036854775808.000000000"),
    ] {
        let moment = Timestamp::new(seconds, nanoseconds).unwrap();
        assert_eq!(timestamp_text(moment), text);
        assert_eq!(parse_timestamp(text), Some(moment));
    }
    for text in [
        "",
        "1",
        "1.0",
        "-0.000000000",
        "+1.000000000",
        "1.-00000001",
        "9223372036854775808.000000000",
    ] {
        assert_eq!(parse_timestamp(text), None, "{text}");
    }
}

#[test]
fn a_hash_has_one_spelling() {
    let hash: Hash = std::array::from_fn(|i| u8::try_from(i * 8).unwrap());
    assert_eq!(parse_hex(&hex(&hash)), Some(hash));
    assert_eq!(parse_hex(&"é".repeat(32)), None);
    assert_eq!(parse_hex(""), None);
}
