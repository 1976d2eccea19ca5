//! How the parts of an entry and of a receipt are spelt in JSON.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use packhorse_proto::entry::{Entry, Kind, LinkTarget, MAX_FILE_SIZE, Metadata, Mode, Timestamp};
use packhorse_proto::extent::Hash;
use packhorse_proto::path::{PathError, RelativePath};
use serde::{Deserialize, Serialize};

use crate::receipt::StageTimes;

/// An entry as it is written in a receipt, in `--events` and in listings.
///
/// Read back, nothing about it but its types was checked.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntryFields<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<Cow<'a, str>>,
    kind: KindField,
    mode: Cow<'a, str>,
    modified: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_base64: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindField {
    File,
    Directory,
    Symlink,
}

/// What is wrong with an entry's fields.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldError {
    #[error("an entry needs one of 'path' and 'path_base64'")]
    Path,
    #[error("an entry's path is not one: {0}")]
    BadPath(#[from] PathError),
    #[error("'mode' is not four octal digits up to 0777")]
    Mode,
    #[error("'modified' is not seconds with nine digits after the point")]
    Modified,
    #[error("a file needs a 'size' of at most 2^63 - 1")]
    Size,
    #[error("a file needs a 'hash' of 64 lower-case hexadecimal digits")]
    Hash,
    #[error("a symlink needs one of 'target' and 'target_base64', 1 to 4095 bytes without NUL")]
    Target,
}

impl<'a> EntryFields<'a> {
    /// The fields of `entry`; `hash` is a file's content hash, where it is known.
    #[must_use]
    pub fn of(entry: &'a Entry, hash: Option<&Hash>) -> Self {
        let (path, path_base64) = text_or_base64(entry.path.as_bytes());
        let mut fields = Self {
            path,
            path_base64,
            kind: KindField::Directory,
            mode: format!("{:04o}", entry.metadata.mode.bits()).into(),
            modified: timestamp_text(entry.metadata.modified).into(),
            size: None,
            hash: None,
            target: None,
            target_base64: None,
        };
        match &entry.kind {
            Kind::Directory => {}
            Kind::File { size } => {
                fields.kind = KindField::File;
                fields.size = *size;
                fields.hash = hash.map(|hash| hex(hash).into());
            }
            Kind::Symlink { target } => {
                fields.kind = KindField::Symlink;
                (fields.target, fields.target_base64) = text_or_base64(target.as_bytes());
            }
        }
        fields
    }

    pub(super) fn check(self) -> Result<(Entry, Option<Hash>), FieldError> {
        let path = bytes(self.path, self.path_base64).ok_or(FieldError::Path)?;
        let path = RelativePath::parse(&path)?;
        let metadata = Metadata {
            mode: parse_mode(&self.mode).ok_or(FieldError::Mode)?,
            modified: parse_timestamp(&self.modified).ok_or(FieldError::Modified)?,
            change: None,
        };
        let mut content = None;
        let kind = match self.kind {
            KindField::Directory => Kind::Directory,
            KindField::File => {
                let hash = self.hash.as_deref().and_then(parse_hex);
                content = Some(hash.ok_or(FieldError::Hash)?);
                let size = self.size.filter(|&size| size <= MAX_FILE_SIZE);
                Kind::File {
                    size: Some(size.ok_or(FieldError::Size)?),
                }
            }
            KindField::Symlink => {
                let target = bytes(self.target, self.target_base64);
                let target = target.and_then(|bytes| LinkTarget::new(&bytes));
                Kind::Symlink {
                    target: target.ok_or(FieldError::Target)?,
                }
            }
        };
        let entry = Entry {
            path,
            kind,
            metadata,
        };
        Ok((entry, content))
    }
}

/// Bytes as text where they are UTF-8, else as Base64.
type TextOrBase64<'a> = (Option<Cow<'a, str>>, Option<Cow<'a, str>>);

fn text_or_base64(bytes: &[u8]) -> TextOrBase64<'_> {
    match str::from_utf8(bytes) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(BASE64.encode(bytes).into())),
    }
}

