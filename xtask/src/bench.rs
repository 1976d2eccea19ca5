//! One large file over loopback: packhorse against scp, in turns, each result compared.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::measure::{Measured, Spread, Usage};
use crate::run::{cargo, describe, run, target};
use crate::sshd::Sshd;
use crate::tools;

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// How often each contestant runs.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Bytes of random data in the file.
    #[arg(long, default_value_t = 2 << 30)]
    size: u64,
    /// Where source and destinations are made; not on a filesystem in memory, please.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
    /// Who takes part.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "packhorse,scp-gcm,scp-default,cp"
    )]
    movers: Vec<Mover>,
}

/// Who moves the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mover {
    /// Both ends of packhorse, encrypted.
    Packhorse,
    /// scp with the fastest cipher it has.
    ScpGcm,
    /// scp as it comes.
    ScpDefault,
    /// What the disk alone takes.
    Cp,
}

/// What the rates of the others are compared with.
const BASELINE: Mover = Mover::ScpGcm;

/// One run of one mover.
struct Run {
    mover: Mover,
    /// From the start of the sending command until both ends have ended, in seconds.
    wall: f64,
    sender: Usage,
    receiver: Option<Usage>,
}

/// What all runs share.
struct Ground {
    directory: PathBuf,
    source: PathBuf,
    packhorse: PathBuf,
    code_file: PathBuf,
    sshd: Sshd,
    /// The commands of the movers, as they were run last.
    commands: Vec<(Mover, String)>,
}

/// Runs the benchmark and prints a table.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    ensure!(args.runs > 0, "--runs must be at least 1");
    tools::ensure(tools::FOR_BENCHMARKS)?;
    if args.movers.contains(&Mover::Packhorse) {
        run(&mut cargo([
            "build",
            "--release",
            "--locked",
            "--package",
            "packhorse",
        ]))?;
    }
    let directory = tempfile::Builder::new()
        .prefix("packhorse-bench-")
        .tempdir_in(&args.directory)?;
    let mut ground = Ground::new(directory.path(), args.size)?;
    let mut runs = Vec::new();
    for round in 0..args.runs {
        // Whoever starts a round finds a quieter disk: everybody does so in turn.
        for turn in 0..args.movers.len() {
            let run = ground.measure(args.movers[(round + turn) % args.movers.len()])?;
            println!(
                "  {}/{} {:?}: {:.2} s",
                round + 1,
                args.runs,
                run.mover,
                run.wall
            );
            runs.push(run);
        }
    }
    print_table(&runs, args);
    ground.print_commands();
    Ok(())
}

impl Ground {
    fn new(directory: &Path, size: u64) -> Result<Self> {
        let source = directory.join("source.bin");
        println!("  {size} random bytes into {}", source.display());
        let mut random = File::open("/dev/urandom")?.take(size);
        std::io::copy(&mut random, &mut File::create(&source)?)?;
        let code_file = directory.join("code");
        fs::write(&code_file, "a code for benchmarks\n")?;
        Ok(Self {
            sshd: Sshd::new(directory.join("ssh"))?,
            packhorse: target().join("release/packhorse"),
            directory: directory.to_path_buf(),
            source,
            code_file,
            commands: Vec::new(),
        })
    }

    fn measure(&mut self, mover: Mover) -> Result<Run> {
        let destination = self.directory.join("destination");
        fs::create_dir(&destination)?;
        // What earlier runs left to be written must not be written on this one's time.
        run_quietly(&mut Command::new("sync"))?;
        let run = match mover {
            Mover::Packhorse => self.packhorse(&destination)?,
            Mover::ScpGcm => self.scp(mover, &["-c", "aes128-gcm@openssh.com"], &destination)?,
            Mover::ScpDefault => self.scp(mover, &[], &destination)?,
            Mover::Cp => self.cp(&destination)?,
        };
        let arrived = destination.join("source.bin");
        run_quietly(Command::new("cmp").arg(&self.source).arg(arrived))
            .with_context(|| format!("{mover:?} changed the data"))?;
        fs::remove_dir_all(&destination)?;
        Ok(run)
    }

    fn packhorse(&mut self, destination: &Path) -> Result<Run> {
        let (receiver, mut receive) =
            Measured::new(&self.packhorse, self.directory.join("receiver.time"));
        receive.arg("recv").arg(destination);
        receive.args([
            "--listen",
            "127.0.0.1:0",
            "-q",
            "--events",
            "-",
            "--code-file",
        ]);
        receive.arg(&self.code_file);
        receive.stdout(Stdio::piped()).process_group(0);
        let mut receiving = Ending(receive.spawn().context("cannot start /usr/bin/time")?);
        let address = listening_address(&mut receiving.0)?;

        let (sender, mut send) = Measured::new(&self.packhorse, self.directory.join("sender.time"));
        send.args(["send", "-q", "--code-file"])
            .arg(&self.code_file);
        send.arg(&self.source).arg(address);
        let start = Instant::now();
        run_quietly(&mut send)?;
        let status = receiving.0.wait()?;
        let wall = start.elapsed().as_secs_f64();
        ensure!(status.success(), "the receiver ended with {status}");
        self.note(Mover::Packhorse, &[&receive, &send]);
        Ok(Run {
            mover: Mover::Packhorse,
            wall,
            sender: sender.usage()?,
            receiver: Some(receiver.usage()?),
        })
    }

