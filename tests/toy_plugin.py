"""An age plugin for the tests: it speaks both state machines of the plugin protocol and keeps no secret worth the name.

Run with --make it prints a recipient and an identity. The identity wants a PIN, 4711.
"""

import base64
import hashlib
import os
import sys

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            check ^= generator if top >> bit & 1 else 0
    return check


def bech32(front, data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    expanded = [ord(c) >> 5 for c in front] + [0] + [ord(c) & 31 for c in front]
    check = polymod(expanded + values + [0] * 6) ^ 1
    values += [check >> 5 * (5 - at) & 31 for at in range(6)]
    return front + "1" + "".join(ALPHABET[value] for value in values)


def read_stanza():
    words = sys.stdin.readline().split()
    assert words[0] == "->", words
    body = ""
    while True:
        line = sys.stdin.readline().rstrip("\n")
        body += line
        if len(line) < 64:
            return words[1:], base64.b64decode(body + "=" * (-len(body) % 4))


def send(*words, body=b""):
    text = base64.b64encode(body).decode().rstrip("=")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    if not lines or len(lines[-1]) == 64:
        lines.append("")
    sys.stdout.write(f"-> {' '.join(map(str, words))}\n" + "".join(line + "\n" for line in lines))
    sys.stdout.flush()


def ask(*words, body=b""):
    send(*words, body=body)
    return read_stanza()


def read_all():
    while True:
        words, body = read_stanza()
        if words[0] == "done":
            return
        yield words, body


def key_of(text):
    """Recipient and identity hold the same bytes; what is behind the last 1 without its check tells."""
    return hashlib.sha256(text.lower().rsplit("1", 1)[1][:-6].encode()).digest()[:16]


def mixed(one, other):
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def recipient():
    sent = list(read_all())
    keys = [key_of(words[1]) for words, _ in sent if words[0] == "add-recipient"]
    file_keys = [body for words, body in sent if words[0] == "wrap-file-key"]
    for at, file_key in enumerate(file_keys):
        for key in keys:
            ask("recipient-stanza", at, "toy", key[:4].hex(), body=mixed(key, file_key))
    send("done")


def identity():
    sent = list(read_all())
    keys = [key_of(words[1]) for words, _ in sent if words[0] == "add-identity"]
    stanzas = [(words, body) for words, body in sent if words[0] == "recipient-stanza" and words[2] == "toy"]
    for words, body in stanzas:
        for at, key in enumerate(keys):
            if words[3] != key[:4].hex():
                continue
            ask("msg", body=b"touch the toy")
            answer, pin = ask("request-secret", body=b"PIN of the toy")
            if answer == ["ok"] and pin == b"4711":
                ask("file-key", words[1], body=mixed(key, body))
            else:
                ask("error", "identity", at, body=b"the toy wants another PIN")
    send("done")


if sys.argv[1] == "--make":
    data = os.urandom(16)
    print(bech32("age1toy", data))
    print(bech32("age-plugin-toy-", data).upper())
else:
    {"--age-plugin=recipient-v1": recipient, "--age-plugin=identity-v1": identity}[sys.argv[1]]()
