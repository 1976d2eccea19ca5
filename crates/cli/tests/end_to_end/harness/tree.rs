//! Trees with everything in them that may be sent.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::random::Random;
use super::surroundings::is_root;

/// Around the edges of BLAKE3's chunks, of records (128 KiB) and of extents (1 MiB).
pub(crate) const SIZES: &[usize] = &[
    0,
    1,
    1023,
    1024,
    1025,
    131_071,
    131_072,
    131_073,
    MIB - 1,
    MIB,
    MIB + 1,
    2 * MIB + 1,
    20 * MIB,
];

const MIB: usize = 1 << 20;

/// Names that tools trip over. Any bytes but `/` and NUL are a name.
const ODD_NAMES: &[&[u8]] = &[
    b"-leading-dash",
    b"--help",
    b" ",
    b"trailing space ",
    b"...",
    b".hidden",
    b"new\nline",
    b"tab\tand\rreturn",
    b"\x1b[31mred\x07",
    b"back\\slash",
    b"quote'\"`$(touch x)",
    b"*?[glob]",
    b"percent%41%00",
    b"latin1-\xe9\xff\xfe",
    b"\x80",
    b"\xed\xa0\x80surrogate",
    "zero\u{200b}width\u{202e}bidi".as_bytes(),
    "日本語 🐴".as_bytes(),
    b"C:\\CON",
    b"~",
];

/// Modification times, in seconds and nanoseconds: what ext4 can hold, at its edges.
const TIMES: &[(i64, u32)] = &[
    (0, 0),
    (0, 1),
    (-1, 999_999_999),
    (-86_400 * 365, 123_456_789),
    (-2_147_483_648, 0),
    (951_782_400, 500_000_000),
    (2_147_483_647, 999_999_999),
    (2_147_483_648, 7),
    (4_102_444_800, 1),
];

/// A tree that grows, and whose metadata is set when it is grown.
pub(crate) struct Tree {
    root: PathBuf,
    random: Random,
    /// In order of creation: what a directory holds comes after it.
    made: Vec<PathBuf>,
}

/// Makes a tree at `root` with every oddity there is, and some random growth.
pub(crate) fn every_oddity(root: PathBuf) {
    let mut tree = Tree::new(root);
    tree.sizes();
    tree.odd_names();
    tree.links();
    tree.modes();
    tree.depth();
    tree.growth(300);
    tree.set_metadata();
}

/// Makes a tree at `root` of many small files, as a checkout of sources is.
pub(crate) fn many_small_files(root: PathBuf, count: usize) {
    let mut tree = Tree::new(root);
    let mut directory = tree.root.clone();
    for number in 0..count {
        if number % 100 == 0 {
            directory = tree.directory(&tree.root.clone(), format!("d{}", number / 100).as_bytes());
        }
        let size = tree.random.below(4096);
        tree.file(&directory, format!("f{number}").as_bytes(), size);
    }
}

/// Makes a small tree at `root`: a few files and directories, one link.
pub(crate) fn a_few_files(root: PathBuf) {
    let mut tree = Tree::new(root);
    let root = tree.root.clone();
    tree.file(&root, b"hello.txt", 12);
    tree.file(&root, b"empty", 0);
    let inner = tree.directory(&root, b"inner");
    tree.file(&inner, b"numbers.bin", 300_000);
    tree.directory(&inner, b"nothing-in-here");
    tree.link(&root, b"link", b"inner/numbers.bin");
}

impl Tree {
    fn new(root: PathBuf) -> Self {
        fs::create_dir_all(&root).expect("a directory");
        Self {
            made: vec![root.clone()],
            root,
            random: Random::seeded(),
        }
    }

    fn directory(&mut self, parent: &Path, name: &[u8]) -> PathBuf {
        let path = parent.join(OsStr::from_bytes(name));
        fs::create_dir(&path).expect("a directory");
        self.made.push(path.clone());
        path
    }

    fn file(&mut self, parent: &Path, name: &[u8], size: usize) {
        let path = parent.join(OsStr::from_bytes(name));
        let mut file = File::create_new(&path).expect("a new file");
        file.write_all(&self.random.bytes(size)).expect("content");
        self.made.push(path);
    }

    fn link(&mut self, parent: &Path, name: &[u8], target: &[u8]) {
        let path = parent.join(OsStr::from_bytes(name));
        symlink(OsStr::from_bytes(target), &path).expect("a link");
        self.made.push(path);
    }

    fn sizes(&mut self) {
        let directory = self.directory(&self.root.clone(), b"sizes");
        for &size in SIZES {
            self.file(&directory, format!("size-{size}").as_bytes(), size);
        }
    }

