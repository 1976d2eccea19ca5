//! A receiver's lanes: their sockets and threads, and what the sender is told of those that come to no end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use packhorse_proto::receiver::Receiver;

use super::inbox::Inbox;
use super::lane::LaneIn;
use super::reception::{LaneArrival, Reception};
use crate::error::Error;
use crate::faults::reach;

/// The lanes of a session. A lane's number has 16 bits and serves once, which bounds all of it.
#[derive(Default)]
pub(super) struct Lanes {
    threads: Vec<JoinHandle<()>>,
    /// Those that are open, to end threads that wait in them.
    open: BTreeMap<u16, TcpStream>,
    /// What came on those that have ended.
    ended: BTreeMap<u16, u64>,
    /// Those that the sender has given up, and was not told of.
    lost: BTreeSet<u16>,
    /// How many were open at the same time, at most.
    most: u16,
}

impl Lanes {
    pub(super) fn open(
        &mut self,
        arrival: LaneArrival,
        inbox: &Arc<Inbox>,
        proto: &mut Receiver,
    ) -> Result<(), Error> {
        let number = arrival.number;
        if self.lost.remove(&number) {
            // Its sender has given it up before it came.
            self.ended.insert(number, 0);
            proto.lane_closed(number, 0);
            return Ok(());
        }
        let socket = arrival.stream.try_clone().map_err(Error::Lost)?;
        reach("lane.accepted");
        let lane = LaneIn::new(arrival, Arc::clone(inbox));
        let name = format!("lane {number}");
        let thread = thread::Builder::new().name(name).spawn(move || lane.run());
        self.threads.retain(|thread| !thread.is_finished());
        self.threads.push(thread.map_err(|error| Error::Resources {
            what: "threads",
            error,
        })?);
        self.open.insert(number, socket);
        let open = u16::try_from(self.open.len()).unwrap_or(u16::MAX);
        self.most = self.most.max(open);
        Ok(())
    }

    /// The sender has given a lane up: it is told what came on it once all that has come is dealt with.
    pub(super) fn give_up(&mut self, lane: u16, reception: &Reception, proto: &mut Receiver) {
        if let Some(socket) = self.open.get(&lane) {
            // What is in its buffer is still read.
            let _ = socket.shutdown(Shutdown::Both);
            self.lost.insert(lane);
        } else if let Some(&taken) = self.ended.get(&lane) {
            proto.lane_closed(lane, taken);
        } else if reception.with_session(|session| session.lanes_opened.insert(lane)) == Some(true)
        {
            // It has not come, and is not let in from now on.
            self.ended.insert(lane, 0);
            proto.lane_closed(lane, 0);
        } else {
            // It is let in at this moment.
            self.lost.insert(lane);
        }
    }

    /// A lane's thread has ended; `in_order`: with the sender's end of it.
    pub(super) fn ended(&mut self, lane: u16, taken: u64, in_order: bool, proto: &mut Receiver) {
        self.open.remove(&lane);
        self.ended.insert(lane, taken);
        if self.lost.remove(&lane) || !in_order {
            proto.lane_closed(lane, taken);
        }
    }

    /// How many were open at the same time, at most.
    pub(super) fn most(&self) -> u16 {
        self.most
    }

    /// Ends those that are not done; answers with threads to be waited for.
    pub(super) fn end(&mut self) -> Vec<JoinHandle<()>> {
        for socket in self.open.values() {
            // A lane that is done is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        std::mem::take(&mut self.threads)
    }
}
