"""A classic client as the description has it: classic_sender.py size|md5 ADDRESS FILE [NEW_NAME]."""

import hashlib
import os
import socket
import sys

from classic_wire import md5_header, size_header


def main():
    form, address, path = sys.argv[1:4]
    name = sys.argv[4] if len(sys.argv) > 4 else os.path.basename(path)
    size = os.path.getsize(path)
    if form == "size":
        head = size_header(name, size)
    else:
        digest = hashlib.md5()
        with open(path, "rb") as file:
            while chunk := file.read(65536):
                digest.update(chunk)
        head = md5_header(digest.hexdigest(), path, size, name)
    host, port = address.rsplit(":", 1)
    client = socket.create_connection((host.strip("[]"), int(port)))
    client.sendall(head)
    with open(path, "rb") as file:
        while chunk := file.read(1024):
            client.sendall(chunk)
    client.close()


main()
