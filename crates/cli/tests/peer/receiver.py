"""A receiver of a second make, for sessions without encryption: receiver.py [OPTIONS] DESTINATION

It serves one sender. It trusts what it is told: it is for tests with an honest sender.
"""

import argparse
import os
import secrets
import socket
import struct
import threading

import blake3
import tree
import wire
from wire import DIRECTORY, EXTENT, FILE, SYMLINK


class Incoming:
    """One attempt at one file."""

    def __init__(self, attempt, size):
        self.attempt, self.size, self.values = attempt, size, {}
        self.ended = False

    def complete(self):
        return self.size is not None and len(self.values) * EXTENT >= self.size


class Receiver:
    def __init__(self, options):
        self.options = options
        self.destination = os.fsencode(options.destination)
        self.session = secrets.token_bytes(16)
        self.known = threading.Condition()
        self.entries, self.incoming, self.outcomes = [], {}, {}
        self.failure, self.lanes, self.bytes = None, set(), 0
        # Of each lane: its connection while it is open, and how many values and ends it brought.
        self.streams, self.taken, self.closed, self.said = {}, {}, set(), set()

    def run(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            wire.tell("listening", addr=f"{host}:{port}")
            stream, _ = listener.accept()
            stream.settimeout(60)
            self.greet(stream)
            threading.Thread(target=self.take_lanes, args=(listener,), daemon=True).start()
            self.serve()

    def greet(self, stream):
        options = self.options
        self.control = wire.Control(stream, options.extras, options.segment)
        first = wire.receive_exactly(stream, 8)
        if first[:5] != b"PACKC" or first[5] != 0 or first[6] != 1:
            raise wire.Broken(f"preface {first.hex()}")
        if options.refuse:
            self.control.write(wire.preface(wire.REFUSED, options.refuse, options.major, options.minor))
            self.control.close()
            raise wire.Broken("refused, as asked")
        self.control.write(wire.preface(wire.ACCEPTED, 0, options.major, options.minor))
        hello = self.control.expect(wire.HELLO)
        if hello[0] != b"" or 1 in hello:
            raise wire.Broken("suites or a share without encryption")
        self.control.say(wire.WELCOME, {0: 0, 2: options.name})
        window = {1: options.window, 2: 2 << 20, 3: options.lanes}
        self.control.say(wire.ACCEPT, {0: self.session, **window})
        offer = self.control.expect(wire.OFFER)
        if 0 in offer:
            self.destination = os.path.join(self.destination, offer[0])
            os.makedirs(self.destination, exist_ok=True)
        self.control.keep_saying_progress(lambda: (self.bytes, len(self.outcomes), 0, 0))

    def serve(self):
        while True:
            kind, fields = self.control.hear()
            if self.failure:
                raise self.failure
            if kind == wire.ENTRIES:
                if fields[0] != len(self.entries):
                    raise wire.Broken("numbers with a gap")
                for entry in fields[1]:
                    self.take_entry(tree.Entry.from_fields(entry))
            elif kind == wire.ENTRIES_END:
                if fields[0] != len(self.entries):
                    raise wire.Broken("another number of entries")
            elif kind == wire.REVISE:
                self.revise(fields)
            elif kind == wire.WITHDRAW:
                self.withdraw(fields[0])
            elif kind == wire.LANE_LOST:
                self.lane_lost(fields[0])
            elif kind == wire.CLOSE:
                return self.finish(fields)
            elif kind != wire.PROGRESS:
                raise wire.Broken(f"message {kind}")

    def place(self, entry):
        return os.path.join(self.destination, entry.path)

    def take_entry(self, entry):
        number = len(self.entries)
        if entry.kind == DIRECTORY:
            os.makedirs(self.place(entry), exist_ok=True)
        elif entry.kind == SYMLINK:
            os.symlink(entry.target, self.place(entry))
            tree.set_metadata(self.place(entry), entry)
        elif entry.size == 0:
            entry.hash = blake3.hash_of(b"")
        if entry.kind == FILE:
            open(self.place(entry), "wb").close()
        with self.known:
            self.entries.append(entry)
            if entry.kind == FILE and entry.size != 0:
                self.incoming[number] = Incoming(0, entry.size)
            self.known.notify_all()
        if number not in self.incoming:
            self.settle(number)

    def revise(self, fields):
        with self.known:
            number = fields[0]
            entry = self.entries[number]
            before = self.incoming[number]
            if fields[1] <= before.attempt:
                raise wire.Broken("an attempt that does not grow")
            entry.mode, entry.modified, entry.size = fields[2], (fields[3], fields[4]), fields.get(5)
            self.incoming[number] = Incoming(fields[1], entry.size)
            open(self.place(entry), "wb").close()
            self.known.notify_all()
        wire.tell("revised", number=number)

    def withdraw(self, number):
        with self.known:
            self.outcomes.setdefault(number, "withdrawn")
            os.unlink(self.place(self.entries[number]))

    def settle(self, number):
        entry = self.entries[number]
        if entry.kind == FILE:
            tree.set_metadata(self.place(entry), entry)
        with self.known:
            if number in self.outcomes:
                return
            self.outcomes[number] = "stored"
        self.control.say(wire.SETTLED, {0: [number, 1]})

    def take_lanes(self, listener):
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.take_lane, args=(stream,), daemon=True).start()

    def take_lane(self, stream):
        try:
            first = wire.receive_exactly(stream, 58)
            session, number = first[8:24], struct.unpack(">H", first[24:26])[0]
            if first[:5] != b"PACKL" or first[6] != 1 or session != self.session:
                raise wire.Broken(f"a lane that begins with {first.hex()}")
            with self.known:
                if number in self.lanes:
                    raise wire.Broken(f"lane {number}, once more")
                if len(self.streams) >= self.options.lanes:
                    raise wire.Broken(f"lane {number}, one too many")
                self.lanes.add(number)
                self.streams[number], self.taken[number] = stream, 0
            try:
                ended = self.take_records(stream, number)
            except OSError:
                ended = False
            with self.known:
                del self.streams[number]
            stream.close()
            if not ended or number in self.closed:
                self.say_closed(number)
        except Exception as error:  # the control connection's thread has to hear of it
            self.failure = error
            self.control.stream.shutdown(socket.SHUT_RD)

    def lane_lost(self, number):
        with self.known:
            if number in self.closed:
                raise wire.Broken(f"lane {number} is lost twice")
            self.closed.add(number)
            stream = self.streams.get(number)
            if stream is None:
                self.lanes.add(number)
        if stream is None:
            self.say_closed(number)
        else:
            stream.shutdown(socket.SHUT_RDWR)

    def say_closed(self, number):
        with self.known:
            taken, said = self.taken.get(number, 0), number in self.said
            self.said.add(number)
        if not said:
            wire.tell("lane_closed", lane=number, taken=taken)
            self.control.say(wire.LANE_CLOSED, {0: number, 1: taken})

    def take_records(self, stream, lane):
        """Whether the lane came to its end."""
        # The extent that is open on this lane: of what attempt, where it starts, what came of it.
        extent = None
        while True:
            head = wire.receive_exactly(stream, 8)
            if len(head) < 8 or self.taken[lane] == self.options.lose_lane and lane == 0:
                return False
            length, kind, zero, zeros = struct.unpack(">IBBH", head)
            if zero or zeros or length > wire.MOST_BODY:
                raise wire.Broken(f"record header {head.hex()}")
            if kind == 2:
                if length or stream.recv(1):
                    raise wire.Broken("something behind the end of a lane")
                return True
            body, at = wire.receive_exactly(stream, length), 0
            if len(body) < length:
                return False
            while at < length:
                kind, attempt, zeros, size, number, offset = struct.unpack_from(">BBHIQQ", body, at)
                data = body[at + 24 : at + 24 + size]
                if zeros or len(data) < size:
                    raise wire.Broken("an item that is cut off")
                at += 24 + size
                extent = self.take_item(extent, kind, (number, attempt), offset, data)
                self.taken[lane] += kind != wire.CONTENT

    def take_item(self, extent, kind, of, offset, data):
        incoming = self.wait_for(*of)
        if incoming is None:
            return None
        if kind == wire.CONTENT:
            if extent is None or extent[0] != of or offset % EXTENT == 0:
                if offset % EXTENT:
                    raise wire.Broken("an extent that does not start at its start")
                extent = (of, offset, bytearray())
            if offset != extent[1] + len(extent[2]) or len(extent[2]) + len(data) > EXTENT:
                raise wire.Broken("content out of order")
            extent[2].extend(data)
            self.bytes += len(data)
            return extent
        if kind == wire.END:
            if incoming.size is not None or incoming.ended:
                raise wire.Broken("an end of what has one")
            incoming.size, incoming.ended = offset, True
            self.entries[of[0]].size = offset
            if offset == 0:
                self.entries[of[0]].hash = blake3.hash_of(b"")
                self.settle(of[0])
            return extent
        if kind != wire.VALUE:
            raise wire.Broken(f"an item of kind {kind}")
        self.take_value(incoming, extent, of, offset, data)
        return None

    def wait_for(self, number, attempt):
        """The file an item is for; None where it is not wanted any more."""
        with self.known:
            def there():
                known = self.incoming.get(number)
                return number in self.outcomes or (known and known.attempt >= attempt)

            if not self.known.wait_for(there, timeout=30):
                raise wire.Broken(f"content for entry {number}, which is not listed")
            known = self.incoming.get(number)
            if number in self.outcomes or known.attempt > attempt:
                return None
            return known

    def take_value(self, incoming, extent, of, offset, value):
        if extent is None or extent[:2] != (of, offset):
            raise wire.Broken("a value of no extent")
        whole = incoming.size if incoming.size is not None else 1 << 63
        data = bytes(extent[2])
        if len(data) != min(EXTENT, whole - offset):
            raise wire.Broken("a value of half an extent")
        if blake3.extent_value(data, offset, whole <= EXTENT) != value:
            raise wire.Broken("an extent that does not verify")
        number, entry = of[0], self.entries[of[0]]
        with self.known:
            with open(self.place(entry), "r+b") as file:
                file.seek(offset)
                file.write(data)
            incoming.values[offset] = value
            complete = incoming.complete()
        if complete:
            entry.hash = blake3.merge_extents([v for _, v in sorted(incoming.values.items())])
            self.settle(number)

    def finish(self, close):
        entries = list(enumerate(self.entries))
        for _, entry in reversed(entries):
            if entry.kind == DIRECTORY:
                tree.set_metadata(self.place(entry), entry)
        stored = [entry for number, entry in entries if self.outcomes.get(number) == "stored"]
        root = tree.root_of(stored)
        if root != close[0]:
            self.control.say(wire.ABORT, {0: 7, 1: "the root"})
            raise wire.Broken("both sides have another root")
        of = lambda kind: [entry for entry in stored if entry.kind == kind]
        failed = sum(outcome == "withdrawn" for outcome in self.outcomes.values()) + close[1]
        totals = {0: len(of(FILE)), 1: len(of(DIRECTORY)), 2: len(of(SYMLINK))}
        totals |= {3: sum(entry.size for entry in of(FILE)), 4: 0, 5: failed}
        self.control.say(wire.RECEIPT, {0: root, 1: totals, 2: 1, 3: close[2], 4: {}})
        self.control.expect(wire.BYE)
        self.control.close()
        wire.tell("done", root=root.hex(), failed=failed, lanes=len(self.lanes))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segment", type=int, metavar="BYTES", help="write so many bytes at a time")
    parser.add_argument("--extras", action="store_true", help="fields and messages of a later version")
    parser.add_argument("--window", type=int, default=4096, help="entries that may be held")
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--lose-lane", type=int, metavar="VALUES", help="closes the first lane behind so many")
    parser.add_argument("--refuse", type=int, metavar="REASON")
    parser.add_argument("--name", default="second make")
    parser.add_argument("--major", type=int, default=1)
    parser.add_argument("--minor", type=int, default=0)
    parser.add_argument("destination")
    return parser.parse_args()


if __name__ == "__main__":
    wire.main(Receiver(arguments()).run)
