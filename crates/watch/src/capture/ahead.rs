//! Reading ahead: a thread fills buffers while others are parsed.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Bytes read at once. A few of them stay in the cache between the processors.
const READ: usize = 256 << 10;

/// Free room before the bytes of a buffer, for what was left of the one before.
const HEADROOM: usize = 64 << 10;

/// Bytes are read to where a page begins: the kernel copies there twice as fast as elsewhere.
const PAGE: usize = 4096;

/// Bytes of a buffer.
const SIZE: usize = HEADROOM + PAGE + READ;

/// Buffers that are read ahead.
const AHEAD: usize = 2;

/// A stream of bytes of which as many as wanted can be had in one piece.
#[derive(Debug)]
pub(super) struct Ahead {
    full: Receiver<io::Result<Buffer>>,
    empty: Sender<Buffer>,
    current: Buffer,
    /// Why there are no more buffers.
    ended: Option<io::Result<()>>,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Ahead {
    /// Begins to read.
    pub(super) fn new(input: impl Read + Send + 'static) -> io::Result<Self> {
        let (full_sender, full) = sync_channel(AHEAD);
        let (empty, empties) = channel();
        for _ in 0..=AHEAD {
            // The other end is in this function.
            let _ = empty.send(Buffer::default());
        }
        thread::Builder::new()
            .name("read ahead".to_owned())
            .spawn(move || fill(input, &empties, &full_sender))?;
        Ok(Self {
            full,
            empty,
            current: Buffer::default(),
            ended: None,
        })
    }

    /// What is there. [`want`](Self::want) makes it more.
    pub(super) fn bytes(&self) -> &[u8] {
        let Buffer { bytes, from, to } = &self.current;
        bytes.get(*from..*to).unwrap_or_default()
    }

    /// Leaves the first `count` bytes behind.
    pub(super) fn consume(&mut self, count: usize) {
        self.current.from = (self.current.from + count).min(self.current.to);
    }

    /// Waits until `count` bytes are there, and tells whether they are: the input may end before.
    ///
    /// # Errors
    /// The input cannot be read further. What was read before is there.
    pub(super) fn want(&mut self, count: usize) -> io::Result<bool> {
        while self.bytes().len() < count {
            match &self.ended {
                Some(Ok(())) => return Ok(false),
                Some(Err(error)) => {
                    // Errors cannot be cloned; what they say can.
                    return Err(io::Error::new(error.kind(), error.to_string()));
                }
                None => {}
            }
            match self.full.recv() {
                Ok(Ok(next)) => self.append(next),
                Ok(Err(error)) => self.ended = Some(Err(error)),
                Err(_) => self.ended = Some(Ok(())),
            }
        }
        Ok(true)
    }

    /// Goes on with the next buffer, with what is left of the current before its bytes.
    fn append(&mut self, mut next: Buffer) {
        let rest = self.current.to - self.current.from;
        if rest <= next.from {
            let begin = next.from - rest;
            next.bytes[begin..next.from].copy_from_slice(self.bytes());
            next.from = begin;
            let mut old = std::mem::replace(&mut self.current, next);
            // A buffer that had to grow is not kept.
            if old.bytes.len() > SIZE {
                old = Buffer::default();
            }
            // The thread may have ended already.
            let _ = self.empty.send(old);
            return;
        }
        let Buffer { bytes, from, to } = &mut self.current;
        bytes.truncate(*to);
        bytes.drain(..*from);
        bytes.extend_from_slice(&next.bytes[next.from..next.to]);
        (*from, *to) = (0, bytes.len());
        let _ = self.empty.send(next);
    }
}

/// What the thread does until the input or the reader ends.
fn fill(mut input: impl Read, empty: &Receiver<Buffer>, full: &SyncSender<io::Result<Buffer>>) {
    while let Ok(mut buffer) = empty.recv() {
        buffer.bytes.resize(SIZE, 0);
        let from = HEADROOM + buffer.bytes.as_ptr().align_offset(PAGE);
        let Some(room) = buffer.bytes.get_mut(from..from + READ) else {
            return;
        };
        let read = loop {
            match input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let told = match read {
            Ok(0) => return,
            Ok(count) => {
                (buffer.from, buffer.to) = (from, from + count);
                full.send(Ok(buffer))
            }
            Err(error) => {
                let _ = full.send(Err(error));
                return;
            }
        };
        if told.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Dribble(Vec<u8>, usize);

    impl Read for Dribble {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn pieces_of_any_size_come_in_one_piece() {
        let all: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        for (step, piece) in [(7919, 300_001), (65_536, 5), (1 << 20, 70_000), (100, 1)] {
            let input = Dribble(
                all[..if piece == 1 { 9000 } else { all.len() }].to_vec(),
                step,
            );
            let len = input.0.len();
            let mut ahead = Ahead::new(input).unwrap();
            let mut at = 0;
            while ahead.want(piece).unwrap() {
                assert!(
                    ahead.bytes()[..piece] == all[at..at + piece],
                    "{step} {piece} {at}"
                );
                ahead.consume(piece);
                at += piece;
            }
            assert_eq!(ahead.bytes(), &all[at..len]);
        }
    }
}
