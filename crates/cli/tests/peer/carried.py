"""Messages against the segments that carried them: layouts that Python made and knows, and what it did to make them."""

import random

import s11
import segments
from s02 import Made
from segments import ACK, FIN, PSH, SYN, Capture, ethernet, ip
from talking import *

FRAMINGS = {
    "u32be": lambda payload: len(payload).to_bytes(4, "big") + payload,
    "u16le": lambda payload: len(payload).to_bytes(2, "little") + payload,
    "line": lambda payload: payload.replace(b"\n", b"n").replace(b"\r", b"r") + b"\n",
    "fixed:64": lambda payload: (payload + bytes(64))[:64],
}


def found(path, framing, stream="0", code=0):
    ours = s11.objects(s11.packhorse(path, "--messages", stream, "--frame", framing, "--json", code=code))
    by = lambda name: [event for event in ours if event["event"] == name]
    (summary,) = by("summary")
    return by("message"), by("lost"), summary


def causes(messages, what):
    return [[evidence["cause"] for evidence in message[what]] for message in messages]


def cut(rng, data, most):
    """Pieces of any sizes."""
    at = 0
    while at < len(data):
        size = rng.randrange(1, most + 1)
        yield at, data[at:at + size]
        at += size


def every_layout_is_told():
    """Messages and segments of any sizes, some segments twice, some overtaken: who carried what is known."""
    for seed in s11.seeds(12):
        rng = random.Random(seed)
        with directory() as room:
            framing = rng.choice(list(FRAMINGS))
            frames = [FRAMINGS[framing](rng.randbytes(rng.choice([0, 1, 10, 100, 3000]))) for _ in range(120)]
            data = b"".join(frames)
            made = Made(f"{room}/c.pcap").opened()
            pieces = list(cut(rng, data, rng.choice([20, 300, 1400])))
            carriers = []
            order = list(range(len(pieces)))
            for at in range(0, len(order) - 3, 9):
                if rng.random() < 0.4:
                    order[at:at + 3] = rng.sample(order[at:at + 3], 3)
            number = 3
            for index in order:
                at, piece = pieces[index]
                for again in range(1 + (rng.random() < 0.1)):
                    number += 1
                    made.add(0, (1001 + at) & 0xFFFFFFFF, 5001, ACK | PSH, piece)
                    if not again:
                        carriers.append((number, at, at + len(piece)))
            made.capture.close()
            messages, lost, summary = found(made.path, framing)
            assert not lost and len(messages) == len(frames), (lost, len(messages), len(frames))
            begins = [sum(map(len, frames[:n])) for n in range(len(frames))]
            shared = lambda begin, end: sum(
                1 for b, f in zip(begins, frames) if b < end and begin < b + len(f))
            shapes = {"alone": 0, "glued": 0, "split": 0, "both": 0}
            for message, begin, frame in zip(messages, begins, frames):
                end = begin + len(frame)
                expected = sorted([(max(b, begin), min(e, end), n) for n, b, e in carriers if b < end and begin < e])
                got = [(s["begin"], s["end"], s["frame"]) for s in message["segments"]]
                assert got == expected, (message, expected)
                assert (message["begin"], message["end"]) == (begin, end)
                split = len(expected) > 1
                glued = any(shared(b, e) > 1 for _, b, e in carriers if b < end and begin < e)
                shape = {(0, 0): "alone", (1, 0): "glued", (0, 1): "split", (1, 1): "both"}[glued, split]
                assert message["shape"] == shape, (message, shape)
                shapes[shape] += 1
            told = summary["to_server"]
            assert {name: told[name] for name in shapes} == shapes and told["messages"] == len(frames)
            assert told["segments"] == len(pieces)


def each_cause_is_told_with_its_evidence():
    u32 = FRAMINGS["u32be"]
    with directory() as room:
        # Nagle: small writes left together when the acknowledgment came.
        made = Made(f"{room}/c.pcap").opened()
        first, rest = u32(b"first"), b"".join(u32(b"message %d" % n) for n in range(5))
        made.add(0, 1001, 5001, ACK | PSH, first)
        made.add(1, 5001, 1001 + len(first), ACK, after=40_000_000)
        made.add(0, 1001 + len(first), 5001, ACK | PSH, rest, after=20_000)
        made.capture.close()
        messages, _, summary = found(made.path, "u32be")
        assert causes(messages, "glued") == [[]] + [["nagle"]] * 5, messages
        because = messages[1]["glued"][0]["because"]
        assert "frame 4" in because and "frame 5" in because and "40000 µs" in because, because
        assert summary["to_server"]["glue_causes"] == [{"cause": "nagle", "count": 1}]
        # Cut at the MSS.
        made, message = Made(f"{room}/c.pcap").opened(), u32(bytes(4000))
        for at in range(0, len(message), 1460):
            made.add(0, 1001 + at, 5001, ACK, message[at:at + 1460])
        made.capture.close()
        messages, _, _ = found(made.path, "u32be")
        assert causes(messages, "split") == [["mss", "mss"]], messages
        # A super-frame.
        made = Made(f"{room}/c.pcap").opened()
        made.add(0, 1001, 5001, ACK, u32(bytes(3000)) + u32(bytes(3000)))
        made.capture.close()
        messages, _, _ = found(made.path, "u32be")
        assert causes(messages, "glued") == [["offload"], ["offload"]], messages
        assert "1460" in messages[0]["glued"][0]["because"]
        # Sent again in other pieces.
        made, written = Made(f"{room}/c.pcap").opened(), [u32(b"one"), u32(b"two"), u32(b"three")]
        made.add(0, 1001, 5001, ACK, written[0])
        made.add(0, 1001, 5001, ACK, b"".join(written), after=300_000_000)
        made.capture.close()
        messages, _, _ = found(made.path, "u32be")
        assert causes(messages, "glued") == [[], ["repacked"], ["repacked"]], messages
        assert "sent in frame 4 before" in messages[1]["glued"][0]["because"]
        # The receiver's window.
        made, message = Made(f"{room}/c.pcap").opened(), u32(bytes(996))
        made.add(1, 5001, 1001, ACK, window=600)
        made.add(0, 1001, 5001, ACK, message[:600])
        made.add(1, 5001, 1601, ACK, window=0)
        made.add(1, 5001, 1601, ACK, window=5000, after=500_000_000)
        made.add(0, 1601, 5001, ACK, message[600:] + u32(b"more"), after=10_000)
        made.capture.close()
        messages, _, _ = found(made.path, "u32be")
        assert causes(messages, "split") == [["window"], []], messages
        assert causes(messages, "glued")[1] == ["window"], messages
        # What the capture does not show is not told: two writes, or one?
        made = Made(f"{room}/c.pcap").opened()
        made.add(0, 1001, 5001, ACK, u32(b"a") + u32(b"b"))
        made.capture.close()
        messages, _, _ = found(made.path, "u32be")
        assert causes(messages, "glued") == [["unknown"], ["unknown"]], messages