    fn scp(&mut self, mover: Mover, cipher: &[&str], destination: &Path) -> Result<Run> {
        let server = self.sshd.serve_one(self.directory.join("receiver.time"))?;
        let (sender, mut scp) = Measured::new("scp", self.directory.join("sender.time"));
        scp.args(cipher).args(self.sshd.client_arguments()?);
        scp.arg(&self.source).arg(self.sshd.remote(destination));
        let start = Instant::now();
        let sent = run_quietly(&mut scp);
        self.sshd.check(sent.is_ok())?;
        let receiver = server.join().expect("serving does not panic")?;
        let wall = start.elapsed().as_secs_f64();
        self.note(mover, &[&scp]);
        Ok(Run {
            mover,
            wall,
            sender: sender.usage()?,
            receiver: Some(receiver),
        })
    }

    fn cp(&mut self, destination: &Path) -> Result<Run> {
        let (sender, mut cp) = Measured::new("cp", self.directory.join("sender.time"));
        cp.arg("--reflink=never").arg(&self.source).arg(destination);
        let start = Instant::now();
        run_quietly(&mut cp)?;
        let wall = start.elapsed().as_secs_f64();
        self.note(Mover::Cp, &[&cp]);
        Ok(Run {
            mover: Mover::Cp,
            wall,
            sender: sender.usage()?,
            receiver: None,
        })
    }

    fn note(&mut self, mover: Mover, commands: &[&Command]) {
        self.commands.retain(|(known, _)| *known != mover);
        let directory = format!("{}/", self.directory.display());
        for command in commands {
            let text = describe(command).replace(&directory, "");
            self.commands.push((mover, text));
        }
    }

    fn print_commands(&self) {
        println!("\nCommands, with paths shortened:\n");
        for (_, command) in &self.commands {
            println!("    {command}");
        }
    }
}

/// A receiver that is not left behind when something fails.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            // The receiver is a child of /usr/bin/time: both are in the group made for them.
            if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

fn run_quietly(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// Waits for the first event, and leaves the rest to a thread that reads until the receiver ends.
fn listening_address(receiver: &mut Child) -> Result<String> {
    let stdout = receiver
        .stdout
        .take()
        .context("the receiver's output is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = lines
        .next()
        .context("the receiver ended before it listened")??;
    std::thread::spawn(move || lines.for_each(drop));
    let event: serde_json::Value = serde_json::from_str(&line)?;
    match (event["event"].as_str(), event["addr"].as_str()) {
        (Some("listening"), Some(address)) => Ok(address.to_owned()),
        _ => bail!("expected the event `listening`, got {line}"),
    }
}

fn print_table(runs: &[Run], args: &BenchArgs) {
    let size = args.size;
    let of = |mover: Mover| runs.iter().filter(move |run| run.mover == mover);
    let baseline = Spread::of(of(BASELINE).map(|run| run.wall));
    println!(
        "\n| {size} bytes | seconds: median (min to max) | MB/s | CPU seconds, both ends | rate against scp aes128-gcm | peak MiB, sender / receiver |"
    );
    println!("|---|---|---|---|---|---|");
    for &mover in &args.movers {
        let Some(wall) = Spread::of(of(mover).map(|run| run.wall)) else {
            continue;
        };
        let against = baseline.map_or(f64::NAN, |baseline| baseline.median / wall.median);
        #[allow(clippy::cast_precision_loss, reason = "a rate to three digits")]
        let rate = size as f64 / wall.median / 1e6;
        println!(
            "| {} | {:.2} ({:.2} to {:.2}) | {rate:.0} | {} | {against:.2} | {} |",
            mover.title(),
            wall.median,
            wall.min,
            wall.max,
            processor(of(mover)),
            memory(of(mover)),
        );
    }
}

fn processor<'a>(runs: impl Iterator<Item = &'a Run>) -> String {
    let both = |run: &Run| {
        let receiver = run
            .receiver
            .map(|usage| usage.processor)
            .unwrap_or_default();
        (run.sender.processor + receiver).as_secs_f64()
    };
    Spread::of(runs.map(both)).map_or_else(String::new, |spread| {
        format!(
            "{:.2} ({:.2} to {:.2})",
            spread.median, spread.min, spread.max
        )
    })
}

fn memory<'a>(runs: impl Iterator<Item = &'a Run>) -> String {
    let (mut sender, mut receiver) = (0, None);
    for run in runs {
        sender = sender.max(run.sender.peak_memory);
        receiver = receiver.max(run.receiver.map(|usage| usage.peak_memory));
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20).to_string();
    let receiver = receiver.map_or_else(|| "-".to_owned(), mebibytes);
    format!("{} / {receiver}", mebibytes(sender))
}

impl Mover {
    fn title(self) -> &'static str {
        match self {
            Self::Packhorse => "packhorse",
            Self::ScpGcm => "scp -c aes128-gcm@openssh.com",
            Self::ScpDefault => "scp",
            Self::Cp => "cp (no network, no encryption)",
        }
    }
}
