//! What a case did, and what it cost: a line on standard output, and a row of the table of `cargo xtask faults`.

use std::fs::OpenOptions;
use std::io::Write as _;

/// One case of the matrix. Dropped without [`whole`](Self::whole), it has failed.
pub(super) struct Case {
    name: &'static str,
    what: String,
    /// Sessions, or pairs of processes, that it took.
    pub(super) rounds: u64,
    /// Bytes that crossed beyond those of the tree: what was sent twice, with manifests and headers.
    pub(super) beyond: u64,
    whole: bool,
}

impl Case {
    pub(super) fn new(name: &'static str, what: impl Into<String>) -> Self {
        Self {
            name,
            what: what.into(),
            rounds: 0,
            beyond: 0,
            whole: false,
        }
    }

    /// How both ended the first time; `None` where there was nobody to connect to.
    pub(super) fn ended(&mut self, codes: Option<[Option<i32>; 2]>) {
        let told = match codes {
            Some([Some(sender), Some(receiver)]) => format!(": exit {sender} and {receiver}"),
            _ => ": it does not start".to_owned(),
        };
        self.what.push_str(&told);
    }

    /// It cannot be shown here, which was said.
    pub(super) fn not_shown(self) {
        std::mem::forget(self);
    }

    /// The tree arrived, byte for byte.
    pub(super) fn whole(mut self) {
        self.whole = true;
    }
}

impl Drop for Case {
    #[allow(
        clippy::print_stdout,
        reason = "a report: the runner shows it where it is asked to"
    )]
    fn drop(&mut self) {
        let result = if self.whole { "whole" } else { "FAILED" };
        let Self {
            name,
            what,
            rounds,
            beyond,
            ..
        } = self;
        println!("{name}: {what}: {rounds} rounds, {beyond} bytes sent twice or besides, {result}");
        if let Some(table) = std::env::var_os("PACKHORSE_FAULTS_TABLE") {
            let row = format!("{name}\t{what}\t{rounds}\t{beyond}\t{result}\n");
            let file = OpenOptions::new().append(true).create(true).open(table);
            // One write, so that rows of cases at the same time do not mix.
            let _ = file.and_then(|mut file| file.write_all(row.as_bytes()));
        }
    }
}
