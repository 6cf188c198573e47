"""find_secrets.py SECRETS PATH…: which of the secrets are in files, and how.

SECRETS is a file with a JSON list of texts. A path is a file, a folder, or `pid:N:FOLDER`: whatever that process has open below that folder,
files without a name among them. Looked for are the texts as they are, in base64 (wherever in it they begin) and in hexadecimal digits, in the names and bytes of files, and in
what the zstd frames and the members of zips in them hold. Prints a JSON list of [secret, form, file].
"""

import base64
import io
import json
import os
import sys
import zipfile
from pathlib import Path

try:
    import zstandard
except ImportError:
    sys.exit("find_secrets.py needs zstandard (tests/reader-requirements.txt)")

MAGIC = b"\x28\xb5\x2f\xfd"


def forms(secret):
    raw = secret.encode()
    yield "raw", raw
    yield "as JSON", json.dumps(secret)[1:-1].encode()
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        # What depends on the bytes beside it is cut off.
        whole = base64.b64encode(b"x" * shift + raw)
        inner = whole[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
        yield f"base64 from {shift}", inner
        yield f"base64 for URLs from {shift}", inner.translate(bytes.maketrans(b"+/", b"-_"))
    if len(raw) % 2 == 0 and all(c in "0123456789abcdef" for c in secret):
        yield "digits", bytes.fromhex(secret)


def contents(data):
    yield data
    at = data.find(MAGIC)
    while at >= 0:
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data[at:])
        except zstandard.ZstdError:
            pass
        at = data.find(MAGIC, at + 1)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                yield member.filename.encode() + b"\0" + archive.read(member)


def files(path):
    if path.startswith("pid:"):
        _, pid, below = path.split(":", 2)
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = os.readlink(fd)
                if name.startswith(below):
                    yield name, fd.read_bytes()
            except OSError:
                pass
    elif os.path.isdir(path):
        for folder, _, names in os.walk(path):
            for name in names:
                file = Path(folder, name)
                if file.is_file():
                    yield str(file.relative_to(path)), file.read_bytes()
    else:
        yield path, Path(path).read_bytes()


secrets = json.loads(Path(sys.argv[1]).read_text())
wanted = [(secret, form, text) for secret in secrets for form, text in forms(secret)]
found, looked = [], 0
for path in sys.argv[2:]:
    for name, data in files(path):
        looked += 1
        for content in contents(name.encode() + b"\0" + data if not data.startswith(b"PK") else data):
            found += [[secret, form, name] for secret, form, text in wanted if text in content]
print(json.dumps({"looked": looked, "found": found}))
