//! Both ends of packhorse.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Bench, Moved, run_quietly, timed};
use crate::bench::sets::Work;
use crate::measure::Measured;

impl Bench {
    pub(super) fn packhorse(
        &self,
        work: &Work,
        destination: &Path,
        encrypted: bool,
    ) -> Result<Moved> {
        let (receiver, mut receive) = Measured::new(&self.packhorse, self.report("receiver.time"));
        receive.arg("recv").arg(destination);
        receive.args([
            "--listen",
            &format!("{}:0", self.host()),
            "-q",
            "--events",
            "-",
        ]);
        let (sender, mut send) = Measured::new(&self.packhorse, self.report("sender.time"));
        send.args(["send", "-q"]);
        for command in [&mut receive, &mut send] {
            if encrypted {
                command.arg("--code-file").arg(&self.code);
            } else {
                command.arg("--insecure");
            }
        }
        receive.stdout(Stdio::piped()).process_group(0);
        let shown = self.shown(&[&receive]);
        let mut receiving = Ending(self.spawn_receiver(receive)?);
        send.arg(&work.source)
            .arg(listening_address(&mut receiving.0)?);
        let (wall, ()) = timed(|| {
            run_quietly(&mut send)?;
            let status = receiving.0.wait()?;
            ensure!(status.success(), "the receiver ended with {status}");
            Ok(())
        })?;
        Ok(Moved {
            wall,
            sender: sender.usage()?,
            receiver: Some(receiver.usage()?),
            commands: shown.into_iter().chain(self.shown(&[&send])).collect(),
        })
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
    thread::spawn(move || lines.for_each(drop));
    let event: serde_json::Value = serde_json::from_str(&line)?;
    match (event["event"].as_str(), event["addr"].as_str()) {
        (Some("listening"), Some(address)) => Ok(address.to_owned()),
        _ => bail!("expected the event `listening`, got {line}"),
    }
}
