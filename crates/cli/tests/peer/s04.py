"""A TCP server and a TCP client that exchange a greeting and an answer, and what can go wrong."""

import hashlib
import os
import socket
import threading

from talking import *

GREETING = "我接受到了"
ANSWER = "你好啊"


def listen_greets_and_hears():
    """The client connects, receives, sends, closes."""
    ours = Running("listen", "--once", "tcp://127.0.0.1:0", "--greet", GREETING, "--json")
    client = tcp_client(ours.address())
    assert client.recv(1024).decode() == GREETING
    client.sendall(ANSWER.encode())
    client.close()
    assert ours.event("finished")["side"] == "peer"
    ours.ends(0)
    assert ours.messages() == [ANSWER.encode()]
    assert ours.messages("sent") == [GREETING.encode()]
    (heard,) = [e for e in ours.events("message") if e["direction"] == "received"]
    assert heard["text"] == ANSWER and heard["offset"] == 0 and heard["peer"]
    assert ours.event("ended")["end"] == "peer"


def listen_is_a_pipe():
    ours = Running("listen", "--once", "tcp://127.0.0.1:0")
    client = tcp_client(ours.address())
    ours.type(GREETING)
    ours.no_more_input()
    assert read_all(client).decode() == GREETING
    client.sendall(ANSWER.encode())
    client.close()
    ours.ends(0)
    assert ours.out.decode() == ANSWER
    # It said first that no more comes; the client then closed.
    ours.says("closed here first (FIN)")


def connect_hears_and_answers():
    """The server greets, receives one message, closes."""
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint)
    connection, _ = server.accept()
    connection.sendall(GREETING.encode())
    ours.until(lambda: ours.out == GREETING.encode(), "the greeting")
    ours.type(ANSWER)
    ours.no_more_input()
    assert read_all(connection).decode() == ANSWER
    connection.close()
    ours.ends(0).says("closed here first (FIN)")


def who_closed_first_is_said():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--json")
    connection, _ = server.accept()
    connection.close()
    assert ours.event("finished")["side"] == "peer"
    ours.no_more_input()
    assert ours.ends(0).event("ended")["end"] == "peer"


def a_reset_is_told_from_a_close():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint)
    connection, _ = server.accept()
    connection.sendall(b"x")
    ours.until(lambda: ours.out == b"x")
    reset(connection)
    ours.ends(3).says("(RST)")
    listening = Running("listen", "--once", "tcp://127.0.0.1:0")
    client = tcp_client(listening.address())
    client.sendall(b"y")
    listening.until(lambda: listening.out == b"y")
    reset(client)
    listening.ends(3).says("(RST)")


def bytes_cross_unchanged_in_both_directions_at_once():
    server, endpoint = tcp_server()
    there, back = os.urandom(3_000_000), os.urandom(2_500_000)
    ours = Running("connect", endpoint)
    connection, _ = server.accept()
    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(connection)))
    reader.start()
    typist = threading.Thread(target=lambda: (ours.type(there), ours.no_more_input()))
    typist.start()
    connection.sendall(back)
    connection.shutdown(socket.SHUT_WR)
    reader.join()
    typist.join()
    connection.close()
    ours.ends(0)
    assert hashlib.sha256(got[0]).digest() == hashlib.sha256(there).digest()
    assert hashlib.sha256(ours.out).digest() == hashlib.sha256(back).digest()


def an_answer_to_the_end_of_input_is_heard():
    """A server that speaks only once its client is done (as HTTP/1.0 and finger do)."""
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint)
    ours.type("question")
    ours.no_more_input()
    connection, _ = server.accept()
    assert read_all(connection) == b"question"
    connection.sendall(b"answer")
    connection.close()
    assert ours.ends(0).out == b"answer"


def a_peer_that_sends_no_more_still_gets_the_rest():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--json")
    connection, _ = server.accept()
    connection.sendall(b"last words")
    connection.shutdown(socket.SHUT_WR)
    ours.event("message")
    for number in range(100):
        ours.type(f"{number}\n")
    ours.no_more_input()
    assert read_all(connection) == "".join(f"{n}\n" for n in range(100)).encode()
    connection.close()
    ours.ends(0)


def ends_of_input_are_as_asked():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--eof", "close")
    connection, _ = server.accept()
    ours.no_more_input()
    assert read_all(connection) == b""
    ours.ends(0)
    connection.close()
    ours = Running("connect", endpoint, "--eof", "linger:300ms")
    connection, _ = server.accept()
    ours.no_more_input()
    assert read_all(connection) == b""
    connection.sendall(b"in time")
    ours.until(lambda: ours.out == b"in time")
    ours.ends(0)  # without a word from the server


def counts_rates_and_idle_times_are_kept():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--frame", "line", "--count", "2")
    connection, _ = server.accept()
    connection.sendall(b"one\ntwo\nthree\n")
    assert ours.ends(0).out == b"one\ntwo\n"
    connection.close()
    ours = Running("connect", endpoint, "--idle-timeout", "200ms", "--json")
    connection, _ = server.accept()
    ours.event("ended")
    assert ours.ends(0).event("ended")["end"] == "idle"
    connection.close()
    ours = Running("connect", endpoint, "--frame", "line", "--rate", "20", "--eof", "close")
    connection, _ = server.accept()
    begin = time.monotonic()
    ours.type("x\n" * 11)
    ours.no_more_input()
    assert read_all(connection) == b"x\n" * 11
    # Eleven messages have ten pauses of 50 ms between them. Sooner is wrong; later is a busy machine.
    assert time.monotonic() - begin >= 0.5
    ours.ends(0)


