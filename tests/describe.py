#!/usr/bin/env python3
"""Describes a tree, one line an entry: what trees are compared by. describe.py [--holes] FOLDER

Goes by folder descriptors, so that no path is too long. With --holes exact hole maps, where both sides are on alike file
systems; else only whether a file is sparse."""

import hashlib
import os
import stat
import sys

HOLES = "--holes" in sys.argv
sys.setrecursionlimit(100_000)


def content(fd, size):
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(fd, 1 << 20, at):
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()


def hole_map(fd, size):
    holes, at = [], 0
    while at < size:
        hole = os.lseek(fd, at, os.SEEK_HOLE)
        if hole >= size:
            break
        try:
            at = os.lseek(fd, hole, os.SEEK_DATA)
        except OSError:
            at = size
        holes.append((hole, at - hole))
    return holes


def describe(parent, name, path, first):
    s = os.stat(name, dir_fd=parent, follow_symlinks=False)
    words = [repr(path), oct(s.st_mode), f"{s.st_uid}:{s.st_gid}", str(s.st_mtime_ns)]
    handle = None
    if stat.S_ISREG(s.st_mode) or stat.S_ISDIR(s.st_mode):
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
    if stat.S_ISREG(s.st_mode):
        words += [str(s.st_size), content(handle, s.st_size)]
        if HOLES:
            words.append(f"holes {hole_map(handle, s.st_size)}")
        elif s.st_blocks * 512 < s.st_size // 2:
            words.append("sparse")
    elif stat.S_ISLNK(s.st_mode):
        words.append(repr(os.readlink(name, dir_fd=parent)))
    elif stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode):
        words.append(f"{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}")
    where = handle if handle is not None else b"/proc/self/fd/%d/%s" % (parent, name)
    follow = {} if handle is not None else {"follow_symlinks": False}
    for attribute in sorted(os.listxattr(where, **follow)):
        if attribute != "security.selinux":
            value = os.getxattr(where, attribute, **follow)
            words.append(f"{attribute}={value!r}" if len(value) < 100 else f"{attribute}={hashlib.sha256(value).hexdigest()}")
    if s.st_nlink > 1 and not stat.S_ISDIR(s.st_mode):
        words.append(f"linked {s.st_nlink} {first.setdefault(s.st_ino, path)!r}")
    print(" ".join(words))
    if stat.S_ISDIR(s.st_mode):
        for child in sorted(os.listdir(handle), key=os.fsencode):
            child = os.fsencode(child)
            describe(handle, child, os.path.join(path, child) if path else child, first)
    if handle is not None:
        os.close(handle)


folder = os.fsencode([a for a in sys.argv[1:] if not a.startswith("--")][0])
top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
describe(top, b".", b"", {})
