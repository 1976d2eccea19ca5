"""Ledgers: what packhorse says it wrote and read, against what its peers counted and tshark saw.

The ledger is read here by docs/watch.md alone: pcapng by its blocks, records by their fields.
"""

import ipaddress
import random
import struct
from pathlib import Path

from talking import *

LEDGER = "packhorse ledger v1"
WRITE, READ = 0, 1
UNKNOWN = 2**64 - 1


class Cut(Exception):
    """A block that is not whole begins at this offset."""


def blocks(data):
    """Types and bodies; whole ones only."""
    at, order = 0, "<"
    while at < len(data):
        if at + 12 > len(data):
            raise Cut(at)
        kind, size = struct.unpack_from(order + "II", data, at)
        if kind == 0x0A0D0D0A:
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            (size,) = struct.unpack_from(order + "I", data, at + 4)
        if at + size > len(data):
            raise Cut(at)
        assert struct.unpack_from(order + "I", data, at + size - 4) == (size,)
        yield order, kind, data[at + 8 : at + size - 4]
        at += size


def whole_blocks(data):
    """Bytes before a last block that is cut."""
    try:
        return sum(12 + len(body) for _, _, body in blocks(data))
    except Cut as cut:
        return cut.args[0]


def options(order, data):
    while data:
        code, size = struct.unpack_from(order + "HH", data)
        if code == 0:
            return
        yield code, data[4 : 4 + size]
        data = data[4 + size + -size % 4 :]


def address(family, packed, port):
    size = {4: 4, 6: 16}[family]
    return str(ipaddress.ip_address(packed[:size])), port


def calls(path):
    """The calls of a ledger, as dictionaries, in its order."""
    found, interfaces, missed = [], [], 0
    for order, kind, body in blocks(Path(path).read_bytes()):
        if kind == 1:
            (link,) = struct.unpack_from(order + "H", body)
            told = dict(options(order, body[8:]))
            assert (link, told[2].decode(), told[9]) == (147, LEDGER, b"\x09")
            interfaces.append(link)
        elif kind == 5:
            missed = struct.unpack(order + "Q", dict(options(order, body[12:]))[5])[0]
        elif kind == 6:
            number, high, low, size, whole = struct.unpack_from(order + "IIIII", body)
            assert number < len(interfaces) and size == whole
            found.append(call(high << 32 | low, body[20 : 20 + size]))
    assert missed == 0
    return found


def call(time, record):
    version, kind, flags, family, process = struct.unpack_from(">BBBBI", record)
    assert version == 1 and kind in (WRITE, READ)
    local, peer, local_port, peer_port = struct.unpack_from(">16s16sHH", record, 8)
    connection, offset, asked, outcome, duration = struct.unpack_from(">QQQqQ", record, 44)
    one = {
        "time": time, "kind": kind, "process": process, "connection": connection,
        "offset": offset, "asked": asked, "done": max(outcome, 0), "outcome": outcome,
        "duration": duration, "local": None, "peer": None, "info": None,
    }
    if family:
        one["local"] = address(family, local, local_port)
        one["peer"] = address(family, peer, peer_port)
    assert len(record) == 84 + 80 * (flags & 1)
    if flags & 1:
        names = "rtt rttvar cwnd ssthresh unacked not_sent retransmits mss send_window receive_window send_queue receive_queue"
        one["info"] = dict(zip(names.split(), struct.unpack_from(">12I", record, 84)))
        names = "bytes_sent bytes_retransmitted bytes_acked bytes_received"
        one["info"] |= dict(zip(names.split(), struct.unpack_from(">4Q", record, 132)))
    return one


def of(ledger, kind, connection=None):
    """The calls of one kind; their offsets follow each other."""
    chosen = [c for c in ledger if c["kind"] == kind and connection in (None, c["connection"])]
    at = 0
    for one in chosen:
        assert one["offset"] == at, one
        assert one["done"] <= one["asked"], one
        at += one["done"]
    return chosen


def total(ledger, kind, connection=None):
    return sum(one["done"] for one in of(ledger, kind, connection))


