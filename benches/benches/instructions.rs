//! How many instructions the inner loops take, under callgrind: the same on a busy machine as on a quiet one.
#![allow(
    missing_docs,
    unused_qualifications,
    reason = "the macros make public modules, and name things in full"
)]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use packhorse_benches as inner;

#[library_benchmark]
#[bench::thousand(inner::framed())]
fn decode_frames(input: (packhorse_frame::Decoder, bytes::BytesMut)) -> usize {
    black_box(inner::decode_frames(input))
}

#[library_benchmark]
#[bench::thousand(inner::raw_paths())]
fn check_paths(paths: Vec<Vec<u8>>) -> usize {
    black_box(inner::check_paths(&paths))
}

#[library_benchmark]
#[bench::five_hundred(inner::listing())]
fn encode_listing(listing: packhorse_proto::message::Message) -> Vec<u8> {
    black_box(inner::encode_listing(&listing))
}

#[library_benchmark]
#[bench::five_hundred(inner::encode_listing(&inner::listing()))]
fn decode_listing(bytes: Vec<u8>) -> bool {
    black_box(inner::decode_listing(&bytes))
}

#[library_benchmark]
#[bench::one_mebibyte(inner::extent())]
fn hash_extent(content: Vec<u8>) -> bool {
    black_box(inner::hash_extent(&content))
}

#[library_benchmark]
#[bench::record(inner::unsealed())]
fn seal(input: (packhorse_trust::Sealer, Vec<u8>)) -> bool {
    black_box(inner::seal(input))
}

#[library_benchmark]
#[bench::record(inner::sealed())]
fn open(input: (packhorse_trust::Opener, Vec<u8>)) -> bool {
    black_box(inner::open(input))
}

#[library_benchmark]
#[bench::record(packhorse_proto::record::RecordBuilder::new())]
fn pack_small_files(record: packhorse_proto::record::RecordBuilder) -> usize {
    black_box(inner::pack_small_files(record))
}

#[library_benchmark]
#[bench::thousand(inner::receiving())]
fn append_to_journal(receiving: inner::Receiving) -> inner::Receiving {
    black_box(inner::append_to_journal(receiving))
}

library_benchmark_group!(
    name = loops,
    benchmarks = [
        decode_frames,
        check_paths,
        encode_listing,
        decode_listing,
        hash_extent,
        seal,
        open,
        pack_small_files,
        append_to_journal
    ]
);

main!(library_benchmark_groups = loops);
