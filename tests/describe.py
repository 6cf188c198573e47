#!/usr/bin/env python3
"""Describes a tree, one line an entry: what the frozen fixtures are compared by. describe.py FOLDER"""

import hashlib
import os
import stat
import sys


def describe(path, name, first):
    s = os.lstat(path)
    words = [repr(name), oct(s.st_mode), f"{s.st_uid}:{s.st_gid}", str(s.st_mtime_ns)]
    if stat.S_ISREG(s.st_mode):
        with open(path, "rb") as file:
            words += [str(s.st_size), hashlib.sha256(file.read()).hexdigest()]
        if s.st_blocks * 512 < s.st_size // 2:
            words.append("sparse")
    elif stat.S_ISLNK(s.st_mode):
        words.append(repr(os.readlink(path)))
    elif stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode):
        words.append(f"{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}")
    for attribute in sorted(os.listxattr(path, follow_symlinks=False)):
        if attribute != "security.selinux":
            words.append(f"{attribute}={os.getxattr(path, attribute, follow_symlinks=False)!r}")
    if s.st_nlink > 1 and not stat.S_ISDIR(s.st_mode):
        words.append(f"linked {s.st_nlink} {first.setdefault(s.st_ino, name)!r}")
    print(" ".join(words))
    if stat.S_ISDIR(s.st_mode):
        for child in sorted(os.listdir(path)):
            describe(os.path.join(path, child), os.path.join(name, child) if name else child, first)


describe(os.fsencode(sys.argv[1]), b"", {})
