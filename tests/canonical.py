"""canonical.py SEED COUNT: random JSON texts, and behind each the canonical form over which records are hashed, a line each.

The form is made by Python's own reader, writer and doubles, from the rules alone: nothing of Larder is in it.
"""

import json
import math
import random
import struct
import sys
import unicodedata

RANGES = [(0x20, 0x7E)] * 6 + [
    (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x5D0, 0x6FF), (0x900, 0xDFF), (0xF00, 0xFFF), (0x1100, 0x11FF),
    (0x1E00, 0x2FFF), (0x3000, 0x30FF), (0xAC00, 0xD7A3), (0xF900, 0xFFFF), (0x10000, 0x11FFF), (0x1D100, 0x1D1FF),
    (0x1F600, 0x1F64F), (0x2F800, 0x2FA1D),
]
AWKWARD = ["é", "e\u0301", "\u212b", "A\u030a", "\u212a", "K", "\u1100\u1161\u11a8", "\u0344", "a\u0323\u0302", "\0", "\n", "\\", '"', "/",
           "\x7f", "\u2028", "\ue000", "\uffff", "😀"]
TWINS = [("é", "e\u0301"), ("\u212b", "A\u030a"), ("K", "\u212a")]
NUMBERS = ["0", "-0", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1.7976931348623157e308", "5e-324", "1e-400", "-0.0", "0e5"]
SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}


def normal(value):
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {normal(name): normal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return float("%.15g" % value) + 0.0
    return value


def canonical_form(value):
    return json.dumps(normal(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def character():
    while True:
        c = chr(random.randint(*random.choice(RANGES)))
        if unicodedata.category(c) not in ("Cn", "Cs"):
            return c


def quoted(text):
    out = []
    for c in text:
        chance = random.random()
        if c in '"\\':
            out.append("\\" + c)
        elif ord(c) < 0x20:
            out.append(SHORT[ord(c)] if ord(c) in SHORT and chance < 0.7 else "\\u%04X" % ord(c))
        elif chance < 0.06:
            units = c.encode("utf-16-be")
            out += ["\\u" + units[at : at + 2].hex() for at in range(0, len(units), 2)]
        else:
            out.append("\\/" if c == "/" and chance < 0.5 else c)
    return '"' + "".join(out) + '"'


def string():
    make = random.choice([lambda: random.choice("abc_ -."), lambda: random.choice(AWKWARD), character])
    return quoted("".join(make() for _ in range(random.randint(0, 12))))


def number():
    sign, digits = random.choice(["", "-"]), lambda most: str(random.randint(0, 10 ** random.randint(0, most)))
    kind = random.randrange(6)
    if kind == 0:
        return sign + digits(40)
    if kind == 1:
        return random.choice(NUMBERS)
    if kind == 2:
        text = repr(struct.unpack(">d", random.randbytes(8))[0])
        return text.replace("nan", "NaN").replace("inf", "Infinity")
    if kind == 3:
        return sign + digits(17) + "." + "".join(random.choice("0123456789") for _ in range(random.randint(1, 25)))
    if kind == 4:
        fraction, power = random.choice(["", ".5", ".000", ".123456789"]), random.choice(["", "+", "-", "-0"])
        return sign + digits(5) + fraction + random.choice("eE") + power + str(random.randint(0, random.choice([5, 30, 330])))
    # Fifteen digits, and what decides how they are rounded.
    text = str(random.randint(10**14, 10**15 - 1)) + random.choice(["5", "4999999999999", "5000000000000000000001"])
    point = random.randint(1, 15)
    return sign + text[:point] + "." + text[point:]


def value(depth):
    space = random.choice(["", "", " ", "\t"])
    if depth == 0 or random.random() < 0.5:
        return space + random.choice([number, string, lambda: random.choice(["null", "true", "false"])])() + space
    size = random.choice([0, 1, 2, 3, 5])
    if random.random() < 0.5:
        return "[" + space + ",".join(value(depth - 1) for _ in range(size)) + "]"
    names = [string() for _ in range(size)]
    if random.random() < 0.4:
        twins = random.choice(TWINS)
        names = [quoted(random.choice(twins)) if random.random() < 0.6 else name for name in names]
    return "{" + space + ",".join(name + space + ":" + value(depth - 1) for name in names) + "}"


if __name__ == "__main__":
    random.seed(int(sys.argv[1]))
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    for _ in range(int(sys.argv[2])):
        document = value(random.randint(0, 4))
        print(document, canonical_form(json.loads(document)), sep="\n")
