"""Filters against tshark's display filters: the same question in two languages has the same frames as its answer."""

import random
import struct

import s11
from segments import *
from talking import *

HOSTS = ["192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::9"]
NETWORKS = ["192.0.2.0/24", "192.0.2.0/31", "0.0.0.0/0", "2001:db8::/64", "2001:db8::/32", "::/0"]
PORTS = [53, 80, 1000, 65535]
# Ours, and tshark's: a fragment is its protocol's here, which there only the header says.
NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "igmp": 2, "icmp6": 58}
PROTOCOLS = [(name, f"(ip.proto == {number} or ipv6.nxt == {number})") for name, number in NUMBERS.items()]
PROTOCOLS += [("ip", "ip"), ("ip6", "ipv6"), ("arp", "arp")]


def arp():
    return (b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x08\x06"
            + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20))


def frame(rng):
    kind = rng.choice(["tcp", "udp", "echo", "igmp", "arp", "fragments"])
    if kind == "arp":
        return [arp()]
    family = rng.choice([HOSTS[:3], HOSTS[3:]])
    source, destination = rng.choice(family), rng.choice(family)
    ports = rng.choice(PORTS), rng.choice(PORTS)
    vlans = [5] * rng.choice([0, 0, 1, 2])
    if kind == "fragments":
        payload = udp(*ports, rng.randbytes(2000))
        return [ethernet(piece, vlans) for piece in
                fragments("192.0.2.1", "198.51.100.7", 17, payload, rng.randrange(1 << 16), 800)]
    if kind == "tcp":
        packet = ip(source, destination, 6, tcp(*ports, rng.randrange(1 << 32), 1, rng.choice([SYN, ACK, PSH | ACK]),
                                                500, rng.randbytes(rng.randrange(20))))
    elif kind == "udp":
        packet = ip(source, destination, 17, udp(*ports, rng.randbytes(rng.randrange(20))))
    elif kind == "igmp":
        packet = ipv4("192.0.2.1", "192.0.2.2", 2, b"\x16\0\0\0\xe0\0\0\x01")
    elif ":" in source:
        packet = ipv6(source, destination, 58, b"\x80\0\0\0\0\x01\0\x01echo")
    else:
        packet = ipv4(source, destination, 1, b"\x08\0\0\0\0\x01\0\x01echo")
    return [ethernet(packet, vlans)]


def primitive(rng):
    """A question in our words, and in tshark's."""
    kind = rng.choice(["host", "net", "port", "protocol"])
    if kind == "protocol":
        return rng.choice(PROTOCOLS)
    side = rng.choice(["", "src ", "dst "])
    if kind == "port":
        port = rng.choice(PORTS)
        name = {"": "port", "src ": "srcport", "dst ": "dstport"}[side]
        return f"{side}port {port}", f"(tcp.{name} == {port} or udp.{name} == {port})"
    where = rng.choice(HOSTS if kind == "host" else NETWORKS)
    name = {"": "addr", "src ": "src", "dst ": "dst"}[side]
    family = "ipv6" if ":" in where else "ip"
    return f"{side}{kind} {where}", f"{family}.{name} == {where}"


def question(rng, depth):
    kind = rng.choice(["and", "or", "not", "primitive"]) if depth else "primitive"
    if kind == "primitive":
        return primitive(rng)
    ours, theirs = question(rng, depth - 1)
    if kind == "not":
        return rng.choice(["not ({})", "! ({})"]).format(ours), f"not ({theirs})"
    more, theirs_more = question(rng, depth - 1)
    word = rng.choice({"and": ["and", "&&", ""], "or": ["or", "||"]}[kind])
    return f"({ours}) {word} ({more})", f"({theirs}) {kind} ({theirs_more})"


def random_questions_have_tshark_s_answers():
    (seed,) = s11.seeds(1)
    rng = random.Random(seed)
    with directory() as room:
        path = f"{room}/c.pcap"
        capture = Capture(path)
        for number in range(300):
            for piece in frame(rng):
                capture.add(number * 1000, piece)
        capture.close()
        some = 0
        for _ in range(40):
            ours, theirs = question(rng, rng.randrange(4))
            ended = Running("watch", path, "--json", "--filter", ours).ends(0)
            got = [json.loads(line)["frame"] for line in ended.out.decode().splitlines()]
            # An address inside the text of an error, or a tunnel, does not occur here: each header stands once.
            command = ["tshark", "-n", "-r", path, "-Y", theirs, "-T", "fields", "-e", "frame.number"]
            expected = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
            assert got == [int(line) for line in expected.split()], (ours, theirs)
            some += 0 < len(got) < capture.frames
        assert some > 5, some


def a_wrong_filter_is_told_with_its_place():
    for text, place in [("tcp and", 8), ("port http", 6), ("tcp portt 7", 5), ("(udp", 5)]:
        ended = Running("watch", "/dev/null", "--filter", text).ends(2)
        ended.says(f"at position {place}")


if __name__ == "__main__":
    run(globals())
