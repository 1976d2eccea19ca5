//! Who moves a work set, and how.

mod packhorse;
mod pipeline;
mod plain;
mod ssh;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::sets::Work;
use crate::measure::Usage;
use crate::run::{describe, target};
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
    /// As one would type them.
    pub(crate) commands: Vec<String>,
}

/// What all runs share.
pub(crate) struct Bench {
    place: PathBuf,
    packhorse: PathBuf,
    code: PathBuf,
    sshd: Sshd,
}

impl Bench {
    pub(crate) fn new(place: &Path) -> Result<Self> {
        let code = place.join("code");
        fs::write(&code, "a code for benchmarks\n")?;
        Ok(Self {
            place: place.to_owned(),
            packhorse: target().join("release/packhorse"),
            code,
            sshd: Sshd::new(place.join("ssh"))?,
        })
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
            Self::Cp => "cp -a",
        }
    }

    /// Whether it is expected to keep all that a tree is made of; others may lose some, which is told.
    pub(crate) fn keeps_everything(self) -> bool {
        matches!(self, Self::Packhorse | Self::PackhorseInsecure | Self::Cp)
    }
}

fn run_quietly(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// How long something took.
fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let begin = Instant::now();
    let result = what()?;
    Ok((begin.elapsed(), result))
}
