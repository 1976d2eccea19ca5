//! packhorse's sender and receiver: the protocol driven over sockets, files and keys.

pub mod event;
pub mod options;
pub mod receipt;
