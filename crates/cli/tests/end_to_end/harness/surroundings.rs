//! What a test finds around it: places on disk, privileges, other programs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A fresh directory on disk, with a place to send from and one to send to.
pub(crate) struct Ground {
    directory: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    pub(crate) fn within(parent: &Path) -> Self {
        let directory = TempDir::with_prefix_in("ground-", parent).expect("a temporary directory");
        let ground = Self { directory };
        for place in [ground.source(), ground.destination(), ground.beside()] {
            fs::create_dir(place).expect("a directory");
        }
        ground
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Sources lie in here.
    pub(crate) fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    /// The receiver's directory.
    pub(crate) fn destination(&self) -> PathBuf {
        self.path().join("destination")
    }

    /// Neither: where receipts go, and what no transfer may touch.
    pub(crate) fn beside(&self) -> PathBuf {
        self.path().join("beside")
    }

    /// A file to send, with this content.
    pub(crate) fn source_file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path
    }

    /// A file to send that takes long and little room: all but its ends is a hole.
    pub(crate) fn sparse_file(&self, name: &str, size: u64) -> PathBuf {
        use std::os::unix::fs::FileExt;
        let path = self.source_file(name, "the first bytes");
        let file = OpenOptions::new().write(true).open(&path).expect("a file");
        file.set_len(size).expect("a size");
        file.write_all_at(b"the last bytes", size - 14)
            .expect("a tail");
        path
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !is_root() {
            // Directories without permissions cannot be emptied.
            let mut chmod = Command::new("chmod");
            let _ = chmod.args(["-R", "u+rwX"]).arg(self.path()).output();
        }
    }
}

/// Says that a test cannot show what it is for, and why; `cargo xtask test` repeats it at its end.
#[allow(clippy::print_stderr, reason = "the test runner shows it when asked")]
pub(crate) fn not_shown(test: &str, reason: &str) {
    let note = format!("{test}: {reason}\n");
    eprint!("not shown: {note}");
    if let Some(notes) = std::env::var_os("PACKHORSE_TEST_NOTES") {
        let file = OpenOptions::new().append(true).create(true).open(notes);
        // One write, so that lines of tests at the same time do not mix.
        let _ = file.and_then(|mut file| file.write_all(note.as_bytes()));
    }
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Whether a program is there and does not fail when run like this.
pub(crate) fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The independent judge of hashes, where it is installed.
pub(crate) fn b3sum() -> Option<PathBuf> {
    let program = std::env::var_os("PACKHORSE_B3SUM").map_or("b3sum".into(), PathBuf::from);
    works(Command::new(&program).arg("--version")).then_some(program)
}

/// A small filesystem in memory, unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this may not mount.
    pub(crate) fn mount(at: PathBuf, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size}"));
        works(mount.arg("tmpfs").arg(&at)).then_some(Self(at))
    }

    /// Gives it more room.
    pub(crate) fn grow(&self, size: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]);
        assert!(works(mount.arg(&self.0)), "it cannot be given more room");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}
