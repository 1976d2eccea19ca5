"""Frames taken apart, judged by tshark field by field; what tshark does not know is judged by what was made."""

import ipaddress
import random
import ssl
import struct

import segments
from segments import ACK, PSH, Capture, checksum, ethernet, fragments, ip, ipv4, ipv6, tcp, udp
from talking import *

# Layer, the path of keys to a field, and what tshark calls it.
FIELDS = [
    ("Ethernet II", "destination", "eth.dst"),
    ("Ethernet II", "source", "eth.src"),
    ("Ethernet II", "type", "eth.type"),
    ("VLAN", "tci/priority", "vlan.priority"),
    ("VLAN", "tci/dei", "vlan.dei"),
    ("VLAN", "tci/vlan", "vlan.id"),
    ("VLAN", "type", "vlan.etype"),
    ("ARP", "hardware", "arp.hw.type"),
    ("ARP", "protocol", "arp.proto.type"),
    ("ARP", "operation", "arp.opcode"),
    ("ARP", "sender_mac", "arp.src.hw_mac"),
    ("ARP", "sender", "arp.src.proto_ipv4"),
    ("ARP", "target_mac", "arp.dst.hw_mac"),
    ("ARP", "target", "arp.dst.proto_ipv4"),
    ("IPv4", "version_ihl/version", "ip.version"),
    ("IPv4", "version_ihl/header_len", "ip.hdr_len"),
    ("IPv4", "dsfield/dscp", "ip.dsfield.dscp"),
    ("IPv4", "dsfield/ecn", "ip.dsfield.ecn"),
    ("IPv4", "total_len", "ip.len"),
    ("IPv4", "identification", "ip.id"),
    ("IPv4", "flags_offset/dont_fragment", "ip.flags.df"),
    ("IPv4", "flags_offset/more_fragments", "ip.flags.mf"),
    ("IPv4", "flags_offset/fragment_offset", "ip.frag_offset"),
    ("IPv4", "ttl", "ip.ttl"),
    ("IPv4", "protocol", "ip.proto"),
    ("IPv4", "checksum", "ip.checksum"),
    ("IPv4", "source", "ip.src"),
    ("IPv4", "destination", "ip.dst"),
    ("IPv6", "version_class_flow/version", "ip.version"),
    ("IPv6", "version_class_flow/traffic_class", "ipv6.tclass"),
    ("IPv6", "version_class_flow/flow_label", "ipv6.flow"),
    ("IPv6", "payload_len", "ipv6.plen"),
    ("IPv6", "next_header", "ipv6.nxt"),
    ("IPv6", "hop_limit", "ipv6.hlim"),
    ("IPv6", "source", "ipv6.src"),
    ("IPv6", "destination", "ipv6.dst"),
    ("IPv6", "fragment/offset_flags/more_fragments", "ipv6.fraghdr.more"),
    ("IPv6", "fragment/identification", "ipv6.fraghdr.ident"),
    ("IPv6", "hop_by_hop/next_header", "ipv6.hopopts.nxt"),
    ("IPv6", "destination_options/next_header", "ipv6.dstopts.nxt"),
    ("IPv6", "routing/segments_left", "ipv6.routing.segleft"),
    ("ICMP", "type", "icmp.type"),
    ("ICMP", "code", "icmp.code"),
    ("ICMP", "checksum", "icmp.checksum"),
    ("ICMP", "identifier", "icmp.ident"),
    ("ICMP", "sequence", "icmp.seq"),
    ("ICMPv6", "type", "icmpv6.type"),
    ("ICMPv6", "code", "icmpv6.code"),
    ("ICMPv6", "identifier", "icmpv6.echo.identifier"),
    ("ICMPv6", "target", "icmpv6.nd.ns.target_address"),
    ("ICMPv6", "option/mac", "icmpv6.opt.src_linkaddr"),
    ("IGMP", "type", "igmp.type"),
    ("IGMP", "group", "igmp.maddr"),
    ("IGMP", "record/group", "igmp.maddr"),
    ("IGMP", "source_count", "igmp.num_src"),
    ("IGMP", "record/source_count", "igmp.num_src"),
    ("TCP", "source_port", "tcp.srcport"),
    ("TCP", "destination_port", "tcp.dstport"),
    ("TCP", "seq", "tcp.seq_raw"),
    ("TCP", "ack", "tcp.ack_raw"),
    ("TCP", "offset_flags/header_len", "tcp.hdr_len"),
    ("TCP", "offset_flags/syn", "tcp.flags.syn"),
    ("TCP", "offset_flags/ack_flag", "tcp.flags.ack"),
    ("TCP", "offset_flags/fin", "tcp.flags.fin"),
    ("TCP", "offset_flags/rst", "tcp.flags.reset"),
    ("TCP", "offset_flags/psh", "tcp.flags.push"),
    ("TCP", "offset_flags/urg", "tcp.flags.urg"),
    ("TCP", "offset_flags/ece", "tcp.flags.ece"),
    ("TCP", "offset_flags/cwr", "tcp.flags.cwr"),
    ("TCP", "window", "tcp.window_size_value"),
    ("TCP", "checksum", "tcp.checksum"),
    ("TCP", "urgent_pointer", "tcp.urgent_pointer"),
    ("TCP", "mss_option/mss", "tcp.options.mss_val"),
    ("TCP", "window_scale_option/window_scale", "tcp.options.wscale.shift"),
    ("TCP", "timestamps/tsval", "tcp.options.timestamp.tsval"),
    ("TCP", "timestamps/tsecr", "tcp.options.timestamp.tsecr"),
    ("UDP", "source_port", "udp.srcport"),
    ("UDP", "destination_port", "udp.dstport"),
    ("UDP", "length", "udp.length"),
    ("UDP", "checksum", "udp.checksum"),
    ("DNS", "id", "dns.id"),
    ("DNS", "flags/response", "dns.flags.response"),
    ("DNS", "flags/opcode", "dns.flags.opcode"),
    ("DNS", "flags/rcode", "dns.flags.rcode"),
    ("DNS", "questions", "dns.count.queries"),
    ("DNS", "answers", "dns.count.answers"),
    ("DNS", "question/name", "dns.qry.name"),
    ("DNS", "question/type", "dns.qry.type"),
    ("DNS", "answer/name", "dns.resp.name"),
    ("DNS", "answer/type", "dns.resp.type"),
    ("DNS", "answer/ttl", "dns.resp.ttl"),
    ("HTTP", "method", "http.request.method"),
    ("HTTP", "target", "http.request.uri"),
    ("HTTP", "status", "http.response.code"),
    ("TLS", "record/content_type", "tls.record.content_type"),
    ("TLS", "record/length", "tls.record.length"),
    ("TLS", "record/handshake/handshake_type", "tls.handshake.type"),
    ("TLS", "record/handshake/cipher", "tls.handshake.ciphersuite"),
    ("TLS", "record/handshake/extension/extension_type", "tls.handshake.extension.type"),
    ("TLS", "record/handshake/extension/server_name", "tls.handshake.extensions_server_name"),
    ("TLS", "record/handshake/extension/alpn", "tls.handshake.extensions_alpn_str"),
    ("TLS", "record/handshake/extension/supported_version", "tls.handshake.extensions.supported_version"),
]
# What has a name of its own there, by where it stands: the outer type of a record of TLS 1.3, and neighbours' answers.
ALSO = {
    "tls.record.opaque_type": "tls.record.content_type",
    "icmpv6.nd.na.target_address": "icmpv6.nd.ns.target_address",
    "icmpv6.opt.target_linkaddr": "icmpv6.opt.src_linkaddr",
}


