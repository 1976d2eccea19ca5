"""Classic clients that break every rule: classic_hostile.py ADDRESS SCENARIO [ARGUMENT].

Tells how the connection ended: `{"event": "ended", "how": "closed" or "reset"}`.
"""

import hashlib
import json
import socket
import struct
import sys

from classic_wire import header, md5_header, size_header

BODY = bytes(range(256)) * 20


def md5(body):
    return hashlib.md5(body).hexdigest()


def good_md5(body=BODY, name="bad"):
    return md5_header(md5(body), "some/path", len(body), name)


def framed(text):
    return struct.pack("<i", len(text)) + text


def tell(event, **fields):
    print(json.dumps({"v": 1, "event": event, **fields}), flush=True)


def end(client, half_close=True):
    """Waits for the other side to end it, and tells how."""
    try:
        if half_close:
            client.shutdown(socket.SHUT_WR)
        answer = client.recv(1)
        how = "answered" if answer else "closed"
    except OSError:
        how = "reset"
    client.close()
    tell("ended", how=how)


def send(client, data):
    """A receiver that has seen enough may cut it."""
    try:
        client.sendall(data)
    except OSError:
        pass


# What is sent before the client says that it is done.
WRONG = {
    "stop_in_length": b"\x20\x00",
    "stop_in_header": size_header("bad", 5)[:20],
    "stop_before_content": size_header("bad", 5),
    "stop_midway_size": size_header("bad", len(BODY)) + BODY[:-1],
    "stop_midway_md5": good_md5() + BODY[:-1],
    "short_with_right_md5": md5_header(md5(BODY[:9]), "p", len(BODY), "bad") + BODY[:9],
    "long_size": size_header("bad", 100) + BODY[:101],
    "long_size_by_much": size_header("bad", 100) + BODY * 1000,
    "long_size_at_last": size_header("bad", 10 * len(BODY)) + BODY * 10 + b"x",
    "long_md5_at_last": md5_header(md5(BODY), "p", len(BODY), "bad") + BODY + b"x",
    "long_of_nothing": size_header("bad", 0) + b"x",
    "long_md5": md5_header(md5(BODY), "p", len(BODY) - 1, "bad") + BODY,
    "wrong_md5": md5_header("0" * 32, "p", len(BODY), "bad") + BODY,
    "wrong_md5_of_nothing": md5_header("0" * 32, "p", 0, "bad"),
    "upper_case_md5": md5_header(md5(BODY).upper(), "p", len(BODY), "bad") + BODY,
    "no_md5": header({"file_name": "p", "file_size": 1, "new_file_name": "bad"}) + b"x",
    "no_new_name": header({"md5": md5(b"x"), "file_name": "bad", "file_size": 1}) + b"x",
    "zero_length": struct.pack("<i", 0) + BODY,
    "negative_length": struct.pack("<i", -1) + BODY,
    "most_negative_length": struct.pack("<i", -(2**31)) + BODY,
    "huge_length": struct.pack("<i", 2**31 - 1) + BODY,
    "big_endian_length": struct.pack(">i", 40) + BODY,
    "length_beyond_the_limit": struct.pack("<i", 65537) + b" " * 65537,
    "no_json": framed(b"bad"),
    "half_json": framed(b'{"file_name": "bad", "file_size": 5'),
    "list": framed(b'["bad", 5, null, null]') + b"12345",
    "not_utf8": framed(b'{"file_name": "\xff", "file_size": 5}') + b"12345",
    "lone_surrogate": size_header("bad\udcff", 5) + b"12345",
    "name_twice": framed(b'{"file_name": "bad", "file_name": "bad2", "file_size": 5}') + b"12345",
    "name_is_a_number": header({"file_name": 5, "file_size": 5}) + b"12345",
    "negative_size": size_header("bad", -5) + b"12345",
    "size_is_text": size_header("bad", "5") + b"12345",
    "size_is_a_fraction": size_header("bad", 5.0) + b"12345",
    "size_is_huge": size_header("bad", 2**63) + b"12345",
    "size_is_beyond_numbers": size_header("bad", 2**200) + b"12345",
    "claims_an_exabyte": size_header("bad", 2**60) + b"12345",
    "deeply_nested": framed(b'{"x": ' + b"[" * 60000),
    "native_preface": b"PACKC\x01\x01\x00" + BODY,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}

# Names that must not be stored under.
NAMES = {
    "empty": "", "dot": ".", "dots": "..", "absolute": "/tmp/bad", "up": "../bad", "down": "a/bad",
    "slash_at_end": "bad/", "nul": "bad\0", "backslash": "..\\bad", "share": "\\\\host\\bad",
    "drive": "C:\\bad", "bare_drive": "c:bad", "too_long": "x" * 256,
}


def byte_by_byte(client, form):
    """Every byte in a segment of its own: with TCP_NODELAY none waits for another."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = size_header("good", len(BODY)) if form == "size" else good_md5(name="good")
    for at in range(len(head + BODY)):
        client.sendall((head + BODY)[at : at + 1])
    end(client)


def one_segment(client, form):
    head = size_header("good", len(BODY)) if form == "size" else good_md5(name="good")
    client.sendall(head + BODY)
    end(client)


def reset_midway(client, _):
    client.sendall(good_md5() + BODY[:-1])
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    tell("ended", how="reset here")


def crowd(client, count):
    """So many clients at once, whose content comes turn by turn."""
    peer = client.getpeername()
    client.close()
    clients = [socket.create_connection(peer) for _ in range(int(count))]
    bodies = [b"%d\n" % number * 500 for number in range(len(clients))]
    for number, one in enumerate(clients):
        name = "crowd %d" % number
        head = size_header(name, len(bodies[number]))
        if number % 2:
            head = md5_header(md5(bodies[number]), "p", len(bodies[number]), name)
        one.sendall(head)
    for start in range(0, max(map(len, bodies)), 700):
        for one, body in zip(clients, bodies):
            one.sendall(body[start : start + 700])
    for one in clients:
        end(one)


def half_until(client, gate):
    """Half of a file; the rest when somebody opens the pipe `gate` to write."""
    client.sendall(good_md5(name="good") + BODY[:1000])
    tell("half")
    with open(gate, "rb") as pipe:
        pipe.read()
    client.sendall(BODY[1000:])
    end(client)


def main():
    address, scenario, *argument = sys.argv[1:]
    host, port = address.rsplit(":", 1)
    client = socket.create_connection((host, int(port)))
    if scenario in WRONG:
        send(client, WRONG[scenario])
        end(client)
    elif scenario == "size_name":
        send(client, size_header(NAMES[argument[0]], 5) + b"12345")
        end(client)
    elif scenario == "md5_name":
        send(client, md5_header(md5(b"12345"), "p", 5, NAMES[argument[0]]) + b"12345")
        end(client)
    else:
        globals()[scenario](client, *(argument or [None]))


if sys.argv[1:] == ["list"]:
    tell("scenarios", wrong=list(WRONG), names=list(NAMES))
else:
    main()
