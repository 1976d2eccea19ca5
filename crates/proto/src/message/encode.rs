//! How the bodies of messages are written.

use super::{
    Assurance, Counters, Failure, Message, SessionId, TIMES_PROCESSOR, Times, Totals, WindowSize,
};
use crate::cbor::Writer;
use crate::entry::{Entry, Kind, Metadata};
use crate::extent::{Hash, Subtree};

/// Appends the body of `message`.
pub(super) fn encode(message: &Message, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    let w = &mut writer;
    match message {
        Message::Hello {
            suites,
            share,
            name,
        } => {
            w.map(2 + u64::from(share.is_some())).uint(0).bytes(suites);
            encode_introduction(w, share.as_ref(), name.as_str());
        }
        Message::Welcome { suite, share, name } => {
            w.map(2 + u64::from(share.is_some()))
                .uint(0)
                .uint(u64::from(*suite));
            encode_introduction(w, share.as_ref(), name.as_str());
        }
        Message::Confirm { tag } => {
            w.map(1).uint(0).bytes(tag);
        }
        Message::Bye => {
            w.map(0);
        }
        Message::Offer {
            subdirectory,
            source,
            wanted,
        } => {
            let said = u64::from(subdirectory.is_some()) + u64::from(source.is_some());
            w.map(said + assurances(*wanted));
            if let Some(path) = subdirectory {
                w.uint(0).bytes(path.as_bytes());
            }
            if let Some(source) = source {
                w.uint(1).bytes(source);
            }
            encode_assurance(w, 2, *wanted);
        }
        Message::Accept {
            session,
            window,
            lanes,
            resumes,
        } => encode_accept(w, session, *window, (*lanes, *resumes)),
        Message::Entries { first, entries } => {
            w.map(2)
                .uint(0)
                .uint(*first)
                .uint(1)
                .array(entries.len() as u64);
            entries.iter().for_each(|entry| encode_entry(w, entry));
        }
        Message::EntriesEnd { count: number } | Message::Kept { number } => {
            w.map(1).uint(0).uint(*number);
        }
        Message::Revise {
            number,
            attempt,
            size,
            metadata,
        } => {
            encode_revision(w, (*number, *attempt), *size, metadata);
        }
        Message::Withdraw { number, failure } | Message::Failed { number, failure } => {
            encode_failure(w, *number, failure);
        }
        Message::Flawed { path, failure } => {
            w.map(3).uint(0).bytes(path.as_bytes());
            encode_failure_fields(w, failure);
        }
        Message::LaneLost { lane } => {
            w.map(1).uint(0).uint(u64::from(*lane));
        }
        Message::LaneClosed { lane, taken } => {
            w.map(2).uint(0).uint(u64::from(*lane)).uint(1).uint(*taken);
        }
        Message::Settled { runs } | Message::Missing { runs } => {
            w.map(1).uint(0).array(2 * runs.len() as u64);
            for (first, count) in runs {
                w.uint(*first).uint(*count);
            }
        }
        Message::Held { files } => {
            w.map(1).uint(0).array(2 * files.len() as u64);
            for (number, hash) in files {
                w.uint(*number).bytes(hash);
            }
        }
        Message::Partial { number, subtrees } => {
            w.map(2).uint(0).uint(*number);
            w.uint(1).array(3 * subtrees.len() as u64);
            for Subtree {
                offset,
                length,
                value,
            } in subtrees
            {
                w.uint(*offset).uint(*length).bytes(value);
            }
        }
        Message::Progress(counters) => {
            let Counters {
                bytes,
                files,
                bytes_known,
                files_known,
            } = *counters;
            encode_numbers(w, &[bytes, files, bytes_known, files_known]);
        }
        Message::Close {
            root,
            unlisted,
            times,
        } => {
            w.map(3).uint(0).bytes(root).uint(1).uint(*unlisted).uint(2);
            encode_times(w, times);
        }
        Message::Receipt {
            root,
            totals,
            elapsed,
            sender,
            receiver,
            given,
        } => {
            w.map(5 + assurances(*given));
            encode_receipt(w, root, totals, *elapsed, (sender, receiver));
            encode_assurance(w, 5, *given);
        }
        Message::Abort { code, text } => {
            w.map(2)
                .uint(0)
                .uint(code.code().into())
                .uint(1)
                .text(text.as_str());
        }
    }
}

/// Keys 1 and 2 of a hello or a welcome.
fn encode_introduction(w: &mut Writer<'_>, share: Option<&[u8; 32]>, name: &str) {
    if let Some(share) = share {
        w.uint(1).bytes(share);
    }
    w.uint(2).text(name);
}

