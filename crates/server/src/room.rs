//! Room to receive into, one for each thread.
//!
//! Ten thousand connections that wait hold no buffers: whoever has something to receive takes room
//! here, and what it received is split off without a copy. The room is used again once all that was
//! split off is dropped.

use std::cell::RefCell;
use std::io;

use bytes::BytesMut;

/// The most that one call receives from a stream: more made the kernel's copies fall out of the L2
/// cache.
pub(crate) const STREAM_ROOM: usize = 64 * 1024;

/// Less room than this is not worth a system call.
const LEAST: usize = 4 * 1024;

/// The largest datagram that is received whole. IP carries 65,535 bytes, headers included (RFC 791);
/// a Unix socket may carry more.
pub(crate) const DATAGRAM_ROOM: usize = 256 * 1024;

thread_local! {
    static ROOM: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    static PACKET: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Room for one datagram: what is kept of it is copied out.
pub(crate) fn with_packet_room<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    PACKET.with_borrow_mut(|room| {
        room.resize(DATAGRAM_ROOM, 0);
        work(room)
    })
}

/// Lets `receive` fill at least [`LEAST`] and at most [`STREAM_ROOM`] bytes, and splits off what it
/// did.
pub(crate) fn fill(
    receive: impl FnOnce(&mut [u8]) -> Option<io::Result<usize>>,
) -> Option<io::Result<BytesMut>> {
    ROOM.with_borrow_mut(|room| {
        if room.len() < LEAST {
            // Zeroed once for as many bytes as are then received: cheaper than any bookkeeping.
            room.clear();
            room.reserve(STREAM_ROOM);
            room.resize(STREAM_ROOM, 0);
        }
        let received = receive(room)?;
        Some(received.map(|length| room.split_to(length)))
    })
}
