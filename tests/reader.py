#!/usr/bin/env python3
"""An independent reader of Larder stores, written from store-format.md alone.

    reader.py STORE [--identity FILE]... list
    reader.py STORE [--identity FILE]... check
    reader.py STORE [--identity FILE]... extract SNAPSHOT|latest DEST
    reader.py store-format.md vectors

It shares no code with Larder: the page says what every byte means, and this program is the proof that the page is enough.
Section numbers in the comments are those of the page. Everything that is read is verified: ids, MACs, seals, sums.
Exit status: 0 all is well, 1 something is not as the page says (each finding on a line of stderr).
"""

import argparse
import datetime
import errno
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
import zlib

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rocksdict import AccessType, Options, Rdict

MAX_NAME, MAX_SYMLINK, MAX_PAGE, MAX_PAGE_ITEMS_BYTES = 255, 4095, 65536, 65024
MAX_ENTRY, MAX_INLINE_LIST, MAX_INLINE_XATTRS, MAX_INLINE_VALUE = 8192, 1024, 512, 4096
MAX_TOTAL = (1 << 63) - 1
MAX_LEVEL, MAX_CHUNK, MAX_BLOCK, MAX_BLOCK_ITEMS = 16, 1 << 24, 1 << 25, 65536
MAX_MANIFEST, MAX_XATTRS, PREFIX = 1 << 24, 1 << 24, 16
U64 = (1 << 64) - 1
FAMILIES = ("default epochs data tree sums chunks pages manifests log datasets records digests ledger").split()


class Wrong(Exception):
    """The store is not as the page says."""


def need(condition, message):
    if not condition:
        raise Wrong(message)


# ---- 5. Encoding -------------------------------------------------------------------------------------------------


