//! An opened record's body: items and extents, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhorse_proto::extent::ContentTree;
use packhorse_proto::lane::{ExtentVerdict, LaneExtent};
use packhorse_proto::record::{Item, items};

fuzz_target!(|data: (Option<u64>, Vec<u8>)| {
    let (mut size, body) = data;
    let (mut extent, mut tree) = (LaneExtent::new(), ContentTree::new());
    for item in items(&body) {
        match item {
            Ok(Item::Content { of, offset, bytes }) => {
                let _ = extent.content(of, offset, bytes, size);
            }
            Ok(Item::Value { of, offset, value }) => {
                if let Ok(ExtentVerdict::Agreed(value)) = extent.value(of, offset, &value, size) {
                    let _ = tree.insert(&value);
                }
            }
            Ok(Item::End { size: end, .. }) => size = Some(end),
            Err(_) => break,
        }
        let _ = tree.root(size.unwrap_or(tree.covered()));
    }
});
