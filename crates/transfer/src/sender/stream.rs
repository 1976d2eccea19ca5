//! Standard input, sent by one lane.

use std::io::{self, Read as _};
use std::time::Duration;

use packhorse_proto::entry::EntryNumber;
use packhorse_proto::extent::{ContentTree, EXTENT_SIZE, ExtentHasher, Whole};
use packhorse_proto::record::{Attempt, MAX_CONTENT, RecordKind};
use packhorse_proto::window::Content;

use super::lane::LaneOut;
use super::sent::What;
use crate::stages::Stage;

/// How long the signal of Ctrl-C takes at most until the session has heard of it.
const HEARD_WITHIN: Duration = Duration::from_millis(50);

impl LaneOut {
    /// Sends standard input, whose size shows only at its end.
    pub(super) fn send_stream(&mut self, number: EntryNumber) -> io::Result<()> {
        self.begin(What::Stdin(number));
        match self.send_stream_content(Attempt {
            entry: number,
            attempt: 0,
        })? {
            Ok(content) => {
                self.sent.complete();
                self.complete.push((number, content));
                Ok(())
            }
            Err(error) => {
                self.take_back();
                self.unreadable(number, &error)
            }
        }
    }

    fn send_stream_content(&mut self, of: Attempt) -> io::Result<io::Result<Content>> {
        let too_large = || io::Error::other("larger than a file can be");
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; MAX_CONTENT];
        let mut tree = ContentTree::new();
        let (mut extent, mut hasher) = (0, ExtentHasher::new(0));
        while let Some(current) = &mut hasher {
            let left = extent + EXTENT_SIZE - current.position();
            let want = usize::try_from(left).map_or(MAX_CONTENT, |left| left.min(MAX_CONTENT));
            let want = if want == 0 { MAX_CONTENT } else { want };
            let read = self
                .outbox
                .stages
                .time(Stage::Read, || input.read(&mut buffer[..want]));
            let length = match read {
                Ok(0) if self.was_interrupted() => {
                    return Ok(Err(io::ErrorKind::Interrupted.into()));
                }
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Err(error)),
            };
            if left == 0 {
                // Now it is known that the stream goes on behind the full extent.
                let value = hasher.take().and_then(|hasher| hasher.finish(Whole::Part));
                let Some(value) = value else { break };
                self.add_value(of, extent, value.value())?;
                self.flush(RecordKind::Items)?;
                let _ = tree.insert(&value);
                extent += EXTENT_SIZE;
                hasher = ExtentHasher::new(extent);
            }
            let Some(current) = &mut hasher else { break };
            self.record.content_mut()[..length].copy_from_slice(&buffer[..length]);
            self.commit(of, current.position(), length, current);
            // Whoever reads a pipe wants to see what is in it.
            self.flush(RecordKind::Items)?;
        }
        match hasher {
            Some(hasher) => self.end_stream(of, hasher, extent, tree),
            None => Ok(Err(too_large())),
        }
    }

    /// Ctrl-C goes to whoever writes into the pipe as well, and that may be dead before it is heard of here: the end of what it
    /// wrote is no end of a file then.
    fn was_interrupted(&self) -> bool {
        std::thread::sleep(HEARD_WITHIN);
        self.outbox.queue.is_cancelled()
    }

    /// The end, and then the last extent's value, for which the receiver has to know the size.
    fn end_stream(
        &mut self,
        of: Attempt,
        hasher: ExtentHasher,
        offset: u64,
        mut tree: ContentTree,
    ) -> io::Result<Result<Content, io::Error>> {
        let size = hasher.position();
        self.flush(RecordKind::Items)?;
        let _ = self.record.add_end(of, size);
        self.sent.count();
        if size > 0 {
            let whole = Whole::of(offset, size, size);
            if let Some(value) = hasher.finish(whole) {
                self.add_value(of, offset, value.value())?;
                let _ = tree.insert(&value);
            }
        }
        match tree.root(size) {
            Ok(Some(hash)) => Ok(Ok(Content { size, hash })),
            _ => Ok(Err(io::Error::other("its size cannot be cut into extents"))),
        }
    }
}