def seeded():
    given = os.environ.get("PACKHORSE_TEST_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(1 << 32)
    print(f"to have the same again: PACKHORSE_TEST_SEED={seed}")
    return random.Random(seed)


def layers(path, *arguments, code=0):
    ours = Running("watch", path, "--layers", "--json", *arguments).ends(code)
    return [json.loads(line) for line in ours.out.decode().splitlines()]


def found(fields, path):
    """All values at a path of keys, in their order."""
    key, _, rest = path.partition("/")
    values = []
    for field in fields:
        if field["key"] == key:
            values += found(field.get("parts", []), rest) if rest else [field["value"]]
    return values


def plain(value):
    """A value as both can be compared."""
    if isinstance(value, bool):
        return int(value)
    try:
        return int(str(value), 0)
    except ValueError:
        return str(value).lower()


def by_tshark(path):
    names = sorted({name for _, _, name in FIELDS} | set(ALSO))
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|", "-E", "aggregator=;"]
    command += ["-o", "tcp.desegment_tcp_streams:FALSE", "-o", "http.desegment_headers:FALSE",
                "-o", "http.desegment_body:FALSE", "-o", "tls.desegment_ssl_records:FALSE"]
    ended = subprocess.run(command + [part for name in names for part in ("-e", name)],
                           capture_output=True, check=True, timeout=120)
    for line in ended.stdout.decode().splitlines():
        frame = {name: [plain(value) for value in cell.split(";") if cell]
                 for name, cell in zip(names, line.split("|"))}
        for name, merged in ALSO.items():
            frame[merged] += frame.pop(name)
        # In units of eight bytes there, in bytes here.
        frame["ip.frag_offset"] = [8 * value for value in frame["ip.frag_offset"]]
        yield frame


def agrees(path):
    """Compares each field of each frame; counts what was compared."""
    compared = {}
    ours = layers(path)
    theirs = list(by_tshark(path))
    assert len(ours) == len(theirs) > 0
    for frame, expected in zip(ours, theirs):
        for name in {name for _, _, name in FIELDS}:
            got = [plain(value) for layer in frame["layers"] for protocol, path_, theirs_name in FIELDS
                   if theirs_name == name and layer["protocol"] == protocol
                   for value in found(layer["fields"], path_)]
            assert got == expected[name], (frame["frame"], name, got, expected[name],
                                           [layer["protocol"] for layer in frame["layers"]])
            compared[name] = compared.get(name, 0) + len(got)
    return compared


def icmp(kind, code, rest, payload=b""):
    body = struct.pack("!BBH", kind, code, 0) + rest + payload
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def dns_name(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def dns_answer(rng):
    name = rng.choice(["www.example.org", "a.b.c.example", "x.test"])
    answers = [
        (1, bytes(rng.randrange(256) for _ in range(4))),
        (28, bytes(rng.randrange(256) for _ in range(16))),
        (5, dns_name("other.example.net")),
        (16, b"\x05hello\x05world"),
        (15, struct.pack("!H", 10) + b"\x04mail\xc0\x0c"),
    ]
    chosen = [rng.choice(answers) for _ in range(rng.randrange(1, 4))]
    message = struct.pack("!HHHHHH", rng.randrange(65536), 0x8180, 1, len(chosen), 0, 0)
    message += dns_name(name) + struct.pack("!HH", 1, 1)
    for kind, data in chosen:
        message += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, rng.randrange(2**31), len(data)) + data
    return message


def tcp_options(rng):
    options = [
        b"\x02\x04" + struct.pack("!H", rng.randrange(65536)), b"\x03\x03" + bytes([rng.randrange(15)]),
        b"\x04\x02", b"\x01", b"\x08\x0a" + struct.pack("!II", rng.randrange(2**32), rng.randrange(2**32)),
        b"\x05\x0a" + struct.pack("!II", 5, 9), b"\x1c\x04\x80\x05",
    ]
    rng.shuffle(options)
    chosen = b""
    for option in options[:rng.randrange(len(options))]:
        if len(chosen) + len(option) <= 40:
            chosen += option
    return chosen


def transport(rng, source, port):
    """Something for an IP packet: its protocol and bytes."""
    kind = rng.randrange(8)
    if kind == 0:
        return 17, udp(port, rng.choice([54, 1234, 40000]), rng.randbytes(rng.randrange(0, 9)))
    if kind == 1:
        return 17, udp(53, port, dns_answer(rng))
    if kind == 2:
        request = b"GET /path?q=%d HTTP/1.1\r\nHost: example.org\r\nX-Empty:\r\n\r\n" % rng.randrange(1000)
        return 6, tcp(port, 80, rng.randrange(2**32), 7, ACK | PSH, 1000, request, tcp_options(rng))
    if kind == 3:
        body = b"HTTP/1.1 %d Whatever it is\r\nContent-Length: 5\r\n\r\nhello" % rng.choice([200, 404, 500])
        return 6, tcp(80, port, rng.randrange(2**32), 7, ACK | PSH, 1000, body, tcp_options(rng))
    if kind == 4:
        protocol, kinds = (58, [128, 129]) if ":" in source else (1, [0, 8])
        rest = struct.pack("!HH", rng.randrange(65536), rng.randrange(65536))
        return protocol, icmp(rng.choice(kinds), 0, rest, b"ping")
    if kind == 5 and ":" in source:
        target = ipaddress.ip_address("2001:db8::99").packed
        return 58, icmp(135, 0, bytes(4) + target, b"\x01\x01" + rng.randbytes(6))
    if kind == 6 and ":" not in source:
        if rng.random() < 0.5:
            return 2, icmp(0x16, 0, bytes([224, 0, 0, rng.randrange(1, 255)]))
        record = struct.pack("!BBH", 4, 0, 1) + bytes([239, 1, 2, 3]) + bytes([192, 0, 2, 9])
        return 2, icmp(0x22, 0, struct.pack("!HH", 0, 1), record)
    flags = rng.randrange(256)
    return 6, tcp(port, rng.randrange(40000, 60000), rng.randrange(2**32), rng.randrange(2**32), flags,
                  rng.randrange(65536), rng.randbytes(rng.randrange(0, 6)) if flags & ACK else b"",
                  tcp_options(rng))


def with_options(rng, packet):
    """An IPv4 packet with options in its header."""
    option = rng.choice([b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\x01", b"\x01\x01\x01\x01"])
    header = bytes([0x45 + len(option) // 4]) + packet[1:2] + struct.pack(
        "!H", len(packet) + len(option)) + packet[4:10] + b"\0\0" + packet[12:20] + option
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + packet[20:]


def with_extensions(rng, source, destination, protocol, payload):
    """An IPv6 packet with extension headers."""
    chain, kinds = b"", [kind for kind in (0, 43, 60) if rng.random() < 0.5]
    for index, kind in enumerate(kinds):
        following = kinds[index + 1] if index + 1 < len(kinds) else protocol
        body = b"\x01\x04\0\0\0\0"
        if kind == 43:
            # Type 253, for experiments (RFC 4727): no router left to visit.
            body = b"\xfd\0" + b"\0" * 4
        chain += bytes([following, 0]) + body
    return ipv6(source, destination, kinds[0] if kinds else protocol, chain + payload)


def crafted(path, rng, count):
    capture, now = Capture(path), 1_700_000_000_000_000_000
    for number in range(count):
        now += 1000
        vlans = rng.choice([(), (), (7,), (0x2007, 0x6fff)])
        v6 = rng.random() < 0.5
        source, destination = ("2001:db8::1", "2001:db8::2") if v6 else ("192.0.2.1", "192.0.2.2")
        if rng.random() < 0.08:
            body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, rng.choice([1, 2]), rng.randbytes(6),
                               rng.randbytes(4), rng.randbytes(6), rng.randbytes(4))
            capture.add(now, b"\xff" * 6 + b"\x02\0\0\0\0\x02\x08\x06" + body)
            continue
        protocol, payload = transport(rng, source, 20000 + number)
        if v6:
            packet = with_extensions(rng, source, destination, protocol, payload)
        else:
            packet = ipv4(source, destination, protocol, payload, identification=number & 0xFFFF,
                          fragment=rng.choice([0, 0x4000]))
            if rng.random() < 0.3:
                packet = with_options(rng, packet)
        capture.add(now, ethernet(packet, vlans))
    capture.close()


def every_field_is_what_tshark_has():
    rng = seeded()
    with directory() as room:
        path = f"{room}/capture.pcap"
        crafted(path, rng, 1500)
        compared = agrees(path)
        missing = [name for name, count in compared.items() if count == 0 and not name.startswith(
            ("tls.", "ipv6.fraghdr"))]
        assert not missing, missing


def tls_handshakes_are_what_tshark_has():
    """Real ones, made by Python's ssl."""
    with directory() as room:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-keyout", f"{room}/key", "-out", f"{room}/cert", "-days", "1", "-subj",
                        "/CN=example.org"], check=True, capture_output=True)
        path = f"{room}/capture.pcap"
        capture, now = Capture(path), 10**18
        for number, version in enumerate([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3] * 3):
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(f"{room}/cert", f"{room}/key")
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
            client.set_alpn_protocols(["h2", "http/1.1"])
            server.set_alpn_protocols(["h2"])
            client.minimum_version = client.maximum_version = version
            bios = [ssl.MemoryBIO() for _ in range(4)]
            ends = [client.wrap_bio(bios[0], bios[1], server_hostname="example.org"),
                    server.wrap_bio(bios[2], bios[3], server_side=True)]
            sequence = [1000, 2000]
            for _ in range(6):
                for who, (out, into) in enumerate(((bios[1], bios[2]), (bios[3], bios[0]))):
                    try:
                        ends[who].do_handshake()
                    except ssl.SSLWantReadError:
                        pass
                    said = out.read()
                    if not said:
                        continue
                    into.write(said)
                    ports = (40000 + number, 443) if who == 0 else (443, 40000 + number)
                    segment = tcp(*ports, sequence[who], sequence[1 - who], ACK | PSH, 60000, said)
                    addresses = ("192.0.2.1", "192.0.2.2") if who == 0 else ("192.0.2.2", "192.0.2.1")
                    sequence[who] += len(said)
                    now += 10**6
                    capture.add(now, ethernet(ip(*addresses, 6, segment)))
        capture.close()
        # tshark keeps state: behind a change of ciphers it does not look for handshakes, nor do we.
        compared = agrees(path)
        assert compared["tls.handshake.type"] > 20 and compared["tls.handshake.extensions_server_name"] == 6
        assert compared["tls.handshake.extensions_alpn_str"] >= 12, compared


def fragments_are_put_together():
    rng = seeded()
    with directory() as room:
        path = f"{room}/capture.pcap"
        capture, now, sent = Capture(path), 10**18, []
        for number in range(60):
            payload = rng.randbytes(rng.randrange(2000, 9000))
            pieces = fragments("192.0.2.1", "192.0.2.2", 17, udp(1000 + number, 4000, payload), number, 1480)
            rng.shuffle(pieces)
            for piece in pieces:
                now += 1000
                capture.add(now, ethernet(piece))
            sent.append(payload)
        capture.close()
        whole = [frame for frame in layers(path) if "whole" in frame]
        assert len(whole) == len(sent)
        for frame, payload in zip(whole, sent):
            layer = next(layer for layer in frame["layers"] if layer["protocol"] == "UDP")
            assert layer["of"] == "whole"
            begin, end = layer["sdu"]
            assert bytes.fromhex(frame["whole"])[begin:end] == payload
        agrees(path)


def errors_show_the_packet_they_quote():
    with directory() as room:
        path = f"{room}/capture.pcap"
        capture = Capture(path)
        quoted = ipv4("192.0.2.1", "192.0.2.9", 17, udp(5000, 9999, b"question"))
        capture.add(10**18, ethernet(ipv4("192.0.2.9", "192.0.2.1", 1, icmp(3, 3, bytes(4), quoted))))
        quoted = ipv6("2001:db8::1", "2001:db8::9", 17, udp(5000, 9999, b"question"))
        error = icmp(1, 4, bytes(4), quoted)
        capture.add(10**18, ethernet(ipv6("2001:db8::9", "2001:db8::1", 58, error)))
        capture.close()
        names = [[layer["protocol"] for layer in frame["layers"]] for frame in layers(path)]
        assert names == [["Ethernet II", "IPv4", "ICMP", "IPv4", "UDP", "data"],
                         ["Ethernet II", "IPv6", "ICMPv6", "IPv6", "UDP", "data"]], names


def models_number_each_layer():
    with directory() as room:
        path = f"{room}/capture.pcap"
        capture = Capture(path)
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        capture.add(10**18, ethernet(ipv4("192.0.2.1", "192.0.2.2", 6, tcp(40000, 80, 1, 2, ACK, 9, request)), (7,)))
        capture.add(10**18, ethernet(ipv4("192.0.2.1", "192.0.2.2", 17, udp(40000, 25, b"x"))))
        capture.close()
        first, second = layers(path)
        told = [(layer["osi"], layer["tcp_ip"], layer["five"], layer["pdu"], layer["protocol"])
                for layer in first["layers"]]
        assert told == [(2, 1, 2, "frame", "Ethernet II"), (2, 1, 2, "frame", "VLAN"),
                        (3, 2, 3, "packet", "IPv4"), (4, 3, 4, "segment", "TCP"),
                        (7, 4, 5, "message", "HTTP")], told
        assert [layer["pdu"] for layer in second["layers"]][2] == "datagram"
        # Named by its port where the content does not tell.
        assert second["layers"][-1]["protocol"] == "smtp"
        # Each SDU is what the next layer takes apart.
        for inner, outer in zip(first["layers"][1:], first["layers"]):
            assert inner["header"][0] == outer["sdu"][0], (outer, inner)


def packhorse_and_classic_are_known():
    header = json.dumps({"file_name": "a.bin", "file_size": 5}).encode()
    classic = struct.pack("<i", len(header)) + header + b"hello"
    lane = b"PACKL\0\1\0" + bytes(16) + b"\0\3" + bytes(32) + b"\0\0\0\x0a\1\0\0\0" + bytes(10) + b"\0\0\0\0\2\0\0\0"
    with directory() as room:
        path = f"{room}/capture.pcap"
        capture = Capture(path)
        for port, payload in ((9999, classic), (7225, lane), (7225, b"PACKR\4\1\0")):
            capture.add(10**18, ethernet(ipv4("192.0.2.1", "192.0.2.2", 6, tcp(40000, port, 1, 2, ACK, 9, payload))))
        capture.close()
        one, two, three = [frame["layers"][-1] for frame in layers(path)]
        assert one["protocol"] == "classic"
        assert found(one["fields"], "file_name") == ["a.bin"] and found(one["fields"], "file_size") == [5]
        assert found(one["fields"], "content_len") == [5]
        assert two["protocol"] == "packhorse" and found(two["fields"], "lane_hello/lane") == [3]
        assert found(two["fields"], "record/record_kind") == [1, 2]
        assert found(three["fields"], "preface/argument") == [4]
        assert "serving another" in json.dumps(three)


def hostile_frames_are_noted_and_harm_nobody():
    """Frames of real structure with bytes changed, cut anywhere."""
    rng = seeded()
    with directory() as room:
        whole, path = f"{room}/whole.pcap", f"{room}/capture.pcap"
        crafted(whole, rng, 300)
        data = open(whole, "rb").read()
        at, capture = 24, Capture(path)
        while at < len(data):
            kept, = struct.unpack_from("<I", data, at + 8)
            frame = bytearray(data[at + 16:at + 16 + kept])
            for _ in range(rng.randrange(4)):
                frame[rng.randrange(12, len(frame))] = rng.choice([0, 255, 0xC0, rng.randrange(256)])
            capture.add(10**18, bytes(frame), kept=rng.choice([None, rng.randrange(len(frame) + 1)]))
            at += 16 + kept
        capture.close()
        ours = Running("watch", path, "--layers").ends()
        assert ours.out.count(b"Frame ") == 300
        assert all(frame["layers"] or frame["captured"] == 0 for frame in layers(path))


def texts_from_captures_steer_no_terminal():
    with directory() as room:
        path = f"{room}/capture.pcap"
        capture = Capture(path)
        request = "GET /\x1b[31m\u202e HTTP/1.1\r\nHost: \x1b]0;x\x07\r\n\r\n".encode()
        capture.add(10**18, ethernet(ipv4("192.0.2.1", "192.0.2.2", 6, tcp(40000, 80, 1, 2, ACK, 9, request))))
        capture.close()
        for more in ([], ["--json"]):
            ours = Running("watch", path, "--layers", *more).ends()
            assert b"\x1b" not in ours.out and "\u202e".encode() not in ours.out


if __name__ == "__main__":
    run(globals())
