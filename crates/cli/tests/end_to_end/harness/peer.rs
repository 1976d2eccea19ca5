//! Peers of a second make, in Python: written from docs/protocol.md, for sessions without encryption.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Packhorse;
use super::surroundings::{not_shown, works};

/// A program of `tests/peer`; `None`, and a note, where there is no Python. It tells events as packhorse
/// does, so the harness runs it alike.
pub(crate) fn peer(test: &str, program: &str) -> Option<Packhorse> {
    if !works(Command::new("python3").arg("--version")) {
        not_shown(test, "there is no python3 to run the other peer");
        return None;
    }
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/peer", program]
        .iter()
        .collect();
    let mut python = Command::new("python3");
    // Nothing is written beside the scripts, and a line that is told is told at once.
    python.args(["-B", "-u"]).arg(script);
    Some(Packhorse::from_command(python))
}

/// A receiver without encryption, which tells its events.
pub(crate) fn insecure_recv(destination: &Path) -> Packhorse {
    Packhorse::recv(destination)
        .without_code()
        .arg("--insecure")
}

/// A sender without encryption, which tells its events.
pub(crate) fn insecure_send(sources: &[&Path], to: &str) -> Packhorse {
    Packhorse::send(sources, to)
        .without_code()
        .arg("--insecure")
}

/// Runs one scenario of a program of `tests/peer`, which runs packhorse itself and judges it with the help of
/// another program.
pub(crate) fn scenario(test: &str, program: &str, judge: &str, name: &str) {
    // Most programs tell their version so; one that does not is named with what it understands.
    let (judge, version) = judge.split_once(' ').unwrap_or((judge, "--version"));
    if !works(Command::new(judge).arg(version)) {
        return not_shown(test, &format!("there is no {judge} to judge it"));
    }
    if let Some(python) = peer(test, program) {
        python
            .arg(env!("CARGO_BIN_EXE_packhorse"))
            .arg(name)
            .run()
            .expect_code(0);
    }
}

/// Tests that are scenarios of one program, each named for the function it runs, after `sNN_`. Where they
/// need another program as well, it is named after `with`.
macro_rules! scenarios {
    ($program:literal: $($test:ident,)*) => {
        crate::harness::peer::scenarios! { $program with "python3": $($test,)* }
    };
    ($program:literal with $judge:literal: $($test:ident,)*) => {
        $(
            #[test]
            fn $test() {
                let name = stringify!($test);
                let (_, scenario) = name.split_once('_').expect("a name such as s04_this");
                crate::harness::peer::scenario(name, $program, $judge, scenario);
            }
        )*
    };
}

pub(crate) use scenarios;