def a_character_that_is_cut_is_shown_whole():
    server, endpoint = tcp_server()
    ours = Running("connect", endpoint, "--json")
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    text = GREETING.encode()
    for at in range(len(text)):
        connection.sendall(text[at : at + 1])
        if at % 3 == 2:
            ours.until(lambda: sum(map(len, ours.messages())) == at + 1)
    connection.close()
    ours.no_more_input()
    ours.ends(0)
    assert all(event["text"] is not None for event in ours.events("message"))
    assert b"".join(ours.messages()).decode() == GREETING
    offset = 0
    for event in ours.events("message"):
        assert event["offset"] == offset, event
        offset += event["length"]


def a_person_s_line_is_not_torn():
    server, endpoint = tcp_server()
    ours = Terminal("connect", endpoint)
    connection, _ = server.accept()
    ours.wait_for("> ")
    ours.type("half a li")
    shown = ours.wait_for("half a li")
    connection.sendall("from the other side\n".encode())
    shown = ours.wait_for("from the other side", shown)
    # The line is there again below the message, and goes on where it was.
    shown = ours.wait_for("half a li", shown)
    ours.type("ne\r")
    assert connection.recv(100) == b"half a line\n"
    ours.type("\x1b[A\r")  # the arrow that goes back in history
    assert connection.recv(100) == b"half a line\n"
    connection.sendall(b"\x1b[2J\x07bell")
    ours.wait_for("\\u{1b}[2J", shown)
    assert b"\x07bell" not in ours.seen and b"\x1b[2J" not in ours.seen
    ours.type("\x04")  # Ctrl-D
    assert connection.recv(100) == b""
    connection.close()
    ours.wait_for("closed here first (FIN)")
    ours.ends(0)


def pasted_lines_all_arrive():
    server, endpoint = tcp_server()
    ours = Terminal("connect", endpoint)
    connection, _ = server.accept()
    ours.wait_for("> ")
    lines = "".join(f"line {number} of what was pasted\r" for number in range(300))
    paste = threading.Thread(target=ours.paste, args=(lines,))
    paste.start()
    reader = threading.Thread(target=ours.read_on, daemon=True)
    reader.start()
    got = b""
    while len(got) < len(lines):
        chunk = connection.recv(65536)
        assert chunk, got
        got += chunk
    assert got == lines.replace("\r", "\n").encode()
    paste.join()
    connection.close()


def last_words_are_shown_at_a_terminal():
    for round in range(20):
        server, endpoint = tcp_server()
        ours = Terminal("connect", endpoint)
        connection, _ = server.accept()
        ours.wait_for("> ")
        connection.sendall(b"last words\n")
        connection.close()
        ours.ends(0)
        assert b"last words" in ours.seen, (round, ours.seen)
        assert b"closed by the peer first (FIN)" in ours.seen, (round, ours.seen)
        assert ours.settings_now() == ours.settings


def bytes_that_are_no_text_are_not_sent_and_end_nothing():
    server, endpoint = tcp_server()
    ours = Terminal("connect", endpoint)
    connection, _ = server.accept()
    ours.wait_for("> ")
    ours.type(b"caf\xe9\r")
    ours.wait_for("not UTF-8")
    ours.type("tea\r")
    assert b"tea\n" in connection.recv(100)
    connection.close()
    ours.ends(0)


def a_reader_that_is_stuck_does_not_keep_it():
    """Ctrl-C ends it though nobody reads its output, which is full."""
    server, endpoint = tcp_server()
    reading, writing = os.pipe()
    ours = subprocess.Popen([PACKHORSE, "connect", endpoint], stdin=subprocess.PIPE, stdout=writing)
    connection, _ = server.accept()
    connection.settimeout(2)
    try:
        while True:
            connection.sendall(b"x" * 65536)
    except TimeoutError:
        pass
    ours.send_signal(signal.SIGINT)
    assert ours.wait(DEADLINE) == 130
    connection.close()


def quit_gives_the_terminal_back():
    ours = Terminal("listen", "tcp://127.0.0.1:0")
    before = ours.settings
    ours.wait_for("> ")
    ours.type("/quit\r")
    ours.ends(0)
    assert ours.settings_now() == before


def ctrl_c_gives_the_terminal_back():
    server, endpoint = tcp_server()
    ours = Terminal("connect", endpoint)
    connection, _ = server.accept()
    ours.wait_for("> ")
    ours.type("\x03")
    ours.ends(130)
    assert ours.settings_now() == ours.settings
    connection.close()


def listen_takes_many_and_ends_in_order():
    ours = Running("listen", "tcp://127.0.0.1:0", "--json", "--frame", "line")
    address = ours.address()
    clients = [tcp_client(address) for _ in range(5)]
    for number, client in enumerate(clients):
        client.sendall(f"I am {number}\n".encode())
    ours.event("message", 5)
    assert sorted(ours.messages()) == [f"I am {n}".encode() for n in range(5)]
    # The answer is for who spoke last.
    clients[2].sendall(b"and now?\n")
    ours.event("message", 6)
    ours.type("yes\n")
    assert clients[2].recv(100) == b"yes\n"
    ours.type("/all hear\n")
    assert all(client.recv(100) == b"hear\n" for client in clients)
    ours.stop()
    assert all(read_all(client) == b"" for client in clients)
    ours.ends(0)
    assert len(ours.events("ended")) == 5


def nobody_there_is_said():
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    ours = Running("connect", "tcp://127.0.0.1:%d" % holder.getsockname()[1])
    ours.ends(3).says("Connection refused")
    server, endpoint = tcp_server()
    busy = Running("listen", endpoint)
    busy.ends(5).says("in use")


if __name__ == "__main__":
    run(globals())
