//! All conversations of a capture, numbered as Wireshark numbers them.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::conversation::{Conversation, Ended, How, Traffic};
use super::flow::Flow;
use super::options;
use super::seq;
use super::trace::Notes;
use super::{Direction, Protocol, StreamId};
use crate::packet::{Flags, Packet, Segment, Transport};
use crate::{Frame, Limits, Timestamp};

/// The conversations of a capture.
///
/// Numbers are those of Wireshark's `tcp.stream` and `udp.stream`: from 0, in the order of the first packet; a
/// SYN with another initial sequence number begins a new stream on the same ports.
///
/// More than [`Limits::streams`] are not kept: those that were quiet for longest are ended, and come out of
/// [`ended`](Self::ended). Should such a one go on, it is a new conversation.
#[derive(Debug)]
pub struct Streams {
    limit: usize,
    hasher: RandomState,
    /// Where in `states` a key's newest conversation is: with a million of them, keys of their own would cost as much
    /// as all else.
    by_key: HashTable<usize>,
    states: Vec<State>,
    next_number: [u32; 2],
    ended: Vec<Conversation>,
}

/// What a packet was to its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which conversation.
    pub id: StreamId,
    /// Which way.
    pub direction: Direction,
    /// What TCP did.
    pub notes: Notes,
    /// As in [`SegmentRecord::offset`](super::SegmentRecord::offset).
    pub offset: i64,
    /// As in [`SegmentRecord::acknowledged`](super::SegmentRecord::acknowledged).
    pub acknowledged: i64,
    /// As in [`SegmentRecord::window`](super::SegmentRecord::window).
    pub window: u64,
}

/// Both ends, the smaller first: the same for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    low: (u128, u16),
    high: (u128, u16),
    protocol: Protocol,
    ipv6: bool,
}

#[derive(Debug)]
struct State {
    conversation: Conversation,
    /// Of the client, of the server.
    flows: [Flow; 2],
    /// How far each has come, in bytes since its first: what 32-bit numbers are counted on from.
    reached: [i64; 2],
    /// When the last SYN was captured.
    syn: Option<Timestamp>,
}

