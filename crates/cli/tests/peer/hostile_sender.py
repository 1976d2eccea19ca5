"""Senders that mean harm: hostile_sender.py SCENARIO HOST:PORT

Each scenario opens a session without encryption, breaks one rule, and tells how the receiver ended it.
"""

import sys
import threading
import time

import blake3
import tree
import wire
from wire import CONTENT, DIRECTORY, END, EXTENT, FILE, PIECE, SYMLINK, VALUE, item, record

TOP = 1 << 63
MODIFIED = (1_700_000_000, 5)
SCENARIOS = {}


def scenario(run):
    SCENARIOS[run.__name__] = run
    return run


def entry(path, kind=FILE, size=3, mode=0o644, target=b"x"):
    if isinstance(path, str):
        path = path.encode()
    return tree.Entry(path, kind, mode, MODIFIED, size if kind == FILE else None, target)


def directory(path, mode=0o755):
    return entry(path, DIRECTORY, mode=mode)


def link(path, target=b"x"):
    return entry(path, SYMLINK, target=target)


class Session:
    """A session that has got as far as Accept."""

    def __init__(self, address, name="mallory", offer=None):
        self.address = address
        self.control = wire.Control(wire.connect(address))
        self.control.write(wire.preface(wire.CONTROL) + wire.message(wire.HELLO, {0: b"", 2: name}))
        if wire.receive_exactly(self.control.stream, 8) != wire.preface(wire.ACCEPTED):
            raise wire.Broken("not accepted")
        self.control.expect(wire.WELCOME)
        self.accept = self.control.expect(wire.ACCEPT)
        self.control.say(wire.OFFER, offer or {})
        self.control.keep_saying_progress(lambda: (0, 0, 0, 0))
        self.listed, self.settled = 0, {}
        # Kept, so that none is closed before the end.
        self.lanes = []

    def say(self, kind, body):
        self.control.say(kind, body)

    def expect(self, kind):
        return self.control.expect(kind)

    def list(self, *entries):
        fields = [e.fields() if isinstance(e, tree.Entry) else e for e in entries]
        self.say(wire.ENTRIES, {0: self.listed, 1: fields})
        self.listed += len(fields)

    def lane(self, number=0, data=b"", session=None):
        stream = wire.connect(self.address)
        stream.sendall(wire.lane_start(session or self.accept[0], number) + data)
        self.lanes.append(stream)
        return stream

    def hear_outcomes(self, count):
        """Waits until so many entries are settled or failed."""
        while len(self.settled) < count:
            kind, fields = self.control.hear()
            if kind == wire.SETTLED:
                for first, run in zip(fields[0][0::2], fields[0][1::2]):
                    self.settled.update({n: "stored" for n in range(first, first + run)})
            elif kind in (wire.FAILED, wire.KEPT):
                self.settled[fields[0]] = "failed"
                wire.tell("outcome", kind=kind, number=fields[0], rest=str(list(fields.values())[1:]))

    def complete(self, *entries, unlisted=0):
        """Ends in order: waits for the outcomes, closes with the root of what was stored."""
        self.say(wire.ENTRIES_END, {0: self.listed})
        self.hear_outcomes(self.listed)
        stored = [e for n, e in enumerate(entries) if self.settled[n] == "stored"]
        self.say(wire.CLOSE, {0: tree.root_of(stored), 1: unlisted, 2: {}})
        while True:
            kind, fields = self.control.hear()
            if kind == wire.RECEIPT:
                break
        self.say(wire.BYE, {})
        self.control.close()
        wire.tell("done", totals={str(k): v for k, v in fields[1].items()})

    def hear_end(self):
        """Listens until the receiver ends it: an abort is told by what runs this."""
        while True:
            self.control.hear()


def whole(number, data, value=None):
    """One record with all of a small file."""
    value = blake3.hash_of(data) if value is None else value
    return record(item(CONTENT, number, 0, data) + item(VALUE, number, 0, value))


def with_hash(e, data):
    e.hash = blake3.hash_of(data)
    return e


