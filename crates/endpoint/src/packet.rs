//! Receiving from sockets that keep message boundaries.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;

use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags as Flags, ReturnFlags,
};

use crate::address::Address;
use crate::socket::{Received, RecvFlags, Socket, Type};

/// What a socket with message boundaries gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// A datagram, empty or not.
    Datagram(Received),
    /// The peer of a connection sends no more.
    End,
}

impl Packet {
    /// Bytes that came. A connection says from whom.
    fn moved(&self) -> (usize, Option<&Address>) {
        match self {
            Self::Datagram(received) => (received.length, None),
            Self::End => (0, None),
        }
    }
}

impl Socket {
    /// Receives one datagram, and tells an empty one from the end of a connection.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub fn receive_packet(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        match self.kind() {
            Type::SequencedPacket => match self.calls() {
                None => self.receive_sequenced(buffer),
                Some(calls) => {
                    let room = buffer.len();
                    calls.read_from(room, || self.receive_sequenced(buffer), Packet::moved)
                }
            },
            _ => self
                .receive_from(buffer, RecvFlags::empty())
                .map(Packet::Datagram),
        }
    }

    /// An empty packet and the end look alike. With SO_PASSCRED (unix(7)) the kernel puts the sender's
    /// credentials beside every packet, and nothing beside the end.
    pub(crate) fn tell_packets_from_the_end(&self) -> io::Result<()> {
        match self.kind() {
            Type::SequencedPacket => self.options().set_passcred(true),
            _ => Ok(()),
        }
    }

    fn receive_sequenced(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut pieces = [IoSliceMut::new(buffer)];
        let message = net::recvmsg(self, &mut pieces, &mut control, Flags::TRUNC)?;
        let is_credentials = |beside: RecvAncillaryMessage<'_>| {
            matches!(beside, RecvAncillaryMessage::ScmCredentials(_))
        };
        let has_sender = control.drain().any(is_credentials);
        if message.bytes == 0 && !has_sender {
            return Ok(Packet::End);
        }
        let cut = message.flags.contains(ReturnFlags::TRUNC);
        Ok(Packet::Datagram(Received {
            length: if cut { buffer.len() } else { message.bytes },
            whole: message.bytes,
            from: Address::from_any(message.address),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::UnixName;
    use crate::socket::{Family, SendFlags};

    fn pair() -> (Socket, Socket) {
        let name = format!(
            "@packhorse-packet-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let name = Address::Unix(UnixName::parse(name.as_bytes()).unwrap());
        let server = Socket::new(Family::Unix, Type::SequencedPacket, 0).unwrap();
        server.bind(&name).unwrap();
        server.listen(1).unwrap();
        let client = Socket::new(Family::Unix, Type::SequencedPacket, 0).unwrap();
        client.connect(&name).unwrap();
        let (accepted, _) = server.accept().unwrap();
        accepted.tell_packets_from_the_end().unwrap();
        (client, accepted)
    }

    #[test]
    fn empty_packets_are_not_the_end() {
        let (client, server) = pair();
        for message in ["", "abc", ""] {
            client.send(message.as_bytes(), SendFlags::empty()).unwrap();
        }
        drop(client);
        let mut buffer = [0; 2];
        let mut lengths = Vec::new();
        while let Packet::Datagram(received) = server.receive_packet(&mut buffer).unwrap() {
            lengths.push((received.length, received.whole));
        }
        assert_eq!(lengths, [(0, 0), (2, 3), (0, 0)]);
    }
}