impl Streams {
    /// None yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.streams.max(1),
            hasher: RandomState::default(),
            by_key: HashTable::new(),
            states: Vec::new(),
            next_number: [0; 2],
            ended: Vec::new(),
        }
    }

    /// Counts a packet in. `None`: it is none of a conversation's.
    pub fn handle(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) -> Option<Seen> {
        match packet.transport {
            Transport::Tcp(segment) => Some(self.handle_segment(frame, packet, &segment)),
            Transport::Udp(_) => self.handle_datagram(frame, packet),
            Transport::Fragment(_) => None,
            Transport::Other { .. } => {
                self.handle_returned(frame, packet);
                None
            }
        }
    }

    /// Conversations that had to make room since this was called last.
    pub fn ended(&mut self) -> Vec<Conversation> {
        std::mem::take(&mut self.ended)
    }

    /// Whether any had to make room.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The conversations that are kept, by protocol and number.
    pub fn conversations(&self) -> Vec<&Conversation> {
        let mut all: Vec<_> = self.states.iter().map(|s| &s.conversation).collect();
        all.sort_unstable_by_key(|conversation| conversation.id);
        all
    }

    fn handle_segment(
        &mut self,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
        segment: &Segment<'_>,
    ) -> Seen {
        let source = (packet.source, segment.source_port);
        let destination = (packet.destination, segment.destination_port);
        let key = Key::new(Protocol::Tcp, source, destination);
        let opening = segment.flags.0 & (Flags::SYN.0 | Flags::ACK.0);
        let mut notes = Notes::default();
        let mut index = self.find(key, frame.time, source, destination, opening);
        let mut direction = self.states[index].direction(source);
        if opening == Flags::SYN.0 {
            let flow = self.states[index].flow(direction);
            if flow.began_elsewhere(segment) {
                index = self.begin(key, frame.time, source, destination, opening);
                direction = self.states[index].direction(source);
                notes |= Notes::PORTS_REUSED;
            } else if flow.base.is_some() {
                flow.restart();
            }
        } else if opening == Flags::SYN.0 | Flags::ACK.0 {
            let flow = self.states[index].flow(direction);
            if flow.began_elsewhere(segment) {
                flow.base = Some(segment.sequence);
                notes |= Notes::PORTS_REUSED;
            }
        }
        self.states[index].handle(frame, segment, direction, notes)
    }

    fn handle_datagram(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) -> Option<Seen> {
        let Transport::Udp(datagram) = packet.transport else {
            return None;
        };
        let source = (packet.source, datagram.source_port);
        let destination = (packet.destination, datagram.destination_port);
        let key = Key::new(Protocol::Udp, source, destination);
        let index = self.find(key, frame.time, source, destination, 0);
        let state = &mut self.states[index];
        let direction = state.direction(source);
        let offset = state.reached[direction.index()];
        let traffic = state.count(frame, direction);
        traffic.payload += u64::from(datagram.payload_len);
        let end = offset.saturating_add(i64::from(datagram.payload_len));
        state.reached[direction.index()] = end;
        Some(Seen {
            id: state.conversation.id,
            direction,
            notes: Notes::default(),
            offset,
            acknowledged: 0,
            window: 0,
        })
    }

    /// What an ICMP error quotes takes a number when it is the first of its conversation.
    fn handle_returned(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        let Some(returned) = packet.returned() else {
            return;
        };
        let Some((source, destination)) = returned.endpoints() else {
            return;
        };
        let (protocol, opening) = match returned.transport {
            Transport::Tcp(segment) => (Protocol::Tcp, segment.flags.0),
            _ => (Protocol::Udp, 0),
        };
        let source = (source.ip(), source.port());
        let destination = (destination.ip(), destination.port());
        let opening = opening & (Flags::SYN.0 | Flags::ACK.0);
        let key = Key::new(protocol, source, destination);
        self.find(key, frame.time, source, destination, opening);
    }

    fn find(
        &mut self,
        key: Key,
        now: Timestamp,
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        opening: u8,
    ) -> usize {
        let hash = self.hasher.hash_one(key);
        let same = |index: &usize| self.states[*index].key() == key;
        match self.by_key.find(hash, same) {
            Some(index) => *index,
            None => self.begin(key, now, source, destination, opening),
        }
    }

    fn begin(
        &mut self,
        key: Key,
        now: Timestamp,
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        opening: u8,
    ) -> usize {
        if self.states.len() >= self.limit {
            self.make_room();
        }
        let next = &mut self.next_number[usize::from(key.protocol == Protocol::Udp)];
        let id = StreamId {
            protocol: key.protocol,
            number: *next,
        };
        *next = next.wrapping_add(1);
        // Who answers a SYN was asked.
        let answered = opening == Flags::SYN.0 | Flags::ACK.0;
        let (client, server) = if answered {
            (destination, source)
        } else {
            (source, destination)
        };
        let index = self.states.len();
        self.states.push(State {
            conversation: Conversation {
                id,
                client: client.into(),
                server: server.into(),
                first: now,
                last: now,
                to_server: Traffic::default(),
                to_client: Traffic::default(),
                handshake_rtt: None,
                ended: None,
            },
            flows: [Flow::default(), Flow::default()],
            reached: [0; 2],
            syn: None,
        });
        self.index(key, index);
        index
    }

    /// From now on the key's conversation is this one.
    fn index(&mut self, key: Key, index: usize) {
        let Self {
            hasher,
            by_key,
            states,
            ..
        } = self;
        let hash_of = |index: &usize| hasher.hash_one(states[*index].key());
        let same = |index: &usize| states[*index].key() == key;
        *by_key
            .entry(hasher.hash_one(key), same, hash_of)
            .or_insert(index)
            .get_mut() = index;
    }

    /// Ends the eighth of the conversations that was quiet for longest.
    fn make_room(&mut self) {
        let age = |state: &State| (state.conversation.last, state.conversation.id);
        let mut ages: Vec<_> = self.states.iter().map(age).collect();
        let go = (ages.len() / 8).max(1);
        let (_, youngest, _) = ages.select_nth_unstable(go - 1);
        let gone = self
            .states
            .extract_if(.., |state| age(state) <= *youngest)
            .map(|state| state.conversation);
        self.ended.extend(gone);
        self.ended
            .sort_unstable_by_key(|conversation| conversation.id);
        self.by_key.clear();
        // They are in the order in which they began: of those on the same ports the last is the one that goes on.
        for index in 0..self.states.len() {
            self.index(self.states[index].key(), index);
        }
    }
}

impl Key {
    fn new(protocol: Protocol, a: (IpAddr, u16), b: (IpAddr, u16)) -> Self {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let ends = ((number(a.0), a.1), (number(b.0), b.1));
        let (low, high) = if ends.0 <= ends.1 {
            ends
        } else {
            (ends.1, ends.0)
        };
        Self {
            low,
            high,
            protocol,
            ipv6: a.0.is_ipv6(),
        }
    }
}

impl State {
    fn key(&self) -> Key {
        let Conversation { client, server, .. } = &self.conversation;
        let ends = ((client.ip(), client.port()), (server.ip(), server.port()));
        Key::new(self.conversation.id.protocol, ends.0, ends.1)
    }

