"""Trees, entries and the root over what was stored. Written from docs/protocol.md alone."""

import os
import stat

import blake3
from wire import DIRECTORY, FILE, SYMLINK

NANOSECONDS = 1_000_000_000


class Entry:
    """A directory, file or symbolic link; `source` is where its content is."""

    def __init__(self, path, kind, mode=0o644, modified=(0, 0), size=None, target=b"", source=None):
        self.path, self.kind, self.mode, self.modified = path, kind, mode & 0o777, modified
        self.size, self.target, self.source = size, target, source
        self.hash = None

    def metadata(self):
        return {2: self.mode, 3: self.modified[0], 4: self.modified[1]}

    def fields(self):
        fields = {0: self.path, 1: self.kind, **self.metadata()}
        if self.kind == FILE and self.size is not None:
            fields[5] = self.size
        if self.kind == SYMLINK:
            fields[6] = self.target
        return fields

    @classmethod
    def from_fields(cls, fields):
        modified = (fields[3], fields[4])
        return cls(fields[0], fields[1], fields[2], modified, fields.get(5), fields.get(6, b""))

    def weight(self):
        return 48 + len(self.path) + len(self.target)

    def leaf(self):
        content = {
            DIRECTORY: lambda: sized(b"directory"),
            FILE: lambda: sized(b"file") + sized(number(self.size, 8)) + sized(self.hash),
            SYMLINK: lambda: sized(b"symlink") + sized(self.target),
        }[self.kind]()
        seconds, nanoseconds = self.modified
        metadata = sized(number(self.mode, 2)) + sized(seconds.to_bytes(8, "big", signed=True))
        metadata += sized(number(nanoseconds, 4))
        material = sized(self.path) + content + metadata
        return blake3.derive_key("packhorse 2026-11 manifest entry", material)


def number(value, size):
    return value.to_bytes(size, "big")


def sized(data):
    return number(len(data), 8) + data


def root_of(stored):
    """The root over entries that were stored, in their order."""
    leaves = b"".join(entry.leaf() for entry in stored)
    return blake3.derive_key("packhorse 2026-11 manifest root", leaves)


def walk(root):
    """All of a directory, itself first, in canonical order."""
    root = os.fsencode(os.path.abspath(root))
    name = os.path.basename(root)
    found = [read_entry(root, name)]
    for directory, directories, files in os.walk(root):
        for below in directories + files:
            source = os.path.join(directory, below)
            found.append(read_entry(source, name + source[len(root) :]))
    return sorted(found, key=lambda entry: entry.path.split(b"/"))


def read_entry(source, path):
    status = os.lstat(source)
    modified = divmod(status.st_mtime_ns, NANOSECONDS)
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(source)
        return Entry(path, SYMLINK, 0o777, modified, target=target)
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, DIRECTORY, status.st_mode, modified)
    return Entry(path, FILE, status.st_mode, modified, status.st_size, source=source)


def set_metadata(path, entry):
    nanoseconds = entry.modified[0] * NANOSECONDS + entry.modified[1]
    if entry.kind != SYMLINK:
        os.chmod(path, entry.mode)
    os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
