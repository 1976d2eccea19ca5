"""Says what CPython's struct makes of a format: one line in, one line out.

In:   FORMAT in hex, a tab, VALUES apart by spaces, a tab, BYTES in hex
Out:  SIZE, a tab, the values packed in hex, a tab, the bytes unpacked to VALUES

A value is i:DECIMAL, f:BITS (16 digits, those of '>d'), t:0, t:1, or b:HEX. In place of what is an
error there is '!'. Formats larger than argv[1] bytes are sized and no more: '-' is in place of the rest.
"""

import struct
import sys


def read_value(text):
    kind, rest = text.split(":")
    if kind == "i":
        return int(rest)
    if kind == "f":
        return struct.unpack(">d", bytes.fromhex(rest))[0]
    if kind == "t":
        return rest == "1"
    return bytes.fromhex(rest)


def write_value(value):
    if isinstance(value, bool):
        return f"t:{int(value)}"
    if isinstance(value, int):
        return f"i:{value}"
    if isinstance(value, float):
        return "f:" + struct.pack(">d", value).hex()
    return "b:" + value.hex()


def attempt(action):
    try:
        return action()
    except (struct.error, OverflowError, UnicodeError):
        return "!"


def answer(line, largest):
    form, values, packed = line.rstrip("\n").split("\t")
    form = bytes.fromhex(form).decode()
    values = [read_value(text) for text in values.split()]
    packed = bytes.fromhex(packed)
    size = attempt(lambda: struct.calcsize(form))
    if size != "!" and size > largest:
        return f"{size}\t-\t-"
    result = attempt(lambda: struct.pack(form, *values).hex())
    unpacked = attempt(lambda: " ".join(map(write_value, struct.unpack(form, packed))))
    return f"{size}\t{result}\t{unpacked}"


for line in sys.stdin:
    print(answer(line, int(sys.argv[1])), flush=True)
