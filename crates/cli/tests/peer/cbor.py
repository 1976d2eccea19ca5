"""The part of CBOR (RFC 8949) that messages are made of, in the deterministic encoding."""

UINT, NEGATIVE, BYTES, TEXT, LIST, MAP = range(6)


class Malformed(Exception):
    """Not what the protocol's page allows."""


def head(major, number):
    for size, info in ((0, None), (1, 24), (2, 25), (4, 26), (8, 27)):
        if size == 0 and number < 24:
            return bytes([major << 5 | number])
        if size and number < 1 << (8 * size):
            return bytes([major << 5 | info]) + number.to_bytes(size, "big")
    raise Malformed(f"{number} is too large")


def encode(value):
    if isinstance(value, Raw):
        return value.encoded
    if isinstance(value, int):
        return head(UINT, value) if value >= 0 else head(NEGATIVE, -1 - value)
    if isinstance(value, (bytes, bytearray)):
        return head(BYTES, len(value)) + bytes(value)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogateescape")
        return head(TEXT, len(text)) + text
    if isinstance(value, (list, tuple)):
        return head(LIST, len(value)) + b"".join(map(encode, value))
    pairs = sorted(value.items())
    return head(MAP, len(pairs)) + b"".join(encode(k) + encode(v) for k, v in pairs)


class Raw:
    """A value that is encoded already, perhaps not well."""

    def __init__(self, encoded):
        self.encoded = encoded


def decode(data):
    value, end = take(data, 0)
    if end != len(data):
        raise Malformed("something behind the value")
    return value


def take(data, at):
    """The value at a place, and where the next one is."""
    major, number, at = take_head(data, at)
    if major == UINT:
        return number, at
    if major == NEGATIVE:
        return -1 - number, at
    if major in (BYTES, TEXT):
        if len(data) - at < number:
            raise Malformed("cut off")
        content = bytes(data[at : at + number])
        return (content if major == BYTES else content.decode("utf-8")), at + number
    if major == LIST:
        items = []
        for _ in range(number):
            item, at = take(data, at)
            items.append(item)
        return items, at
    if major == MAP:
        return take_map(data, at, number)
    raise Malformed(f"major type {major}")


def take_map(data, at, count):
    pairs, before = {}, None
    for _ in range(count):
        key, at = take(data, at)
        if not isinstance(key, int) or (before is not None and key <= before):
            raise Malformed("keys are not ascending numbers")
        pairs[key], at = take(data, at)
        before = key
    return pairs, at


def take_head(data, at):
    if at >= len(data):
        raise Malformed("cut off")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        return major, info, at
    if info > 27:
        raise Malformed("no definite length")
    size = 1 << (info - 24)
    if len(data) - at < size:
        raise Malformed("cut off")
    number = int.from_bytes(data[at : at + size], "big")
    if number < (24 if size == 1 else 1 << (4 * size)):
        raise Malformed("not the shortest form")
    return major, number, at + size