class Reader:
    """Decodes the structures marked *encoded*."""

    def __init__(self, data, what):
        self.data, self.at, self.what = bytes(data), 0, what

    def fail(self, why):
        raise Wrong(f"{self.what}: {why} at byte {self.at}")

    def raw(self, count):
        if count > len(self.data) - self.at:
            self.fail("ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self):
        return self.raw(1)[0]

    def bool(self):
        value = self.u8()
        if value > 1:
            self.fail("a truth value that is neither 0 nor 1")
        return value == 1

    def _int(self, bits):
        first = self.u8()
        if first < 251:
            return first
        size = {251: 2, 252: 4, 253: 8}.get(first)
        if size is None or size * 8 > bits:
            self.fail("an integer of unknown length")
        value = int.from_bytes(self.raw(size), "little")
        if value < {2: 251, 4: 1 << 16, 8: 1 << 32}[size]:
            self.fail("an integer longer than needed")
        return value

    def u16(self):
        return self._int(16)

    def u32(self):
        return self._int(32)

    def u64(self):
        return self._int(64)

    def i64(self):
        value = self._int(64)
        return (value >> 1) ^ -(value & 1)

    def count(self):
        value = self.u64()
        if value > len(self.data) - self.at:
            self.fail("a length beyond what is left")
        return value

    def bytes(self):
        return self.raw(self.count())

    def string(self):
        try:
            return self.bytes().decode("utf-8")
        except UnicodeDecodeError:
            self.fail("a string that is not UTF-8")

    def option(self, of):
        return of() if self.bool() else None

    def list(self, of):
        return [of() for _ in range(self.count())]

    def time(self):
        seconds, nanos = self.i64(), self.u32()
        if nanos > 999_999_999:
            self.fail("nanoseconds beyond a second")
        return seconds * 1_000_000_000 + nanos

    def ext(self):
        tags = self.list(lambda: (self.u32(), self.bytes()))
        if any(a[0] >= b[0] for a, b in zip(tags, tags[1:])):
            self.fail("ext tags not ascending")
        return tags

    def id(self):
        return self.raw(32)

    def version(self):
        value = self.u8()
        if value != 1:
            self.fail(f"version {value}")

    def end(self):
        if self.at != len(self.data):
            self.fail("bytes left over")


def number(value):
    """An integer as it is encoded."""
    for limit, front, size in ((251, b"", 1), (1 << 16, b"\xfb", 2), (1 << 32, b"\xfc", 4), (1 << 64, b"\xfd", 8)):
        if value < limit:
            return front + value.to_bytes(size, "little")
    raise ValueError(value)


# ---- 6. Hashing and ids ------------------------------------------------------------------------------------------


def hash_(data):
    return blake3(data).digest()


def keyed(key, data):
    return blake3(data, key=key).digest()


def derive(context, key):
    return blake3(key, derive_key_context=context).digest()


class IdKeys:
    def __init__(self, id_key):
        self.chunk_key = derive("larder v1 chunk id", id_key)
        self.page_key = derive("larder v1 page id", id_key)
        self.manifest_key = derive("larder v1 manifest id", id_key)
        self.boundary_key = derive("larder v1 page boundary", id_key)
        self.dataset_key = derive("larder v1 dataset", id_key)
        self.link_key = derive("larder v1 link group", id_key)
        self.mac_key = derive("larder v1 mac", id_key)
        self.record_key = derive("larder v1 record", id_key)
        self.commitment = derive("larder v1 id key commitment", id_key)

    def mac(self, label, data):
        return keyed(self.mac_key, label.encode() + b"\0" + data)


def split_mac(data, what):
    need(len(data) > 32, f"{what}: too short")
    return data[:-32], data[-32:]


# ---- 12., 13. Counts, chunks, holes, entries ---------------------------------------------------------------------

DIRECTORY, CHUNK_LIST, HOLE_MAP, LINKS, RECORDS = 1, 2, 3, 4, 5
COUNTS = {DIRECTORY: 4, CHUNK_LIST: 2, HOLE_MAP: 2, LINKS: 2, RECORDS: 1}
VIEW = 8


def read_counts(r, kind):
    counts = tuple(r.u64() for _ in range(COUNTS[kind]))
    if kind == DIRECTORY and not counts[1] <= counts[0] <= counts[2] <= MAX_TOTAL:
        r.fail("impossible counts of entries")
    return counts


def read_chunk(r):
    chunk, length = r.id(), r.u32()
    if not 0 < length <= MAX_CHUNK:
        r.fail("a chunk of impossible length")
    return chunk, length


def read_record_key(r):
    """12.5: hash, file, part and day, as bytes that sort as they do."""
    hash6, file, part, day = r.raw(6), r.u64(), r.u32(), r.i64()
    if not -(1 << 31) <= day < 1 << 31:
        r.fail("an impossible day")
    return hash6 + file.to_bytes(8, "big") + part.to_bytes(4, "big") + (day + (1 << 31)).to_bytes(4, "big")


def read_hole(r):
    return r.u64(), r.u64()


def read_long_value(r):
    kind = r.u32()
    if kind == 0:
        value = r.bytes()
        if len(value) > MAX_INLINE_VALUE:
            r.fail("an inline value beyond its limit")
        return ("inline", value)
    if kind == 1:
        return ("chunks", r.list(lambda: read_chunk(r)))
    r.fail(f"long value of kind {kind}")


def read_xattr_list(r):
    xattrs = r.list(lambda: (r.bytes(), r.bytes()))
    if any(a[0] >= b[0] for a, b in zip(xattrs, xattrs[1:])):
        r.fail("xattrs not sorted")
    return xattrs


FILE, FOLDER, SYMLINK, FIFO, SOCKET, CHAR, BLOCK = range(1, 8)


class Entry:
    """13. Entry."""

    def __init__(self, r, root=False):
        start = r.at
        self.name = r.bytes()
        good = 1 <= len(self.name) <= MAX_NAME and self.name not in (b".", b"..") and not set(self.name) & {0, 47}
        if not (self.name == b"" if root else good):
            r.fail(f"impossible name {self.name!r}")
        self.kind = r.u8()
        self.bits, self.mode = r.u16(), r.u16()
        if self.mode > 0o7777:
            r.fail("mode beyond 0o7777")
        self.uid, self.gid = r.u32(), r.u32()
        self.user, self.group = r.bytes(), r.bytes()
        if len(self.user) > 255 or len(self.group) > 255:
            r.fail("owner's name too long")
        self.mtime = r.time()
        self.btime = r.option(r.time)
        variant = r.u32()
        inline_start = r.at
        if variant == 0:
            self.xattrs = ("list", [])
        elif variant == 1:
            self.xattrs = ("list", read_xattr_list(r))
            if r.at - inline_start > MAX_INLINE_XATTRS:
                r.fail("inline xattrs beyond their limit")
        elif variant == 2:
            self.xattrs = read_long_value(r)
        else:
            r.fail(f"xattrs of kind {variant}")
        self.link = r.option(lambda: r.raw(16))
        self.tree = None
        if self.kind == FILE:
            self.size = r.u64()
            self.crc32 = r.option(r.u32)
            self.content = r.option(r.id)
            at = r.at
            variant = r.u32()
            if variant in (0, 1):
                self.chunks = ("none", "whole")[variant], None
            elif variant == 2:
                self.chunks = "list", r.list(lambda: read_chunk(r))
                if r.at - at > MAX_INLINE_LIST + 8:
                    r.fail("inline chunk list beyond its limit")
            elif variant == 3:
                self.chunks = "paged", (r.id(), (r.u64(), r.u64()))
            elif variant == 4:
                self.chunks = "part", (read_chunk(r), r.u32())
                (_, length), skip = self.chunks[1]
                if not 0 < self.size <= length - skip:
                    r.fail("a part that its chunk has not")
            else:
                r.fail(f"chunks of kind {variant}")
            at = r.at
            variant = r.u32()
            if variant == 0:
                self.holes = "list", []
            elif variant == 1:
                self.holes = "list", r.list(lambda: read_hole(r))
                if r.at - at > MAX_INLINE_LIST + 8:
                    r.fail("inline hole map beyond its limit")
            elif variant == 2:
                self.holes = "paged", (r.id(), (r.u64(), r.u64()))
            else:
                r.fail(f"holes of kind {variant}")
        elif self.kind == FOLDER:
            if self.link is not None:
                r.fail("a folder with a link group")
            self.tree = r.id(), read_counts(r, DIRECTORY)
        elif self.kind == SYMLINK:
            self.target = r.bytes()
            if not 1 <= len(self.target) <= MAX_SYMLINK:
                r.fail("symlink's target of impossible length")
        elif self.kind in (CHAR, BLOCK):
            self.device = r.u32(), r.u32()
        elif self.kind not in (FIFO, SOCKET):
            r.fail(f"entry of kind {self.kind}")
        self.ext = r.ext()
        if r.at - start > MAX_ENTRY:
            r.fail("entry beyond its limit")
        if bool(self.bits & 1) != (self.xattrs != ("list", [])):
            r.fail("xattr bit differs from the xattrs")

    def holding(self):
        """What all names of a hard-link group have in common."""
        if self.kind == FILE:
            return self.kind, self.size, self.content or (self.chunks, self.holes)
        return self.kind, getattr(self, "target", None), getattr(self, "device", None)

    def counts(self):
        below = self.tree[1] if self.tree else (0, 0, 0, 0)
        size = self.size if self.kind == FILE else below[3]
        return 1, int(self.tree is not None), 1 + below[2], size


class Manifest:
    """14. Manifests."""

    def __init__(self, data):
        need(len(data) <= MAX_MANIFEST, "manifest beyond its limit")
        r = Reader(data, "manifest")
        r.version()
        self.sequence, self.previous, self.arrival = r.u64(), r.id(), r.time()
        self.kind = r.u8()
        if not 1 <= self.kind <= 6:
            r.fail("unknown kind")
        self.dataset = r.string()
        self.parent = r.option(r.id)
        self.root = Entry(r, root=True)
        self.links = r.option(lambda: (r.id(), (r.u64(), r.u64())))
        self.files, self.folders, self.others, self.bytes = r.u64(), r.u64(), r.u64(), r.u64()
        self.new_bytes, self.stored_bytes, self.unreadable, self.changed = r.u64(), r.u64(), r.u64(), r.u64()
        self.client_time = r.time()
        self.host, self.user, self.program = r.string(), r.string(), r.string()
        self.sources = r.list(r.bytes)
        self.git_revision, self.reason = r.option(r.string), r.option(r.string)
        self.labels = r.list(lambda: (r.string(), r.string()))
        if any(a[0] >= b[0] for a, b in zip(self.labels, self.labels[1:])):
            r.fail("labels not ascending")
        self.references = r.list(lambda: (r.string(), r.string(), r.option(r.string), r.option(r.bool)))
        self.evidence = [r.option(r.string) for _ in range(7)]
        self.immutable = r.bool()
        self.retention = r.option(r.string)
        self.metrics, self.payload = r.option(r.string), r.option(r.string)
        self.ext = r.ext()
        r.end()
        if self.root.kind != FOLDER:
            raise Wrong("manifest: the root is no folder")


# ---- 10.1 Blocks of lines ----------------------------------------------------------------------------------------

MARKS = {1: 64, 2: 32, 3: 32, 4: 40}


def members(line):
    """The members of an object as they are written."""
    decoder, at, found = json.JSONDecoder(), 1, {}
    need(line[:1] == "{", "a line of records that is no object")
    while line[at] != "}":
        name, at = decoder.raw_decode(line, at)
        need(line[at : at + 2] == ": ", "a line of records in another style")
        _, end = decoder.raw_decode(line, at + 2)
        found[name] = line[at + 2 : end]
        at = end + 2 if line[end : end + 2] == ", " else end
    return found


def index_of(lines, file):
    """The index of lines of records, in the form of the packs."""
    out = []
    for line in lines.decode().split("\n")[:-1]:
        found = members(line)
        inner = lambda name: "" if found[name] == "null" else found[name][1:-1]
        key = f"{inner('source_system')}|{inner('entity_type')}|{inner('natural_key')}"
        out.append(
            f'{{"h": "{inner("content_sha256")}", "k": "{key}", "id": "{inner("exchange_id")}", '
            f'"t": "{inner("observed_at_utc")}", "f": "{file.decode()}"}}\n'
        )
    return "".join(out).encode()


def unpack_lines(body, items, what):
    """10.1: text with marks, digits, and items that follow from the one before."""
    head_length = int.from_bytes(body[:4], "little")
    r = Reader(body[4 : 4 + head_length], what + ", head of lines")
    derived, length, frame_length = dict(r.list(lambda: (r.u32(), r.bytes()))), r.u32(), r.u32()
    r.end()
    need(length <= MAX_BLOCK, f"{what}: beyond its limits")
    rest = body[4 + head_length :]
    text = zstandard.ZstdDecompressor().decompress(rest[:frame_length], max_output_size=length, allow_extra_data=False)
    need(len(text) == length, f"{what}: text of another length")
    digits, at, taken, out = rest[frame_length:].hex().encode(), 0, 0, []
    for ordinal, wanted in enumerate(items):
        if ordinal in derived:
            item = index_of(out[-1], derived[ordinal])
        else:
            parts, have = [], 0
            while have < wanted:
                need(at < len(text), f"{what}: text and digits do not make its items")
                count = MARKS.get(text[at])
                if count is None:
                    end = at
                    while end < len(text) and text[end] not in MARKS and have + end - at < wanted:
                        end += 1
                    part, at = text[at:end], end
                else:
                    part = digits[taken : taken + count]
                    taken += count
                    if text[at] == 3:
                        part = b"-".join((part[:8], part[8:12], part[12:16], part[16:20], part[20:]))
                    at += 1
                parts.append(part)
                have += len(part)
            item = b"".join(parts)
        need(len(item) == wanted, f"{what}: item {ordinal} of another length")
        out.append(item)
    need(at == len(text) and taken == len(digits), f"{what}: something is left over")
    return b"".join(out)


# ---- 7., 8. Keys and header --------------------------------------------------------------------------------------


class Header:
    """8. The header."""

    def __init__(self, data):
        need(data[:8] == b"LARDER\x1a\n", "no store: the header's magic is missing")
        u32 = lambda at: int.from_bytes(data[at : at + 4], "little")
        u64 = lambda at: int.from_bytes(data[at : at + 8], "little")
        need(len(data) >= 160, "header too short")
        need(u32(8) == 1, f"header of version {u32(8)}")
        need(u32(12) == 160 == len(data), "header of another length")
        need(u64(32) == 0, "unknown incompatible feature bits")
        self.data, self.store, self.cipher = data, data[40:56], data[64]
        self.created = int.from_bytes(data[56:64], "little", signed=True)
        need(self.cipher in (0, 1), "unknown cipher")
        need(data[65:68] == b"\0\0\0" and data[88:96] == bytes(8), "reserved bytes are not zero")
        self.page_mask, self.page_min = u32(80), u32(84)
        self.commitment, self.mac = data[96:128], data[128:160]

    def verify(self, keys):
        need(keys.commitment == self.commitment, "header: another id key's commitment")
        need(keys.mac("header", self.data[:128]) == self.mac, "header: its MAC does not hold")


class KeyRecord:
    """7.1 Key record."""

    def __init__(self, data):
        r = Reader(data, "key record")
        r.version()
        self.store, self.name, self.role = r.raw(16), r.raw(8), r.u8()
        if self.role not in (1, 2, 3):
            r.fail("unknown role")
        self.id_key, self.seed = r.raw(32), r.raw(32)
        self.page_recipient, self.chunk_recipient = r.string(), r.string()
        self.page_identities, self.chunk_identities = r.list(r.string), r.list(r.string)
        self.ext = r.ext()
        r.end()


def check_identities(record):
    """7.1: the identities of the classes that the role has, the newest of them that of the recipient; 7.5: a token for each."""
    for least, recipient, identities in (
        (2, record.page_recipient, record.page_identities),
        (3, record.chunk_recipient, record.chunk_identities),
    ):
        need(bool(identities) == (record.role >= least), "key record: not the identities of its role")
        if identities:
            run = subprocess.run(["age-keygen", "-y"], input=identities[0].encode(), capture_output=True)
            need(run.stdout.decode().strip() == recipient, "key record: the newest identity is not its recipient's")
    tokens = dict(record.ext).get(1)
    if tokens is not None and record.chunk_identities:
        made = [keyed(authority(i), b"token\0" + record.name) for i in record.chunk_identities]
        need(tokens == b"".join(made), "key record: other tokens than its authorities make")


def authority(chunk_identity):
    """7.5"""
    return derive("larder v1 key authority", chunk_identity.encode())


def signing_key(page_identity, name):
    """15.1"""
    return keyed(derive("larder v1 signing key", page_identity.encode()), name)


def without(front, tags, *left_out):
    """An entry of the log without some of its tags: what proofs are made of."""
    kept = [(tag, data) for tag, data in tags if tag not in left_out]
    return front + number(len(kept)) + b"".join(number(tag) + number(len(data)) + data for tag, data in kept)


def age_open(path, identity_text=None, identity_file=None):
    """The plaintext of an age file, by the stock `age` program; None if the identity does not open it."""
    source = "-" if identity_file is None else identity_file
    run = subprocess.run(["age", "--decrypt", "-i", source, path], input=identity_text, capture_output=True)
    return run.stdout if run.returncode == 0 else None


def age_open_bytes(data, identities):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return age_open(file.name, identity_text=("\n".join(identities) + "\n").encode())


# ---- The store ---------------------------------------------------------------------------------------------------

CHUNK_CLASS, PAGE_CLASS = "chunk", "page"


class Store:
    def __init__(self, path, identity_files):
        self.path = path
        with open(os.path.join(path, "header"), "rb") as file:
            self.header = Header(file.read())
        self.page_identities, self.chunk_identities = [], []
        if self.header.cipher == 0:
            id_key = derive("larder v1 public id key", b"")
        else:
            id_key = self._unlock(identity_files)
        self.keys = IdKeys(id_key)
        self.header.verify(self.keys)
        self._open_db()
        need(self.get("default", b"canary") == self.header.store, "the canary row is missing or differs")
        self.epochs, self.blocks, self.notes = {}, {}, {}

    def _unlock(self, identity_files):
        folder = os.path.join(self.path, "keys")
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".age"):
                continue
            for identity in identity_files:
                plain = age_open(os.path.join(folder, name), identity_file=identity)
                if plain is None:
                    continue
                record = KeyRecord(plain)
                need(record.store == self.header.store, f"key object {name}: of another store")
                need(record.name.hex() + ".age" == name, f"key object {name}: made under another name")
                keys = IdKeys(record.id_key)
                need(keys.commitment == self.header.commitment, f"key object {name}: another id key than the header's")
                self.page_identities, self.chunk_identities = record.page_identities, record.chunk_identities
                check_identities(record)
                return record.id_key
        raise Wrong("no identity opens a key object of this store")

    def _open_db(self):
        path = os.path.join(self.path, "db")

        def options():
            made = Options(raw_mode=True)
            made.set_db_log_dir(self.logs.name)
            return made

        self.logs = tempfile.TemporaryDirectory()
        names = Rdict.list_cf(path, options())
        missing = [name for name in FAMILIES if name not in names]
        need(not missing, f"column families missing: {missing}")
        families = {name: options() for name in names}
        self.db = Rdict(path, options=options(), column_families=families, access_type=AccessType.read_only())
        self.families = {name: self.db.get_column_family(name) for name in names}

    def get(self, family, key):
        return self.families[family].get(key)

    def rows(self, family):
        return self.families[family].items()

    # -- 7.2, 7.3: epochs and sealing

    def check_epoch_record(self, record, epoch):
        body, mac = split_mac(record, "epoch record")
        need(self.keys.mac("epoch", body) == mac, f"epoch {epoch.hex()}: its MAC does not hold")
        r = Reader(body, "epoch record")
        r.version()
        need(r.raw(16) == epoch, f"epoch {epoch.hex()}: the record is of another epoch")
        writer, page, chunk = r.raw(8), r.bytes(), r.bytes()
        r.ext()
        r.end()
        if self.header.cipher == 0:
            need(page == chunk == b"" and writer == bytes(8), "an epoch record of an unencrypted store holds keys")
        return page, chunk

    def key(self, epoch, cls):
        """The data key of an epoch and class; verified, opened with age, kept."""
        if (epoch, cls) not in self.epochs:
            # A block that no index entry names yet (I4) has its epoch's record in the note before it alone.
            record = self.get("epochs", epoch) or self.notes.get(epoch)
            need(record is not None, f"epoch {epoch.hex()}: no record")
            page, chunk = self.check_epoch_record(record, epoch)
            wrapped, identities, number = (
                (page, self.page_identities, 1) if cls == PAGE_CLASS else (chunk, self.chunk_identities, 2)
            )
            need(identities, f"this key does not open the {cls} class")
            plain = age_open_bytes(wrapped, identities)
            need(plain is not None, f"epoch {epoch.hex()}: its {cls} key does not open")
            need(plain[:1] == bytes([number]) and plain[1:17] == epoch and len(plain) == 49, "a key of another epoch")
            self.epochs[epoch, cls] = AESGCM(plain[17:])
        return self.epochs[epoch, cls]

    def unseal(self, cipher, epoch, cls, counter, sealed, bound, what):
        need(cipher == self.header.cipher, f"{what}: sealed otherwise than the header says")
        if cipher == 0:
            return sealed
        try:
            return self.key(epoch, cls).decrypt(bytes(4) + counter.to_bytes(8, "little"), sealed, bound)
        except InvalidTag:
            raise Wrong(f"{what}: does not open") from None

    def sealed_value(self, family, key, value):
        """7.4 Sealed value."""
        what = f"sealed value in {family}"
        need(len(value) >= 28 and value[0] == 1 and value[2:4] == b"\0\0", f"{what}: malformed")
        counter = int.from_bytes(value[20:28], "little")
        bound = value[:28] + family.encode() + b"\0" + key
        return self.unseal(value[1], value[4:20], PAGE_CLASS, counter, value[28:], bound, what)

    # -- 10. Blocks, 11. Indexes

    def open_block(self, family, number, value):
        """The items of a block; None for an epoch note."""
        what = f"block {number} in {family}"
        need(len(value) >= 48 and value[:4] == b"LBK1" and value[6:8] == b"\0\0", f"{what}: malformed")
        kind, cipher, epoch = value[4], value[5], value[8:24]
        nonces = int.from_bytes(value[24:32], "little"), int.from_bytes(value[32:40], "little")
        lengths = int.from_bytes(value[40:44], "little"), int.from_bytes(value[44:48], "little")
        need(48 + sum(lengths) == len(value), f"{what}: its lengths do not add up")
        if kind == 3:
            need(cipher == 0 and nonces == (0, 0) and lengths[0] == 0, f"{what}: malformed epoch note")
            self.check_epoch_record(value[48:], epoch)
            need(self.get("epochs", epoch) in (None, value[48:]), f"{what}: another epoch record than in epochs")
            self.notes[epoch] = value[48:]
            return None
        need(kind == {"data": 1, "tree": 2}[family], f"{what}: of the wrong kind")
        bound, table_end = value[:48], 48 + lengths[0]
        table = self.unseal(cipher, epoch, PAGE_CLASS, nonces[0], value[48:table_end], bound + b"\1", what + ", table")
        r = Reader(table, what + ", table")
        codec, dictionary, padding, length, items = r.u8(), r.u32(), r.u32(), r.u32(), r.list(r.u32)
        r.ext()
        r.end()
        need(dictionary == 0, f"{what}: unknown dictionary")
        need(length <= MAX_BLOCK and len(items) <= MAX_BLOCK_ITEMS, f"{what}: beyond its limits")
        need(sum(items) == length and all(0 < n <= MAX_CHUNK for n in items), f"{what}: impossible lengths")
        cls = CHUNK_CLASS if kind == 1 else PAGE_CLASS
        content = self.unseal(cipher, epoch, cls, nonces[1], value[table_end:], bound + b"\2", what + ", content")
        need(padding <= len(content), f"{what}: more padding than content")
        content = content[: len(content) - padding]
        if codec == 1:
            engine = zstandard.ZstdDecompressor()
            need(zstandard.frame_content_size(content) in (length, -1), f"{what}: frame of another length")
            content = engine.decompress(content, max_output_size=length, allow_extra_data=False)
        elif codec == 2:
            content = unpack_lines(content, items, what)
        else:
            need(codec == 0, f"{what}: unknown codec")
        need(len(content) == length, f"{what}: content of another length")
        out, at = [], 0
        for n in items:
            out.append(content[at : at + n])
            at += n
        return out

    def items_of(self, family, number):
        if (family, number) not in self.blocks:
            if len(self.blocks) > 64:
                self.blocks.pop(next(iter(self.blocks)))
            value = self.get(family, number.to_bytes(8, "big"))
            need(value is not None, f"block {number} in {family}: missing")
            self.blocks[family, number] = self.open_block(family, number, value)
        return self.blocks[family, number]

    def places(self, value, what):
        r = Reader(value, what)

        def place():
            variant = r.u32()
            need(variant == 0, f"{what}: place of kind {variant}")
            return r.u64(), r.u32()

        places = r.list(place)
        r.end()
        need(places, f"{what}: no place")
        return places

    def fetch(self, index, family, id_, id_key):
        what = f"{index[:-1]} {id_.hex()}"
        row = self.get(index, id_[:PREFIX])
        need(row is not None, f"{what}: not in the index")
        for number, ordinal in self.places(row, what):
            items = self.items_of(family, number)
            need(items is not None and ordinal < len(items), f"{what}: its place is impossible")
            if keyed(id_key, hash_(items[ordinal])) == id_:
                return items[ordinal]
        raise Wrong(f"{what}: the bytes at its places have another id")

    def chunk(self, id_, length):
        data = self.fetch("chunks", "data", id_, self.keys.chunk_key)
        need(len(data) == length, f"chunk {id_.hex()}: of another length than said")
        return data

    def manifest(self, id_):
        value = self.get("manifests", id_)
        need(value is not None, f"manifest {id_.hex()}: missing")
        plain = self.sealed_value("manifests", id_, value)
        need(keyed(self.keys.manifest_key, hash_(plain)) == id_, f"manifest {id_.hex()}: the bytes have another id")
        return Manifest(plain)

    # -- 12. Pages

    def page(self, kind, id_, counts, level=None):
        data = self.fetch("pages", "tree", id_, self.keys.page_key)
        need(len(data) <= MAX_PAGE, f"page {id_.hex()}: beyond its limit")
        page = Page(data, f"page {id_.hex()}")
        need(page.kind == kind, f"page {id_.hex()}: of another kind")
        need(level is None or page.level == level, f"page {id_.hex()}: at another level")
        need(page.counts == counts, f"page {id_.hex()}: other counts than its parent says")
        return page

    def leaves(self, kind, id_, counts, level=None):
        """The items of a map, leaf by leaf."""
        page = self.page(kind, id_, counts, level)
        if page.level == 0:
            for item, _ in page.items:
                yield item
            return
        before = None
        for (last, child, below), _ in page.items:
            final = None
            for item in self.leaves(kind, child, below, page.level - 1):
                key = page_key(kind, item)
                need(kind == CHUNK_LIST or before is None or before < key, f"page {child.hex()}: out of order in its map")
                before = key
                final = item
                yield item
            need(final is not None and page_key(kind, final) == last, f"page {id_.hex()}: another last key below")

    def check_shape(self, kind, id_, counts):
        """12.1: walks the levels and cuts them again; the pages must end in the same places."""
        pages = [self.page(kind, id_, counts)]
        top = pages[0].level
        need(top == 0 or len(pages[0].items) > 1, f"page {id_.hex()}: a root above a single page")
        while True:
            level = pages[0].level
            sizes = [len(page.items) for page in pages]
            items = [item for page in pages for item in page.items]
            ends, count, total = [], 0, 0
            for item, raw in items:
                if count and total + raw > MAX_PAGE_ITEMS_BYTES:
                    ends.append(count)
                    count, total = 0, 0
                count, total = count + 1, total + raw
                key = page_key(kind, item) if level == 0 else item[0]
                hashed = int.from_bytes(keyed(self.keys.boundary_key, bytes([level, kind]) + key)[:4], "little")
                if count >= self.header.page_min and hashed & self.header.page_mask == 0:
                    ends.append(count)
                    count, total = 0, 0
            if count or not items:
                ends.append(count)
            need(ends == sizes, f"map {id_.hex()}: level {level} is cut at {sizes}, the rule gives {ends}")
            if level == 0:
                return
            pages = [self.page(kind, child, below, level - 1) for (_, child, below), _ in items]

    # -- Files

    def long_value(self, value):
        how, what = value
        return what if how == "inline" else b"".join(self.chunk(*chunk) for chunk in what)

    def xattrs(self, entry):
        how, what = entry.xattrs
        if how == "list":
            return what
        data = self.long_value(entry.xattrs)
        need(len(data) <= MAX_XATTRS, "xattrs beyond their limit")
        r = Reader(data, "xattrs")
        xattrs = read_xattr_list(r)
        r.end()
        return xattrs

    def holes(self, entry):
        how, what = entry.holes
        if how == "paged":
            root, counts = what
            what = list(self.leaves(HOLE_MAP, root, counts))
        end = -1
        for offset, length in what:
            need(length > 0 and offset > end, "holes that touch or are out of order")
            end = offset + length
        need(end <= entry.size, "a hole beyond the end of the file")
        return what

    def chunks(self, entry, hole_bytes):
        how, what = entry.chunks
        if how == "none":
            return iter(())
        if how == "whole":
            need(entry.content is not None and hole_bytes == 0, "a whole chunk without a content hash, or with holes")
            return iter([(keyed(self.keys.chunk_key, entry.content), entry.size)])
        if how == "paged":
            root, counts = what
            return self.leaves(CHUNK_LIST, root, counts)
        if how == "part":
            need(hole_bytes == 0, "a part of a chunk with holes")
            return iter([what[0]])
        return iter(what)

    def pieces(self, entry):
        """(offset, data) of a file's data ranges; offset None marks the bytes of a hole. Verifies CRC, content, sizes."""
        holes = self.holes(entry)
        hole_bytes = sum(length for _, length in holes)
        crc, content, at, waiting = 0, blake3(), 0, list(reversed(holes))
        zeros = bytes(1 << 20)
        whole = entry.size <= 1 << 32  # nobody hashes terabytes of zeros

        def skip():
            nonlocal crc, at
            while waiting and waiting[-1][0] == at:
                left = waiting.pop()[1]
                at += left
                while whole and left:
                    part = zeros[: min(left, len(zeros))]
                    crc = zlib.crc32(part, crc)
                    content.update(part)
                    left -= len(part)

        for chunk in self.chunks(entry, hole_bytes):
            data = self.chunk(*chunk)
            if entry.chunks[0] == "part":
                data = data[entry.chunks[1][1] :][: entry.size]
            while data:
                skip()
                room = waiting[-1][0] - at if waiting else len(data)
                part, data = data[:room], data[room:]
                yield at, part
                crc = zlib.crc32(part, crc)
                content.update(part)
                at += len(part)
        skip()
        need(at == entry.size and not waiting, f"file of {entry.size} bytes: chunks and holes give {at}")
        if whole:
            need(entry.crc32 in (None, crc), "CRC-32 of a file differs")
            need(entry.content in (None, content.digest()), "content hash of a file differs")

    # -- 15. Log

    def log(self):
        """The log, oldest first, without entries that are void; the chain verified, from its end."""
        rows = {key: value for key, value in self.rows("log")}
        declared, said, found, self.void, self.key_changes, self.claimed = set(), None, [], set(), [], set()
        newest = 0
        for sequence in sorted(int.from_bytes(key, "big") for key in rows):
            need(sequence - newest <= 1 << 18, f"log entry {sequence}: a stray")
            newest = sequence
        self.since = self.in_use(rows)
        for sequence in range(newest, 0, -1):
            value = rows.pop(sequence.to_bytes(8, "big"), None)
            stands = bytes(32) if value is None else hash_(value)
            put_since = said is None and (sequence, bytes(32)) in declared
            doubtful = self.doubtful(sequence, value)
            stays = said in (None, stands) and not doubtful and self.stays(sequence, value)
            is_void = (sequence, stands) in declared and not stays
            if put_since or is_void:
                self.void.add(sequence)
                said = None
                continue
            need(value is not None, f"log entry {sequence}: missing")
            need(said in (None, stands), f"log entry {sequence}: not the one that the entry behind it follows")
            need(not doubtful, f"log entry {sequence}: takes something away, and may be from after newer identities")
            kind, arrival, dataset, manifest, said, front, tags = self.log_entry(sequence, value)
            if kind == 6:
                declared.update(self.loss(sequence, said, dict(tags)))
            if kind == 5 and self.chunk_identities:
                self.key_changes.insert(0, (sequence, said, dict(tags).get(1)))
            found.append((kind, sequence, arrival, dataset, manifest, said))
        need(said in (None, bytes(32)), "log entry 1: names an entry before it")
        need(not rows, "a row of the log without a number")
        return found[::-1]

    def in_use(self, rows):
        """15.1: of each page identity but the first one, newest first, the earliest and the latest entry since which it may be in use."""
        vouched, behind, whole, newest = [], None, False, None
        if len(self.page_identities) < 2:
            return []
        for sequence in sorted((int.from_bytes(key, "big") for key in rows), reverse=True):
            value = rows[sequence.to_bytes(8, "big")]
            newest, stands = newest or sequence, hash_(value)
            after = behind if behind and behind[0] == sequence + 1 else None
            behind, whole = None, False
            if after and after[1] != stands:
                continue
            try:
                kind, _, _, _, previous, front, tags = self.parsed_entry(sequence, value)
            except Wrong:
                continue
            said = sequence == newest or bool(after and after[2])
            which = self.voucher_of(front, tags)
            if which is not None:
                brings = kind == 5 and self.brings(sequence, previous, dict(tags).get(1), which)
                vouched.append((sequence, which, said, brings))
            behind, whole = (sequence, previous, said), said and sequence == 1 and previous == bytes(32)
        return [self.since_when(vouched, which, whole) for which in range(len(self.page_identities) - 1)]

    def brings(self, sequence, previous, sealed, which):
        """True if a change of keys is what brought an identity."""
        try:
            plain = self.sealed_value("log", sequence.to_bytes(8, "big"), sealed)
            r = Reader(plain[:-32], f"log entry {sequence}")
            r.version(), r.list(lambda: r.raw(8)), r.list(lambda: r.raw(8))
            rotated = r.bool()
        except (Wrong, TypeError):
            return False
        said = b"key change\0" + sequence.to_bytes(8, "little") + previous + plain[:-32]
        proved = not self.chunk_identities or plain[-32:] == keyed(authority(self.chunk_identities[which]), said)
        return rotated and proved

    @staticmethod
    def since_when(vouched, which, whole):
        """The earliest and the latest entry since which an identity may be in use; none if nobody vouched with it."""
        own = [(sequence, said, brings) for sequence, by, said, brings in vouched if by == which]
        every = [sequence for sequence, _, _ in own]
        said = [sequence for sequence, said, _ in own if said]
        changes = [sequence for sequence, _, brings in own if brings]
        surely = [sequence for sequence in changes if sequence in said]
        if surely or not own:
            return (min(surely),) * 2 if surely else (1 << 64, 1 << 64)
        if changes:
            return min(changes), min(said + [max(changes)])
        # All is there, and only what changed the keys cannot be read; or that is lost, and may have been anywhere.
        return (min(every),) * 2 if whole else (0, min(said or every))

    def doubtful(self, sequence, value):
        """15.1: True if an entry takes something away, and may be from after newer identities than those that vouch for it."""
        try:
            kind, *_, front, tags = self.parsed_entry(sequence, value)
        except (Wrong, TypeError):
            return False
        which = self.voucher_of(front, tags)
        if which is None or not self.was_newest(which, sequence) or all(e >= sequence for e, _ in self.since[:which]):
            return False
        return kind in (2, 4) or kind == 3 and self.lets_go(sequence, dict(tags).get(1))

    def lets_go(self, sequence, sealed):
        """15.3: True unless an entry of kind 3 sets a hold or grants; one that cannot be read sets one."""
        try:
            return self.sealed_value("log", sequence.to_bytes(8, "big"), sealed)[1] not in (1, 4)
        except (Wrong, TypeError, IndexError):
            return False

    def stays(self, sequence, value):
        """15.3: what is whole and in its place is not void, whatever a loss says."""
        try:
            kind, *_, front, tags = self.parsed_entry(sequence, value)
        except (Wrong, TypeError):
            return False
        no_owner = self.header.cipher != 0 and not self.chunk_identities
        return kind in (1, 2, 3) and (no_owner or self.vouched(sequence, front, tags))

    def log_entry(self, sequence, value):
        """15.1; of kind 0 if it has no effect."""
        kind, *rest, front, tags = self.parsed_entry(sequence, value)
        vouched = self.vouched(sequence, front, tags)
        if kind in (2, 3, 4, 6) and not vouched:
            kind = 0
        if kind == 1 and not vouched and not self.signed(sequence, front, tags):
            self.claimed.add(sequence)
        return kind, *rest, front, tags

    def parsed_entry(self, sequence, value):
        body, mac = split_mac(value, "log entry")
        need(self.keys.mac("log", body) == mac, f"log entry {sequence}: its MAC does not hold")
        r = Reader(body, "log entry")
        r.version()
        kind, found, arrival = r.u8(), r.u64(), r.time()
        dataset, manifest, previous, _writer = r.raw(16), r.id(), r.id(), r.raw(8)
        start, tags = r.at, r.ext()
        r.end()
        need(found == sequence, f"log entry {sequence}: belongs elsewhere")
        need(1 <= kind <= 6, f"log entry {sequence}: unknown kind")
        return kind, arrival, dataset, manifest, previous, body[:start], tags

    def loss(self, sequence, previous, tags):
        """15.3, Loss: what is void, if the entry has an effect."""
        what = f"log entry {sequence}"
        need(3 in tags, f"{what}: a loss without a list")
        if self.chunk_identities:
            said = b"loss\0" + sequence.to_bytes(8, "little") + previous + tags[3]
            made = [keyed(authority(i), said) for i in self.chunk_identities]
            if tags.get(4) not in made or not self.was_newest(made.index(tags[4]), sequence):
                return []
        r = Reader(tags[3], what)
        void = r.list(lambda: (r.u64(), r.id()))
        r.end()
        numbers = [number for number, _ in void]
        need(numbers and numbers == sorted(set(numbers)) and numbers[-1] < sequence, f"{what}: a list out of order")
        if 1 in tags and (self.header.cipher == 0 or self.page_identities):
            r = Reader(self.sealed_value("log", sequence.to_bytes(8, "big"), tags[1]), what)
            r.version()
            r.option(r.string), r.string(), r.ext()
            r.end()
        return void

    def vouched(self, sequence, front, tags):
        """True if a catalog or owner key vouches for an entry, or nobody can in this store."""
        which = self.voucher_of(front, tags)
        return self.header.cipher == 0 or which is not None and self.was_newest(which, sequence)

    def was_newest(self, which, sequence):
        """True if no newer identity than this one was in use before, as far as can be told."""
        return all(latest > sequence for _, latest in self.since[:which])

    def voucher_of(self, front, tags):
        """Which page identity, the newest is 0, vouches for an entry, if one does."""
        bare = without(front, tags, 2)
        made = [keyed(derive("larder v1 voucher", text.encode()), bare) for text in self.page_identities]
        return next((made.index(data) for tag, data in tags if tag == 2 and data in made), None)

    def signed(self, sequence, front, tags):
        """15.1: True if the writer key that an entry names signed it."""
        bare = without(front, tags, 2, 5)
        made = [keyed(signing_key(text, front[-8:]), bare) for text in self.page_identities]
        which = next((made.index(data) for tag, data in tags if tag == 5 and data in made), None)
        return which is not None and self.was_newest(which, sequence)

    def snapshots(self):
        """Those that were not given up."""
        entries = self.log()
        gone = {manifest for kind, _, _, _, manifest, _ in entries if kind == 2}
        return [entry for entry in arrived(entries) if entry[4] not in gone]


