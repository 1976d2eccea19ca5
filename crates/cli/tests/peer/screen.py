"""The terminal interface of watch, on a terminal that tmux keeps: what its screen shows is what tmux says."""

import random
import re
import shlex

from segments import ACK, FIN, PSH, SYN, Capture, ethernet, fragments, ipv4, tcp, udp
from talking import *

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"


class Screen:
    """A shell on a terminal of its own, in which packhorse runs."""

    def __init__(self, room, columns=80, rows=24):
        self.tmux = ["tmux", "-S", f"{room}/tmux", "-f", "/dev/null"]
        self("new-session", "-d", "-x", str(columns), "-y", str(rows), "sh")
        self.until(re.compile("^[#$]", re.M))
        self.type("PS1='ready> '")
        self.keys("Enter")
        self.until(re.compile("^ready>", re.M))
        self.number = 0
        self.settings_file = f"{room}/settings"

    def __call__(self, *command):
        ended = subprocess.run([*self.tmux, *command], capture_output=True, timeout=DEADLINE)
        assert ended.returncode == 0, ended
        return ended.stdout.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run([*self.tmux, "kill-server"], timeout=DEADLINE)

    def text(self):
        return self("capture-pane", "-p")

    def until(self, *texts, without=()):
        """Waits until the screen shows all of these; a compiled pattern is looked for."""
        end = time.monotonic() + DEADLINE
        while True:
            screen = self.text()
            shown = [re.search(t, screen) if isinstance(t, re.Pattern) else t in screen for t in texts]
            if all(shown) and not any(text in screen for text in without):
                return screen
            assert time.monotonic() < end, f"not all of {texts}, without {without}:\n{screen}"
            time.sleep(0.02)

    def keys(self, *keys):
        self("send-keys", *keys)

    def type(self, text):
        self("send-keys", "-l", text)

    def does(self, command):
        """Types a command of the shell; what it prints at its end is what is given."""
        self.number += 1
        self.type(f"{command}; echo ended-{self.number} $?")
        self.keys("Enter")
        return f"ended-{self.number} "

    def settings(self):
        """The terminal's own settings, as stty has them."""
        self.until(self.does(f"stty -g > {self.settings_file}") + "0")
        return open(self.settings_file).read()

    def start(self, *arguments, before=""):
        """Runs packhorse."""
        self.before = self.settings()
        command = " ".join(shlex.quote(part) for part in (PACKHORSE, "watch", *arguments))
        self.end = self.does(f"{before} {command}")

    def child(self):
        """The process of the packhorse that the shell started."""
        shell = self("display-message", "-p", "#{pane_pid}").strip()
        found = subprocess.run(["pgrep", "-P", shell, "-x", "packhorse"], capture_output=True, text=True)
        return int(found.stdout)

    def ended(self, code=0):
        """It has ended so, and the terminal is as it was."""
        screen = self.until(f"{self.end}{code}")
        assert self.settings() == self.before
        assert self("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"
        return screen


def conversation(path, count=40):
    """A stream of messages with a length before each, three to a segment, and a datagram in pieces."""
    capture, now = Capture(path), 10**18

    def add(who, sequence, acknowledged, flags, payload=b""):
        nonlocal now
        now += 10**6
        ends = (CLIENT, SERVER) if who == 0 else (SERVER, CLIENT)
        ports = (40000, 9090) if who == 0 else (9090, 40000)
        segment = tcp(*ports, sequence, acknowledged, flags, 60000, payload)
        capture.add(now, ethernet(ipv4(*ends, 6, segment)))

    add(0, 1000, 0, SYN)
    add(1, 5000, 1001, SYN | ACK)
    add(0, 1001, 5001, ACK)
    sequence = 1001
    for number in range(count):
        payload = b"".join(struct_message(b"message %d of %d" % (part, number)) for part in range(3))
        add(0, sequence, 5001, ACK | PSH, payload)
        sequence += len(payload)
    add(1, 5001, sequence, ACK)
    add(0, sequence, 5001, ACK | FIN)
    add(1, 5001, sequence + 1, ACK | FIN)
    add(0, sequence + 1, 5002, ACK)
    for piece in fragments(CLIENT, SERVER, 17, udp(7000, 4000, b"in pieces" * 300), 77, 1480):
        capture.add(now, ethernet(piece))
    capture.close()


def struct_message(payload):
    return len(payload).to_bytes(4, "big") + payload


def a_capture_is_looked_through():
    with directory() as room, Screen(room) as screen:
        path = f"{room}/c.pcap"
        conversation(path)
        screen.start(path)
        screen.until("1 Packets", "49 frames", "[SYN]", "Layers", "Bytes", "TCP segment: header 20")
        # Down to the first message; its bytes are those of the file.
        screen.keys("Down", "Down", "Down")
        screen.until("message", re.compile("0030  ea 60 .. .. .. .. 00 00"), "e 0 of 0")
        screen.keys("Enter", "Home", "Enter")
        screen.until("▾ 2 Ethernet II", "destination: 02:00:00:00:00:01", "type: 0x800 (IPv4)")
        # The last of all: a datagram put together, and what it carries.
        screen.keys("Tab")
        screen.keys("Tab", "End")
        screen.until("UDP datagram: header 8, SDU 2700", "in piece")
        # Of a packet to its stream.
        screen.keys("g", "2")
        screen.until("tcp:0", "udp:0", "closed by client", "-> 44 packets")
        screen.keys("Enter")
        screen.until("stream tcp:0", "SYN seq 1000", "open 1 of 3", "seconds")
        screen.keys("G")
        screen.until("close 4 of 4", "close 2 of 4")
        screen.keys("g", "/")
        screen.type("frames")
        screen.keys("Enter", "u")
        screen.until("data 0..", without=["frames 6 to"])
        screen.keys("4")
        screen.until("f tells how the messages of the stream are framed")
        screen.keys("f")
        screen.type("nonsense")
        screen.keys("Enter")
        screen.until("nonsense")
        screen.keys("f")
        screen.type("u32be")
        screen.keys("Enter")
        screen.until("120 messages in 40 segments", "120 glued", '"message 0 of 0"')
        # From a message to the frame that carried it.
        screen.keys("/")
        screen.type("message 1 of 30")
        screen.keys("Enter", "Enter")
        screen.until("1 Packets", re.compile(r"^ +34 +0\.033000 ", re.M), "Layers")
        screen.keys("q")
        screen.ended()


def it_filters_and_searches():
    with directory() as room, Screen(room) as screen:
        path = f"{room}/c.pcap"
        conversation(path)
        screen.start(path)
        screen.until("49 frames")
        screen.keys("f")
        screen.type("udp or src port 9090")
        screen.keys("Enter")
        screen.until("5 match udp or src port 9090", without=["[PSH ACK]"])
        screen.keys("f", "C-u")
        screen.type("no such")
        screen.keys("Enter")
        screen.until("'no' is not known")
        screen.keys("f", "C-u", "Enter")
        screen.until("[PSH ACK]", without=["match"])
        # What is in the bytes is found, whatever its letters.
        screen.keys("g", "/")
        screen.type("MESSAGE 2 OF 35")
        screen.keys("Enter")
        screen.until(re.compile(r"^ +39 +0\.038000 ", re.M))
        screen.keys("n")
        screen.until("'MESSAGE 2 OF 35' is not there")
        screen.keys("N")
        screen.until("'MESSAGE 2 OF 35' is not there")
        screen.keys("?")
        screen.until("Keys", "filter, such as tcp port 9090", "q Ctrl-C")
        screen.keys("Escape")
        screen.until("49 frames", without=["Keys ─"])
        screen.keys("2", "p")
        screen.until("47 match tcp and host 192.0.2.1 and port 40000")
        screen.keys("C-c")
        screen.ended()


def every_size_is_enough():
    """From a single cell on, in every view, with help and questions open."""
    with directory() as room, Screen(room) as screen:
        path = f"{room}/c.pcap"
        conversation(path)
        screen.start(path, "--frame", "u32be")
        screen.until("49 frames")
        sizes = [(1, 1), (2, 3), (10, 2), (40, 10), (80, 24), (3, 60), (300, 80), (20, 5)]
        for view in "1234":
            for extra in (None, "?", "/"):
                screen.keys(view)
                if extra:
                    screen.keys(extra)
                for columns, rows in sizes:
                    screen("resize-window", "-x", str(columns), "-y", str(rows))
                    screen.keys("Down", "PageDown", "End", "Up", "Right")
                screen.keys("Escape")
        screen("resize-window", "-x", "100", "-y", "30")
        screen.keys("1")
        screen.until("1 Packets", "49 frames", "Layers")
        screen("resize-window", "-x", "80", "-y", "24")
        screen.until(re.compile(r"\A 1 Packets (.*\n){22}.* 49 frames.*\nq quit "), "Layers")
        screen.keys("q")
        screen.ended()


def signals_give_the_terminal_back():
    with directory() as room, Screen(room) as screen:
        path = f"{room}/c.pcap"
        conversation(path)
        for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            screen.start(path)
            screen.until("49 frames")
            os.kill(screen.child(), kind)
            screen.ended(0)


def it_ends_with_its_terminal():
    with directory() as room, Screen(room) as screen:
        path = f"{room}/c.pcap"
        conversation(path)
        screen.start(path)
        screen.until("49 frames")
        ended = os.pidfd_open(screen.child())
        screen("kill-server")
        ready, _, _ = select.select([ended], [], [], DEADLINE)
        assert ready, "it goes on without a terminal"


def damage_is_told_when_it_ends():
    with directory() as room, Screen(room) as screen:
        path = f"{room}/c.pcap"
        conversation(path)
        whole = open(path, "rb").read()
        open(path, "wb").write(whole[:-100])
        screen.start(path)
        screen.until("48 frames", "the file ends in the middle of a record")
        screen.keys("q")
        told = screen.ended(6)
        assert "error:" in told and "offset" in told, told


def what_is_no_capture_never_opens_the_screen():
    with directory() as room, Screen(room) as screen:
        open(f"{room}/text", "w").write("no capture\n" * 10)
        screen.start(f"{room}/text")
        screen.ended(6)
        screen.start(f"{room}/nothing")
        assert "error: cannot read" in screen.ended(5)


def texts_from_captures_steer_no_terminal():
    with directory() as room, Screen(room) as screen:
        path = f"{room}/\x1b]0;named\x07.pcap"
        capture = Capture(path)
        request = b"GET /\x1b]0;titled\x07\x1b[2J\x1b[31m HTTP/1.1\r\nHost: \x9b31m\r\n\r\n"
        for number in range(3):
            segment = tcp(40000, 80, 1 + number * len(request), 2, ACK, 9, request)
            capture.add(10**18, ethernet(ipv4(CLIENT, SERVER, 6, segment)))
        capture.close()
        screen("set", "-g", "allow-rename", "on")
        screen.start(path, "--frame", "line")
        screen.until("3 frames", "HTTP")
        for key in ("Enter", "End", "2", "3", "4"):
            screen.keys(key)
        screen.until("messages in 3 segments")
        title = screen("display-message", "-p", "#{pane_title} #{window_name}")
        assert "titled" not in title and "named" not in title, title
        screen.keys("q")
        screen.ended()


def an_interface_is_watched_and_kept():
    """In a network of its own, into which three datagrams go once it watches."""
    with directory() as room, Screen(room) as screen:
        os.mkfifo(f"{room}/go")
        sender = f"""
import socket
open({f"{room}/go"!r}).read()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(3):
    s.sendto(b"datagram %d" % number, ("127.0.0.1", 4000 + number))
"""
        open(f"{room}/sender.py", "w").write(sender)
        kept = f"{room}/kept.pcapng"
        setup = f"unshare --map-root-user --net sh -c 'ip link set lo up; python3 {room}/sender.py & exec \"$@\"' sh"
        screen.start("--interface", "lo", "--filter", "udp", "--write", kept, before=setup)
        screen.until("capturing", "1 Packets")
        open(f"{room}/go", "w").close()
        # The newest is selected as it comes.
        screen.until("3 frames", "datagram")
        screen.keys("2")
        screen.until("udp:0", "udp:2", "127.0.0.1:4002")
        screen.keys("q")
        told = screen.ended()
        assert " 0 frames dropped by the kernel" in told, told
        ended = subprocess.run(["tshark", "-n", "-r", kept, "-T", "fields", "-e", "udp.dstport", "-e", "data.text",
                                "-o", "data.show_as_text:TRUE"], capture_output=True, check=True, timeout=DEADLINE)
        rows = [row.split(b"\t") for row in ended.stdout.splitlines()]
        assert [(port, text) for port, text in rows] == [
            (b"%d" % (4000 + number), b"datagram %d" % number) for number in range(3)], rows


if __name__ == "__main__":
    run(globals())
