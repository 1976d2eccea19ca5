"""Interfaces of a network namespace of its own are watched; Python's sockets say what was sent, tshark what was kept."""

import contextlib
import resource
import struct

import ledger
from talking import *

INSIDE = ["unshare", "--map-root-user", "--net", sys.executable, "-B", __file__, PACKHORSE]
WATCH = ["watch", "--json"]


def inside(name):
    """Runs a scenario where there is nothing but loopback and what it makes."""
    subprocess.run([*INSIDE, name], check=True, timeout=2 * DEADLINE)


def up(*commands):
    for command in ("ip link set lo up", *commands):
        subprocess.run(command.split(), check=True, timeout=DEADLINE)


def pair():
    """Two sockets, and a call that sends once packhorse is known to watch."""
    here, _ = udp_socket()
    there, _ = udp_socket()
    there.settimeout(None)
    there.connect(here.getsockname())
    return here, there


def watching(*arguments, knock=9):
    """A packhorse that has shown its first frame: a datagram to this port of loopback."""
    ours = Running(*WATCH, *arguments)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    until = time.monotonic() + DEADLINE
    while not ours.out:
        assert time.monotonic() < until and ours.open, ours.err
        sock.sendto(b"knock", ("127.0.0.1", knock))
        select.select([], [], [], 0.01)
    return ours


def from_port(ours, port):
    return [frame for frame in ours.events("frame") if frame.get("source_port") == port]


def what_is_kept_is_what_was_sent():
    inside("kept")


