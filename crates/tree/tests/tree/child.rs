//! A test run again in a process of its own, where something of the whole process must differ.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const MARK: &str = "PACKHORSE_TREE_CHILD";

/// What is different in the other process.
pub(crate) enum Setting {
    /// A command of the shell before it begins.
    After(&'static str),
    /// It runs as this user and group.
    User(u32),
}

/// Runs `test`, by its full name, again under `setting`. In that other process it only runs `body`.
pub(crate) fn rerun(test: &str, setting: &Setting, body: impl FnOnce()) {
    if env::var_os(MARK).is_some() {
        body();
        return;
    }
    let before = match setting {
        Setting::After(before) => before,
        Setting::User(_) => ":",
    };
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{before} && exec \"$0\" \"$@\""));
    command.arg(env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1");
    if let Setting::User(user) = *setting {
        command.uid(user).gid(user);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let ran = output.status.success() && said.contains("1 passed");
    assert!(ran, "{said}{complained}");
}
