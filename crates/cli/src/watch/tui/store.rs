//! Frames that can be looked at again: an index of all, and their bytes, in memory or in the file they came from.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use packhorse_watch::stream::{Delivered, Notes, Seen, StreamId, Trace, Tracer};
use packhorse_watch::{Frame, Limits, LinkType, Packets, Timestamp};

/// Frames that are kept at most.
const MOST: usize = 1 << 21;

/// Bytes of frames that are kept in memory at most. Those of a plain file are not: they are read from it again.
const MEMORY: usize = 256 << 20;

/// Segments of a stream that are drawn at most.
const SEGMENTS: usize = 1 << 16;

/// What goes when there is no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// A file: its beginning stays.
    First,
    /// An interface: the newest stay.
    Last,
}

/// The frames of a capture. Each has an id: how many were kept before it, whether they are still there or not.
#[derive(Debug)]
pub(super) struct Store {
    file: Option<File>,
    keep: Keep,
    entries: VecDeque<Entry>,
    gone: u64,
    held: usize,
}

/// One frame.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) time: Timestamp,
    pub(super) stream: Option<StreamId>,
    pub(super) notes: Notes,
    /// Whether it has a piece of a packet.
    piece: bool,
    link: LinkType,
    interface: u32,
    original_len: u32,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Memory(Box<[u8]>),
    File { offset: u64, len: u32 },
}

impl Store {
    /// `file`: where bytes are read again, at the offsets that frames tell.
    pub(super) fn new(file: Option<File>, keep: Keep) -> Self {
        Self {
            file,
            keep,
            entries: VecDeque::new(),
            gone: 0,
            held: 0,
        }
    }

    /// Keeps a frame. `false`: there is no room for it.
    pub(super) fn push(&mut self, frame: &Frame<'_>, seen: Option<Seen>, piece: bool) -> bool {
        let needed = match self.file {
            Some(_) => 0,
            None => frame.data.len(),
        };
        while self.entries.len() >= MOST || self.held + needed > MEMORY {
            if self.keep == Keep::First || !self.pop() {
                return false;
            }
        }
        let data = match self.file {
            Some(_) => Data::File {
                offset: frame.data_offset,
                len: u32::try_from(frame.data.len()).unwrap_or(u32::MAX),
            },
            None => Data::Memory(frame.data.into()),
        };
        self.held += needed;
        self.entries.push_back(Entry {
            number: frame.number,
            time: frame.time,
            stream: seen.map(|seen| seen.id),
            notes: seen.map(|seen| seen.notes).unwrap_or_default(),
            piece,
            link: frame.link,
            interface: frame.interface,
            original_len: frame.original_len,
            data,
        });
        true
    }

    fn pop(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else {
            return false;
        };
        self.gone += 1;
        if let Data::Memory(data) = &entry.data {
            self.held -= data.len();
        }
        true
    }

    /// The ids of what is there.
    pub(super) fn ids(&self) -> std::ops::Range<u64> {
        self.gone..self.gone + self.entries.len() as u64
    }

    pub(super) fn get(&self, id: u64) -> Option<&Entry> {
        let index = usize::try_from(id.checked_sub(self.gone)?).ok()?;
        self.entries.get(index)
    }

    /// The id of a frame by its number, or of the next behind it.
    pub(super) fn by_number(&self, number: u64) -> u64 {
        self.gone + self.entries.partition_point(|e| e.number < number) as u64
    }

    /// When the first of those that are there was captured.
    pub(super) fn begin(&self) -> Timestamp {
        self.entries.front().map(|e| e.time).unwrap_or_default()
    }

    /// The frame, whose bytes come into `data`. Where the file is not what it was any more they are missing.
    pub(super) fn frame<'a>(&self, entry: &Entry, data: &'a mut Vec<u8>) -> Frame<'a> {
        data.clear();
        match &entry.data {
            Data::Memory(bytes) => data.extend_from_slice(bytes),
            Data::File { offset, len } => {
                if self.reread(*offset, *len, data).is_err() {
                    data.clear();
                }
            }
        }
        Frame {
            number: entry.number,
            time: entry.time,
            interface: entry.interface,
            link: entry.link,
            original_len: entry.original_len,
            offset: 0,
            data_offset: 0,
            data,
        }
    }

    fn reread(&self, offset: u64, len: u32, data: &mut Vec<u8>) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        // A frame's length was held against `Limits::frame` when it was read.
        data.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        file.read_exact_at(data, offset)
    }

    /// The frames before this one that have pieces of packets, the last `most` of them.
    pub(super) fn pieces_before(&self, id: u64, most: usize) -> Vec<&Entry> {
        let end = usize::try_from(id.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        let before = self.entries.range(..end.min(self.entries.len()));
        // What belongs together was captured close together.
        let near = before.rev().take(100 * most);
        let mut pieces: Vec<&Entry> = near.filter(|entry| entry.piece).take(most).collect();
        pieces.reverse();
        pieces
    }

    /// One stream, of which `give` gets the bytes.
    pub(super) fn trace(&self, id: StreamId, mut give: impl FnMut(Delivered<'_>)) -> Option<Trace> {
        let limits = Limits {
            trace: SEGMENTS,
            ..Limits::default()
        };
        // Frames of other streams are not shown to it: this is its first.
        let mut tracer = Tracer::new(StreamId { number: 0, ..id }, &limits);
        let mut packets = Packets::new(&limits);
        let mut data = Vec::new();
        let own = |entry: &&Entry| entry.stream == Some(id) || entry.piece;
        for entry in self.entries.iter().filter(own).take(SEGMENTS) {
            let frame = self.frame(entry, &mut data);
            if let Some(packet) = packets.read(&frame)
                && entry.stream == Some(id)
            {
                tracer.handle(&frame, &packet, &mut give);
            }
        }
        let trace = tracer.end(&mut give)?;
        Some(Trace { id, ..trace })
    }
}

impl Entry {
    pub(super) fn is_piece(&self) -> bool {
        self.piece
    }
}
