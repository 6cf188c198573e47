#!/usr/bin/env python3
"""File handles that outlive a mount (as root: CAP_DAC_READ_SEARCH).

handles.py take FILE MOUNT TREE   writes handles of what is in a mounted tree to FILE, and prints what they should open
handles.py open FILE MOUNT        opens them by number and prints what was opened: the same text"""

import ctypes
import errno
import hashlib
import json
import os
import stat
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_EMPTY_PATH = 0x1000
MAX_HANDLE = 128
# A few of a long folder will do.
MANY = 50


class Handle(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint), ("kind", ctypes.c_int), ("bytes", ctypes.c_ubyte * MAX_HANDLE)]


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def take(fd):
    handle, mount = Handle(MAX_HANDLE), ctypes.c_int()
    check(LIBC.name_to_handle_at(fd, b"", ctypes.byref(handle), ctypes.byref(mount), AT_EMPTY_PATH))
    return [handle.kind, bytes(handle.bytes[: handle.length]).hex()]


def reopen(mount, taken):
    kind, raw = taken[0], bytes.fromhex(taken[1])
    handle = Handle(len(raw), kind, (ctypes.c_ubyte * MAX_HANDLE)(*raw))
    return check(LIBC.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY | os.O_NONBLOCK))


def told(path, fd):
    s = os.fstat(fd)
    if stat.S_ISDIR(s.st_mode):
        # The way up leads through folders that nobody has looked up since.
        up = os.open("..", os.O_RDONLY, dir_fd=fd)
        names = hashlib.sha256(b"\0".join(sorted(os.fsencode(n) for n in os.listdir(fd)))).hexdigest()
        what = f"{names} below {os.fstat(up).st_ino}"
        os.close(up)
    else:
        what = hashlib.sha256(os.pread(fd, 8 << 20, 0)).hexdigest()
    return f"{path!r} {s.st_ino} {oct(s.st_mode)} {s.st_mtime_ns} {s.st_nlink} {what}"


def walk(folder, path, each):
    each(path, folder)
    for name in sorted(os.fsencode(n) for n in os.listdir(folder))[:MANY]:
        s = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(s.st_mode) or stat.S_ISDIR(s.st_mode):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            below = os.path.join(path, name)
            walk(fd, below, each) if stat.S_ISDIR(s.st_mode) else each(below, fd)
            os.close(fd)


sys.setrecursionlimit(10_000)
command, file, mount = sys.argv[1], sys.argv[2], os.open(sys.argv[3], os.O_RDONLY | os.O_DIRECTORY)
if command == "take":
    taken = []

    def each(path, fd):
        taken.append([path.hex(), take(fd)])
        print(told(path, fd))

    walk(os.open(sys.argv[4], os.O_RDONLY), b"", each)
    with open(file, "w") as out:
        json.dump(taken, out)
else:
    with open(file) as text:
        taken = json.load(text)
    # The deepest first: nothing of the folders above is known yet.
    lines = []
    for path, handle in reversed(taken):
        fd = reopen(mount, handle)
        lines.append(told(bytes.fromhex(path), fd))
        os.close(fd)
    print("\n".join(reversed(lines)))
    # A number that nothing has is told so, and opens nothing else.
    kind, raw = taken[-1][1]
    for changed in (raw[:8] + "ff" + raw[10:], "ff" * 8 + raw[16:]):
        try:
            reopen(mount, [kind, changed])
            sys.exit(f"{changed} opens something")
        except OSError as e:
            if e.errno != errno.ESTALE:
                raise
