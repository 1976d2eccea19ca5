"""Streams of captures, judged by tshark: numbers, counts, analysis, and their bytes."""

import base64
import random
import shutil
import struct
from collections import Counter, defaultdict

import segments
from segments import ACK, FIN, RST, SYN, Capture, ethernet, fragments, ipv4, ip, tcp, udp
from talking import *

# Our counter, and the field that tshark sets on each frame that it counts.
ANALYSIS = {
    "retransmissions": "tcp.analysis.retransmission",
    "fast_retransmissions": "tcp.analysis.fast_retransmission",
    "spurious_retransmissions": "tcp.analysis.spurious_retransmission",
    "out_of_order": "tcp.analysis.out_of_order",
    "previous_not_captured": "tcp.analysis.lost_segment",
    "acks_of_unseen": "tcp.analysis.ack_lost_segment",
    "duplicate_acks": "tcp.analysis.duplicate_ack",
    "zero_windows": "tcp.analysis.zero_window",
    "windows_full": "tcp.analysis.window_full",
    "zero_window_probes": "tcp.analysis.zero_window_probe",
    "keep_alives": "tcp.analysis.keep_alive",
}


def seeds(count):
    given = os.environ.get("PACKHORSE_TEST_SEED")
    first = int(given) if given else random.SystemRandom().randrange(1 << 32)
    for seed in range(first, first + (1 if given else count)):
        print(f"to have the same again: PACKHORSE_TEST_SEED={seed}")
        yield seed


def packhorse(*arguments, code=0):
    """Runs it to its end; `None`: it may find that something is missing in the capture."""
    ours = Running("watch", *arguments)
    return ours.ends(code if code is not None else ours.process.wait() & 1)


def objects(ours):
    return [json.loads(line) for line in ours.out.decode().splitlines()]


def tshark(path, *arguments):
    command = ["tshark", "-n", "-r", path, *arguments]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return ended.stdout.decode()


def fields(path, *names, only=""):
    """A row of texts for each frame."""
    asked = [part for name in names for part in ("-e", name)]
    text = tshark(path, "-Y", only, "-T", "fields", "-E", "separator=|", "-E", "occurrence=l", *asked)
    return [line.split("|") for line in text.splitlines()]


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def counted_by_tshark(path):
    """What tshark says of each conversation and sender."""
    names = ["tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "frame.len", "tcp.len",
             "tcp.flags", "tcp.analysis.ack_rtt", "frame.time_epoch", *ANALYSIS.values()]
    streams = defaultdict(lambda: defaultdict(Counter))
    rtts = defaultdict(list)
    for row in fields(path, *names, only="tcp"):
        number, v4, v6, port, length, payload, flags, rtt, _, *analysis = row
        sender = endpoint(v4 or v6, port)
        counts = streams[int(number)][sender]
        counts["packets"] += 1
        counts["bytes"] += int(length)
        counts["payload_bytes"] += int(payload or 0)
        counts["resets"] += bool(int(flags, 16) & RST)
        counts["fins"] += bool(int(flags, 16) & FIN)
        for ours, said in zip(ANALYSIS, analysis):
            counts[ours] += said != ""
        if rtt:
            rtts[int(number), sender].append(round(float(rtt) * 1e9))
    return streams, rtts


def agrees(path):
    """Compares each conversation; how often each thing happened, so that tests see that it did."""
    theirs, rtts = counted_by_tshark(path)
    ours = [found for found in objects(packhorse(path, "--streams", "--json"))
            if found["protocol"] == "tcp"]
    assert [found["stream"] for found in ours] == sorted(theirs), (
        len(ours), len(theirs))
    total = Counter()
    for found in ours:
        number = found["stream"]
        for way, sender, other in (("to_server", found["client"], found["server"]),
                                   ("to_client", found["server"], found["client"])):
            expected = theirs[number][sender]
            for name in ["packets", "bytes", "payload_bytes", "resets", "fins", *ANALYSIS]:
                got = found[way][name]
                assert got == expected[name], (
                    f"stream {number}, from {sender}: {name} is {got}, tshark has {expected[name]}")
            total += expected
            # Round trips are told by who acknowledges.
            expected = rtts[number, other]
            got = found[way]["ack_rtt"]
            assert (got["count"] if got else 0) == len(expected), (number, sender, got, expected)
            if expected:
                assert (got["min_ns"], got["max_ns"]) == (min(expected), max(expected)), number
                assert abs(got["mean_ns"] - sum(expected) / len(expected)) <= 1, number
        assert found["packets"] == sum(side["packets"] for side in theirs[number].values())
    return total


def streams_are_counted_as_tshark_counts_them():
    seen = Counter()
    for seed in seeds(6):
        with tempfile.TemporaryDirectory() as room:
            path = f"{room}/capture.pcap"
            segments.random_streams(path, seed, steps=5000)
            seen += agrees(path)
    rare = [name for name in ANALYSIS if seen[name] < 20]
    assert not rare or os.environ.get("PACKHORSE_TEST_SEED"), (rare, seen)


