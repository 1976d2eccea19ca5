//! Echo servers under load: packhorse's against a hand-written one in tokio and Python's two, in turns; and
//! ten thousand connections at once. What loads them is `packhorse load`, which compares every answer.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::measure::Spread;
use crate::run::{cargo, describe, run, target, top};

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchEchoArgs {
    /// How often each server is loaded.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Connections, each with one message under way.
    #[arg(long, default_value_t = 100)]
    connections: u32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    size: u32,
    /// Who takes part.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "packhorse,tokio-framed,tokio-raw,asyncio,threading"
    )]
    servers: Vec<Server>,
    /// Instead: this many connections to packhorse at once, for a minute unless --seconds says otherwise.
    #[arg(long, value_name = "CONNECTIONS")]
    many: Option<u32>,
    /// With --many: messages a second over all connections.
    #[arg(long, default_value_t = 20_000, requires = "many")]
    rate: u32,
}

/// Who echoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// `packhorse listen --handler echo --frame u32be`.
    Packhorse,
    /// The example `tokio_echo framed`.
    TokioFramed,
    /// The example `tokio_echo raw`.
    TokioRaw,
    /// `asyncio_echo.py`.
    Asyncio,
    /// `threading_echo.py`.
    Threading,
}

/// What the rates of the others are compared with.
const BASELINE: Server = Server::TokioFramed;

/// One load of one server.
struct Measurement {
    server: Server,
    /// Answers a second.
    rate: f64,
    /// Processor time of the server for each answer, in microseconds.
    processor: f64,
    p50: f64,
    p99: f64,
}

/// Runs the benchmark and prints a table.
pub(crate) fn bench_echo(args: &BenchEchoArgs) -> Result<()> {
    ensure!(args.runs > 0, "--runs must be at least 1");
    run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "packhorse",
        "--package",
        "packhorse-server",
        "--bins",
        "--examples",
    ]))?;
    if let Some(connections) = args.many {
        return many(args, connections);
    }
    let mut measured = Vec::new();
    for round in 0..args.runs {
        // Whoever starts a round finds a quieter machine: everybody does so in turn.
        for turn in 0..args.servers.len() {
            let server = args.servers[(round + turn) % args.servers.len()];
            let one = measure(args, server).with_context(|| format!("{server:?}"))?;
            println!(
                "  {}/{} {server:?}: {:.0}/s, {:.2} µs",
                round + 1,
                args.runs,
                one.rate,
                one.processor
            );
            measured.push(one);
        }
    }
    print_table(&measured, args);
    Ok(())
}

fn measure(args: &BenchEchoArgs, server: Server) -> Result<Measurement> {
    let running = Running::start(server)?;
    let before = running.processor()?;
    let mut load = load_command(&running.endpoint, args.connections, "max", args);
    let report = report_of(&mut load)?;
    let spent = running.processor()? - before;
    let answered = number(&report, "answered")?;
    let rate = number(&report, "answered_per_second")?;
    let latency = &report["latency_us"];
    Ok(Measurement {
        server,
        rate,
        processor: spent.as_secs_f64() * 1e6 / answered.max(1.0),
        p50: number(latency, "p50")?,
        p99: number(latency, "p99")?,
    })
}

/// The memory of a server with very many connections, and whether anything is lost.
fn many(args: &BenchEchoArgs, connections: u32) -> Result<()> {
    let running = Running::start(Server::Packhorse)?;
    let empty = running.memory("VmRSS")?;
    let rate = args.rate.to_string();
    let mut load = load_command(&running.endpoint, connections, &rate, args);
    println!("  $ {}", describe(&load));
    let loading = load.stdout(Stdio::piped()).spawn()?;
    // Well into the run, and before its end.
    std::thread::sleep(Duration::from_secs(u64::from(args.seconds) * 2 / 3));
    let full = running.memory("VmRSS")?;
    let report = parse(loading.wait_with_output()?)?;
    let peak = running.memory("VmHWM")?;
    let each = |memory: u64| memory.saturating_sub(empty) / u64::from(connections);
    println!("\n  {report}\n");
    println!("| resident memory of the server | KiB | bytes a connection |");
    println!("|---|---|---|");
    println!("| before anybody came | {} | |", empty >> 10);
    println!(
        "| with {connections} connections | {} | {} |",
        full >> 10,
        each(full)
    );
    println!("| at its peak | {} | {} |", peak >> 10, each(peak));
    Ok(())
}

