//! Paths as peers may name them: bytes, checked once.

use std::cmp::Ordering;
use std::fmt;

use crate::escape::Escaped;

/// The longest path, in bytes. Linux's PATH_MAX is 4,096 with the terminating NUL (limits.h).
pub const MAX_PATH: usize = 4095;

/// The longest component, in bytes. Linux's NAME_MAX (limits.h).
pub const MAX_NAME: usize = 255;

/// A path beneath some root, which cannot lead out of it by its spelling.
///
/// It is bytes, not UTF-8. It has at least one component and no empty, `.` or `..` component, no NUL,
/// and no leading or trailing `/`; no component is longer than [`MAX_NAME`], and the whole is not
/// longer than [`MAX_PATH`]. [`RelativePath::parse`] is the only way to make one from bytes.
///
/// The order is the manifest's canonical order: component by component, each by its bytes, a
/// directory before what it holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelativePath(Box<[u8]>);

/// Why bytes are not a [`RelativePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing, or nothing between two slashes.
    #[error("empty path component")]
    EmptyComponent,
    /// It starts with a slash.
    #[error("absolute path")]
    Absolute,
    /// A component is `.` or `..`.
    #[error("'.' or '..' as a path component")]
    DotComponent,
    /// It holds a NUL byte, which no path of the kernel can.
    #[error("NUL byte in path")]
    Nul,
    /// A component is longer than [`MAX_NAME`].
    #[error("path component longer than {MAX_NAME} bytes")]
    NameTooLong,
    /// The whole is longer than [`MAX_PATH`].
    #[error("path longer than {MAX_PATH} bytes")]
    PathTooLong,
}

impl RelativePath {
    /// Checks `bytes` against every rule of the type.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > MAX_PATH {
            return Err(PathError::PathTooLong);
        }
        if bytes.first() == Some(&b'/') {
            return Err(PathError::Absolute);
        }
        for component in bytes.split(|&b| b == b'/') {
            check_name(component)?;
        }
        Ok(Self(bytes.into()))
    }

    /// The path of `name` inside the directory `self` names.
    ///
    /// # Errors
    /// `name` is not one good component, or the whole grows too long.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        check_name(name)?;
        let length = self.0.len() + 1 + name.len();
        if length > MAX_PATH {
            return Err(PathError::PathTooLong);
        }
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Ok(Self(bytes.into_boxed_slice()))
    }

    /// The path as it is on the wire and on disk.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, outermost first; never none.
    pub fn components(&self) -> impl Iterator<Item = Name<'_>> {
        self.0.split(|&b| b == b'/').map(Name)
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> Name<'_> {
        Name(&self.0[self.parent_bytes().map_or(0, |parent| parent.len() + 1)..])
    }

    /// The path of the directory that holds it; `None` directly beneath the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.parent_bytes().map(|bytes| Self(bytes.into()))
    }

    /// What [`parent`](Self::parent) gives, without making a path of it.
    #[must_use]
    pub fn parent_bytes(&self) -> Option<&[u8]> {
        let slash = self.0.iter().rposition(|&b| b == b'/')?;
        Some(&self.0[..slash])
    }

    /// Whether `self` is `ancestor` or lies beneath it.
    #[must_use]
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        self.0
            .strip_prefix(&*ancestor.0)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

fn check_name(name: &[u8]) -> Result<(), PathError> {
    match name {
        b"" => Err(PathError::EmptyComponent),
        b"." | b".." => Err(PathError::DotComponent),
        _ if name.contains(&b'/') => Err(PathError::Absolute),
        _ if name.contains(&0) => Err(PathError::Nul),
        _ if name.len() > MAX_NAME => Err(PathError::NameTooLong),
        _ => Ok(()),
    }
}

impl Ord for RelativePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash ends a component, so it sorts before every byte a component can hold (NUL cannot
        // occur): `a`, `a/x`, `a.b`.
        let key = |&b: &u8| if b == b'/' { 0 } else { b };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for RelativePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Escaped for a terminal.
impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelativePath({self})")
    }
}

/// One component of a [`RelativePath`]: not empty, not `.` or `..`, no slash, no NUL.
///
/// Opened against a directory's descriptor without following links, it cannot leave that directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Checks one component.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PathError> {
        check_name(bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// A path of this one component.
    #[must_use]
    pub fn to_path(self) -> RelativePath {
        RelativePath(self.0.into())
    }
}

/// Escaped for a terminal.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0).fmt(f)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn refuses_what_could_lead_out() {
        for (bytes, error) in [
            (&b""[..], PathError::EmptyComponent),
            (b"/etc", PathError::Absolute),
            (b"a//b", PathError::EmptyComponent),
            (b"a/", PathError::EmptyComponent),
            (b"..", PathError::DotComponent),
            (b"a/../b", PathError::DotComponent),
            (b"./a", PathError::DotComponent),
            (b"a\0b", PathError::Nul),
        ] {
            assert_eq!(RelativePath::parse(bytes), Err(error), "{bytes:?}");
        }
        assert_eq!(
            RelativePath::parse(&[b'a'; 256]),
            Err(PathError::NameTooLong)
        );
        assert_eq!(
            RelativePath::parse(&[b'a'; 4096]),
            Err(PathError::PathTooLong)
        );
        assert!(RelativePath::parse(&[b'a'; 255]).is_ok());
        assert!(RelativePath::parse(b"...").is_ok());
        assert!(RelativePath::parse(b"\xff\xfe \n").is_ok());
    }

    #[test]
    fn a_directory_sorts_before_what_it_holds_and_that_before_its_neighbours() {
        let mut paths = [
            path("a.b"),
            path("a/z/q"),
            path("b"),
            path("a"),
            path("a/z"),
            path("a!"),
        ];
        paths.sort();
        let sorted: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a", "a/z", "a/z/q", "a!", "a.b", "b"]);
    }

    #[test]
    fn takes_a_path_apart() {
        let deep = path("a/b/c");
        assert_eq!(deep.name().as_bytes(), b"c");
        assert_eq!(deep.parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), None);
        assert_eq!(path("a").name().as_bytes(), b"a");
        assert!(deep.starts_with(&path("a/b")) && !path("a/bc").starts_with(&path("a/b")));
        assert_eq!(path("a/b").join(b"c"), Ok(deep));
        assert_eq!(path("a").join(b".."), Err(PathError::DotComponent));
        assert_eq!(path("a").join(b"x/y"), Err(PathError::Absolute));
    }

    proptest! {
        #[test]
        fn order_is_by_components(a in "[a/.!\u{1}-]{1,12}", b in "[a/.!\u{1}-]{1,12}") {
            let parse = |text: &str| RelativePath::parse(text.as_bytes());
            if let (Ok(a), Ok(b)) = (parse(&a), parse(&b)) {
                let components: (Vec<_>, Vec<_>) = (a.components().collect(), b.components().collect());
                prop_assert_eq!(a.cmp(&b), components.0.cmp(&components.1));
            }
        }
    }
}