def arrived(entries):
    """15.1, Claims: the entries of snapshots, of several that name the same the first."""
    firsts = {}
    for entry in entries:
        if entry[0] == 1:
            firsts.setdefault(entry[4], entry)
    return list(firsts.values())


class Page:
    """12. Page. Items come with the number of bytes they take."""

    def __init__(self, data, what):
        r = Reader(data, what)
        self.kind, self.level = r.u8(), r.u8()
        if self.kind not in COUNTS or self.level > MAX_LEVEL:
            r.fail("of unknown kind or impossible level")
        self.counts = read_counts(r, self.kind)

        def item():
            start = r.at
            made = self._leaf(r) if self.level == 0 else self._inner(r)
            return made, r.at - start

        self.items = r.list(item)
        r.ext()
        r.end()
        sums = [0] * COUNTS[self.kind]
        keys = []
        for made, _ in self.items:
            keys.append(page_key(self.kind, made) if self.level == 0 else made[0])
            below = self._count(made) if self.level == 0 else made[2]
            sums = [min(a + b, U64) for a, b in zip(sums, below)]
        if tuple(sums) != self.counts:
            r.fail("counts do not add up")
        if self.kind != CHUNK_LIST and any(a >= b for a, b in zip(keys, keys[1:])):
            r.fail("items out of order")
        if self.level and not self.items:
            r.fail("nothing below an inner page")

    def _leaf(self, r):
        if self.kind == DIRECTORY:
            return Entry(r)
        if self.kind == CHUNK_LIST:
            return read_chunk(r)
        if self.kind == HOLE_MAP:
            return read_hole(r)
        if self.kind == RECORDS:
            return read_record_key(r), 0
        return r.raw(16), r.u64(), read_long_value(r)

    def _inner(self, r):
        if self.kind == DIRECTORY:
            key = r.bytes()
        elif self.kind == CHUNK_LIST:
            key = r.id()
        elif self.kind == HOLE_MAP:
            key = r.u64().to_bytes(8, "big") + r.u64().to_bytes(8, "big")
        elif self.kind == RECORDS:
            key = read_record_key(r)
        else:
            key = r.raw(16)
        return key, r.id(), read_counts(r, self.kind)

    def _count(self, item):
        if self.kind == DIRECTORY:
            return item.counts()
        return (1,) if self.kind == RECORDS else (1, item[1])


