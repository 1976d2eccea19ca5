"""Messages that a stream glues and cuts, and frames that keep them apart."""

import random
import socket
import struct
import threading

from talking import *

MESSAGES = [b"", b"a", b"hello", "我接受到了".encode(), b"", b"x" * 200, b"end"]


def varint(length):
    out = b""
    while length >= 128:
        out += bytes([length & 127 | 128])
        length >>= 7
    return out + bytes([length])


FRAMES = {
    "line": lambda m: m + b"\n",
    "nul": lambda m: m + b"\0",
    "u8": lambda m: struct.pack("B", len(m)) + m,
    "u16be": lambda m: struct.pack(">H", len(m)) + m,
    "u16le": lambda m: struct.pack("<H", len(m)) + m,
    "u32be": lambda m: struct.pack(">I", len(m)) + m,
    "u32le": lambda m: struct.pack("<I", len(m)) + m,
    "u64be": lambda m: struct.pack(">Q", len(m)) + m,
    "u64le": lambda m: struct.pack("<Q", len(m)) + m,
    "i32le": lambda m: struct.pack("<i", len(m)) + m,
    "varint": lambda m: varint(len(m)) + m,
}


def unframed_messages_stick_together():
    """The lesson: three sends, and what arrives is one piece."""
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--eof", "close")
    connection, _ = server.accept()
    for text in ("one", "two", "three"):
        ours.type(text)
    ours.no_more_input()
    assert read_all(connection) == b"onetwothree"
    ours.ends(0)


def frames_arrive_whole_however_they_are_cut_and_glued():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    choice = random.Random(seed)
    for spec, frame in FRAMES.items():
        ours = Running("listen", "--once", "tcp://127.0.0.1:0", "--frame", spec, "--json")
        client = tcp_client(ours.address())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = b"".join(map(frame, MESSAGES))
        at = 0
        while at < len(wire):
            length = choice.choice([1, 2, 3, 7, 500])
            client.sendall(wire[at : at + length])
            at += length
        client.close()
        ours.ends(0)
        assert ours.messages() == MESSAGES, spec
        offset = 0
        for event, message in zip(ours.events("message"), MESSAGES):
            assert event["offset"] == offset, (spec, event)
            offset += len(frame(message))


def what_is_typed_is_framed():
    for spec, frame in FRAMES.items():
        server, endpoint = tcp_server()
        ours = Running("connect", endpoint, "--frame", spec)
        connection, _ = server.accept()
        lines = [m for m in MESSAGES if b"\n" not in m]
        ours.type(b"".join(line + b"\n" for line in lines))
        ours.no_more_input()
        assert read_all(connection) == b"".join(map(frame, lines)), spec
        connection.sendall(b"".join(map(frame, MESSAGES)))
        connection.close()
        ours.ends(0)
        assert ours.out == b"".join(m + b"\n" for m in MESSAGES), spec


def lies_about_lengths_are_refused():
    for spec, wire, said in (
        ("u32be", b"\0\0\0\1x" + b"\xff\xff\xff\xff", "16777216"),
        ("i32le", struct.pack("<i", -1), "negative"),
        ("u16be", b"\0\5abc", "5"),
    ):
        ours = Running("listen", "--once", "tcp://127.0.0.1:0", "--frame", spec)
        client = tcp_client(ours.address())
        client.sendall(wire)
        client.shutdown(socket.SHUT_WR)
        ours.ends(6).says("not framed as --frame says")
        client.close()


def hexadecimal_in_and_out():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--frame", "u8", "--hex")
    connection, _ = server.accept()
    ours.type("00 ff\n7a\n")
    ours.no_more_input()
    assert read_all(connection) == b"\2\0\xff\1z"
    connection.sendall(b"\3abc")
    connection.close()
    ours.ends(0)
    assert ours.out.startswith(b"00000000  61 62 63 "), ours.out


def pasted_lines_are_messages_of_their_own():
    server, endpoint = tcp_server()
    ours = Terminal("connect", endpoint, "--frame", "line")
    connection, _ = server.accept()
    ours.wait_for("> ")
    ours.type("\x1b[200~one\rtwo\x1b[201~\r")
    assert exactly(connection, 8) == b"one\ntwo\n"
    connection.close()
    ours.ends(0)
    # The terminal is told to mark pastes no more.
    assert ours.seen.rindex(b"\x1b[?2004l") > ours.seen.rindex(b"\x1b[?2004h")


def sockets_with_boundaries_need_no_frames():
    with directory() as place:
        for kind, family in (("unixgram", socket.SOCK_DGRAM), ("seqpacket", socket.SOCK_SEQPACKET)):
            name = f"{place}/{kind}.sock"
            ours = Running("listen", f"{kind}:{name}", "--json")
            ours.address()
            client = socket.socket(socket.AF_UNIX, family)
            client.settimeout(DEADLINE)
            if family == socket.SOCK_DGRAM:
                client.bind(f"{place}/client.sock")
            client.connect(name)
            for message in MESSAGES:
                client.send(message)
            ours.event("message", len(MESSAGES))
            assert ours.messages() == MESSAGES, kind
            ours.type("answer\n\n")
            assert client.recv(100) == b"answer"
            assert client.recv(100) == b""
            client.close()
            ours.stop()
            ours.ends(0)


def a_room_of_four_kinds_of_sockets():
    """Every message reaches all others, once, whatever socket they came through."""
    with directory() as place:
        ours = Running(
            "listen", "--json", "--handler", "broker", "--frame", "u16be",
            "tcp://127.0.0.1:0", "udp://127.0.0.1:0", f"unix:{place}/u", f"seqpacket:{place}/s",
        )
        ours.event("listening", 4)
        at = {event["kind"]: python_address(event["endpoint"]) for event in ours.events("listening")}
        peers = {}
        for kind, family, type_ in (
            ("tcp", socket.AF_INET, socket.SOCK_STREAM),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM),
            ("unix", socket.AF_UNIX, socket.SOCK_STREAM),
            ("seqpacket", socket.AF_UNIX, socket.SOCK_SEQPACKET),
        ):
            newcomer = socket.socket(family, type_)
            newcomer.settimeout(DEADLINE)
            newcomer.connect(at[kind])
            # Whoever was heard by the others is in the room.
            newcomer.send(frame16(b"hello"))
            for other in peers.values():
                assert receive16(other) == b"hello"
            ours.event("connected", len(peers) + 1)
            peers[kind] = newcomer
        for speaker, sock in peers.items():
            message = f"from {speaker}".encode()
            sock.send(frame16(message))
            for other, listening in peers.items():
                if other != speaker:
                    # The first one's hello may come as late as this.
                    while (heard := receive16(listening)) == b"hello":
                        pass
                    assert heard == message, (speaker, other, heard)
        for sock in peers.values():
            sock.close()
        ours.stop()
        ours.ends(0)


def frame16(message):
    return struct.pack(">H", len(message)) + message


def receive16(sock):
    if sock.type != socket.SOCK_STREAM:
        packet = sock.recv(65536)
        return packet[2:]
    (length,) = struct.unpack(">H", exactly(sock, 2))
    return exactly(sock, length)


def exactly(sock, length):
    data = b""
    while len(data) < length:
        chunk = sock.recv(length - len(data))
        assert chunk, "the stream ended"
        data += chunk
    return data


if __name__ == "__main__":
    run(globals())
