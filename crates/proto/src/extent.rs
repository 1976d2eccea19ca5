//! Content cut into extents, each a BLAKE3 subtree, merged into the ordinary BLAKE3 hash of the file.
//!
//! BLAKE3 (the paper, §2.4 and §5.1.2) hashes a file as a tree whose left branches hold the largest
//! power of two of 1,024-byte chunks that leaves something for the right. An extent of a power-of-two
//! size, at a multiple of that size, is therefore one subtree, and its chaining value says all that the
//! root needs of it. So extents may be hashed in any order, by anyone who has them, and the file's hash
//! comes out as `b3sum` prints it.

use std::collections::BTreeMap;

use blake3::Hasher;
use blake3::hazmat::{
    HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

/// Bytes of every extent of a file but its last: 1 MiB, 8 records of 128 KiB.
///
/// An extent travels on one lane. At the end of a file each lane has its last one, and none finishes before its own: on a
/// link that carries 12 MB/s over 10 lanes, 4 MiB would be 3.5 seconds of half a link.
pub const EXTENT_SIZE: u64 = 1 << 20;

/// A BLAKE3 hash, or the value of one extent.
pub type Hash = [u8; 32];

/// The BLAKE3 hash of no bytes.
#[must_use]
pub fn empty_hash() -> Hash {
    *blake3::hash(b"").as_bytes()
}

/// Where the extent that holds `offset` ends, in a file of `size` bytes (or more, where unknown).
#[must_use]
pub fn extent_end(offset: u64, size: Option<u64>) -> u64 {
    let end = (offset / EXTENT_SIZE + 1).saturating_mul(EXTENT_SIZE);
    size.map_or(end, |size| end.min(size))
}

/// Hashes the bytes of one extent, in order.
pub struct ExtentHasher {
    hasher: Hasher,
    offset: u64,
    length: u64,
}

impl ExtentHasher {
    /// For the extent that starts at `offset`; `None` unless that is a multiple of [`EXTENT_SIZE`].
    #[must_use]
    pub fn new(offset: u64) -> Option<Self> {
        if !offset.is_multiple_of(EXTENT_SIZE) || offset > crate::entry::MAX_FILE_SIZE {
            return None;
        }
        let mut hasher = Hasher::new();
        hasher.set_input_offset(offset);
        Some(Self {
            hasher,
            offset,
            length: 0,
        })
    }

    /// Takes the next bytes; `None`, taking nothing, where they would not fit the extent.
    #[must_use]
    pub fn update(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.len() as u64 > EXTENT_SIZE - self.length {
            return None;
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Some(())
    }

    /// The offset of the next byte it expects.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.offset + self.length
    }

    /// The extent's value: of a file that is this one extent, its hash; otherwise the chaining value
    /// of the subtree. `None` for an extent without bytes in a file that has others.
    #[must_use]
    pub fn finish(self, whole: Whole) -> Option<ExtentValue> {
        let Self {
            hasher,
            offset,
            length,
        } = self;
        let value = match whole {
            Whole::File if offset == 0 => *hasher.finalize().as_bytes(),
            Whole::Part if length > 0 => hasher.finalize_non_root(),
            _ => return None,
        };
        Some(ExtentValue {
            offset,
            length,
            whole,
            value,
        })
    }
}

/// Whether an extent is the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// The file is this one extent (an empty one for an empty file).
    File,
    /// The file has other extents.
    Part,
}

impl Whole {
    /// For the extent from `offset` to `end` of a file of `size` bytes.
    #[must_use]
    pub fn of(offset: u64, end: u64, size: u64) -> Self {
        if offset == 0 && end == size {
            Self::File
        } else {
            Self::Part
        }
    }
}

/// The value of one extent, and which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentValue {
    offset: u64,
    length: u64,
    whole: Whole,
    value: Hash,
}

impl ExtentValue {
    /// The value of the extent that starts at `offset` in a file of `size` bytes and of several extents, as it was noted
    /// when it was verified; `None` where there is no such extent.
    #[must_use]
    pub fn known(offset: u64, size: u64, value: Hash) -> Option<Self> {
        if !offset.is_multiple_of(EXTENT_SIZE) || offset >= size || size <= EXTENT_SIZE {
            return None;
        }
        Some(Self {
            offset,
            length: extent_end(offset, Some(size)) - offset,
            whole: Whole::Part,
            value,
        })
    }