fn bytes(text: Option<Cow<'_, str>>, base64: Option<Cow<'_, str>>) -> Option<Vec<u8>> {
    match (text, base64) {
        (Some(text), None) => Some(text.into_owned().into_bytes()),
        (None, Some(base64)) => BASE64.decode(&*base64).ok(),
        _ => None,
    }
}

fn parse_mode(text: &str) -> Option<Mode> {
    let octal = text.len() == 4 && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let bits = u32::from_str_radix(text, 8).ok()?;
    (octal && bits <= 0o777).then(|| Mode::from_st_mode(bits))
}

const NANOSECONDS: i128 = 1_000_000_000;

/// The exact decimal number of seconds since 1970-01-01T00:00:00Z, with nine digits after the point.
#[must_use]
pub fn timestamp_text(moment: Timestamp) -> String {
    let total = i128::from(moment.seconds()) * NANOSECONDS + i128::from(moment.nanoseconds());
    let (sign, size) = (if total < 0 { "-" } else { "" }, total.abs());
    format!("{sign}{}.{:09}", size / NANOSECONDS, size % NANOSECONDS)
}

/// Reads only what [`timestamp_text`] writes.
pub(super) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    // The longest: a sign, 19 digits, the point, 9 digits.
    if text.len() > 30 {
        return None;
    }
    let (whole, fraction) = text.split_once('.')?;
    let size = whole.strip_prefix('-').unwrap_or(whole);
    let size = size.parse::<i128>().ok()? * NANOSECONDS + fraction.parse::<i128>().ok()?;
    let total = if text.starts_with('-') { -size } else { size };
    let seconds = i64::try_from(total.div_euclid(NANOSECONDS)).ok()?;
    let nanoseconds = u32::try_from(total.rem_euclid(NANOSECONDS)).ok()?;
    let moment = Timestamp::new(seconds, nanoseconds)?;
    // Leading zeros, `-0`, `+` and fractions of other lengths do not come back the same.
    (timestamp_text(moment) == text).then_some(moment)
}

/// A hash as it is written everywhere: 64 lower-case hexadecimal digits.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
    let digits = hash
        .iter()
        .flat_map(|&byte| [digit(byte >> 4), digit(byte)]);
    digits.collect()
}

/// Lower-case digits only, so that a hash has one spelling.
pub(super) fn parse_hex(text: &str) -> Option<Hash> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let mut hash = [0; 32];
    if pairs.len() != hash.len() {
        return None;
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

/// A path beneath some root, as text or Base64.
#[derive(Debug, Serialize)]
pub struct PathFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<Cow<'a, str>>,
}

impl<'a> PathFields<'a> {
    /// The field of `path`.
    #[must_use]
    pub fn of(path: &'a RelativePath) -> Self {
        let (path, path_base64) = text_or_base64(path.as_bytes());
        Self { path, path_base64 }
    }
}

/// One side's [`StageTimes`], in seconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StageFields {
    #[serde(rename = "read_seconds")]
    read: f64,
    #[serde(rename = "hash_seconds")]
    hash: f64,
    #[serde(rename = "encrypt_seconds")]
    encrypt: f64,
    #[serde(rename = "network_seconds")]
    network: f64,
    #[serde(rename = "write_seconds")]
    write: f64,
    #[serde(rename = "idle_seconds")]
    idle: f64,
    #[serde(rename = "processor_seconds", default)]
    processor: f64,
}

impl From<&StageTimes> for StageFields {
    fn from(times: &StageTimes) -> Self {
        Self {
            read: times.read.as_secs_f64(),
            hash: times.hash.as_secs_f64(),
            encrypt: times.encrypt.as_secs_f64(),
            network: times.network.as_secs_f64(),
            write: times.write.as_secs_f64(),
            idle: times.idle.as_secs_f64(),
            processor: times.processor.as_secs_f64(),
        }
    }
}

impl StageFields {
    pub(super) fn check(&self) -> Option<StageTimes> {
        Some(StageTimes {
            read: duration(self.read)?,
            hash: duration(self.hash)?,
            encrypt: duration(self.encrypt)?,
            network: duration(self.network)?,
            write: duration(self.write)?,
            idle: duration(self.idle)?,
            processor: duration(self.processor)?,
        })
    }
}

pub(super) fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}
