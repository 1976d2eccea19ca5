"""What goes over the connections of a session without encryption: prefaces, messages, records, items.
Written from docs/protocol.md alone."""

import faulthandler
import json
import socket
import struct
import sys
import threading
import time

import cbor

CONTROL, LANE, ACCEPTED, REFUSED = b"C", b"L", b"A", b"R"

(HELLO, WELCOME, CONFIRM, OFFER, ACCEPT, ENTRIES, ENTRIES_END, REVISE, WITHDRAW, SETTLED, KEPT, FAILED,
 PROGRESS, CLOSE, RECEIPT, BYE, ABORT, FLAWED) = range(1, 19)
LANE_LOST, LANE_CLOSED = 22, 23

DIRECTORY, FILE, SYMLINK = 1, 2, 3
CONTENT, VALUE, END = 1, 2, 3

EXTENT = 1 << 20
PIECE = 131_072
MOST_BODY = 131_152
MOST_MESSAGE = 65_536


class Broken(Exception):
    """The other side did what docs/protocol.md forbids, or ended early."""


class Aborted(Exception):
    """The other side said why it ends."""

    def __init__(self, code, text):
        super().__init__(f"abort {code}: {text}")
        self.code, self.text = code, text


def preface(kind, argument=0, major=1, minor=0):
    return b"PACK" + kind + bytes([argument, major, minor])


def message(kind, body):
    body = body if isinstance(body, bytes) else cbor.encode(body)
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def item(kind, entry, offset, content=b"", attempt=0, length=None):
    length = len(content) if length is None else length
    return struct.pack(">BBHIQQ", kind, attempt, 0, length, entry, offset) + bytes(content)


def record(items=b"", kind=1, length=None):
    return struct.pack(">IBBH", len(items) if length is None else length, kind, 0, 0) + items


LANE_END = record(kind=2)


def lane_start(session, number=0, tag=bytes(32)):
    return preface(LANE) + session + struct.pack(">H", number) + tag


def tell(event, **fields):
    """One JSON object a line, as packhorse's own events are."""
    print(json.dumps({"event": event, **fields}), flush=True)


def connect(address):
    host, port = address.rsplit(":", 1)
    stream = socket.create_connection((host, int(port)), timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def receive_exactly(stream, length):
    """So many bytes; fewer where the stream ends before."""
    data = bytearray()
    while len(data) < length:
        some = stream.recv(min(length - len(data), 1 << 20))
        if not some:
            break
        data += some
    return bytes(data)


def send(stream, data, segment=None):
    """All at once, or in segments of so many bytes."""
    if segment is None:
        stream.sendall(data)
        return
    for start in range(0, len(data), segment):
        stream.sendall(data[start : start + segment])


class Control:
    """Messages on a control connection. One thread reads; any may write."""

    def __init__(self, stream, extras=False, segment=None):
        self.stream, self.extras, self.segment = stream, extras, segment
        self.writing = threading.Lock()
        self.over = threading.Event()

    def say(self, kind, body):
        encoded = b""
        if self.extras and isinstance(body, dict):
            body = {**body, 64: [1, {0: "nested"}], 1 << 40: b"of a later version"}
            encoded = message(200, b"\xff no CBOR") + message(255, b"")
        self.write(encoded + message(kind, body))

    def write(self, data):
        with self.writing:
            send(self.stream, data, self.segment)

    def hear(self):
        """The next message; an abort is raised."""
        while True:
            head = receive_exactly(self.stream, 4)
            if len(head) < 4:
                raise Broken("the control connection ended")
            kind, length = head[0], int.from_bytes(head[1:], "big")
            if length > MOST_MESSAGE:
                raise Broken(f"a message of {length} bytes")
            body = receive_exactly(self.stream, length)
            if len(body) < length:
                raise Broken("the control connection ended in a message")
            if kind >= 128:
                continue
            if not 1 <= kind <= FLAWED and kind not in (LANE_LOST, LANE_CLOSED):
                raise Broken(f"a message of type {kind}")
            fields = {key: value for key, value in cbor.decode(body).items() if key < 64}
            if kind == ABORT:
                raise Aborted(fields[0], fields[1])
            return kind, fields

    def expect(self, wanted):
        """The next message but progress, which is of this type."""
        while True:
            kind, fields = self.hear()
            if kind == wanted:
                return fields
            if kind != PROGRESS:
                raise Broken(f"message {kind} instead of {wanted}")

    def keep_saying_progress(self, counters):
        """Each second, in a thread of its own."""

        def run():
            while not self.over.wait(1):
                try:
                    self.say(PROGRESS, dict(enumerate(counters())))
                except OSError:
                    return

        threading.Thread(target=run, daemon=True).start()

    def close(self):
        """In order: end this direction, read the other one to its end."""
        self.over.set()
        try:
            self.stream.shutdown(socket.SHUT_WR)
            self.stream.settimeout(2)
            while self.stream.recv(4096):
                pass
        except OSError:
            pass
        self.stream.close()


def main(run):
    """Runs a peer, says how it ended, and exits with 0 only where all went well."""
    started = time.monotonic()
    # No test waits longer than this for a peer, whatever it waits for.
    faulthandler.dump_traceback_later(110, exit=True)
    try:
        run()
    except Aborted as aborted:
        tell("aborted", code=aborted.code, text=aborted.text)
        sys.exit(6)
    except (Broken, cbor.Malformed, OSError) as error:
        tell("broken", error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - started)
        sys.exit(3)
