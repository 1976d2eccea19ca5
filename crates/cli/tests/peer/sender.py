"""A sender of a second make, for sessions without encryption: sender.py [OPTIONS] TREE HOST:PORT"""

import argparse
import queue
import random
import struct
import threading

import blake3
import tree
import wire
from wire import EXTENT, FILE, PIECE, item, record

# At most 64 files may be under way; a batch is sent whole before the next begins.
BATCH = 32

STORED, KEPT, FAILED, WITHDRAWN = "stored", "kept", "failed", "withdrawn"


class Window:
    """What may be listed: entries held, and bytes of those that are not settled."""

    def __init__(self, entries, size, listed):
        self.entries, self.size, self.listed = entries, size, listed
        self.changed = threading.Condition()
        self.outcomes = {}
        self.next, self.finished, self.unsettled = 0, 0, 0

    def add(self, entry):
        with self.changed:
            held = lambda: self.next - self.finished
            fits = lambda: held() < self.entries and self.unsettled < self.size
            if not self.changed.wait_for(fits, timeout=60):
                raise wire.Broken("the window stays shut")
            self.unsettled += entry.weight()
            self.next += 1

    def settle(self, number, outcome):
        with self.changed:
            if number >= self.next:
                raise wire.Broken(f"an outcome for entry {number}, which was never listed")
            if number in self.outcomes:
                if outcome == STORED:
                    raise wire.Broken(f"entry {number} is settled twice")
                return
            self.outcomes[number] = outcome
            self.unsettled -= self.listed[number].weight()
            self.advance()

    def advance(self):
        while self.finished in self.outcomes:
            if self.outcomes[self.finished] == STORED and not self.content_known(self.finished):
                break
            self.finished += 1
        self.changed.notify_all()

    def content_known(self, number):
        entry = self.listed[number]
        return entry.kind != FILE or entry.hash is not None

    def know(self, number, digest):
        with self.changed:
            self.listed[number].hash = digest
            self.advance()

    def wait_until_settled(self, count):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.outcomes) == count, timeout=120):
                raise wire.Broken(f"{len(self.outcomes)} of {count} entries settled")