# --- Entries ---------------------------------------------------------------------------------------


def bad_entries(name, *entries):
    """A scenario that lists these at once."""

    def run(address):
        session = Session(address)
        session.list(*entries)
        session.hear_end()

    SCENARIOS[name] = run


def raw_entry(**changes):
    fields = entry("named").fields()
    fields.update({int(key[1:]): value for key, value in changes.items()})
    return {key: value for key, value in fields.items() if value is not None}


bad_entries("absolute_path", entry("/tmp/absolute"))
bad_entries("path_of_dots", directory("up"), entry("up/../../escaped"))
bad_entries("path_of_one_dot", entry("./here"))
bad_entries("path_with_nul", entry(b"nul\0byte"))
bad_entries("path_with_empty_component", directory("a"), entry("a//b"))
bad_entries("path_with_slash_at_its_end", directory("a/"))
bad_entries("empty_path", entry(""))
bad_entries("component_too_long", entry("x" * 256))
bad_entries("path_too_long", entry("/".join(["d" * 200] * 21)))
bad_entries("path_that_is_text", raw_entry(_0="text"))
bad_entries("entry_beneath_a_link", link("door", b"../beside"), entry("door/inside"))
bad_entries("entry_beneath_a_file", entry("file"), entry("file/inside"))
bad_entries("duplicate", entry("twice"), entry("twice"))
bad_entries("file_and_directory_of_one_name", entry("both"), directory("both"))
bad_entries("out_of_order", entry("b"), entry("a"))
bad_entries("order_of_bytes_not_of_components", directory("a"), entry("a!"), entry("a/z"))
bad_entries("orphan", entry("nowhere/inside"))
bad_entries("orphan_of_a_finished_directory", directory("a"), directory("b"), entry("a/late"))
bad_entries("mode_beyond_twelve_bits", raw_entry(_2=0o10644))
bad_entries("nanoseconds_of_a_second", raw_entry(_4=1_000_000_000))
bad_entries("size_of_two_to_the_63", raw_entry(_5=TOP))
bad_entries("link_target_with_nul", link("link", b"a\0b"))
bad_entries("link_target_too_long", link("link", b"t" * 4096))
bad_entries("link_without_target", raw_entry(_1=SYMLINK, _5=None))
bad_entries("directory_with_size", raw_entry(_1=DIRECTORY))
bad_entries("entry_of_unknown_kind", raw_entry(_1=4))
bad_entries("unknown_mandatory_field", raw_entry(_63=0))
bad_entries("name_with_terminal_escapes_out_of_order", entry("z"), entry(b"a\x1b[2J\x1b]0;owned\x07"))


@scenario
def numbers_with_a_gap(address):
    session = Session(address)
    session.listed = 7
    session.list(entry("named"))
    session.hear_end()


@scenario
def window_overrun(address):
    session = Session(address)
    entries = [entry(f"f{number:05}") for number in range(session.accept[1] + 1)]
    for start in range(0, len(entries), 1000):
        session.list(*entries[start : start + 1000])
    session.hear_end()


@scenario
def window_overrun_in_bytes(address):
    session = Session(address)
    deep = "/".join(["d" * 250] * 15)
    parents = ["/".join(["d" * 250] * depth) for depth in range(1, 16)]
    session.list(*(directory(path) for path in parents))
    for start in range(0, 800, 10):
        session.list(*(entry(f"{deep}/{number:05}") for number in range(start, start + 10)))
    session.hear_end()


# --- Messages --------------------------------------------------------------------------------------


def bad_bytes(name, data):
    """A scenario that says these bytes on the control connection."""

    def run(address):
        session = Session(address)
        session.control.write(data)
        session.hear_end()

    SCENARIOS[name] = run


