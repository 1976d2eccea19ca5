//! The ledger of a process: each call by which it wrote to a socket or read from one, beside what TCP knew at
//! that moment.
//!
//! A ledger is a pcapng file with one interface, of [`LinkType::USER0`] and named [`NAME`]; each call is a frame
//! of it, stamped with when the call began. So the tools for captures can cut, merge and list it. docs/watch.md
//! has the layout.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::capture::{Interface, Writer};
use crate::{Error, Frame, LinkType, Source, Timestamp};

/// The name of a ledger's interface.
pub const NAME: &str = "packhorse ledger";

/// How each record begins: the letters, and the version.
const MAGIC: [u8; 4] = *b"PHL1";

/// Bytes of a record.
const RECORD: usize = 128;

/// A call on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub began: Timestamp,
    /// How long it took, in nanoseconds.
    pub took: u64,
    /// Which way bytes went.
    pub kind: CallKind,
    /// The process that made it.
    pub process: u32,
    /// A number that no other socket of the system has (SO_COOKIE).
    pub socket: u64,
    /// The process's end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// Bytes that calls of this kind moved on this socket before: where this one's begin in the stream.
    pub offset: u64,
    /// Bytes that the caller had, or had room for.
    pub asked: u32,
    /// Bytes that were moved. A read of 0 is the end of the stream.
    pub done: u32,
    /// The error number, 0 where there was none.
    pub errno: u32,
    /// What TCP knew behind the call; `None` where the socket is not TCP's, or is gone.
    pub tcp: Option<Tcp>,
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// From the process to the kernel.
    Write,
    /// From the kernel to the process.
    Read,
}

/// A part of what the kernel knows of a connection (TCP_INFO, tcp(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tcp {
    /// Smoothed round trip, in microseconds.
    pub rtt: u32,
    /// How much it varies, in microseconds.
    pub rttvar: u32,
    /// Congestion window, in segments.
    pub cwnd: u32,
    /// Slow start threshold, in segments; `u32::MAX` before the first loss.
    pub ssthresh: u32,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
    /// Bytes in a segment that is sent.
    pub mss: u32,
    /// Bytes handed to the kernel and not acknowledged.
    pub send_queue: u32,
    /// Bytes handed to the kernel and not sent.
    pub not_sent: u32,
    /// Bytes received and not read.
    pub receive_queue: u32,
    /// Bytes that the peer has room for.
    pub peer_window: u32,
}

/// Writes a ledger.
#[derive(Debug)]
pub struct LedgerWriter<W> {
    writer: Writer<W>,
    interface: u32,
}

impl<W: Write> LedgerWriter<W> {
    /// Begins a ledger.
    ///
    /// # Errors
    /// The output's.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = Writer::new(output)?;
        let interface = writer.interface(&Interface {
            link: LinkType::USER0,
            name: Some(NAME.to_owned()),
            description: Some("calls on sockets, version 1".to_owned()),
            snaplen: 0,
        })?;
        Ok(Self { writer, interface })
    }

    /// Writes a call.
    ///
    /// # Errors
    /// The output's.
    pub fn call(&mut self, call: &Call) -> io::Result<()> {
        let data = call.encode();
        self.writer.frame(&Frame {
            number: 0,
            time: call.began,
            interface: self.interface,
            link: LinkType::USER0,
            original_len: 0,
            offset: 0,
            data: &data,
        })
    }

    /// Writes what the output holds back.
    ///
    /// # Errors
    /// The output's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Reads the calls of a ledger, up to `most`. Frames that are none of its calls are passed over.
///
/// # Errors
/// The source's. What was read before has gone to `calls`.
pub fn read(source: &mut dyn Source, most: usize, calls: &mut Vec<Call>) -> Result<(), Error> {
    while calls.len() < most {
        let Some(frame) = source.next_frame()? else {
            break;
        };
        if frame.link == LinkType::USER0 {
            calls.extend(Call::decode(&frame));
        }
    }
    Ok(())
}

