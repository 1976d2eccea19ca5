"""Capture files of every kind, and damaged ones; tshark says what is in them."""

import gzip
import random
import struct

from segments import ethernet, ipv4, udp
from talking import *

LINKS = {"null": 0, "ethernet": 1, "raw": 101, "loop": 108, "sll": 113, "ipv4": 228, "sll2": 276}
SECOND = 10**9


def packhorse(path, *arguments, code=0, **how):
    ours = Running("watch", path, "--json", *arguments, **how)
    return ours.ends(code)


def frames(ours):
    return [json.loads(line) for line in ours.out.decode().splitlines()]


def datagrams(count):
    """Times in nanoseconds, and packets."""
    begin = 1_700_000_000 * SECOND
    return [(begin + number * 1_234_567_891, ipv4("192.0.2.1", "192.0.2.2", 17,
            udp(1000 + number, 53, b"x" * (number * 7 % 40)))) for number in range(count)]


def link_header(kind, packet):
    return {
        "null": struct.pack("<I", 2) + packet,
        "loop": struct.pack(">I", 2) + packet,
        "raw": packet,
        "ipv4": packet,
        "ethernet": ethernet(packet),
        "sll": struct.pack(">HHH8sH", 0, 1, 6, b"\2\0\0\0\0\1\0\0", 0x0800) + packet,
        "sll2": struct.pack(">HHIHBB8s", 0x0800, 0, 1, 1, 0, 6, b"\2\0\0\0\0\1\0\0") + packet,
    }[kind]


def pcap(packets, order="<", nanoseconds=False, kind="ethernet"):
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    file = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, LINKS[kind])
    for time, packet in packets:
        frame = link_header(kind, packet)
        second, fraction = divmod(time, SECOND)
        fraction = fraction if nanoseconds else fraction // 1000
        file += struct.pack(order + "IIII", second, fraction, len(frame), len(frame)) + frame
    return file


def option(order, code, value):
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def block(order, kind, body):
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def section(order):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order, kind="ethernet", resolution=None, offset=None, name=b"eth7"):
    options = option(order, 2, name)
    if resolution is not None:
        options += option(order, 9, bytes([resolution]))
    if offset is not None:
        options += option(order, 14, struct.pack(order + "q", offset))
    return block(order, 1, struct.pack(order + "HHI", LINKS[kind], 0, 0) + options + bytes(4))


def units(nanoseconds, resolution):
    each = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    return nanoseconds * each // SECOND


def packet_block(order, number, time, frame, kept=None, options=b""):
    kept = frame if kept is None else frame[:kept]
    body = struct.pack(order + "IIIII", number, time >> 32, time & 0xFFFFFFFF, len(kept), len(frame))
    return block(order, 6, body + kept + b"\0" * (-len(kept) % 4) + options)


def written(room, name, data):
    path = f"{room}/{name}"
    with open(path, "wb") as file:
        file.write(data)
    return path


def by_tshark(path):
    """What tshark has of each frame; of times the first nine digits behind the point."""
    names = ["frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_id",
             "udp.srcport"]
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|"]
    ended = subprocess.run(command + [part for name in names for part in ("-e", name)],
                           capture_output=True, timeout=60)
    rows = []
    for line in ended.stdout.decode().splitlines():
        number, time, length, kept, which, port = line.split("|")
        second, _, fraction = time.partition(".")
        # Simple packets have no time.
        time = int(second or 0) * SECOND + int(fraction.ljust(9, "0")[:9])
        rows.append((int(number), time, int(length), int(kept), int(which or 0), int(port or 0)))
    return rows


def agrees(path, ours=None):
    ours = frames(ours or packhorse(path))
    got = [(found["frame"], found["time_ns"], found["len"], found["captured"], found["interface"],
            found["source_port"]) for found in ours]
    expected = by_tshark(path)
    assert expected and got == expected, (path, got[:3], expected[:3])
    return got


def classic_files_of_every_order_resolution_and_link():
    with directory() as room:
        for kind in LINKS:
            for order in "<>":
                for nanoseconds in (False, True):
                    name = f"{kind}{ord(order)}{nanoseconds}.pcap"
                    agrees(written(room, name, pcap(datagrams(20), order, nanoseconds, kind)))


