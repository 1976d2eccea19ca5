//! Two peers, one thread, a clock and links moved by hand.
//!
//! | module | what it tests |
//! |---|---|
//! | `sessions` | whole sessions, cut and ordered by chance |
//! | `races` | what may cross on its way |
//! | `timers` | silence, deadlines, progress |
//! | `endings` | abort and close |
//! | `receiver_refuses`, `sender_refuses` | each rule, broken by hand |
//! | `hostile` | bytes of an attacker |
//! | `lost_lanes` | lanes that are lost, and what is said of them |
//! | `lanes` | content through records, extents and trees |
//! | `specification` | the examples of docs/protocol.md |
//!
//! A session that fails prints its seed; `PACKHORSE_SEED=n` plays that one alone, and
//! `PACKHORSE_ROUNDS=n` plays n times as many.

mod by_hand;
mod dice;
mod link;
mod play;
mod receiving_side;
mod sending_side;
mod tree;

mod endings;
mod hostile;
mod lanes;
mod lost_lanes;
mod races;
mod receiver_refuses;
mod sender_refuses;
mod sessions;
mod specification;
mod timers;
