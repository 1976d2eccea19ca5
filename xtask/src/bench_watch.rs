//! `packhorse watch --streams` against tshark's own table of TCP conversations, on large captures, in turns.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::measure::{Measured, Spread};
use crate::run::{cargo, describe, printed, run, target};
use crate::tools;

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchWatchArgs {
    /// Size of each capture, in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// How often each program reads each capture.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// What is in a capture: this many streams at a time, each of so many segments with data.
struct Work {
    name: &'static str,
    at_once: u32,
    segments: u32,
}

const WORKS: [Work; 2] = [
    Work {
        name: "8 long streams",
        at_once: 8,
        segments: u32::MAX,
    },
    Work {
        name: "streams of 16 segments, 1,000 at a time",
        at_once: 1000,
        segments: 16,
    },
];

/// Bytes of payload in a full segment.
const MSS: u16 = 1448;

/// One reading of a capture.
struct Measurement {
    seconds: f64,
    mebibytes: f64,
}

/// Runs the benchmark and prints a table.
pub(crate) fn bench_watch(args: &BenchWatchArgs) -> Result<()> {
    ensure!(args.runs > 0, "--runs must be at least 1");
    tools::ensure(tools::FOR_TESTS)?;
    tools::ensure(tools::FOR_BENCHMARKS)?;
    run(&mut cargo(["build", "--release", "--package", "packhorse"]))?;
    let place = tempfile::tempdir_in(target())?;
    let capture = place.path().join("capture.pcap");
    println!(
        "| capture of {} MiB | | seconds: median (min to max) | peak memory, MiB | ratio |",
        args.mib
    );
    println!("|---|---|---|---|---|");
    for work in &WORKS {
        let streams = make(&capture, work, args.mib << 20)?;
        let mut measured = PROGRAMS.map(|_| Vec::new());
        for _ in 0..args.runs {
            for ((program, arguments), measured) in PROGRAMS.iter().zip(&mut measured) {
                let (meter, mut command) =
                    Measured::new(program_path(program), place.path().join("usage"));
                command.args(*arguments).arg(&capture);
                measured.push(measure(&meter, &mut command, streams)?);
            }
        }
        print(work, streams, &measured);
    }
    Ok(())
}

/// What is compared: the last is what ratios are to.
const PROGRAMS: [(&str, &[&str]); 2] = [
    ("packhorse", &["watch", "--streams"]),
    ("tshark", &["-n", "-q", "-z", "conv,tcp", "-r"]),
];

fn program_path(name: &str) -> PathBuf {
    match name {
        "packhorse" => target().join("release").join(name),
        name => name.into(),
    }
}

fn measure(meter: &Measured, command: &mut Command, streams: u64) -> Result<Measurement> {
    let begin = Instant::now();
    let told = printed(command)?;
    let seconds = begin.elapsed().as_secs_f64();
    // Each tells a conversation in a line with its two ends; only packhorse's others begin with an arrow.
    let told = told
        .lines()
        .filter(|line| line.contains(" <-> ") || line.contains(":40000 -> "));
    let told = told.count() as u64;
    ensure!(
        told == streams,
        "{} told {told} of {streams} streams",
        describe(command)
    );
    Ok(Measurement {
        seconds,
        mebibytes: (meter.usage()?.peak_memory >> 10) as f64 / 1024.0,
    })
}

fn print(work: &Work, streams: u64, measured: &[Vec<Measurement>; PROGRAMS.len()]) {
    let seconds = |one: &Vec<Measurement>| Spread::of(one.iter().map(|one| one.seconds));
    let memory = |one: &Vec<Measurement>| Spread::of(one.iter().map(|one| one.mebibytes));
    let theirs = seconds(&measured[1]).map_or(f64::NAN, |spread| spread.median);
    for ((name, arguments), one) in PROGRAMS.iter().zip(measured) {
        let (Some(time), Some(memory)) = (seconds(one), memory(one)) else {
            continue;
        };
        println!(
            "| {}: {streams} | {name} {} | {:.2} ({:.2} to {:.2}) | {:.0} | {:.1} |",
            work.name,
            arguments.join(" "),
            time.median,
            time.min,
            time.max,
            memory.max,
            theirs / time.median
        );
    }
}

/// Writes a capture of at least `size` bytes; gives how many streams are in it.
fn make(path: &Path, work: &Work, size: u64) -> Result<u64> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut capture = Capture {
        file: BufWriter::with_capacity(1 << 20, file),
        written: 0,
        micros: 1_700_000_000_000_000,
    };
    // The header of a pcap file: microseconds, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        capture.put(&word.to_le_bytes())?;
    }
    let (mut begun, mut streams) = (0, Vec::new());
    while capture.written < size || !(work.segments == u32::MAX || streams.is_empty()) {
        while streams.len() < work.at_once as usize && capture.written < size {
            let stream = Stream::new(begun, work.segments);
            stream.open(&mut capture)?;
            streams.push(stream);
            begun += 1;
        }
        for stream in &mut streams {
            stream.go_on(&mut capture)?;
        }
        streams.retain(|stream| stream.left > 0);
    }
    capture.file.flush()?;
    Ok(u64::from(begun))
}

