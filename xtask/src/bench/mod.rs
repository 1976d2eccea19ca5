//! Trees over loopback: packhorse beside those who do the same, in turns, each result compared.

mod ground;
pub(crate) mod network;
mod peers;
mod sets;
mod table;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::json;

use self::ground::{Destination, lost};
use self::peers::{Bench, Moved, Peer};
use self::sets::{Set, Work};
use self::table::Row;
use crate::run::{cargo, run, target};
use crate::tools;

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// What is moved.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "large,small,real,byte,unchanged"
    )]
    set: Vec<Set>,
    /// Who moves it.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "packhorse,packhorse-insecure,scp-gcm,scp,rsync-ssh,rsync-daemon,tar-ncat,tar-ssh,rcp,rcp-insecure,sendme,cp"
    )]
    peers: Vec<Peer>,
    /// How often each of them moves each set.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Bytes of the large file.
    #[arg(long, default_value_t = 2 << 30)]
    size: u64,
    /// Instead of all that: count the instructions of the inner loops, and fail where they are 5% more than
    /// benches/baseline.json says.
    #[arg(long)]
    instructions: bool,
    /// With --instructions: save what was counted as the baseline.
    #[arg(long, requires = "instructions")]
    save_baseline: bool,
    /// Where sources and destinations are made; not on a filesystem in memory, please.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// Runs the benchmark and prints a table for each set.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    if args.instructions {
        return crate::instructions::instructions(args.save_baseline);
    }
    ensure!(args.runs > 0, "--runs must be at least 1");
    tools::ensure(tools::FOR_BENCHMARKS)?;
    run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "packhorse",
    ]))?;
    let peers = available(&args.peers);
    let place = tempfile::Builder::new()
        .prefix("packhorse-bench-")
        .tempdir_in(&args.directory)?;
    let bench = Bench::new(place.path(), None)?;
    let mut log = row_log()?;
    for &set in &args.set {
        let work = set.make(place.path(), args.size)?;
        let mut rows = Vec::new();
        let mut peers = peers.clone();
        for round in 0..args.runs {
            let mut failed = Vec::new();
            // Whoever starts a round finds a quieter disk: everybody does so in turn.
            for turn in 0..peers.len() {
                let peer = peers[(round + turn) % peers.len()];
                let row = match measure(&bench, &work, (set, peer), place.path()) {
                    Err(error) if !peer.keeps_everything() => {
                        println!("  {set:?} without {}: {error:#}", peer.title());
                        failed.push(peer);
                        continue;
                    }
                    measured => measured?,
                };
                println!(
                    "  {set:?} {}/{} {}: {:.3} s  {}",
                    round + 1,
                    args.runs,
                    peer.title(),
                    row.moved.wall.as_secs_f64(),
                    row.told()
                );
                writeln!(log, "{}", object(set, round, &row))?;
                rows.push(row);
            }
            peers.retain(|peer| !failed.contains(peer));
        }
        table::print(set, &peers, &rows);
    }
    Ok(())
}

/// Those that there are, or that can be built; it says which cannot.
fn available(peers: &[Peer]) -> Vec<Peer> {
    let installed = |peer: &Peer| match peer.install() {
        Ok(()) => true,
        Err(error) => {
            println!("  without {}: {error:#}", peer.title());
            false
        }
    };
    peers.iter().copied().filter(installed).collect()
}

fn measure(
    bench: &Bench,
    work: &Work,
    (set, peer): (Set, Peer),
    place: &std::path::Path,
) -> Result<Row> {
    let destination = Destination::new(place, work)?;
    let moved = bench
        .run(peer, work, &destination.path)
        .with_context(|| format!("{peer:?} with the set {set:?}"))?;
    let lost = lost(&work.source, &destination.path.join(work.name()))
        .with_context(|| format!("{peer:?} changed the data"))?;
    let told = lost.join(", ");
    if let Some(status) = moved.complaint {
        // Where only links led nowhere it has done its work.
        ensure!(!lost.contains(&"files"), "ended with {status}, lost {told}");
    }
    ensure!(
        lost.is_empty() || !peer.keeps_everything(),
        "{} lost {told}",
        peer.title(),
    );
    Ok(Row { peer, moved, lost })
}

/// Raw rows, of all runs of this command.
fn row_log() -> Result<File> {
    let place = target().join("bench");
    fs::create_dir_all(&place)?;
    let path = place.join("rows.ndjson");
    println!("  raw rows: {}", path.display());
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

fn object(set: Set, round: usize, row: &Row) -> serde_json::Value {
    let Moved {
        wall,
        sender,
        receiver,
        ..
    } = &row.moved;
    json!({
        "set": format!("{set:?}"),
        "round": round,
        "peer": row.peer.title(),
        "wall_seconds": wall.as_secs_f64(),
        "sender_cpu_seconds": sender.processor.as_secs_f64(),
        "sender_peak_bytes": sender.peak_memory,
        "receiver_cpu_seconds": receiver.map(|usage| usage.processor.as_secs_f64()),
        "receiver_peak_bytes": receiver.map(|usage| usage.peak_memory),
        "lost": row.lost,
    })
}
