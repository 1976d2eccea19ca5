//! Interfaces of this machine, watched without libpcap.

mod ring;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ring::{Headers, Meta, Ring};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::socket_error;
use rustix::net::{AddressFamily, SocketType, socket};

use super::{Frame, Interface, LinkType, Source, Timestamp};
use crate::Error;

/// Kinds of hardware (linux/if_arp.h).
const ETHER: u16 = 1;
const LOOPBACK: u16 = 772;
const NONE: u16 = 0xfffe;

/// What left this machine (packet(7)).
const OUTGOING: u8 = 4;

/// How often is looked whether an interface that went down once is still there, while no frames come.
const LOOK: Duration = Duration::from_millis(200);

/// How an interface is watched.
#[derive(Debug)]
pub struct LiveConfig {
    /// Bytes of the ring that frames wait in until they are looked at. What finds no room is dropped, and
    /// counted.
    pub ring: usize,
    /// When to end.
    pub duration: Option<Duration>,
    /// Ends when this can be read, or was closed at its other end.
    pub stop: Option<OwnedFd>,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            ring: 16 << 20,
            duration: None,
            stop: None,
        }
    }
}

/// Why an interface cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// There is no such interface.
    #[error("there is no interface '{name}'; there are: {}", others.join(", "))]
    NoInterface {
        /// What was asked for.
        name: String,
        /// Those that there are.
        others: Vec<String>,
    },
    /// It takes CAP_NET_RAW.
    #[error("watching an interface takes the capability CAP_NET_RAW, which this process has not")]
    NotAllowed,
    /// The kernel refuses.
    #[error("cannot watch the interface: {0}")]
    Io(#[from] io::Error),
}

/// An interface that is being watched, or all of them (`any`).
///
/// On loopback each packet is shown once, though it leaves and arrives. Frames of `any`, and of hardware that is
/// neither Ethernet nor a tunnel of IP packets, come as [`LinkType::LINUX_SLL2`].
#[derive(Debug)]
pub struct Live {
    ring: Ring,
    /// The interface's; 0: all of them.
    index: u32,
    /// The interface went down once. It may be gone since: nothing tells that of one that is down, and frames that
    /// come may be older than that.
    went_down: bool,
    interface: [Interface; 1],
    deadline: Option<Instant>,
    stop: Option<OwnedFd>,
    headers: Headers,
    data: Vec<u8>,
    frames: u64,
    received: u64,
    dropped: u64,
}

