//! How a receiver says which entries it means, and what it has of them.

use super::{Cbor, need};
use crate::cbor::{CborError, Reader};
use crate::entry::MAX_FILE_SIZE;
use crate::extent::Subtree;
use crate::message::{MAX_HELD, MAX_ITEMS, Message};

/// Runs of numbers: ascending and apart.
pub(super) fn decode_runs(r: &mut Reader<'_>) -> Cbor<Vec<(u64, u64)>> {
    let mut runs = None;
    r.map(|r, key| {
        if key != 0 {
            return Ok(false);
        }
        let numbers = r.array()?;
        if !numbers.is_multiple_of(2) || numbers == 0 || numbers > 2 * MAX_ITEMS as u64 {
            return Err(CborError::OutOfBounds(key));
        }
        let (mut list, mut least) = (Vec::new(), 0);
        for _ in 0..numbers / 2 {
            let (first, count) = (r.uint()?, r.uint()?);
            let end = first
                .checked_add(count)
                .filter(|_| first >= least && count > 0);
            least = end.ok_or(CborError::OutOfBounds(key))?;
            list.push((first, count));
        }
        runs = Some(list);
        Ok(true)
    })?;
    need(runs, 0)
}

pub(super) fn decode_held(r: &mut Reader<'_>) -> Cbor<Message> {
    let mut files = None;
    r.map(|r, key| {
        if key != 0 {
            return Ok(false);
        }
        let count = decode_count(r, key, 2)?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push((r.uint()?, r.exactly(key)?));
        }
        files = Some(list);
        Ok(true)
    })?;
    Ok(Message::Held {
        files: need(files, 0)?,
    })
}

pub(super) fn decode_partial(r: &mut Reader<'_>) -> Cbor<Message> {
    let (mut number, mut subtrees) = (None, None);
    r.map(|r, key| {
        match key {
            0 => number = Some(r.uint()?),
            1 => {
                let count = decode_count(r, key, 3)?;
                let mut list = Vec::new();
                for _ in 0..count {
                    list.push(Subtree {
                        offset: r.uint_up_to(key, MAX_FILE_SIZE)?,
                        length: r.uint_up_to(key, MAX_FILE_SIZE)?,
                        value: r.exactly(key)?,
                    });
                }
                subtrees = Some(list);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Message::Partial {
        number: need(number, 0)?,
        subtrees: need(subtrees, 1)?,
    })
}

/// How many things a flat list holds that take `width` places each: 1 to [`MAX_HELD`].
fn decode_count(r: &mut Reader<'_>, key: u64, width: u64) -> Cbor<u64> {
    let places = r.array()?;
    let count = places / width;
    if !places.is_multiple_of(width) || count == 0 || count > MAX_HELD as u64 {
        return Err(CborError::OutOfBounds(key));
    }
    Ok(count)
}
