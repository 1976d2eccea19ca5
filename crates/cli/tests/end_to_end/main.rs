//! The real binary, over real sockets on loopback, judged by other programs than ours.

mod addresses;
mod codes;
mod existing;
mod failures;
mod harness;
mod hostile;
mod interrupts;
mod judges;
mod output;
mod receipts;
mod s03_sockets;
mod s12_buffers;
mod second_implementation;
mod sources;
mod trees;
