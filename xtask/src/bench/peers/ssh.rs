//! What goes through ssh: scp, rsync, tar.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::pipeline::Pipeline;
use super::{Bench, Moved, status_of, timed};
use crate::bench::sets::Work;
use crate::measure::Measured;

impl Bench {
    pub(super) fn scp(&self, work: &Work, destination: &Path, cipher: &[&str]) -> Result<Moved> {
        let (sender, mut scp) = Measured::new("scp", self.report("sender.time"));
        scp.args(["-r", "-p", "-q"]).args(cipher);
        scp.args(self.sshd.client_arguments("-P")?);
        scp.arg(&work.source).arg(self.sshd.remote(destination)?);
        // 1: it could not send a part of the tree.
        self.over_ssh(1, &sender, (&mut scp, &[0, 1]))
    }

    pub(super) fn rsync_ssh(&self, work: &Work, destination: &Path) -> Result<Moved> {
        let (sender, mut rsync) = Measured::new("rsync", self.report("sender.time"));
        let ssh = format!("ssh -q {}", self.sshd.client_arguments("-p")?.join(" "));
        rsync.arg("-a").args(["-e", &ssh]);
        rsync.arg(&work.source).arg(self.sshd.remote(destination)?);
        self.over_ssh(1, &sender, (&mut rsync, &[0]))
    }

    pub(super) fn tar_ssh(&self, work: &Work, destination: &Path) -> Result<Moved> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-q").args(self.sshd.client_arguments("-p")?);
        ssh.args([self.sshd.host()?, "tar".to_owned(), "-C".to_owned()]);
        ssh.arg(destination).args(["-xf", "-"]);
        let tar = super::plain::tar_out(work);
        let server = self.sshd.serve(1, &self.report("receiver"))?;
        let pipeline = Pipeline::new([tar, ssh], &self.report("sender"));
        let commands = pipeline.commands();
        let (wall, (sender, receiver)) = timed(|| {
            let sender = pipeline.spawn()?.wait();
            self.sshd.check(sender.is_ok())?;
            let receiver = server.join().expect("serving does not panic")?;
            Ok((sender?, receiver))
        })?;
        Ok(Moved {
            wall,
            sender,
            receiver: Some(receiver),
            complaint: None,
            commands: self.shown(&commands.iter().collect::<Vec<_>>()),
        })
    }

    /// Runs a client that makes so many connections and may end with these codes. One that ends with another may not
    /// have made them, and nobody waits for them.
    pub(super) fn over_ssh(
        &self,
        connections: usize,
        sender: &Measured,
        (client, codes): (&mut Command, &[i32]),
    ) -> Result<Moved> {
        let server = self.sshd.serve(connections, &self.report("receiver"))?;
        let (wall, (status, receiver)) = timed(|| {
            let status = status_of(client)?;
            let code = status.code();
            self.sshd
                .check(code.is_some_and(|code| codes.contains(&code)))?;
            Ok((status, server.join().expect("serving does not panic")?))
        })?;
        Ok(Moved {
            wall,
            sender: sender.usage()?,
            receiver: Some(receiver),
            complaint: Some(status).filter(|status| !status.success()),
            commands: self.shown(&[client]),
        })
    }
}