def agree_with_the_kernel(ledger):
    """What was handed over is what the kernel has sent, and what it has not sent yet."""
    told = 0
    for one in ledger:
        info = one["info"]
        if info and one["kind"] == WRITE and info["bytes_sent"] != UNKNOWN:
            sent = info["bytes_sent"] - info["bytes_retransmitted"] + info["not_sent"]
            assert sent == one["offset"] + one["done"], one
            told += 1
        if info and one["kind"] == READ and one["done"] and info["bytes_received"] != UNKNOWN:
            # More may have come between the call and the question, and the end counts as a byte. The kernel looks at
            # the queue first (tcp_diag_get_info), and takes the lock of the socket only then: what comes between
            # the two is in the second figure alone.
            read = one["offset"] + one["done"]
            assert info["bytes_received"] - info["receive_queue"] >= read, one
            assert info["bytes_received"] <= total(ledger, READ, one["connection"]) + 1, one
            told += 1
    assert told, "TCP_INFO stands at no call"


def judged_by_tshark(path, count):
    told = subprocess.run(
        ["tshark", "-r", path, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len"],
        capture_output=True, text=True, check=True,
    )
    assert len(told.stdout.splitlines()) == count, (told.stdout, count)


def echo(server, heard):
    """Serves one client: what comes goes back, in pieces of another size."""
    sock, heard["address"] = server.accept()
    sock.settimeout(DEADLINE)
    size = 0
    while data := sock.recv(random.randrange(1, 5000)):
        size += len(data)
        sock.sendall(data)
    heard["bytes"] = size
    sock.close()


def a_client_counts_as_its_peer_does():
    seed = random.randrange(2**32)
    print("seed", seed)
    random.seed(seed)
    with directory() as place:
        path = f"{place}/ledger.pcapng"
        server, endpoint = tcp_server()
        heard = {}
        serving = threading.Thread(target=echo, args=(server, heard))
        serving.start()
        ours = Running("connect", endpoint, "--frame", "line", "--ledger", path)
        lines = ["x" * random.choice([0, 1, 40, 3000, 100_000]) for _ in range(60)]
        ours.type("".join(line + "\n" for line in lines))
        ours.ends(0)
        serving.join(DEADLINE)
        ledger = calls(path)
        assert total(ledger, WRITE) == total(ledger, READ) == heard["bytes"]
        assert heard["bytes"] == sum(len(line) + 1 for line in lines)
        host, port = heard["address"]
        assert {one["local"] for one in ledger} == {(host, port)}
        assert {one["peer"] for one in ledger} == {server.getsockname()}
        assert {one["process"] for one in ledger} == {ours.process.pid}
        assert [one["time"] for one in ledger] == sorted(one["time"] for one in ledger)
        now = time.time_ns()
        assert all(now - 10**9 * DEADLINE < one["time"] < now for one in ledger)
        # The end of the stream is a read of nothing.
        assert of(ledger, READ)[-1]["outcome"] == 0
        agree_with_the_kernel(ledger)
        judged_by_tshark(path, len(ledger))


def a_server_keeps_its_clients_apart():
    with directory() as place:
        path = f"{place}/ledger.pcapng"
        ours = Running("listen", "tcp://[::]:0", "--handler", "echo", "--json", "--ledger", path)
        port = ours.address()[1]
        clients = [tcp_client(("127.0.0.1", port)) for _ in range(7)]
        names, sizes = [], []
        for number, client in enumerate(clients):
            message = b"y" * (1 + number * 20_000)
            threading.Thread(target=client.sendall, args=(message,), daemon=True).start()
            assert len(exactly(client, len(message))) == len(message)
            names.append(client.getsockname())
            sizes.append(len(message))
        for client in clients:
            client.close()
        for number in range(7):
            ours.event("ended", number + 1)
        ours.stop()
        ours.ends(0)
        ledger = calls(path)
        by_name = {}
        for one in ledger:
            assert one["local"] == ("127.0.0.1", port), one
            by_name.setdefault(one["peer"], set()).add(one["connection"])
        assert all(len(connections) == 1 for connections in by_name.values())
        for name, size in zip(names, sizes):
            (connection,) = by_name[name]
            assert total(ledger, READ, connection) == total(ledger, WRITE, connection) == size
        agree_with_the_kernel(ledger)


def exactly(sock, length):
    data = b""
    while len(data) < length:
        chunk = sock.recv(length - len(data))
        assert chunk, "the stream ended"
        data += chunk
    return data


def with_tls_it_counts_what_is_on_the_socket():
    """Somebody in the middle counts what crosses."""
    with directory() as place:
        ours, theirs = f"{place}/ours.pcapng", f"{place}/theirs.pcapng"
        server = Running("listen", "tls://127.0.0.1:0", "--handler", "echo", "--json", "--ledger", theirs)
        address = server.address()
        pin = server.events("listening")[0]["pin"]
        middle, _ = tcp_server()
        counted = {}

        def pump(source, to, name):
            counted[name] = 0
            while data := source.recv(65536):
                counted[name] += len(data)
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)

        def between():
            client, _ = middle.accept()
            beyond = tcp_client(address)
            back = threading.Thread(target=pump, args=(beyond, client, "down"))
            back.start()
            pump(client, beyond, "up")
            back.join(DEADLINE)

        pumping = threading.Thread(target=between)
        pumping.start()
        port = middle.getsockname()[1]
        client = Running("connect", f"tls://127.0.0.1:{port}?pin={pin}", "--ledger", ours)
        client.type(b"z" * 50_000)
        client.ends(0)
        assert client.out == b"z" * 50_000
        pumping.join(DEADLINE)
        server.event("ended")
        server.stop()
        server.ends(0)
        assert counted["up"] > 50_000 and counted["down"] > 50_000
        assert total(calls(ours), WRITE) == total(calls(theirs), READ) == counted["up"]
        assert total(calls(ours), READ) == total(calls(theirs), WRITE) == counted["down"]


