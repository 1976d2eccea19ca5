//! Content through records, items, extents and trees, over several lanes.

use std::collections::{BTreeMap, VecDeque};

use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentHasher, Whole, extent_end};
use packhorse_proto::lane::{ExtentVerdict, LaneError, LaneExtent};
use packhorse_proto::record::{
    Attempt, Item, MAX_CONTENT, RECORD_HEADER, RecordBuilder, RecordHeader, RecordKind, items,
};

use crate::dice::{Dice, play_seeds};

const TAG: [u8; 16] = [0x7a; 16];

/// No security at all, but both sides have to do it.
fn scramble(body: &mut [u8]) {
    body.iter_mut().for_each(|byte| *byte ^= 0x55);
}

/// The sending end of a lane.
#[derive(Default)]
struct Writer {
    builder: RecordBuilder,
    wire: VecDeque<u8>,
}

impl Writer {
    fn flush(&mut self, kind: RecordKind) {
        let sealed = self.builder.seal(kind, |_, body| {
            scramble(body);
            Ok::<_, ()>(TAG)
        });
        self.wire.extend(sealed.unwrap());
    }

    fn content(&mut self, of: Attempt, mut offset: u64, mut bytes: &[u8], dice: &mut Dice) {
        while !bytes.is_empty() {
            if self.builder.room() == 0 || dice.percent(5) && !self.builder.is_empty() {
                self.flush(RecordKind::Items);
            }
            let length = bytes.len().min(self.builder.room());
            self.builder.content_mut()[..length].copy_from_slice(&bytes[..length]);
            assert_eq!(
                self.builder.commit_content(of, offset, length),
                &bytes[..length]
            );
            offset += length as u64;
            bytes = &bytes[length..];
        }
    }

    fn value(&mut self, of: Attempt, offset: u64, value: &[u8; 32]) {
        if !self.builder.add_value(of, offset, value) {
            self.flush(RecordKind::Items);
            assert!(self.builder.add_value(of, offset, value));
        }
    }

    fn end(&mut self, of: Attempt, size: u64) {
        if !self.builder.add_end(of, size) {
            self.flush(RecordKind::Items);
            assert!(self.builder.add_end(of, size));
        }
    }
}

/// A file as it arrives.
struct Arriving {
    size: Option<u64>,
    tree: ContentTree,
}

/// The receiving end of a lane.
#[derive(Default)]
struct Reader {
    extent: LaneExtent,
}

impl Reader {
    /// Takes one record from the wire; `None` where it is the lane's end.
    fn record(&mut self, wire: &mut VecDeque<u8>, files: &mut [Arriving]) -> Option<()> {
        let header: Vec<u8> = wire.drain(..RECORD_HEADER).collect();
        let header = RecordHeader::parse(header.try_into().unwrap()).unwrap();
        let mut body: Vec<u8> = wire.drain(..header.length).collect();
        assert!(wire.drain(..TAG.len()).eq(TAG));
        scramble(&mut body);
        for item in items(&body) {
            self.item(item.unwrap(), files).unwrap();
        }
        (header.kind == RecordKind::Items).then_some(())
    }

    fn item(&mut self, item: Item<'_>, files: &mut [Arriving]) -> Result<(), LaneError> {
        let of = match item {
            Item::Content { of, .. } | Item::Value { of, .. } | Item::End { of, .. } => of,
        };
        let file = &mut files[usize::try_from(of.entry).unwrap()];
        match item {
            Item::Content { of, offset, bytes } => {
                self.extent.content(of, offset, bytes, file.size)?;
            }
            Item::Value { of, offset, value } => {
                let verdict = self.extent.value(of, offset, &value, file.size)?;
                let ExtentVerdict::Agreed(value) = verdict else {
                    panic!("different")
                };
                file.tree.insert(&value).unwrap();
            }
            Item::End { size, .. } => file.size = Some(size),
        }
        Ok(())
    }
}

/// A file to be sent; a stream does not tell its size before its end.
struct Source {
    bytes: Vec<u8>,
    stream: bool,
}

fn source(size: usize, stream: bool) -> Source {
    let bytes = (0u32..).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24).to_le_bytes()[0]);
    Source {
        bytes: bytes.take(size).collect(),
        stream,
    }
}

fn send_extent(lane: &mut Writer, of: Attempt, source: &Source, offset: u64, dice: &mut Dice) {
    let size = source.bytes.len() as u64;
    let end = extent_end(offset, Some(size));
    let range = usize::try_from(offset).unwrap()..usize::try_from(end).unwrap();
    let bytes = &source.bytes[range];
    lane.content(of, offset, bytes, dice);
    if source.stream && end == size {
        lane.end(of, size);
    }
    let mut hasher = ExtentHasher::new(offset).unwrap();
    hasher.update(bytes).unwrap();
    let value = hasher.finish(Whole::of(offset, end, size)).unwrap();
    lane.value(of, offset, value.value());
}

fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for end in (1..list.len()).rev() {
        list.swap(end, dice.within(0..end + 1));
    }
}

/// All extents of all sources over lanes, each in its own order, read in any interleaving.
fn carry(sources: &[Source], lanes: usize, dice: &mut Dice) -> Vec<Arriving> {
    let mut extents: Vec<(usize, u64)> = Vec::new();
    for (entry, source) in sources.iter().enumerate() {
        let count = (source.bytes.len() as u64).div_ceil(EXTENT_SIZE);
        extents.extend((0..count).map(|index| (entry, index * EXTENT_SIZE)));
    }
    shuffle(&mut extents, dice);
    let mut writers: Vec<Writer> = (0..lanes).map(|_| Writer::default()).collect();
    for (entry, offset) in extents {
        let lane = dice.within(0..lanes);
        let of = Attempt {
            entry: entry as u64,
            attempt: 0,
        };
        send_extent(&mut writers[lane], of, &sources[entry], offset, dice);
    }
    for writer in &mut writers {
        writer.flush(RecordKind::Items);
        writer.flush(RecordKind::End);
    }
    read_all(writers, sources, dice)
}

