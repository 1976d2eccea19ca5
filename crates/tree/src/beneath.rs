//! Opening a directory beneath another one, whatever its path and whoever races with it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};

/// How often `openat2` is asked again when it could not tell, for a rename ran at the same time.
const ATTEMPTS: usize = 64;

/// A directory that can be listed, and nothing else.
pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Who sees to it that a path stays beneath its root.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resolver {
    /// The kernel, in one call (`openat2`, Linux 5.6).
    Openat2,
    /// We do, by opening component after component without following links.
    ByComponent,
}

/// Opens the directory `path` beneath `root`, through no link of any kind.
///
/// `path` is the bytes of a `RelativePath` or a `Name`: it cannot climb by its spelling. Only a kernel
/// that has no `openat2` at all is answered with the slower way; every other error is a refusal, EPERM
/// above all.
pub(crate) fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    match Resolver::Openat2.open(root, path) {
        Err(Errno::NOSYS) => Resolver::ByComponent.open(root, path),
        answer => answer,
    }
}

impl Resolver {
    pub(crate) fn open(self, root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
        match self {
            Self::Openat2 => through_the_kernel(root, path),
            Self::ByComponent => by_component(root, path),
        }
    }
}

fn through_the_kernel(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut answer = Err(Errno::AGAIN);
    for _ in 0..ATTEMPTS {
        answer = openat2(root, path, DIRECTORY, Mode::empty(), resolve);
        if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    answer
}

fn by_component(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    // O_PATH needs no permission to list the directories on the way, as with openat2.
    let passing = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut components = path.split(|&b| b == b'/').peekable();
    let mut reached: Option<OwnedFd> = None;
    while let Some(component) = components.next() {
        // A `RelativePath` holds none of these; it is checked again where it would matter most.
        if matches!(component, b"" | b"." | b"..") {
            return Err(Errno::XDEV);
        }
        let flags = match components.peek() {
            Some(_) => passing,
            None => DIRECTORY | OFlags::NOFOLLOW,
        };
        let from = reached.as_ref().map_or(root, AsFd::as_fd);
        reached = Some(openat(from, component, flags, Mode::empty())?);
    }
    reached.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use rustix::fs::{CWD, RenameFlags, fstat, renameat_with};
    use tempfile::tempdir;

    use super::*;

    const BOTH: [Resolver; 2] = [Resolver::Openat2, Resolver::ByComponent];

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, DIRECTORY, Mode::empty()).unwrap()
    }

    fn inode(path: &Path) -> u64 {
        fs::symlink_metadata(path).unwrap().ino()
    }

    #[test]
    fn both_ways_open_the_same_directories() {
        let root = tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        fs::write(root.path().join("a/file"), "").unwrap();
        let opened = open(root.path());
        for resolver in BOTH {
            for path in ["a", "a/b", "a/b/c"] {
                let found = resolver.open(opened.as_fd(), path.as_bytes()).unwrap();
                let found = fstat(found).unwrap().st_ino;
                assert_eq!(found, inode(&root.path().join(path)), "{resolver:?}");
            }
            for (path, error) in [
                ("a/no", Errno::NOENT),
                ("no/b", Errno::NOENT),
                ("a/file", Errno::NOTDIR),
                ("a/file/b", Errno::NOTDIR),
            ] {
                let answer = resolver.open(opened.as_fd(), path.as_bytes());
                assert_eq!(answer.unwrap_err(), error, "{resolver:?} {path}");
            }
        }
    }

    #[test]
    fn no_link_is_followed_at_any_place_in_a_path() {
        let root = tempdir().unwrap();
        fs::create_dir_all(root.path().join("real/inner")).unwrap();
        for (link, target) in [
            ("absolute", "/"),
            ("up", ".."),
            ("same", "real"),
            ("itself", "."),
            ("loop", "loop"),
            ("magic", "/proc/self/cwd"),
        ] {
            symlink(target, root.path().join(link)).unwrap();
            symlink(target, root.path().join("real").join(link)).unwrap();
        }
        let opened = open(root.path());
        for resolver in BOTH {
            for link in ["absolute", "up", "same", "itself", "loop", "magic"] {
                for path in [
                    link.to_owned(),
                    format!("{link}/inner"),
                    format!("real/{link}"),
                    format!("real/{link}/etc"),
                ] {
                    let answer = resolver.open(opened.as_fd(), path.as_bytes());
                    let refused = matches!(answer, Err(Errno::LOOP | Errno::NOTDIR));
                    assert!(refused, "{resolver:?} {path}: {answer:?}");
                }
            }
        }
    }

    #[test]
    fn magic_links_are_not_followed() {
        let opened = open(Path::new("/proc/self"));
        for resolver in BOTH {
            for path in ["cwd", "root", "root/etc", "task/../cwd"] {
                let answer = resolver.open(opened.as_fd(), path.as_bytes());
                assert!(answer.is_err(), "{resolver:?} {path}");
            }
        }
    }

    #[test]
    fn no_spelling_climbs_even_where_the_type_is_bypassed() {
        let root = tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        let opened = open(&root.path().join("a"));
        for resolver in BOTH {
            for path in ["..", "../a", "b/../..", "/", "/etc", ""] {
                let answer = resolver.open(opened.as_fd(), path.as_bytes());
                assert!(answer.is_err(), "{resolver:?} {path}");
            }
        }
    }

    /// Ends the other thread, also when a check fails.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// `swapped` is now a directory beneath the root, now a link out of it.
    #[test]
    fn a_racing_rename_never_leads_out() {
        let parent = tempdir().unwrap();
        let at = |path: &str| parent.path().join(path);
        fs::create_dir_all(at("outside/inner")).unwrap();
        fs::create_dir_all(at("root/swapped/inner")).unwrap();
        symlink("../outside", at("root/link")).unwrap();
        let expected = inode(&at("root/swapped/inner"));
        let opened = open(&at("root"));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (a, b) = (at("root/swapped"), at("root/link"));
                    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let _stop = Stop(&done);
            for resolver in BOTH {
                // Where the other thread has to wait for a processor, each answer may be the same for long: until
                // both have come.
                let (mut reached, mut refused) = (0, 0);
                while reached + refused < 20_000 || reached == 0 || refused == 0 {
                    match resolver.open(opened.as_fd(), b"swapped/inner") {
                        Ok(found) => {
                            assert_eq!(fstat(found).unwrap().st_ino, expected, "{resolver:?}");
                            reached += 1;
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
        });
    }
}