def followed_by_tshark(path, number):
    """Who sent first, and what it and the other side said."""
    text = tshark(path, "-q", "-z", f"follow,tcp,raw,{number}")
    lines = text.splitlines()
    first = next(line for line in lines if line.startswith("Node 0: "))[8:]
    said = [b"", b""]
    body = lines[lines.index(next(line for line in lines if line.startswith("Node 1: "))) + 1:]
    for line in body:
        if line.startswith("="):
            break
        said[line.startswith("\t")] += bytes.fromhex(line.strip())
    return first, said


def sent_before_the_capture(path, number, client):
    """Bytes of each direction's first data that the other side had acknowledged before it was seen.

    A capture that begins in the middle may begin a direction with a keep-alive: a byte from before, made up. tshark follows
    it as the first of the stream.
    """
    names = ("ip.src", "ipv6.src", "tcp.srcport", "tcp.seq_raw", "tcp.len", "tcp.ack_raw", "tcp.flags.syn", "tcp.flags.ack")
    acknowledged, before = {}, {"to_server": 0, "to_client": 0}
    begun = set()
    for v4, v6, port, seq, length, ack, syn, has_ack in fields(path, *names, only=f"tcp.stream == {number}"):
        way = "to_server" if endpoint(v4 or v6, port) == client else "to_client"
        other = "to_client" if way == "to_server" else "to_server"
        if way not in begun and (int(length) or syn == "1"):
            begun.add(way)
            known = acknowledged.get(way)
            if syn != "1" and known is not None:
                behind = (known - int(seq)) % (1 << 32)
                before[way] = min(behind, int(length)) if behind < 1 << 31 else 0
        if has_ack == "1":
            acknowledged.setdefault(other, int(ack))
    return before


def streams_are_followed_as_tshark_follows_them():
    for seed in seeds(1):
        with tempfile.TemporaryDirectory() as room:
            path = f"{room}/capture.pcap"
            segments.random_streams(path, seed, steps=1500)
            streams = [found for found in objects(packhorse(path, "--streams", "--json"))
                       if found["protocol"] == "tcp"]
            for number, client in [(found["stream"], found["client"]) for found in streams]:
                first, (up, down) = followed_by_tshark(path, number)
                if first != client:
                    # Where the capture begins with a SYN-ACK, tshark takes its sender for the client.
                    up, down = down, up
                got = {"to_server": b"", "to_client": b""}
                # 1: something is missing in the capture.
                for piece in objects(packhorse(path, "--follow", str(number), "--json", code=None)):
                    way = piece["direction"]
                    if "missing" in piece:
                        got[way] += b"[%d bytes missing in capture file]\0" % piece["missing"]
                    else:
                        got[way] += base64.b64decode(piece["bytes"])
                before = sent_before_the_capture(path, number, client)
                for way, theirs in (("to_server", up), ("to_client", down)):
                    if not got[way].startswith(theirs):
                        theirs = theirs[before[way]:]
                    # What still waits for a gap at the end is given by us and not by tshark.
                    assert got[way].startswith(theirs), (seed, number, way)


def a_long_stream_is_byte_for_byte_what_was_sent():
    """Numbers wrap, segments are lost, swapped and repeated; what was sent is known."""
    for seed in seeds(3):
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory() as room:
            path = f"{room}/capture.pcap"
            capture = Capture(path)
            stream = segments.Stream(rng, ("192.0.2.1", 40000), ("192.0.2.2", 9000))
            frames = stream.handshake()
            waiting = []
            for _ in range(4000):
                who = rng.randrange(2)
                frame = stream.data(who, rng.choice([1, 100, 1460, 65000]))
                if rng.random() < 0.2:
                    waiting.append(frame)
                else:
                    frames.append(frame)
                if waiting and rng.random() < 0.2:
                    rng.shuffle(waiting)
                    frames += waiting
                    waiting = []
                if rng.random() < 0.1:
                    frames.append(rng.choice(frames[-50:]))
            for at, frame in enumerate(frames + waiting):
                capture.add(10**18 + at * 1000, frame)
            capture.close()
            packhorse(path, "--follow", "0", f"--raw={room}/said")
            for side, name in zip(stream.sides, ("client", "server")):
                with open(f"{room}/said.{name}", "rb") as said:
                    assert said.read() == bytes(side.data), (seed, name)