def sockets_without_tcp_are_logged_without_tcp_info():
    with directory() as place:
        for kind in ["udp", "unix", "seqpacket"]:
            path = f"{place}/{kind}.pcapng"
            where = {"udp": "udp://127.0.0.1:0"}.get(kind, f"{kind}:{place}/{kind}.socket")
            ours = Running("listen", where, "--handler", "echo", "--json", "--ledger", path)
            address = ours.address()
            family = socket.AF_INET if kind == "udp" else socket.AF_UNIX
            types = {"udp": socket.SOCK_DGRAM, "unix": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}
            client = socket.socket(family, types[kind])
            client.settimeout(DEADLINE)
            client.connect(address)
            for number in range(5):
                client.send(b"m" * (number + 1))
                assert len(client.recv(100)) == number + 1
            ours.stop()
            ours.ends(0)
            ledger = [one for one in calls(path) if one["done"]]
            for call in [READ, WRITE]:
                assert [one["done"] for one in of(ledger, call)] == [1, 2, 3, 4, 5]
            assert all(one["info"] is None for one in ledger)
            expected = client.getsockname() if kind == "udp" else None
            assert {one["peer"] for one in ledger} == {expected}, (kind, ledger)
            client.close()


def it_can_be_read_after_kill_9():
    with directory() as place:
        path = f"{place}/ledger.pcapng"
        server, endpoint = tcp_server()
        ours = Running("connect", endpoint, "--frame", "line", "--ledger", path)
        sock, _ = server.accept()
        sock.settimeout(DEADLINE)
        size = 0
        while os.stat(path).st_size < 20_000:
            ours.type("hello\n")
            size += len(exactly(sock, 6))
        ours.stop(signal.SIGKILL)
        ours.ends(-signal.SIGKILL)
        # A write that a kill finds at work ends at a page's end (generic_perform_write): the last block may be cut.
        with open(path, "rb+") as file:
            whole = whole_blocks(file.read())
            cut = file.tell() > whole
            ours = Running("watch", path, "--json").ends(6 if cut else 0)
            file.truncate(whole)
        ledger = calls(path)
        assert ours.out.count(b"\n") == len(ledger)
        assert 20_000 // 200 - 10 < len(ledger) and 0 < total(ledger, WRITE) <= size
        agree_with_the_kernel(ledger)
        judged_by_tshark(path, len(ledger))


