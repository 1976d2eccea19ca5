//! The names of one directory in order, in bounded memory.

use std::mem::size_of;

use rustix::fs::{RawDir, SeekFrom, seek};

use crate::directory::Directory;

/// Where a name lies in the arena.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

/// The names of a directory, smallest first, each given once.
///
/// Where they are too many, only the smallest are held; the directory is read again for the next ones
/// when those were given.
#[derive(Debug)]
pub(super) struct Listing {
    arena: Vec<u8>,
    /// Sorted by the names they stand for, once filled.
    spans: Vec<Span>,
    /// How many of `spans` were given.
    given: usize,
    /// The last name of those given and no longer held.
    last: Option<Box<[u8]>>,
    /// Whether the directory holds names after the ones here.
    more: bool,
    /// How much to hold, in bytes.
    limit: usize,
}

impl Listing {
    /// Of a directory that was not read yet.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            arena: Vec::new(),
            spans: Vec::new(),
            given: 0,
            last: None,
            more: true,
            // A span counts in 32 bits, and one name more is pushed before the limit is looked at.
            limit: limit.min(1 << 31),
        }
    }

    /// The next name; `directory` is always the same, and `buffer`'s capacity is what the kernel may fill.
    pub(super) fn next(
        &mut self,
        directory: &Directory,
        buffer: &mut Vec<u8>,
    ) -> rustix::io::Result<Option<Box<[u8]>>> {
        if self.given == self.spans.len() && self.more {
            self.forget();
            self.fill(directory, buffer)?;
        }
        let Some(&span) = self.spans.get(self.given) else {
            return Ok(None);
        };
        self.given += 1;
        Ok(Some(self.name(span).into()))
    }

    /// Bytes of memory in use.
    pub(super) fn held(&self) -> usize {
        self.arena.len() + self.spans.len() * size_of::<Span>()
    }

    /// Frees the memory. The directory is read again for what was not given yet.
    pub(super) fn forget(&mut self) {
        if let Some(&span) = self.given.checked_sub(1).and_then(|i| self.spans.get(i)) {
            self.last = Some(self.name(span).into());
        }
        self.more |= self.given < self.spans.len();
        self.given = 0;
        self.arena = Vec::new();
        self.spans = Vec::new();
    }

    fn name(&self, span: Span) -> &[u8] {
        &self.arena[span.start as usize..][..span.length as usize]
    }

    fn fill(&mut self, directory: &Directory, buffer: &mut Vec<u8>) -> rustix::io::Result<()> {
        if self.last.is_some() {
            seek(directory, SeekFrom::Start(0))?;
        }
        // The smallest name there was no room for.
        let mut cut: Option<Box<[u8]>> = None;
        buffer.clear();
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !self.wants(name, cut.as_deref()) {
                continue;
            }
            self.push(name);
            if self.held() > self.limit && self.spans.len() > 1 {
                cut = self.keep_smaller_half().or(cut);
            }
        }
        self.sort();
        self.arena.shrink_to_fit();
        self.spans.shrink_to_fit();
        self.more = cut.is_some();
        Ok(())
    }

    fn wants(&self, name: &[u8], cut: Option<&[u8]>) -> bool {
        !matches!(name, b"." | b"..")
            && self.last.as_deref().is_none_or(|last| name > last)
            && cut.is_none_or(|cut| name < cut)
    }

    fn push(&mut self, name: &[u8]) {
        let index = |n: usize| u32::try_from(n).expect("the limit keeps the arena below 4 GiB");
        self.spans.push(Span {
            start: index(self.arena.len()),
            length: index(name.len()),
        });
        self.arena.extend_from_slice(name);
    }

    /// Sorts, and drops names a directory gave twice because it changed while it was read.
    fn sort(&mut self) {
        let Self { arena, spans, .. } = self;
        let name = |span: &Span| &arena[span.start as usize..][..span.length as usize];
        spans.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        spans.dedup_by(|a, b| name(a) == name(b));
    }

    /// Keeps the smaller half of the names and gives the first that was dropped; `None` if all are one.
    fn keep_smaller_half(&mut self) -> Option<Box<[u8]>> {
        self.sort();
        let kept = (self.spans.len() / 2).max(1);
        let cut = self.name(*self.spans.get(kept)?).into();
        let smaller = self.spans[..kept].to_vec();
        let arena = std::mem::take(&mut self.arena);
        self.spans.clear();
        for span in smaller {
            self.push(&arena[span.start as usize..][..span.length as usize]);
        }
        Some(cut)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn never_holds_more_than_its_limit_and_gives_every_name_once() {
        let root = tempdir().unwrap();
        let mut expected: Vec<String> = (0..500).map(|n| format!("{:x}", n * 7919)).collect();
        for name in &expected {
            fs::write(root.path().join(name), "").unwrap();
        }
        expected.sort();
        let directory = Directory::open_root(root.path()).unwrap();
        let mut buffer = Vec::with_capacity(1024);
        let mut listing = Listing::new(300);
        let mut names = Vec::new();
        while let Some(name) = listing.next(&directory, &mut buffer).unwrap() {
            assert!(listing.held() <= 300);
            names.push(String::from_utf8(name.into()).unwrap());
            if names.len() % 10 == 0 {
                listing.forget();
                assert_eq!(listing.held(), 0);
            }
        }
        assert_eq!(names, expected);
        assert!(listing.next(&directory, &mut buffer).unwrap().is_none());
    }
}
