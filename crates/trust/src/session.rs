//! The keys of a session: one master, and from it a key for each lane and direction.
//!
//! ```text
//! master   = BLAKE3 derive_key("packhorse 2026-11 session v1", lv(exporter) || lv(pairing key))
//! lane key = BLAKE3 derive_key("packhorse 2026-11 lane key v1",
//!                              lv(master) || lv(lane, u16 big-endian) || lv(direction, 1 byte))
//! tag key  = BLAKE3 derive_key("packhorse 2026-11 lane tag v1", lv(master))
//! lane tag = BLAKE3 keyed_hash(tag key, lv(session id) || lv(lane, u16 big-endian))
//! ```
//!
//! The exporter ties the keys to the channel, the pairing key to the phrase.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::channel::SessionExporter;
use crate::lv::lv_cat;
use crate::pairing::PairingKey;

const SESSION_CONTEXT: &str = "packhorse 2026-11 session v1";
const LANE_KEY_CONTEXT: &str = "packhorse 2026-11 lane key v1";
const LANE_TAG_CONTEXT: &str = "packhorse 2026-11 lane tag v1";

/// Length of a lane's tag.
pub const LANE_TAG_LEN: usize = 32;

/// A direction in which records go, as a type: what one side seals, only the other opens.
pub trait Direction: sealed::Sealed {}

/// From the side that sends files.
#[derive(Debug, Clone, Copy)]
pub enum SenderToReceiver {}

/// From the side that receives files.
#[derive(Debug, Clone, Copy)]
pub enum ReceiverToSender {}

impl Direction for SenderToReceiver {}
impl Direction for ReceiverToSender {}

mod sealed {
    pub trait Sealed {
        const ID: u8;
    }
    impl Sealed for super::SenderToReceiver {
        const ID: u8 = 1;
    }
    impl Sealed for super::ReceiverToSender {
        const ID: u8 = 2;
    }
}

/// The key of one lane in one direction. A [`Sealer`](crate::Sealer) or an
/// [`Opener`](crate::Opener) uses it up: their counters start at zero, so no key may have two.
pub struct Key<D: Direction> {
    bytes: Zeroizing<[u8; 32]>,
    direction: PhantomData<D>,
}

impl<D: Direction> Key<D> {
    pub(crate) fn expose(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl<D: Direction> fmt::Debug for Key<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The two keys of one lane.
#[derive(Debug)]
pub struct LaneKeys {
    /// For what the sender of files seals and the receiver opens.
    pub sender_to_receiver: Key<SenderToReceiver>,
    /// For what the receiver of files seals and the sender opens.
    pub receiver_to_sender: Key<ReceiverToSender>,
}

/// Why a lane gets no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// The number was used before in this session. A second use would seal two records with the
    /// same nonce; and who replays a lane that it recorded, arrives here too.
    #[error("lane {lane} was opened before in this session")]
    Reused {
        /// The lane's number.
        lane: u16,
    },
    /// The tag does not come from the other side of this session.
    #[error("the tag of lane {lane} does not fit this session")]
    BadTag {
        /// The lane's number.
        lane: u16,
    },
}

/// All the keys of a session.
pub struct SessionKeys {
    master: Zeroizing<[u8; 32]>,
    opened: BTreeSet<u16>,
}

impl SessionKeys {
    /// The keys of a session over the channel that gave `exporter`, between two sides that paired.
    #[must_use]
    pub fn new(exporter: &SessionExporter, pairing: &PairingKey) -> Self {
        let material = lv_cat(&[exporter.expose(), pairing.expose()]);
        let master = Zeroizing::new(blake3::derive_key(SESSION_CONTEXT, &material));
        Self {
            master,
            opened: BTreeSet::new(),
        }
    }

    /// The keys of lane number `lane`, given out once. A lane that died is replaced by one with
    /// another number.
    ///
    /// # Errors
    ///
    /// [`LaneError::Reused`].
    pub fn open_lane(&mut self, lane: u16) -> Result<LaneKeys, LaneError> {
        if !self.opened.insert(lane) {
            return Err(LaneError::Reused { lane });
        }
        Ok(LaneKeys {
            sender_to_receiver: self.lane_key(lane),
            receiver_to_sender: self.lane_key(lane),
        })
    }