fn load_command(endpoint: &str, connections: u32, rate: &str, args: &BenchEchoArgs) -> Command {
    let mut load = Command::new(target().join("release/packhorse"));
    load.args(["load", endpoint, "--json", "--rate", rate])
        .args(["--connections", &connections.to_string()])
        .args(["--size", &args.size.to_string()])
        .args(["--duration", &format!("{}s", args.seconds)]);
    load
}

fn report_of(load: &mut Command) -> Result<Value> {
    parse(load.stderr(Stdio::inherit()).output()?)
}

/// A load that lost or mixed up anything is no measurement.
fn parse(output: std::process::Output) -> Result<Value> {
    ensure!(
        output.status.success(),
        "packhorse load ended with {}",
        output.status
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn number(report: &Value, field: &str) -> Result<f64> {
    report[field]
        .as_f64()
        .with_context(|| format!("no {field} in {report}"))
}

/// A server that is not left behind.
struct Running {
    child: Child,
    endpoint: String,
}

impl Running {
    fn start(server: Server) -> Result<Self> {
        let mut command = server.command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", describe(&command)))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut running = Self {
            child,
            endpoint: String::new(),
        };
        let line = lines.next().context("it ended before it listened")??;
        std::thread::spawn(move || lines.for_each(drop));
        let address = match serde_json::from_str::<Value>(&line) {
            Ok(event) => event["addr"].as_str().map(str::to_owned),
            Err(_) => line.strip_prefix("listening ").map(str::to_owned),
        };
        let address = address.with_context(|| format!("expected an address, got {line}"))?;
        running.endpoint = format!("tcp://{address}");
        Ok(running)
    }

    /// User and system time so far (proc(5): fields 14 and 15 of stat, in ticks of 10 ms).
    fn processor(&self) -> Result<Duration> {
        let stat = fs::read_to_string(self.proc("stat"))?;
        let (_, rest) = stat.rsplit_once(") ").context("no name in stat")?;
        let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.sum::<Result<_, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// A field of /proc/PID/status, in bytes.
    fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kibibytes.context("no such field")?.parse::<u64>()? << 10)
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(file)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn command(self) -> Command {
        let release = target().join("release");
        match self {
            Self::Packhorse => {
                let mut command = Command::new(release.join("packhorse"));
                let echo = ["--handler", "echo", "--frame", "u32be", "--json", "-q"];
                command.args(["listen", "tcp://127.0.0.1:0"]).args(echo);
                command
            }
            Self::TokioFramed => example(&release, "framed"),
            Self::TokioRaw => example(&release, "raw"),
            Self::Asyncio => python("asyncio_echo.py"),
            Self::Threading => python("threading_echo.py"),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Packhorse => "packhorse listen --handler echo --frame u32be",
            Self::TokioFramed => "tokio, LengthDelimitedCodec (examples/tokio_echo.rs)",
            Self::TokioRaw => "tokio, bytes as they come (examples/tokio_echo.rs)",
            Self::Asyncio => "Python asyncio streams",
            Self::Threading => "Python ThreadingTCPServer",
        }
    }
}

fn example(release: &Path, how: &str) -> Command {
    let mut command = Command::new(release.join("examples/tokio_echo"));
    command.arg(how);
    command
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(top().join("xtask/peers").join(script));
    command
}

fn print_table(measured: &[Measurement], args: &BenchEchoArgs) {
    let of = |server: Server, what: fn(&Measurement) -> f64| {
        let of = measured.iter().filter(move |one| one.server == server);
        Spread::of(of.map(what))
    };
    let baseline = of(BASELINE, |one| one.rate);
    println!(
        "\n| {} connections, {} bytes | answers a second: median (min to max) | rate against tokio, framed | µs of its processor an answer | p50 / p99, µs |",
        args.connections, args.size
    );
    println!("|---|---|---|---|---|");
    for &server in &args.servers {
        let (Some(rate), Some(processor), Some(p50), Some(p99)) = (
            of(server, |one| one.rate),
            of(server, |one| one.processor),
            of(server, |one| one.p50),
            of(server, |one| one.p99),
        ) else {
            continue;
        };
        let against = baseline.map_or(f64::NAN, |baseline| rate.median / baseline.median);
        println!(
            "| {} | {:.0} ({:.0} to {:.0}) | {against:.2} | {:.2} ({:.2} to {:.2}) | {:.0} / {:.0} |",
            server.title(),
            rate.median,
            rate.min,
            rate.max,
            processor.median,
            processor.min,
            processor.max,
            p50.median,
            p99.median,
        );
    }
}
