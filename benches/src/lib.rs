//! The inner loops of packhorse, one function each, on input that is made beforehand.
//!
//! `cargo xtask bench --instructions` counts what they execute and holds it against benches/baseline.json; `cargo bench
//! --package packhorse-benches --bench times` times them.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use packhorse_frame::{Decoder, FrameSpec, Limits};
use packhorse_proto::entry::{Entry, Kind, Metadata, Mode, Timestamp};
use packhorse_proto::extent::{EXTENT_SIZE, ExtentHasher, ExtentValue, Whole};
use packhorse_proto::message::Message;
use packhorse_proto::path::{Name, RelativePath};
use packhorse_proto::record::{Attempt, MAX_CONTENT, RecordBuilder, RecordKind, items};
use packhorse_proto::remains::Version;
use packhorse_tree::{Directory, Temporary};
use packhorse_trust::{
    Channel, Code, Identity, Initiator, Opener, Responder, Sealer, SessionKeys, Suite,
};
use tempfile::TempDir;

/// Bytes that look like nothing in particular: the same each time.
#[must_use]
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    (0..length).map(|_| next()).collect()
}

/// A decoder and 1,000 messages of 100 bytes with a length in front of each.
///
/// # Panics
/// Never: the notation is right.
#[must_use]
pub fn framed() -> (Decoder, BytesMut) {
    let spec: FrameSpec = "u32be".parse().expect("a notation");
    let mut input = BytesMut::new();
    for _ in 0..1000 {
        input.put_u32(100);
        input.put_bytes(7, 100);
    }
    (spec.decoder(Limits::default()), input)
}

/// Takes all messages out of what came.
pub fn decode_frames((mut decoder, mut input): (Decoder, BytesMut)) -> usize {
    let mut found = 0;
    while let Ok(Some(_)) = decoder.decode(&mut input) {
        found += 1;
    }
    found
}

/// 1,000 paths as they come from a peer.
#[must_use]
pub fn raw_paths() -> Vec<Vec<u8>> {
    (0..1000)
        .map(|number| format!("project/src/module{}/file_{number:04}.rs", number % 37).into_bytes())
        .collect()
}

/// Checks them all.
#[must_use]
pub fn check_paths(paths: &[Vec<u8>]) -> usize {
    let parsed = paths
        .iter()
        .filter(|path| RelativePath::parse(path).is_ok());
    parsed.count()
}

fn metadata() -> Metadata {
    Metadata {
        mode: Mode::from_st_mode(0o644),
        modified: Timestamp::new(1_700_000_000, 5).expect("a time"),
        change: None,
    }
}

/// A message that lists 500 files.
///
/// # Panics
/// Never: the paths and times are right.
#[must_use]
pub fn listing() -> Message {
    let entries = raw_paths().into_iter().take(500).map(|path| Entry {
        path: RelativePath::parse(&path).expect("a path"),
        kind: Kind::File { size: Some(1700) },
        metadata: metadata(),
    });
    Message::Entries {
        first: 0,
        entries: entries.collect(),
    }
}

/// The bytes of [`listing`], as they cross.
#[must_use]
pub fn encode_listing(listing: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    listing.encode(&mut bytes);
    bytes
}

/// Reads them.
#[must_use]
pub fn decode_listing(bytes: &[u8]) -> bool {
    // Kind and length come first.
    matches!(Message::decode(bytes[0], &bytes[4..]), Ok(Some(_)))
}

/// The value of one extent.
#[must_use]
pub fn hash_extent(content: &[u8]) -> bool {
    let Some(mut hasher) = ExtentHasher::new(0) else {
        return false;
    };
    for piece in content.chunks(MAX_CONTENT) {
        let _ = hasher.update(piece);
    }
    hasher.finish(Whole::Part).is_some()
}

/// As much as an extent holds.
#[must_use]
pub fn extent() -> Vec<u8> {
    noise(usize::try_from(EXTENT_SIZE).unwrap_or(0))
}

