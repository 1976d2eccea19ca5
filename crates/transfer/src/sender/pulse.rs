//! Whether a lane stands still: something of it is on its way, and nothing comes back.

use std::time::Duration;

use packhorse_endpoint::{TcpInfo, TcpInfoError};
use tokio::time::Instant;

/// How long a lane may wait for an answer, while the control connection is heard.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long its thread may take to notice that its connection is over for the kernel: it may wait for work.
const GONE: Duration = Duration::from_secs(2);

/// The control connection is heard each second; where it is not for so long, more than a lane stands still.
pub(super) const ALIVE: Duration = Duration::from_secs(5);

/// What is asked of a lane's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    /// Segments, or probes of a closed window, are on their way and not acknowledged.
    waits: bool,
    /// Segments received since the connection began, whatever is in them; `None` where it is over for the kernel, and its
    /// thread has not noticed.
    heard: Option<u32>,
}

impl Signs {
    /// `None` where the kernel does not tell.
    pub(super) fn new(asked: Result<TcpInfo, TcpInfoError>) -> Option<Self> {
        match asked {
            Ok(info) => Some(Self {
                waits: info.unacked > 0 || info.probes > 0,
                heard: Some(info.segments_received?),
            }),
            Err(TcpInfoError::NotFound) => Some(Self {
                waits: true,
                heard: None,
            }),
            Err(_) => None,
        }
    }
}

/// What was seen of one lane.
///
/// A peer whose program does not read has a kernel that answers: it acknowledges what it has room for, and each probe of
/// its closed window. So a lane that waits for it is heard, or has nothing on its way. A slow link brings some answer in
/// [`PATIENCE`]. Only where something is on its way, and nothing at all comes back, the lane stands still.
#[derive(Debug)]
pub(super) struct Pulse {
    heard: Option<u32>,
    since: Instant,
}

impl Pulse {
    pub(super) fn new(signs: Signs, now: Instant) -> Self {
        let heard = signs.heard;
        Self { heard, since: now }
    }

    /// Looks once more, a few times a second or less; answers whether the lane stands still.
    pub(super) fn look(&mut self, signs: Signs, now: Instant) -> bool {
        let heard = signs.heard.is_some() && signs.heard != self.heard;
        if !signs.waits || heard {
            *self = Self::new(signs, now);
        }
        let patience = signs.heard.map_or(GONE, |_| PATIENCE);
        now.duration_since(self.since) >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks each second at what it is given; answers at which second the lane stood still.
    fn stands_still(signs: impl IntoIterator<Item = (bool, u32)>) -> Option<u64> {
        let start = Instant::now();
        let mut pulse: Option<Pulse> = None;
        for (second, (waits, heard)) in (0..).zip(signs) {
            let (signs, now) = (
                Signs {
                    waits,
                    heard: (heard > 0).then_some(heard),
                },
                start + Duration::from_secs(second),
            );
            if pulse
                .get_or_insert_with(|| Pulse::new(signs, now))
                .look(signs, now)
            {
                return Some(second);
            }
        }
        None
    }

    #[test]
    fn a_lane_that_is_not_answered_stands_still_after_ten_seconds() {
        assert_eq!(stands_still((0..60).map(|_| (true, 7))), Some(10));
        let late = (0..60).map(|second| (true, 1 + second.min(20)));
        assert_eq!(stands_still(late), Some(30));
        // The kernel has forgotten it, after some idle time.
        let gone = (0..60).map(|second| if second < 30 { (false, 9) } else { (true, 0) });
        assert_eq!(stands_still(gone), Some(31));
    }

    #[test]
    fn a_slow_lane_is_heard() {
        // One answer in nine seconds.
        let slow = (0..600).map(|second| (true, 1 + second / 9));
        assert_eq!(stands_still(slow), None);
    }

    #[test]
    fn a_peer_that_does_not_read_answers_probes() {
        // Nothing is on its way between probes, however long that is.
        let closed = (0..600).map(|second| (second % 60 == 0, 7 + second / 60));
        assert_eq!(stands_still(closed), None);
        let idle = (0..600).map(|_| (false, 7));
        assert_eq!(stands_still(idle), None);
    }

    /// What the unit tests take for granted of the kernel.
    #[test]
    fn the_kernel_of_a_peer_that_does_not_read_answers() {
        use std::io::Write as _;
        use std::net::{TcpListener, TcpStream};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_peer, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 1 << 16]).is_ok() {}
        let mut asker = packhorse_endpoint::TcpInfoReader::new(&stream).unwrap();
        let Some(signs) = Signs::new(asker.read()) else {
            return;
        };
        let start = Instant::now();
        let mut pulse = Pulse::new(signs, start);
        let mut last = signs.heard;
        while start.elapsed() < PATIENCE + Duration::from_secs(2) {
            // How long it stands is what is tested.
            std::thread::sleep(Duration::from_millis(100));
            let signs = Signs::new(asker.read()).unwrap();
            last = signs.heard;
            assert!(!pulse.look(signs, Instant::now()), "{signs:?}");
        }
        assert!(last > signs.heard, "its window is asked for");
    }
}
