//! Trust between two machines that never met.
//!
//! Two people share a code phrase. Their machines open a TLS 1.3 channel in which neither knows the
//! other, run the phrase inside it, and so learn that nobody sits between. From the channel and the
//! phrase come the keys of a session, and from those the keys that seal the records of each lane.
//!
//! | module | what it holds |
//! |---|---|
//! | [`code`] | code phrases, and the words they are made of |
//! | [`identity`] | a side's key, shown as a raw public key |
//! | [`channel`] | TLS 1.3 over bytes |
//! | [`pairing`] | the phrase, run inside a channel and bound to it |
//! | [`session`] | keys for lanes, and tags by which a lane proves whose it is |
//! | [`record`] | sealing records in place |
//!
//! Nothing here does IO or reads a clock: bytes come in and bytes go out. Secrets are erased when
//! dropped and print as `(..)`.
//!
//! ```
//! use packhorse_trust::{
//!     Channel, Code, Identity, Initiator, Opener, Responder, Sealer, SessionKeys, Suite,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One side connects, the other listens. Here, the network is two vectors.
//! let mut client = Channel::client(&Identity::generate()?)?;
//! let mut server = Channel::server(&Identity::generate()?)?;
//! while client.is_handshaking() || server.is_handshaking() {
//!     let (mut wire, mut received) = (Vec::new(), Vec::new());
//!     if client.poll_transmit(&mut wire) {
//!         server.handle_bytes(&wire, &mut received)?;
//!     }
//!     wire.clear();
//!     if server.poll_transmit(&mut wire) {
//!         client.handle_bytes(&wire, &mut received)?;
//!     }
//! }
//!
//! // The listener shows a phrase, and a person types it on the other machine.
//! let shown = Code::generate()?;
//! let typed = Code::given(shown.reveal())?;
//!
//! // Four short messages later both know that the other has it too.
//! let (initiator, share) = Initiator::start(&typed, &client.binding()?, b"sender")?;
//! let (responder, reply) =
//!     Responder::respond(&shown, &server.binding()?, b"receiver", &share, b"sender")?;
//! let (initiator, tag) = initiator.finish(&reply, b"receiver")?;
//! let (server_key, tag) = responder.verify(&tag)?;
//! let client_key = initiator.verify(&tag)?;
//!
//! // Keys for a lane, and a record through it.
//! let mut sending = SessionKeys::new(&client.session_exporter()?, &client_key);
//! let mut receiving = SessionKeys::new(&server.session_exporter()?, &server_key);
//! let suite = Suite::preferred()[0];
//! let mut sealer = Sealer::new(suite, sending.open_lane(0)?.sender_to_receiver);
//! let mut opener = Opener::new(suite, receiving.open_lane(0)?.sender_to_receiver);
//!
//! let mut record = b"one stone at a time".to_vec();
//! let tag = sealer.seal_in_place(b"header", &mut record)?;
//! record.extend_from_slice(&tag);
//! assert_eq!(opener.open_in_place(b"header", &mut record)?, b"one stone at a time");
//! # Ok(())
//! # }
//! ```

pub mod channel;
pub mod code;
pub mod identity;
pub mod pairing;
pub mod record;
pub mod session;

mod cpace;
mod lv;
mod tls;
mod words;

pub use channel::{Channel, ChannelError, SessionExporter};
pub use code::{Code, CodeError, NoRandomness};
pub use identity::{Identity, IdentityError};
pub use pairing::{
    ChannelBinding, Initiator, InitiatorAwaitsTag, PairingError, PairingKey, Responder,
    ResponderAwaitsTag,
};
pub use record::{Opener, RecordError, Sealer, Suite};
pub use session::{
    Direction, Key, LaneError, LaneKeys, ReceiverToSender, SenderToReceiver, SessionKeys,
};
