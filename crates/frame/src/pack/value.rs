//! What is packed, and what unpacking gives.

use bytes::Bytes;

/// One value of a struct.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// For the integer codes and `P`. The float codes and `?` take it as well.
    Int(i128),
    /// For `e`, `f` and `d`; `?` takes it as well.
    Float(f64),
    /// For `?`. The number codes take it as well, as 0 or 1.
    Bool(bool),
    /// For `c`, `s` and `p`; `?` takes it as well, and finds true what is not empty.
    Bytes(Bytes),
}

impl Value {
    /// Bytes of one's own.
    #[must_use]
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// What it is, as a message calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "true or false",
            Self::Bytes(_) => "bytes",
        }
    }

    pub(super) fn as_int(&self) -> Option<i128> {
        match *self {
            Self::Int(number) => Some(number),
            Self::Bool(truth) => Some(i128::from(truth)),
            Self::Float(_) | Self::Bytes(_) => None,
        }
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match *self {
            // To the nearest, half to even, as Python converts.
            Self::Int(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            Self::Bool(truth) => Some(f64::from(u8::from(truth))),
            Self::Bytes(_) => None,
        }
    }

    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Bool(truth) => *truth,
            Self::Bytes(bytes) => !bytes.is_empty(),
        }
    }
}