/// Both ends of a lane.
///
/// # Panics
/// Never, unless the machine has no randomness.
#[must_use]
pub fn lane() -> (Sealer, Opener) {
    let identity = || Identity::generate().expect("an identity");
    let mut client = Channel::client(&identity()).expect("a client");
    let mut server = Channel::server(&identity()).expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let (mut wire, mut received) = (Vec::new(), Vec::new());
        if client.poll_transmit(&mut wire) {
            server.handle_bytes(&wire, &mut received).expect("heard");
        }
        wire.clear();
        if server.poll_transmit(&mut wire) {
            client.handle_bytes(&wire, &mut received).expect("heard");
        }
    }
    let code = Code::given("a code for benchmarks").expect("a code");
    let (client_binding, server_binding) = (client.binding(), server.binding());
    let (initiator, share) =
        Initiator::start(&code, &client_binding.expect("bound"), b"a").expect("begun");
    let (responder, reply) =
        Responder::respond(&code, &server_binding.expect("bound"), b"b", &share, b"a")
            .expect("answered");
    let (initiator, tag) = initiator.finish(&reply, b"b").expect("finished");
    let (server_key, tag) = responder.verify(&tag).expect("proved");
    let client_key = initiator.verify(&tag).expect("proved");
    let mut sending = SessionKeys::new(&client.session_exporter().expect("keys"), &client_key);
    let mut receiving = SessionKeys::new(&server.session_exporter().expect("keys"), &server_key);
    let suite = Suite::preferred()[0];
    let (out, into) = (sending.open_lane(0), receiving.open_lane(0));
    (
        Sealer::new(suite, out.expect("a lane").sender_to_receiver),
        Opener::new(suite, into.expect("a lane").sender_to_receiver),
    )
}

/// A sealed record of 128 KiB, and who opens it.
///
/// # Panics
/// Never: there is room.
#[must_use]
pub fn sealed() -> (Opener, Vec<u8>) {
    let (mut sealer, opener) = lane();
    let mut record = noise(MAX_CONTENT);
    let tag = sealer.seal_in_place(b"header", &mut record).expect("a tag");
    record.extend_from_slice(&tag);
    (opener, record)
}

/// Who seals, and what.
#[must_use]
pub fn unsealed() -> (Sealer, Vec<u8>) {
    (lane().0, noise(MAX_CONTENT))
}

/// Seals a record of 128 KiB.
#[must_use]
pub fn seal((mut sealer, mut record): (Sealer, Vec<u8>)) -> bool {
    sealer.seal_in_place(b"header", &mut record).is_ok()
}

/// Opens it.
#[must_use]
pub fn open((mut opener, mut record): (Opener, Vec<u8>)) -> bool {
    opener.open_in_place(b"header", &mut record).is_ok()
}

/// Puts files of 1,700 bytes into one record until it is full, and takes them out again.
#[must_use]
pub fn pack_small_files(mut record: RecordBuilder) -> usize {
    let mut entry = 0;
    while record.room() > 1700 {
        let of = Attempt { entry, attempt: 0 };
        let _ = record.content_mut();
        record.commit_content(of, 0, 1700);
        let _ = record.add_value(of, 0, &[7; 32]);
        entry += 1;
    }
    let sealed = record.seal(RecordKind::Items, |_, _| {
        Ok::<_, std::convert::Infallible>([])
    });
    sealed.map_or(0, |bytes| items(&bytes[8..]).filter(Result::is_ok).count())
}

/// A file of 1,000 extents that is being received, in a directory of its own, and their values.
#[derive(Debug)]
pub struct Receiving {
    file: Temporary,
    values: Vec<ExtentValue>,
    _directory: TempDir,
}

/// Begins to receive one.
///
/// # Panics
/// There is no room for a temporary directory.
#[must_use]
pub fn receiving() -> Receiving {
    let directory = tempfile::tempdir().expect("a directory");
    let size = 1000 * EXTENT_SIZE;
    let version = Version {
        size,
        metadata: metadata(),
    };
    let name = Name::parse(b"large").expect("a name");
    let root = Arc::new(Directory::open_root(directory.path()).expect("opened"));
    let begun = root.begin_file(name, version, [6; 16]).expect("begun");
    let value =
        |extent| ExtentValue::known(extent * EXTENT_SIZE, size, [7; 32]).expect("an extent");
    Receiving {
        file: begun.expect("nobody else writes it"),
        values: (0..1000).map(value).collect(),
        _directory: directory,
    }
}

/// Appends a record to its journal for each extent.
#[must_use]
pub fn append_to_journal(receiving: Receiving) -> Receiving {
    for value in &receiving.values {
        receiving.file.note(value);
    }
    receiving
}
