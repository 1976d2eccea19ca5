"""The two classic formats, written from their description and with the standard library alone."""

import json
import struct


def header(fields):
    """A length as a native int (little-endian here), then JSON in UTF-8."""
    text = json.dumps(fields).encode("utf-8")
    return struct.pack("<i", len(text)) + text


def size_header(name, size):
    return header({"file_name": name, "file_size": size})


def md5_header(md5, path, size, name):
    return header({"md5": md5, "file_name": path, "file_size": size, "new_file_name": name})


def exactly(connection, count):
    """Reads that many bytes, in as many pieces as it takes."""
    parts = []
    while count:
        part = connection.recv(min(count, 65536))
        if not part:
            raise EOFError("the other side closed in the middle")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_header(connection):
    """The header's bytes on the wire, and what they say."""
    length = exactly(connection, 4)
    text = exactly(connection, struct.unpack("<i", length)[0])
    return length + text, json.loads(text.decode("utf-8"))