def a_full_disk_ends_the_ledger_and_nothing_else():
    server, endpoint = tcp_server()
    heard = {}
    serving = threading.Thread(target=echo, args=(server, heard))
    serving.start()
    ours = Running("connect", endpoint, "--ledger", "/dev/full")
    ours.type(b"q" * 100_000)
    ours.until(lambda: len(ours.out) == 100_000)
    ours.until(lambda: b"ledger" in ours.err, "a warning")
    ours.type(b"q" * 1000)
    ours.ends(0).says("the ledger '/dev/full' ends here, the rest goes on")
    serving.join(DEADLINE)
    assert heard["bytes"] == len(ours.out) == 101_000


def a_place_that_cannot_be_written_is_said_before_anything_is_sent():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--ledger", "/nonexistent/ledger.pcapng")
    ours.ends(5).says("cannot write '/nonexistent/ledger.pcapng'")
    server.settimeout(0)
    try:
        server.accept()
        raise AssertionError("it connected")
    except BlockingIOError:
        pass


def tree(place):
    source = Path(place, "source")
    source.mkdir()
    for number in range(40):
        (source / f"file{number}").write_bytes(random.randbytes(random.choice([0, 1, 999, 70_000, 700_000])))
    return source


def a_transfer_is_logged_on_both_sides():
    seed = random.randrange(2**32)
    print("seed", seed)
    random.seed(seed)
    for how in [["--insecure"], []]:
        with directory() as place:
            source, to = tree(place), Path(place, "to")
            code = Path(place, "code")
            code.write_text("amber falcon river\n")
            how = how or ["--code-file", str(code)]
            theirs, ours = f"{place}/recv.pcapng", f"{place}/send.pcapng"
            receiver = Running("recv", str(to), "--listen", "127.0.0.1:0", "--events", "-", "--ledger", theirs, *how)
            address = receiver.event("listening")["addr"]
            sender = Running("send", str(source), address, "--ledger", ours, *how)
            sender.ends(0)
            receiver.ends(0)
            assert not subprocess.run(["diff", "-r", source, to / "source"]).returncode
            compare(calls(ours), calls(theirs), 2)


def compare(ours, theirs, connections):
    """Two ledgers of the same connections."""
    agree_with_the_kernel(ours)
    ends = {(one["local"], one["peer"]) for one in ours}
    assert len(ends) == connections, ends
    assert ends == {(one["peer"], one["local"]) for one in theirs}
    for local, peer in ends:
        of_ours = [one for one in ours if one["local"] == local]
        of_theirs = [one for one in theirs if one["peer"] == local]
        for there, back in [(WRITE, READ), (READ, WRITE)]:
            assert total(of_ours, there) == total(of_theirs, back), (local, peer, there)
        written = of(of_ours, WRITE)
        last = next(one for one in reversed(of_ours) if one["info"])
        sent = last["info"]["bytes_sent"] - last["info"]["bytes_retransmitted"] + last["info"]["not_sent"]
        assert sent == sum(one["done"] for one in written)


def classic_files_are_logged_on_both_sides():
    with directory() as place:
        file = Path(place, "file")
        file.write_bytes(random.randbytes(3_000_000))
        theirs, ours = f"{place}/recv.pcapng", f"{place}/send.pcapng"
        receiver = Running("recv", f"{place}/to", "--classic", "--listen", "127.0.0.1:0", "--events", "-", "--ledger", theirs)
        address = receiver.event("listening")["addr"]
        Running("send", "--classic", "md5", str(file), address, "--ledger", ours).ends(0)
        receiver.ends(0)
        compare(calls(ours), calls(theirs), 1)
        assert total(calls(ours), WRITE) > 3_000_000


def lanes_agree_with_tshark():
    """In a network of its own, where nothing else crosses."""
    inside = ["unshare", "-Urn", sys.executable, "-B", __file__, PACKHORSE, "inside_a_network"]
    subprocess.run(inside, check=True)


