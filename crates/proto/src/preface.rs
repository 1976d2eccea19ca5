//! The first eight bytes of every connection, in both directions.
//!
//! ```text
//!  0               4       5          6       7       8
//! +---------------+-------+----------+-------+-------+
//! | "PACK"        | kind  | argument | major | minor |
//! +---------------+-------+----------+-------+-------+
//! ```

/// Bytes of a preface.
pub const PREFACE_LENGTH: usize = 8;

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"PACK";

/// The major version spoken here: another one is refused.
pub const MAJOR: u8 = 1;

/// The minor version spoken here: it says what optional fields a peer may send.
pub const MINOR: u8 = 0;

/// What a connection says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// From a client: the control connection of a session.
    Control(Security),
    /// From a client: a lane of a session that is open.
    Lane,
    /// From a server: go on.
    Accepted,
    /// From a server: it will not serve this control connection.
    Refused(Refusal),
}

/// How the control connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all: no encryption, no authentication.
    Insecure,
    /// TLS 1.3.
    Tls,
}

/// Why a server refuses a control connection before anything else was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another major version.
    #[error("it speaks another version of the protocol")]
    Version,
    /// It wants TLS.
    #[error("it takes encrypted sessions only")]
    WantsTls,
    /// It has no keys and no code.
    #[error("it runs without encryption")]
    WantsInsecure,
    /// It serves somebody else at this moment.
    #[error("it is serving another sender")]
    Busy,
    /// A reason of a later version.
    #[error("it gives a reason that is not known here ({0})")]
    Other(u8),
}

/// Why eight bytes are not a preface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefaceError {
    /// It does not begin with [`MAGIC`].
    #[error("the other side does not speak packhorse's protocol")]
    NotPackhorse,
    /// Another major version.
    #[error("the other side speaks version {0} of the protocol, this one speaks {MAJOR}")]
    Version(u8),
    /// A kind or an argument that is not known here.
    #[error("a preface of an unknown kind")]
    Unknown,
}

impl Preface {
    /// The bytes on the wire.
    #[must_use]
    pub fn emit(self) -> [u8; PREFACE_LENGTH] {
        let (kind, argument) = match self {
            Self::Control(Security::Insecure) => (b'C', 0),
            Self::Control(Security::Tls) => (b'C', 1),
            Self::Lane => (b'L', 0),
            Self::Accepted => (b'A', 0),
            Self::Refused(refusal) => (b'R', refusal.code()),
        };
        let [p, a, c, k] = MAGIC;
        [p, a, c, k, kind, argument, MAJOR, MINOR]
    }

    /// Reads a preface. A refusal is read whatever its version, so that a newer server can say no to
    /// an older client.
    ///
    /// # Errors
    /// What the bytes are instead.
    pub fn parse(bytes: [u8; PREFACE_LENGTH]) -> Result<Self, PrefaceError> {
        let [p, a, c, k, kind, argument, major, _minor] = bytes;
        if [p, a, c, k] != MAGIC {
            return Err(PrefaceError::NotPackhorse);
        }
        match (kind, argument) {
            (b'R', code) => Ok(Self::Refused(Refusal::from_code(code))),
            _ if major != MAJOR => Err(PrefaceError::Version(major)),
            (b'C', 0) => Ok(Self::Control(Security::Insecure)),
            (b'C', 1) => Ok(Self::Control(Security::Tls)),
            (b'L', 0) => Ok(Self::Lane),
            (b'A', 0) => Ok(Self::Accepted),
            _ => Err(PrefaceError::Unknown),
        }
    }
}

impl Refusal {
    fn code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::WantsTls => 2,
            Self::WantsInsecure => 3,
            Self::Busy => 4,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Version,
            2 => Self::WantsTls,
            3 => Self::WantsInsecure,
            4 => Self::Busy,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preface_survives_the_wire() {
        let prefaces = [
            Preface::Control(Security::Tls),
            Preface::Control(Security::Insecure),
            Preface::Lane,
            Preface::Accepted,
            Preface::Refused(Refusal::Version),
            Preface::Refused(Refusal::Busy),
            Preface::Refused(Refusal::Other(99)),
        ];
        for preface in prefaces {
            assert_eq!(Preface::parse(preface.emit()), Ok(preface));
        }
    }

    #[test]
    fn another_major_version_is_named_and_its_refusal_understood() {
        assert_eq!(
            Preface::parse(*b"PACKC\x01\x02\x00"),
            Err(PrefaceError::Version(2))
        );
        assert_eq!(
            Preface::parse(*b"PACKR\x01\x02\x00"),
            Ok(Preface::Refused(Refusal::Version))
        );
        assert_eq!(
            Preface::parse(*b"SSH-2.0-"),
            Err(PrefaceError::NotPackhorse)
        );
        assert_eq!(
            Preface::parse(*b"PACKX\x00\x01\x00"),
            Err(PrefaceError::Unknown)
        );
    }
}
