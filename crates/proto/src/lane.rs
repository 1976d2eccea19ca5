//! The rules of a lane: how it introduces itself, and how extents travel on it.

use crate::entry::EntryNumber;
use crate::extent::{ExtentHasher, ExtentValue, Hash, Whole, extent_end};
use crate::message::SessionId;
use crate::record::Attempt;

/// Bytes of a [`LaneHello`].
pub const LANE_HELLO_LENGTH: usize = 16 + 2 + 32;

/// What a client says on a lane behind the preface: which session it belongs to, which of its lanes it
/// is, and a tag that only somebody who has the session's keys can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneHello {
    /// The session, as its acceptance named it.
    pub session: SessionId,
    /// The lane: below the number that the acceptance allows, and used once.
    pub lane: u16,
    /// Proof of the session's keys; zeros in an insecure session.
    pub tag: [u8; 32],
}

impl LaneHello {
    /// The bytes on the wire.
    #[must_use]
    pub fn emit(&self) -> [u8; LANE_HELLO_LENGTH] {
        let mut bytes = [0; LANE_HELLO_LENGTH];
        bytes[..16].copy_from_slice(&self.session);
        bytes[16..18].copy_from_slice(&self.lane.to_be_bytes());
        bytes[18..].copy_from_slice(&self.tag);
        bytes
    }

    /// Reads a hello; what is in it is for the server to check.
    #[must_use]
    pub fn parse(bytes: &[u8; LANE_HELLO_LENGTH]) -> Self {
        let (mut session, mut tag) = ([0; 16], [0; 32]);
        session.copy_from_slice(&bytes[..16]);
        tag.copy_from_slice(&bytes[18..]);
        Self {
            session,
            lane: u16::from_be_bytes([bytes[16], bytes[17]]),
            tag,
        }
    }
}

/// How a peer breaks the rules of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// Content that does not start an extent and does not continue the one before it.
    #[error("content for entry {0} out of its extent's order")]
    OutOfOrder(EntryNumber),
    /// Content beyond the end of its extent or file.
    #[error("content for entry {0} beyond the end of its extent or file")]
    BeyondEnd(EntryNumber),
    /// A value for an extent that has not come, or not whole.
    #[error("a value for an extent of entry {0} that is not there")]
    NoSuchExtent(EntryNumber),
}

/// The extent that a lane carries at this moment.
///
/// An extent travels whole, on one lane, in order; the next may start only where the one before is
/// complete, or abandoned by starting another.
#[derive(Default)]
pub struct LaneExtent {
    current: Option<(Attempt, ExtentHasher)>,
}

impl LaneExtent {
    /// No extent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes content of a file of `size` bytes (`None`: a stream), and hashes it.
    ///
    /// # Errors
    /// The rule that it breaks; nothing is hashed then.
    pub fn content(
        &mut self,
        of: Attempt,
        offset: u64,
        bytes: &[u8],
        size: Option<u64>,
    ) -> Result<(), LaneError> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > extent_end(offset, size)) {
            return Err(LaneError::BeyondEnd(of.entry));
        }
        match &mut self.current {
            Some((current, hasher)) if *current == of && hasher.position() == offset => {
                hasher.update(bytes).ok_or(LaneError::BeyondEnd(of.entry))
            }
            _ => {
                let mut hasher =
                    ExtentHasher::new(offset).ok_or(LaneError::OutOfOrder(of.entry))?;
                hasher.update(bytes).ok_or(LaneError::BeyondEnd(of.entry))?;
                self.current = Some((of, hasher));
                Ok(())
            }
        }
    }

    /// Takes the value that the peer gives for the extent at `offset`, which has to be here whole, and
    /// compares.
    ///
    /// # Errors
    /// [`LaneError::NoSuchExtent`] where the extent is not here, or not whole.
    pub fn value(
        &mut self,
        of: Attempt,
        offset: u64,
        value: &Hash,
        size: Option<u64>,
    ) -> Result<ExtentVerdict, LaneError> {
        let missing = LaneError::NoSuchExtent(of.entry);
        let (current, hasher) = self.current.take().ok_or(missing)?;
        let end = hasher.position();
        // Of a stream whose end is not known, only full extents have values: the end comes first.
        if current != of || end <= offset || end != extent_end(offset, size) {
            return Err(missing);
        }
        let whole = size.map_or(Whole::Part, |size| Whole::of(offset, end, size));
        let found = hasher
            .finish(whole)
            .filter(|found| found.offset() == offset)
            .ok_or(missing)?;
        Ok(if found.value() == value {
            ExtentVerdict::Agreed(found)
        } else {
            ExtentVerdict::Different
        })
    }

    /// Forgets the extent, when its file is not wanted any more.
    pub fn abandon(&mut self) {
        self.current = None;
    }
}