def inside_a_network():
    """A conversation of any sizes, captured, with the ledgers of both sides."""
    seed = random.randrange(2**32)
    print("seed", seed)
    random.seed(seed)
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500", "up"], check=True)
    with directory() as place:
        capture = f"{place}/capture.pcapng"
        watching = Running("watch", "--interface", "lo", "--write", capture, "--filter", "tcp", "--json")
        # It watches when it sees what is sent.
        probe = socket.create_server(("127.0.0.1", 0))
        until = time.monotonic() + DEADLINE
        while not watching.out:
            assert time.monotonic() < until, watching.err
            tcp_client(probe.getsockname()).close()
            time.sleep(0.01)
        server = Running("listen", "tcp://127.0.0.1:0", "--handler", "echo", "--json", "--ledger", f"{place}/server.pcapng")
        host, port = server.address()
        client = Running("connect", f"tcp://{host}:{port}", "--frame", "line", "--ledger", f"{place}/client.pcapng")
        for _ in range(50):
            client.type("x" * random.choice([0, 5, 1447, 1448, 5000, 60_000]) + "\n")
        client.ends(0)
        server.event("ended")
        server.stop()
        server.ends(0)
        ends = lambda: [
            frame for frame in watching.events("frame")
            if port in (frame["source_port"], frame["destination_port"]) and frame["flags"] & 1
        ]
        watching.until(lambda: len(ends()) >= 2, "both ends of the stream")
        watching.stop()
        watching.ends(0)
        fields = fields_of(capture, port)
        stream = fields[0]["stream"]
        lanes = Running(
            "watch", capture, "--lanes", stream, "--json",
            "--ledger", f"{place}/client.pcapng", "--ledger", f"{place}/server.pcapng",
        ).ends(0)
        judge(lanes.events(), fields, calls(f"{place}/client.pcapng"), calls(f"{place}/server.pcapng"), port)
        text = Running(
            "watch", capture, "--lanes", stream,
            "--ledger", f"{place}/client.pcapng", "--ledger", f"{place}/server.pcapng",
        ).ends(0)
        assert not text.err, text.err
        assert all(len(line) <= 80 for line in text.out.decode().splitlines()), text.out.decode()


def fields_of(capture, port):
    """What tshark says of the segments."""
    names = ["frame.number", "tcp.stream", "tcp.srcport", "tcp.seq", "tcp.len"]
    command = ["tshark", "-r", capture, "-Y", f"tcp.port == {port}", "-T", "fields"]
    for name in names:
        command += ["-e", name]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [dict(zip(["frame", "stream", "from", "seq", "len"], line.split("\t"))) for line in told.splitlines()]


def judge(events, fields, client, server, port):
    for direction, sender, receiver in [("to_server", client, server), ("to_client", server, client)]:
        own = [event for event in events if event.get("direction") == direction]
        segments = [event for event in own if event["event"] == "segment"]
        theirs = [row for row in fields if (int(row["from"]) == port) == (direction == "to_client") and int(row["len"])]
        assert [(s["frame"], s["offset"], s["len"]) for s in segments] == [
            (int(row["frame"]), int(row["seq"]) - 1, int(row["len"])) for row in theirs
        ]
        writes = [one for one in of(sender, WRITE) if one["done"]]
        reads = [one for one in of(receiver, READ) if one["done"]]

        def overlapping(segment, ledger):
            begin, end = segment["offset"], segment["offset"] + segment["len"]
            return [n for n, one in enumerate(ledger) if one["offset"] < end and begin < one["offset"] + one["done"]]

        for segment in segments:
            assert segment["writes"] == overlapping(segment, writes), segment
            assert segment["reads"] == overlapping(segment, reads), segment
        for name, ledger in [("write", writes), ("read", reads)]:
            told = [event for event in own if event["event"] == name]
            assert [(t["offset"], t["done"], t["time_ns"]) for t in told] == [
                (one["offset"], one["done"], one["time"]) for one in ledger
            ]
            for number, event in enumerate(told):
                carried = [s["frame"] for s in segments if number in s[name + "s"]]
                assert event["segments"] == carried, event
                assert event["tcp_info"] is None or event["tcp_info"]["mss"] == 1448, event
        assert segments and writes and reads


