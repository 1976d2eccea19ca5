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
mod s04_tcp_pair;
mod s05_udp_chat;
mod s06_sticky_packets;
mod s07_struct;
mod s08_classic_size;
mod s09_classic_md5;
mod s10_servers;
mod s12_buffers;
mod second_implementation;
mod sources;
mod trees;
