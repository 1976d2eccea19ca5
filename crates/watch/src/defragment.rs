//! Fragmented packets, put together again (RFC 791 §3.2, RFC 8200 §4.5).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use etherparse::defrag::{IpDefragBuf, IpDefragError};
use etherparse::{IpFragOffset, IpNumber};

use crate::packet::{Fragment, Packet, Transport};
use crate::{Frame, Limits};

/// Reads packets out of frames, and puts fragments together. What is kept is bounded by
/// [`Limits::fragments`]: the oldest incomplete packet goes first.
#[derive(Debug)]
pub struct Packets {
    limit: usize,
    held: usize,
    pending: HashMap<Key, Pending>,
    /// The order in which packets were begun. Holds keys of finished ones too, until they come to the front.
    order: VecDeque<(Key, u64)>,
    begun: u64,
    /// The payload of the last packet that became whole.
    whole: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    protocol: u8,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    buffer: IpDefragBuf,
    held: usize,
}

/// What a fragment costs besides its bytes.
const OVERHEAD: usize = 64;

impl Packets {
    /// Nothing is kept yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.fragments,
            held: 0,
            pending: HashMap::new(),
            order: VecDeque::new(),
            begun: 0,
            whole: Vec::new(),
        }
    }

    /// The packet in a frame. The fragment that completes a packet gives the whole of it; the others, and those
    /// of which something was not captured, give [`Transport::Fragment`].
    pub fn read<'a>(&'a mut self, frame: &Frame<'a>) -> Option<Packet<'a>> {
        let packet = Packet::parse(frame)?;
        let Transport::Fragment(fragment) = packet.transport else {
            return Some(packet);
        };
        if !self.complete(&packet) {
            return Some(packet);
        }
        let payload = &self.whole;
        let on_wire = u32::try_from(payload.len()).ok()?;
        Some(Packet {
            transport: Transport::parse(fragment.protocol, payload, on_wire),
            ..packet
        })
    }

    /// The payload of the packet that was completed last.
    pub(crate) fn last_whole(&self) -> &[u8] {
        &self.whole
    }

    /// Takes a fragment. Whether its packet is whole now, and [`last_whole`](Self::last_whole).
    pub(crate) fn complete(&mut self, packet: &Packet<'_>) -> bool {
        let Transport::Fragment(fragment) = &packet.transport else {
            return false;
        };
        let captured = u32::try_from(fragment.payload.len());
        if captured != Ok(fragment.payload_len) {
            return false;
        }
        let key = Key {
            source: packet.source,
            destination: packet.destination,
            identification: fragment.identification,
            protocol: fragment.protocol,
        };
        let pending = self.pending.entry(key).or_insert_with(|| {
            self.begun += 1;
            self.order.push_back((key, self.begun));
            let buffer = IpDefragBuf::new(IpNumber(fragment.protocol), Vec::new(), Vec::new());
            Pending {
                number: self.begun,
                buffer,
                held: 0,
            }
        });
        let outcome = append(&mut pending.buffer, fragment);
        let held = pending.buffer.data().len() + OVERHEAD * (1 + pending.buffer.sections().len());
        self.held = self.held - pending.held + held;
        pending.held = held;
        let complete = outcome.is_ok() && pending.buffer.is_complete();
        if outcome.is_err() || complete {
            // What contradicts itself is nonsense as a whole.
            if let Some(pending) = self.pending.remove(&key) {
                self.held -= pending.held;
                if complete {
                    self.whole = pending.buffer.take_bufs().0;
                }
            }
        }
        self.trim();
        complete
    }

    fn trim(&mut self) {
        while self.held > self.limit {
            let Some((key, number)) = self.order.pop_front() else {
                return;
            };
            if self.pending.get(&key).is_some_and(|p| p.number == number)
                && let Some(pending) = self.pending.remove(&key)
            {
                self.held -= pending.held;
            }
        }
        if self.order.len() > 2 * self.pending.len() + 64 {
            let pending = &self.pending;
            self.order
                .retain(|(key, number)| pending.get(key).is_some_and(|p| p.number == *number));
        }
    }
}

fn append(buffer: &mut IpDefragBuf, fragment: &Fragment<'_>) -> Result<(), IpDefragError> {
    // 13 bits count units of eight bytes in both headers.
    let units = u16::try_from(fragment.offset / 8).unwrap_or(u16::MAX);
    let offset = IpFragOffset::try_new(units).unwrap_or(IpFragOffset::ZERO);
    buffer.add(offset, fragment.more, fragment.payload)
}