bad_bytes("message_too_long", bytes([wire.ENTRIES]) + b"\xff\xff\xff")
bad_bytes("optional_message_too_long", bytes([200]) + (65_537).to_bytes(3, "big"))
bad_bytes("unknown_mandatory_message", wire.message(127, {}))
bad_bytes("message_of_a_receiver", wire.message(wire.SETTLED, {0: [0, 1]}))
bad_bytes("second_hello", wire.message(wire.HELLO, {0: b"", 2: "again"}))
bad_bytes("second_offer", wire.message(wire.OFFER, {}))
HUGE_BYTES = b"\xa2\x00\x00\x01\x5b" + b"\x7f" + b"\xff" * 7
bad_bytes("bytes_longer_than_the_message", wire.message(wire.ENTRIES, HUGE_BYTES))
bad_bytes("list_of_two_to_the_32", wire.message(wire.ENTRIES, b"\xa2\x00\x00\x01\x9a\xff\xff\xff\xff"))
bad_bytes("map_of_two_to_the_64", wire.message(wire.ENTRIES, b"\xbb" + b"\xff" * 8))
bad_bytes("nested_without_end", wire.message(wire.PROGRESS, b"\xa1\x18\x40" + b"\x81" * 65_000))
bad_bytes("keys_twice", wire.message(wire.PROGRESS, b"\xa2\x00\x01\x00\x01"))
bad_bytes("indefinite_length", wire.message(wire.PROGRESS, b"\xbf\xff"))
bad_bytes("integer_not_shortest", wire.message(wire.PROGRESS, b"\xa1\x00\x18\x01"))
bad_bytes("bytes_behind_the_map", wire.message(wire.PROGRESS, b"\xa0\x00"))
bad_bytes("text_that_is_not_utf8", wire.message(wire.ABORT, b"\xa2\x00\x01\x01\x61\xff"))
bad_bytes("entries_without_entries", wire.message(wire.ENTRIES, {0: 0, 1: []}))
bad_bytes("close_while_listing", wire.message(wire.CLOSE, {0: bytes(32), 1: 0, 2: {}}))
bad_bytes("withdrawal_of_a_never_listed_entry", wire.message(wire.WITHDRAW, {0: 9, 1: 1, 2: ""}))
bad_bytes("revision_of_a_never_listed_entry", wire.message(wire.REVISE, {0: 9, 1: 1, 2: 0, 3: 0, 4: 0, 5: 0}))
bad_bytes("end_of_another_count", wire.message(wire.ENTRIES_END, {0: TOP}))


@scenario
def wrong_root(address):
    session = Session(address)
    session.list(directory("stored"))
    session.say(wire.ENTRIES_END, {0: 1})
    session.hear_outcomes(1)
    session.say(wire.CLOSE, {0: bytes(32), 1: 0, 2: {}})
    session.hear_end()


@scenario
def abort_with_terminal_escapes(address):
    session = Session(address)
    session.say(wire.ABORT, {0: 10, 1: "\x1b[2Jboo\x07\u202e"})
    session.hear_end()


@scenario
def revision_of_a_directory(address):
    session = Session(address)
    # Behind a file whose content never comes, the directory stays in the window though it is settled.
    session.list(entry("a"), directory("dir"))
    session.say(wire.REVISE, {0: 1, 1: 1, 2: 0, 3: 0, 4: 0, 5: 0})
    session.hear_end()


@scenario
def attempt_that_does_not_grow(address):
    session = Session(address)
    session.list(entry("file"))
    session.say(wire.REVISE, {0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 3})
    session.hear_end()


@scenario
def offer_out_of_the_destination(address):
    Session(address, offer={0: b"../beside"}).hear_end()


@scenario
def offer_through_a_link(address):
    Session(address, offer={0: b"door/inside"}).hear_end()


# --- Content ---------------------------------------------------------------------------------------


def bad_content(name, *records, size=3):
    """A scenario that lists one file and says these bytes on a lane."""

    def run(address):
        session = Session(address)
        session.list(entry("file", size=size))
        session.lane(data=b"".join(records))
        session.hear_end()

    SCENARIOS[name] = run


