"""A classic server as the description has it: classic_receiver.py size|md5 DIRECTORY [refuse].

Tells, as packhorse does, where it listens, and then what came: one JSON object a line. With `refuse` it
cuts the connection once it has read the header.
"""

import hashlib
import json
import os
import socket
import struct
import sys

from classic_wire import read_header


def tell(event, **fields):
    print(json.dumps({"v": 1, "event": event, **fields}), flush=True)


def receive_size(connection, fields, directory):
    """Exactly as many bytes as the header says; then it closes, whatever the client does."""
    left = fields["file_size"]
    with open(os.path.join(directory, fields["file_name"]), "wb") as file:
        while left:
            chunk = connection.recv(min(left, 1024))
            if not chunk:
                break
            file.write(chunk)
            left -= len(chunk)
    return left == 0


def receive_md5(connection, fields, directory):
    """Until the client closes; the MD5 is compared at the end."""
    digest = hashlib.md5()
    with open(os.path.join(directory, fields["new_file_name"]), "wb") as file:
        while chunk := connection.recv(4096):
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest() == fields["md5"]


def main():
    form, directory = sys.argv[1:3]
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    tell("listening", addr="127.0.0.1:%d" % server.getsockname()[1])
    connection, _ = server.accept()
    raw, fields = read_header(connection)
    if sys.argv[3:] == ["refuse"]:
        # A linger of zero seconds makes the close a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return
    receive = receive_size if form == "size" else receive_md5
    agrees = receive(connection, fields, directory)
    connection.close()
    tell("received", header=fields, keys=list(fields), raw_length=len(raw), agrees=agrees)


main()
