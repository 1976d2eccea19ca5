//! What the tests need from outside the workspace, and how it gets here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{cargo, find_program, run, succeeds, top};

/// A program from Debian.
pub(crate) struct DebianProgram {
    program: &'static str,
    package: &'static str,
}

const fn debian(program: &'static str, package: &'static str) -> DebianProgram {
    DebianProgram { program, package }
}

/// Programs that judge what arrived, and that make conditions that only the system can make.
pub(crate) const FOR_TESTS: &[DebianProgram] = &[
    debian("diff", "diffutils"),
    debian("find", "findutils"),
    debian("openssl", "openssl"),
    debian("python3", "python3"),
    debian("rsync", "rsync"),
    debian("setpriv", "util-linux"),
    debian("faketime", "faketime"),
    debian("mount", "mount"),
    debian("ip", "iproute2"),
    debian("ping", "iputils-ping"),
    debian("nft", "nftables"),
    debian("tshark", "tshark"),
    debian("tmux", "tmux"),
    debian("pgrep", "procps"),
    debian("zstd", "zstd"),
];

/// What counts instructions.
pub(crate) const FOR_COUNTING: &[DebianProgram] = &[debian("valgrind", "valgrind")];

/// What packhorse is compared with, and what measures both.
pub(crate) const FOR_BENCHMARKS: &[DebianProgram] = &[
    debian("diff", "diffutils"),
    debian("find", "findutils"),
    debian("mkfs.ext4", "e2fsprogs"),
    debian("mount", "mount"),
    debian("ncat", "ncat"),
    debian("rsync", "rsync"),
    debian("scp", "openssh-client"),
    debian("sshd", "openssh-server"),
    debian("time", "time"),
];

/// Installs what is missing where this may; says what to install where it may not.
pub(crate) fn ensure(programs: &[DebianProgram]) -> Result<()> {
    let mut packages: Vec<&str> = programs
        .iter()
        .filter(|wanted| find_program(wanted.program).is_none())
        .map(|wanted| wanted.package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !is_root() || find_program("apt-get").is_none() {
        println!(
            "  missing: {list}. Installing takes root and apt-get; what needs them is skipped."
        );
        println!("  To have it all: sudo apt-get install --no-install-recommends {list}");
        return Ok(());
    }
    println!("  missing: {list}; installing");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt().args(["update", "--quiet"]))?;
    run(apt()
        .args(["install", "--quiet", "--yes", "--no-install-recommends"])
        .args(packages))
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A program from the package registry, built once into `target/tools` unless it is there already.
pub(crate) fn from_registry(name: &str) -> Result<PathBuf> {
    from_package(name, name, "")
}

/// The program `name` of this package, built with these flags for rustc.
pub(crate) fn from_package(name: &str, package: &str, flags: &str) -> Result<PathBuf> {
    if let Some(installed) = find_program(name) {
        return Ok(installed);
    }
    let root = top().join("target/tools");
    let program = root.join("bin").join(name);
    if !program.is_file() {
        println!("  missing: {name}; building it once into target/tools (minutes on two cores)");
        let mut install = cargo(["install", "--quiet", "--locked", package, "--root"]);
        if !flags.is_empty() {
            install.env("RUSTFLAGS", flags);
        }
        run(install.arg(&root))
            .with_context(|| format!("{package} cannot be built from the registry"))?;
    }
    Ok(program)
}

/// Adds a component of the Rust toolchain where it is missing.
pub(crate) fn ensure_component(subcommand: &str, component: &str) -> Result<()> {
    if succeeds(cargo([subcommand, "--version"]).current_dir(top())) {
        return Ok(());
    }
    run(Command::new("rustup")
        .current_dir(top())
        .args(["component", "add", component]))
}

/// Whether `cargo nextest` is there. It is not built where it is missing: that takes longer than the
/// tests do, and `cargo test` runs them all the same.
pub(crate) fn has_nextest() -> bool {
    succeeds(&mut cargo(["nextest", "--version"]))
}