def extent(number, offset, data=None, only=False):
    data = bytes(EXTENT) if data is None else data
    pieces = range(0, len(data), PIECE)
    records = [record(item(CONTENT, number, offset + at, data[at : at + PIECE])) for at in pieces]
    return b"".join(records) + record(item(VALUE, number, offset, blake3.extent_value(data, offset, only)))


bad_content("content_beyond_the_end", record(item(CONTENT, 0, 0, b"four")))
bad_content("content_that_starts_beyond_the_end", record(item(CONTENT, 0, EXTENT, b"abc")))
bad_content("content_at_the_end_of_numbers", record(item(CONTENT, 0, (1 << 64) - 2, b"abc")), size=EXTENT + 1)
bad_content(
    "content_that_overlaps",
    record(item(CONTENT, 0, 0, b"x" * 1000)),
    record(item(CONTENT, 0, 500, b"x" * 1000)),
    size=5000,
)
bad_content("content_with_a_hole", record(item(CONTENT, 0, 0, b"x")), record(item(CONTENT, 0, 2, b"x")))
bad_content("content_not_at_an_extent", record(item(CONTENT, 0, 1, b"xx")))
bad_content(
    "content_across_extents",
    *(record(item(CONTENT, 0, at, b"x" * PIECE)) for at in range(0, EXTENT - PIECE, PIECE)),
    record(item(CONTENT, 0, EXTENT - PIECE, b"x" * (PIECE - 1))),
    record(item(CONTENT, 0, EXTENT - 1, b"xx")),
    size=2 * EXTENT,
)
bad_content("value_without_content", record(item(VALUE, 0, 0, bytes(32))))
bad_content("value_of_half_an_extent", whole(0, b"ab"))
bad_content("value_of_31_bytes", record(item(CONTENT, 0, 0, b"abc") + item(VALUE, 0, 0, bytes(31))))
bad_content("end_of_a_file_of_known_size", record(item(CONTENT, 0, 0, b"abc") + item(END, 0, 3)))
bad_content("empty_content", record(item(CONTENT, 0, 0)))
bad_content("item_longer_than_its_record", record(item(CONTENT, 0, 0, b"abc", length=4)))
bad_content("item_of_4_gib", record(item(CONTENT, 0, 0, b"abc", length=0xFFFFFFFF)))
bad_content("item_cut_in_its_header", record(item(CONTENT, 0, 0, b"abc")[:20]))
bad_content("item_of_unknown_kind", record(item(9, 0, 0, b"abc")))
bad_content("record_of_4_gib", record(b"", length=0xFFFFFFFF))
bad_content("record_a_byte_too_long", record(bytes(wire.MOST_BODY + 1)))
bad_content("record_of_unknown_kind", record(b"", kind=3))
bad_content("record_with_reserved_bits", b"\0\0\0\0\1\1\0\0")
bad_content("end_of_lane_with_a_body", record(b"x", kind=2))


@scenario
def extent_twice(address):
    session = Session(address)
    session.list(entry("file", size=2 * EXTENT))
    session.lane(data=extent(0, 0) * 2)
    session.hear_end()


@scenario
def extent_twice_on_two_lanes(address):
    session = Session(address)
    session.list(entry("file", size=2 * EXTENT))
    for number in range(2):
        session.lane(number, extent(0, 0))
    session.hear_end()


@scenario
def too_many_files_under_way(address):
    session = Session(address)
    session.list(*(entry(f"f{number:03}", size=2) for number in range(70)))
    session.lane(data=b"".join(record(item(CONTENT, number, 0, b"x")) for number in range(70)))
    session.hear_end()


@scenario
def content_for_what_was_never_listed(address):
    session = Session(address)
    session.list(entry("file"))
    lane = session.lane(data=record(item(CONTENT, 5, 0, b"abc")))
    # The lane waits; meanwhile the control connection is served.
    session.list(directory("later"))
    session.hear_outcomes(1)
    lane.close()
    session.control.stream.close()
    session.control.over.set()