def what_is_missing_is_told():
    with directory() as room:
        # Lines are found again behind a gap, lengths are not.
        for framing, after in (("line", True), ("u32be", False)):
            frames = [FRAMINGS[framing](b"message %02d" % n) for n in range(9)]
            made = Made(f"{room}/c.pcap").opened()
            at = 0
            for number, frame in enumerate(frames):
                if number != 3:
                    made.add(0, 1001 + at, 5001, ACK | PSH, frame)
                at += len(frame)
            made.add(1, 5001, 1001 + at, ACK)
            made.capture.close()
            messages, lost, _ = found(made.path, framing, code=1)
            assert [event["offset"] for event in lost] == [sum(map(len, frames[:3]))], lost
            # The line behind the gap may have begun within it.
            assert len(messages) == (3 + 4 if after else 3), messages
        # A length that no message has.
        made = Made(f"{room}/c.pcap").opened()
        made.add(0, 1001, 5001, ACK, b"\xff\xff\xff\xff whatever")
        made.capture.close()
        messages, (failure,), _ = found(made.path, "u32be", code=1)
        assert messages == [] and failure["offset"] == 0


def datagrams_are_messages():
    with directory() as room:
        capture = Capture(f"{room}/c.pcap")
        for number in range(3):
            capture.add(10**18 + number, ethernet(ip("192.0.2.1", "192.0.2.2", 17, segments.udp(5000, 5001, b"m%d" % number))))
        capture.close()
        messages, _, summary = found(f"{room}/c.pcap", "line", "udp:0")
        assert [base64.b64decode(m["preview"]) for m in messages] == [b"m0", b"m1", b"m2"]
        assert summary["to_server"]["alone"] == 3


def real_sockets_with_nagle_and_without():
    """In a network of its own: what the sender did with TCP_NODELAY is what is seen."""
    inside = ["unshare", "--map-root-user", "--net", sys.executable, "-B", __file__, PACKHORSE, "inside_a_network"]
    subprocess.run(inside, check=True)


def inside_a_network():
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500", "up"], check=True)
    with directory() as room:
        path = f"{room}/c.pcapng"
        watching = Running("watch", "--interface", "lo", "--filter", "tcp", "--write", path, "--json")
        server, _ = tcp_server()
        port = server.getsockname()[1]
        until = time.monotonic() + DEADLINE
        while not watching.out:
            assert time.monotonic() < until, watching.err
            reset(probe(server))
        used = set()
        for nodelay in (1, 0):
            client = tcp_client(("127.0.0.1", port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
            used.add(client.getsockname()[1])
            accepted, _ = server.accept()
            accepted.settimeout(DEADLINE)
            # It acknowledges late, as a receiver does that has been quick for a while.
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            for number in range(8):
                client.sendall(FRAMINGS["u32be"](b"message %d" % number))
            client.close()
            read_all(accepted)
            accepted.close()
        ends = lambda: [frame for frame in watching.events("frame")
                        if frame["flags"] & FIN and used & {frame["source_port"], frame["destination_port"]}]
        watching.until(lambda: len(ends()) >= 4, "both ends of both streams")
        watching.stop()
        watching.ends(0)
        streams = s11.objects(s11.packhorse(path, "--streams", "--json"))
        streams = [stream for stream in streams if stream["to_server"]["payload_bytes"]]
        shapes = []
        for stream in streams:
            messages, lost, summary = found(path, "u32be", str(stream["stream"]))
            assert len(messages) == 8 and not lost
            shapes.append(summary["to_server"])
        without, with_nagle = shapes
        assert without["alone"] == 8, without
        # How many waited depends on when the acknowledgment came; those that left together did so for it.
        assert with_nagle["glued"] >= 2 and [c["cause"] for c in with_nagle["glue_causes"]] == ["nagle"], with_nagle


def probe(server):
    """A connection that only shows that it watches."""
    client = tcp_client(server.getsockname())
    accepted, _ = server.accept()
    accepted.close()
    return client


if __name__ == "__main__":
    run(globals())
