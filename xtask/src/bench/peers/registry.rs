//! What comes from the package registry: rcp, sendme.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Bench, Moved, run_quietly, timed};
use crate::bench::sets::Work;
use crate::measure::Measured;

impl Bench {
    pub(super) fn rcp(&self, work: &Work, destination: &Path, options: &[&str]) -> Result<Moved> {
        let (sender, mut rcp) = Measured::new(self.tools.join("rcp"), self.report("sender.time"));
        rcp.arg("--preserve-settings=all").args(options);
        rcp.arg("--rcpd-path").arg(self.tools.join("rcpd"));
        rcp.arg(&work.source)
            .arg(self.sshd.remote(&destination.join(work.name()))?);
        rcp.env("PATH", self.path_with_ssh()?);
        // It asks for the source through ssh as well.
        self.over_ssh(2, &sender, (&mut rcp, &[0]))
    }

    /// A search path whose `ssh` leads to our server: these programs do not hand options on.
    fn path_with_ssh(&self) -> Result<String> {
        let directory = self.report("bin");
        fs::create_dir_all(&directory)?;
        let arguments = self.sshd.client_arguments("-p")?.join(" ");
        let ssh = crate::run::find_program("ssh").context("no ssh")?;
        let script = format!("#!/bin/sh\nexec {} {arguments} \"$@\"\n", ssh.display());
        let path = directory.join("ssh");
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let before = std::env::var("PATH").unwrap_or_default();
        Ok(format!("{}:{before}", directory.display()))
    }

    pub(super) fn sendme(&self, work: &Work, destination: &Path) -> Result<Moved> {
        let sendme = self.tools.join("sendme");
        let (sender, mut send) = Measured::new(&sendme, self.report("sender.time"));
        send.args(["send", "--relay", "disabled", "--no-progress"]);
        send.arg(&work.source).current_dir(self.report(""));
        send.stdin(Stdio::null()).stdout(Stdio::piped());
        send.stderr(Stdio::null()).process_group(0);
        let (receiver, mut receive) = Measured::new(&sendme, self.report("receiver.time"));
        receive.args(["receive", "--relay", "disabled", "--no-progress"]);
        receive.current_dir(destination);
        // It reads and hashes everything before it can be asked for it: that is part of its time.
        let (wall, ()) = timed(|| {
            let mut sending = Offering(send.spawn().context("cannot start /usr/bin/time")?);
            let ticket = sending.ticket()?;
            run_quietly(receive.arg(ticket))
        })?;
        Ok(Moved {
            wall,
            sender: sender.usage()?,
            receiver: Some(receiver.usage()?),
            complaint: None,
            commands: self.shown(&[&send, &receive]),
        })
    }
}

/// A sender that offers something until it is told to stop.
struct Offering(Child);

impl Offering {
    /// What the receiver has to know.
    fn ticket(&mut self) -> Result<String> {
        let output = self.0.stdout.take().context("its output is piped")?;
        for line in BufReader::new(output).lines() {
            if let Some(ticket) = line?.strip_prefix("sendme receive ") {
                return Ok(ticket.to_owned());
            }
        }
        bail!("sendme ended without an offer")
    }
}

impl Drop for Offering {
    fn drop(&mut self) {
        // `time` ignores the signal that ends what it measures.
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::INT);
        }
        let _ = self.0.wait();
    }
}
