//! One large file over links with a rate, a delay and loss, each made between two network namespaces.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use packhorse_netlab::{Conditions, Lab};
use serde_json::json;

use super::peers::{Bench, Peer};
use super::row_log;
use super::sets::{Work, fill};
use crate::measure::Spread;
use crate::run::{cargo, run, succeeds};
use crate::tools;

/// Which links, and who.
#[derive(Args)]
pub(crate) struct BenchNetworkArgs {
    /// Rates of the link in Mbit/s.
    #[arg(long, value_delimiter = ',', default_value = "100,500")]
    rate: Vec<u64>,
    /// Round trips in milliseconds.
    #[arg(long, value_delimiter = ',', default_value = "0,50,200")]
    rtt: Vec<u64>,
    /// Packets that are lost, of a hundred, in either direction.
    #[arg(long, value_delimiter = ',', default_value = "0,0.1,1")]
    loss: Vec<f64>,
    /// Who moves the file.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "packhorse,scp-gcm,rsync-ssh"
    )]
    peers: Vec<Peer>,
    /// How often each of them moves it over each link.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// How large the file is: what the link carries in so many seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Where source and destination are made.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

/// A link.
#[derive(Debug, Clone, Copy)]
struct Rung {
    megabits: u64,
    milliseconds: u64,
    percent: f64,
}

impl Rung {
    fn conditions(self) -> Conditions {
        let round_trip = Duration::from_millis(self.milliseconds);
        let conditions = Conditions {
            delay: round_trip / 2,
            rate: Some(self.megabits * 1_000_000),
            loss: self.percent / 100.0,
            seed: self.megabits + self.milliseconds,
            ..Conditions::default()
        };
        // What routers are told to have: a round trip's worth, and as much as a short link needs.
        conditions.with_queue_of(round_trip.max(Duration::from_millis(20)))
    }

    fn lab(self) -> Result<Lab> {
        let conditions = self.conditions();
        let back = Conditions {
            seed: !conditions.seed,
            ..conditions
        };
        Lab::new(conditions, back).context("cannot make a network: it takes root and /dev/net/tun")
    }
}

/// Runs all rungs and prints the table.
pub(crate) fn bench_network(args: &BenchNetworkArgs) -> Result<()> {
    ensure!(args.runs > 0, "--runs must be at least 1");
    tools::ensure(tools::FOR_BENCHMARKS)?;
    run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "packhorse",
    ]))?;
    let place = tempfile::Builder::new()
        .prefix("packhorse-network-")
        .tempdir_in(&args.directory)?;
    let mut table = vec![heading(&args.peers)];
    for &megabits in &args.rate {
        let source = place.path().join(format!("{megabits}"));
        fs::create_dir(&source)?;
        let size = megabits * 1_000_000 / 8 * args.seconds;
        fill(&source.join("large.bin"), size)?;
        for &milliseconds in &args.rtt {
            for &percent in &args.loss {
                let rung = Rung {
                    megabits,
                    milliseconds,
                    percent,
                };
                let shares = climb(rung, args, &source, place.path())?;
                table.push(row(rung, &shares));
            }
        }
        fs::remove_dir_all(&source)?;
    }
    println!("\n{}", table.join("\n"));
    Ok(())
}

/// One rung; answers each peer's share of the link.
fn climb(
    rung: Rung,
    args: &BenchNetworkArgs,
    source: &Path,
    place: &Path,
) -> Result<Vec<Option<Spread>>> {
    let work = Work {
        source: source.to_owned(),
        room: 0,
        arrived: false,
    };
    let size = fs::metadata(source.join("large.bin"))?.len();
    let mut shares = vec![Vec::new(); args.peers.len()];
    for round in 0..args.runs {
        for (&peer, shares) in args.peers.iter().zip(&mut shares) {
            let share = one(rung, peer, &work, place)?;
            let share = bits(size) / share.as_secs_f64() / bits(rung.megabits * 125_000);
            println!("  {rung:?} {}: {:.1}%", peer.title(), 100.0 * share);
            let object = json!({
                "network": { "megabits": rung.megabits, "round_trip_milliseconds": rung.milliseconds, "loss_percent": rung.percent },
                "round": round,
                "peer": peer.title(),
                "bytes": size,
                "share_of_link": share,
            });
            writeln!(row_log()?, "{object}")?;
            shares.push(share);
        }
    }
    Ok(shares.into_iter().map(Spread::of).collect())
}

/// Moves the file once over a fresh link; how long that took.
fn one(rung: Rung, peer: Peer, work: &Work, place: &Path) -> Result<Duration> {
    let destination = place.join("arrived");
    fs::create_dir(&destination)?;
    let lab = Arc::new(rung.lab()?);
    let reports = place.join("bench");
    fs::create_dir(&reports)?;
    let bench = Bench::new(&reports, Some(Arc::clone(&lab)))?;
    let (source, into) = (work.source.clone(), destination.clone());
    // Whatever is started from there stays at the left side of the link.
    let moved = lab.left().run(move || {
        let work = Work {
            source,
            room: 0,
            arrived: false,
        };
        bench.run(peer, &work, &into)
    })?;
    let arrived = destination.join(work.name()).join("large.bin");
    let mut compare = Command::new("cmp");
    if !succeeds(compare.arg(work.source.join("large.bin")).arg(arrived)) {
        bail!("{} changed the data", peer.title());
    }
    fs::remove_dir_all(destination)?;
    fs::remove_dir_all(reports)?;
    Ok(moved.wall)
}

#[allow(clippy::cast_precision_loss, reason = "to be shown in percent")]
fn bits(bytes: u64) -> f64 {
    8.0 * bytes as f64
}

fn heading(peers: &[Peer]) -> String {
    let names: Vec<&str> = peers.iter().map(|peer| peer.title()).collect();
    let lines = "|---".repeat(3 + peers.len());
    format!(
        "| Mbit/s | round trip, ms | loss, % | {} |\n{lines}|",
        names.join(" | ")
    )
}

fn row(rung: Rung, shares: &[Option<Spread>]) -> String {
    let shown: Vec<String> = shares
        .iter()
        .map(|share| {
            share.map_or_else(String::new, |share| format!("{:.1}%", 100.0 * share.median))
        })
        .collect();
    format!(
        "| {} | {} | {} | {} |",
        rung.megabits,
        rung.milliseconds,
        rung.percent,
        shown.join(" | ")
    )
}
