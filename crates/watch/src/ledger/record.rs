//! The record of a call, as bytes: see docs/watch.md.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Call, Endpoints, Kernel, Kind, Outcome, VERSION};
use crate::Timestamp;

/// The flag of a record that has what the kernel knew.
const KERNEL: u8 = 1;

/// What stands for a number of 32 bits that is not known.
const UNKNOWN: u32 = u32::MAX;

/// What stands for a number of 64 bits that is not known.
const UNKNOWN_LONG: u64 = u64::MAX;

/// Why bytes are not the record of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A version that this program does not know.
    #[error("a ledger's record of version {0}: this program knows version {VERSION}")]
    Version(u8),
    /// Fewer bytes than it says.
    #[error("a ledger's record of {0} bytes is cut short")]
    Short(usize),
    /// A kind of call, or a family of addresses, that there is not.
    #[error("a ledger's record says {0}, which is no {1}")]
    Unknown(u8, &'static str),
}

impl Call {
    /// Appends it as bytes. Its [time](Call::time) is not among them: it stands in the block around them.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let flags = if self.kernel.is_some() { KERNEL } else { 0 };
        let kind = match self.kind {
            Kind::Write => 0,
            Kind::Read => 1,
        };
        let family = match self.endpoints {
            None => 0,
            Some(Endpoints {
                local: SocketAddr::V4(_),
                ..
            }) => 4,
            Some(_) => 6,
        };
        out.extend_from_slice(&[VERSION, kind, flags, family]);
        out.extend_from_slice(&self.process.to_be_bytes());
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let (local, peer) = self
            .endpoints
            .map_or((nowhere, nowhere), |ends| (ends.local, ends.peer));
        for end in [local, peer] {
            out.extend_from_slice(&octets(end.ip()));
        }
        for end in [local, peer] {
            out.extend_from_slice(&end.port().to_be_bytes());
        }
        let outcome = match self.outcome {
            Outcome::Done(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
            Outcome::Failed(number) => -i64::from(number.max(1)),
        };
        for number in [self.connection, self.offset, self.asked] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&outcome.to_be_bytes());
        out.extend_from_slice(&self.duration.to_be_bytes());
        if let Some(kernel) = &self.kernel {
            emit_kernel(kernel, out);
        }
    }

    /// Reads one that [`emit`](Self::emit) wrote. What follows it is left for versions to come.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(time: Timestamp, bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input(bytes);
        let short = RecordError::Short(bytes.len());
        let [version, kind, flags, family] = input.take().ok_or(short)?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Write,
            1 => Kind::Read,
            other => return Err(RecordError::Unknown(other, "kind of call")),
        };
        if !matches!(family, 0 | 4 | 6) {
            return Err(RecordError::Unknown(family, "family of addresses"));
        }
        input.call(time, kind, family, flags).ok_or(short)
    }
}

fn emit_kernel(kernel: &Kernel, out: &mut Vec<u8>) {
    let long = |number: Option<u64>| number.unwrap_or(UNKNOWN_LONG);
    for number in [
        kernel.rtt,
        kernel.rttvar,
        kernel.cwnd,
        kernel.ssthresh.unwrap_or(UNKNOWN),
        kernel.unacked,
        kernel.not_sent.unwrap_or(UNKNOWN),
        kernel.retransmits,
        kernel.mss,
        kernel.send_window.unwrap_or(UNKNOWN),
        kernel.receive_window.unwrap_or(UNKNOWN),
        kernel.send_queue,
        kernel.receive_queue,
    ] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for number in [
        long(kernel.bytes_sent),
        long(kernel.bytes_retransmitted),
        long(kernel.bytes_acked),
        long(kernel.bytes_received),
    ] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// IPv4 addresses lie in the first four.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
    }
}

fn address(family: u8, octets: [u8; 16], port: u16) -> SocketAddr {
    let [a, b, c, d, ..] = octets;
    let ip = match family {
        4 => Ipv4Addr::new(a, b, c, d).into(),
        _ => IpAddr::from(Ipv6Addr::from(octets)),
    };
    SocketAddr::new(ip, port)
}

