"""Ladders: what each rung says is judged by tshark and by what was made, pictures by Python's own parsers."""

import html.parser
import random
import re
import xml.etree.ElementTree

import s11
import segments
from segments import ACK, FIN, PSH, RST, SYN, Capture, ethernet, ip, tcp
from talking import *

CLIENT, SERVER = ("192.0.2.1", 40000), ("192.0.2.2", 9090)

# What each note is called there.
NOTES = {
    "retransmission": "tcp.analysis.retransmission",
    "fast_retransmission": "tcp.analysis.fast_retransmission",
    "spurious_retransmission": "tcp.analysis.spurious_retransmission",
    "out_of_order": "tcp.analysis.out_of_order",
    "duplicate_ack": "tcp.analysis.duplicate_ack",
    "previous_not_captured": "tcp.analysis.lost_segment",
    "ack_of_unseen": "tcp.analysis.ack_lost_segment",
    "zero_window": "tcp.analysis.zero_window",
    "zero_window_probe": "tcp.analysis.zero_window_probe",
    "window_full": "tcp.analysis.window_full",
    "keep_alive": "tcp.analysis.keep_alive",
}


class Made:
    """A stream whose every segment is written down."""

    def __init__(self, path):
        self.capture, self.now, self.path = Capture(path), 10**18, path

    def add(self, who, sequence, acknowledged, flags, payload=b"", window=60000, options=b"", after=10**6):
        self.now += after
        (a, a_port), (b, b_port) = (CLIENT, SERVER) if who == 0 else (SERVER, CLIENT)
        segment = tcp(a_port, b_port, sequence, acknowledged, flags, window, payload, options)
        self.capture.add(self.now, ethernet(ip(a, b, 6, segment)))

    def opened(self):
        self.add(0, 1000, 0, SYN, options=b"\x02\x04\x05\xb4")
        self.add(1, 5000, 1001, SYN | ACK, options=b"\x02\x04\x05\xb4")
        self.add(0, 1001, 5001, ACK)
        return self

    def rungs(self, *arguments):
        self.capture.close()
        return rungs(self.path, 0, *arguments)


def rungs(path, number, *arguments):
    return s11.objects(s11.packhorse(path, "--ladder", str(number), "--json", *arguments))


def parts(steps):
    return {step["frame"]: step["part"] for step in steps if step.get("part")}


def each_segment_is_what_tshark_has():
    for seed in s11.seeds(3):
        with directory() as room:
            path = f"{room}/capture.pcap"
            segments.random_streams(path, seed, steps=2500)
            names = ["tcp.stream", "frame.number", "tcp.seq_raw", "tcp.ack_raw", "tcp.len", "tcp.flags", *NOTES.values()]
            expected = {}
            for row in s11.fields(path, *names, only="tcp"):
                stream, frame, sequence, acknowledged, length, flags, *notes = row
                said = {note for note, value in zip(NOTES, notes) if value}
                # There each of the other two is this one as well.
                if said & {"fast_retransmission", "spurious_retransmission"}:
                    said -= {"retransmission"}
                expected.setdefault(int(stream), []).append(
                    (int(frame), int(sequence), int(acknowledged), int(length), int(flags, 16), sorted(said)))
            for number in list(expected)[:12]:
                steps = rungs(path, number, "--verbose")
                assert all(step["event"] == "segment" for step in steps)
                got = [(step["frame"], step["seq"], step["ack"], step["len"], bits(step["flags"]),
                        sorted(note for note in step["notes"] if note in NOTES)) for step in steps]
                assert got == expected[number], next(
                    (number, ours, theirs) for ours, theirs in zip(got, expected[number]) if ours != theirs)


def bits(text):
    names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"]
    return sum(1 << names.index(name) for name in text.strip("[]").split())


