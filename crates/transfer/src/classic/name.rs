//! The name that a file is stored under: one plain component, whatever system wrote it.

use std::fmt;

use packhorse_proto::escape::Escaped;
use packhorse_proto::path::{Name, PathError, RelativePath};
use packhorse_tree::{IS_OWN, is_own};

/// A name that leads nowhere: one component in UTF-8, and no path on Windows either.
///
/// Not empty, not `.` or `..`, no `/`, no `\`, no NUL, not a drive (`C:` and what follows), and at most
/// 255 bytes; and none that packhorse gives to files of its own. [`PlainName::parse`] is the only way to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainName(RelativePath);

/// Why a text is not a [`PlainName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It holds a slash or a backslash.
    #[error("it holds a separator of directories")]
    Separator,
    /// It begins with a letter and a colon.
    #[error("it names a drive")]
    Drive,
    /// Packhorse itself gives such names.
    #[error("{IS_OWN}")]
    Own,
    /// It breaks a rule of every path.
    #[error(transparent)]
    Path(PathError),
}

impl PlainName {
    /// Checks `text` against every rule of the type.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.as_bytes() {
            [] => Err(NameError::Empty),
            [letter, b':', ..] if letter.is_ascii_alphabetic() => Err(NameError::Drive),
            bytes if bytes.iter().any(|b| matches!(b, b'/' | b'\\')) => Err(NameError::Separator),
            bytes if is_own(bytes) => Err(NameError::Own),
            bytes => {
                let name = Name::parse(bytes).map_err(NameError::Path)?;
                Ok(Self(name.to_path()))
            }
        }
    }

    /// The name as it is in a header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It was made from a `str` and is the same bytes.
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }

    /// The name as a path beneath the destination.
    #[must_use]
    pub fn as_path(&self) -> &RelativePath {
        &self.0
    }
}

/// Escaped for a terminal.
impl fmt::Display for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_pass() {
        for name in [
            "a",
            "photo.jpg",
            "..a",
            "a..",
            "...",
            "12:30.txt",
            " ",
            "名前",
            "-rf",
        ] {
            assert_eq!(PlainName::parse(name).unwrap().as_str(), name);
        }
        assert!(PlainName::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn whatever_leads_elsewhere_is_refused() {
        let path = |error| Err(NameError::Path(error));
        assert_eq!(PlainName::parse(""), Err(NameError::Empty));
        for name in [
            "/",
            "/etc/passwd",
            "a/b",
            "a/",
            "../a",
            "a\\b",
            "\\\\nas\\x",
        ] {
            assert_eq!(PlainName::parse(name), Err(NameError::Separator), "{name}");
        }
        for name in ["C:", "c:x", "C:\\x", "z:/x"] {
            assert_eq!(PlainName::parse(name), Err(NameError::Drive), "{name}");
        }
        for name in [".packhorse", ".packhorse-0123456789abcdef.part"] {
            assert_eq!(PlainName::parse(name), Err(NameError::Own), "{name}");
        }
        assert_eq!(PlainName::parse(".."), path(PathError::DotComponent));
        assert_eq!(PlainName::parse("."), path(PathError::DotComponent));
        assert_eq!(PlainName::parse("a\0b"), path(PathError::Nul));
        assert_eq!(
            PlainName::parse(&"x".repeat(256)),
            path(PathError::NameTooLong)
        );
    }
}
