//! Who moves a work set, and how.

mod packhorse;
mod pipeline;
mod plain;
mod registry;
mod ssh;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use packhorse_netlab::Lab;

use super::sets::Work;
use crate::measure::Usage;
use crate::run::{describe, target, top};
use crate::sshd::Sshd;

/// A program that moves trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Both ends of packhorse, encrypted.
    Packhorse,
    /// Both ends of packhorse without encryption, verified all the same.
    PackhorseInsecure,
    /// scp with the fastest cipher it has.
    ScpGcm,
    /// scp as it comes.
    Scp,
    /// rsync -a over ssh.
    RsyncSsh,
    /// rsync -a to its daemon, without encryption.
    RsyncDaemon,
    /// tar through ncat: neither encrypted nor verified.
    TarNcat,
    /// tar through ssh.
    TarSsh,
    /// rcp with TLS, which it has by default.
    Rcp,
    /// rcp without.
    RcpInsecure,
    /// sendme: QUIC, verified.
    Sendme,
    /// cp -a: no network at all.
    Cp,
}

/// What a run took.
pub(crate) struct Moved {
    /// From the start of the sending command until both ends have ended.
    pub(crate) wall: Duration,
    pub(crate) sender: Usage,
    /// None for programs with one end.
    pub(crate) receiver: Option<Usage>,
    /// What the sending command ended with, where that was not a success.
    pub(crate) complaint: Option<ExitStatus>,
    /// As one would type them.
    pub(crate) commands: Vec<String>,
}

/// What all runs share.
pub(crate) struct Bench {
    place: PathBuf,
    packhorse: PathBuf,
    code: PathBuf,
    /// Where programs from the registry are.
    tools: PathBuf,
    sshd: Sshd,
    /// Where receivers are; `None`: on loopback.
    lab: Option<Arc<Lab>>,
}

impl Bench {
    pub(crate) fn new(place: &Path, lab: Option<Arc<Lab>>) -> Result<Self> {
        let tools = top().join("target/tools/bin");
        let code = place.join("code");
        fs::write(&code, "a code for benchmarks\n")?;
        Ok(Self {
            place: place.to_owned(),
            packhorse: target().join("release/packhorse"),
            code,
            tools: tools.clone(),
            sshd: Sshd::new(place.join("ssh"), listener(lab.as_deref())?, &tools)?,
            lab,
        })
    }

    /// A port at the receiver's side.
    fn listener(&self) -> Result<TcpListener> {
        listener(self.lab.as_deref())
    }

    /// An address that is free now; nothing else there asks for a port of the kernel's choice in between.
    fn free_address(&self) -> Result<SocketAddr> {
        Ok(self.listener()?.local_addr()?)
    }

    /// Waits until somebody listens on this port at the receiver's side (proc_net_tcp: state 0A).
    fn until_listening(&self, port: u16) -> Result<()> {
        let wanted = format!(":{port:04X} 00000000:0000 0A");
        let listening = || fs::read_to_string("/proc/thread-self/net/tcp");
        let begin = Instant::now();
        loop {
            let told = match &self.lab {
                None => listening(),
                Some(lab) => lab.right().run(listening),
            };
            if told?.contains(&wanted) {
                return Ok(());
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(10),
                "nobody listens on port {port}"
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts a program at the receiver's side.
    fn spawn_receiver(&self, mut command: Command) -> Result<Child> {
        let spawned = match &self.lab {
            None => command.spawn(),
            Some(lab) => lab.right().run(move || command.spawn()),
        };
        spawned.context("cannot start /usr/bin/time")
    }

    /// Moves `work` into `destination`.
    pub(crate) fn run(&self, peer: Peer, work: &Work, destination: &Path) -> Result<Moved> {
        match peer {
            Peer::Packhorse => self.packhorse(work, destination, true),
            Peer::PackhorseInsecure => self.packhorse(work, destination, false),
            Peer::ScpGcm => self.scp(work, destination, &["-c", "aes128-gcm@openssh.com"]),
            Peer::Scp => self.scp(work, destination, &[]),
            Peer::RsyncSsh => self.rsync_ssh(work, destination),
            Peer::RsyncDaemon => self.rsync_daemon(work, destination),
            Peer::TarNcat => self.tar_ncat(work, destination),
            Peer::TarSsh => self.tar_ssh(work, destination),
            Peer::Rcp => self.rcp(work, destination, &[]),
            Peer::RcpInsecure => self.rcp(work, destination, &["--no-encryption"]),
            Peer::Sendme => self.sendme(work, destination),
            Peer::Cp => self.cp(work, destination),
        }
    }

    fn report(&self, end: &str) -> PathBuf {
        self.place.join(end)
    }

    /// Commands without the directory of this run.
    fn shown(&self, commands: &[&Command]) -> Vec<String> {
        let directory = format!("{}/", self.place.display());
        let shown = commands
            .iter()
            .map(|command| describe(command).replace(&directory, ""));
        shown.collect()
    }
}

impl Peer {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Packhorse => "packhorse",
            Self::PackhorseInsecure => "packhorse --insecure",
            Self::ScpGcm => "scp, aes128-gcm",
            Self::Scp => "scp",
            Self::RsyncSsh => "rsync over ssh",
            Self::RsyncDaemon => "rsync daemon",
            Self::TarNcat => "tar, ncat, tar",
            Self::TarSsh => "tar, ssh, tar",
            Self::Rcp => "rcp, TLS",
            Self::RcpInsecure => "rcp, no encryption",
            Self::Sendme => "sendme",
            Self::Cp => "cp -a",
        }
    }

    /// Builds what it takes, where that is not part of Debian.
    pub(crate) fn install(self) -> Result<()> {
        let (program, package, flags) = match self {
            Self::Rcp | Self::RcpInsecure => ("rcp", "rcp-tools-rcp", "--cfg tokio_unstable"),
            Self::Sendme => ("sendme", "sendme", ""),
            _ => return Ok(()),
        };
        crate::tools::from_package(program, package, flags).map(drop)
    }

    /// Whether it is expected to keep all that a tree is made of; others may lose some, which is told.
    pub(crate) fn keeps_everything(self) -> bool {
        matches!(self, Self::Packhorse | Self::PackhorseInsecure | Self::Cp)
    }
}

fn listener(lab: Option<&Lab>) -> Result<TcpListener> {
    let listening = match lab {
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
        Some(lab) => {
            let address = lab.right().address();
            lab.right().run(move || TcpListener::bind((address, 0)))
        }
    };
    listening.context("cannot listen")
}

fn run_quietly(command: &mut Command) -> Result<()> {
    let status = status_of(command)?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// What a command ends with that has nobody to talk to.
fn status_of(command: &mut Command) -> Result<ExitStatus> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    quiet
        .status()
        .with_context(|| format!("cannot start {}", describe(quiet)))
}

/// How long something took.
fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let begin = Instant::now();
    let result = what()?;
    Ok((begin.elapsed(), result))
}
