//! Reading a ledger.

use super::{Call, INTERFACE};
use crate::capture::Interface;
use crate::{Error, LinkType, Source};

/// Gives the calls of a ledger, or of a capture that a ledger was merged into, in the order of the file.
pub struct Reader<S> {
    source: S,
    calls: u64,
}

impl<S: Source> Reader<S> {
    /// Reads from a capture.
    pub fn new(source: S) -> Self {
        Self { source, calls: 0 }
    }

    /// The next call; `None` when there are no more.
    ///
    /// # Errors
    /// The file cannot be read or is damaged, or has a record that this program does not understand. A file that
    /// its process could not finish is damaged at its end; all calls before that have been given.
    pub fn next_call(&mut self) -> Result<Option<Call>, Error> {
        loop {
            let Some(frame) = self.source.next_frame()? else {
                return Ok(None);
            };
            if frame.link != LinkType::USER0 {
                continue;
            }
            let (time, offset, interface) = (frame.time, frame.offset, frame.interface);
            let call = Call::parse(time, frame.data);
            // Other programs use the link type for what they like.
            let announced = usize::try_from(interface).ok();
            if !announced.is_some_and(|number| is_ledger(self.source.interfaces().get(number))) {
                continue;
            }
            self.calls += 1;
            return match call {
                Ok(call) => Ok(Some(call)),
                Err(error) => Err(Error::Damaged {
                    offset,
                    what: error.to_string(),
                }),
            };
        }
    }

    /// Whether there is a ledger in what was read so far.
    #[must_use]
    pub fn is_ledger(&self) -> bool {
        let interfaces = self.source.interfaces();
        interfaces
            .iter()
            .any(|interface| is_ledger(Some(interface)))
    }

    /// Calls that were given so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

fn is_ledger(interface: Option<&Interface>) -> bool {
    interface.is_some_and(|interface| {
        interface.link == LinkType::USER0 && interface.name.as_deref() == Some(INTERFACE)
    })
}