def udp_conversations_are_numbered_as_tshark_numbers_them():
    for seed in seeds(2):
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory() as room:
            path = f"{room}/capture.pcap"
            capture = Capture(path)
            for at in range(3000):
                client, server = segments.hosts(rng, rng.choice([4, 6]))
                if rng.random() < 0.5:
                    client, server = server, client
                payload = rng.randbytes(rng.randrange(0, 3000))
                datagram = udp(client[1], server[1], payload)
                if len(payload) > 1400 and ":" not in client[0]:
                    pieces = fragments(client[0], server[0], 17, datagram, at & 0xFFFF, 1480)
                    rng.shuffle(pieces)
                    if rng.random() < 0.2:
                        pieces.pop()
                else:
                    pieces = [ip(client[0], server[0], 17, datagram)]
                for piece in pieces:
                    capture.add(10**18 + at * 10**6, ethernet(piece))
            capture.close()
            theirs = defaultdict(Counter)
            rows = fields(path, "udp.stream", "ip.src", "ipv6.src", "udp.srcport", "udp.length",
                          only="udp")
            for number, v4, v6, port, length in rows:
                counts = theirs[int(number)]
                counts[endpoint(v4 or v6, port)] += 1
                counts["payload"] += int(length) - 8
            ours = objects(packhorse(path, "--streams", "--json"))
            assert [found["stream"] for found in ours] == sorted(theirs)
            for found in ours:
                counts = theirs[found["stream"]]
                assert found["to_server"]["packets"] == counts[found["client"]], found
                assert found["to_client"]["packets"] == counts[found["server"]], found
                payload = found["to_server"]["payload_bytes"] + found["to_client"]["payload_bytes"]
                assert payload == counts["payload"], found


def segments_in_fragments_are_put_together():
    for seed in seeds(1):
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory() as room:
            path = f"{room}/capture.pcap"
            capture = Capture(path)
            sequence, now, sent = 2**32 - 50_000, 10**18, b""
            for at in range(500):
                payload = rng.randbytes(rng.randrange(1, 4000))
                segment = tcp(40000, 9000, sequence, 7, ACK, 1000, payload)
                pieces = fragments("192.0.2.1", "192.0.2.2", 6, segment, at, 1480)
                rng.shuffle(pieces)
                for piece in pieces:
                    now += 1000
                    capture.add(now, ethernet(piece))
                sequence, sent = sequence + len(payload), sent + payload
            capture.close()
            agrees(path)
            _, (theirs, _) = followed_by_tshark(path, 0)
            ours = packhorse(path, "--follow", "0", "--raw").out
            assert ours == sent == theirs, seed


def errors_quote_streams_that_count():
    """An ICMP error quotes a packet; where its stream was not seen before, it takes a number."""
    with tempfile.TemporaryDirectory() as room:
        path = f"{room}/capture.pcap"
        capture = Capture(path)
        quoted = [ipv4("192.0.2.1", "192.0.2.9", 17, udp(5000 + at, 53, b"question")) for at in range(3)]
        quoted.append(ipv4("192.0.2.1", "192.0.2.9", 6, tcp(5000, 80, 1, 2, ACK, 9, b"hello")))
        for at, packet in enumerate(quoted):
            error = b"\x03\x03\0\0\0\0\0\0" + packet
            capture.add(10**18 + at * 10**6, ethernet(ipv4("192.0.2.9", "192.0.2.1", 1, error)))
        capture.add(10**18 + 10**7, ethernet(ipv4("192.0.2.1", "192.0.2.9", 17, udp(7000, 53, b"x"))))
        capture.add(10**18 + 10**7, ethernet(ipv4("192.0.2.1", "192.0.2.9", 6, tcp(7000, 80, 1, 2, ACK, 9))))
        capture.close()
        rows = fields(path, "udp.stream", "tcp.stream", only="not icmp")
        assert rows == [["3", ""], ["", "1"]], rows
        numbers = {found["protocol"]: found["stream"] for found in objects(
            packhorse(path, "--streams", "--json")) if found["packets"]}
        assert numbers == {"udp": 3, "tcp": 1}, numbers


def frames_that_were_cut_count_for_what_they_were():
    for seed in seeds(1):
        with tempfile.TemporaryDirectory() as room:
            whole, cut = f"{room}/whole.pcap", f"{room}/cut.pcap"
            segments.random_streams(whole, seed, steps=2000)
            subprocess.run(["editcap", "-s", "96", whole, cut], check=True)
            agrees(cut)


def a_million_half_open_streams_stay_in_bounds():
    """More SYNs from everywhere than conversations are kept: each is told once, and memory has its limit."""
    count = (1 << 20) + 50_000
    ends = ethernet(b"\x45" + bytes(19))[:14]
    with directory() as room:
        path = f"{room}/syns.pcap"
        capture = Capture(path)
        for number in range(count):
            header = struct.pack("!BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 6, 0, 0x0A000000 + number, 0xC0000201)
            syn = struct.pack("!HHIIBBHHH", 1000, 80, number, 0, 0x50, SYN, 100, 0, 0)
            capture.add(number * 1000, ends + header + syn)
        capture.close()
        ours = subprocess.Popen([PACKHORSE, "watch", path, "--streams", "--json"], stdout=subprocess.PIPE)
        told = sum(chunk.count(b"\n") for chunk in iter(lambda: ours.stdout.read1(1 << 20), b""))
        _, status, used = os.wait4(ours.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0 and told == count, (status, told)
        assert used.ru_maxrss < 1 << 20, f"{used.ru_maxrss} KiB"


def no_such_stream_is_said():
    with tempfile.TemporaryDirectory() as room:
        path = f"{room}/capture.pcap"
        segments.random_streams(path, 1, steps=10)
        ours = packhorse(path, "--follow", "999", code=2)
        ours.says("no stream 999")
        ours.says("--streams lists")


if __name__ == "__main__":
    run(globals())