impl Call {
    /// Where its bytes end in the stream.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.done))
    }

    fn encode(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(RECORD);
        record.extend(MAGIC);
        record.push(match self.kind {
            CallKind::Write => 1,
            CallKind::Read => 2,
        });
        record.push(u8::from(self.tcp.is_some()));
        for address in [self.local, self.peer] {
            record.extend(address.port().to_be_bytes());
        }
        record.extend([0; 2]);
        record.extend(self.process.to_be_bytes());
        record.extend(self.socket.to_be_bytes());
        for address in [self.local, self.peer] {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            record.extend(ip.octets());
        }
        record.extend(self.offset.to_be_bytes());
        record.extend(self.took.to_be_bytes());
        let tcp = self.tcp.unwrap_or_default();
        let numbers = [
            self.asked,
            self.done,
            self.errno,
            tcp.rtt,
            tcp.rttvar,
            tcp.cwnd,
            tcp.ssthresh,
            tcp.unacked,
            tcp.retransmits,
            tcp.mss,
            tcp.send_queue,
            tcp.not_sent,
            tcp.receive_queue,
            tcp.peer_window,
        ];
        record.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        record
    }

    fn decode(frame: &Frame<'_>) -> Option<Self> {
        let record = frame.data.first_chunk::<RECORD>()?;
        let mut rest = Fields(record);
        if rest.take::<4>()? != MAGIC {
            return None;
        }
        let [kind, has_tcp] = rest.take()?;
        let kind = match kind {
            1 => CallKind::Write,
            2 => CallKind::Read,
            _ => return None,
        };
        let ports = [rest.short()?, rest.short()?];
        rest.take::<2>()?;
        let process = rest.long()?;
        let socket = rest.longest()?;
        let addresses = [rest.address()?, rest.address()?];
        let (offset, took) = (rest.longest()?, rest.longest()?);
        let (asked, done, errno) = (rest.long()?, rest.long()?, rest.long()?);
        let tcp = Tcp {
            rtt: rest.long()?,
            rttvar: rest.long()?,
            cwnd: rest.long()?,
            ssthresh: rest.long()?,
            unacked: rest.long()?,
            retransmits: rest.long()?,
            mss: rest.long()?,
            send_queue: rest.long()?,
            not_sent: rest.long()?,
            receive_queue: rest.long()?,
            peer_window: rest.long()?,
        };
        Some(Self {
            began: frame.time,
            took,
            kind,
            process,
            socket,
            local: SocketAddr::new(addresses[0], ports[0]),
            peer: SocketAddr::new(addresses[1], ports[1]),
            offset,
            asked,
            done,
            errno,
            tcp: (has_tcp == 1).then_some(tcp),
        })
    }
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn longest(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn address(&mut self) -> Option<IpAddr> {
        let address = Ipv6Addr::from(self.take::<16>()?);
        let v4: Option<Ipv4Addr> = address.to_ipv4_mapped();
        Some(v4.map_or(IpAddr::V6(address), IpAddr::V4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_comes_back_as_it_was() {
        let call = Call {
            began: Timestamp(1_700_000_000_123_456_789),
            took: 17,
            kind: CallKind::Read,
            process: 4711,
            socket: 1 << 40,
            local: "192.0.2.1:40000".parse().unwrap(),
            peer: "[2001:db8::1]:9090".parse().unwrap(),
            offset: 1 << 33,
            asked: 65536,
            done: 1448,
            errno: 104,
            tcp: Some(Tcp {
                rtt: 1,
                rttvar: 2,
                cwnd: 3,
                ssthresh: 4,
                unacked: 5,
                retransmits: 6,
                mss: 7,
                send_queue: 8,
                not_sent: 9,
                receive_queue: 10,
                peer_window: 11,
            }),
        };
        let data = call.encode();
        assert_eq!(data.len(), RECORD);
        let frame = Frame {
            number: 1,
            time: call.began,
            interface: 0,
            link: LinkType::USER0,
            original_len: 0,
            offset: 0,
            data: &data,
        };
        assert_eq!(Call::decode(&frame), Some(call));
        let cut = Frame {
            data: &data[1..],
            ..frame
        };
        assert_eq!(Call::decode(&cut), None);
    }
}
