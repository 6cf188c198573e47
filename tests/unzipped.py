#!/usr/bin/env python3
"""Compares a zip with the tree it was exported from. unzipped.py ZIP FOLDER   (contents beyond 1 GiB by length alone)"""

import os
import re
import stat
import sys
import zipfile


def real(name):
    """The name that a member stands for: U+FFFD and two hex digits are a byte."""
    return re.sub(b"\xef\xbf\xbd([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), name.encode())


archive = zipfile.ZipFile(sys.argv[1])
root = os.fsencode(sys.argv[2])
members = {}
for info in archive.infolist():
    name = real(info.filename)
    assert not name.startswith(b"/") and b".." not in name.split(b"/") and "\\" not in info.filename, name
    assert name not in members, name
    members[name] = info

count = 0
for folder, folders, files, at in os.fwalk(root):
    for name in folders + files:
        meta = os.lstat(name, dir_fd=at)
        key = os.path.relpath(os.path.join(folder, name), root)
        if stat.S_ISDIR(meta.st_mode):
            key += b"/"
        elif not (stat.S_ISREG(meta.st_mode) or stat.S_ISLNK(meta.st_mode)):
            assert key not in members, key
            continue
        info = members.pop(key)
        count += 1
        assert info.external_attr >> 16 == meta.st_mode, (key, oct(info.external_attr >> 16), oct(meta.st_mode))
        if stat.S_ISLNK(meta.st_mode):
            assert archive.read(info) == os.readlink(name, dir_fd=at), key
        elif stat.S_ISREG(meta.st_mode):
            assert info.file_size == meta.st_size, key
            if meta.st_size <= 1 << 30:
                with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=at), "rb") as file:
                    assert archive.read(info) == file.read(), key
assert not members, list(members)[:5]
assert count > 1000, count
