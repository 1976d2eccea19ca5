"""Captures of TCP and UDP, made from nothing: frames, and streams with all that can happen to them."""

import ipaddress
import random
import struct

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload, identification=0, fragment=0x4000):
    """A packet; `fragment` is the word of flags and offset."""
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, fragment, 64, protocol, 0,
        ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(source, destination, protocol, payload):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                       ipaddress.ip_address(source).packed,
                       ipaddress.ip_address(destination).packed) + payload


def ip(source, destination, protocol, payload, **more):
    make = ipv6 if ":" in source else ipv4
    return make(source, destination, protocol, payload, **more)


def fragments(source, destination, protocol, payload, identification, size):
    """An IPv4 packet in pieces of `size` bytes, a multiple of 8."""
    pieces = range(0, len(payload), size)
    return [ipv4(source, destination, protocol, payload[at:at + size], identification,
                 at // 8 | (0x2000 if at + size < len(payload) else 0)) for at in pieces]


def ethernet(packet, vlans=()):
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    tags = b"".join(b"\x81\x00" + struct.pack("!H", vlan) for vlan in vlans)
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02" + tags + kind + packet


def udp(source_port, destination_port, payload):
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def tcp(source_port, destination_port, sequence, acknowledgment, flags, window, payload=b"",
        options=b""):
    options += b"\0" * (-len(options) % 4)
    return struct.pack("!HHIIBBHHH", source_port, destination_port, sequence & 0xFFFFFFFF,
                       acknowledgment & 0xFFFFFFFF, (20 + len(options)) // 4 << 4, flags, window,
                       0, 0) + options + payload


class Capture:
    """A pcap file that grows."""

    def __init__(self, path, link=1):
        self.file = open(path, "wb")
        self.file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link))
        self.frames = 0

    def add(self, nanoseconds, frame, kept=None):
        seconds, fraction = divmod(nanoseconds, 10**9)
        kept = frame if kept is None else frame[:kept]
        self.file.write(struct.pack("<IIII", seconds, fraction, len(kept), len(frame)) + kept)
        self.frames += 1

    def close(self):
        self.file.close()


class Side:
    """One end of a stream, as far as the wire shows it."""

    def __init__(self, address, port, rng):
        self.address, self.port = address, port
        self.first = rng.choice([rng.randrange(1, 2**32), 2**32 - rng.randrange(1, 9000)])
        self.next = self.first
        self.highest_received = None
        self.window = rng.randrange(1, 65536)
        self.sent = []
        self.data = bytearray()