def a_capture_without_calls_is_told():
    with directory() as place:
        path = f"{place}/ledger.pcapng"
        server, endpoint = tcp_server()
        heard = {}
        serving = threading.Thread(target=echo, args=(server, heard))
        serving.start()
        Running("connect", endpoint, "--ledger", path, stdin=subprocess.DEVNULL).ends(0)
        serving.join(DEADLINE)
        Running("watch", path, "--lanes", "0", "--ledger", path).ends(2)
        empty = Path(place, "text")
        empty.write_text("no capture at all")
        from segments import ethernet, ipv4
        from captures import pcap

        segment = struct.pack(">HHIIBBHHH", 1, 2, 1, 0, 5 << 4, 2, 100, 0, 0)
        capture = Path(place, "capture.pcap")
        capture.write_bytes(pcap([(10**18, ipv4("192.0.2.1", "192.0.2.2", 6, segment))]))
        Running("watch", str(capture), "--lanes", "0", "--ledger", path).ends(0).says("has no calls between")
        for wrong in [str(empty), str(capture)]:
            Running("watch", str(capture), "--lanes", "0", "--ledger", wrong).ends(
                6 if wrong == str(empty) else 2
            ).says("is no ledger")


def the_demonstration_shows_what_it_says():
    for attempt in range(5):
        begun = time.monotonic()
        demo = Running("watch", "--demo", "--json", stdin=subprocess.DEVNULL)
        demo.process.wait()
        assert time.monotonic() - begun < 20
        # 1: a loaded machine showed something else, and said so.
        if demo.process.returncode != 1:
            break
    demo.ends(0)
    lessons = {event["lesson"]: event for event in demo.events("lesson")}
    assert list(lessons)[:4] == ["nagle", "nodelay", "late_reader", "large"], lessons

    def lane(name, lesson):
        return [e for e in demo.events(name) if e["lesson"] == lesson and e["direction"] == "to_server"]

    for name, lesson in lessons.items():
        assert lesson["shown"], lesson
        writes, reads = lane("write", name), lane("read", name)
        assert [w["done"] for w in writes] == lesson["messages"]
        assert sum(r["done"] for r in reads) == sum(lesson["messages"])
        assert all(w["tcp_info"]["bytes_sent"] is not None for w in writes)
    # Held while the first was unacknowledged, for as long as an acknowledgment is kept back.
    first, together = lane("segment", "nagle")
    assert (first["writes"], together["writes"]) == ([0], list(range(1, 8)))
    held = lane("write", "nagle")[1:]
    assert all(w["outstanding"] == 6 and w["tcp_info"]["not_sent"] > 0 for w in held)
    assert together["time_ns"] - held[0]["time_ns"] > 20_000_000
    assert str(together["frame"]) in lessons["nagle"]["why"] and "7 messages in one segment" in lessons["nagle"]["why"]
    # Each alone, though the one before may be unacknowledged.
    for name in ["nodelay", "late_reader"]:
        fresh = [s for s in lane("segment", name) if not s["notes"]]
        assert [s["writes"] for s in fresh] == [[n] for n in range(8)], fresh
    (read,) = lane("read", "late_reader")
    assert read["writes"] == list(range(8)) and read["asked"] == 65536
    assert all(w["outstanding"] == 6 * n for n, w in enumerate(lane("write", "late_reader")))
    mtu = lessons["large"]["mtu"]
    assert lessons["large"]["split"] == 2
    assert all(s["packet_len"] <= mtu for s in lane("segment", "large"))
    if "offload" in lessons:
        assert any(s["packet_len"] > mtu for s in lane("segment", "offload"))
    text = Running("watch", "--demo", stdin=subprocess.DEVNULL).ends
    text(0)


if __name__ == "__main__":
    run(globals())