    /// Where the extent starts.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes in it.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What goes over the wire.
    #[must_use]
    pub fn value(&self) -> &Hash {
        &self.value
    }
}

/// Why an extent does not fit the others of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtentError {
    /// An extent, or part of it, came before.
    #[error("an extent came twice")]
    Twice,
    /// An extent shorter than it has to be, or beyond the end.
    #[error("an extent does not fit the size of its file")]
    WrongLength,
}

/// Extents that lie together, and the value over them: one extent, or a power of two of them at a multiple of their
/// length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Where the first of them starts.
    pub offset: u64,
    /// Bytes in all of them.
    pub length: u64,
    /// Their chaining value.
    pub value: Hash,
}

impl Subtree {
    /// Whether a file of `size` bytes has such a subtree, which is not all of it.
    fn fits(&self, size: u64) -> bool {
        let Self { offset, length, .. } = *self;
        let Some(end) = offset.checked_add(length).filter(|&end| end <= size) else {
            return false;
        };
        if length == 0 || length >= size || !offset.is_multiple_of(EXTENT_SIZE) {
            return false;
        }
        let full = length.is_multiple_of(EXTENT_SIZE)
            && length.is_power_of_two()
            && offset.is_multiple_of(length);
        full || (length < EXTENT_SIZE && end == size)
    }
}

/// The values of a file's extents, merged as far as they go.
///
/// Neighbours merge as soon as both are there, so extents that come in order cost O(log n) values, and
/// others as many as there are gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentTree {
    /// Complete subtrees by offset: bytes and chaining value.
    nodes: BTreeMap<u64, (u64, Hash)>,
    /// The hash, where the whole file was one extent.
    single: Option<(u64, Hash)>,
    /// Bytes in all nodes.
    covered: u64,
}

impl ContentTree {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What another tree held of a file of `size` bytes, as [`subtrees`](Self::subtrees) gave it.
    ///
    /// # Errors
    /// [`ExtentError`] where a file of that size is not cut like that, or they are not in order and apart.
    pub fn from_subtrees(
        size: u64,
        subtrees: impl IntoIterator<Item = Subtree>,
    ) -> Result<Self, ExtentError> {
        let mut tree = Self::new();
        let mut least = 0;
        for subtree in subtrees {
            if !subtree.fits(size) {
                return Err(ExtentError::WrongLength);
            }
            if subtree.offset < least {
                return Err(ExtentError::Twice);
            }
            least = subtree.offset + subtree.length;
            tree.covered += subtree.length;
            let node = (subtree.length, subtree.value);
            tree.nodes.insert(subtree.offset, node);
        }
        Ok(tree)
    }

    /// What it holds, in order; nothing of a file that is one extent.
    pub fn subtrees(&self) -> impl Iterator<Item = Subtree> {
        let nodes = self.nodes.iter();
        nodes.map(|(&offset, &(length, value))| Subtree {
            offset,
            length,
            value,
        })
    }

    /// The first offset from this one on whose extent is not in.
    #[must_use]
    pub fn next_missing(&self, mut offset: u64) -> u64 {
        while let Some((start, (length, _))) = self.nodes.range(..=offset).next_back() {
            let end = start + length;
            if end <= offset {
                break;
            }
            offset = end;
        }
        offset
    }

    /// Bytes whose extents are in.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// Takes one extent's value.
    ///
    /// # Errors
    /// [`ExtentError::Twice`] where an extent came before.
    pub fn insert(&mut self, extent: &ExtentValue) -> Result<(), ExtentError> {
        let ExtentValue {
            offset,
            length,
            whole,
            value,
        } = *extent;
        if self.single.is_some() || self.holds(offset) {
            return Err(ExtentError::Twice);
        }
        self.covered += length;
        if whole == Whole::File {
            self.single = Some((length, value));
            return Ok(());
        }
        self.nodes.insert(offset, (length, value));
        if length == EXTENT_SIZE {
            self.merge_up(offset);
            // A pair at the start of the file waits until something is known to lie beyond it.
            self.merge_up(0);
        }
        Ok(())
    }

    fn holds(&self, offset: u64) -> bool {
        self.nodes
            .range(..=offset)
            .next_back()
            .is_some_and(|(start, (length, _))| offset - start < *length)
    }