class Lane(threading.Thread):
    """A lane: sends the extents it is given."""

    def __init__(self, sender, number):
        super().__init__(daemon=True)
        self.sender, self.work, self.ended, self.error = sender, queue.Queue(), False, None
        self.number, self.sent, self.answer = number, [], queue.Queue()
        self.stream = wire.connect(sender.options.address)
        self.segment = sender.options.segment
        start = wire.lane_start(sender.session, number)
        # Glued: the first record goes with the hello, in one write.
        self.held = start if sender.options.glued else b""
        if not self.held:
            wire.send(self.stream, start, self.segment)
        self.start()

    def run(self):
        try:
            self.send_work()
        except (OSError, wire.Broken) as error:
            self.error = error
            # Whoever waits for this lane must not wait for ever.
            while not self.ended:
                self.take_work()
                self.work.task_done()

    def take_work(self):
        extent = self.work.get()
        self.ended = extent is None
        return extent

    def send_work(self):
        while (extent := self.take_work()) is not None:
            try:
                records = self.sender.records_of(*extent)
                if self.number == 0 and len(self.sent) == self.sender.options.lose_lane:
                    self.lose(extent, records)
                else:
                    self.write(records)
                    self.sent.append(extent)
            finally:
                self.work.task_done()
        self.write(wire.LANE_END)
        self.stream.shutdown(wire.socket.SHUT_WR)
        if self.sender.options.await_lanes:
            # The receiver says nothing on a lane, and closes when it has read the end.
            self.stream.settimeout(5)
            if self.stream.recv(1):
                raise wire.Broken("bytes from a receiver on a lane")

    def lose(self, extent, records):
        """Breaks off in the middle of an extent, and goes on with what did not arrive on another lane."""
        self.write(records[: len(records) // 2])
        self.stream.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()
        self.sender.control.say(wire.LANE_LOST, {0: self.number})
        taken = self.answer.get(timeout=60)
        if taken > len(self.sent):
            raise wire.Broken(f"{taken} extents taken of {len(self.sent)}")
        wire.tell("lane_closed", lane=self.number, taken=taken, sent=len(self.sent))
        self.number = len(self.sender.lanes)
        self.stream = wire.connect(self.sender.options.address)
        self.write(wire.lane_start(self.sender.session, self.number))
        for lost in self.sent[taken:] + [extent]:
            self.write(self.sender.records_of(*lost))

    def write(self, data):
        wire.send(self.stream, self.held + data, self.segment)
        self.held = b""


class Sender:
    def __init__(self, options):
        self.options = options
        self.entries = tree.walk(options.tree)
        self.listed, self.values, self.lock = [], {}, threading.Lock()
        self.sent_bytes, self.revised = 0, set()
        self.random = random.Random(options.shuffle)

    def run(self):
        options = self.options
        stream = wire.connect(options.address)
        self.control = wire.Control(stream, options.extras, options.segment)
        first = wire.preface(wire.CONTROL, 0, options.major, options.minor)
        hello = {0: b"", 2: options.name}
        if options.glued:
            self.control.write(first + wire.message(wire.HELLO, hello))
        else:
            self.control.write(first)
        self.hear_preface(stream)
        if not options.glued:
            self.control.say(wire.HELLO, hello)
        welcome = self.control.expect(wire.WELCOME)
        if welcome[0] != 0 or 1 in welcome:
            raise wire.Broken("a suite or a share without encryption")
        accept = self.control.expect(wire.ACCEPT)
        self.control.say(wire.OFFER, {0: options.into.encode()} if options.into else {})
        self.control.keep_saying_progress(self.counters)
        self.session = accept[0]
        self.window = Window(accept[1], accept[2], self.listed)
        self.send_all(min(options.lanes, accept[3]))

    def hear_preface(self, stream):
        answer = wire.receive_exactly(stream, 8)
        wire.tell("answered", preface=answer.hex())
        if answer[:5] == b"PACKR":
            raise wire.Broken(f"refused, reason {answer[5]}, version {answer[6]}.{answer[7]}")
        if answer[:7] != b"PACKA\0\1":
            raise wire.Broken(f"preface {answer.hex()}")

    def counters(self):
        files = [entry for entry in self.entries if entry.kind == FILE]
        return self.sent_bytes, 0, sum(entry.size for entry in files), len(files)

    def send_all(self, lanes):
        outcomes = threading.Thread(target=self.hear_outcomes, daemon=True)
        self.failure, self.receipt = None, queue.Queue()
        outcomes.start()
        self.lanes = [Lane(self, number) for number in range(lanes)]
        content = threading.Thread(target=self.send_content, daemon=True)
        if self.options.content_first:
            content.start()
            self.list_all()
        else:
            self.list_all()
            content.start()
        content.join()
        self.window.wait_until_settled(len(self.entries))
        self.finish()

    def list_all(self):
        some, first = [], 0
        for entry in self.entries:
            # What waits to be said must not keep the window shut.
            if self.window.next - self.window.finished + 1 >= self.window.entries or len(some) == 100:
                self.say_entries(first, some)
                first, some = first + len(some), []
            self.listed.append(entry)
            self.window.add(entry)
            some.append(entry.fields())
        self.say_entries(first, some)
        self.control.say(wire.ENTRIES_END, {0: len(self.entries)})

    def say_entries(self, first, some):
        if some:
            if self.options.extras:
                some = [{**fields, 99: "an optional field"} for fields in some]
            # A body is at most 65,536 bytes, and paths may be long.
            half = len(some) // 2
            if len(wire.cbor.encode(some)) > 60_000:
                self.say_entries(first, some[:half])
                self.say_entries(first + half, some[half:])
            else:
                self.control.say(wire.ENTRIES, {0: first, 1: some})

    def hear_outcomes(self):
        try:
            while True:
                kind, fields = self.control.hear()
                if kind == wire.SETTLED:
                    runs = fields[0]
                    for first, count in zip(runs[0::2], runs[1::2]):
                        for number in range(first, first + count):
                            self.window.settle(number, STORED)
                elif kind == wire.KEPT:
                    self.window.settle(fields[0], KEPT)
                elif kind == wire.FAILED:
                    wire.tell("failed", number=fields[0], code=fields[1], text=fields[2])
                    self.window.settle(fields[0], FAILED)
                elif kind == wire.FLAWED:
                    wire.tell("flawed", path=repr(fields[0]), code=fields[1], text=fields[2])
                elif kind == wire.LANE_CLOSED:
                    self.lanes[fields[0]].answer.put(fields[1])
                elif kind == wire.RECEIPT:
                    self.receipt.put(fields)
                    return
                elif kind != wire.PROGRESS:
                    raise wire.Broken(f"message {kind}")
        except Exception as error:  # whatever it is, the main thread has to hear of it
            self.failure = error
            self.receipt.put(None)
            if hasattr(self, "window"):
                with self.window.changed:
                    # Nothing will be settled any more.
                    for number in range(len(self.entries)):
                        self.window.outcomes.setdefault(number, FAILED)
                    self.window.changed.notify_all()

    def send_content(self):
        files = [n for n, e in enumerate(self.entries) if e.kind == FILE and e.size > 0]
        for entry in self.entries:
            if entry.kind == FILE and entry.size == 0:
                entry.hash = blake3.hash_of(b"")
        for start in range(0, len(files), BATCH):
            self.send_batch(files[start : start + BATCH])
        for lane in self.lanes:
            lane.work.put(None)
        for lane in self.lanes:
            lane.join(timeout=60)

    def send_batch(self, numbers):
        extents = []
        for number in numbers:
            name = self.entries[number].path.rsplit(b"/", 1)[-1]
            if name in (b"revised", b"withdrawn"):
                # Begins the first extent, and then thinks otherwise.
                self.send_in_vain(number, name == b"revised")
            if name != b"withdrawn":
                extents += [(number, at) for at in range(0, self.entries[number].size, EXTENT)]
        if self.options.shuffle is not None:
            self.random.shuffle(extents)
        for turn, extent in enumerate(extents):
            self.lanes[turn % len(self.lanes)].work.put(extent)
        for lane in self.lanes:
            lane.work.join()

    def send_in_vain(self, number, revise):
        # An entry is spoken of only when it is listed.
        with self.window.changed:
            self.window.changed.wait_for(lambda: self.window.next > number, timeout=60)
        entry = self.entries[number]
        lane = self.lanes[0]
        lane.write(record(item(wire.CONTENT, number, 0, b"not this" * 1000)))
        if revise:
            self.revised.add(number)
            self.control.say(wire.REVISE, {0: number, 1: 1, **entry.metadata(), 5: entry.size})
            lane.write(record(item(wire.CONTENT, number, 8000, b"of the attempt before")))
        else:
            self.control.say(wire.WITHDRAW, {0: number, 1: 2, 2: "it changed while it was read, twice"})
            self.window.settle(number, WITHDRAWN)

    def records_of(self, number, offset):
        """The records of one extent, its value with the last content."""
        entry, attempt = self.entries[number], 1 if number in self.revised else 0
        with open(entry.source, "rb") as file:
            file.seek(offset)
            data = file.read(EXTENT)
        value = blake3.extent_value(data, offset, entry.size <= EXTENT)
        self.take_value(number, offset, value)
        records = []
        for at in range(0, len(data), PIECE):
            items = item(wire.CONTENT, number, offset + at, data[at : at + PIECE], attempt)
            if at + PIECE >= len(data):
                items += item(wire.VALUE, number, offset, value, attempt)
            records.append(record(items))
        self.sent_bytes += len(data)
        return b"".join(records)

    def take_value(self, number, offset, value):
        with self.lock:
            values = self.values.setdefault(number, {})
            values[offset] = value
            complete = len(values) * EXTENT >= self.entries[number].size
        if complete:
            digest = blake3.merge_extents([values[at] for at in sorted(values)])
            self.entries[number].hash = digest
            if number < len(self.listed):
                self.window.know(number, digest)

    def finish(self):
        if self.failure:
            raise self.failure
        for lane in self.lanes:
            if lane.error:
                raise lane.error
        stored = [e for n, e in enumerate(self.entries) if self.window.outcomes[n] == STORED]
        root = tree.root_of(stored)
        self.control.say(wire.CLOSE, {0: root, 1: 0, 2: {}})
        receipt = self.receipt.get(timeout=60)
        if receipt is None:
            raise self.failure
        if receipt[0] != root:
            raise wire.Broken("the receipt has another root")
        self.control.say(wire.BYE, {})
        self.control.close()
        totals = {str(key): value for key, value in receipt[1].items()}
        wire.tell("done", root=root.hex(), totals=totals, outcomes=sorted(set(self.window.outcomes.values())))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="extents in any order, on any lane")
    parser.add_argument("--segment", type=int, metavar="BYTES", help="write so many bytes at a time")
    parser.add_argument("--glued", action="store_true", help="write as much as may go at once")
    parser.add_argument("--extras", action="store_true", help="fields and messages of a later version")
    parser.add_argument("--content-first", action="store_true", help="content may go before its entry")
    parser.add_argument("--await-lanes", action="store_true", help="wait until lanes are closed, too")
    parser.add_argument("--lose-lane", type=int, metavar="EXTENTS", help="the first lane breaks behind so many")
    parser.add_argument("--into", help="a directory beneath the destination")
    parser.add_argument("--name", default="second make")
    parser.add_argument("--major", type=int, default=1)
    parser.add_argument("--minor", type=int, default=0)
    parser.add_argument("tree")
    parser.add_argument("address")
    return parser.parse_args()


if __name__ == "__main__":
    wire.main(Sender(arguments()).run)