def many_sections():
    """A file in which everything changes: byte order, links, clocks, options; its frames are 140."""
    file = b""
    for order in "<>":
        file += section(order)
        clocks = [(None, None), (9, None), (3, None), (6, -5), (0x80 | 20, 2), (0, 1), (10, None)]
        for number, (resolution, offset) in enumerate(clocks):
            file += interface(order, list(LINKS)[number % 7], resolution, offset)
        file += block(order, 5, struct.pack(order + "III", 0, 0, 0))  # statistics
        file += block(order, 0x0BAD0001, b"what is that")
        for number, (time, packet) in enumerate(datagrams(70)):
            which = number % len(clocks)
            resolution, offset = clocks[which]
            time = units(time - (offset or 0) * SECOND, 6 if resolution is None else resolution)
            frame = link_header(list(LINKS)[which % 7], packet)
            comment = option(order, 1, b"a comment") + bytes(4) if number % 3 == 0 else b""
            file += packet_block(order, which, time, frame, 60 if number % 4 else None, comment)
    return file


def sections_interfaces_and_clocks():
    with directory() as room:
        path = written(room, "many.pcapng", many_sections())
        got = frames(packhorse(path))
        expected = by_tshark(path)
        assert len(got) == len(expected) == 140
        for found, (number, time, length, kept, which, _) in zip(got, expected):
            assert (found["frame"], found["len"], found["captured"]) == (number, length, kept)
            # Interfaces go on counting in the second section; tshark reads times of 1/2^20 s as floats.
            assert found["interface"] % 7 == which % 7, (found, which)
            assert abs(found["time_ns"] - time) < 1000, (found, time)


def what_is_chosen_is_kept():
    with directory() as room:
        path = written(room, "many.pcapng", many_sections())
        out = f"{room}/out.pcapng"
        shown = packhorse(path, "--write", out, "--filter", "port 1007 or src port 1011", "--count", "3")
        kept = frames(packhorse(out))
        assert len(kept) == 3 and [one["source_port"] for one in kept] == [1007, 1011, 1007]
        assert [one | {"frame": 0} for one in kept] == [one | {"frame": 0} for one in frames(shown)]
        packhorse(path, "--write", out)
        agrees(out)
        raw = lambda file: subprocess.run(["tshark", "-n", "-r", file, "-x"], capture_output=True, check=True).stdout
        assert raw(path) == raw(out)
        # What is read is not written over.
        ours = packhorse(out, "--write", f"{room}/../{os.path.basename(room)}/out.pcapng", code=2)
        ours.says("--write names the capture that is read")
        assert raw(path) == raw(out)


def what_would_be_ignored_is_said():
    with directory() as room:
        path = written(room, "some.pcap", pcap(datagrams(2)))
        for arguments in (["--streams", "--svg", "x"], ["--hex"], ["--raw", "--layers"], ["--streams", "--frame", "line"],
                          ["--ledger", "x"], ["--duration", "1s"], ["--demo"], ["--interface", "lo"]):
            ours = Running("watch", path, *arguments).ends(2)
            assert b"error: " in ours.err and ours.out == b"", ours.err


def simple_and_obsolete_packets():
    with directory() as room:
        for order in "<>":
            file = section(order)
            file += block(order, 1, struct.pack(order + "HHI", 1, 0, 50))  # keeps 50 bytes a frame
            for number, (time, packet) in enumerate(datagrams(10)):
                frame = ethernet(packet)
                if number % 2:
                    kept = frame[:50] + b"\0" * (-len(frame[:50]) % 4)
                    file += block(order, 3, struct.pack(order + "I", len(frame)) + kept)
                else:
                    time //= 1000
                    head = struct.pack(order + "HHIIII", 0, 0, time >> 32, time & 0xFFFFFFFF,
                                       len(frame), len(frame))
                    file += block(order, 2, head + frame + b"\0" * (-len(frame) % 4))
            path = written(room, f"old{ord(order)}.pcapng", file)
            agrees(path)


