//! What goes without ssh: cp, tar through ncat, rsync's daemon.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::pipeline::Pipeline;
use super::{Bench, Moved, run_quietly, timed};
use crate::bench::sets::Work;
use crate::inetd;
use crate::measure::Measured;
use crate::run::find_program;

/// `tar` that writes the work set to its output.
pub(super) fn tar_out(work: &Work) -> Command {
    let mut tar = Command::new("tar");
    let parent = work.source.parent().unwrap_or(Path::new("/"));
    tar.arg("-C")
        .arg(parent)
        .args(["-cf", "-"])
        .arg(work.name());
    tar
}

impl Bench {
    pub(super) fn cp(&self, work: &Work, destination: &Path) -> Result<Moved> {
        let (sender, mut cp) = Measured::new("cp", self.report("sender.time"));
        cp.args(["-a", "--reflink=never"]);
        cp.arg(&work.source).arg(destination);
        let (wall, ()) = timed(|| run_quietly(&mut cp))?;
        Ok(Moved {
            wall,
            sender: sender.usage()?,
            receiver: None,
            complaint: None,
            commands: self.shown(&[&cp]),
        })
    }

    pub(super) fn tar_ncat(&self, work: &Work, destination: &Path) -> Result<Moved> {
        let port = self.free_address()?.port();
        let mut listen = Command::new("ncat");
        listen.args(["-l", "--recv-only", "127.0.0.1", &port.to_string()]);
        let mut unpack = Command::new("tar");
        unpack.arg("-C").arg(destination).args(["-xf", "-"]);
        let receiving = Pipeline::new([listen, unpack], &self.report("receiver"));
        let mut connect = Command::new("ncat");
        connect.args(["--send-only", "127.0.0.1", &port.to_string()]);
        let sending = Pipeline::new([tar_out(work), connect], &self.report("sender"));
        let commands: Vec<Command> = receiving
            .commands()
            .into_iter()
            .chain(sending.commands())
            .collect();
        let receiving = receiving.spawn()?;
        self.until_listening(port)?;
        let (wall, (sender, receiver)) =
            timed(|| Ok((sending.spawn()?.wait()?, receiving.wait()?)))?;
        Ok(Moved {
            wall,
            sender,
            receiver: Some(receiver),
            complaint: None,
            commands: self.shown(&commands.iter().collect::<Vec<_>>()),
        })
    }

    pub(super) fn rsync_daemon(&self, work: &Work, destination: &Path) -> Result<Moved> {
        let configuration = self.report("rsyncd.conf");
        let user = if crate::tools::is_root() {
            "uid = root\ngid = root\n"
        } else {
            ""
        };
        let module = format!(
            "use chroot = false\n{user}[destination]\npath = {}\nread only = false\n",
            destination.display()
        );
        fs::write(&configuration, module)?;
        let rsync = find_program("rsync").context("no rsync")?;
        let (measured, mut serve) = Measured::new(rsync, self.report("receiver.time"));
        serve
            .arg("--daemon")
            .arg(format!("--config={}", configuration.display()));
        let listener = self.listener()?;
        let shown = self.shown(&[&serve]);
        let server = inetd::serve_one(&listener, (measured, serve))?;
        let (sender, mut rsync) = Measured::new("rsync", self.report("sender.time"));
        rsync.arg("-a").arg(&work.source);
        rsync.arg(format!("rsync://{}/destination/", listener.local_addr()?));
        let (wall, receiver) = timed(|| {
            run_quietly(&mut rsync)?;
            server.join().expect("serving does not panic")
        })?;
        Ok(Moved {
            wall,
            sender: sender.usage()?,
            receiver: Some(receiver),
            complaint: None,
            commands: shown.into_iter().chain(self.shown(&[&rsync])).collect(),
        })
    }
}