def kept():
    up()
    with directory() as room:
        path = f"{room}/c.pcapng"
        here, there = pair()
        port = there.getsockname()[1]
        begin = time.time_ns()
        ours = watching("--interface", "lo", "--write", path)
        for number in range(500):
            there.send(b"%d" % number * (number % 50 + 1))
        ours.until(lambda: len(from_port(ours, port)) == 500, "500 datagrams")
        ours.stop(signal.SIGINT)
        ours.ends(0).says("0 frames dropped by the kernel")
        names = ["frame.time_epoch", "udp.srcport", "data.data"]
        command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|"]
        command += [part for name in names for part in ("-e", name)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
        rows = [line.split("|") for line in told.splitlines()]
        sent = [bytes.fromhex(row[2]) for row in rows if row[1] == str(port)]
        assert sent == [b"%d" % number * (number % 50 + 1) for number in range(500)]
        # What was shown is what was kept, and each at the time when it was sent.
        shown = ours.events("frame")
        assert [frame["time_ns"] for frame in shown] == [int(row[0].replace(".", "")) for row in rows]
        assert all(begin - 10**9 < frame["time_ns"] < time.time_ns() + 10**9 for frame in shown)
        statistics = [(order, body) for order, kind, body in ledger.blocks(open(path, "rb").read()) if kind == 5]
        ((order, body),) = statistics
        told = dict(ledger.options(order, body[12:]))
        assert struct.unpack(order + "Q", told[4])[0] >= len(shown)
        assert struct.unpack(order + "Q", told[5])[0] == 0


def only_what_matches_is_kept():
    inside("chosen")


def chosen():
    up()
    with directory() as room:
        path = f"{room}/c.pcapng"
        here, there = pair()
        port = there.getsockname()[1]
        ours = Running(*WATCH, "--interface", "lo", "--write", path, "--filter", f"udp src port {port}", "--count", "7")
        # It ends after seven of them by itself, whatever else there is.
        while ours.process.poll() is None:
            here.sendto(b"other", ("127.0.0.1", 9))
            there.send(b"one")
            select.select([], [], [], 0.001)
        ours.ends(0)
        assert len(from_port(ours, port)) == len(ours.events("frame")) == 7
        again = Running(*WATCH, path).ends(0)
        numberless = lambda one: [frame | {"frame": 0} for frame in one.events("frame")]
        assert numberless(again) == numberless(ours)


def it_ends_by_itself_after_its_time():
    inside("timed")


def timed():
    up()
    ours = Running(*WATCH, "--interface", "lo", "--duration", "50ms").ends(0)
    assert ours.out == b""


def any_interface_is_watched():
    inside("everywhere")


def everywhere():
    up("ip link add one type veth peer name two", "ip addr add 192.0.2.1/24 dev one",
       "ip link set one up", "ip link set two up", "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:09 dev one")
    with directory() as room:
        path = f"{room}/c.pcapng"
        ours = watching("--interface", "any", "--write", path)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"over a link", ("192.0.2.2", 4000))
        found = lambda: [one for one in ours.events("frame") if one.get("destination_port") == 4000]
        # It leaves at one end, and arrives at the other.
        ours.until(lambda: len(found()) == 2, "the datagram at both ends")
        ours.stop()
        ours.ends(0)
        assert {one["link"] for one in ours.events("frame")} == {276}
        command = ["tshark", "-n", "-r", path, "-Y", "udp.dstport == 4000", "-T", "fields"]
        command += ["-e", "sll.ifindex", "-e", "sll.pkttype", "-e", "data.data"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout
        index = lambda name: str(socket.if_nametoindex(name))
        data = b"over a link".hex()
        # Sent by us; for somebody else.
        expected = {(index("one"), "4", data), (index("two"), "3", data)}
        assert {tuple(line.split("\t")) for line in told.splitlines()} == expected, told


def what_the_kernel_dropped_is_told():
    inside("flooded")


def flooded():
    up()
    with directory() as room:
        path = f"{room}/c.pcapng"
        here, there = pair()
        port = there.getsockname()[1]
        ours = watching("--interface", "lo", "--write", path)
        os.kill(ours.process.pid, signal.SIGSTOP)
        count, size = 4000, 60_000
        for _ in range(count):
            there.send(bytes(size))
        os.kill(ours.process.pid, signal.SIGCONT)
        # Once there is room again, frames come through.
        until = time.monotonic() + DEADLINE
        while not any(frame["payload_len"] == 8 for frame in from_port(ours, port)):
            assert time.monotonic() < until and ours.open, ours.err
            there.send(b"the last")
            count += 1
            select.select([], [], [], 0.01)
        ours.stop()
        ours.ends(0)
        received, dropped = [int(word.replace(",", "")) for word in ours.err.decode().split() if word[0].isdigit()]
        shown = ours.events("frame")
        assert dropped > 0 and received == len(shown) + dropped, (received, dropped, len(shown))
        assert len(from_port(ours, port)) + dropped == count


def an_interface_that_goes_is_told():
    inside("going")


def going():
    up("ip link add one type veth peer name two", "ip addr add 192.0.2.1/24 dev one", "ip link set two up",
       "ip link set one up", "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:09 dev one")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def seen(count):
        until = time.monotonic() + DEADLINE
        while len([one for one in ours.events("frame") if one.get("destination_port") == 4000]) < count:
            assert time.monotonic() < until and ours.open, ours.err
            sock.sendto(b"over a link", ("192.0.2.2", 4000))
            select.select([], [], [], 0.01)

    ours = Running(*WATCH, "--interface", "one")
    seen(1)
    # Down, and up again: it goes on.
    up("ip link set one down", "ip link set one up", "ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:09 dev one")
    seen(len(ours.events("frame")) + 1)
    # It goes with frames on their way to the ring: what came before it went does not say that it is there.
    gone = threading.Event()

    def send():
        while not gone.is_set():
            with contextlib.suppress(OSError):
                sock.sendto(b"over a link", ("192.0.2.2", 4000))
            gone.wait(0.001)

    sending = threading.Thread(target=send)
    sending.start()
    up("ip link delete one")
    gone.set()
    sending.join()
    ours.ends(5).says("the interface 'one' is gone")
    # It was waited for, and not asked again and again.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime < 1, used


def one_capability_is_enough():
    inside("bare")


def bare():
    up()
    limited = ["setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all", PACKHORSE, *WATCH]
    ours = subprocess.Popen([*limited, "--interface", "lo", "--count", "1"], stdout=subprocess.PIPE)
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        until = time.monotonic() + DEADLINE
        while ours.poll() is None:
            assert time.monotonic() < until
            sock.sendto(b"knock", ("127.0.0.1", 9))
            select.select([], [], [], 0.01)
        assert ours.returncode == 0 and ours.stdout.read().count(b"\n") == 1
        status = subprocess.run([*limited[:3], "grep", "CapEff", "/proc/self/status"], capture_output=True, check=True)
        assert int(status.stdout.split()[1], 16) == 1 << 13, status
    finally:
        ours.kill()


def without_the_right_it_says_how_to_grant_it():
    bare = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", PACKHORSE, "watch", "--interface", "lo"]
    ended = subprocess.run(bare if os.geteuid() == 0 else bare[3:], capture_output=True, text=True, timeout=DEADLINE)
    assert ended.returncode == 5, ended
    assert "CAP_NET_RAW" in ended.stderr and "setcap cap_net_raw+ep" in ended.stderr, ended
    assert "panicked" not in ended.stderr


def an_interface_that_is_not_there_is_told():
    ended = Running("watch", "--interface", "nowhere0").ends(2)
    ended.says("there is no interface 'nowhere0'; there are:")


if __name__ == "__main__":
    run(globals())
