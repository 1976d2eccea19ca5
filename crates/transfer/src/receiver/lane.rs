//! A receiver's lane: reads records, opens them, hashes and writes what is in them.

use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use packhorse_endpoint::Observed;
use packhorse_proto::control::Violation;
use packhorse_proto::extent::EXTENT_SIZE;
use packhorse_proto::lane::{ExtentVerdict, LaneExtent};
use packhorse_proto::record::{
    Attempt, Item, MAX_BODY, MAX_TAG, RECORD_HEADER, RecordHeader, RecordKind, items,
};
use packhorse_tree::Temporary;
use packhorse_trust::Opener;

use super::inbox::{Claim, Inbox, IncomingFile, Lookup};
use super::reception::{LaneArrival, LanePlace};
use super::report::Report;
use super::trouble::{self, Trouble};
use crate::faults::reach;
use crate::stages::{Meter, Stage};

/// A lane, run by a thread of its own.
pub(crate) struct LaneIn {
    number: u16,
    stream: Observed<TcpStream>,
    place: LanePlace,
    /// `None` in an insecure session.
    opener: Option<Opener>,
    writer: LaneWriter,
}

/// Where a lane's content goes.
struct LaneWriter {
    inbox: Arc<Inbox>,
    extent: LaneExtent,
    /// The file that the last item was for: items of one file come together.
    current: Option<Current>,
    /// The extent that is written now.
    claim: Option<Claim>,
    /// Values and ends that came.
    taken: u64,
}

struct Current {
    of: Attempt,
    target: Target,
}

enum Target {
    File {
        file: Arc<IncomingFile>,
        temporary: Arc<Temporary>,
        size: Option<u64>,
    },
    Unwanted,
}

impl LaneIn {
    pub(crate) fn new(arrival: LaneArrival, inbox: Arc<Inbox>) -> Self {
        let LaneArrival {
            number,
            stream,
            opener,
            place,
        } = arrival;
        let writer = LaneWriter {
            inbox,
            extent: LaneExtent::new(),
            current: None,
            claim: None,
            taken: 0,
        };
        Self {
            number,
            stream,
            place,
            opener,
            writer,
        }
    }

    /// Takes records until the lane ends.
    pub(crate) fn run(mut self) {
        let inbox = Arc::clone(&self.writer.inbox);
        let mut meter = Meter::new();
        let outcome = self.take_records(&mut meter);
        inbox.stages.note_all_processor(&mut meter);
        // Who hears that this one has ended may open another.
        drop(self.place);
        // The sender's lane waits for this, whoever else still holds the socket.
        let _ = self.stream.shutdown(Shutdown::Both);
        // The file that it held may have been the last of its directory.
        let (lane, taken) = (self.number, self.writer.taken);
        drop(self.writer);
        let ended = |outcome| Report::LaneEnded {
            lane,
            taken,
            outcome,
        };
        inbox.report(match outcome {
            Ok(()) => ended(Ok(())),
            Err(Broken::Io(error)) => ended(Err(error)),
            Err(Broken::Violation(violation)) => Report::Violation(violation),
        });
        inbox.reports.flush();
    }

    fn take_records(&mut self, meter: &mut Meter) -> Result<(), Broken> {
        let tag = if self.opener.is_some() { MAX_TAG } else { 0 };
        // Room for the next header, too: where it is there already, one call brings both.
        let mut buffer = vec![0; MAX_BODY + MAX_TAG + RECORD_HEADER].into_boxed_slice();
        let mut header = [0; RECORD_HEADER];
        let mut have = 0;
        loop {
            self.writer.inbox.stages.note_processor(meter);
            have = self.fill(&mut header, have, RECORD_HEADER)?;
            debug_assert_eq!(have, RECORD_HEADER);
            let parsed = RecordHeader::parse(header).map_err(Violation::from)?;
            let sealed = parsed.length + tag;
            let with_next = if parsed.kind == RecordKind::End {
                sealed
            } else {
                sealed + RECORD_HEADER
            };
            let got = self.fill(&mut buffer[..with_next], 0, sealed)?;
            let (record, next) = buffer.split_at_mut(sealed);
            let body = self.open(&header, record)?;
            if parsed.kind == RecordKind::End {
                return Ok(());
            }
            reach("record.received");
            let body = &record[..body];
            let taken = self.writer.take(body);
            self.writer.inbox.reports.flush();
            taken?;
            have = got - sealed;
            header[..have].copy_from_slice(&next[..have]);
        }
    }