    /// Merges the complete subtree at `offset` with its sibling, and the result with its own, as far as
    /// siblings are there.
    fn merge_up(&mut self, mut offset: u64) {
        while let Some(&(length, _)) = self.nodes.get(&offset) {
            let left = offset & !length;
            let right = left + length;
            let (Some(&(left_length, left_value)), Some(&(right_length, right_value))) =
                (self.nodes.get(&left), self.nodes.get(&right))
            else {
                return;
            };
            // The last pair of a file is its root, which is merged differently: so the pair at the
            // start waits for a neighbour beyond.
            let beyond = left > 0 || self.nodes.range(right + length..).next().is_some();
            if left_length != length
                || right_length != length
                || !length.is_power_of_two()
                || !beyond
            {
                return;
            }
            let merged = merge_subtrees_non_root(&left_value, &right_value, Mode::Hash);
            self.nodes.remove(&right);
            self.nodes.insert(left, (2 * length, merged));
            offset = left;
        }
    }

    /// The hash of a file of `size` bytes, or `None` while extents are missing.
    ///
    /// # Errors
    /// [`ExtentError::WrongLength`] where what came is not how a file of that size is cut.
    pub fn root(&self, size: u64) -> Result<Option<Hash>, ExtentError> {
        if size == 0 && self.covered == 0 {
            return Ok(Some(empty_hash()));
        }
        if self.covered < size {
            return Ok(None);
        }
        if self.covered > size {
            return Err(ExtentError::WrongLength);
        }
        if let Some((_, hash)) = self.single {
            return Ok(Some(hash));
        }
        if size <= EXTENT_SIZE {
            return Err(ExtentError::WrongLength);
        }
        let left = left_subtree_len(size);
        let values = (self.subtree(0, left)?, self.subtree(left, size - left)?);
        Ok(Some(
            *merge_subtrees_root(&values.0, &values.1, Mode::Hash).as_bytes(),
        ))
    }

    /// The chaining value of the subtree of `length` bytes at `offset`. The depth is at most 40: a
    /// level halves a length below 2^63 until it is an extent.
    fn subtree(&self, offset: u64, length: u64) -> Result<Hash, ExtentError> {
        match self.nodes.get(&offset) {
            Some((node_length, value)) if *node_length == length => return Ok(*value),
            _ if length <= EXTENT_SIZE => return Err(ExtentError::WrongLength),
            _ => {}
        }
        let left = left_subtree_len(length);
        let values = (
            self.subtree(offset, left)?,
            self.subtree(offset + left, length - left)?,
        );
        Ok(merge_subtrees_non_root(&values.0, &values.1, Mode::Hash))
    }

