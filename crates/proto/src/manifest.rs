//! The order of a manifest, and the hash over it.

use crate::entry::{Entry, Kind};
use crate::extent::Hash;
use crate::path::RelativePath;

/// BLAKE3 key-derivation context of an entry's leaf.
const LEAF_CONTEXT: &str = "packhorse 2026-11 manifest entry";
/// BLAKE3 key-derivation context of the root over the leaves.
const ROOT_CONTEXT: &str = "packhorse 2026-11 manifest root";

/// Checks that entries come in the one canonical order: depth first, names by bytes within a directory,
/// every directory before what it holds.
///
/// With that order, remembering one path is enough to see duplicates, and files used as directories.
#[derive(Debug, Default)]
pub struct Order {
    last: Option<(RelativePath, Holds)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Entries,
    Nothing,
}

/// How an entry breaks the manifest's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The same path twice.
    #[error("the path comes twice")]
    Duplicate,
    /// It sorts before the entry that came before it.
    #[error("the path is out of order")]
    OutOfOrder,
    /// Its directory is listed as a file or a link.
    #[error("its directory is listed as something else")]
    ParentIsNoDirectory,
    /// Its directory is not listed.
    #[error("its directory is not listed before it")]
    ParentMissing,
}

impl Order {
    /// Takes the next entry.
    ///
    /// # Errors
    /// The rule it breaks; the order is then as it was before.
    pub fn check(&mut self, entry: &Entry) -> Result<(), OrderError> {
        if let Some((last, _)) = &self.last {
            match last.cmp(&entry.path) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(OrderError::Duplicate),
                std::cmp::Ordering::Greater => return Err(OrderError::OutOfOrder),
            }
        }
        if let Some(parent) = entry.path.parent() {
            self.check_parent(&parent)?;
        }
        let holds = match entry.kind {
            Kind::Directory => Holds::Entries,
            Kind::File { .. } | Kind::Symlink { .. } => Holds::Nothing,
        };
        self.last = Some((entry.path.clone(), holds));
        Ok(())
    }

    /// The parent was listed where it is the last entry, or where the last entry lies beneath it: that
    /// one had to have its own parents listed.
    fn check_parent(&self, parent: &RelativePath) -> Result<(), OrderError> {
        match &self.last {
            Some((last, Holds::Entries)) if last == parent => Ok(()),
            Some((last, Holds::Nothing)) if last == parent => Err(OrderError::ParentIsNoDirectory),
            Some((last, _)) if last.starts_with(parent) => Ok(()),
            _ => Err(OrderError::ParentMissing),
        }
    }
}

/// The root of a manifest: one BLAKE3 hash over all that was stored, in order.
///
/// It depends on the tree alone: the same tree has the same root, whoever sends it, cut as it may be.
#[derive(Debug, Clone)]
pub struct ManifestRoot {
    leaves: blake3::Hasher,
}

impl Default for ManifestRoot {
    fn default() -> Self {
        Self::new()
    }
}

impl ManifestRoot {
    /// The root of no entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            leaves: blake3::Hasher::new_derive_key(ROOT_CONTEXT),
        }
    }

    /// Adds the next entry in order; `content` is a file's BLAKE3 hash, and only a file's.
    ///
    /// A file's size must be known by now: an unknown one counts as 0.
    pub fn add(&mut self, entry: &Entry, content: Option<&Hash>) {
        self.leaves.update(&leaf(entry, content));
    }

    /// The root over what was added so far.
    #[must_use]
    pub fn finish(&self) -> Hash {
        *self.leaves.finalize().as_bytes()
    }
}

fn leaf(entry: &Entry, content: Option<&Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(LEAF_CONTEXT);
    let mut sized = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    sized(entry.path.as_bytes());
    match &entry.kind {
        Kind::Directory => sized(b"directory"),
        Kind::File { size } => {
            sized(b"file");
            sized(&size.unwrap_or(0).to_be_bytes());
            sized(content.unwrap_or(&[0; 32]));
        }
        Kind::Symlink { target } => {
            sized(b"symlink");
            sized(target.as_bytes());
        }
    }
    sized(&entry.metadata.mode.bits().to_be_bytes());
    sized(&entry.metadata.modified.seconds().to_be_bytes());
    sized(&entry.metadata.modified.nanoseconds().to_be_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Metadata, Mode, Timestamp};

    fn entry(path: &str, kind: Kind) -> Entry {
        let modified = Timestamp::new(1, 2).unwrap();
        let metadata = Metadata {
            mode: Mode::from_st_mode(0o644),
            modified,
            change: None,
        };
        Entry {
            path: RelativePath::parse(path.as_bytes()).unwrap(),
            kind,
            metadata,
        }
    }

    fn check(entries: &[(&str, Kind)]) -> Result<(), OrderError> {
        let mut order = Order::default();
        entries
            .iter()
            .try_for_each(|(path, kind)| order.check(&entry(path, kind.clone())))
    }

    const FILE: Kind = Kind::File { size: Some(1) };

    #[test]
    fn takes_depth_first_order_by_bytes() {
        let d = Kind::Directory;
        assert_eq!(
            check(&[
                ("a", d.clone()),
                ("a/b", d.clone()),
                ("a/b/c", FILE),
                ("a/d", FILE),
                ("a.x", FILE),
                ("b", d)
            ]),
            Ok(())
        );
    }

    #[test]
    fn refuses_duplicates_clashes_and_orphans() {
        let d = Kind::Directory;
        assert_eq!(
            check(&[("a", FILE), ("a", FILE)]),
            Err(OrderError::Duplicate)
        );
        assert_eq!(
            check(&[("a", FILE), ("a", d.clone())]),
            Err(OrderError::Duplicate)
        );
        assert_eq!(
            check(&[("b", FILE), ("a", FILE)]),
            Err(OrderError::OutOfOrder)
        );
        assert_eq!(
            check(&[("a", FILE), ("a/b", FILE)]),
            Err(OrderError::ParentIsNoDirectory)
        );
        assert_eq!(
            check(&[("a", d.clone()), ("a/b/c", FILE)]),
            Err(OrderError::ParentMissing)
        );
        assert_eq!(check(&[("a/b", FILE)]), Err(OrderError::ParentMissing));
        // Back in a directory that was left.
        assert_eq!(
            check(&[("a", d), ("b", FILE), ("a/x", FILE)]),
            Err(OrderError::OutOfOrder)
        );
    }

    #[test]
    fn the_root_covers_every_field() {
        let base = entry("a", FILE);
        let root = |entry: &Entry, hash: Hash| {
            let mut root = ManifestRoot::new();
            root.add(entry, Some(&hash));
            root.finish()
        };
        let mut seen = vec![
            ManifestRoot::new().finish(),
            root(&base, [1; 32]),
            root(&base, [2; 32]),
        ];
        let mut other = base.clone();
        other.metadata.mode = Mode::from_st_mode(0o600);
        seen.push(root(&other, [1; 32]));
        let mut other = base.clone();
        other.metadata.modified = Timestamp::new(1, 3).unwrap();
        seen.push(root(&other, [1; 32]));
        seen.push(root(&entry("b", FILE), [1; 32]));
        seen.push(root(&entry("a", Kind::File { size: Some(2) }), [1; 32]));
        seen.push(root(&entry("a", Kind::Directory), [1; 32]));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}