    fn lane_key<D: Direction>(&self, lane: u16) -> Key<D> {
        let material = lv_cat(&[self.master.as_slice(), &lane.to_be_bytes(), &[D::ID]]);
        let bytes = Zeroizing::new(blake3::derive_key(LANE_KEY_CONTEXT, &material));
        Key {
            bytes,
            direction: PhantomData,
        }
    }

    /// What a new connection shows to prove that it is lane `lane` of the session `session_id`. It
    /// travels in the clear and is good for one lane.
    #[must_use]
    pub fn lane_tag(&self, session_id: &[u8; 16], lane: u16) -> [u8; LANE_TAG_LEN] {
        let material = lv_cat(&[self.master.as_slice()]);
        let key = Zeroizing::new(blake3::derive_key(LANE_TAG_CONTEXT, &material));
        let message = lv_cat(&[session_id, &lane.to_be_bytes()]);
        *blake3::keyed_hash(&key, &message).as_bytes()
    }

    /// Checks a tag that a new connection showed, in constant time.
    ///
    /// # Errors
    ///
    /// [`LaneError::BadTag`].
    pub fn check_lane_tag(
        &self,
        session_id: &[u8; 16],
        lane: u16,
        tag: &[u8],
    ) -> Result<(), LaneError> {
        match bool::from(self.lane_tag(session_id, lane).as_slice().ct_eq(tag)) {
            true => Ok(()),
            false => Err(LaneError::BadTag { lane }),
        }
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys(..)")
    }
}

#[cfg(test)]
impl<D: Direction> Key<D> {
    pub(crate) fn for_test(bytes: [u8; 32]) -> Self {
        Self {
            bytes: Zeroizing::new(bytes),
            direction: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(master: u8) -> SessionKeys {
        SessionKeys {
            master: Zeroizing::new([master; 32]),
            opened: BTreeSet::new(),
        }
    }

    #[test]
    fn every_lane_and_direction_has_its_own_key() {
        let mut seen = BTreeSet::new();
        for master in [1, 2] {
            let mut session = session(master);
            for lane in [0, 1, 2, 255, 256, u16::MAX] {
                let keys = session.open_lane(lane).unwrap();
                assert!(seen.insert(keys.sender_to_receiver.expose().to_vec()));
                assert!(seen.insert(keys.receiver_to_sender.expose().to_vec()));
            }
        }
    }

    #[test]
    fn both_sides_derive_the_same_keys() {
        let (one, other) = (
            session(1).open_lane(3).unwrap(),
            session(1).open_lane(3).unwrap(),
        );
        assert_eq!(
            one.sender_to_receiver.expose(),
            other.sender_to_receiver.expose()
        );
        assert_eq!(
            one.receiver_to_sender.expose(),
            other.receiver_to_sender.expose()
        );
    }

    #[test]
    fn a_lane_number_is_good_once() {
        let mut session = session(1);
        assert!(session.open_lane(7).is_ok());
        assert_eq!(
            session.open_lane(7).unwrap_err(),
            LaneError::Reused { lane: 7 }
        );
        assert!(session.open_lane(8).is_ok());
    }

    #[test]
    fn a_tag_fits_one_session_and_one_lane() {
        let (other, session, id) = (session(2), session(1), [9; 16]);
        let tag = session.lane_tag(&id, 3);
        assert_eq!(session.check_lane_tag(&id, 3, &tag), Ok(()));
        let bad = Err(LaneError::BadTag { lane: 3 });
        assert_eq!(session.check_lane_tag(&[8; 16], 3, &tag), bad);
        assert_eq!(other.check_lane_tag(&id, 3, &tag), bad);
        assert_eq!(session.check_lane_tag(&id, 3, &tag[..31]), bad);
        assert_eq!(session.check_lane_tag(&id, 3, &[]), bad);
        assert_eq!(
            session.check_lane_tag(&id, 4, &tag),
            Err(LaneError::BadTag { lane: 4 })
        );
        for at in 0..LANE_TAG_LEN {
            let mut altered = tag;
            altered[at] ^= 0x10;
            assert_eq!(session.check_lane_tag(&id, 3, &altered), bad, "byte {at}");
        }
    }

    #[test]
    fn debug_tells_nothing() {
        let mut session = session(0xab);
        let keys = session.open_lane(0).unwrap();
        assert_eq!(format!("{session:?}"), "SessionKeys(..)");
        let expected = "LaneKeys { sender_to_receiver: Key(..), receiver_to_sender: Key(..) }";
        assert_eq!(format!("{keys:?}"), expected);
    }
}