    /// Reads until at least `least` of `buffer` are there, of which `have` are already.
    fn fill(&mut self, buffer: &mut [u8], mut have: usize, least: usize) -> io::Result<usize> {
        while have < least {
            let inbox = &self.writer.inbox;
            match inbox
                .stages
                .time(Stage::Network, || self.stream.read(&mut buffer[have..]))
            {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => have += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }

    /// Opens a record in place; answers how long its body is.
    fn open(&mut self, header: &[u8], record: &mut [u8]) -> Result<usize, Broken> {
        let Some(opener) = &mut self.opener else {
            return Ok(record.len());
        };
        let stages = &self.writer.inbox.stages;
        match stages.time(Stage::Encrypt, || {
            opener.open_in_place(header, record).map(|body| body.len())
        }) {
            Ok(length) => Ok(length),
            Err(_) => Err(Broken::Violation(Violation::Unexpected(
                "a record that is not the peer's",
            ))),
        }
    }
}

/// What ends a lane before its end.
enum Broken {
    Io(io::Error),
    Violation(Violation),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Violation> for Broken {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl LaneWriter {
    fn take(&mut self, body: &[u8]) -> Result<(), Violation> {
        for item in items(body) {
            let item = item?;
            let of = match item {
                Item::Content { of, .. } | Item::Value { of, .. } | Item::End { of, .. } => of,
            };
            // Whatever becomes of it: what follows is that the sender need not send it again.
            self.taken += u64::from(!matches!(item, Item::Content { .. }));
            self.turn_to(of)?;
            let Some(Current {
                target:
                    Target::File {
                        file,
                        temporary,
                        size,
                    },
                ..
            }) = &self.current
            else {
                self.extent.abandon();
                self.claim = None;
                continue;
            };
            let (file, size) = (Arc::clone(file), *size);
            let outcome = match item {
                Item::Content { offset, bytes, .. } => {
                    let temporary = Arc::clone(temporary);
                    self.content(of, offset, bytes, (&file, &temporary, size))
                }
                Item::Value { offset, value, .. } => self.value(of, offset, &value, &file),
                Item::End { size, .. } => {
                    // What was known of the file is not true any more.
                    self.current = None;
                    file.end(size, &self.inbox)
                }
            };
            match outcome {
                Ok(()) => {}
                Err(Trouble::Violation(violation)) => return Err(violation),
                Err(trouble) => {
                    self.current = Some(Current {
                        of,
                        target: Target::Unwanted,
                    });
                    file.fail(trouble, &self.inbox);
                }
            }
        }
        Ok(())
    }

    /// Finds the file that the next item is for, unless it is the one before.
    fn turn_to(&mut self, of: Attempt) -> Result<(), Violation> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.of == of)
        {
            return Ok(());
        }
        self.current = None;
        self.claim = None;
        let inbox = Arc::clone(&self.inbox);
        let target = match inbox.stages.time(Stage::Idle, || inbox.lookup(of))? {
            Lookup::Unwanted => Target::Unwanted,
            Lookup::File(file) => {
                match inbox.stages.time(Stage::Write, || file.temporary(&inbox)) {
                    Ok(None) => Target::Unwanted,
                    Ok(Some(temporary)) => {
                        let size = file.size();
                        Target::File {
                            file,
                            temporary,
                            size,
                        }
                    }
                    Err(Trouble::Violation(violation)) => return Err(violation),
                    Err(trouble) => {
                        file.fail(trouble, &inbox);
                        Target::Unwanted
                    }
                }
            }
        };
        self.current = Some(Current { of, target });
        Ok(())
    }

    fn content(
        &mut self,
        of: Attempt,
        offset: u64,
        bytes: &[u8],
        (file, temporary, size): (&Arc<IncomingFile>, &Temporary, Option<u64>),
    ) -> Result<(), Trouble> {
        let (inbox, extent) = (&self.inbox, &mut self.extent);
        let hashed = inbox
            .stages
            .time(Stage::Hash, || extent.content(of, offset, bytes, size));
        hashed.map_err(|error| Trouble::Violation(error.into()))?;
        if offset.is_multiple_of(EXTENT_SIZE) {
            self.claim = None;
            self.claim = Some(file.claim(offset, inbox).map_err(Trouble::Violation)?);
        }
        let turn = inbox.stages.time(Stage::Idle, || temporary.turn());
        let written = inbox
            .stages
            .time(Stage::Write, || turn.write_at(bytes, offset));
        drop(turn);
        written.map_err(|error| trouble::of_io(&file.path, &error))?;
        if let Some(claim) = &mut self.claim {
            claim.count(bytes.len() as u64);
        }
        Ok(())
    }

    fn value(
        &mut self,
        of: Attempt,
        offset: u64,
        value: &[u8; 32],
        file: &Arc<IncomingFile>,
    ) -> Result<(), Trouble> {
        // The size of a stream is known since it ended.
        let size = file.size();
        let inbox = Arc::clone(&self.inbox);
        let extent = &mut self.extent;
        let verdict = inbox
            .stages
            .time(Stage::Hash, || extent.value(of, offset, value, size));
        // Let go of the temporary: whoever completes the file has to be its last holder.
        self.current = None;
        // Held until it is known whether the extent agrees.
        let mut claim = self.claim.take();
        match verdict.map_err(|error| Trouble::Violation(error.into()))? {
            ExtentVerdict::Agreed(value) => inbox
                .stages
                .time(Stage::Write, || file.agree(&value, claim.as_mut(), &inbox)),
            ExtentVerdict::Different => {
                file.unverified(&inbox);
                Ok(())
            }
        }
    }
}