def until_closed(lane):
    try:
        if lane.recv(1):
            raise wire.Broken("bytes on a lane")
    except ConnectionError:
        pass


@scenario
def lane_dies_in_a_record(address):
    session = Session(address)
    session.list(file := with_hash(entry("file", size=100_000), b"y" * 100_000))
    half = record(b"", length=100_000) + b"half"
    lane = session.lane(data=record(item(CONTENT, 0, 0, b"x" * 1000)) + half)
    lane.close()
    if session.expect(wire.LANE_CLOSED) != {0: 0, 1: 0}:
        raise wire.Broken("half a file was taken")
    # Its number is used, and what came of the file does not count.
    until_closed(session.lane())
    session.lane(1, whole(0, b"y" * 100_000) + wire.LANE_END)
    session.complete(file)


@scenario
def loss_of_a_lane_twice(address):
    session = Session(address)
    session.say(wire.LANE_LOST, {0: 3})
    if session.expect(wire.LANE_CLOSED) != {0: 3, 1: 0}:
        raise wire.Broken("a lane that never came has brought something")
    session.say(wire.LANE_LOST, {0: 3})
    session.hear_end()


@scenario
def lane_that_was_lost_before_it_came(address):
    session = Session(address)
    session.say(wire.LANE_LOST, {0: 0})
    session.expect(wire.LANE_CLOSED)
    session.list(file := with_hash(entry("file"), b"abc"))
    until_closed(session.lane(data=whole(0, b"abc") + wire.LANE_END))
    session.lane(1, whole(0, b"abc") + wire.LANE_END)
    session.complete(file)


# --- What the receiver has to live with ------------------------------------------------------------


@scenario
def wrong_value(address):
    session = Session(address)
    entries = [with_hash(entry(name), b"abc") for name in ("first", "second\x1b[31m", "third")]
    session.list(*entries)
    records = whole(0, b"abc") + whole(1, b"abc", bytes(32)) + whole(2, b"abc")
    lane = session.lane(data=records + wire.LANE_END)
    session.complete(*entries)
    lane.close()


@scenario
def link_in_the_destination(address):
    session = Session(address)
    entries = [directory("door"), entry("door/inside"), with_hash(entry("window"), b"abc")]
    session.list(*entries)
    lane = session.lane(data=whole(1, b"abc") + whole(2, b"abc") + wire.LANE_END)
    session.complete(*entries)
    lane.close()


@scenario
def directory_in_the_way_of_a_file(address):
    session = Session(address)
    entries = [with_hash(entry("blocked"), b"abc"), with_hash(entry("free"), b"abc")]
    session.list(*entries)
    lane = session.lane(data=whole(0, b"abc") + whole(1, b"abc") + wire.LANE_END)
    session.complete(*entries)
    lane.close()


@scenario
def names_of_its_own(address):
    """The receiver's own names, and names that tools trip over."""
    session = Session(address)
    names = [b"\x1b[2J\x1b]0;owned\x07", b".packhorse", "\u202egnp.exe".encode(), "\u009b2J".encode(), b"\xff\xfe"]
    entries = sorted((with_hash(entry(name), b"abc") for name in names), key=lambda e: e.path)
    session.list(*entries)
    lane = session.lane(data=b"".join(whole(n, b"abc") for n in range(len(entries))) + wire.LANE_END)
    session.complete(*entries)
    lane.close()


@scenario
def special_bits(address):
    session = Session(address)
    entries = [directory("d"), with_hash(entry("d/f"), b"abc")]
    fields = [e.fields() for e in entries]
    fields[0][2], fields[1][2] = 0o7777, 0o6755
    # The root covers the bits that are kept.
    entries[0].mode, entries[1].mode = 0o777, 0o755
    session.list(*fields)
    lane = session.lane(data=whole(1, b"abc") + wire.LANE_END)
    session.complete(*entries)
    lane.close()