struct Capture {
    file: BufWriter<File>,
    written: u64,
    micros: u64,
}

/// A stream of full segments from its client, and an acknowledgment for every two.
struct Stream {
    number: u32,
    sequence: [u32; 2],
    /// Segments that are still to be sent.
    left: u32,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

impl Stream {
    fn new(number: u32, segments: u32) -> Self {
        Self {
            number,
            // Numbers wrap, for the first streams soon.
            sequence: [
                number.wrapping_mul(1000).wrapping_sub(100_000),
                number.wrapping_mul(777),
            ],
            left: segments,
        }
    }

    fn open(&self, capture: &mut Capture) -> io::Result<()> {
        let [client, server] = self.sequence;
        let before = |number: u32| number.wrapping_sub(1);
        self.segment(capture, 0, [before(client), 0], SYN, 0)?;
        self.segment(capture, 1, [before(server), client], SYN | ACK, 0)?;
        self.segment(capture, 0, [client, server], ACK, 0)
    }

    fn go_on(&mut self, capture: &mut Capture) -> io::Result<()> {
        for _ in 0..2 {
            let [client, server] = self.sequence;
            let last = self.left == 1;
            self.segment(
                capture,
                0,
                [client, server],
                if last { ACK | FIN } else { ACK },
                MSS,
            )?;
            self.sequence[0] = client.wrapping_add(u32::from(MSS) + u32::from(last));
            self.left = self.left.saturating_sub(u32::from(self.left != u32::MAX));
        }
        let [client, server] = self.sequence;
        let flags = if self.left == 0 { ACK | FIN } else { ACK };
        self.segment(capture, 1, [server, client], flags, 0)
    }

    fn segment(
        &self,
        capture: &mut Capture,
        from: usize,
        numbers: [u32; 2],
        flags: u8,
        payload: u16,
    ) -> io::Result<()> {
        let [_, a, b, c] = self.number.to_be_bytes();
        let address = [10, a, b, c];
        let mut ends = [(address, 40_000_u16), ([192, 0, 2, 1], 9000)];
        if from == 1 {
            ends.reverse();
        }
        let mut frame = Vec::with_capacity(usize::from(66 + payload));
        frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        frame.extend((52 + payload).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(ends[0].0.iter().chain(&ends[1].0));
        frame.extend(ends.iter().flat_map(|end| end.1.to_be_bytes()));
        frame.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        frame.extend([0x80, flags, 0xea, 0x60, 0, 0, 0, 0]);
        // Timestamps, after two bytes of padding.
        frame.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]);
        frame.resize(frame.len() + usize::from(payload), b'x');
        capture.frame(&frame)
    }
}

impl Capture {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.micros += 11;
        let (second, micros) = (self.micros / 1_000_000, self.micros % 1_000_000);
        let len = frame.len() as u64;
        for word in [second, micros, len, len] {
            // Each fits four bytes.
            self.put(&word.to_le_bytes()[..4])?;
        }
        self.put(frame)
    }
}
