"""Receivers that mean harm: hostile_receiver.py SCENARIO

Each scenario serves one sender without encryption, breaks one rule, and tells how the sender ended it.
"""

import socket
import struct
import sys
import threading

import tree
import wire

SCENARIOS = {}
SESSION = b"session of evil!"


def scenario(run):
    SCENARIOS[run.__name__] = run
    return run


class Served:
    """A sender that was greeted; what it lists is remembered."""

    def __init__(self, listener, accept=None, welcome=None):
        stream, _ = listener.accept()
        stream.settimeout(60)
        self.control, self.listener = wire.Control(stream), listener
        wire.receive_exactly(stream, 8)
        self.control.write(wire.preface(wire.ACCEPTED))
        self.control.expect(wire.HELLO)
        self.say(wire.WELCOME, {0: 0, 2: "mallory", **(welcome or {})})
        self.say(wire.ACCEPT, {0: SESSION, 1: 4096, 2: 2 << 20, 3: 16, **(accept or {})})
        if not accept and not welcome:
            self.control.expect(wire.OFFER)
        self.entries = []

    def say(self, kind, body):
        self.control.say(kind, body)

    def hear_listing(self):
        while True:
            kind, fields = self.control.hear()
            if kind == wire.ENTRIES:
                self.entries += fields[1]
            elif kind == wire.ENTRIES_END:
                return

    def read_lanes(self):
        """Reads whatever comes on lanes, without looking at it."""

        def run():
            while True:
                try:
                    stream, _ = self.listener.accept()
                except OSError:
                    return
                threading.Thread(target=self.drain, args=(stream,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    @staticmethod
    def drain(stream):
        try:
            while stream.recv(1 << 20):
                pass
            stream.close()
        except OSError:
            pass

    def hear_end(self):
        while True:
            self.control.hear()


def after_listing(name, *messages):
    """A scenario that says these when everything is listed."""

    def run(listener):
        served = Served(listener)
        served.read_lanes()
        served.hear_listing()
        for kind, body in messages:
            served.control.write(wire.message(kind, body))
        served.hear_end()

    SCENARIOS[name] = run


TOTALS = {0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0}
RECEIPT = {0: bytes(32), 1: TOTALS, 2: 1, 3: {}, 4: {}}

after_listing("settlement_of_never_listed", (wire.SETTLED, {0: [9999, 1]}))
after_listing("settlement_of_all_numbers", (wire.SETTLED, {0: [0, (1 << 64) - 1]}))
after_listing("settlement_beyond_numbers", (wire.SETTLED, {0: [(1 << 64) - 1, 2]}))
after_listing("settlement_twice", (wire.SETTLED, {0: [0, 1]}), (wire.SETTLED, {0: [0, 1]}))
after_listing("settlements_that_overlap", (wire.SETTLED, {0: [0, 1, 0, 1]}))
after_listing("settlement_of_none", (wire.SETTLED, {0: [0, 0]}))
after_listing("settlement_of_odd_length", (wire.SETTLED, {0: [0, 1, 2]}))
after_listing("failure_of_never_listed", (wire.FAILED, {0: 9999, 1: 3, 2: ""}))
after_listing("kept_directory", (wire.KEPT, {0: 0}))
after_listing("receipt_early", (wire.RECEIPT, RECEIPT))
after_listing("message_of_a_sender", (wire.ENTRIES_END, {0: 0}))
after_listing("second_accept", (wire.ACCEPT, {0: SESSION, 1: 1, 2: 1, 3: 1}))
after_listing("unknown_mandatory_message", (99, {}))
after_listing("flaw_of_a_bad_path", (wire.FLAWED, {0: b"../x", 1: 4, 2: ""}))
after_listing("text_too_long", (wire.FAILED, {0: 0, 1: 3, 2: "x" * 513}))
after_listing("abort_with_terminal_escapes", (wire.ABORT, {0: 10, 1: "\x1b[2Jboo\x07\u202e"}))
after_listing("abort_of_a_later_version", (wire.ABORT, {0: 200, 1: "of another kind\x1b"}))


def bad_accept(name, accept=None, welcome=None):
    def run(listener):
        Served(listener, accept, welcome).hear_end()

    SCENARIOS[name] = run


bad_accept("window_of_no_entries", {1: 0})
bad_accept("window_of_no_bytes", {2: 0})
bad_accept("no_lanes", {3: 0})
bad_accept("window_beyond_its_bound", {1: 1 << 32})
bad_accept("session_name_of_15_bytes", {0: SESSION[:15]})
bad_accept("suite_without_encryption", welcome={0: 1})
bad_accept("share_without_encryption", welcome={1: bytes(32)})


def settle_all(served):
    served.say(wire.SETTLED, {0: [0, len(served.entries)]})


def until_close(served, on_lane=b""):
    """Plays an honest receiver, as far as a sender can see, up to the sender's Close."""
    lanes_done = threading.Event()

    def take_lane():
        stream, _ = served.listener.accept()
        stream.sendall(on_lane)
        served.drain(stream)
        lanes_done.set()

    threading.Thread(target=take_lane, daemon=True).start()
    served.hear_listing()
    lanes_done.wait(30)
    settle_all(served)
    return served.control.expect(wire.CLOSE)


@scenario
def wrong_root_in_the_receipt(listener):
    served = Served(listener)
    until_close(served)
    served.say(wire.RECEIPT, RECEIPT)
    served.hear_end()


@scenario
def right_root_and_wrong_totals(listener):
    served = Served(listener)
    close = until_close(served)
    served.say(wire.RECEIPT, {**RECEIPT, 0: close[0]})
    served.hear_end()


@scenario
def receipt_twice(listener):
    served = Served(listener)
    close = until_close(served)
    served.control.write(2 * wire.message(wire.RECEIPT, {**RECEIPT, 0: close[0]}))
    served.hear_end()


@scenario
def failures_with_terminal_escapes(listener):
    served = Served(listener, welcome={2: "evil\x1b[2Jname"})
    served.read_lanes()
    served.hear_listing()
    for number in range(len(served.entries)):
        served.say(wire.FAILED, {0: number, 1: 3, 2: "\x1b[31mred\x07 text\u202e"})
    close = served.control.expect(wire.CLOSE)
    if close[0] != tree.root_of([]):
        raise wire.Broken("nothing is stored, and the root is of something")
    totals = {**TOTALS, 5: len(served.entries)}
    served.say(wire.RECEIPT, {**RECEIPT, 0: close[0], 1: totals})
    served.control.expect(wire.BYE)
    wire.tell("done")


@scenario
def bytes_on_a_lane(listener):
    """Says what must not come on a lane, and is honest else."""
    served = Served(listener)
    close = until_close(served, b"this must not come")
    stored = {1: 1, 0: 2, 3: 14}
    served.say(wire.RECEIPT, {**RECEIPT, 0: close[0], 1: {**TOTALS, **stored}})
    served.hear_end()


@scenario
def closes_lanes(listener):
    """Resets each lane as soon as it comes, and says that it took nothing."""
    served = Served(listener)
    threading.Thread(target=reset_lanes, args=(listener,), daemon=True).start()
    served.control.keep_saying_progress(lambda: (0, 0, 0, 0))
    while True:
        kind, fields = served.control.hear()
        if kind == wire.LANE_LOST:
            served.say(wire.LANE_CLOSED, {0: fields[0], 1: 0})


def reset_lanes(listener):
    while True:
        stream, _ = listener.accept()
        # It has introduced itself: else it would be a lane that never was.
        stream.recv(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()


def bad_end_of_a_lane(name, *ends):
    def run(listener):
        served = Served(listener)
        served.read_lanes()
        served.hear_listing()
        served.control.write(b"".join(wire.message(wire.LANE_CLOSED, {0: lane, 1: taken}) for lane, taken in ends))
        served.hear_end()

    SCENARIOS[name] = run


bad_end_of_a_lane("lane_that_took_more_than_was_sent", (0, 1000))
bad_end_of_a_lane("end_of_a_lane_that_never_was", (7, 0))
bad_end_of_a_lane("end_of_a_lane_twice", (0, 0), (0, 0))


@scenario
def garbage_instead_of_a_preface(listener):
    stream, _ = listener.accept()
    stream.sendall(b"SSH-2.0-OpenSSH_9.9 \x1b[2J\r\n")
    Served.drain(stream)


@scenario
def stops_reading(listener):
    """Takes a lane and reads nothing any more, nor says anything."""
    served = Served(listener)
    lanes = []

    def hold():
        while True:
            lanes.append(listener.accept())

    threading.Thread(target=hold, daemon=True).start()
    wire.tell("silent")
    threading.Event().wait(100)
    served.control.stream.close()


def main():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        wire.tell("listening", addr=f"{host}:{port}")
        SCENARIOS[sys.argv[1]](listener)


if __name__ == "__main__":
    wire.main(main)