@scenario
def size_that_no_disk_has(address):
    session = Session(address)
    entries = [entry("huge", size=TOP - 1), with_hash(entry("small"), b"abc")]
    session.list(*entries)
    last = TOP - EXTENT
    lane = session.lane(data=record(item(CONTENT, 0, last, b"x" * 1000)) + whole(1, b"abc") + wire.LANE_END)
    session.hear_outcomes(2)
    session.complete(*entries)
    lane.close()


@scenario
def withdrawn_with_terminal_escapes(address):
    session = Session(address, name="evil\x1b[2Jname")
    entries = [entry("fil\x1be"), with_hash(entry("good"), b"abc")]
    session.list(*entries)
    session.say(wire.WITHDRAW, {0: 0, 1: 1, 2: "\x1b[31mred\x07 text\u202e"})
    lane = session.lane(data=whole(1, b"abc") + wire.LANE_END)
    session.settled[0] = "withdrawn"
    session.complete(*entries)
    lane.close()


@scenario
def extremes_of_time(address):
    session = Session(address)
    entries = [directory("d"), link("l")]
    entries[0].modified, entries[1].modified = (-TOP, 0), (TOP - 1, 999_999_999)
    session.list(*entries)
    session.complete(*entries)


def good_session(session, number=0):
    good = with_hash(entry("good"), b"abc")
    session.list(good)
    lane = session.lane(number, whole(0, b"abc") + wire.LANE_END)
    session.complete(good)
    lane.close()


def expect_closed(stream):
    """That the other side closes and has said nothing."""
    stream.settimeout(20)
    try:
        said = stream.recv(100)
    except ConnectionResetError:
        said = b""
    if said:
        raise wire.Broken(f"said {said!r} to a stranger")


@scenario
def garbage_at_the_door(address):
    hello = bytes.fromhex("1603010200010001fc0303") + bytes(500)
    prefaces = [b"PACKX\0\1\0", b"PACKC\7\1\0", b"PACKA\0\1\0"]
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", hello, b"\0" * 64, b"SSH-2.0-x\r\n", *prefaces):
        stream = wire.connect(address)
        stream.sendall(garbage)
        expect_closed(stream)
    good_session(Session(address))


@scenario
def tls_behind_a_preface_without(address):
    stream = wire.connect(address)
    stream.sendall(wire.preface(wire.CONTROL) + bytes.fromhex("1603010200010001fc0303") + bytes(500))
    answer = wire.receive_exactly(stream, 8)
    if answer != wire.preface(wire.ACCEPTED):
        raise wire.Broken(f"answered {answer!r}")
    stream.settimeout(20)
    while stream.recv(4096):
        pass
    good_session(Session(address))


@scenario
def deep_nesting_is_skipped(address):
    session = Session(address)
    nested = b"\xa1\x18\x40" + b"\x81" * 65_000 + b"\x00"
    session.control.write(wire.message(wire.PROGRESS, nested))
    good_session(session)


@scenario
def lanes_of_strangers(address):
    session = Session(address)
    strangers = [session.lane(number, session=bytes(16)) for number in (0, 1, 0xFFFF)]
    for stranger in strangers:
        expect_closed(stranger)
    # Half a hello, and then nothing or the end.
    for keep in (True, False):
        stream = wire.connect(address)
        stream.sendall(wire.lane_start(session.accept[0], 1)[:30])
        strangers.append(stream) if keep else stream.close()
    good_session(session)


@scenario
def lane_number_twice(address):
    session = Session(address)
    first = session.lane(0)
    good = [with_hash(entry("a"), b"abc"), with_hash(entry("good"), b"abc")]
    session.list(*good)
    first.sendall(whole(0, b"abc"))
    # Settled, so the first lane is known before the second one comes.
    session.hear_outcomes(1)
    expect_closed(session.lane(0, whole(1, b"abc", bytes(32))))
    first.sendall(whole(1, b"abc") + wire.LANE_END)
    session.complete(*good)


