"""Real traffic between two network namespaces, over a link that loses: IPv4, IPv6, VLAN tags, fragments, half-closed
and reset connections. What packhorse captured there is judged by tshark."""

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
    subprocess.run([*INSIDE, "inside"], check=True)


def addresses(own):
    """The link's own addresses; segments leave one by one, so that each can be lost."""
    v4, v6 = (pair[own] for pair in PLACES)
    return f"""
        ip addr add {v4}/24 dev link0
        ip addr add {v6}/64 dev link0 nodad
        ip link set link0 gso_max_segs 1 up
    """


def inside():
    (rng,) = [random.Random(seed) for seed in list(s11.seeds(1))]
    with directory() as room:
        far = subprocess.Popen([*INSIDE, "far_side"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert far.stdout.readline() == b"there\n"
            # The process that unshare became is in the namespace.
            shell(f"ip link add link0 type veth peer name link0 netns {far.pid}")
            shell(addresses(0))
            far.stdin.write(b"connected\n")
            far.stdin.flush()
            ports = [int(port) for port in far.stdout.readline().split()]
            talk(room, rng, ports)
        finally:
            far.stdin.close()
            far.wait(DEADLINE)


def talk(room, rng, ports):
    path = f"{room}/c.pcapng"
    watching = Running("watch", "--interface", "link0", "--write", path, "--json")
    near, away = PLACES[0]
    knock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    until = time.monotonic() + DEADLINE
    while not watching.out:
        assert time.monotonic() < until, watching.err
        knock.sendto(b"knock", (away, 9))
        select.select([], [], [], 0.01)
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
    last = lambda: [frame for frame in watching.events("frame") if frame.get("source_port") == 1]
    watching.until(last, "the last reset")
    watching.stop()
    watching.ends(0).says(" dropped by the kernel")
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
    """Answers with all that came, backwards; loses one packet of 25 that come."""
    print("there", flush=True)
    sys.stdin.readline()
    shell(addresses(1))
    shell("""
        nft add table netdev lossy
        nft add chain netdev lossy in '{ type filter hook ingress device link0 priority 0; }'
        nft add rule netdev lossy in numgen random mod 25 == 0 drop
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