/// What came of comparing an extent's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentVerdict {
    /// Both sides hashed the same bytes.
    Agreed(ExtentValue),
    /// They did not: the bytes changed on their way, in a memory or on a disk.
    Different,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::extent::{ContentTree, EXTENT_SIZE};

    const OF: Attempt = Attempt {
        entry: 4,
        attempt: 0,
    };

    #[test]
    fn an_extent_comes_in_order_and_whole() {
        let mut lane = LaneExtent::new();
        assert_eq!(
            lane.content(OF, 3, b"abc", Some(6)),
            Err(LaneError::OutOfOrder(4))
        );
        lane.content(OF, 0, b"abc", Some(6)).unwrap();
        assert_eq!(
            lane.content(OF, 3, b"defg", Some(6)),
            Err(LaneError::BeyondEnd(4))
        );
        assert_eq!(
            lane.content(OF, 4, b"e", Some(6)),
            Err(LaneError::OutOfOrder(4))
        );
        lane.content(OF, 3, b"def", Some(6)).unwrap();
        let hash = *blake3::hash(b"abcdef").as_bytes();
        let Ok(ExtentVerdict::Agreed(value)) = lane.value(OF, 0, &hash, Some(6)) else {
            panic!("not agreed")
        };
        let mut tree = ContentTree::new();
        tree.insert(&value).unwrap();
        assert_eq!(tree.root(6), Ok(Some(hash)));
        assert_eq!(
            lane.value(OF, 0, &hash, Some(6)),
            Err(LaneError::NoSuchExtent(4))
        );
    }

    #[test]
    fn a_value_needs_its_whole_extent() {
        let mut lane = LaneExtent::new();
        lane.content(OF, 0, b"abc", Some(6)).unwrap();
        assert_eq!(
            lane.value(OF, 0, &[0; 32], Some(6)),
            Err(LaneError::NoSuchExtent(4))
        );
        lane.content(OF, 0, b"abcdef", Some(6)).unwrap();
        assert_eq!(
            lane.value(OF, 0, &[0; 32], Some(6)),
            Ok(ExtentVerdict::Different)
        );
        let end = u64::MAX;
        assert_eq!(
            lane.content(OF, end, b"xy", None),
            Err(LaneError::BeyondEnd(4))
        );
    }

    #[test]
    fn another_attempt_abandons_the_extent() {
        let mut lane = LaneExtent::new();
        lane.content(OF, 0, b"abc", Some(6)).unwrap();
        let again = Attempt { attempt: 1, ..OF };
        lane.content(again, 0, b"xyz", Some(3)).unwrap();
        let hash = *blake3::hash(b"xyz").as_bytes();
        assert!(matches!(
            lane.value(again, 0, &hash, Some(3)),
            Ok(ExtentVerdict::Agreed(_))
        ));
    }

    proptest! {
        #[test]
        fn hostile_items_never_panic(steps in proptest::collection::vec(
            (0u64..2, prop_oneof![0u64..8, Just(EXTENT_SIZE), Just(EXTENT_SIZE - 4), any::<u64>()], 0usize..8, any::<bool>()),
            0..20,
        ), size in prop_oneof![Just(None), (0..2 * EXTENT_SIZE).prop_map(Some)]) {
            let mut lane = LaneExtent::new();
            for (entry, offset, length, value) in steps {
                let of = Attempt { entry, attempt: 0 };
                if value {
                    let _ = lane.value(of, offset, &[0; 32], size);
                } else {
                    let _ = lane.content(of, offset, &[0; 8][..length], size);
                }
            }
        }
    }
}
