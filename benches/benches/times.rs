//! How long the inner loops take on this machine, now.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use packhorse_benches as inner;
use packhorse_proto::record::{MAX_CONTENT, RecordBuilder};

fn main() {
    divan::main();
}

#[divan::bench]
fn decode_frames(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(1000_usize))
        .with_inputs(inner::framed)
        .bench_values(inner::decode_frames);
}

#[divan::bench]
fn check_paths(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(1000_usize))
        .with_inputs(inner::raw_paths)
        .bench_refs(|paths| inner::check_paths(paths));
}

#[divan::bench]
fn encode_listing(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(500_usize))
        .with_inputs(inner::listing)
        .bench_refs(|listing| inner::encode_listing(listing));
}

#[divan::bench]
fn decode_listing(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(500_usize))
        .with_inputs(|| inner::encode_listing(&inner::listing()))
        .bench_refs(|bytes| inner::decode_listing(bytes));
}

#[divan::bench]
fn hash_extent(bencher: Bencher) {
    let content = inner::extent();
    bencher
        .counter(BytesCount::new(content.len()))
        .bench_local(|| inner::hash_extent(&content));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn seal(bencher: Bencher) {
    bencher
        .counter(BytesCount::new(MAX_CONTENT))
        .with_inputs(inner::unsealed)
        .bench_values(inner::seal);
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn open(bencher: Bencher) {
    bencher
        .counter(BytesCount::new(MAX_CONTENT))
        .with_inputs(inner::sealed)
        .bench_values(inner::open);
}

#[divan::bench]
fn pack_small_files(bencher: Bencher) {
    bencher
        .with_inputs(RecordBuilder::new)
        .bench_values(inner::pack_small_files);
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn append_to_journal(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(1000_usize))
        .with_inputs(inner::receiving)
        .bench_values(inner::append_to_journal);
}
