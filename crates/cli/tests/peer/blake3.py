"""BLAKE3 with nothing but integers, fast enough for tests: many chunks at once, side by side in one
large integer. Each 32-bit word has a lane of 64 bits, so sums and shifts stay within their lane.

Written from the BLAKE3 paper, for extents: chaining values of subtrees, and merging them.
"""

from array import array

CHUNK = 1024
BLOCK = 64
SIDE_BY_SIDE = 512

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
DERIVE_KEY_CONTEXT, DERIVE_KEY_MATERIAL = 32, 64


def schedule():
    """The order in which each of the seven rounds takes the words of a message."""
    order, rounds = list(range(16)), []
    for _ in range(7):
        rounds.append(tuple(order))
        order = [order[p] for p in PERMUTATION]
    return rounds


ROUNDS = schedule()
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
ONES = {}


def ones(count):
    """The integer with 1 in each of `count` lanes."""
    if count not in ONES:
        ONES[count] = int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")
    return ONES[count]


def pack(words):
    return int.from_bytes(array("Q", words).tobytes(), "little")


def unpack(lanes, count):
    words = array("Q")
    words.frombytes(lanes.to_bytes(8 * count, "little"))
    return words


def compress(chaining, message, counter, lengths, flags, count):
    """The compression function in `count` lanes; all but the count are packed. The first 8 words of it."""
    mask = ones(count) * 0xFFFFFFFF
    v = list(chaining) + [ones(count) * word for word in IV[:4]]
    v += [counter & mask, (counter >> 32) & mask, lengths, flags]
    for order in ROUNDS:
        step = 0
        for a, b, c, d in COLUMNS + DIAGONALS:
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            for part in (0, 1):
                first, second = ((16, 12), (8, 7))[part]
                va = (va + vb + message[order[step + part]]) & mask
                vd ^= va
                vd = (vd >> first | vd << (32 - first)) & mask
                vc = (vc + vd) & mask
                vb ^= vc
                vb = (vb >> second | vb << (32 - second)) & mask
            v[a], v[b], v[c], v[d] = va, vb, vc, vd
            step += 2
    return [v[i] ^ v[i + 8] for i in range(8)]


class Words(tuple):
    """Eight words of a chaining value."""

    def to_bytes(self):
        return b"".join(word.to_bytes(4, "little") for word in self)

    @classmethod
    def from_bytes(cls, data):
        return cls(int.from_bytes(data[i : i + 4], "little") for i in range(0, 32, 4))


class Node:
    """What is left to be compressed for one node, so that its flags can still get ROOT."""

    def __init__(self, chaining, block, counter, length, flags):
        self.inputs = (chaining, block, counter, length, flags)

    def value(self, more_flags=0):
        chaining, block, counter, length, flags = self.inputs
        message = array("I", block.ljust(BLOCK, b"\0"))
        return Words(compress(chaining, message, counter, length, flags | more_flags, 1))


class Mode:
    """Hashing with one key and one purpose."""

    def __init__(self, key=IV, flags=0):
        self.key, self.flags = Words(key), flags

    def whole_chunks(self, data, first):
        """The chaining values of chunks of 1,024 bytes, which there is nothing behind in their chunk."""
        values = []
        for start in range(0, len(data), SIDE_BY_SIDE * CHUNK):
            some = data[start : start + SIDE_BY_SIDE * CHUNK]
            values += self.side_by_side(some, first + start // CHUNK)
        return values

    def side_by_side(self, data, first):
        count = len(data) // CHUNK
        words = memoryview(data).cast("I")
        unit = ones(count)
        counter = pack(range(first, first + count))
        chaining = [unit * word for word in self.key]
        for block in range(16):
            # Every 256th word from here: the same place in each chunk.
            message = [pack(words[16 * block + i :: 256]) for i in range(16)]
            flags = self.flags | (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == 15 else 0)
            chaining = compress(chaining, message, counter, unit * BLOCK, unit * flags, count)
        return [Words(lane) for lane in zip(*(unpack(word, count) for word in chaining))]

    def last_chunk(self, data, counter):
        chaining, flags = self.key, self.flags | CHUNK_START
        while len(data) > BLOCK:
            chaining = Node(chaining, data[:BLOCK], counter, BLOCK, flags).value()
            data, flags = data[BLOCK:], self.flags
        return Node(chaining, data, counter, len(data), flags | CHUNK_END)

    def parent(self, left, right):
        return Node(self.key, left.to_bytes() + right.to_bytes(), 0, BLOCK, self.flags | PARENT)

    def parents(self, values):
        """One level up: pairs of values side by side."""
        count = len(values) // 2
        if count == 0:
            return []
        unit = ones(count)
        message = [pack(v[i] for v in values[0::2]) for i in range(8)]
        message += [pack(v[i] for v in values[1::2]) for i in range(8)]
        key = [unit * word for word in self.key]
        up = compress(key, message, 0, unit * BLOCK, unit * (self.flags | PARENT), count)
        return [Words(lane) for lane in zip(*(unpack(word, count) for word in up))]

    def subtree(self, data, offset=0):
        """The top node over `data`, which starts at `offset` of what is hashed."""
        data = bytes(data)
        first = offset // CHUNK
        # The last chunk is kept apart: it may be the only one, and then the node asked for.
        whole = max(len(data) - 1, 0) // CHUNK
        last = self.last_chunk(data[whole * CHUNK :], first + whole)
        if whole == 0:
            return last
        values = self.whole_chunks(data[: whole * CHUNK], first)
        return self.join(values + [last.value()])

    def join(self, values):
        """The top node over two values or more, as BLAKE3's tree over as many equal parts has it."""
        while len(values) > 2:
            odd = values[len(values) & ~1 :]
            values = self.parents(values) + odd
        return self.parent(*values)

    def hash(self, data):
        return self.subtree(data).value(ROOT).to_bytes()


PLAIN = Mode()


def hash_of(data):
    """What b3sum prints."""
    return PLAIN.hash(data)


def derive_key(context, material):
    key = Mode(flags=DERIVE_KEY_CONTEXT).hash(context.encode())
    return Mode(Words.from_bytes(key), DERIVE_KEY_MATERIAL).hash(material)


def extent_value(data, offset, only):
    """The value of an extent; `only` where it is the whole file."""
    return PLAIN.subtree(data, offset).value(ROOT if only else 0).to_bytes()


def merge_extents(values):
    """The hash of a file from the values of all its extents, in order."""
    if len(values) == 1:
        return values[0]
    return PLAIN.join([Words.from_bytes(value) for value in values]).value(ROOT).to_bytes()
