//! Both ends of packhorse.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;

use anyhow::{Result, ensure};
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
        let address = self.free_address()?;
        receive.args(["--listen", &address.to_string(), "-q"]);
        let (sender, mut send) = Measured::new(&self.packhorse, self.report("sender.time"));
        send.args(["send", "-q"]);
        for command in [&mut receive, &mut send] {
            if encrypted {
                command.arg("--code-file").arg(&self.code);
            } else {
                command.arg("--insecure");
            }
        }
        receive.process_group(0);
        let shown = self.shown(&[&receive]);
        let mut receiving = Ending(self.spawn_receiver(receive)?);
        send.arg(&work.source).arg(address.to_string());
        self.until_listening(address.port())?;
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
            complaint: None,
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