@scenario
def more_lanes_than_told(address):
    session = Session(address)
    most = session.accept[3]
    lanes = [session.lane(number) for number in range(most)]
    expect_closed(session.lane(most))
    good = [with_hash(entry("a"), b"abc"), with_hash(entry("good"), b"abc")]
    session.list(*good)
    lanes[-1].sendall(whole(0, b"abc"))
    # One that has ended makes room for another, which has a number of its own.
    lanes[0].sendall(wire.LANE_END)
    expect_closed(lanes.pop(0))
    lanes.append(session.lane(0xFFFF, whole(1, b"abc")))
    for lane in lanes:
        lane.sendall(wire.LANE_END)
    session.complete(*good)


@scenario
def second_sender_meanwhile(address):
    session = Session(address)
    second = wire.connect(address)
    second.sendall(wire.preface(wire.CONTROL) + wire.message(wire.HELLO, {0: b"", 2: "second"}))
    answer = wire.receive_exactly(second, 8)
    if answer != wire.preface(wire.REFUSED, 4):
        raise wire.Broken(f"answered {answer!r}")
    good_session(session)


@scenario
def lane_that_stays_open(address):
    """All is sent, but the lane never ends: the session is complete all the same."""
    session = Session(address)
    good = with_hash(entry("good"), b"abc")
    session.list(good)
    lane = session.lane(0, whole(0, b"abc"))
    session.complete(good)
    lane.close()


@scenario
def idle_crowd(address):
    """Opens many connections that say nothing or little, and keeps them."""
    crowd = []
    for number in range(64):
        stream = wire.connect(address)
        stream.sendall((b"", b"PA", wire.preface(wire.CONTROL), wire.preface(wire.LANE))[number % 4])
        crowd.append(stream)
    wire.tell("crowded")
    threading.Event().wait(100)


@scenario
def slow_hello(address):
    """A byte a second, so that no silence is long: the deadline is for all of it."""
    stream = wire.connect(address)
    stream.sendall(wire.preface(wire.CONTROL))
    hello, started = wire.message(wire.HELLO, {0: b"", 2: "slow" * 20}), time.monotonic()
    try:
        for byte in hello:
            stream.sendall(bytes([byte]))
            time.sleep(1)
    except OSError:
        pass
    wire.tell("closed", seconds=time.monotonic() - started)


@scenario
def falls_silent(address):
    """Neither says nor reads anything any more, and keeps its connections."""
    session = Session(address)
    session.list(entry("file", size=1 << 30))
    lane = session.lane(data=record(item(CONTENT, 0, 0, b"x" * 1000)))
    session.control.over.set()
    wire.tell("silent")
    threading.Event().wait(100)
    lane.close()


def flood(session, count, parent):
    """Lists so many empty files in a directory, in batches that fit a message."""
    for start in range(0, count, 1000):
        fields = [entry(f"{parent}/{number:07}", size=0).fields() for number in range(start, start + 1000)]
        yield {0: session.listed, 1: fields}
        session.listed += 1000


@scenario
def many_entries(address):
    session = Session(address)
    session.list(directory("many"))
    outcomes = session.settled
    for body in flood(session, 200_000, "many"):
        # No further ahead than the window lets it.
        session.say(wire.ENTRIES, body)
        session.hear_outcomes(max(0, body[0] - 2000))
    session.hear_outcomes(session.listed)
    wire.tell("settled", count=len(outcomes))
    threading.Event().wait(100)


@scenario
def many_failures_that_nobody_reads(address):
    """The window opens as the receiver settles, whether its words are read or not."""
    session = Session(address)
    session.list(directory("door"))
    try:
        for body in flood(session, 400_000, "door"):
            session.control.stream.settimeout(20)
            session.say(wire.ENTRIES, body)
            # What overruns the window is refused: go no faster than the receiver fails them.
            time.sleep(0.02)
    except OSError as error:
        wire.tell("stopped", listed=session.listed, error=str(error))
    else:
        wire.tell("stopped", listed=session.listed)
    threading.Event().wait(100)


if __name__ == "__main__":
    wire.main(lambda: SCENARIOS[sys.argv[1]](sys.argv[2]))
