//! Messages a second, ours beside tokio-util's `LengthDelimitedCodec`, over the same stream.
//!
//! `cargo bench -p packhorse-frame` runs both in turn, round after round, and prints medians and their
//! ratio. Decoding begins with a buffer that the bytes have arrived in, since putting them there is the kernel's
//! work and the same for both, and ends with messages that were looked at and dropped; encoding begins with payloads and ends with bytes or pieces that a write would take.
#![allow(clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use packhorse_frame::{FrameSpec, Limits};
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

/// What a write takes at most.
const WRITE: usize = 64 * 1024;

/// Pieces that one writev takes here.
const PIECES: usize = 64;

const ROUNDS: usize = 31;

struct Case {
    size: usize,
    count: usize,
    stream: Vec<u8>,
    payloads: Vec<Bytes>,
}

impl Case {
    fn new(size: usize, count: usize) -> Self {
        let payloads: Vec<Bytes> = (0..count)
            .map(|number| vec![u8::try_from(number % 251).unwrap_or_default(); size].into())
            .collect();
        let mut stream = Vec::new();
        for payload in &payloads {
            let length = u32::try_from(size).unwrap_or_default();
            stream.extend_from_slice(&length.to_be_bytes());
            stream.extend_from_slice(payload);
        }
        Self {
            size,
            count,
            stream,
            payloads,
        }
    }
}

fn main() {
    for case in [Case::new(64, 100_000), Case::new(64 * 1024, 1_000)] {
        compare("decode", &case, decode_ours, decode_theirs);
        compare("encode", &case, encode_ours, encode_theirs);
    }
}

fn compare(what: &str, case: &Case, ours: fn(&Case, BytesMut), theirs: fn(&Case, BytesMut)) {
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_ours.push(time(ours, case));
        of_theirs.push(time(theirs, case));
    }
    let (ours, theirs) = (median(of_ours), median(of_theirs));
    let rate = |time: Duration| {
        #[allow(clippy::cast_precision_loss, reason = "a rate to three digits")]
        let count = case.count as f64;
        count / time.as_secs_f64() / 1e6
    };
    println!(
        "{what} {:>6} bytes: ours {:8.3} M messages/s, LengthDelimitedCodec {:8.3}, ratio {:.2}",
        case.size,
        rate(ours),
        rate(theirs),
        rate(ours) / rate(theirs),
    );
}

fn time(work: fn(&Case, BytesMut), case: &Case) -> Duration {
    let mut arrived = BytesMut::from(&case.stream[..]);
    // Shares the memory, so that giving it back is not on the clock.
    let keep = arrived.split_off(arrived.len());
    let start = Instant::now();
    work(case, arrived);
    let elapsed = start.elapsed();
    drop(keep);
    elapsed
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn decode_ours(case: &Case, mut input: BytesMut) {
    let spec: FrameSpec = "u32be".parse().expect("a framing");
    let mut decoder = spec.decoder(Limits::default());
    let mut seen = 0;
    while let Some(message) = decoder.decode(&mut input).expect("good frames") {
        seen += black_box(message).payload.len();
    }
    assert_eq!(seen, case.size * case.count);
}

fn decode_theirs(case: &Case, mut input: BytesMut) {
    let mut codec = LengthDelimitedCodec::builder()
        .max_frame_length(16 << 20)
        .new_codec();
    let mut seen = 0;
    while let Some(message) = codec.decode(&mut input).expect("good frames") {
        // Ours gives `Bytes`: so does theirs, then.
        seen += black_box(message.freeze()).len();
    }
    assert_eq!(seen, case.size * case.count);
}

/// As a connection sends: small frames are put together, large ones go as they lie.
fn encode_ours(case: &Case, _arrived: BytesMut) {
    const SMALL: usize = 4 * 1024;
    let spec: FrameSpec = "u32be".parse().expect("a framing");
    let encoder = spec.encoder(Limits::default());
    let mut output = BytesMut::with_capacity(WRITE + SMALL);
    for payload in &case.payloads {
        if payload.len() > SMALL {
            let frame = encoder.encode(payload.clone()).expect("it fits");
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = frame.chunks_vectored(&mut pieces);
            black_box(&pieces[..count]);
            continue;
        }
        encoder.encode_into(payload, &mut output).expect("it fits");
        if output.len() >= WRITE {
            black_box(&output[..]);
            output.clear();
        }
    }
    black_box(&output[..]);
}

fn encode_theirs(case: &Case, _arrived: BytesMut) {
    let mut codec = LengthDelimitedCodec::builder()
        .max_frame_length(16 << 20)
        .new_codec();
    let mut output = BytesMut::with_capacity(WRITE + 4096);
    for payload in &case.payloads {
        codec.encode(payload.clone(), &mut output).expect("it fits");
        if output.len() >= WRITE {
            black_box(&output[..]);
            output.clear();
        }
    }
    black_box(&output[..]);
}
