"""The sample client of a course on socket servers: says 'hello' and reads one answer.

    s10_counter.py HOST:PORT
"""

import json
import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
with socket.create_connection((host, int(port)), timeout=60) as client:
    client.sendall(b"hello\n")
    print(json.dumps({"event": "answer", "text": client.recv(1024).decode()}), flush=True)