def compressed_files():
    whole = pcap(datagrams(3000))
    with directory() as room:
        plain = packhorse(written(room, "plain.pcap", whole)).out
        parts = gzip.compress(whole[:5000]) + gzip.compress(whole[5000:])
        assert packhorse(written(room, "two.pcap.gz", parts)).out == plain
        written(room, "a", whole[:7000])
        written(room, "b", whole[7000:])
        for part in "ab":
            subprocess.run(["zstd", "-q", "-19", f"{room}/{part}"], check=True)
        parts = b"".join(open(f"{room}/{part}.zst", "rb").read() for part in "ab")
        assert packhorse(written(room, "two.pcap.zst", parts)).out == plain
        for name, cut in (("two.pcap.gz", 0.7), ("two.pcap.zst", 0.7)):
            data = open(f"{room}/{name}", "rb").read()
            ours = packhorse(written(room, f"cut-{name}", data[:int(len(data) * cut)]), code=6)
            ours.says("damaged at offset")
            assert plain.startswith(ours.out)
            assert len(ours.out) > 10000, len(ours.out)


def a_pipe_is_read_as_it_comes():
    whole = pcap(datagrams(10))
    read, write = os.pipe()
    ours = Running("watch", "-", "--json", stdin=read)
    os.close(read)
    os.write(write, whole[:400])
    # Frames that are there are shown before the rest comes.
    ours.until(lambda: ours.out.count(b"\n") >= 3)
    os.write(write, whole[400:])
    os.close(write)
    assert len(frames(ours.ends())) == 10


def every_cut_is_told_with_its_offset():
    """A file that ends anywhere: all frames before, and where the damage is."""
    order = "<"
    ng = section(order) + interface(order)
    ends = [len(ng)]
    for number, (time, packet) in enumerate(datagrams(4)):
        ng += packet_block(order, 0, time // 1000, ethernet(packet))
        ends.append(len(ng))
    whole = pcap(datagrams(4))
    with directory() as room:
        for name, data in (("cut.pcap", whole), ("cut.pcapng", ng)):
            for length in [*range(0, len(data), 1 if name == "cut.pcap" else 3), len(data)]:
                path = written(room, name, data[:length])
                ours = subprocess.run([PACKHORSE, "watch", path], capture_output=True, timeout=20)
                assert ours.returncode in (0, 6), (length, ours)
                assert b"panicked" not in ours.stderr, ours.stderr
                if ours.returncode == 6 and b"not a capture" not in ours.stderr:
                    offset = int(ours.stderr.split(b"damaged at offset ")[1].split(b":")[0])
                    assert offset <= length, (offset, length)
            assert ours.returncode == 0 and ours.stdout.count(b"\n") == 4, ours


def random_damage_is_told_and_harms_nobody():
    given = os.environ.get("PACKHORSE_TEST_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(1 << 32)
    print(f"to have the same again: PACKHORSE_TEST_SEED={seed}")
    rng = random.Random(seed)
    order = "<"
    ng = section(order) + interface(order, resolution=9)
    for time, packet in datagrams(20):
        ng += packet_block(order, 0, time, ethernet(packet))
    with directory() as room:
        for _ in range(150):
            data = bytearray(rng.choice([pcap(datagrams(20)), ng]))
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.choice([0, 255, 127, rng.randrange(256)])
            for view in ([], ["--streams"], ["--follow", "udp:0"]):
                path = written(room, "damaged", bytes(data))
                ours = subprocess.run([PACKHORSE, "watch", path, *view], capture_output=True, timeout=20)
                assert ours.returncode in (0, 1, 2, 6), ours
                assert b"panicked" not in ours.stderr, ours.stderr


def lying_lengths_cost_no_memory():
    huge = pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFF0, 0xFFFFFFF0)
    block_of = section("<") + struct.pack("<III", 6, 0x7FFFFFF0, 0)
    with directory() as room:
        for name, data in (("huge.pcap", huge), ("huge.pcapng", block_of)):
            path = written(room, name, data)
            command = ["/bin/sh", "-c", 'ulimit -v 200000; exec "$@"', "sh", PACKHORSE, "watch", path]
            ours = subprocess.run(command, capture_output=True, timeout=20)
            assert ours.returncode == 6 and b"longer than the limit" in ours.stderr, ours


def what_is_no_capture_is_said():
    with directory() as room:
        for name, data in (("empty", b""), ("text", b"hello, this is a text and no capture\n"),
                           ("short", b"\xd4\xc3\xb2\xa1")):
            ours = Running("watch", written(room, name, data)).ends(6)
            ours.says("not a capture")


if __name__ == "__main__":
    run(globals())
