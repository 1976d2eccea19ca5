"""Values to bytes and back: packhorse beside Python's own struct.

All scenarios together start packhorse about 200 times; formats have many fields instead.
"""

import base64
import math
import random
import resource
import struct

from talking import *

ORDERS = ["", "@", "=", "<", ">", "!"]
INTEGERS = "bBhHiIlLqQ"
NATIVE = "nNP"


def seeded():
    seed = int(os.environ.get("PACKHORSE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"to have the same again: PACKHORSE_TEST_SEED={seed}")
    return random.Random(seed)


def packhorse(*arguments, stdin=None, code=0):
    """Runs it to its end, gives what it prints."""
    ours = Running(*arguments)
    if stdin is not None:
        try:
            ours.type(stdin)
        except BrokenPipeError:  # it has read enough
            pass
    return ours.ends(code)


def refused(code, said, *arguments, stdin=None):
    ours = packhorse(*arguments, stdin=stdin, code=code)
    assert ours.out == b"", (arguments, ours.out)
    ours.says(said)


def random_field(choice, native):
    """A piece of a format, and the values it takes."""
    letter = choice.choice(INTEGERS + "?cspefdx" + NATIVE * native)
    count = choice.choice(["", "", "", "0", "1", "2", "5", "03"])
    number = int(count or 1)
    if letter == "x":
        return count + letter, []
    if letter in "sp":
        count = choice.choice(["", "1", "4", "9", "30", "260"])
        return count + letter, [choice.randbytes(choice.randrange(int(count or 1) + 3))]
    return count + letter, [random_value(choice, letter, native) for _ in range(number)]


def random_value(choice, letter, native):
    if letter == "?":
        return choice.random() < 0.5
    if letter == "c":
        return choice.randbytes(1)
    if letter in "efd":
        special = [0.0, -0.0, math.inf, -math.inf, math.nan, 0.1, 65504.0, 6e-8, 1.0]
        return choice.choice(special + [choice.uniform(-60000, 60000), choice.gauss(0, 1)])
    bits = 8 * struct.calcsize(("@" if native else "=") + letter)
    signed = letter in "bhilqn"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return choice.choice([low, high, 0, 1, choice.randint(low, high), choice.randint(low, high)])


def random_struct(choice):
    order = choice.choice(ORDERS)
    fields = [random_field(choice, order in ("", "@")) for _ in range(choice.randrange(12))]
    space = choice.choice(["", "", " ", "\t"])
    form = order + space.join(text for text, _ in fields)
    return form, [value for _, values in fields for value in values]


def written(choice, value):
    """One of the ways to write a value."""
    if isinstance(value, bool):
        return choice.choice(["true", "1"] if value else ["false", "0"])
    if isinstance(value, int):
        sign = "-" if value < 0 else choice.choice(["", "", "+"])
        return sign + choice.choice(["{}", "{}", "{:#x}", "{:#o}", "{:#b}"]).format(abs(value))
    if isinstance(value, float):
        return repr(value)
    letters = {b"\n": "\\n", b"\t": "\\t", b"\0": "\\0", b"\\": "\\\\", b"\r": "\\r"}
    text = ""
    for byte in value:
        one = bytes([byte])
        plain = letters.get(one) or (chr(byte) if 32 <= byte < 127 else None)
        text += plain if plain and choice.random() < 0.7 else f"\\x{byte:02x}"
    return text


def same(ours, theirs):
    if isinstance(theirs, float):
        return struct.pack("d", ours) == struct.pack("d", theirs) or ours != ours and theirs != theirs
    return type(ours) is type(theirs) and ours == theirs


def from_json(value):
    if isinstance(value, dict):
        data = base64.b64decode(value["bytes"])
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = None
        assert value["text"] == text, value
        return data
    return float(value) if value in ("nan", "inf", "-inf") else value


def packs_what_python_packs():
    choice = seeded()
    for _ in range(45):
        form, values = random_struct(choice)
        texts = [written(choice, value) for value in values]
        ours = packhorse("pack", form, *texts)
        assert ours.out == struct.pack(form, *values).hex().encode() + b"\n", (form, texts, ours.out)


def unpacks_what_python_unpacks():
    choice = seeded()
    for turn in range(40):
        form, _ = random_struct(choice)
        data = choice.randbytes(struct.calcsize(form))
        theirs = struct.unpack(form, data)
        if turn % 2:
            ours = packhorse("unpack", "--json", form, data.hex())
        else:
            ours = packhorse("unpack", "--json", form, stdin=data)
        values = [from_json(value) for value in json.loads(ours.out)]
        assert len(values) == len(theirs), (form, data, ours.out)
        for mine, other in zip(values, theirs):
            assert same(mine, other), (form, data.hex(), mine, other)


def calcsize_is_that_of_python():
    choice = seeded()
    forms = ["", "bi", "<bi", "x0l", "0lx", "llh0l", " b\n q ", "0s", "67108864x"]
    for form in forms + [random_struct(choice)[0] for _ in range(11)]:
        ours = packhorse("calcsize", form)
        assert ours.out == b"%d\n" % struct.calcsize(form), (form, ours.out)


def raw_bytes_go_through_a_pipe():
    form = "!4s?xHde3p"
    values = (b"a\0\xffb", True, 65535, -1e300, 0.5, b"no")
    pack = subprocess.Popen(
        [PACKHORSE, "pack", "--raw", form, r"a\0\xffb", "true", "65535", "-1e300", ".5", "no"],
        stdout=subprocess.PIPE,
    )
    unpack = subprocess.run(
        [PACKHORSE, "unpack", form, "-"], stdin=pack.stdout, capture_output=True, timeout=DEADLINE
    )
    pack.stdout.close()
    assert (pack.wait(), unpack.returncode) == (0, 0), unpack.stderr
    assert unpack.stdout == rb"""a\0\xffb
true
65535
-1e300
0.5
no
""", unpack.stdout
    ours = packhorse("pack", "--raw", form, r"a\0\xffb", "true", "65535", "-1e300", ".5", "no")
    assert ours.out == struct.pack(form, *values)


def what_was_unpacked_can_be_packed():
    choice = seeded()
    for turn in range(12):
        form, values = random_struct(choice)
        form += "260s9p0s"
        values += ["é🐎\u202e\x1b[31m\\x41\\ \n".encode() + choice.randbytes(40), b"", b""]
        data = struct.pack(form, *values)
        text = packhorse("unpack", form, data.hex()).out.decode()
        assert text.isprintable() or not any(c < " " and c != "\n" for c in text), text
        ours = packhorse("pack", form, *text.split("\n")[:-1])
        # A NaN is 'nan', whatever its sign.
        assert ours.out.strip().decode() == data.hex(), (form, text)


def values_begin_with_anything():
    for values in (["-1", "-0x80"], ["-q", "--raw"], ["--", "-"], ["--help", "-h"], ["-v", "--json"]):
        form = "<bb" if values[0] == "-1" else "8s8s"
        theirs = [-1, -128] if form == "<bb" else [value.encode() for value in values]
        ours = packhorse("pack", form, *values)
        assert ours.out.strip() == struct.pack(form, *theirs).hex().encode(), values
    assert packhorse("pack", "2d", "-inf", "-1e5").out.strip() == struct.pack("2d", -math.inf, -1e5).hex().encode()


def a_length_header_is_four_bytes():
    """The header before the header of a file that is sent over a socket."""
    ours = packhorse("pack", "<i", "1024")
    assert ours.out == b"00040000\n", ours.out
    assert packhorse("pack", "i", "1024").out.strip() == struct.pack("i", 1024).hex().encode()
    assert packhorse("unpack", "<i", "00 04 00 00\n").out == b"1024\n"
    assert packhorse("unpack", "<i", stdin=b"\0\4\0\0").out == b"1024\n"


def bad_formats_are_named_with_their_position():
    for form, said in (
        ("<ik", "no code is written 'k', at position 3"),
        ("<i>", "the order '>' at position 3"),
        ("=hP", "the code 'P' at position 3"),
        ("hh12", "the count at position 3"),
        ("3 i", "white space at position 2"),
        ("i\x1b[31m", r"no code is written '\u{1b}', at position 2"),
    ):
        try:
            struct.calcsize(form)
            raise AssertionError(f"Python takes {form!r}")
        except struct.error:
            pass
        refused(2, said, "calcsize", form)
    refused(2, "at position 1", "pack", "é", "1")
    refused(2, "at position 1", "unpack", "Z", "00")


def values_that_do_not_fit_are_named():
    for arguments, said in (
        (["<iB", "1", "256"], "value 2 is 256, out of range for 'B' at position 3: 0 to 255"),
        (["H", "-1"], "value 1 is -1, out of range for 'H' at position 1"),
        (["q", "9223372036854775808"], "out of range for 'q'"),
        (["<f", "1e39"], "value 1 is 1e39, too large for 'f' at position 2"),
        (["e", "65520"], "too large for 'e' at position 1"),
        (["d", "1e400"], "value 1, for 'd' at position 1"),
        (["2i", "1"], "needs 2 and got 1, none for 'i' at position 2"),
        (["i", "1", "2"], "needs 1 and got 2"),
        (["xi", "1.5"], "value 1, for 'i' at position 2 of the format, is no integer"),
        (["?", "yes"], "is not true, false, 1 or 0"),
        (["c", "ab"], "value 1 has 2 bytes, but 'c' at position 1 takes one"),
        (["3s", r"a\q"], "has an escape at byte 2"),
    ):
        refused(2, said, "pack", *arguments)


def bytes_that_do_not_fit_are_refused():
    refused(6, "needs 6 and got 5, which end before 'H' at position 3 does", "unpack", "<iH", "0102030405")
    refused(6, "needs 4 and got 5", "unpack", "<i", "0102030405")
    refused(6, "needs 4 and got 0", "unpack", "<i", stdin=b"")
    refused(6, "needs 4 and got more", "unpack", "<i", stdin=b"12345")
    refused(6, "needs 4 and got more", "unpack", "<i", "-", stdin=bytes(1 << 20))
    refused(2, "'g' at position 3 is none", "unpack", "<i", "00g")
    refused(2, "at position 3, has no other", "unpack", "<i", "000")


def within(kilobytes, *arguments, stdin, code=0):
    """Runs it with so much memory of its own, and gives what it prints."""

    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (kilobytes << 10, kilobytes << 10))

    ours = subprocess.run(
        [PACKHORSE, *arguments],
        preexec_fn=limit, stdin=stdin, capture_output=True, timeout=DEADLINE,
    )
    assert ours.returncode == code, ours.stderr
    return ours


def huge_formats_cost_nothing():
    for form in ("1000000000000000000x", "99999999999999999999999i", "10000000000s", "67108865x"):
        ours = within(8 << 10, "pack", form, stdin=subprocess.DEVNULL, code=2)
        assert b"longer than the limit of 67108864 bytes" in ours.stderr, ours.stderr
    # Within the limit, but there are no values and no bytes for it.
    ours = within(8 << 10, "pack", "67108864b", "1", stdin=subprocess.DEVNULL, code=2)
    assert b"needs 67108864 and got 1" in ours.stderr, ours.stderr
    within(8 << 10, "unpack", "67108864b", stdin=subprocess.DEVNULL, code=6)


def millions_of_values_are_printed_one_by_one():
    """Two million values would take 96 MB as a list; here they fit into 24 with their bytes."""
    with tempfile.TemporaryFile() as zeros:
        zeros.truncate(2_000_000)
        ours = within(24 << 10, "unpack", "2000000b", stdin=zeros)
    assert ours.stdout == b"0\n" * 2_000_000


if __name__ == "__main__":
    run(globals())
