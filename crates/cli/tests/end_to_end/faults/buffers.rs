//! A bit of a buffer changes between hash and cipher: no tag of a record can tell.

use super::crossing::{Crossing, MEBIBYTE};
use super::report::Case;

/// A record in the middle of the large file.
const ALTERED: &str = "record.sealing:6:flip";

#[test]
fn a_buffer_of_the_sender_that_changes_after_it_was_hashed() {
    let case = Case::new("buffers", "a bit changes in the sender's buffer");
    let mut crossing = Crossing::new(case, 8 * MEBIBYTE, 40);
    let pair = crossing.start([Some(ALTERED), None]);
    let (sender, receiver) = crossing.end(pair);
    for ended in [&sender, &receiver] {
        ended.expect_code(1).expect_says("tree/large.bin");
        let failed = ended.events_named("failed");
        assert_eq!(failed.len(), 1, "{failed:?}");
    }
    assert!(!crossing.destination.join("tree/large.bin").exists());
    crossing.complete();
    crossing.report(1);
}
