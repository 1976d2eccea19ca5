//! What is moved.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

/// A work set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Set {
    /// One file of random bytes.
    Large,
    /// 50,000 files of 0 to 16 KiB, log-uniform, nested three deep.
    Small,
    /// /usr/share of this machine: files, links, directories.
    Real,
    /// One file of one byte.
    Byte,
    /// The small files once more: they are at the destination already.
    Unchanged,
}

/// A directory that is moved whole.
pub(crate) struct Work {
    pub(crate) source: PathBuf,
    /// Bytes that a file system needs to hold it.
    pub(crate) room: u64,
    /// Whether the destination has it already.
    pub(crate) arrived: bool,
}

/// Files of the small set.
const FILES: u32 = 50_000;

/// Bytes of the largest of them.
const LARGEST: f64 = 16384.0;

/// How many directories there are at each level of the small set: 10 of 10 of 5.
const DIRECTORIES: [u32; 3] = [10, 10, 5];

impl Set {
    /// Makes it beneath `place`, unless it is there.
    pub(crate) fn make(self, place: &Path, large: u64) -> Result<Work> {
        let source = match self {
            Self::Real => PathBuf::from("/usr/share"),
            Self::Unchanged => place.join("small"),
            set => place.join(format!("{set:?}").to_lowercase()),
        };
        if !source.exists() {
            println!("  making {}", source.display());
            fs::create_dir(&source)?;
            match self {
                Self::Large => fill(&source.join("large.bin"), large)?,
                Self::Byte => fill(&source.join("byte"), 1)?,
                Self::Small | Self::Unchanged => small(&source)?,
                Self::Real => unreachable!("it is there"),
            }
        }
        Ok(Work {
            source,
            room: match self {
                Self::Large => large,
                _ => 1 << 30,
            },
            arrived: self == Self::Unchanged,
        })
    }
}

impl Work {
    /// The name that arrives.
    pub(crate) fn name(&self) -> &Path {
        self.source
            .file_name()
            .map_or(Path::new("share"), Path::new)
    }
}

pub(super) fn fill(path: &Path, size: u64) -> Result<()> {
    let mut random = File::open("/dev/urandom")?.take(size);
    let copied = std::io::copy(&mut random, &mut File::create(path)?)?;
    ensure!(
        copied == size,
        "{} has {copied} of {size} bytes",
        path.display()
    );
    Ok(())
}

/// The same sizes each time; contents are random.
fn small(source: &Path) -> Result<()> {
    let [a, b, c] = DIRECTORIES;
    for number in 0..a * b * c {
        let directory = directory_of(source, number);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    }
    let mut random = File::open("/dev/urandom")?;
    let mut content = vec![0; 1 << 14];
    let mut state = 1_u64;
    for number in 0..FILES {
        // xorshift64 (Marsaglia 2003), its upper bits.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [high, .., _] = state.to_be_bytes();
        let fraction =
            f64::from(u32::from(high) << 8 | u32::from(state.to_be_bytes()[1])) / 65536.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 16,383"
        )]
        let size = (((LARGEST).ln() * fraction).exp() - 1.0) as usize;
        random.read_exact(&mut content[..size])?;
        let path = directory_of(source, number % (a * b * c)).join(format!("file{number}"));
        fs::write(path, &content[..size])?;
    }
    Ok(())
}

fn directory_of(source: &Path, number: u32) -> PathBuf {
    let [_, b, c] = DIRECTORIES;
    let (first, second, third) = (number / (b * c), number / c % b, number % c);
    source.join(format!("a{first}/b{second}/c{third}"))
}