def page_key(kind, item):
    """12.1: the key of an item at level 0, as bytes."""
    if kind == DIRECTORY:
        return item.name
    if kind == HOLE_MAP:
        return item[0].to_bytes(8, "big") + item[1].to_bytes(8, "big")
    return item[0]


def walk(store, entry):
    """(depth, path parts, entry) in preorder, then (depth, None, entry) when a folder is left. Deep trees need no recursion."""
    stack = [(entry, store.leaves(DIRECTORY, *entry.tree))]
    parts = []
    while stack:
        folder, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            yield len(stack), None, folder
            if parts:
                parts.pop()
            continue
        yield len(stack), parts + [child.name], child
        if child.kind == FOLDER:
            parts.append(child.name)
            stack.append((child, store.leaves(DIRECTORY, *child.tree)))


# ---- list --------------------------------------------------------------------------------------------------------


def command_list(store, _):
    for _, sequence, arrival, _, id_, _ in store.snapshots():
        manifest = store.manifest(id_)
        print(
            json.dumps(
                {
                    "sequence": sequence,
                    "id": id_.hex(),
                    "claimed": sequence in store.claimed,
                    "dataset": manifest.dataset,
                    "arrival_ns": arrival,
                    "files": manifest.files,
                    "folders": manifest.folders,
                    "others": manifest.others,
                    "bytes": manifest.bytes,
                    "reason": manifest.reason,
                    "labels": dict(manifest.labels),
                }
            )
        )