fn read_all(mut writers: Vec<Writer>, sources: &[Source], dice: &mut Dice) -> Vec<Arriving> {
    let mut files: Vec<Arriving> = sources
        .iter()
        .map(|source| Arriving {
            size: (!source.stream).then_some(source.bytes.len() as u64),
            tree: ContentTree::new(),
        })
        .collect();
    let mut readers: BTreeMap<usize, Reader> = (0..writers.len())
        .map(|lane| (lane, Reader::default()))
        .collect();
    while !readers.is_empty() {
        let pick = dice.within(0..readers.len());
        let (&lane, reader) = readers.iter_mut().nth(pick).unwrap();
        if reader.record(&mut writers[lane].wire, &mut files).is_none() {
            readers.remove(&lane);
            assert!(writers[lane].wire.is_empty());
        }
    }
    files
}

fn check(sources: &[Source], files: &[Arriving]) {
    for (source, file) in sources.iter().zip(files) {
        let size = source.bytes.len();
        assert_eq!(file.size, Some(size as u64));
        let root = file.tree.root(size as u64).unwrap().unwrap();
        assert_eq!(
            root,
            *blake3::hash(&source.bytes).as_bytes(),
            "{size} bytes"
        );
    }
}

#[test]
fn files_around_the_edges_of_records_and_extents_arrive_as_they_were() {
    let extent = usize::try_from(EXTENT_SIZE).unwrap();
    let sizes = [
        1,
        MAX_CONTENT - 1,
        MAX_CONTENT,
        MAX_CONTENT + 1,
        extent - 1,
        extent,
        extent + 1,
        2 * extent,
        3 * extent + MAX_CONTENT,
    ];
    for (seed, size) in (0..).zip(sizes) {
        for stream in [false, true] {
            let mut dice = Dice::new(seed);
            let sources = [source(size, stream)];
            check(&sources, &carry(&sources, 3, &mut dice));
        }
    }
}

#[test]
fn many_files_share_records() {
    play_seeds(20, |dice| {
        let count = dice.within(1..200);
        let sources: Vec<_> = (0..count)
            .map(|_| source(dice.within(1..9000), dice.percent(30)))
            .collect();
        let lanes = dice.within(1..6);
        check(&sources, &carry(&sources, lanes, dice));
    });
}

#[test]
fn a_value_fits_behind_every_content_item() {
    play_seeds(200, |dice| {
        let mut builder = RecordBuilder::new();
        loop {
            let room = builder.room();
            let length = dice.within(1..40_000).min(room);
            if length == 0 {
                break;
            }
            builder.commit_content(OF, 0, length);
            if dice.percent(50) || builder.room() == 0 {
                assert!(builder.add_value(OF, 0, &[1; 32]));
            }
        }
    });
}

#[test]
fn an_empty_stream_is_an_end_alone() {
    let of = Attempt {
        entry: 0,
        attempt: 0,
    };
    let mut writer = Writer::default();
    writer.end(of, 0);
    writer.flush(RecordKind::Items);
    writer.flush(RecordKind::End);
    let files = read_all(vec![writer], &[source(0, true)], &mut Dice::new(0));
    check(&[source(0, true)], &files);
}

const OF: Attempt = Attempt {
    entry: 0,
    attempt: 0,
};

fn files(size: Option<u64>) -> [Arriving; 1] {
    let tree = ContentTree::new();
    [Arriving { size, tree }]
}

fn content(offset: u64, bytes: &[u8]) -> Item<'_> {
    Item::Content {
        of: OF,
        offset,
        bytes,
    }
}

#[test]
fn the_value_of_a_stream_s_last_extent_waits_for_its_end() {
    let hash = *blake3::hash(b"abc").as_bytes();
    let value = Item::Value {
        of: OF,
        offset: 0,
        value: hash,
    };
    let (mut reader, mut arriving) = (Reader::default(), files(None));
    reader.item(content(0, b"abc"), &mut arriving).unwrap();
    let early = reader.item(value, &mut arriving);
    assert_eq!(early, Err(LaneError::NoSuchExtent(0)));

    let (mut reader, mut arriving) = (Reader::default(), files(None));
    reader.item(content(0, b"abc"), &mut arriving).unwrap();
    let end = Item::End { of: OF, size: 3 };
    reader.item(end, &mut arriving).unwrap();
    reader.item(value, &mut arriving).unwrap();
    check(
        &[Source {
            bytes: b"abc".to_vec(),
            stream: true,
        }],
        &arriving,
    );
}

#[test]
fn a_full_extent_needs_its_value_before_the_next_of_its_file() {
    let extent = vec![0; usize::try_from(EXTENT_SIZE).unwrap()];
    let (mut reader, mut arriving) = (Reader::default(), files(None));
    reader.item(content(0, &extent), &mut arriving).unwrap();
    let next = reader.item(content(EXTENT_SIZE, b"x"), &mut arriving);
    assert_eq!(next, Err(LaneError::BeyondEnd(0)));
}

#[test]
fn content_after_the_end_of_a_stream_is_refused() {
    let (mut reader, mut arriving) = (Reader::default(), files(None));
    reader.item(content(0, b"abc"), &mut arriving).unwrap();
    let end = Item::End { of: OF, size: 3 };
    reader.item(end, &mut arriving).unwrap();
    let beyond = reader.item(content(3, b"d"), &mut arriving);
    assert_eq!(beyond, Err(LaneError::BeyondEnd(0)));
}
