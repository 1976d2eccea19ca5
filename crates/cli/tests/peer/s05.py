"""A chat over UDP: one server, many clients, and 'q' to end it."""

import socket

from talking import *


def the_server_answers_who_spoke():
    ours = Running("listen", "udp://127.0.0.1:0", "--json")
    address = ours.address()
    ann, bob = udp_socket()[0], udp_socket()[0]
    ann.sendto("你好".encode(), address)
    ours.event("message", 1)
    bob.sendto(b"me too", address)
    heard = ours.event("message", 2)
    assert heard["peer"] == "127.0.0.1:%d" % bob.getsockname()[1]
    ours.type("to bob\n")
    assert bob.recv(1024) == b"to bob"
    ours.type("/to 1 to ann\n")
    assert ann.recv(1024) == b"to ann"
    ours.type("/all to both\n\n")
    assert ann.recv(1024) == b"to both"
    assert bob.recv(1024) == b"to both"
    # An empty line is an empty datagram, to who spoke last.
    assert bob.recv(1024) == b""
    ours.stop()
    ours.ends(0)


def a_chat_over_two_kinds_keeps_to_each():
    """A line has its end on a stream, and none as a datagram; 'q' is a goodbye over UDP alone."""
    ours = Running("listen", "tcp://127.0.0.1:0", "udp://127.0.0.1:0", "--json")
    ours.event("listening", 2)
    at = {event["kind"]: python_address(event["endpoint"]) for event in ours.events("listening")}
    ann, bob = tcp_client(at["tcp"]), udp_socket()[0]
    ann.sendall(b"q")
    ours.event("message", 1)
    bob.sendto(b"hello", at["udp"])
    ours.event("message", 2)
    ours.type("/all hear\n")
    assert ann.recv(100) == b"hear\n"
    assert bob.recv(100) == b"hear"
    bob.sendto(b"q", at["udp"])
    assert ours.event("ended")["kind"] == "udp"
    ours.stop()
    ours.ends(0)


def peers_are_listed():
    ours = Running("listen", "udp://127.0.0.1:0")
    address = ours.address()
    ann = udp_socket()[0]
    ann.sendto(b"hello", address)
    ours.until(lambda: b"hello" in ours.out)
    assert b"[1 127.0.0.1:%d] hello" % ann.getsockname()[1] in ours.out
    ours.type("/peers\n")
    ours.until(lambda: b"spoke last" in ours.err)
    ours.type("/to 9 x\n")
    ours.until(lambda: b"number 9 is not here" in ours.err)
    ours.type("/quit\n")
    ours.ends(0)


def q_ends_a_chat_on_either_side():
    ours = Running("listen", "udp://127.0.0.1:0", "--json")
    address = ours.address()
    ann = udp_socket()[0]
    ann.sendto(b"hello", address)
    ours.event("message", 1)
    ann.sendto(b"q", address)
    ours.event("ended", 1)
    # Whoever speaks again is a new chat.
    ann.sendto(b"again", address)
    assert ours.event("connected", 2)["number"] == 2
    ours.event("message", 3)
    ours.type("Q\n")
    assert ann.recv(1024) == b"Q"
    ours.event("ended", 2)
    ours.stop()
    ours.ends(0)


def silent_peers_are_forgotten():
    ours = Running("listen", "udp://127.0.0.1:0", "--json", "--idle-timeout", "200ms")
    ann = udp_socket()[0]
    ann.sendto(b"hello", ours.address())
    assert ours.event("ended")["end"] == "idle"
    ours.stop()
    ours.ends(0)


def a_client_by_pipe():
    """One line is one datagram, an empty one among them; the answers are lines again."""
    server, endpoint = udp_socket()
    ours = Running("connect", endpoint)
    ours.type("one\n\nthree")
    ours.no_more_input()
    for expected in (b"one", b"", b"three"):
        data, peer = server.recvfrom(1024)
        assert data == expected
        server.sendto(b"<" + data + b">", peer)
    ours.ends(0)
    assert ours.out == b"<one>\n<>\n<three>\n"


def a_client_at_a_terminal_ends_with_q():
    server, endpoint = udp_socket()
    ours = Terminal("connect", endpoint)
    ours.wait_for("> ")
    ours.type("hello\r")
    data, peer = server.recvfrom(1024)
    assert data == b"hello"
    server.sendto("我".encode(), peer)
    ours.wait_for("我")
    ours.type("q\r")
    assert server.recvfrom(1024)[0] == b"q"
    ours.ends(0)


def a_client_is_ended_by_the_server_s_q():
    server, endpoint = udp_socket()
    ours = Terminal("connect", endpoint)
    ours.wait_for("> ")
    ours.type("hello\r")
    _, peer = server.recvfrom(1024)
    server.sendto(b"q", peer)
    ours.ends(0)


def a_datagram_that_is_cut_is_reported():
    with directory() as place:
        ours = Running("listen", f"unixgram:{place}/x.sock", "--json")
        ours.address()
        client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        client.bind(f"{place}/client.sock")
        client.sendto(b"x" * 300_000, f"{place}/x.sock")
        heard = ours.event("message")
        assert heard["length"] == 256 * 1024 and heard["lost"] == 300_000 - 256 * 1024, heard
        assert "did not fit" in ours.event("warning")["message"]
        ours.stop()
        ours.ends(0)


def datagrams_of_every_length_arrive_whole():
    ours = Running("listen", "udp://127.0.0.1:0", "--handler", "echo")
    address = ours.address()
    client = udp_socket()[0]
    for length in (0, 1, 1471, 1472, 1473, 9000, 65507):
        message = bytes(n % 251 for n in range(length))
        client.sendto(message, address)
        assert client.recv(70000) == message, length
    ours.stop()
    ours.ends(0)


def nobody_there_is_said_and_the_next_may_be():
    server, endpoint = udp_socket()
    address = server.getsockname()
    server.close()
    ours = Running("connect", endpoint)
    ours.type("lost\n")
    ours.until(lambda: b"nobody listens" in ours.err)
    gone = Running("connect", endpoint)
    gone.type("lost\n")
    gone.ends(3).says("nobody listens")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(DEADLINE)
    server.bind(address)
    ours.type("heard\n")
    assert server.recv(100) == b"heard"
    ours.ends(0)


if __name__ == "__main__":
    run(globals())