def bears_out(store, manifest, sequence, arrival, dataset, previous):
    """15.1, Claims: True if a manifest says what its entry does."""
    key = keyed(store.keys.dataset_key, manifest.dataset.encode())[:16]
    return [manifest.sequence, manifest.arrival, manifest.previous, key] == [sequence, arrival, previous, dataset]


# ---- check -------------------------------------------------------------------------------------------------------


class Checker:
    def __init__(self, store):
        self.store, self.findings, self.shapes, self.false = store, 0, set(), set()

    def finding(self, error):
        self.findings += 1
        print(f"reader: {error}", file=sys.stderr)

    def guard(self, work, *args):
        try:
            return work(*args)
        except Wrong as error:
            self.finding(error)

    def run(self):
        store = self.store
        copy = store.get("default", b"header")
        if copy != store.header.data:
            self.finding("the header's copy in the database differs")
        self.guard(self.keys)
        for epoch, record in store.rows("epochs"):
            self.guard(store.check_epoch_record, record, epoch)
        counts = {family: self.blocks(index, family) for index, family in (("chunks", "data"), ("pages", "tree"))}
        self.guard(self.sums)
        entries = self.guard(store.snapshots) or []
        log = self.guard(store.log) or []
        first = {entry[1] for entry in arrived(log)}
        self.false = {entry[1] for entry in log if entry[0] == 1} - first
        living, before, gone = {entry[4] for entry in entries}, {}, set()
        for kind, sequence, arrival, dataset, id_, previous in log:
            if kind == 2:
                gone.add(id_)
            if kind != 1 or sequence not in first:
                continue
            # Of what was given up gc leaves the entry alone.
            manifest = self.guard(store.manifest, id_) if id_ in living else None
            if manifest is not None and not bears_out(store, manifest, sequence, arrival, dataset, previous):
                self.false.add(sequence)
                self.guard(self.tree, manifest, sequence)
                continue
            # A snapshot that was given up by then is nobody's parent.
            series = before.setdefault(dataset, [(None, 0)])
            head, since = next(found for found in reversed(series) if found[0] not in gone)
            series.append((id_, sequence))
            if manifest is None:
                continue
            # The one before may be void.
            if manifest.parent != head and not any(since < void < sequence for void in store.void):
                self.finding(f"manifest of sequence {sequence}: parent is not the dataset's snapshot before")
            self.guard(self.tree, manifest, sequence)
        self.guard(self.key_changes)
        self.guard(self.datasets)
        listed = {entry[4] for entry in log if entry[0] == 1}
        for id_ in store.families["manifests"].keys():
            manifest = None if id_ in listed else self.guard(store.manifest, id_)
            if id_ not in listed and (manifest is None or manifest.sequence not in store.void):
                self.finding(f"manifest {id_.hex()}: not in the log")
        told = {"snapshots": len(entries), "findings": self.findings, "false_entries": sorted(self.false)}
        print(json.dumps(told | ({"blocks": counts} if counts else {})))

    def keys(self):
        store, folder = self.store, os.path.join(self.store.path, "keys")
        found = {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}
        rows = {key[4:].decode() + ".age": value for key, value in store.rows("default") if key.startswith(b"key/")}
        files = {name: data for name, data in found.items() if name.endswith(".age")}
        for name, data in found.items():
            # 7.6: laid ready, and its row is written: it counts.
            of = name.removesuffix(".next")
            if of != name and rows.get(of) == data:
                files[of] = data
        need(rows.items() <= files.items(), "the key objects in the folder differ from those in the database")

    def key_changes(self):
        """15.3.5: the proofs of the changes of keys, and the keys after the newest."""
        store, names, newest = self.store, None, 0
        for sequence, previous, sealed in store.key_changes:
            what = f"log entry {sequence}"
            need(sealed is not None, f"{what}: a change of keys without a detail")
            plain = store.sealed_value("log", sequence.to_bytes(8, "big"), sealed)
            detail, proof = plain[:-32], plain[-32:]
            said = b"key change\0" + sequence.to_bytes(8, "little") + previous + detail
            made = [keyed(authority(i), said) for i in store.chunk_identities]
            need(proof in made, f"{what}: no owner proves it")
            need(store.was_newest(made.index(proof), sequence), f"{what}: proved by identities that were given up before")
            r = Reader(detail, what)
            r.version()
            r.list(lambda: r.raw(8)), r.list(lambda: r.raw(8)), r.bool()
            keys = r.list(lambda: (r.raw(8), r.u8(), r.string(), r.string(), r.time(), r.ext()))
            r.ext()
            r.end()
            names, newest = {name.hex().encode() for name, *_ in keys}, sequence
            objects = {name.hex().encode(): dict(tags).get(1) for name, *_, tags in keys}
        rows = {key[4:]: hash_(value) for key, value in store.rows("default") if key.startswith(b"key/")}
        # A newer change may be void.
        if any(void > newest for void in store.void):
            return
        need(names in (None, rows.keys()), "the keys of the newest change are not those of the store")
        for name in names or ():
            need(objects[name] in (None, rows[name]), f"key object {name.decode()}: not the one that an owner wrote")

    def blocks(self, index, family):
        """Every block opens, has its sum, and each item the index row that a forward scan would make."""
        store, count, found = self.store, 0, {}
        id_key = store.keys.chunk_key if family == "data" else store.keys.page_key
        for key, value in store.rows(family):
            number = int.from_bytes(key, "big")
            items = self.guard(store.open_block, family, number, value)
            if items is None:
                continue
            count += 1
            kind = {"data": 1, "tree": 2}[family]
            ids = [keyed(id_key, hash_(item)) for item in items]
            total = store.get("sums", key)
            if total is None and all(store.get(index, id_[:PREFIX]) is None for id_ in ids):
                print(f"reader: note: block {number} in {family} is garbage: nothing names it", file=sys.stderr)
            elif total != bytes([kind]) + hash_(value):
                self.finding(f"block {number} in {family}: its row in sums is missing or differs")
            for ordinal, id_ in enumerate(ids):
                found.setdefault(id_[:PREFIX], set()).add((number, ordinal))
        for prefix, value in store.rows(index):
            places = self.guard(store.places, value, f"{index} row {prefix.hex()}") or []
            real = found.get(prefix, set())
            if set(places) - real:
                self.finding(f"{index} row {prefix.hex()}: names places that hold something else")
        return count

    def sums(self):
        for key, value in self.store.rows("sums"):
            family = {1: "data", 2: "tree"}.get(value[0])
            need(family and len(value) == 33, "a malformed row in sums")
            need(self.store.get(family, key) is not None, f"sums: block {int.from_bytes(key, 'big')} is missing")

    def shape(self, kind, id_, counts):
        if (kind, id_) not in self.shapes:
            self.shapes.add((kind, id_))
            self.store.check_shape(kind, id_, counts)

    def tree(self, manifest, sequence):
        store = self.store
        self.shape(DIRECTORY, *manifest.root.tree)
        files = folders = others = size = 0
        groups, holdings, view = {}, {}, None
        number, total = 0, manifest.root.tree[1][2]
        for _, parts, entry in walk(store, manifest.root):
            if parts is None:
                continue
            number += 1
            store.xattrs(entry)
            if view and parts[: len(view)] != view:
                view = None
            if entry.kind == FOLDER and entry.bits & VIEW and not view:
                view = parts
            # What is in a view stands elsewhere too: it does not count, nor does the view.
            counts = 0 if view else 1
            if entry.kind == FILE:
                files, size = files + counts, size + counts * entry.size
                for _ in store.pieces(entry):
                    pass
                for what, kind in ((entry.chunks, CHUNK_LIST), (entry.holes, HOLE_MAP)):
                    if what[0] == "paged":
                        self.shape(kind, *what[1])
            elif entry.kind == FOLDER:
                folders += counts
                self.shape(DIRECTORY, *entry.tree)
            else:
                others += counts
            if entry.link is not None:
                first = b"/".join(parts)
                known = groups.setdefault(entry.link, [0, first])
                known[0] += 1
                held = holdings.setdefault(entry.link, entry.holding())
                need(held == entry.holding(), f"{first!r}: it does not hold what the other names of its group do")
                need(known[1] != first or self.link(first) == entry.link, f"{first!r}: link group of another path")
        what = f"manifest of sequence {sequence}"
        need(number == total, f"{what}: the root counts {total} entries, there are {number}")
        found, said = (files, folders, others), (manifest.files, manifest.folders, manifest.others)
        need(found == said, f"{what}: says {said} files, folders, others; there are {found}")
        need(manifest.bytes == size, f"{what}: another sum of sizes than the tree's")
        links = {}
        if manifest.links:
            self.shape(LINKS, *manifest.links)
            for group, names, first in store.leaves(LINKS, *manifest.links):
                links[group] = [names, store.long_value(first)]
        need(links == groups, f"{what}: the table of hard links differs from the tree")
        self.records(manifest, what)

    def records(self, manifest, what):
        """14.1, 12.5: the index has each record, and each sighting, where it is."""
        tag = dict(manifest.ext).get(2)
        if tag is None:
            return
        store, r = self.store, Reader(tag, what + ", records")
        root, counts, files, records, keys, sightings = r.id(), (r.u64(),), r.u64(), r.u64(), r.u64(), r.u64()
        r.end()
        self.shape(RECORDS, root, counts)
        index = {key for key, _ in store.leaves(RECORDS, root, counts)}
        found, current, seen, highest = set(), set(), 0, 0
        for _, parts, entry in walk(store, manifest.root):
            if parts is None or entry.kind != FILE:
                continue
            if parts[0] == b"by-key":
                current |= set() if b".by-hash" in parts else {b"/".join(parts)}
                continue
            if parts[0] != b"records" and parts != [b"sightings.ndjson"]:
                continue
            file, day, sort = 0, 0, b"s"
            if parts[0] == b"records":
                file, sort = int(parts[3][6:-7]), b"h"
                day = datetime.date.fromisoformat(parts[2].decode()).toordinal() - 719163
                need(parts[1] == parts[2][:4], f"{what}: {b'/'.join(parts)!r} in the folder of another year")
            highest = max(highest, file)
            for part, chunk in enumerate(store.chunks(entry, 0)):
                for line in store.chunk(*chunk).decode().split("\n")[:-1]:
                    content = bytes.fromhex(members(line)["content_sha256"][1:-1])
                    place = file.to_bytes(8, "big") + part.to_bytes(4, "big") + (day + (1 << 31)).to_bytes(4, "big")
                    need(keyed(store.keys.record_key, sort + content)[:6] + place in index, f"{what}: a line that the index has not")
                    if sort == b"h":
                        need(content not in found, f"{what}: a content that is kept twice")
                        found.add(content)
                    else:
                        seen += 1
        said, have = (files, records, keys, sightings), (highest, len(found), len(current), seen)
        need(said == have, f"{what}: says {said} files, records, keys, sightings; there are {have}")

    def link(self, path):
        return keyed(self.store.keys.link_key, path)[:16]

    def datasets(self):
        store, heads, counts = self.store, {}, {}
        entries = store.log()
        gone = {manifest for kind, _, _, _, manifest, _ in entries if kind == 2}
        for _, sequence, _, dataset, id_, _ in arrived(entries):
            counts[dataset] = counts.get(dataset, 0) + 1
            if id_ not in gone and sequence not in self.false:
                heads[dataset] = [sequence, id_]
        found = {}
        for key, value in store.rows("datasets"):
            body, mac = split_mac(value, "dataset record")
            need(store.keys.mac("dataset", key + body) == mac, f"dataset {key.hex()}: its MAC does not hold")
            r = Reader(body, "dataset record")
            r.version()
            head, id_, count, name = r.u64(), r.id(), r.u64(), r.bytes()
            r.ext()
            r.end()
            name = store.sealed_value("datasets", key, name)
            need(keyed(store.keys.dataset_key, name)[:16] == key, f"dataset {key.hex()}: another name")
            found[key] = [head, id_]
            # Snapshots whose entries are void were counted once; who begins anew, when all were given up, counts from one.
            need(0 < count <= counts.get(key, 0) + len(store.void), f"dataset {key.hex()}: another count than the log has")
        need(found == heads, "the dataset records differ from the log")