    fn direction(&self, source: (IpAddr, u16)) -> Direction {
        if SocketAddr::from(source) == self.conversation.client {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    }

    fn flow(&mut self, direction: Direction) -> &mut Flow {
        &mut self.flows[direction.index()]
    }

    fn count(&mut self, frame: &Frame<'_>, direction: Direction) -> &mut Traffic {
        let conversation = &mut self.conversation;
        conversation.last = conversation.last.max(frame.time);
        let traffic = match direction {
            Direction::ToServer => &mut conversation.to_server,
            Direction::ToClient => &mut conversation.to_client,
        };
        traffic.packets += 1;
        traffic.bytes += u64::from(frame.original_len);
        traffic
    }

    fn handle(
        &mut self,
        frame: &Frame<'_>,
        segment: &Segment<'_>,
        direction: Direction,
        before: Notes,
    ) -> Seen {
        let flags = segment.flags;
        let first_rtt = self.conversation.handshake_rtt;
        let [client, server] = &mut self.flows;
        let (flow, reverse) = match direction {
            Direction::ToServer => (client, server),
            Direction::ToClient => (server, client),
        };
        flow.anchor(reverse, segment);
        let judged = flow.judge(reverse, segment, frame.time, first_rtt, before);
        let syn = flags.contains(Flags::SYN);
        let window = u64::from(segment.window) << if syn { 0 } else { flow.scale.shift() };
        let shift = if syn {
            options::window_scale(segment.options)
        } else {
            None
        };
        flow.learn_scale(reverse, flags, shift);
        let (base, reverse_base) = (flow.base, reverse.base);
        self.learn_round_trip(flags, frame.time);
        let traffic = self.count(frame, direction);
        traffic.payload += u64::from(segment.payload_len);
        traffic.count(judged.notes);
        traffic.resets += u32::from(flags.contains(Flags::RST));
        traffic.fins += u32::from(flags.contains(Flags::FIN));
        if let Some(rtt) = judged.ack_rtt {
            // It is the other side's data that was acknowledged.
            self.traffic(direction.reverse()).rtt.add(rtt);
        }
        self.learn_end(flags, direction);
        let (offset, acknowledged) = self.place(segment, direction, base, reverse_base);
        Seen {
            id: self.conversation.id,
            direction,
            notes: judged.notes,
            offset,
            acknowledged,
            window,
        }
    }

    fn traffic(&mut self, direction: Direction) -> &mut Traffic {
        match direction {
            Direction::ToServer => &mut self.conversation.to_server,
            Direction::ToClient => &mut self.conversation.to_client,
        }
    }

    /// Where the segment lies in its direction, and up to where it acknowledges the other.
    fn place(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        base: Option<u32>,
        reverse_base: Option<u32>,
    ) -> (i64, i64) {
        let own = direction.index();
        let other = direction.reverse().index();
        let relative = |number: u32, base: Option<u32>| {
            number.wrapping_sub(base.unwrap_or(number.wrapping_sub(1)).wrapping_add(1))
        };
        let mut offset = seq::unwrap(relative(segment.sequence, base), self.reached[own]);
        if segment.flags.contains(Flags::SYN) && segment.payload_len > 0 {
            offset = offset.saturating_add(1);
        }
        let end = offset.saturating_add(i64::from(segment.payload_len));
        if !segment.flags.contains(Flags::RST) {
            self.reached[own] = self.reached[own].max(end);
        }
        let mut acknowledged = 0;
        if segment.flags.contains(Flags::ACK) {
            let number = relative(segment.acknowledgment, reverse_base);
            acknowledged = seq::unwrap(number, self.reached[other]);
        }
        (offset, acknowledged)
    }

    fn learn_round_trip(&mut self, flags: Flags, now: Timestamp) {
        match flags.0 & (Flags::SYN.0 | Flags::ACK.0) {
            opening if opening == Flags::SYN.0 => self.syn = Some(now),
            opening if opening == Flags::ACK.0 => {
                if let (Some(syn), None | Some(0)) = (self.syn, self.conversation.handshake_rtt) {
                    self.conversation.handshake_rtt = Some(now.since(syn));
                }
            }
            _ => {}
        }
    }

    fn learn_end(&mut self, flags: Flags, by: Direction) {
        let how = if flags.contains(Flags::RST) {
            How::Reset
        } else if flags.contains(Flags::FIN) {
            How::Fin
        } else {
            return;
        };
        let conversation = &mut self.conversation;
        conversation.ended.get_or_insert(Ended { by, how });
        if how == How::Reset || (conversation.to_server.fins > 0 && conversation.to_client.fins > 0)
        {
            for flow in &mut self.flows {
                flow.shrink();
            }
        }
    }
}
