"""Real traffic between two network namespaces, over a link that loses: IPv4, IPv6, VLAN tags, fragments, half-closed
and reset connections. What packhorse captured there is judged by tshark.

`network.py PACKHORSE one_loss_as_a_ladder FILE.svg` draws what it saw."""

import random

import s01
import s11
import segments
from segments import FIN, RST
from talking import *

INSIDE = ["unshare", "--map-root-user", "--net", sys.executable, "-B", __file__, PACKHORSE]
PLACES = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]


def shell(command):
    subprocess.run(["sh", "-ec", command], check=True, timeout=DEADLINE)


def what_is_captured_there_is_what_tshark_has():
    subprocess.run([*INSIDE, "mixed"], check=True)


def one_loss_as_a_ladder():
    subprocess.run([*INSIDE, "one_loss", *sys.argv[3:]], check=True)


def addresses(own):
    """The link's own addresses; segments leave one by one, so that each can be lost."""
    v4, v6 = (pair[own] for pair in PLACES)
    return f"""
        ip addr add {v4}/24 dev link0
        ip addr add {v6}/64 dev link0 nodad
        ip link set link0 gso_max_segs 1 up
    """


def over_a_link(losing, talk):
    """Calls `talk` with a directory and the ports that the other side listens on, where packets that match are lost."""
    with directory() as room:
        far = subprocess.Popen([*INSIDE, "far_side"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert far.stdout.readline() == b"there\n"
            # The process that unshare became is in the namespace.
            shell(f"ip link add link0 type veth peer name link0 netns {far.pid}")
            shell(addresses(0))
            far.stdin.write(losing.encode() + b"\n")
            far.stdin.flush()
            talk(room, [int(port) for port in far.stdout.readline().split()])
        finally:
            far.stdin.close()
            far.wait(DEADLINE)


def watching(path, *arguments):
    """A packhorse that captures on the link, and has seen a first frame."""
    ours = Running("watch", "--interface", "link0", "--write", path, "--json", *arguments)
    knock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    until = time.monotonic() + DEADLINE
    while not ours.out:
        assert time.monotonic() < until and ours.open, ours.err
        knock.sendto(b"knock", (PLACES[0][1], 9))
        select.select([], [], [], 0.01)
    return ours


def one_loss():
    over_a_link("meta l4proto tcp numgen inc mod 1000 == 8", transfer)


def transfer(room, ports):
    """A request of 14 segments, of which the seventh is lost once, and a short answer."""
    path = f"{room}/c.pcapng"
    ours = watching(path)
    client = socket.create_connection((PLACES[0][1], ports[0]), timeout=DEADLINE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(bytes(14 * 1448))
    client.shutdown(socket.SHUT_WR)
    read_all(client)
    client.close()
    closing = lambda: [one for one in ours.events("frame") if one.get("flags", 0) & FIN]
    ours.until(lambda: len(closing()) >= 2 and ours.events("frame")[-1]["frame"] > closing()[-1]["frame"], "the close")
    ours.stop()
    ours.ends(0)
    rungs = s11.objects(s11.packhorse(path, "--ladder", "0", "--json", "--verbose"))
    again = [rung for rung in rungs if "fast_retransmission" in rung["notes"]]
    assert len(again) == 1 and again[0]["offset"] == 6 * 1448, again
    assert sum("duplicate_ack" in rung["notes"] for rung in rungs) >= 3, rungs
    for picture in sys.argv[3:]:
        s11.packhorse(path, "--ladder", "0", "--svg", picture)


def mixed():
    (rng,) = [random.Random(seed) for seed in list(s11.seeds(1))]
    over_a_link("numgen random mod 25 == 0", lambda room, ports: talk(room, rng, ports))


def talk(room, rng, ports):
    path = f"{room}/c.pcapng"
    ours = watching(path)
    away = PLACES[0][1]
    sent = {}
    for at, ((_, address), port) in enumerate(zip(PLACES * 3, ports * 3)):
        data = rng.randbytes(rng.choice([0, 70_000, 700_000]) if at else 700_000)
        client = socket.create_connection((address, port), timeout=DEADLINE)
        key = client.getsockname()[1]
        client.sendall(data)
        # Half is closed; the answer comes all the same.
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
        assert answer == data[::-1], (len(answer), len(data))
        sent[key] = data
        if at % 3 == 2:
            reset(client)
        else:
            client.close()
    for address in (PLACES[0][1], PLACES[1][1]):
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(kind, socket.SOCK_DGRAM) as datagrams:
            for size in (10, 5000, 20_000):
                datagrams.sendto(rng.randbytes(size), (address, 4000))
    # Not every kernel has VLAN devices: tagged frames as they are.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("link0", 0))
        for number in range(5):
            tagged = segments.udp(5000, 5001, b"in a VLAN %d" % number)
            raw.send(segments.ethernet(segments.ipv4("192.0.2.1", "192.0.2.77", 17, tagged), (7, 0x2009)))
    # A connection to nobody is reset.
    try:
        socket.create_connection((away, 1), timeout=DEADLINE)
        raise AssertionError("somebody is there")
    except ConnectionRefusedError:
        pass
    last = lambda: [frame for frame in ours.events("frame") if frame.get("source_port") == 1]
    ours.until(last, "the last reset")
    ours.stop()
    ours.ends(0).says(" dropped by the kernel")
    total = s11.agrees(path)
    assert total["retransmissions"] > 0 and total["duplicate_acks"] > 0, total
    s01.agrees(path)
    for found in s11.objects(s11.packhorse(path, "--streams", "--json")):
        client = found["client"].rsplit(":", 1)[1]
        if found["protocol"] != "tcp" or int(client) not in sent:
            continue
        s11.packhorse(path, "--follow", str(found["stream"]), f"--raw={room}/f")
        data = sent[int(client)]
        assert open(f"{room}/f.client", "rb").read() == data, found
        assert open(f"{room}/f.server", "rb").read() == data[::-1], found
        assert found["closed_first"] == "client", found


def far_side():
    """Answers with all that came, backwards; loses packets that match what it is told."""
    print("there", flush=True)
    losing = sys.stdin.readline().strip()
    shell(addresses(1))
    shell(f"""
        nft add table netdev lossy
        nft add chain netdev lossy in '{{ type filter hook ingress device link0 priority 0; }}'
        nft add rule netdev lossy in {losing} drop
    """)
    servers = []
    for _, address in PLACES:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        servers.append(socket.create_server((address, 0), family=family))
    print(*(server.getsockname()[1] for server in servers), flush=True)

    def serve(server):
        while True:
            client, _ = server.accept()
            client.settimeout(DEADLINE)
            with client:
                data = read_all(client)
                client.sendall(data[::-1])

    for server in servers:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    run(globals())
