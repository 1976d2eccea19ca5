//! Programs that feed each other.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::measure::{Measured, Usage};

/// Two programs, the second of which reads what the first writes.
pub(super) struct Pipeline {
    measured: [Measured; 2],
    commands: [Command; 2],
}

/// A pipeline that runs.
pub(super) struct Flowing {
    measured: [Measured; 2],
    children: [Child; 2],
}

impl Pipeline {
    /// Each is measured; reports go to files that begin like `report`.
    pub(super) fn new(commands: [Command; 2], report: &Path) -> Self {
        let mut number = 0;
        let wrapped = commands.map(|command| {
            number += 1;
            let file = report.with_extension(format!("{number}.time"));
            let (measured, mut wrapped) = Measured::new(command.get_program(), file);
            wrapped.args(command.get_args());
            (measured, wrapped)
        });
        let [(first, a), (second, b)] = wrapped;
        Self {
            measured: [first, second],
            commands: [a, b],
        }
    }

    /// The commands, to be shown.
    pub(super) fn commands(&self) -> [Command; 2] {
        self.commands.each_ref().map(|command| {
            let mut copy = Command::new(command.get_program());
            copy.args(command.get_args());
            copy
        })
    }

    /// Starts both.
    pub(super) fn spawn(mut self) -> Result<Flowing> {
        let [first, second] = &mut self.commands;
        let mut feeding = first
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start /usr/bin/time")?;
        let output = feeding.stdout.take().context("its output is piped")?;
        let fed = second.stdin(output).stdout(Stdio::null()).spawn()?;
        Ok(Flowing {
            measured: self.measured,
            children: [feeding, fed],
        })
    }
}

impl Flowing {
    /// Waits for both; gives what they used together.
    pub(super) fn wait(mut self) -> Result<Usage> {
        for child in &mut self.children {
            let status = child.wait()?;
            ensure!(status.success(), "a part of a pipeline ended with {status}");
        }
        let [first, second] = &self.measured;
        Ok(first.usage()?.with(second.usage()?))
    }
}
