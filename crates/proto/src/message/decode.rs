//! How the bodies of messages are read: each value is held against its bounds where it is read.

mod remains;

use self::remains::{decode_held, decode_partial, decode_runs};
use super::{
    AbortCode, Assurance, Counters, FIRST_OPTIONAL_TYPE, Failure, FailureClass, MAX_ITEMS,
    MAX_SUITES, Message, MessageError, TIMES_PROCESSOR, Text, Times, Totals, WindowSize,
};
use crate::cbor::{CborError, Reader};
use crate::entry::{Entry, Kind, LinkTarget, MAX_FILE_SIZE, Metadata, Mode, Timestamp};
use crate::escape::Escaped;
use crate::path::{MAX_PATH, PathError, RelativePath};

type Result<T> = std::result::Result<T, MessageError>;

/// Reads the body of a message of type `kind`; `None` for an unknown one that may be skipped.
pub(super) fn decode(kind: u8, bytes: &[u8]) -> Result<Option<Message>> {
    let mut reader = Reader::new(bytes);
    let r = &mut reader;
    let damaged = |error| MessageError::Body(kind, error);
    let message = match kind {
        1 => decode_hello(r).map_err(damaged)?,
        2 => decode_welcome(r).map_err(damaged)?,
        3 => decode_confirm(r).map_err(damaged)?,
        4 => decode_offer(r)?,
        5 => decode_accept(r).map_err(damaged)?,
        6 => decode_entries(r)?,
        7 => Message::EntriesEnd {
            count: decode_number(r).map_err(damaged)?,
        },
        8 => decode_revise(r).map_err(damaged)?,
        9 => decode_failure(r)
            .map(|(number, failure)| Message::Withdraw { number, failure })
            .map_err(damaged)?,
        10 => Message::Settled {
            runs: decode_runs(r).map_err(damaged)?,
        },
        11 => Message::Kept {
            number: decode_number(r).map_err(damaged)?,
        },
        12 => decode_failure(r)
            .map(|(number, failure)| Message::Failed { number, failure })
            .map_err(damaged)?,
        13 => decode_progress(r).map_err(damaged)?,
        14 => decode_close(r).map_err(damaged)?,
        15 => decode_receipt(r).map_err(damaged)?,
        16 => r
            .map(|_, _| Ok(false))
            .map(|()| Message::Bye)
            .map_err(damaged)?,
        17 => decode_abort(r).map_err(damaged)?,
        18 => decode_flawed(r)?,
        19 => decode_held(r).map_err(damaged)?,
        20 => decode_partial(r).map_err(damaged)?,
        21 => Message::Missing {
            runs: decode_runs(r).map_err(damaged)?,
        },
        22 => decode_lane_lost(r).map_err(damaged)?,
        23 => decode_lane_closed(r).map_err(damaged)?,
        FIRST_OPTIONAL_TYPE.. => return Ok(None),
        _ => return Err(MessageError::UnknownType(kind)),
    };
    reader.end().map_err(damaged)?;
    Ok(Some(message))
}

type Cbor<T> = std::result::Result<T, CborError>;

fn need<T>(value: Option<T>, key: u64) -> Cbor<T> {
    value.ok_or(CborError::Missing(key))
}

/// Reads a map whose keys 0, 1, 2… hold `N` numbers; one that is missing is 0, so that a later version
/// may add some.
fn decode_numbers<const N: usize>(r: &mut Reader<'_>) -> Cbor<[u64; N]> {
    decode_numbers_and(r, |_, _| Ok(false))
}