def pictures_are_well_formed_and_lines_fit():
    class Page(html.parser.HTMLParser):
        empty = {"meta", "link", "br", "line", "path", "rect", "polygon", "circle", "polyline"}

        def __init__(self):
            super().__init__()
            self.open, self.seen = [], set()

        def handle_starttag(self, tag, attributes):
            self.seen.add(tag)
            assert not {"src", "href"} & {name for name, _ in attributes}, "it needs something besides"
            if tag not in self.empty:
                self.open.append(tag)

        def handle_endtag(self, tag):
            if tag not in self.empty:
                assert self.open.pop() == tag, (tag, self.open)

    for seed in s11.seeds(1):
        with directory() as room:
            path = f"{room}/capture.pcap"
            segments.random_streams(path, seed, steps=1500)
            for number in range(8):
                svg, page = f"{room}/l.svg", f"{room}/l.html"
                s11.packhorse(path, "--ladder", str(number), "--svg", svg, "--html", page)
                root = xml.etree.ElementTree.parse(svg).getroot()
                assert root.tag == "{http://www.w3.org/2000/svg}svg"
                drawn = " ".join(root.itertext())
                steps = rungs(path, number)
                for step in steps[:3] + steps[-3:]:
                    assert step["label"][:20] in drawn, step
                text = open(page, encoding="utf-8").read()
                parser = Page()
                parser.feed(text)
                parser.close()
                assert parser.open == [] and {"html", "title", "svg"} <= parser.seen, parser.open
                assert not re.search(r"https?://(?!www\.w3\.org)", text)
                lines = s11.packhorse(path, "--ladder", str(number)).out.decode().splitlines()
                assert max(map(len, lines)) <= 80, max(lines, key=len)


def it_opens_in_three_steps_and_closes_in_four():
    with directory() as room:
        made = Made(f"{room}/c.pcap").opened()
        made.add(0, 1001, 5001, ACK | FIN)
        made.add(1, 5001, 1002, ACK)
        # The other half goes on.
        made.add(1, 5001, 1002, ACK | PSH, b"last words")
        made.add(0, 1002, 5011, ACK)
        made.add(1, 5011, 1002, ACK | FIN)
        made.add(0, 1002, 5012, ACK)
        assert parts(made.rungs()) == {
            1: "open 1 of 3", 2: "open 2 of 3", 3: "open 3 of 3",
            4: "close 1 of 4", 5: "close 2 of 4", 8: "close 3 of 4", 9: "close 4 of 4"}
        made = Made(f"{room}/c.pcap").opened()
        made.add(1, 5001, 1001, ACK | FIN)
        made.add(0, 1001, 5002, ACK | FIN)
        made.add(1, 5002, 1002, ACK)
        assert parts(made.rungs())[5] == "close 2 of 4, close 3 of 4"
        made = Made(f"{room}/c.pcap").opened()
        made.add(1, 5001, 1001, ACK | RST)
        steps = made.rungs()
        assert parts(steps)[4] == "reset"
        text = s11.packhorse(made.path, "--ladder", "0").out.decode()
        assert "seq 1000" in text and "mss 1460" in text and "reset" in text


def what_is_sent_again_names_the_first():
    with directory() as room:
        made = Made(f"{room}/c.pcap").opened()
        made.add(0, 1001, 5001, ACK | PSH, b"a" * 100)
        made.add(0, 1101, 5001, ACK | PSH, b"b" * 100)
        made.add(0, 1101, 5001, ACK | PSH, b"b" * 100, after=10**9)
        made.add(1, 5001, 1201, ACK)
        steps = {step["frame"]: step for step in made.rungs()}
        assert steps[6]["first_sent"] == 5 and "retransmission" in steps[6]["notes"]
        assert (steps[5]["offset"], steps[5]["len"], steps[7]["acknowledged"]) == (100, 100, 200)
        assert any("frame 5" in remark for remark in steps[6]["remarks"]), steps[6]


def long_runs_are_folded():
    with directory() as room:
        made = Made(f"{room}/c.pcap").opened()
        for number in range(100):
            made.add(0, 1001 + 50 * number, 5001, ACK | PSH, b"x" * 50)
        steps = made.rungs()
        (fold,) = [step for step in steps if step["event"] == "folded"]
        shown = [step["frame"] for step in steps if step["event"] == "segment"]
        hidden = range(fold["first_frame"], fold["last_frame"] + 1)
        assert sorted([*shown, *hidden]) == list(range(1, 104)) and len(shown) < 12
        assert f"{len(hidden)} with {50 * len(hidden)} bytes" in fold["label"], fold
        assert len(rungs(made.path, 0, "--verbose")) == 103


def datagrams_have_ladders():
    with directory() as room:
        capture = Capture(f"{room}/c.pcap")
        for number in range(4):
            ends = ("2001:db8::1", "2001:db8::2") if number % 2 == 0 else ("2001:db8::2", "2001:db8::1")
            ports = (5000, 53) if number % 2 == 0 else (53, 5000)
            capture.add(10**18 + number, ethernet(ip(*ends, 17, segments.udp(*ports, b"x" * (number + 1)))))
        capture.close()
        steps = rungs(f"{room}/c.pcap", "udp:0")
        assert [(s["direction"], s["len"]) for s in steps] == [
            ("to_server", 1), ("to_client", 2), ("to_server", 3), ("to_client", 4)]


if __name__ == "__main__":
    run(globals())