impl Live {
    /// Begins to watch.
    ///
    /// # Errors
    /// There is no such interface, or it takes more rights than there are.
    pub fn open(name: &str, config: LiveConfig) -> Result<Self, LiveError> {
        let index = if name == "any" { 0 } else { index_of(name)? };
        let open = |headers| {
            Ring::open(index, headers, config.ring).map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => LiveError::NotAllowed,
                _ => LiveError::Io(error),
            })
        };
        let mut headers = Headers::Kept;
        let mut ring = open(headers)?;
        let hardware = ring.hardware()?;
        let link = match hardware {
            ETHER | LOOPBACK if index != 0 => LinkType::ETHERNET,
            NONE if index != 0 => LinkType::RAW,
            _ => {
                headers = Headers::Cooked;
                ring = open(headers)?;
                LinkType::LINUX_SLL2
            }
        };
        if link == LinkType::ETHERNET && hardware == LOOPBACK {
            ring.ignore_outgoing()?;
        }
        Ok(Self {
            ring,
            index,
            went_down: false,
            interface: [Interface {
                link,
                name: Some(name.to_owned()),
                description: None,
                snaplen: 0,
            }],
            deadline: config.duration.map(|duration| Instant::now() + duration),
            stop: config.stop,
            headers,
            data: Vec::new(),
            frames: 0,
            received: 0,
            dropped: 0,
        })
    }

    /// Frames that came for this socket, and those of them that found no room in the ring and were dropped.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn statistics(&mut self) -> io::Result<(u64, u64)> {
        let counted = self.ring.counted()?;
        self.received += u64::from(counted.packets);
        self.dropped += u64::from(counted.drops);
        Ok((self.received, self.dropped))
    }

    /// Waits for frames. `false`: it is time to end.
    fn wait(&mut self) -> io::Result<bool> {
        let mut timeout = self.went_down.then_some(LOOK);
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut wanted = vec![PollFd::new(&self.ring, PollFlags::IN)];
        wanted.extend(
            self.stop
                .iter()
                .map(|stop| PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)),
        );
        match poll(&mut wanted, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ring = wanted.first().map_or(PollFlags::empty(), PollFd::revents);
        let stopped = wanted.get(1).is_some_and(|stop| !stop.revents().is_empty());
        let came = ring.contains(PollFlags::IN);
        if ring.contains(PollFlags::ERR) {
            self.heed()?;
        }
        if self.went_down && !came {
            self.look_for_it()?;
        }
        Ok(!stopped || came)
    }

    /// Hears what went wrong, which is told until it is asked for. An interface that went down may come up again.
    fn heed(&mut self) -> io::Result<()> {
        match socket_error(&self.ring)? {
            Ok(()) => Ok(()),
            Err(Errno::NETDOWN) => {
                self.went_down = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the interface that went down is still there: nothing tells that it is removed after that. Another one of
    /// its name would be another one.
    fn look_for_it(&self) -> io::Result<()> {
        let name = self.interface[0].name.as_deref().unwrap_or_default();
        if self.index == 0 || index_of(name).is_ok_and(|index| index == self.index) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the interface '{name}' is gone"),
        ))
    }

    /// Whether to stop, though frames keep coming.
    fn is_over(&self) -> bool {
        let late = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        late || self.stop.as_ref().is_some_and(|stop| {
            let mut wanted = [PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
            let now = Timespec::default();
            poll(&mut wanted, Some(&now)).is_ok_and(|ready| ready > 0)
        })
    }

    /// The header that frames of `any` have (LINKTYPE_LINUX_SLL2).
    fn cook(&mut self, meta: &Meta) {
        let link = &meta.link;
        let mut header = [0; 20];
        header[..2].copy_from_slice(&link.protocol.to_be_bytes());
        header[4..8].copy_from_slice(&link.interface.to_be_bytes());
        header[8..10].copy_from_slice(&link.hardware.to_be_bytes());
        header[10] = link.direction;
        header[11] = link.address_len;
        header[12..].copy_from_slice(&link.address);
        self.data.splice(..0, header);
    }

    /// Whether it is the same packet that is seen arriving as well.
    fn is_echo(meta: &Meta) -> bool {
        meta.link.direction == OUTGOING && meta.link.hardware == LOOPBACK
    }
}

impl Source for Live {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let meta = loop {
            if self.frames.is_multiple_of(64) && self.is_over() {
                return Ok(None);
            }
            match self.ring.take(&mut self.data) {
                Some(meta) if Self::is_echo(&meta) => {}
                Some(meta) => break meta,
                None => {
                    if !self.wait().map_err(Error::Read)? {
                        return Ok(None);
                    }
                }
            }
        };
        let mut len = meta.len;
        if self.headers == Headers::Cooked {
            self.cook(&meta);
            len = len.saturating_add(20);
        }
        if let Some((kind, tag)) = meta.vlan
            && self.headers == Headers::Kept
            && self.data.len() >= 12
        {
            // 0x8100 where the kernel is older than 3.14 and does not say.
            let kind = if kind == 0 { 0x8100 } else { kind };
            let [a, b] = kind.to_be_bytes();
            let [c, d] = tag.to_be_bytes();
            self.data.splice(12..12, [a, b, c, d]);
            len = len.saturating_add(4);
        }
        self.frames += 1;
        let captured = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        let seconds = i64::from(meta.seconds) * 1_000_000_000;
        Ok(Some(Frame {
            number: self.frames,
            time: Timestamp(seconds + i64::from(meta.nanoseconds)),
            interface: 0,
            link: self.interface[0].link,
            original_len: len.max(captured),
            offset: 0,
            data_offset: 0,
            data: &self.data,
        }))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interface
    }
}

fn index_of(name: &str) -> Result<u32, LiveError> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(io::Error::from)?;
    name_to_index(&socket, name).map_err(|_| LiveError::NoInterface {
        name: name.to_owned(),
        others: names(),
    })
}

/// The interfaces of this network namespace (proc_net(5)).
fn names() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split_once(':'));
    let mut names: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
    names.sort();
    names.push("any".to_owned());
    names
}
