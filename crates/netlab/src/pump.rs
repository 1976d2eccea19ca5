//! A thread that carries packets from one TUN device to the other.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use tun_rs::SyncDevice;

use crate::conditions::Counters;
use crate::control::Control;
use crate::shaper::Shaper;

/// Bytes of the largest packet.
const LARGEST: usize = 65_536;

/// Packets that are taken before those are delivered that are due.
const BATCH: usize = 32;

/// How long an end goes unnoticed where no packet comes.
const LOOK: Duration = Duration::from_millis(50);

/// Packets by arrival, and in the order of sending where that is the same: each flow may have a queue of its own.
type UnderWay = BTreeMap<(Duration, u64), Box<[u8]>>;

/// One direction of a link.
pub(crate) struct Pump {
    pub(crate) from: Arc<SyncDevice>,
    pub(crate) to: Arc<SyncDevice>,
    pub(crate) shaper: Shaper,
    pub(crate) control: Arc<Control>,
    pub(crate) counters: Arc<Mutex<Counters>>,
    pub(crate) over: Arc<AtomicBool>,
}

impl Pump {
    /// Carries packets until it is over. Both devices do not block.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let begin = Instant::now();
        let mut buffer = vec![0; LARGEST];
        let mut under_way = UnderWay::new();
        let mut sent = 0_u64;
        let mut seen = 0;
        while !self.over.load(Ordering::Relaxed) {
            for _ in 0..BATCH {
                let length = match self.from.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                let now = begin.elapsed();
                // After the packet was taken: so a change holds for all that is sent after it.
                self.heed(now, &mut seen);
                let packet = &mut buffer[..length];
                for arrival in self.shaper.pass(now, packet).into_iter().flatten() {
                    under_way.insert((arrival, sent), (&*packet).into());
                    sent += 1;
                }
            }
            let now = begin.elapsed();
            // A schedule begins without waiting for a packet.
            self.heed(now, &mut seen);
            while let Some(next) = under_way.first_entry().filter(|next| next.key().0 <= now) {
                // A device that is down, or full, loses packets like any other.
                let _ = self.to.send(&next.remove());
            }
            *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.shaper.counters();
            let wait = under_way.keys().next().map_or(LOOK, |(arrival, _)| {
                arrival.saturating_sub(begin.elapsed()).min(LOOK)
            });
            let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
            let mut waiting = [PollFd::from_borrowed_fd(self.from.as_fd(), PollFlags::IN)];
            match poll(&mut waiting, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes over what has changed since it last looked.
    fn heed(&mut self, now: Duration, seen: &mut u64) {
        if let Some(changes) = self.control.changed_since(seen) {
            self.shaper.set_cut(changes.cut);
            if let Some(conditions) = changes.conditions {
                self.shaper.set(now, conditions);
            }
        }
    }
}