    /// Values held at this moment.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "sizes in tests are small")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extents(data: &[u8]) -> Vec<ExtentValue> {
        let size = data.len() as u64;
        let mut values = Vec::new();
        let mut offset = 0;
        while offset < size {
            let end = extent_end(offset, Some(size));
            let mut hasher = ExtentHasher::new(offset).unwrap();
            for piece in data[offset as usize..end as usize].chunks(100_000) {
                hasher.update(piece).unwrap();
            }
            values.push(hasher.finish(Whole::of(offset, end, size)).unwrap());
            offset = end;
        }
        values
    }

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|i| (i * 31 + (i >> 12)) as u8).collect()
    }

    #[test]
    fn extents_in_any_order_give_the_ordinary_hash() {
        for extra in [0, 1, 1024, EXTENT_SIZE - 1] {
            for count in [0, 1, 2, 3, 4, 5, 8, 9] {
                let size = count * EXTENT_SIZE + extra;
                let data = content(size);
                let mut values = extents(&data);
                for rotation in 0..3.min(values.len().max(1)) {
                    let mut tree = ContentTree::new();
                    if !values.is_empty() {
                        let middle = (rotation * 2) % values.len();
                        values.rotate_left(middle);
                        if rotation == 1 {
                            values.reverse();
                        }
                    }
                    for value in &values {
                        tree.insert(value).unwrap();
                    }
                    let root = tree.root(size).unwrap().unwrap();
                    assert_eq!(
                        root,
                        *blake3::hash(&data).as_bytes(),
                        "{count} extents + {extra}"
                    );
                }
            }
        }
    }

    #[test]
    fn extents_in_order_hold_few_values() {
        let mut tree = ContentTree::new();
        for index in 0..1 << 10 {
            let value = ExtentValue {
                offset: index * EXTENT_SIZE,
                length: EXTENT_SIZE,
                whole: Whole::Part,
                value: [7; 32],
            };
            tree.insert(&value).unwrap();
            assert!(tree.held() <= 12, "{} values after {index}", tree.held());
            assert_eq!(tree.insert(&value), Err(ExtentError::Twice));
        }
    }

    #[test]
    fn a_short_extent_in_the_middle_is_refused() {
        let mut tree = ContentTree::new();
        let mut hasher = ExtentHasher::new(0).unwrap();
        hasher.update(b"short").unwrap();
        tree.insert(&hasher.finish(Whole::Part).unwrap()).unwrap();
        assert_eq!(tree.root(5), Err(ExtentError::WrongLength));
        let mut hasher = ExtentHasher::new(EXTENT_SIZE).unwrap();
        hasher.update(&vec![0; EXTENT_SIZE as usize]).unwrap();
        assert!(hasher.update(b"x").is_none(), "beyond the extent");
        tree.insert(&hasher.finish(Whole::Part).unwrap()).unwrap();
        assert_eq!(tree.root(5 + EXTENT_SIZE), Err(ExtentError::WrongLength));
        assert!(
            ExtentHasher::new(1024).is_none(),
            "not at an extent's start"
        );
    }

    #[test]
    fn a_tree_goes_on_where_another_was() {
        for (size, skip) in [
            (2 * EXTENT_SIZE, 1),
            (9 * EXTENT_SIZE + 5, 3),
            (8 * EXTENT_SIZE, 2),
        ] {
            let data = content(size);
            let values = extents(&data);
            let mut before = ContentTree::new();
            for (index, value) in values.iter().enumerate() {
                if index % (skip + 1) != skip {
                    before.insert(value).unwrap();
                }
            }
            let mut tree = ContentTree::from_subtrees(size, before.subtrees()).unwrap();
            assert_eq!(tree, before);
            let mut offset = tree.next_missing(0);
            while offset < size {
                let index = (offset / EXTENT_SIZE) as usize;
                assert_eq!(index % (skip + 1), skip, "{offset} of {size}");
                tree.insert(&values[index]).unwrap();
                offset = tree.next_missing(offset);
            }
            assert_eq!(tree.root(size), Ok(Some(*blake3::hash(&data).as_bytes())));
        }
    }

    #[test]
    fn subtrees_that_no_file_has_are_refused() {
        let of = |offset, length| Subtree {
            offset,
            length,
            value: [1; 32],
        };
        let e = EXTENT_SIZE;
        let size = 7 * e + 9;
        for good in [
            vec![of(0, 4 * e), of(4 * e, 2 * e), of(6 * e, e), of(7 * e, 9)],
            vec![of(2 * e, 2 * e)],
            vec![],
        ] {
            ContentTree::from_subtrees(size, good).unwrap();
        }
        for bad in [
            vec![of(0, 3 * e)],
            vec![of(e, 2 * e)],
            vec![of(0, 8 * e)],
            vec![of(1, e)],
            vec![of(0, 0)],
            vec![of(0, 9)],
            vec![of(7 * e, e)],
            vec![of(u64::MAX - 1, 2)],
            vec![of(0, 2 * e), of(e, e)],
            vec![of(e, e), of(0, e)],
        ] {
            assert!(
                ContentTree::from_subtrees(size, bad.clone()).is_err(),
                "{bad:?}"
            );
        }
        assert!(
            ContentTree::from_subtrees(e, [of(0, e)]).is_err(),
            "all of it"
        );
    }

    proptest! {
        /// Whatever is inserted, in whatever order, there is an answer and no panic.
        #[test]
        fn hostile_extents_never_panic(
            steps in proptest::collection::vec((0u64..6, prop_oneof![Just(EXTENT_SIZE), 1u64..3000], any::<bool>()), 0..12),
            size in 0u64..7 * EXTENT_SIZE,
        ) {
            let mut tree = ContentTree::new();
            for (index, length, whole) in steps {
                let whole = if whole && index == 0 { Whole::File } else { Whole::Part };
                let _ = tree.insert(&ExtentValue { offset: index * EXTENT_SIZE, length, whole, value: [1; 32] });
                let _ = tree.root(size);
                let _ = tree.root(tree.covered());
            }
        }
    }
}