fn encode_accept(
    w: &mut Writer<'_>,
    session: &SessionId,
    window: WindowSize,
    (lanes, resumes): (u16, bool),
) {
    w.map(4 + u64::from(resumes)).uint(0).bytes(session);
    w.uint(1)
        .uint(window.entries.into())
        .uint(2)
        .uint(window.bytes.into());
    w.uint(3).uint(lanes.into());
    if resumes {
        w.uint(4).uint(1);
    }
}

fn encode_revision(
    w: &mut Writer<'_>,
    (number, attempt): (u64, u8),
    size: Option<u64>,
    metadata: &Metadata,
) {
    w.map(5 + u64::from(size.is_some()) + u64::from(metadata.change.is_some()))
        .uint(0)
        .uint(number)
        .uint(1)
        .uint(attempt.into());
    encode_metadata(w, metadata);
    if let Some(size) = size {
        w.uint(5).uint(size);
    }
    encode_change(w, metadata);
}

fn encode_receipt(
    w: &mut Writer<'_>,
    root: &Hash,
    totals: &Totals,
    elapsed: u64,
    (sender, receiver): (&Times, &Times),
) {
    let Totals {
        files,
        directories,
        symlinks,
        bytes,
        kept,
        failed,
        resumed,
    } = *totals;
    w.uint(0).bytes(root).uint(1);
    let numbers = [files, directories, symlinks, bytes, kept, failed, resumed];
    // What is 0 may be left out.
    encode_numbers(w, &numbers[..6 + usize::from(resumed > 0)]);
    w.uint(2).uint(elapsed).uint(3);
    encode_times(w, sender);
    w.uint(4);
    encode_times(w, receiver);
}

/// How many keys an assurance takes: what is not seen to is left out.
fn assurances(assurance: Assurance) -> u64 {
    u64::from(assurance.durable) + u64::from(assurance.reread)
}

/// Under this key and the next.
fn encode_assurance(w: &mut Writer<'_>, key: u64, assurance: Assurance) {
    for (key, given) in [(key, assurance.durable), (key + 1, assurance.reread)] {
        if given {
            w.uint(key).uint(1);
        }
    }
}

/// A map from 0, 1, 2… to numbers.
fn encode_numbers(w: &mut Writer<'_>, numbers: &[u64]) {
    w.map(numbers.len() as u64);
    encode_pairs(w, numbers);
}

fn encode_pairs(w: &mut Writer<'_>, numbers: &[u64]) {
    for (key, number) in (0u64..).zip(numbers) {
        w.uint(key).uint(*number);
    }
}

fn encode_failure(w: &mut Writer<'_>, number: u64, failure: &Failure) {
    w.map(3).uint(0).uint(number);
    encode_failure_fields(w, failure);
}

/// Keys 1 and 2 of a message about a failure.
fn encode_failure_fields(w: &mut Writer<'_>, failure: &Failure) {
    w.uint(1).uint(failure.class.code().into());
    w.uint(2).text(failure.text.as_str());
}

/// Keys 2 to 4 of an entry or a revision.
fn encode_metadata(w: &mut Writer<'_>, metadata: &Metadata) {
    w.uint(2).uint(metadata.mode.bits().into());
    w.uint(3).int(metadata.modified.seconds());
    w.uint(4).uint(metadata.modified.nanoseconds().into());
}

/// Key 7 of an entry or a revision.
fn encode_change(w: &mut Writer<'_>, metadata: &Metadata) {
    if let Some(change) = metadata.change {
        w.uint(7).uint(change);
    }
}

fn encode_entry(w: &mut Writer<'_>, entry: &Entry) {
    let (kind, extra) = match &entry.kind {
        Kind::Directory => (1, 0),
        Kind::File { size } => (2, u64::from(size.is_some())),
        Kind::Symlink { .. } => (3, 1),
    };
    w.map(5 + extra + u64::from(entry.metadata.change.is_some()))
        .uint(0)
        .bytes(entry.path.as_bytes())
        .uint(1)
        .uint(kind);
    encode_metadata(w, &entry.metadata);
    match &entry.kind {
        Kind::File { size: Some(size) } => w.uint(5).uint(*size),
        Kind::Symlink { target } => w.uint(6).bytes(target.as_bytes()),
        _ => w,
    };
    encode_change(w, &entry.metadata);
}

fn encode_times(w: &mut Writer<'_>, times: &Times) {
    let Times {
        read,
        hash,
        encrypt,
        network,
        write,
        idle,
        processor,
    } = *times;
    let stages = [read, hash, encrypt, network, write, idle];
    let measured = processor > 0;
    w.map(stages.len() as u64 + u64::from(measured));
    encode_pairs(w, &stages);
    if measured {
        w.uint(TIMES_PROCESSOR).uint(processor);
    }
}
