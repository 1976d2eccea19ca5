//! Where work sets arrive: a file system of its own for each run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::sets::Work;
use crate::run::{printed, succeeds};
use crate::tools::is_root;

/// A fresh ext4, mounted from an image. Creating files on a file system that has just deleted as many can cost ten times
/// as much, and says nothing about the program.
pub(crate) struct Destination {
    image: PathBuf,
    pub(crate) path: PathBuf,
    mounted: bool,
}

impl Destination {
    /// Beneath `place`; a plain directory where mounting is not allowed.
    pub(crate) fn new(place: &Path, work: &Work) -> Result<Self> {
        let path = place.join("destination");
        fs::create_dir(&path)?;
        let mut destination = Self {
            image: place.join("destination.img"),
            path,
            mounted: false,
        };
        if is_root() {
            destination.mount(work.room)?;
        }
        if work.arrived {
            let copied = printed(
                Command::new("cp")
                    .arg("-a")
                    .arg(&work.source)
                    .arg(&destination.path),
            );
            copied.context("cannot prepare the destination")?;
        }
        // What was written before must not be written on this run's time.
        printed(&mut Command::new("sync"))?;
        Ok(destination)
    }

    fn mount(&mut self, room: u64) -> Result<()> {
        // Inodes, and blocks that are not full.
        let size = room + room / 4 + (1 << 30);
        File::create(&self.image)?.set_len(size)?;
        let mut make = Command::new("mkfs.ext4");
        make.args([
            "-q",
            "-F",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0",
        ]);
        printed(make.arg(&self.image))?;
        // Past the page cache of the file system that the image is on: the kernel would keep everything twice, copy it on the
        // processors that are measured, and hold back whoever is under way when both copies are too much.
        let attached = losetup(&["--direct-io=on", "--find", "--show"], &self.image)
            .or_else(|_| losetup(&["--find", "--show"], &self.image))?;
        let device = Path::new(attached.trim());
        let mounted = printed(Command::new("mount").arg(device).arg(&self.path));
        // Which happens when nothing is mounted from it any more.
        losetup(&["--detach"], device)?;
        mounted?;
        self.mounted = true;
        Ok(())
    }
}

fn losetup(what: &[&str], of: &Path) -> Result<String> {
    printed(Command::new("losetup").args(what).arg(of))
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.mounted {
            succeeds(Command::new("umount").arg(&self.path));
            let _ = fs::remove_dir(&self.path);
            let _ = fs::remove_file(&self.image);
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// What a tree lost on its way, in words; nothing: it is the same. Contents that differ are an error.
pub(crate) fn lost(source: &Path, arrived: &Path) -> Result<Vec<&'static str>> {
    let compared = Command::new("diff")
        .args(["--recursive", "--brief", "--no-dereference"])
        .args([source, arrived])
        .output()?;
    let told = String::from_utf8_lossy(&compared.stdout);
    let differ = told.lines().find(|line| line.starts_with("Files "));
    ensure!(differ.is_none(), "{}", differ.unwrap_or_default());
    let mut lost = Vec::new();
    if told.lines().any(|line| is_missing_file(line, source)) {
        lost.push("files");
    }
    for (what, format) in [
        ("entries", "%P\\0"),
        ("links", "%y %l %P\\0"),
        ("permissions", "%y %m %P\\0"),
        ("times", "%y %T@ %P\\0"),
    ] {
        if listed(source, format)? != listed(arrived, format)? {
            lost.push(what);
        }
        // Without the same entries all else differs as well.
        if lost.contains(&"entries") {
            break;
        }
    }
    Ok(lost)
}

/// Whether this line of `diff --brief` says that a file of `source` did not arrive, or a directory.
fn is_missing_file(line: &str, source: &Path) -> bool {
    let only = line.strip_prefix("Only in ");
    only.and_then(|only| only.split_once(": "))
        .map(|(directory, name)| Path::new(directory).join(name))
        .is_some_and(|path| path.starts_with(source) && !path.is_symlink())
}

fn listed(tree: &Path, format: &str) -> Result<Vec<String>> {
    let mut find = Command::new("find");
    let output = find.arg(tree).args(["-mindepth", "1"]);
    // The permissions and times of links are nobody's.
    let output = match format {
        "%y %m %P\\0" | "%y %T@ %P\\0" => output.args(["!", "-type", "l"]),
        _ => output,
    };
    let output = output.args(["-printf", format]).output()?;
    ensure!(output.status.success(), "find ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut entries: Vec<String> = text.split('\0').map(str::to_owned).collect();
    entries.sort();
    Ok(entries)
}
