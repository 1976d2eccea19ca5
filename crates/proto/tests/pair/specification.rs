//! The examples of docs/protocol.md that are not messages: what it shows is what is spoken.

use packhorse_proto::entry::{Kind, LinkTarget};
use packhorse_proto::extent::empty_hash;
use packhorse_proto::lane::LaneHello;
use packhorse_proto::manifest::ManifestRoot;
use packhorse_proto::preface::{Preface, Refusal, Security};
use packhorse_proto::record::{Attempt, RecordBuilder, RecordKind};

use crate::tree::{entry, file};

const SPECIFICATION: &str = include_str!("../../../../docs/protocol.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_shown(bytes: &[u8]) {
    let shown: String = SPECIFICATION.split_whitespace().collect();
    let bytes = hex(bytes);
    assert!(shown.contains(&bytes), "{bytes}");
}

#[test]
fn prefaces() {
    for preface in [
        Preface::Control(Security::Tls),
        Preface::Control(Security::Insecure),
        Preface::Lane,
        Preface::Accepted,
        Preface::Refused(Refusal::Busy),
    ] {
        assert_shown(&preface.emit());
    }
}

#[test]
fn a_lane_s_hello() {
    let hello = LaneHello {
        session: [0x44; 16],
        lane: 1,
        tag: [0x66; 32],
    };
    assert_shown(&hello.emit());
}

/// A stream of three bytes, in one record without a tag, and the lane's end.
#[test]
fn records() {
    let of = Attempt {
        entry: 2,
        attempt: 0,
    };
    let mut record = RecordBuilder::new();
    record.content_mut()[..3].copy_from_slice(b"abc");
    record.commit_content(of, 0, 3);
    assert!(record.add_end(of, 3));
    assert!(record.add_value(of, 0, blake3::hash(b"abc").as_bytes()));
    assert_shown(
        record
            .seal(RecordKind::Items, |_, _| Ok::<_, ()>([]))
            .unwrap(),
    );
    assert_shown(
        record
            .seal(RecordKind::End, |_, _| Ok::<_, ()>([]))
            .unwrap(),
    );
}

#[test]
fn the_root_of_a_manifest() {
    let mut root = ManifestRoot::new();
    assert_shown(&root.finish());
    let target = LinkTarget::new(b"../b").unwrap();
    root.add(&entry("a", Kind::Directory), None);
    root.add(&entry("a/l", Kind::Symlink { target }), None);
    let hash = *blake3::hash(b"abc").as_bytes();
    root.add(&file("a/s", Some(3)), Some(&hash));
    root.add(&file("b", Some(0)), Some(&empty_hash()));
    assert_shown(&root.finish());
}