class Stream:
    """A stream in which anything may happen, as the random numbers have it."""

    def __init__(self, rng, client, server, vlans=()):
        self.rng, self.vlans = rng, vlans
        self.sides = [Side(*client, rng), Side(*server, rng)]
        self.scales = rng.random() < 0.7
        self.closed = False

    def packet(self, who, sequence, flags, payload=b"", options=b"", acknowledgment=None,
               window=None):
        own, other = self.sides[who], self.sides[1 - who]
        if acknowledgment is None:
            acknowledgment = own.highest_received or 0
        segment = tcp(own.port, other.port, sequence, acknowledgment, flags,
                      own.window if window is None else window, payload, options)
        return ethernet(ip(own.address, other.address, 6, segment), self.vlans)

    def handshake(self):
        options = b"\x02\x04\x05\xb4\x04\x02"
        scale = [b"\x01\x03\x03" + bytes([self.rng.randrange(15)]) if self.scales else b""
                 for _ in range(2)]
        client, server = self.sides
        frames = [self.packet(0, client.first, SYN, options=options + scale[0])]
        if self.rng.random() < 0.2:
            frames.append(frames[0])
        client.next += 1
        server.highest_received = client.next
        frames.append(self.packet(1, server.first, SYN | ACK, options=options + scale[1]))
        server.next += 1
        client.highest_received = server.next
        frames.append(self.packet(0, client.next, ACK))
        return frames

    def data(self, who, size):
        side = self.sides[who]
        payload = self.rng.randbytes(size)
        frame = self.packet(who, side.next, ACK | (PSH if self.rng.random() < 0.5 else 0), payload)
        side.sent.append((side.next, payload))
        side.next += size
        side.data += payload
        return frame

    def acknowledge(self, who, number=None):
        """`who` acknowledges what the other side sent."""
        own, other = self.sides[who], self.sides[1 - who]
        own.highest_received = other.next if number is None else number
        return self.packet(who, own.next, ACK)

    def step(self):
        """A few frames of whatever happens next."""
        rng, who = self.rng, self.rng.randrange(2)
        side = self.sides[who]
        event = rng.choices(
            ["data", "train", "ack", "repeat", "resend", "swap", "probe", "alive", "window",
             "partial", "lost", "reset", "fin", "overlap"],
            [30, 12, 30, 8, 10, 8, 3, 3, 6, 4, 4, 0.3, 0.7, 4])[0]
        size = lambda: rng.choice([1, 2, rng.randrange(1, 1461), 1460])
        if event == "data":
            return [self.data(who, size())]
        if event == "train":
            return [self.data(who, 1460) for _ in range(rng.randrange(2, 8))]
        if event == "ack":
            return [self.acknowledge(who)]
        if event == "partial" and self.sides[1 - who].sent:
            sequence, payload = rng.choice(self.sides[1 - who].sent[-6:])
            return [self.acknowledge(who, sequence + rng.randrange(len(payload) + 1))]
        if event == "repeat" and self.sides[1 - who].sent:
            # Something was lost: the same acknowledgment again and again, then it comes once more.
            sequence, payload = rng.choice(self.sides[1 - who].sent[-6:])
            frames = [self.acknowledge(who, sequence) for _ in range(rng.randrange(2, 6))]
            return frames + [self.packet(1 - who, sequence, ACK, payload)] * rng.randrange(2)
        if event == "resend" and side.sent:
            sequence, payload = rng.choice(side.sent[-12:])
            return [self.packet(who, sequence, ACK, payload)]
        if event == "overlap" and len(side.sent) > 2:
            at = rng.randrange(len(side.sent) - 1)
            (sequence, first), (_, second) = side.sent[at], side.sent[at + 1]
            both = first + second if side.sent[at + 1][0] == sequence + len(first) else first
            begin = rng.randrange(len(both))
            end = rng.randrange(begin, len(both)) + 1
            return [self.packet(who, sequence + begin, ACK, both[begin:end])]
        if event == "swap":
            frames = [self.data(who, size()) for _ in range(rng.randrange(2, 5))]
            rng.shuffle(frames)
            return frames
        if event == "lost":
            self.data(who, size())
            return []
        if event == "window":
            side.window = rng.choice([0, rng.randrange(65536)])
            return [self.packet(who, side.next, ACK)]
        if event == "probe":
            return [self.packet(who, side.next, ACK, b"x")]
        if event == "alive":
            alive = self.packet(who, side.next - 1, ACK, b"" if rng.random() < 0.5 else b"\0")
            return [alive] + [self.packet(1 - who, self.sides[1 - who].next, ACK)] * rng.randrange(2)
        if event == "reset":
            self.closed = True
            return [self.packet(who, side.next, RST | (ACK if rng.random() < 0.7 else 0))]
        if event == "fin":
            frame = self.packet(who, side.next, FIN | ACK)
            side.next += 1
            return [frame] + [self.acknowledge(1 - who)] * rng.randrange(2)
        return []


def pause(rng):
    """Nanoseconds to the next frame: together, a round trip, a timeout."""
    return rng.choice([rng.randrange(1, 3_000), rng.randrange(1_000, 2_900_000),
                       rng.randrange(1_000, 60_000_000), rng.randrange(1, 2_000_000_000)])


def hosts(rng, family):
    """A client and a server that are not met twice, and at times are."""
    if family == 6:
        return ((f"2001:db8::{rng.randrange(1, 4):x}", rng.randrange(1024, 1030)),
                (f"2001:db8::{rng.randrange(4, 7):x}", rng.randrange(8000, 8003)))
    return ((f"192.0.2.{rng.randrange(1, 4)}", rng.randrange(1024, 1030)),
            (f"198.51.100.{rng.randrange(1, 4)}", rng.randrange(8000, 8003)))


def random_streams(path, seed, steps):
    """Many streams at once, over both families, some in VLANs; some begin before the capture."""
    rng = random.Random(seed)
    capture, now, streams = Capture(path), 1_700_000_000_000_000_000, []
    for _ in range(steps):
        if not streams or rng.random() < 0.01:
            stream = Stream(rng, *hosts(rng, rng.choice([4, 6])),
                            vlans=rng.choice([(), (), (7,), (7, 9)]))
            begun = stream.handshake()
            if rng.random() < 0.25:
                begun = begun[rng.randrange(1, len(begun) + 1):]
            streams.append(stream)
            frames = begun
        else:
            stream = rng.choice(streams)
            frames = stream.step()
            if stream.closed and rng.random() < 0.7:
                streams.remove(stream)
        for frame in frames:
            now += pause(rng)
            capture.add(now, frame)
    capture.close()