    fn odd_names(&mut self) {
        let files = self.directory(&self.root.clone(), b"odd files");
        let directories = self.directory(&self.root.clone(), b"odd directories");
        let longest = [b'x'; 255];
        for name in ODD_NAMES.iter().copied().chain([&longest[..]]) {
            self.file(&files, name, name.len());
            let directory = self.directory(&directories, name);
            self.file(&directory, name, 3);
        }
        // Orders that differ between names and paths: a/x, a.b, a-b.
        for name in [&b"a.b"[..], b"a-b", b"a", b"a0"] {
            let directory = self.directory(&directories, name);
            self.file(&directory, b"x", 1);
        }
        self.directory(&self.root.clone(), b"empty directory");
    }

    fn links(&mut self) {
        let directory = self.directory(&self.root.clone(), b"links");
        self.file(&directory, b"target", 10);
        self.link(&directory, b"relative", b"target");
        self.link(&directory, b"up", b"../sizes/size-1");
        self.link(&directory, b"far up", b"../../../../../../../../etc/passwd");
        self.link(&directory, b"dangling", b"nowhere/at all");
        self.link(&directory, b"absolute", b"/etc/hostname");
        self.link(&directory, b"to a directory", b"..");
        self.link(&directory, b"itself", b"itself");
        self.link(&directory, b"odd target", b"\xff\n\x1b[31m");
        self.link(&directory, b"\xffodd name", b"target");
        self.link(&directory, b"long target", &[b'y'; 1000]);
    }

    fn modes(&mut self) {
        let directory = self.directory(&self.root.clone(), b"modes");
        let special = [0o1777, 0o2755, 0o4755, 0o6711, 0o7777];
        for mode in (0..=0o777).step_by(0o33).chain(special) {
            let file = format!("file-{mode:04o}");
            self.file(&directory, file.as_bytes(), 5);
            set_mode(&directory.join(file), mode);
            let name = format!("directory-{mode:04o}");
            let inner = self.directory(&directory, name.as_bytes());
            self.file(&inner, b"inside", 1);
        }
    }

    fn depth(&mut self) {
        let mut directory = self.root.clone();
        for level in 0..100 {
            directory = self.directory(&directory, format!("level-{level:020}").as_bytes());
        }
        self.file(&directory, b"at the bottom", 42);
    }

    fn growth(&mut self, count: usize) {
        let mut directories = vec![self.directory(&self.root.clone(), b"growth")];
        for number in 0..count {
            let parent = directories[self.random.below(directories.len())].clone();
            let name = self.any_name(number);
            match self.random.below(10) {
                0..3 => directories.push(self.directory(&parent, &name)),
                3 => self.link(&parent, &name, &name),
                _ => {
                    let most = self.random.pick(&[1, 100, 5_000, 300_000]);
                    let size = self.random.below(most);
                    self.file(&parent, &name, size);
                }
            }
        }
    }

    /// Random bytes, with a number at the end so that no two are alike.
    fn any_name(&mut self, number: usize) -> Vec<u8> {
        let length = 1 + self.random.below(40);
        let mut name = self.random.bytes(length);
        name.retain(|byte| !b"/\0".contains(byte));
        name.extend_from_slice(format!(".{number}").as_bytes());
        name
    }

    /// Gives directories named for their mode that mode, others some, and all a time; what a directory
    /// holds before itself, so that its own stays.
    fn set_metadata(&mut self) {
        for path in std::mem::take(&mut self.made).into_iter().rev() {
            let name = path.file_name().unwrap_or_default().to_owned().into_vec();
            let kind = fs::symlink_metadata(&path)
                .expect("what was made")
                .file_type();
            if let Some(mode) = name.strip_prefix(b"directory-") {
                let mode = str::from_utf8(mode).expect("digits");
                set_mode(
                    &path,
                    u32::from_str_radix(mode, 8).expect("an octal number"),
                );
            } else if !kind.is_symlink() && !name.starts_with(b"file-") {
                let mode = self.random.pick(&[0o755, 0o750, 0o700, 0o775, 0o711]);
                set_mode(&path, if kind.is_dir() { mode } else { mode & 0o666 });
            }
            let (seconds, nanoseconds) = self.random.pick(TIMES);
            set_modified(&path, seconds, nanoseconds);
        }
    }
}

/// Sets a mode; whoever is not root keeps what the sender needs to read it.
fn set_mode(path: &Path, mode: u32) {
    let mode = match (is_root(), path.is_dir()) {
        (true, _) => mode,
        (false, true) => mode | 0o500,
        (false, false) => mode | 0o400,
    };
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

fn set_modified(path: &Path, seconds: i64, nanoseconds: u32) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time");
}