def command_check(store, _):
    checker = Checker(store)
    checker.run()
    return 1 if checker.findings else 0


# ---- extract -----------------------------------------------------------------------------------------------------


class Extract:
    """Writes a tree. Works with folder descriptors, so that paths may be as long as they like."""

    def __init__(self, store, manifest):
        self.store, self.manifest, self.problems = store, manifest, 0
        self.first = {}
        self.root_user = os.geteuid() == 0

    def problem(self, parts, what):
        self.problems += 1
        print(f"reader: {b'/'.join(parts)!r}: {what}", file=sys.stderr)

    def run(self, dest):
        os.makedirs(dest, exist_ok=True)
        need(not os.listdir(dest), "the destination is not empty")
        fds, names = [os.open(dest, os.O_RDONLY | os.O_DIRECTORY)], []
        for _, parts, entry in walk(self.store, self.manifest.root):
            if parts is None:
                fd = fds.pop()
                self.metadata(entry, fd, names)
                os.close(fd)
                if names:
                    names.pop()
                continue
            self.one(fds, parts, entry)
            if entry.kind == FOLDER:
                fds.append(os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fds[-1]))
                names.append(entry.name)

    def one(self, fds, parts, entry):
        parent = fds[-1]
        if entry.link is not None:
            if entry.link in self.first:
                return self.hard_link(fds[0], parent, parts, entry)
            self.first[entry.link] = parts
        if entry.kind == FOLDER:
            os.mkdir(entry.name, 0o700, dir_fd=parent)
            return
        if entry.kind == FILE:
            fd = os.open(entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
            try:
                for offset, data in self.store.pieces(entry):
                    done = 0
                    while done < len(data):
                        done += os.pwrite(fd, data[done:], offset + done)
                os.ftruncate(fd, entry.size)
                self.metadata(entry, fd, parts)
            finally:
                os.close(fd)
            return
        try:
            if entry.kind == SYMLINK:
                os.symlink(entry.target, entry.name, dir_fd=parent)
            elif entry.kind == FIFO:
                os.mkfifo(entry.name, 0o600, dir_fd=parent)
            else:
                sort = {SOCKET: stat.S_IFSOCK, CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK}[entry.kind]
                device = os.makedev(*entry.device) if entry.kind in (CHAR, BLOCK) else 0
                os.mknod(entry.name, sort | 0o600, device, dir_fd=parent)
        except OSError as error:
            return self.problem(parts, error)
        self.metadata(entry, None, parts, parent)

    def hard_link(self, root, parent, parts, entry):
        *folders, name = self.first[entry.link]
        fd = os.dup(root)
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        os.link(name, entry.name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
        os.close(fd)

    def metadata(self, entry, fd, parts, parent=None):
        """Owner, then attributes, then mode, then time: each could undo the one before."""
        target, extra = (fd, {}) if fd is not None else (entry.name, {"dir_fd": parent, "follow_symlinks": False})
        try:
            if self.root_user:
                os.chown(target, entry.uid, entry.gid, **extra)
        except OSError as error:
            self.problem(parts, error)
        for name, value in self.store.xattrs(entry):
            try:
                if fd is not None:
                    os.setxattr(fd, name, value)
                else:
                    path = f"/proc/self/fd/{parent}/".encode() + entry.name
                    os.setxattr(path, name, value, follow_symlinks=False)
            except OSError as error:
                self.problem(parts, f"attribute {name!r}: {error}")
        if entry.kind != SYMLINK:
            if fd is not None:
                os.chmod(fd, entry.mode)
            else:
                os.chmod(entry.name, entry.mode, dir_fd=parent)
        try:
            os.utime(target, ns=(entry.mtime, entry.mtime), **extra)
        except OSError as error:
            if error.errno not in (errno.EOVERFLOW, errno.EINVAL):
                raise
            self.problem(parts, error)


def command_extract(store, args):
    entries = store.snapshots()
    need(entries, "there is no snapshot")
    if args.snapshot == "latest":
        found = [entries[-1]]
    else:
        found = [entry for entry in entries if entry[4].hex().startswith(args.snapshot.lower())]
    need(len(found) == 1, f"{len(found)} snapshots are called {args.snapshot}")
    manifest = store.manifest(found[0][4])
    extract = Extract(store, manifest)
    extract.run(args.dest)
    return 1 if extract.problems else 0


# ---- 21. Test vectors --------------------------------------------------------------------------------------------


def command_vectors(page):
    """Checks section 21 with nothing but this program: ids and MACs made again, structures decoded, seals opened."""
    with open(page, encoding="utf-8") as file:
        text = file.read().split("\n## 21.")[1].split("\n## 22.")[0]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    vectors = {name: bytes.fromhex(value) for name, _, value in rows[2:]}
    checked = set()

    def same(name, value):
        checked.add(name)
        need(vectors[name] == value, f"vector {name!r}: here it is {value.hex()}")

    def read(name, what):
        checked.add(name)
        r = Reader(vectors[name], name)
        value = what(r)
        r.end()
        return value

    for value in (250, 251, 65535, 65536, 4294967296):
        need(read(f"u64 {value}", Reader.u64) == value, "u64")
    for value in (-1, 1700000000):
        need(read(f"i64 {value}", Reader.i64) == value, "i64")
    id_key = derive("larder v1 public id key", b"")
    keys = IdKeys(id_key)
    same("public id key", id_key)
    same("public chunker seed", derive("larder v1 public chunker seed", b""))
    same("commitment", keys.commitment)
    chunk_id = keyed(keys.chunk_key, hash_(b"hello"))
    same("chunk id", chunk_id)
    same("page id", keyed(keys.page_key, hash_(b"hello")))
    same("manifest id", keyed(keys.manifest_key, hash_(b"hello")))
    dataset = keyed(keys.dataset_key, b"home")[:16]
    same("dataset key", dataset)
    group = keyed(keys.link_key, b"a/b")[:16]
    same("link group", group)
    same("MAC", keys.mac("log", b"hello"))
    same("boundary", keyed(keys.boundary_key, b"\0\1hello")[:4])
    record_hash = keyed(keys.record_key, b"h" + bytes(32))[:6]
    same("record hash", record_hash)
    part = read("part entry", Entry)
    need(part.chunks == ("part", ((chunk_id, 5), 2)) and part.size == 3 and part.name == b"p", "part entry")
    entry, sparse = read("entry", Entry), read("sparse entry", Entry)
    need(entry.name == b"a\xff" and entry.mtime == 1700000000123456789 and entry.btime == -1, "entry")
    need((entry.uid, entry.gid, entry.user, entry.group, entry.mode) == (1000, 100000, b"ann", b"", 0o644), "entry")
    need(entry.xattrs == ("list", [(b"user.k", b"v")]) and entry.content == hash_(b"hello"), "entry")
    need(entry.crc32 == zlib.crc32(b"hello") and entry.chunks == ("whole", None) and entry.size == 5, "entry")
    need(sparse.chunks == ("list", [(chunk_id, 5)]) and sparse.holes == ("list", [(5, 70000)]), "sparse entry")
    need(sparse.link == keyed(keys.link_key, b"d/s")[:16] and sparse.mode == 0o7777 and sparse.size == 70005, "sparse entry")
    for name, items in (
        ("empty folder", []),
        ("folder page", [b"a\xff", b"s"]),
        ("chunk list page", [(b"\x08" * 32, 300)]),
        ("hole map page", [(4096, 1 << 33)]),
        ("links page", [(group, 2, ("inline", b"a/b"))]),
        ("records page", [(record_hash + bytes(7) + b"\2" + bytes(3) + b"\1" + b"\x80\0\x4d\x46", 0)]),
    ):
        checked.add(name)
        found = [item for item, _ in Page(vectors[name], name).items]
        need([getattr(item, "name", item) for item in found] == items, f"vector {name!r}: holds {found}")
    place = lambda r: (r.u32(), r.u64(), r.u32())
    need(read("places", lambda r: r.list(lambda: place(r))) == [(0, 300, 7), (0, 1, 0)], "places")
    checked.add("header")
    header = Header(vectors["header"])
    header.verify(keys)
    need(header.store == b"\x07" * 16 and header.created == 1700000000, "header")
    store = Store.__new__(Store)
    store.header, store.keys, store.epochs, store.notes = header, keys, {}, {}
    epoch = b"\x03" * 16
    checked.update(("epoch record", "log entry"))
    store.check_epoch_record(vectors["epoch record"], epoch)
    body, mac = split_mac(vectors["log entry"], "log entry")
    need(keys.mac("log", body) == mac, "log entry")
    r = Reader(body, "log entry")
    found = r.u8(), r.u8(), r.u64(), r.time(), r.raw(16), r.id(), r.id(), r.raw(8), r.ext()
    r.end()
    arrival = 1700000000000000005
    need(found == (1, 1, 1, arrival, b"\x04" * 16, b"\x05" * 32, bytes(32), b"\x06" * 8, []), f"log entry {found}")
    need([number(v) for v in (250, 65535, 65536, 1 << 32)] == [vectors[f"u64 {v}"] for v in (250, 65535, 65536, 1 << 32)], "u64")
    same("voucher", keyed(derive("larder v1 voucher", b"AGE-SECRET-KEY-1EXAMPLE"), body))
    key = signing_key("AGE-SECRET-KEY-1EXAMPLE", b"\x06" * 8)
    same("signing key", key)
    same("signature", keyed(key, body))
    rules = lambda r: ([r.u32() for _ in range(7)], r.u64())
    kept = ([3, 0, 7, 0, 0, 0, 0xFFFFFFFF], 1209600)
    text = lambda r: r.option(r.string)
    found = read("forget detail", lambda r: (r.u8(), r.u8(), rules(r), r.u64(), text(r), r.string(), r.ext()))
    need(found == (1, 3, kept, 9, None, "ann@host", []), f"forget detail {found}")
    found = read("hold detail", lambda r: (r.u8(), r.u8(), r.u64(), r.option(r.time), text(r), r.string(), r.ext()))
    need(found == (1, 1, 0, 1700000000 * 10**9, "why", "ann@host", []), f"hold detail {found}")
    found = read("policy detail", lambda r: (r.u8(), text(r), text(r), r.option(lambda: rules(r)), text(r), r.string(), r.ext()))
    need(found == (1, "home", "c", kept, "why", "ann@host", []), f"policy detail {found}")
    found = read("loss detail", lambda r: (r.u8(), text(r), r.string(), r.ext()))
    need(found == (1, "why", "ann@host", []), f"loss detail {found}")
    void = read("void entries", lambda r: r.list(lambda: (r.u64(), r.id())))
    stands = hash_(vectors["log entry"])
    need(void == [(3, bytes(32)), (300, stands)], f"void entries {void}")
    owners = authority("AGE-SECRET-KEY-1EXAMPLE")
    place = (301).to_bytes(8, "little") + stands
    same("key token", keyed(owners, b"token\0" + b"\x06" * 8))
    same("key change proof", keyed(owners, b"key change\0" + place + b"hello"))
    same("epoch proof", keyed(owners, b"epoch\0" + b"\x03" * 16))
    same("loss proof", keyed(owners, b"loss\0" + place + vectors["void entries"]))
    table = read("block table", lambda r: (r.u8(), r.u32(), r.u32(), r.u32(), r.list(r.u32), r.ext()))
    need(table == (0, 0, 0, 11, [5, 6], []), "block table")
    for name, cipher in (("open block", 0), ("sealed block", 1)):
        checked.add(name)
        header.cipher = cipher
        store.epochs = {(epoch, PAGE_CLASS): AESGCM(b"\1" * 32), (epoch, CHUNK_CLASS): AESGCM(b"\2" * 32)}
        need(store.open_block("data", 1, vectors[name]) == [b"hello", b" world"], name)
    checked.add("sealed value")
    need(store.sealed_value("datasets", dataset, vectors["sealed value"]) == b"home", "sealed value")
    need(checked == set(vectors), f"not checked: {set(vectors) - checked}")
    print(f"{len(checked)} vectors hold")


def main():
    parser = argparse.ArgumentParser(description="An independent reader of Larder stores.")
    parser.add_argument("store")
    parser.add_argument("--identity", action="append", default=[])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list").set_defaults(run=command_list)
    commands.add_parser("check").set_defaults(run=command_check)
    commands.add_parser("vectors")
    extract = commands.add_parser("extract")
    extract.add_argument("snapshot")
    extract.add_argument("dest")
    extract.set_defaults(run=command_extract)
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        if args.command == "vectors":
            return command_vectors(args.store)
        return args.run(Store(args.store, args.identity), args) or 0
    except Wrong as error:
        print(f"reader: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