/// Bytes that are taken from the front, while there are enough.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn call(&mut self, time: Timestamp, kind: Kind, family: u8, flags: u8) -> Option<Call> {
        let process = self.number()?;
        let (local, peer) = (self.take()?, self.take()?);
        let (local_port, peer_port) = (self.short()?, self.short()?);
        let endpoints = (family != 0).then(|| Endpoints {
            local: address(family, local, local_port),
            peer: address(family, peer, peer_port),
        });
        let (connection, offset, asked) = (self.long()?, self.long()?, self.long()?);
        let outcome = i64::from_be_bytes(self.take()?);
        let outcome = match u64::try_from(outcome) {
            Ok(bytes) => Outcome::Done(bytes),
            Err(_) => Outcome::Failed(i32::try_from(outcome.saturating_neg()).unwrap_or(i32::MAX)),
        };
        let duration = self.long()?;
        let kernel = match flags & KERNEL {
            0 => None,
            _ => Some(self.kernel()?),
        };
        Some(Call {
            time,
            duration,
            process,
            connection,
            kind,
            endpoints,
            offset,
            asked,
            outcome,
            kernel,
        })
    }

    fn kernel(&mut self) -> Option<Kernel> {
        let known = |number| Some(number).filter(|&number| number != UNKNOWN);
        let known_long = |number| Some(number).filter(|&number| number != UNKNOWN_LONG);
        Some(Kernel {
            rtt: self.number()?,
            rttvar: self.number()?,
            cwnd: self.number()?,
            ssthresh: known(self.number()?),
            unacked: self.number()?,
            not_sent: known(self.number()?),
            retransmits: self.number()?,
            mss: self.number()?,
            send_window: known(self.number()?),
            receive_window: known(self.number()?),
            send_queue: self.number()?,
            receive_queue: self.number()?,
            bytes_sent: known_long(self.long()?),
            bytes_retransmitted: known_long(self.long()?),
            bytes_acked: known_long(self.long()?),
            bytes_received: known_long(self.long()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a record without what the kernel knew.
    const SHORT: usize = 84;

    /// Bytes of a record with it.
    const LONG: usize = SHORT + 12 * 4 + 4 * 8;

    fn call() -> Call {
        Call {
            time: Timestamp(1_700_000_000_123_456_789),
            duration: 4321,
            process: 77,
            connection: 3,
            kind: Kind::Read,
            endpoints: Some(Endpoints {
                local: "127.0.0.1:9090".parse().unwrap(),
                peer: "127.0.0.1:40000".parse().unwrap(),
            }),
            offset: 1 << 40,
            asked: 65536,
            outcome: Outcome::Done(6),
            kernel: Some(Kernel {
                rtt: 1,
                rttvar: 2,
                cwnd: 10,
                unacked: 3,
                not_sent: Some(0),
                mss: 1448,
                bytes_sent: Some(9),
                ..Kernel::default()
            }),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut calls = vec![call()];
        calls.push(Call {
            kind: Kind::Write,
            outcome: Outcome::Failed(11),
            kernel: None,
            ..call()
        });
        calls.push(Call {
            endpoints: None,
            ..call()
        });
        calls.push(Call {
            endpoints: Some(Endpoints {
                local: "[::1]:1".parse().unwrap(),
                peer: "[2001:db8::7]:65535".parse().unwrap(),
            }),
            ..call()
        });
        for call in calls {
            let mut bytes = Vec::new();
            call.emit(&mut bytes);
            let length = if call.kernel.is_some() { LONG } else { SHORT };
            assert_eq!(bytes.len(), length);
            assert_eq!(Call::parse(call.time, &bytes), Ok(call.clone()));
            for cut in 0..bytes.len() {
                let cut = Call::parse(call.time, &bytes[..cut]);
                assert!(matches!(cut, Err(RecordError::Short(_))), "{cut:?}");
            }
        }
    }

    #[test]
    fn records_stand_as_the_page_has_them() {
        let mut bytes = Vec::new();
        call().emit(&mut bytes);
        assert_eq!(bytes[..12], [1, 1, 1, 4, 0, 0, 0, 77, 127, 0, 0, 1]);
        assert_eq!(bytes[24..28], [127, 0, 0, 1]);
        assert_eq!(bytes[40..44], [0x23, 0x82, 0x9c, 0x40]);
        assert_eq!(bytes[44..52], 3_u64.to_be_bytes());
        assert_eq!(bytes[68..76], 6_u64.to_be_bytes());
        assert_eq!(bytes[84..88], 1_u32.to_be_bytes());
    }

    #[test]
    fn others_are_refused() {
        let mut bytes = Vec::new();
        call().emit(&mut bytes);
        for (at, value) in [(0, 2), (1, 2), (3, 5)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            let error = Call::parse(Timestamp(0), &wrong).unwrap_err();
            assert!(!matches!(error, RecordError::Short(_)), "{error}");
        }
    }
}
