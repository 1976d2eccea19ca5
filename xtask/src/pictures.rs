//! The pictures in the documents: drawn by the binary from traffic that is real, in namespaces of their own.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{cargo, run, target, top};
use crate::tools;

/// Draws docs/pictures anew.
pub(crate) fn pictures() -> Result<()> {
    tools::ensure(tools::FOR_TESTS)?;
    run(&mut cargo(["build", "--release", "--package", "packhorse"]))?;
    let packhorse = target().join("release/packhorse");
    let place = top().join("docs/pictures");
    fs::create_dir_all(&place)
        .with_context(|| format!("cannot make the directory {}", place.display()))?;
    let mut lanes = Command::new(&packhorse);
    lanes.args(["watch", "--demo", "--svg"]);
    run(lanes.arg(place.join("lanes.svg")))?;
    let mut ladder = Command::new("python3");
    ladder
        .arg("-B")
        .arg(top().join("crates/cli/tests/peer/network.py"))
        .arg(&packhorse)
        .arg("one_loss_as_a_ladder");
    run(ladder.arg(place.join("ladder.svg")))
}