/// A map from 0, 1, 2… to numbers, and with it what `more` knows.
fn decode_numbers_and<const N: usize>(
    r: &mut Reader<'_>,
    mut more: impl FnMut(&mut Reader<'_>, u64) -> Cbor<bool>,
) -> Cbor<[u64; N]> {
    let mut numbers = [0; N];
    r.map(|r, key| {
        match usize::try_from(key)
            .ok()
            .and_then(|key| numbers.get_mut(key))
        {
            Some(number) => {
                *number = r.uint()?;
                Ok(true)
            }
            None => more(r, key),
        }
    })?;
    Ok(numbers)
}

fn decode_number(r: &mut Reader<'_>) -> Cbor<u64> {
    let mut number = None;
    r.map(|r, key| {
        if key == 0 {
            number = Some(r.uint()?);
        }
        Ok(key == 0)
    })?;
    need(number, 0)
}

fn decode_hello(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut suites, mut share, mut name) = (None, None, None);
    r.map(|r, key| {
        match key {
            0 => suites = Some(r.bytes(key, 0, MAX_SUITES)?.to_vec()),
            1 => share = Some(r.exactly(key)?),
            2 => name = Some(decode_text(r, key)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::Hello {
        suites: need(suites, 0)?,
        share,
        name: need(name, 2)?,
    })
}

fn decode_welcome(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut suite, mut share, mut name) = (None, None, None);
    r.map(|r, key| {
        match key {
            0 => suite = Some(decode_u8(r, key)?),
            1 => share = Some(r.exactly(key)?),
            2 => name = Some(decode_text(r, key)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::Welcome {
        suite: need(suite, 0)?,
        share,
        name: need(name, 2)?,
    })
}

fn decode_confirm(r: &mut Reader<'_>) -> Cbor<Message> {
    let mut tag = None;
    r.map(|r, key| {
        if key == 0 {
            tag = Some(r.exactly(key)?);
        }
        Ok(key == 0)
    })?;
    Ok(Message::Confirm { tag: need(tag, 0)? })
}

fn decode_offer(r: &mut Reader<'_>) -> Result<Message> {
    let (mut path, mut source) = (None, None);
    let mut wanted = Assurance::default();
    r.map(|r, key| {
        match key {
            0 => path = Some(r.bytes(key, 0, MAX_PATH)?),
            1 => source = Some(r.exactly(key)?),
            2 => wanted.durable = r.uint_up_to(key, 1)? == 1,
            3 => wanted.reread = r.uint_up_to(key, 1)? == 1,
            _ => return Ok(false),
        }
        Ok(true)
    })
    .map_err(|error| MessageError::Body(4, error))?;
    Ok(Message::Offer {
        subdirectory: path.map(decode_path).transpose()?,
        source,
        wanted,
    })
}

fn decode_path(bytes: &[u8]) -> Result<RelativePath> {
    RelativePath::parse(bytes).map_err(|error: PathError| {
        let path = Escaped(&bytes[..bytes.len().min(Text::MAX)]).to_string();
        MessageError::Path { path, error }
    })
}

fn decode_accept(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut session, mut entries, mut bytes, mut lanes) = (None, None, None, None);
    let mut resumes = false;
    let u32_max = u64::from(u32::MAX);
    r.map(|r, key| {
        match key {
            0 => session = Some(r.exactly(key)?),
            1 => entries = u32::try_from(r.uint_up_to(key, u32_max)?).ok(),
            2 => bytes = u32::try_from(r.uint_up_to(key, u32_max)?).ok(),
            3 => lanes = u16::try_from(r.uint_up_to(key, u16::MAX.into())?).ok(),
            4 => resumes = r.uint_up_to(key, 1)? == 1,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let window = WindowSize {
        entries: need(entries, 1)?,
        bytes: need(bytes, 2)?,
    };
    Ok(Message::Accept {
        session: need(session, 0)?,
        window,
        lanes: need(lanes, 3)?,
        resumes,
    })
}

fn decode_entries(r: &mut Reader<'_>) -> Result<Message> {
    let damaged = |error| MessageError::Body(6, error);
    let (mut first, mut entries, mut rule) = (None, None, None);
    let outcome = r.map(|r, key| {
        match key {
            0 => first = Some(r.uint()?),
            1 => {
                let count = r.array()?;
                if count == 0 || count > MAX_ITEMS as u64 {
                    return Err(CborError::OutOfBounds(key));
                }
                let mut list = Vec::new();
                for _ in 0..count {
                    match decode_entry(r)? {
                        Ok(entry) => list.push(entry),
                        Err(error) => {
                            rule = Some(error);
                            return Err(CborError::Malformed);
                        }
                    }
                }
                entries = Some(list);
            }
            _ => return Ok(false),
        }
        Ok(true)
    });
    if let Some(rule) = rule {
        return Err(rule);
    }
    outcome.map_err(damaged)?;
    let first = need(first, 0).map_err(damaged)?;
    let entries = need(entries, 1).map_err(damaged)?;
    Ok(Message::Entries { first, entries })
}

/// What a reader of metadata has seen so far: keys 2 to 4, and 7.
#[derive(Default)]
struct MetadataFields {
    mode: Option<u32>,
    seconds: Option<i64>,
    nanoseconds: Option<u32>,
    change: Option<u64>,
}

impl MetadataFields {
    fn field(&mut self, r: &mut Reader<'_>, key: u64) -> Cbor<bool> {
        match key {
            // setuid, setgid and sticky may stand here; `Mode` drops them.
            2 => self.mode = u32::try_from(r.uint_up_to(key, 0o7777)?).ok(),
            3 => self.seconds = Some(r.int()?),
            4 => self.nanoseconds = u32::try_from(r.uint_up_to(key, 999_999_999)?).ok(),
            7 => self.change = Some(r.uint()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self) -> Cbor<Metadata> {
        let modified = Timestamp::new(need(self.seconds, 3)?, need(self.nanoseconds, 4)?);
        let mode = Mode::from_st_mode(need(self.mode, 2)?);
        Ok(Metadata {
            mode,
            modified: need(modified, 4)?,
            change: self.change,
        })
    }
}

/// Damage to the encoding is the outer error, a rule that the entry breaks the inner one.
fn decode_entry(r: &mut Reader<'_>) -> Cbor<Result<Entry>> {
    let (mut path, mut kind, mut size, mut target) = (None, None, None, None);
    let mut metadata = MetadataFields::default();
    r.map(|r, key| {
        match key {
            // Longer than any path may be, so that one that is too long is named.
            0 => path = Some(r.bytes(key, 0, 4 * MAX_PATH)?),
            1 => kind = Some(r.uint()?),
            5 => size = Some(r.uint()?),
            6 => target = Some(r.bytes(key, 0, 4 * MAX_PATH)?),
            _ => return metadata.field(r, key),
        }
        Ok(true)
    })?;
    let path = match decode_path(need(path, 0)?) {
        Ok(path) => path,
        Err(error) => return Ok(Err(error)),
    };
    let metadata = metadata.finish()?;
    let broken = |rule| {
        Ok(Err(MessageError::Entry {
            path: path.to_string(),
            rule,
        }))
    };
    let kind = match (need(kind, 1)?, size, target) {
        (1, None, None) => Kind::Directory,
        (2, Some(size), None) if size > MAX_FILE_SIZE => {
            return broken("larger than a file can be");
        }
        (2, size, None) => Kind::File { size },
        (3, None, Some(target)) => match LinkTarget::new(target) {
            Some(target) => Kind::Symlink { target },
            None => return broken("a link target that no link can hold"),
        },
        (1..=3, _, _) => return broken("fields that do not go with its kind"),
        _ => return broken("a kind of entry that is not known here"),
    };
    Ok(Ok(Entry {
        path,
        kind,
        metadata,
    }))
}

fn decode_revise(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut number, mut attempt, mut size) = (None, None, None);
    let mut metadata = MetadataFields::default();
    r.map(|r, key| {
        match key {
            0 => number = Some(r.uint()?),
            1 => attempt = Some(decode_u8(r, key)?),
            5 => size = Some(r.uint_up_to(key, MAX_FILE_SIZE)?),
            _ => return metadata.field(r, key),
        }
        Ok(true)
    })?;
    let (number, attempt) = (need(number, 0)?, need(attempt, 1)?);
    Ok(Message::Revise {
        number,
        attempt,
        size,
        metadata: metadata.finish()?,
    })
}

/// What a reader of a failure has seen so far: keys 1 and 2.
#[derive(Default)]
struct FailureFields {
    class: Option<FailureClass>,
    text: Option<Text>,
}

impl FailureFields {
    fn field(&mut self, r: &mut Reader<'_>, key: u64) -> Cbor<bool> {
        match key {
            1 => self.class = Some(FailureClass::from_code(decode_u8(r, key)?)),
            2 => self.text = Some(decode_text(r, key)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self) -> Cbor<Failure> {
        Ok(Failure {
            class: need(self.class, 1)?,
            text: need(self.text, 2)?,
        })
    }
}

fn decode_failure(r: &mut Reader<'_>) -> Cbor<(u64, Failure)> {
    let mut number = None;
    let mut failure = FailureFields::default();
    r.map(|r, key| {
        if key != 0 {
            return failure.field(r, key);
        }
        number = Some(r.uint()?);
        Ok(true)
    })?;
    Ok((need(number, 0)?, failure.finish()?))
}

fn decode_flawed(r: &mut Reader<'_>) -> Result<Message> {
    let damaged = |error| MessageError::Body(18, error);
    let mut path = None;
    let mut failure = FailureFields::default();
    r.map(|r, key| {
        if key != 0 {
            return failure.field(r, key);
        }
        path = Some(r.bytes(key, 0, MAX_PATH)?);
        Ok(true)
    })
    .map_err(damaged)?;
    let path = decode_path(need(path, 0).map_err(damaged)?)?;
    Ok(Message::Flawed {
        path,
        failure: failure.finish().map_err(damaged)?,
    })
}

fn decode_lane(r: &mut Reader<'_>, key: u64) -> Cbor<u16> {
    let value = r.uint_up_to(key, u16::MAX.into())?;
    u16::try_from(value).map_err(|_| CborError::OutOfBounds(key))
}

fn decode_lane_lost(r: &mut Reader<'_>) -> Cbor<Message> {
    let mut lane = None;
    r.map(|r, key| {
        if key == 0 {
            lane = Some(decode_lane(r, key)?);
        }
        Ok(key == 0)
    })?;
    Ok(Message::LaneLost {
        lane: need(lane, 0)?,
    })
}

fn decode_lane_closed(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut lane, mut taken) = (None, None);
    r.map(|r, key| {
        match key {
            0 => lane = Some(decode_lane(r, key)?),
            1 => taken = Some(r.uint()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::LaneClosed {
        lane: need(lane, 0)?,
        taken: need(taken, 1)?,
    })
}

fn decode_progress(r: &mut Reader<'_>) -> Cbor<Message> {
    let [bytes, files, bytes_known, files_known] = decode_numbers(r)?;
    Ok(Message::Progress(Counters {
        bytes,
        files,
        bytes_known,
        files_known,
    }))
}

fn decode_times(r: &mut Reader<'_>) -> Cbor<Times> {
    let mut processor = 0;
    let [read, hash, encrypt, network, write, idle] = decode_numbers_and(r, |r, key| {
        if key == TIMES_PROCESSOR {
            processor = r.uint()?;
        }
        Ok(key == TIMES_PROCESSOR)
    })?;
    Ok(Times {
        read,
        hash,
        encrypt,
        network,
        write,
        idle,
        processor,
    })
}

fn decode_close(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut root, mut unlisted, mut times) = (None, None, None);
    r.map(|r, key| {
        match key {
            0 => root = Some(r.exactly(key)?),
            1 => unlisted = Some(r.uint()?),
            2 => times = Some(decode_times(r)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::Close {
        root: need(root, 0)?,
        unlisted: need(unlisted, 1)?,
        times: need(times, 2)?,
    })
}

fn decode_receipt(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut root, mut totals, mut elapsed, mut sender, mut receiver) =
        (None, None, None, None, None);
    let mut given = Assurance::default();
    r.map(|r, key| {
        match key {
            0 => root = Some(r.exactly(key)?),
            1 => totals = Some(decode_numbers(r)?),
            2 => elapsed = Some(r.uint()?),
            3 => sender = Some(decode_times(r)?),
            4 => receiver = Some(decode_times(r)?),
            5 => given.durable = r.uint_up_to(key, 1)? == 1,
            6 => given.reread = r.uint_up_to(key, 1)? == 1,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let [files, directories, symlinks, bytes, kept, failed, resumed] = need(totals, 1)?;
    let totals = Totals {
        files,
        directories,
        symlinks,
        bytes,
        kept,
        failed,
        resumed,
    };
    let (root, elapsed) = (need(root, 0)?, need(elapsed, 2)?);
    Ok(Message::Receipt {
        root,
        totals,
        elapsed,
        sender: need(sender, 3)?,
        receiver: need(receiver, 4)?,
        given,
    })
}

fn decode_abort(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut code, mut text) = (None, None);
    r.map(|r, key| {
        match key {
            0 => code = Some(AbortCode::from_code(decode_u8(r, key)?)),
            1 => text = Some(decode_text(r, key)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::Abort {
        code: need(code, 0)?,
        text: need(text, 1)?,
    })
}

fn decode_text(r: &mut Reader<'_>, key: u64) -> Cbor<Text> {
    r.text(key, Text::MAX).map(Text::new)
}

fn decode_u8(r: &mut Reader<'_>, key: u64) -> Cbor<u8> {
    let value = r.uint_up_to(key, u8::MAX.into())?;
    u8::try_from(value).map_err(|_| CborError::OutOfBounds(key))
}
