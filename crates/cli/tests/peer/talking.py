"""What the scenarios of talking share: a packhorse that runs beside them, and what is expected of it.

A scenario is a function of a module; `run(globals())` runs the one that argv names:

    s04.py PACKHORSE SCENARIO

It ends with 0 where everything was as expected, else with a traceback.
"""

import base64
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time

PACKHORSE = sys.argv[1]
DEADLINE = 60  # seconds; far more than anything here takes


class Running:
    """A packhorse whose standard output is read as it comes."""

    def __init__(self, *arguments, stdin=subprocess.PIPE):
        self.process = subprocess.Popen(
            [PACKHORSE, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent"},
        )
        self.out = b""
        self.err = b""
        self.changed = threading.Condition()
        self.open = 2
        for stream, name in ((self.process.stdout, "out"), (self.process.stderr, "err")):
            threading.Thread(target=self._read, args=(stream, name), daemon=True).start()
        self.killer = threading.Timer(DEADLINE, self.process.kill)
        self.killer.daemon = True
        self.killer.start()

    def _read(self, stream, name):
        while chunk := stream.read1(65536):
            with self.changed:
                setattr(self, name, getattr(self, name) + chunk)
                self.changed.notify_all()
        with self.changed:
            self.open -= 1
            self.changed.notify_all()

    def until(self, found, what="what was waited for"):
        """Waits until `found()` gives something true, and gives that."""
        with self.changed:
            while True:
                result = found()
                if result:
                    return result
                if self.open == 0:
                    raise AssertionError(f"it ended without {what}:\n{self.out}\n{self.err}")
                if not self.changed.wait(DEADLINE):
                    raise AssertionError(f"no {what}:\n{self.out}\n{self.err}")

    def events(self, name=None):
        lines = self.out.split(b"\n")[:-1]
        events = [json.loads(line) for line in lines]
        return [event for event in events if name in (None, event["event"])]

    def event(self, name, number=1):
        """The event of this name, of which there are `number` then."""
        self.until(lambda: len(self.events(name)) >= number, f"{number} events {name}")
        return self.events(name)[number - 1]

    def messages(self, direction="received"):
        return [
            base64.b64decode(event["bytes"])
            for event in self.events("message")
            if event["direction"] == direction
        ]

    def address(self):
        """Where it listens, as Python has it; told by JSON, or by the line for a person."""

        def told():
            if b"\n" in self.out and self.out.startswith(b"{"):
                found = self.events("listening")
                return found and found[0]["endpoint"]
            for line in self.err.decode().split("\n")[:-1]:
                if line.startswith("Listening on "):
                    return line.split()[2]
            return None

        endpoint = self.until(told, "an address")
        return python_address(endpoint)

    def type(self, text):
        self.process.stdin.write(text if isinstance(text, bytes) else text.encode())
        self.process.stdin.flush()

    def no_more_input(self):
        self.process.stdin.close()

    def stop(self, kind=signal.SIGTERM):
        self.process.send_signal(kind)

    def ends(self, code=0):
        """Waits for its end, and for all of its output."""
        if self.process.stdin and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        ended = self.process.wait()
        with self.changed:
            while self.open:
                self.changed.wait(DEADLINE)
        assert ended == code, f"ended with {ended}, not {code}:\n{self.out}\n{self.err}"
        return self

    def says(self, text):
        assert text in self.err.decode(), f"no {text!r} in:\n{self.err.decode()}"
        return self


class Terminal:
    """A packhorse that a person uses, at a terminal of 80 columns."""

    def __init__(self, *arguments):
        self.terminal, side = pty.openpty()
        self.settings = termios.tcgetattr(side)
        # Kept open: the settings outlive the program.
        self.side = side
        self.child = os.fork()
        if self.child == 0:
            os.environ["TERM"] = "xterm"
            os.login_tty(side)
            os.execv(PACKHORSE, [PACKHORSE, *arguments])
        self.seen = b""

    def settings_now(self):
        return termios.tcgetattr(self.side)

    def paste(self, text):
        """Types faster than anybody reads."""
        data = text.encode()
        while data:
            data = data[os.write(self.terminal, data) :]

    def read_on(self):
        while True:
            self.read()

    def wait_for(self, text, after=0):
        """Waits until the terminal has shown this, from position `after` on; gives where it ends."""
        wanted = text if isinstance(text, bytes) else text.encode()
        until = time.monotonic() + DEADLINE
        while wanted not in self.seen[after:]:
            assert time.monotonic() < until, f"no {text!r}: {self.seen!r}"
            self.read()
        return self.seen.index(wanted, after) + len(wanted)

    def read(self):
        ready, _, _ = select.select([self.terminal], [], [], 0.1)
        if not ready:
            return True
        try:
            chunk = os.read(self.terminal, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.seen += chunk
        return bool(chunk)

    def read_what_was_written(self):
        """Reads until a mark that is written now: what the kernel passes on later than a program's end
        comes before it."""
        mark = b"\x1b_all was read\x1b\\"
        os.write(self.side, mark)
        self.wait_for(mark)
        self.seen = self.seen.replace(mark, b"")

    def type(self, text):
        os.write(self.terminal, text if isinstance(text, bytes) else text.encode())

    def ends(self, code=0):
        until = time.monotonic() + DEADLINE
        while True:
            pid, status = os.waitpid(self.child, os.WNOHANG)
            self.read()
            if pid:
                break
            assert time.monotonic() < until, f"it did not end: {self.seen!r}"
        self.read_what_was_written()
        ended = os.waitstatus_to_exitcode(status)
        assert ended == code, f"ended with {ended}, not {code}: {self.seen!r}"


def python_address(endpoint):
    rest = endpoint.split(":", 1)[1]
    if not rest.startswith("//"):
        return "\0" + rest[1:] if rest.startswith("@") else rest
    host, port = rest[2:].rsplit(":", 1)
    return host.strip("[]"), int(port)


def tcp_server():
    """A listening socket, and packhorse's name for it."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(DEADLINE)
    return server, "tcp://127.0.0.1:%d" % server.getsockname()[1]


def tcp_client(address):
    client = socket.create_connection(address, timeout=DEADLINE)
    return client


def udp_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(DEADLINE)
    return sock, "udp://127.0.0.1:%d" % sock.getsockname()[1]


def read_all(sock):
    chunks = []
    while chunk := sock.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def reset(sock):
    """Closes so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def directory():
    return tempfile.TemporaryDirectory(prefix="packhorse-talk-")


def run(scenarios):
    scenarios[sys.argv[2]]()
