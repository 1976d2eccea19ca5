//! Trees by chance, in the canonical order.

use std::collections::BTreeMap;

use packhorse_proto::entry::{Entry, Kind, LinkTarget, MAX_FILE_SIZE, Metadata, Mode, Timestamp};
use packhorse_proto::extent::EXTENT_SIZE;
use packhorse_proto::path::RelativePath;

use crate::dice::Dice;

const NAMES: [&[u8]; 12] = [
    b"a",
    b"a.b",
    b"a!",
    b"b",
    b"B",
    b"...",
    b" ",
    b"\xff\xfe",
    "naïve".as_bytes(),
    b"\x1b[31m",
    b"-rf",
    &[b'n'; 255],
];

const TARGETS: [&[u8]; 3] = [b"../x", b"/etc/passwd", &[b'l'; 4095]];

pub(crate) const SIZES: [Option<u64>; 9] = [
    None,
    Some(0),
    Some(0),
    Some(1),
    Some(1700),
    Some(EXTENT_SIZE - 1),
    Some(EXTENT_SIZE),
    Some(3 * EXTENT_SIZE + 5),
    Some(MAX_FILE_SIZE),
];

pub(crate) fn path(bytes: &[u8]) -> RelativePath {
    RelativePath::parse(bytes).unwrap()
}

pub(crate) fn metadata(dice: &mut Dice) -> Metadata {
    let seconds = *dice.pick(&[0, 1, -1, i64::MIN, i64::MAX, 1_700_000_000]);
    let nanoseconds = *dice.pick(&[0, 1, 999_999_999]);
    Metadata {
        mode: Mode::from_st_mode(*dice.pick(&[0, 0o644, 0o755, 0o777])),
        modified: Timestamp::new(seconds, nanoseconds).unwrap(),
        change: None,
    }
}

fn kind(dice: &mut Dice) -> Kind {
    match dice.within(0..6) {
        0 | 1 => Kind::Directory,
        2 => Kind::Symlink {
            target: LinkTarget::new(TARGETS[dice.within(0..3)]).unwrap(),
        },
        _ => Kind::File {
            size: *dice.pick(&SIZES),
        },
    }
}

/// A tree of at most `most` entries. `RelativePath`'s order is the canonical one.
pub(crate) fn random_tree(dice: &mut Dice, most: usize) -> Vec<Entry> {
    let mut tree = BTreeMap::new();
    let mut directories = vec![None];
    for _ in 0..most {
        let name = *dice.pick(&NAMES);
        let parent: &Option<RelativePath> = dice.pick(&directories);
        let path = match parent {
            None => path(name),
            Some(parent) => parent.join(name).unwrap_or_else(|_| path(name)),
        };
        if tree.contains_key(&path) {
            continue;
        }
        let kind = kind(dice);
        if kind == Kind::Directory {
            directories.push(Some(path.clone()));
        }
        tree.insert(path, kind);
    }
    let entry = |(path, kind)| Entry {
        path,
        kind,
        metadata: metadata(dice),
    };
    tree.into_iter().map(entry).collect()
}

/// One file of `size` bytes.
pub(crate) fn file(path: &str, size: Option<u64>) -> Entry {
    entry(path, Kind::File { size })
}

/// One entry with plain metadata.
pub(crate) fn entry(name: &str, kind: Kind) -> Entry {
    Entry {
        path: path(name.as_bytes()),
        kind,
        metadata: Metadata {
            mode: Mode::from_st_mode(0o644),
            modified: Timestamp::new(1_700_000_000, 5).unwrap(),
            change: None,
        },
    }
}
